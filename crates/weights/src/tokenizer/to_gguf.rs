//! A `tokenizer.json` as the keys of a GGUF file.
//!
//! GGUF does not say how text is cut before pairs are merged; it names one of the ways that readers
//! know. Each is tried: the keys are read back, and what they make must give the same ids over the
//! probe texts and the whole vocabulary. What none gives exactly is refused.

use std::{collections::BTreeMap, path::Path};

use rayon::prelude::*;
use serde_json::Value;

use super::{Specials, Tokenizer, broken, byte_level, fingerprint, from_gguf};
use crate::{
    WeightsError,
    gguf::{Gguf, GgufWriter, MetadataValue as M},
};

/// Tokens of the vocabulary that become one text of a comparison.
const WINDOW: usize = 16;
/// Special tokens whose surroundings are compared.
const SPECIALS_COMPARED: usize = 32;
/// Keys for the tokens that end a text, in the order in which they are read.
const ENDS: [&str; 3] = ["eos", "eot", "eom"];

/// The numbers of token types.
mod kind {
    pub(super) const NORMAL: i32 = 1;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const CONTROL: i32 = 3;
    pub(super) const USER_DEFINED: i32 = 4;
    pub(super) const UNUSED: i32 = 5;
    pub(super) const BYTE: i32 = 6;
}

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

/// What the file of a tokenizer says.
struct Description {
    tokens: Vec<String>,
    kinds: Vec<i32>,
    merges: Vec<String>,
    /// Of SentencePiece: bytes spell what no piece does.
    byte_fallback: bool,
    unknown: Option<u32>,
    added: Vec<String>,
}

impl Description {
    fn read(tokenizer: &Tokenizer, rows: usize) -> Result<Self, WeightsError> {
        let path = tokenizer.path();
        let fail = |problem: String| broken(path, problem);
        let text = tokenizer.encoder().to_string(false).map_err(|e| fail(e.to_string()))?;
        let file: Value = serde_json::from_str(&text).map_err(|e| fail(e.to_string()))?;
        let model = &file["model"];
        if model["type"] != "BPE" {
            let kind = model["type"].as_str().unwrap_or("none");
            return Err(fail(format!("its kind is `{kind}`; BPE can be written as GGUF")));
        }
        let byte_fallback = model["byte_fallback"] == true;
        let unknown = model["unk_token"].as_str();
        let mut tokens: BTreeMap<usize, (String, i32)> = BTreeMap::new();
        for (token, id) in model["vocab"].as_object().into_iter().flatten() {
            let kind = match token.as_str() {
                token if unknown == Some(token) => kind::UNKNOWN,
                token if byte_fallback && is_byte(token) => kind::BYTE,
                _ => kind::NORMAL,
            };
            tokens.insert(id.as_u64().unwrap_or(u64::MAX) as usize, (token.clone(), kind));
        }
        let mut added = Vec::new();
        for token in file["added_tokens"].as_array().into_iter().flatten() {
            let (Some(id), Some(text)) = (token["id"].as_u64(), token["content"].as_str()) else {
                continue;
            };
            let special = token["special"] == true;
            let kind = if special { kind::CONTROL } else { kind::USER_DEFINED };
            let entry = tokens.entry(id as usize).or_insert_with(|| (text.to_owned(), kind));
            if entry.1 != kind::UNKNOWN {
                *entry = (text.to_owned(), kind);
            }
            added.push(text.to_owned());
        }
        if let Some((id, (token, _))) = tokens.last_key_value().filter(|(id, _)| **id >= rows) {
            let problem = format!("token `{token}` has id {id}; the model has {rows} embeddings");
            return Err(fail(problem));
        }
        let unknown = unknown.and_then(|text| tokenizer.encoder().token_to_id(text));
        let (tokens, kinds) = (0..rows)
            .map(|id| tokens.remove(&id).unwrap_or_else(|| (format!("[PAD{id}]"), kind::UNUSED)))
            .unzip();
        let merges = merges(model).ok_or_else(|| fail("its merges are no pairs".to_owned()))?;
        Ok(Self { tokens, kinds, merges, byte_fallback, unknown, added })
    }

    /// The ways in which the keys may be written, each by its name.
    fn candidates(&self, specials: &Specials) -> Vec<(String, GgufWriter)> {
        let names: &[&str] = if self.byte_fallback { &PREFIXES } else { &byte_level::NAMES };
        let keys = |name: &&str| self.put(GgufWriter::new(), name, specials);
        names.iter().map(|name| ((*name).to_owned(), keys(name))).collect()
    }

    fn put(&self, writer: GgufWriter, name: &str, specials: &Specials) -> GgufWriter {
        let texts: Vec<&str> = self.tokens.iter().map(String::as_str).collect();
        let mut writer = writer
            .metadata("tokenizer.ggml.tokens", &M::Texts(&texts))
            .metadata("tokenizer.ggml.token_type", &M::I32s(&self.kinds));
        if self.byte_fallback {
            writer = writer
                .metadata("tokenizer.ggml.model", &M::Text("llama"))
                .metadata("tokenizer.ggml.pre", &M::Text("default"))
                .metadata("tokenizer.ggml.scores", &M::F32s(&self.scores()))
                .metadata("tokenizer.ggml.add_space_prefix", &M::Bool(name == PREFIXES[0]));
        } else {
            let merges: Vec<&str> = self.merges.iter().map(String::as_str).collect();
            writer = writer
                .metadata("tokenizer.ggml.model", &M::Text("gpt2"))
                .metadata("tokenizer.ggml.pre", &M::Text(name))
                .metadata("tokenizer.ggml.merges", &M::Texts(&merges));
        }
        let one = |special: &Option<super::Special>| special.as_ref().map(|special| special.id);
        let mut ids = vec![
            ("bos", one(&specials.bos)),
            ("padding", one(&specials.pad)),
            ("unknown", self.unknown.or_else(|| one(&specials.unk))),
        ];
        ids.extend(ENDS.into_iter().zip(&specials.eos).map(|(key, eos)| (key, Some(eos.id))));
        for (role, id) in ids {
            if let Some(id) = id {
                writer = writer.metadata(&format!("tokenizer.ggml.{role}_token_id"), &M::U32(id));
            }
        }
        writer
            .metadata("tokenizer.ggml.add_bos_token", &M::Bool(specials.add_bos))
            .metadata("tokenizer.ggml.add_eos_token", &M::Bool(specials.add_eos))
    }

    /// SentencePiece joins the pair whose whole has the best score; merges are in the order of
    /// those, so that a token's score is the place of the first merge that makes it. What no
    /// merge makes comes last.
    fn scores(&self) -> Vec<f32> {
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        for (place, merge) in self.merges.iter().enumerate() {
            places.entry(merge.replacen(' ', "", 1)).or_insert(place);
        }
        let last = self.merges.len();
        self.tokens
            .iter()
            .zip(&self.kinds)
            .map(|(token, kind)| match *kind {
                kind::NORMAL => -(places.get(token).copied().unwrap_or(last) as f32),
                _ => 0.0,
            })
            .collect()
    }
}

/// Whether a text gets a space in front.
const PREFIXES: [&str; 2] = ["with a space prefix", "without a space prefix"];

fn is_byte(token: &str) -> bool {
    let digits = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|digits| digits.len() == 2 && u8::from_str_radix(digits, 16).is_ok())
}

/// Pairs, written as two texts or as one with a space between.
fn merges(model: &Value) -> Option<Vec<String>> {
    let merge = |merge: &Value| match merge {
        Value::String(pair) => Some(pair.clone()),
        pair => Some(format!("{} {}", pair[0].as_str()?, pair[1].as_str()?)),
    };
    model["merges"].as_array()?.iter().map(merge).collect()
}

fn reread(keys: &GgufWriter, path: &Path) -> Result<Tokenizer, WeightsError> {
    from_gguf(Gguf::parse(&keys.to_bytes()?.into(), path)?.metadata(), path)
}

/// The probe texts, and every token of the vocabulary among its neighbours.
fn corpus(tokenizer: &Tokenizer, file: &Description) -> Vec<String> {
    let normal: Vec<u32> =
        (0..).zip(&file.kinds).filter(|(_, k)| **k == kind::NORMAL).map(|(id, _)| id).collect();
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
