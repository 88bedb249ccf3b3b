//! WordPiece, as BERT and its embedders use it.
//!
//! GGUF writes a word's first piece as `▁piece` and the others bare; WordPiece writes the first
//! bare and the others as `##piece`.

use tokenizers::{
    decoders::wordpiece::WordPiece as WordPieceDecoder, models::wordpiece::WordPiece,
    normalizers::bert::BertNormalizer, pre_tokenizers::bert::BertPreTokenizer,
};

use super::{
    broken,
    gguf::Adds,
    vocabulary::{TokenKind, Vocabulary},
};
use crate::WeightsError;

/// Longer words become the unknown token, as in BERT's own code.
const LONGEST_WORD: usize = 100;

pub(super) fn build(
    vocabulary: &Vocabulary<'_>,
) -> Result<(tokenizers::Tokenizer, Adds), WeightsError> {
    let path = vocabulary.path;
    let ids = vocabulary.ids(|id, token| spell(token, vocabulary.kinds[id]));
    if ids.len() != vocabulary.tokens.len() {
        return Err(broken(path, "two tokens are spelt alike as WordPiece".to_owned()));
    }
    let Some(unknown) = vocabulary.special("unknown")? else {
        return Err(broken(path, "it names no unknown token".to_owned()));
    };
    // The file does not say whether the model knows capitals; its Latin words do.
    let lowercase = !vocabulary
        .of_kind(TokenKind::Normal)
        .any(|(_, token)| !is_bracketed(token) && token.bytes().any(|b| b.is_ascii_uppercase()));
    let model = super::build(path, || {
        WordPiece::builder()
            .vocab(ids)
            .unk_token(unknown.text)
            .max_input_chars_per_word(LONGEST_WORD)
            .build()
    })?;
    let mut encoder = tokenizers::Tokenizer::new(model);
    super::build(path, || {
        encoder.with_normalizer(Some(BertNormalizer::new(true, true, None, lowercase)))?;
        encoder.with_pre_tokenizer(Some(BertPreTokenizer));
        encoder.with_decoder(Some(WordPieceDecoder::new("##".to_owned(), true)));
        Ok(())
    })?;
    Ok((encoder, Adds::ClsAndSep))
}

fn spell(token: &str, kind: TokenKind) -> String {
    if kind == TokenKind::Control || is_bracketed(token) {
        return token.to_owned();
    }
    match token.strip_prefix('▁') {
        Some(first) => first.to_owned(),
        None => format!("##{token}"),
    }
}

/// `[unused7]` and its like, which the converter leaves as they are.
fn is_bracketed(token: &str) -> bool {
    token.len() > 2 && token.starts_with('[') && token.ends_with(']')
}
