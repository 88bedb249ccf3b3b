//! What a `tokenizer.json` says, and the keys of a GGUF file that say it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    WeightsError,
    gguf::{GgufWriter, MetadataValue as M},
    tokenizer::{Special, Specials, Tokenizer, broken, byte_level, vocabulary::TokenKind},
};

/// Keys for the tokens that end a text, in the order in which they are read.
pub(super) const ENDS: [&str; 3] = ["eos", "eot", "eom"];
/// Whether SentencePiece puts a space before a text.
const PREFIXES: [&str; 2] = ["with a space prefix", "without a space prefix"];

/// What the file of a tokenizer says, for a model with as many embeddings as there are tokens.
pub(super) struct Description {
    tokens: Vec<String>,
    pub(super) kinds: Vec<TokenKind>,
    merges: Vec<String>,
    /// Of SentencePiece: bytes spell what no piece does.
    byte_fallback: bool,
    unknown: Option<u32>,
    /// Tokens that are taken whole out of a text.
    pub(super) added: Vec<String>,
}

impl Description {
    pub(super) fn read(tokenizer: &Tokenizer, rows: usize) -> Result<Self, WeightsError> {
        let fail = |problem: String| broken(tokenizer.path(), problem);
        let text = tokenizer.encoder().to_string(false).map_err(|e| fail(e.to_string()))?;
        let file: Value = serde_json::from_str(&text).map_err(|e| fail(e.to_string()))?;
        let model = &file["model"];
        if model["type"] != "BPE" {
            let kind = model["type"].as_str().unwrap_or("none");
            return Err(fail(format!("its kind is `{kind}`; BPE can be written as GGUF")));
        }
        let mut table = vocabulary(model);
        let added = add_tokens(&file, &mut table);
        if let Some((id, (token, _))) = table.last_key_value().filter(|(id, _)| **id >= rows) {
            let problem = format!("token `{token}` has id {id}; the model has {rows} embeddings");
            return Err(fail(problem));
        }
        // Checkpoints have more embeddings than tokens where that suits their hardware.
        let unused = |id| (format!("[PAD{id}]"), TokenKind::Unused);
        let (tokens, kinds) =
            (0..rows).map(|id| table.remove(&id).unwrap_or_else(|| unused(id))).unzip();
        Ok(Self {
            tokens,
            kinds,
            merges: merges(model).ok_or_else(|| fail("its merges are no pairs".to_owned()))?,
            byte_fallback: model["byte_fallback"] == true,
            unknown: model["unk_token"].as_str().and_then(|it| tokenizer.encoder().token_to_id(it)),
            added,
        })
    }

    /// The ways in which the keys may be written, each by its name.
    pub(super) fn candidates(&self, specials: &Specials) -> Vec<(String, GgufWriter)> {
        let names: &[&str] = if self.byte_fallback { &PREFIXES } else { &byte_level::NAMES };
        let keys = |name: &&str| self.put(GgufWriter::new(), name, specials);
        names.iter().map(|name| ((*name).to_owned(), keys(name))).collect()
    }

    /// Adds the keys, in the way of that name.
    pub(super) fn put(&self, writer: GgufWriter, name: &str, specials: &Specials) -> GgufWriter {
        let texts: Vec<&str> = self.tokens.iter().map(String::as_str).collect();
        let kinds: Vec<i32> = self.kinds.iter().map(|kind| kind.number()).collect();
        let writer = writer
            .metadata("tokenizer.ggml.tokens", &M::Texts(&texts))
            .metadata("tokenizer.ggml.token_type", &M::I32s(&kinds));
        let writer = if self.byte_fallback {
            writer
                .metadata("tokenizer.ggml.model", &M::Text("llama"))
                .metadata("tokenizer.ggml.pre", &M::Text("default"))
                .metadata("tokenizer.ggml.scores", &M::F32s(&self.scores()))
                .metadata("tokenizer.ggml.add_space_prefix", &M::Bool(name == PREFIXES[0]))
        } else {
            let merges: Vec<&str> = self.merges.iter().map(String::as_str).collect();
            writer
                .metadata("tokenizer.ggml.model", &M::Text("gpt2"))
                .metadata("tokenizer.ggml.pre", &M::Text(name))
                .metadata("tokenizer.ggml.merges", &M::Texts(&merges))
        };
        self.put_specials(writer, specials)
    }

    fn put_specials(&self, writer: GgufWriter, specials: &Specials) -> GgufWriter {
        let one = |special: &Option<Special>| special.as_ref().map(|special| special.id);
        let mut ids = vec![
            ("bos", one(&specials.bos)),
            ("padding", one(&specials.pad)),
            ("unknown", self.unknown.or_else(|| one(&specials.unk))),
        ];
        ids.extend(ENDS.into_iter().zip(&specials.eos).map(|(key, eos)| (key, Some(eos.id))));
        let ids = ids.into_iter().filter_map(|(role, id)| Some((role, id?)));
        ids.fold(writer, |writer, (role, id)| {
            writer.metadata(&format!("tokenizer.ggml.{role}_token_id"), &M::U32(id))
        })
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
                TokenKind::Normal => -(places.get(token).copied().unwrap_or(last) as f32),
                _ => 0.0,
            })
            .collect()
    }
}

/// Tokens by id.
type Table = BTreeMap<usize, (String, TokenKind)>;

fn vocabulary(model: &Value) -> Table {
    let unknown = model["unk_token"].as_str();
    let byte_fallback = model["byte_fallback"] == true;
    let kind = |token: &str| match token {
        token if unknown == Some(token) => TokenKind::Unknown,
        token if byte_fallback && is_byte(token) => TokenKind::Byte,
        _ => TokenKind::Normal,
    };
    let pairs = model["vocab"].as_object().into_iter().flatten();
    pairs
        .map(|(token, id)| (id.as_u64().unwrap_or(u64::MAX) as usize, (token.clone(), kind(token))))
        .collect()
}

/// Enters the tokens that stand beside the vocabulary, and returns their texts.
fn add_tokens(file: &Value, table: &mut Table) -> Vec<String> {
    let mut added = Vec::new();
    for token in file["added_tokens"].as_array().into_iter().flatten() {
        let (Some(id), Some(text)) = (token["id"].as_u64(), token["content"].as_str()) else {
            continue;
        };
        let special = token["special"] == true;
        let kind = if special { TokenKind::Control } else { TokenKind::UserDefined };
        let entry = table.entry(id as usize).or_insert_with(|| (text.to_owned(), kind));
        if entry.1 != TokenKind::Unknown {
            *entry = (text.to_owned(), kind);
        }
        added.push(text.to_owned());
    }
    added
}

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
