//! The bytes that single tokens stand for.

use std::sync::Arc;

use tokenizers::{DecoderWrapper, Tokenizer};

/// The texts of a vocabulary's tokens, one by one.
#[derive(Debug, Clone)]
pub(crate) struct TokenTexts {
    tokenizer: Arc<Tokenizer>,
    byte_level: bool,
}

impl TokenTexts {
    pub(crate) fn new(tokenizer: Arc<Tokenizer>) -> Self {
        let byte_level = tokenizer.get_decoder().is_some_and(is_byte_level);
        Self { tokenizer, byte_level }
    }

    /// A token's bytes, special tokens being their own names.
    pub(crate) fn bytes(&self, id: u32) -> Vec<u8> {
        let Some(piece) = self.tokenizer.id_to_token(id) else { return Vec::new() };
        if self.tokenizer.get_added_tokens_decoder().contains_key(&id) {
            return piece.into_bytes();
        }
        if self.byte_level {
            return piece.chars().flat_map(byte_of).collect();
        }
        match single_byte(&piece) {
            Some(byte) => vec![byte],
            None => piece.replace('▁', " ").into_bytes(),
        }
    }

    /// A token as OpenAI writes it: its text, or its bytes where they are no whole characters.
    pub(crate) fn text(&self, id: u32) -> String {
        match String::from_utf8(self.bytes(id)) {
            Ok(text) => text,
            Err(error) => {
                let bytes = error.into_bytes();
                let digits = bytes.iter().map(|byte| format!("\\x{byte:02x}"));
                format!("bytes:{}", digits.collect::<String>())
            }
        }
    }

    /// The text of tokens that belong together.
    pub(crate) fn joined(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| self.bytes(id)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn is_byte_level(decoder: &DecoderWrapper) -> bool {
    match decoder {
        DecoderWrapper::ByteLevel(_) => true,
        DecoderWrapper::Sequence(all) => all.get_decoders().iter().any(is_byte_level),
        _ => false,
    }
}

/// `<0xE4>` of tokenizers that fall back to bytes.
fn single_byte(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2)
}

/// The byte that GPT-2 spells as this character: printable ones of Latin-1 are themselves, the
/// others follow 255 in their order. A character that spells none stands for its own bytes.
fn byte_of(c: char) -> Vec<u8> {
    let printable = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let byte = match u32::from(c) {
        code @ 0..=255 => Some(code as u8).filter(printable),
        code => (0..=255u8).filter(|byte| !printable(byte)).nth(code as usize - 256),
    };
    byte.map_or_else(|| c.to_string().into_bytes(), |byte| vec![byte])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(fixture: &str) -> TokenTexts {
        let path = format!("{}/../{fixture}", env!("CARGO_MANIFEST_DIR"));
        TokenTexts::new(Arc::new(Tokenizer::from_file(path).unwrap()))
    }

    #[test]
    fn tokens_put_together_are_the_text() {
        for fixture in [
            "prompting/tests/prompting/fixtures/tokenizer.json",
            "generate/tests/generate/fixtures/byte_level.json",
            "generate/tests/generate/fixtures/sentence_piece.json",
        ] {
            let texts = texts(fixture);
            for text in ["hello, you", "naïve 世界 🙂", "  a\n\tb"] {
                let encoded = texts.tokenizer.encode(text, false).unwrap();
                let joined = texts.joined(encoded.get_ids());
                // A tokenizer may put a space in front of what it encodes.
                assert!(joined == text || joined == format!(" {text}"), "{fixture}: {joined:?}");
            }
        }
    }

    #[test]
    fn parts_of_characters_are_written_as_bytes() {
        let texts = texts("generate/tests/generate/fixtures/sentence_piece.json");
        let id = texts.tokenizer.token_to_id("<0xE4>").unwrap();
        assert_eq!(texts.text(id), r"bytes:\xe4");
        assert_eq!(texts.bytes(id), [0xe4]);
    }
}
