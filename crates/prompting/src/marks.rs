//! Following the row's text through a chat template.
//!
//! A chat template may put a message anywhere, trim it, or drop it. To know where the row's text went, the
//! conversation is rendered twice: as it is, and with a private-use character before and after each value
//! (inside the value's outer white space, so that trimming does the same). When the second rendering
//! without these characters is the first, their places are the answer; when it is not (the template looked
//! at the text, say at its length), the places are unknown, and so is said.

use std::ops::Range;

use crate::chat::{CLOSE, OPEN};

/// Text and the places in it that came from the row.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Marked {
    pub(crate) text: String,
    pub(crate) spans: Vec<Span>,
}

/// A piece of text that came from the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) range: Range<usize>,
    pub(crate) field: usize,
    /// Whether the assistant says it.
    pub(crate) spoken: bool,
}

const FIRST_OPEN: u32 = 0xF0000;
const FIRST_CLOSE: u32 = 0xF8000;
const KINDS: u32 = 0x7FF0;

impl Marked {
    /// A text that is one field as a whole.
    pub(crate) fn whole(text: &str, field: usize, spoken: bool) -> Self {
        let span = Span { range: 0..text.len(), field, spoken };
        Self { text: text.to_owned(), spans: vec![span] }
    }

    /// The text with a character before and after each span, or none where it has such characters already.
    pub(crate) fn with_marks(&self) -> Option<String> {
        if self.text.chars().any(is_mark) {
            return None;
        }
        let mut out = String::with_capacity(self.text.len() + 8 * self.spans.len());
        let mut at = 0;
        for span in &self.spans {
            let value = &self.text[span.range.clone()];
            let inner = value.trim();
            if inner.is_empty() {
                continue;
            }
            let kind = u32::try_from(span.field * 2 + usize::from(span.spoken)).ok()?;
            if kind >= KINDS {
                return None;
            }
            let start = span.range.start + (value.len() - value.trim_start().len());
            let end = start + inner.len();
            out.push_str(&self.text[at..start]);
            out.push(char::from_u32(FIRST_OPEN + kind)?);
            out.push_str(inner);
            out.push(char::from_u32(FIRST_CLOSE + kind)?);
            at = end;
        }
        out.push_str(&self.text[at..]);
        Some(out)
    }
}

/// A rendering without its marks, and what they marked.
pub(crate) struct Unmarked {
    pub(crate) marked: Marked,
    /// What stood in generation blocks.
    pub(crate) generated: Vec<Range<usize>>,
}

/// Takes the marks out of a rendering; none where they do not pair.
pub(crate) fn without_marks(text: &str) -> Option<Unmarked> {
    let mut out = Unmarked { marked: Marked::default(), generated: vec![] };
    let mut open: Option<(u32, usize)> = None;
    let mut generation = None;
    for c in text.chars() {
        let at = out.marked.text.len();
        let code = c as u32;
        match c {
            OPEN => generation = Some(at),
            CLOSE => out.generated.push(generation.take()?..at),
            _ if !is_mark(c) => out.marked.text.push(c),
            _ if code < FIRST_CLOSE => {
                if open.replace((code - FIRST_OPEN, at)).is_some() {
                    return None;
                }
            }
            _ => {
                let (kind, start) = open.take()?;
                if kind != code - FIRST_CLOSE {
                    return None;
                }
                let (field, spoken) = ((kind / 2) as usize, kind % 2 == 1);
                out.marked.spans.push(Span { range: start..at, field, spoken });
            }
        }
    }
    (open.is_none() && generation.is_none()).then_some(out)
}

fn is_mark(c: char) -> bool {
    ('\u{F0000}'..='\u{FFFFD}').contains(&c) || c == OPEN || c == CLOSE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_stand_inside_white_space_and_come_out_again() {
        let marked = Marked {
            text: "a:  x y \n".to_owned(),
            spans: vec![Span { range: 2..9, field: 3, spoken: true }],
        };
        let text = marked.with_marks().unwrap();
        assert_eq!(text.trim_end(), text.trim_end_matches([' ', '\n']));
        let back = without_marks(&text).unwrap().marked;
        assert_eq!(back.text, marked.text);
        assert_eq!(back.spans, [Span { range: 4..7, field: 3, spoken: true }]);
    }

    #[test]
    fn text_with_private_characters_is_not_marked() {
        assert_eq!(Marked::whole("\u{F0001}", 0, false).with_marks(), None);
    }
}
