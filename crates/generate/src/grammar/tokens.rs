//! A vocabulary as pieces of text.

use std::{fmt, sync::Arc};

use llguidance::toktrie::{INVALID_TOKEN, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use serde_json::Value;
use tokenizers::{
    NormalizerWrapper, PreTokenizerWrapper, Tokenizer, normalizers,
    pre_tokenizers::{metaspace::PrependScheme, sequence::Sequence},
};

use super::GrammarError;

/// The tokens of a model, each with the bytes that it stands for in a text.
pub struct GrammarTokens {
    /// Cuts a text that does not begin an answer: no space is put before it.
    tokenizer: Tokenizer,
    trie: TokTrie,
    /// Whether the tokenizer gives a text back as it was.
    is_canonical: bool,
}

impl GrammarTokens {
    /// The tokens of a tokenizer; those in `eos` end an answer.
    ///
    /// # Errors
    /// [`GrammarError::Tokenizer`] where tokens have no text of their own, as in WordPiece.
    pub fn new(tokenizer: &Tokenizer, eos: &[u32]) -> Result<Self, GrammarError> {
        let spelling = Spelling::of(tokenizer)?;
        let words = words(tokenizer, &spelling, eos);
        let first_eos = eos.first().copied().unwrap_or(INVALID_TOKEN);
        let mut trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, first_eos), &words);
        if eos.len() > 1 {
            trie = trie.with_eos_tokens(eos);
        }
        let tokenizer = inside(tokenizer)?;
        let mut tokens = Self { tokenizer, trie, is_canonical: true };
        // What is forced is cut by the tokenizer itself, so it must keep such a text.
        let text = "{\"name\": \"a b\", \"n\": [1, 2.5]}";
        tokens.is_canonical = tokens.encode(text).is_some();
        Ok(tokens)
    }

    pub(super) fn into_env(self) -> TokEnv {
        Arc::new(self)
    }

    /// A text's tokens, if they are the text again.
    fn encode(&self, text: &str) -> Option<Vec<u32>> {
        let ids = self.tokenizer.encode_fast(text, false).ok()?.get_ids().to_vec();
        (self.trie.decode(&ids) == text.as_bytes()).then_some(ids)
    }
}

impl TokenizerEnv for GrammarTokens {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| {
            self.encode(text).unwrap_or_else(|| self.trie.greedy_tokenize(text.as_bytes()))
        })
    }

    fn tokenize_is_canonical(&self) -> bool {
        self.is_canonical
    }
}

impl fmt::Debug for GrammarTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrammarTokens")
            .field("tokens", &self.trie.vocab_size())
            .field("is_canonical", &self.is_canonical)
            .finish_non_exhaustive()
    }
}

/// How a vocabulary writes bytes.
#[derive(Debug, PartialEq, Eq)]
enum Spelling {
    /// As GPT-2 does: a visible character for each byte.
    Visible,
    /// As SentencePiece does: text with its own character for a space, single bytes as `<0xE4>`.
    Text { space: Option<char>, has_bytes: bool },
}

impl Spelling {
    /// Told by the decoder, which is where the spelling is undone.
    fn of(tokenizer: &Tokenizer) -> Result<Self, GrammarError> {
        let unknown = |problem: String| GrammarError::Tokenizer { problem };
        let Some(decoder) = tokenizer.get_decoder() else {
            return Err(unknown("has no decoder and joins tokens by spaces".to_owned()));
        };
        let decoder = serde_json::to_value(decoder)
            .map_err(|error| unknown(format!("cannot be written down ({error})")))?;
        let steps = match decoder.get("decoders") {
            Some(Value::Array(steps)) => steps.clone(),
            _ => vec![decoder],
        };
        let (mut space, mut has_bytes) = (None, false);
        for step in &steps {
            match step["type"].as_str().unwrap_or_default() {
                "ByteLevel" => return Ok(Self::Visible),
                "ByteFallback" => has_bytes = true,
                "Metaspace" => space = character(&step["replacement"]),
                "Replace" if step["content"] == " " => {
                    space = character(&step["pattern"]["String"]);
                }
                "Fuse" | "Strip" => {}
                kind => {
                    return Err(unknown(format!("joins tokens by rules of its own (`{kind}`)")));
                }
            }
        }
        Ok(Self::Text { space, has_bytes })
    }

    /// The bytes of a token; none where it stands for none.
    fn bytes(&self, token: &str) -> Option<Vec<u8>> {
        match self {
            Self::Visible => token.chars().map(visible_byte).collect(),
            Self::Text { has_bytes: true, .. } if byte_token(token).is_some() => {
                byte_token(token).map(|byte| vec![byte])
            }
            Self::Text { space: Some(space), .. } => Some(token.replace(*space, " ").into_bytes()),
            Self::Text { space: None, .. } => Some(token.as_bytes().to_vec()),
        }
    }
}

fn character(value: &Value) -> Option<char> {
    value.as_str().and_then(|text| text.chars().next())
}

/// The byte of a token such as `<0xE4>`.
fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?
}

/// The byte that GPT-2's alphabet writes as `c`: visible Latin-1 characters are themselves, the
/// other bytes follow one another from U+0100 on.
fn visible_byte(c: char) -> Option<u8> {
    let is_itself = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    match u32::from(c) {
        code @ 0..=0xFF => u8::try_from(code).ok().filter(|&byte| is_itself(byte)),
        code => (0..=u8::MAX).filter(|&byte| !is_itself(byte)).nth(code as usize - 0x100),
    }
}

/// The bytes of every id, with a mark before special tokens, which are never text; empty where an
/// id stands for nothing.
fn words(tokenizer: &Tokenizer, spelling: &Spelling, eos: &[u32]) -> Vec<Vec<u8>> {
    let vocabulary = tokenizer.get_vocab(true);
    let ids = vocabulary.values().chain(eos).map(|&id| id as usize + 1);
    let mut words = vec![Vec::new(); ids.max().unwrap_or(0)];
    let added = tokenizer.get_added_tokens_decoder();
    for (token, id) in vocabulary {
        let special = added.get(&id).map(|added| added.special);
        words[id as usize] = if special == Some(true) || eos.contains(&id) {
            marked(&token)
        } else if special == Some(false) {
            token.into_bytes() // an added token is written as it is
        } else {
            spelling.bytes(&token).unwrap_or_default()
        };
    }
    for &id in eos {
        if words[id as usize].is_empty() {
            words[id as usize] = marked(&format!("<{id}>"));
        }
    }
    words
}

fn marked(token: &str) -> Vec<u8> {
    let mut word = vec![TokTrie::SPECIAL_TOKEN_MARKER];
    word.extend_from_slice(token.as_bytes());
    word
}

/// The tokenizer for a text that something stands before: nothing is put in front of it, and
/// nothing is cut or filled up.
fn inside(tokenizer: &Tokenizer) -> Result<Tokenizer, GrammarError> {
    let broken = |error| GrammarError::Tokenizer { problem: format!("is broken ({error})") };
    let mut tokenizer = tokenizer.clone();
    let normalizer = tokenizer.get_normalizer().cloned().and_then(without_prepend);
    tokenizer.with_normalizer(normalizer).map_err(broken)?;
    let cutter = tokenizer.get_pre_tokenizer().cloned().map(without_prefix_space);
    tokenizer.with_pre_tokenizer(cutter);
    tokenizer.with_truncation(None).map_err(broken)?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}

fn without_prepend(normalizer: NormalizerWrapper) -> Option<NormalizerWrapper> {
    match normalizer {
        NormalizerWrapper::Prepend(_) => None,
        NormalizerWrapper::Sequence(steps) => {
            let steps = steps.as_ref().iter().cloned().filter_map(without_prepend).collect();
            Some(normalizers::Sequence::new(steps).into())
        }
        other => Some(other),
    }
}

fn without_prefix_space(cutter: PreTokenizerWrapper) -> PreTokenizerWrapper {
    match cutter {
        PreTokenizerWrapper::Metaspace(mut it) => {
            it.prepend_scheme = PrependScheme::Never;
            it.into()
        }
        PreTokenizerWrapper::ByteLevel(mut it) => {
            it.add_prefix_space = false;
            it.into()
        }
        PreTokenizerWrapper::Sequence(steps) => {
            let steps = steps.as_ref().iter().cloned().map(without_prefix_space).collect();
            Sequence::new(steps).into()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_visible_character() {
        // Samples of GPT-2's table: space, newline, U+00AD and DEL.
        for (c, byte) in [('!', b'!'), ('Ġ', b' '), ('Ċ', b'\n'), ('Ń', 0xAD), ('ġ', 0x7F)] {
            assert_eq!(visible_byte(c), Some(byte), "{c}");
        }
        let alphabet: Vec<char> =
            ('!'..='\u{143}').filter(|&c| visible_byte(c).is_some()).collect();
        let mut bytes: Vec<u8> = alphabet.iter().filter_map(|&c| visible_byte(c)).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!(visible_byte('東'), None);
    }

    #[test]
    fn single_bytes_are_told_from_text() {
        assert_eq!(byte_token("<0xE4>"), Some(0xE4));
        for token in ["<0xE>", "<0xZZ>", "0xE4", "<0x123>"] {
            assert_eq!(byte_token(token), None, "{token}");
        }
    }
}
