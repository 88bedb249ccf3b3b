//! A `tokenizer.json` as the keys of a GGUF file.
//!
//! GGUF does not say how text is cut before pairs are merged; it names one of the ways that readers
//! know. Each is tried: the keys are read back, and what they make must give the same ids over the
//! probe texts and the whole vocabulary. What none gives exactly is refused.

mod description;

use std::path::Path;

use rayon::prelude::*;

use super::{Specials, Tokenizer, broken, fingerprint, from_gguf, vocabulary::TokenKind};
use crate::{
    WeightsError,
    gguf::{Gguf, GgufWriter},
};
use description::{Description, ENDS};

/// Tokens of the vocabulary that become one text of a comparison.
const WINDOW: usize = 16;
/// Special tokens whose surroundings are compared.
const SPECIALS_COMPARED: usize = 32;
/// Adds the keys of a tokenizer for a model with `rows` embeddings; what differs only around special
/// tokens is noted.
///
/// # Errors
/// When it is of a kind that GGUF has no keys for, or no keys give its ids.
pub(crate) fn describe(
    writer: GgufWriter,
    tokenizer: &Tokenizer,
    rows: usize,
    notes: &mut Vec<String>,
) -> Result<GgufWriter, WeightsError> {
    let path = tokenizer.path();
    let file = Description::read(tokenizer, rows)?;
    let corpus = corpus(tokenizer, &file);
    let mut furthest = (0, String::new());
    for (name, keys) in file.candidates(tokenizer.specials()) {
        let made = reread(&keys, path)?;
        match first_difference(tokenizer, &made, &corpus) {
            Some(at) if at >= furthest.0 => furthest = (at, name),
            Some(_) => {}
            None => {
                notes.extend(around_specials(tokenizer, &made, &file));
                notes.extend(untold_ends(tokenizer.specials()));
                return Ok(file.put(writer, &name, tokenizer.specials()));
            }
        }
    }
    let (at, name) = furthest;
    let text = corpus.get(at).map_or("", String::as_str);
    Err(broken(
        path,
        format!(
            "no way of cutting text that GGUF names gives its ids; with the nearest, `{name}`, {text:?} \
         becomes other tokens"
        ),
    ))
}

fn reread(keys: &GgufWriter, path: &Path) -> Result<Tokenizer, WeightsError> {
    from_gguf(Gguf::parse(&keys.to_bytes()?.into(), path)?.metadata(), path)
}

/// The probe texts, and every token of the vocabulary among its neighbours.
fn corpus(tokenizer: &Tokenizer, file: &Description) -> Vec<String> {
    let normal: Vec<u32> = (0..)
        .zip(&file.kinds)
        .filter(|(_, k)| **k == TokenKind::Normal)
        .map(|(id, _)| id)
        .collect();
    let windows = normal.chunks(WINDOW);
    let texts = windows.filter_map(|ids| tokenizer.encoder().decode(ids, true).ok());
    fingerprint::PROBES.iter().map(|probe| (*probe).to_owned()).chain(texts).collect()
}

/// The place of the first text to which two tokenizers give different ids. What they put around a
/// text is the same for all, and compared on the first.
fn first_difference(a: &Tokenizer, b: &Tokenizer, texts: &[String]) -> Option<usize> {
    let differ = |text: &str, special: bool| {
        let ids = |t: &Tokenizer| {
            let encoding = t.encoder().encode_fast(text, special).ok()?;
            Some(encoding.get_ids().to_vec())
        };
        ids(a) != ids(b)
    };
    if texts.first().is_some_and(|text| differ(text, true)) {
        return Some(0);
    }
    texts.par_iter().position_first(|text| differ(text, false))
}

/// A word where text beside special tokens is cut in another way.
fn around_specials(a: &Tokenizer, b: &Tokenizer, file: &Description) -> Option<String> {
    let texts: Vec<String> = file
        .added
        .iter()
        .take(SPECIALS_COMPARED)
        .map(|token| format!("One {token} two{token}three.\n{token}\nFour"))
        .collect();
    let at = first_difference(a, b, &texts)?;
    Some(format!(
        "beside special tokens such as `{}` llama.cpp cuts text in another way",
        file.added[at]
    ))
}

fn untold_ends(specials: &Specials) -> Option<String> {
    let untold = specials.eos.get(ENDS.len()..).filter(|rest| !rest.is_empty())?;
    let names: Vec<&str> = untold.iter().map(|special| special.text.as_str()).collect();
    Some(format!("GGUF names three tokens that end a text; {} are left out", names.join(", ")))
}
