//! Byte-level BPE: GPT-2's way of spelling bytes, and the many ways of cutting text before it.

use tokenizers::{
    PreTokenizerWrapper, SplitDelimiterBehavior,
    decoders::byte_level::ByteLevel,
    models::bpe::BPE,
    normalizers::unicode::NFC,
    pre_tokenizers::{
        digits::Digits,
        sequence::Sequence,
        split::{Split, SplitPattern},
    },
};

use super::{broken, gguf::Adds, vocabulary::Vocabulary};
use crate::WeightsError;

/// Llama 3 and its like: up to three digits together, letters with one leading sign.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen 2: as Llama 3, but one digit at a time.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// How text is cut into words before pairs are merged. Each is what the tokenizer of that name
/// was trained with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Gpt2,
    DigitsThenGpt2,
    Llama3,
    Qwen2,
}

/// One name for each way of cutting.
pub(super) const NAMES: [&str; 4] = ["gpt-2", "smollm", "llama-bpe", "qwen2"];

impl Cut {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "gpt-2" => Self::Gpt2,
            "smollm" | "starcoder" | "refact" | "command-r" => Self::DigitsThenGpt2,
            "llama-bpe" | "llama3" | "llama-v3" => Self::Llama3,
            "qwen2" | "deepseek-r1-qwen" => Self::Qwen2,
            _ => return None,
        })
    }
}

pub(super) fn build(
    vocabulary: &Vocabulary<'_>,
) -> Result<(tokenizers::Tokenizer, Adds), WeightsError> {
    let path = vocabulary.path;
    let name =
        vocabulary.metadata.text("tokenizer.ggml.pre").map_err(|fault| vocabulary.fault(fault))?;
    let Some(cut) = name.and_then(Cut::named) else {
        let problem = match name {
            Some(name) => format!("its pre-tokenizer `{name}` is not known"),
            None => "it does not name its pre-tokenizer (`tokenizer.ggml.pre`)".to_owned(),
        };
        return Err(broken(path, problem));
    };
    let ids = vocabulary.ids(|_, token| token.to_owned());
    let merges = merges(vocabulary, &ids)?;
    let model = super::build(path, || {
        BPE::builder()
            .vocab_and_merges(ids, merges)
            // Llama 3 takes a word that is a token as it is, even where merges lead elsewhere.
            .ignore_merges(cut == Cut::Llama3)
            .build()
    })?;
    let mut encoder = tokenizers::Tokenizer::new(model);
    if cut == Cut::Qwen2 {
        super::build(path, || encoder.with_normalizer(Some(NFC)).map(|_| ()))?;
    }
    encoder.with_pre_tokenizer(Some(super::build(path, || pre_tokenizer(cut))?));
    encoder.with_decoder(Some(ByteLevel::new(false, true, true)));
    Ok((encoder, if cut == Cut::Llama3 { Adds::Bos } else { Adds::Nothing }))
}

fn pre_tokenizer(cut: Cut) -> tokenizers::Result<PreTokenizerWrapper> {
    let bytes = |use_regex| PreTokenizerWrapper::from(ByteLevel::new(false, true, use_regex));
    let split = |pattern: &str| {
        let pattern = SplitPattern::Regex(pattern.to_owned());
        Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map(PreTokenizerWrapper::from)
    };
    let steps = match cut {
        Cut::Gpt2 => return Ok(bytes(true)),
        Cut::DigitsThenGpt2 => vec![Digits::new(true).into(), bytes(true)],
        Cut::Llama3 => vec![split(LLAMA3)?, bytes(false)],
        Cut::Qwen2 => vec![split(QWEN2)?, bytes(false)],
    };
    Ok(Sequence::new(steps).into())
}

/// The merges, each checked: the builder panics on some that do not fit the vocabulary.
fn merges(
    vocabulary: &Vocabulary<'_>,
    ids: &ahash::AHashMap<String, u32>,
) -> Result<Vec<(String, String)>, WeightsError> {
    let lines = vocabulary
        .metadata
        .require_texts("tokenizer.ggml.merges")
        .map_err(|fault| vocabulary.fault(fault))?;
    let mut joined = String::new();
    let mut merges = Vec::with_capacity(lines.len());
    for line in lines {
        // A byte-level space is spelt `Ġ`, so the first space separates; it is never at the front.
        let at = line.char_indices().skip(1).find(|(_, c)| *c == ' ').map(|(at, _)| at);
        let pair = at.map(|at| (&line[..at], &line[at + 1..]));
        let fits = pair.is_some_and(|(left, right)| {
            joined.clear();
            joined.push_str(left);
            joined.push_str(right);
            ids.contains_key(left) && ids.contains_key(right) && ids.contains_key(&joined)
        });
        let Some((left, right)) = pair.filter(|_| fits) else {
            let problem = format!("the merge `{line}` does not fit the vocabulary");
            return Err(broken(vocabulary.path, problem));
        };
        merges.push((left.to_owned(), right.to_owned()));
    }
    Ok(merges)
}
