//! SentencePiece BPE: pieces with scores, `▁` for a space, bytes for what no piece spells.
//!
//! The best-scored pair is joined first. Written as merges: every way of cutting a piece into two
//! pieces, in the order of the scores.

use std::cmp::Reverse;

use ahash::AHashMap;
use tokenizers::{
    decoders::{byte_fallback::ByteFallback, fuse::Fuse, sequence::Sequence, strip::Strip},
    models::bpe::BPE,
    normalizers::{NormalizerWrapper, Prepend, Replace, Sequence as Normalizers},
};

use super::{
    broken,
    gguf::Adds,
    vocabulary::{TokenKind, Vocabulary},
};
use crate::{WeightsError, gguf::Scalar};

pub(super) fn build(
    vocabulary: &Vocabulary<'_>,
) -> Result<(tokenizers::Tokenizer, Adds), WeightsError> {
    let path = vocabulary.path;
    let scores = scores(vocabulary)?;
    let ids = vocabulary.ids(|_, token| token.to_owned());
    let merges = merges(vocabulary, &scores, &ids);
    let bytes = (0..=255_u8).all(|byte| ids.contains_key(&format!("<0x{byte:02X}>")));
    let unknown = vocabulary.special("unknown")?;
    let prefix = vocabulary.truth("add_space_prefix")?.unwrap_or(true);
    if vocabulary.truth("remove_extra_whitespaces")? == Some(true) {
        let problem = "it removes white space, which cannot be built".to_owned();
        return Err(broken(path, problem));
    }
    let model = super::build(path, || {
        let mut builder =
            BPE::builder().vocab_and_merges(ids, merges).fuse_unk(true).byte_fallback(bytes);
        if let Some(unknown) = unknown {
            builder = builder.unk_token(unknown.text);
        }
        builder.build()
    })?;
    let mut encoder = tokenizers::Tokenizer::new(model);
    super::build(path, || {
        let mut steps: Vec<NormalizerWrapper> = Vec::new();
        if prefix {
            steps.push(Prepend::new("▁".to_owned()).into());
        }
        steps.push(Replace::new(" ", "▁")?.into());
        encoder.with_normalizer(Some(Normalizers::new(steps)))?;
        let mut steps =
            vec![Replace::new("▁", " ")?.into(), ByteFallback::new().into(), Fuse::new().into()];
        if prefix {
            steps.push(Strip::new(' ', 1, 0).into());
        }
        encoder.with_decoder(Some(Sequence::new(steps)));
        Ok(())
    })?;
    Ok((encoder, Adds::Bos))
}

fn scores(vocabulary: &Vocabulary<'_>) -> Result<Vec<f32>, WeightsError> {
    let key = "tokenizer.ggml.scores";
    let array = vocabulary
        .metadata
        .array(key)
        .and_then(|a| a.ok_or_else(|| crate::Fault::MissingKey { key: key.to_owned() }))
        .map_err(|fault| vocabulary.fault(fault))?;
    let scores: Vec<f32> = array
        .scalars(key)
        .map_err(|fault| vocabulary.fault(fault))?
        .filter_map(Scalar::float)
        .map(|score| score as f32)
        .collect();
    if scores.len() != vocabulary.tokens.len() {
        let problem = format!("{} tokens have {} scores", vocabulary.tokens.len(), scores.len());
        return Err(broken(vocabulary.path, problem));
    }
    Ok(scores)
}

/// Every cut of every piece into two pieces, best score first. Equal scores are ordered as the
/// converters of Hugging Face order them: longer left part first, then longer right part.
fn merges(
    vocabulary: &Vocabulary<'_>,
    scores: &[f32],
    ids: &AHashMap<String, u32>,
) -> Vec<(String, String)> {
    let mut cuts: Vec<(f32, usize, &str)> = Vec::new();
    for (id, token) in vocabulary.of_kind(TokenKind::Normal) {
        let mut ways: Vec<(u32, u32, usize)> = token
            .char_indices()
            .skip(1)
            .filter_map(|(at, _)| Some((*ids.get(&token[..at])?, *ids.get(&token[at..])?, at)))
            .collect();
        ways.sort_unstable();
        cuts.extend(ways.into_iter().map(|(_, _, at)| (scores[id as usize], at, token)));
    }
    cuts.sort_by(|(a, at_a, token_a), (b, at_b, token_b)| {
        let lengths = |token: &str, at: usize| {
            Reverse((token[..at].chars().count(), token[at..].chars().count()))
        };
        b.total_cmp(a).then_with(|| lengths(token_a, *at_a).cmp(&lengths(token_b, *at_b)))
    });
    cuts.into_iter().map(|(_, at, token)| (token[..at].into(), token[at..].into())).collect()
}
