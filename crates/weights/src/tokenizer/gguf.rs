//! Tokenizers of GGUF files.

use std::path::Path;

use tokenizers::{
    AddedToken, PostProcessorWrapper,
    processors::template::{SpecialToken, TemplateProcessing},
};

use super::{
    Special, Specials, Tokenizer, broken, build, byte_level, sentencepiece,
    vocabulary::{TokenKind, Vocabulary},
    wordpiece,
};
use crate::{WeightsError, gguf::Metadata};

/// Builds the tokenizer that the metadata describe.
pub(crate) fn from_gguf(metadata: &Metadata, path: &Path) -> Result<Tokenizer, WeightsError> {
    let Some(model) = metadata.text("tokenizer.ggml.model").map_err(|fault| {
        WeightsError::Malformed { path: path.to_owned(), format: "GGUF", fault }
    })?
    else {
        return Err(WeightsError::NoTokenizer { path: path.to_owned() });
    };
    let vocabulary = Vocabulary::read(metadata, path)?;
    let (mut encoder, adds) = match model {
        "gpt2" => byte_level::build(&vocabulary)?,
        "llama" => sentencepiece::build(&vocabulary)?,
        "bert" => wordpiece::build(&vocabulary)?,
        other => {
            let problem = format!("its kind `{other}` is not known (gpt2, llama, bert are)");
            return Err(broken(path, problem));
        }
    };
    let specials = specials(&vocabulary, adds)?;
    add_tokens(&vocabulary, &mut encoder, path)?;
    let begin = specials.bos.as_ref().filter(|_| specials.add_bos);
    let end = specials.eos.first().filter(|_| specials.add_eos);
    let (begin, end) = match adds {
        Adds::ClsAndSep => (specials.cls.as_ref(), specials.sep.as_ref()),
        Adds::Bos | Adds::Nothing => (begin, end),
    };
    if let Some(frame) = frame(begin, end, path)? {
        encoder.with_post_processor(Some(frame));
    }
    Tokenizer::new(encoder, specials, path)
}

/// What a kind of tokenizer puts around a text unless the file says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Adds {
    Nothing,
    Bos,
    ClsAndSep,
}

fn specials(vocabulary: &Vocabulary<'_>, adds: Adds) -> Result<Specials, WeightsError> {
    let first_of = |keys: [&str; 2]| match vocabulary.special(keys[0])? {
        None => vocabulary.special(keys[1]),
        found => Ok(found),
    };
    let mut eos: Vec<Special> = Vec::new();
    for key in ["eos", "eot", "eom"] {
        if let Some(special) = vocabulary.special(key)?
            && !eos.contains(&special)
        {
            eos.push(special);
        }
    }
    let bos = vocabulary.special("bos")?;
    Ok(Specials {
        add_bos: vocabulary.truth("add_bos_token")?.unwrap_or(adds == Adds::Bos) && bos.is_some(),
        add_eos: vocabulary.truth("add_eos_token")?.unwrap_or(false) && !eos.is_empty(),
        bos,
        eos,
        pad: vocabulary.special("padding")?,
        unk: vocabulary.special("unknown")?,
        cls: first_of(["cls", "bos"])?.filter(|_| adds == Adds::ClsAndSep),
        // The misspelling is the format's; newer files carry the right one.
        sep: first_of(["seperator", "separator"])?,
        mask: vocabulary.special("mask")?,
    })
}

fn add_tokens(
    vocabulary: &Vocabulary<'_>,
    encoder: &mut tokenizers::Tokenizer,
    path: &Path,
) -> Result<(), WeightsError> {
    let mut added = Vec::new();
    for (kind, special) in [(TokenKind::Control, true), (TokenKind::UserDefined, false)] {
        added.extend(
            vocabulary
                .of_kind(kind)
                .filter(|(_, text)| !text.is_empty())
                .map(|(id, text)| (id, AddedToken::from(text, special).normalized(false))),
        );
    }
    let (specials, others): (Vec<_>, Vec<_>) =
        added.iter().map(|(_, token)| token.clone()).partition(|token| token.special);
    build(path, || {
        encoder.add_special_tokens(specials)?;
        encoder.add_tokens(others)
    })?;
    // The encoder gives an added token the id that its text has in the vocabulary.
    match added.iter().find(|(id, token)| encoder.token_to_id(&token.content) != Some(*id)) {
        Some((id, token)) => {
            let problem = format!("the added token `{}` did not keep its id {id}", token.content);
            Err(broken(path, problem))
        }
        None => Ok(()),
    }
}

fn frame(
    begin: Option<&Special>,
    end: Option<&Special>,
    path: &Path,
) -> Result<Option<PostProcessorWrapper>, WeightsError> {
    if begin.is_none() && end.is_none() {
        return Ok(None);
    }
    let mut single = Vec::new();
    let mut pair = Vec::new();
    let mut tokens = Vec::new();
    // Placeholders, since a token's text might read as a piece of the template's own language.
    for (name, special) in [("begin", begin), ("end", end)] {
        let Some(special) = special else { continue };
        tokens.push((name, special));
    }
    let has = |name| tokens.iter().any(|(n, _)| *n == name);
    for (pieces, sequences) in [(&mut single, &["$A"][..]), (&mut pair, &["$A", "$B:1"][..])] {
        for (i, sequence) in sequences.iter().enumerate() {
            if i == 0 && has("begin") {
                pieces.push("begin".to_owned());
            }
            pieces.push((*sequence).to_owned());
            if has("end") {
                pieces.push(if i == 0 { "end".to_owned() } else { "end:1".to_owned() });
            }
        }
    }
    let template = build(path, || {
        let specials = tokens
            .iter()
            .map(|(name, s)| {
                SpecialToken::new((*name).to_owned(), vec![s.id], vec![s.text.clone()])
            })
            .collect::<tokenizers::Result<Vec<_>>>()?;
        Ok(TemplateProcessing::builder()
            .try_single(single)?
            .try_pair(pair)?
            .special_tokens(specials)
            .build()?)
    })?;
    Ok(Some(template.into()))
}
