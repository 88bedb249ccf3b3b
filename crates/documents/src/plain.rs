//! Text without marks: paragraphs between empty lines.

use crate::document::newlines;
use crate::{Block, Kind};

/// The paragraphs of a text that begins at a line or page. `lines`: whether its places are lines.
pub(crate) fn blocks(text: &str, at: usize, lines: bool) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut line = at;
    for paragraph in paragraphs(text) {
        if !paragraph.trim().is_empty() {
            let (before, text) = trimmed(paragraph);
            let at = if lines { line + newlines(before) } else { at };
            blocks.push(Block { kind: Kind::Prose, text: text.to_owned(), at, lines });
        }
        line += newlines(paragraph);
    }
    blocks
}

/// A text in pieces that end with an empty line.
pub(crate) fn paragraphs(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut end = 0;
        for line in rest.split_inclusive('\n') {
            end += line.len();
            if line.trim().is_empty() {
                break;
            }
        }
        let (paragraph, after) = rest.split_at(end);
        rest = after;
        Some(paragraph)
    })
}

/// A text without the empty lines before it and the white space behind it, and those lines.
pub(crate) fn trimmed(text: &str) -> (&str, &str) {
    let begin = text.len() - text.trim_start().len();
    // Where the first line is indented, the indentation stays.
    let begin = text[..begin].rfind('\n').map_or(0, |at| at + 1);
    (&text[..begin], text[begin..].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_know_their_lines() {
        let found = blocks("one\ntwo\n\n\n  three\n \nfour", 1, true);
        let found: Vec<_> = found.iter().map(|block| (block.at, block.text.as_str())).collect();
        assert_eq!(found, [(1, "one\ntwo"), (5, "  three"), (7, "four")]);
        assert_eq!(blocks(" \n\n", 1, true), []);
    }

    #[test]
    fn a_page_is_one_place() {
        let found = blocks("one\n\ntwo", 7, false);
        assert!(found.iter().all(|block| block.at == 7 && !block.lines));
    }
}
