//! Texts in pieces that are short enough, cut where it hurts least.

use unicode_segmentation::UnicodeSegmentation as _;

use crate::cut::Count;
use crate::{DocumentError, Kind};

/// Where a text may be cut, the best place first.
const PROSE: [Cut; 3] = [Cut::Sentences, Cut::Words, Cut::Halves];
const LINES: [Cut; 4] = [Cut::Lines, Cut::Sentences, Cut::Words, Cut::Halves];

#[derive(Clone, Copy)]
enum Cut {
    Lines,
    Sentences,
    Words,
    Halves,
}

/// A part of a text, white space behind it included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) text: &'a str,
    /// Its tokens, by itself.
    pub(crate) tokens: usize,
}

/// A text in pieces of at most `room` tokens, as few as its structure allows. Together they are the
/// text.
pub(crate) fn pieces<'a>(
    text: &'a str,
    kind: Kind,
    room: usize,
    count: Count<'_>,
) -> Result<Vec<Piece<'a>>, DocumentError> {
    let cuts: &[Cut] = if kind == Kind::Lines { &LINES } else { &PROSE };
    let mut pieces = Vec::new();
    divide(text, cuts, room, count, &mut pieces)?;
    Ok(pieces)
}

fn divide<'a>(
    text: &'a str,
    cuts: &[Cut],
    room: usize,
    count: Count<'_>,
    pieces: &mut Vec<Piece<'a>>,
) -> Result<(), DocumentError> {
    let tokens = count(text.trim_end()).map_err(|source| DocumentError::Count { source })?;
    if tokens <= room {
        pieces.push(Piece { text, tokens });
        return Ok(());
    }
    let Some((cut, finer)) = cuts.split_first() else {
        return Err(DocumentError::Character { tokens, max_tokens: room });
    };
    let parts: Vec<&str> = match cut {
        Cut::Lines => text.split_inclusive('\n').collect(),
        Cut::Sentences => sentences(text),
        Cut::Words => text.split_word_bounds().collect(),
        Cut::Halves => {
            let middle = text.ceil_char_boundary(text.len() / 2);
            let (a, b) = text.split_at(middle);
            if b.is_empty() {
                return divide(text, &[], room, count, pieces);
            }
            divide(a, cuts, room, count, pieces)?;
            return divide(b, cuts, room, count, pieces);
        }
    };
    for part in parts {
        divide(part, finer, room, count, pieces)?;
    }
    Ok(())
}

/// The sentences of a text, white space behind each included. A line break alone ends none.
pub(crate) fn sentences(text: &str) -> Vec<&str> {
    let flat: String =
        text.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }).collect();
    let ends = flat.split_sentence_bound_indices().map(|(at, sentence)| at..at + sentence.len());
    ends.filter_map(|range| text.get(range)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "tokenizers can fail")]
    fn words(text: &str) -> Result<usize, Box<dyn std::error::Error + Send + Sync>> {
        Ok(text.split_whitespace().count())
    }

    #[test]
    fn texts_are_cut_at_the_best_place_that_makes_them_fit() {
        let texts = |text, kind, room| {
            let pieces = pieces(text, kind, room, &words).unwrap();
            pieces.iter().map(|piece| piece.text.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(texts("One two. Three four.", Kind::Prose, 9), ["One two. Three four."]);
        assert_eq!(texts("One\ntwo. Three four.", Kind::Prose, 3), ["One\ntwo. ", "Three four."]);
        assert_eq!(texts("a b\nc d\n", Kind::Lines, 2), ["a b\n", "c d\n"]);
        assert_eq!(texts("One two.", Kind::Prose, 1), ["One", " ", "two", "."]);
    }

    #[test]
    fn a_word_without_end_is_halved_between_characters() {
        let bytes = |text: &str| Ok(text.len());
        let found = pieces("ééééé", Kind::Prose, 4, &bytes).unwrap();
        assert!(found.iter().all(|piece| piece.tokens <= 4));
        assert_eq!(found.iter().map(|piece| piece.text).collect::<String>(), "ééééé");
        let error = pieces("é", Kind::Prose, 1, &bytes).unwrap_err();
        assert!(matches!(error, DocumentError::Character { tokens: 2, max_tokens: 1 }));
    }
}
