//! A document: headings and blocks of text, each with its place.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{DocumentError, Format, html, markdown, pdf, plain, restructured};

/// A text with its structure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// In the order in which they are read.
    pub blocks: Vec<Block>,
    /// What the places of its blocks count.
    pub unit: Unit,
}

/// A heading, or text that belongs together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What it is.
    pub kind: Kind,
    /// Its text.
    pub text: String,
    /// The line, page or row where it begins, from 1.
    pub at: usize,
    /// Whether a line break in it is one in the file, so that lines within it can be told.
    pub lines: bool,
}

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The heading of what follows; 1 is the highest level.
    Heading(u8),
    /// Sentences.
    Prose,
    /// Lines that stand for themselves: code, tables, lists.
    Lines,
}

/// What a [`Place`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Lines of a text file.
    Line,
    /// Pages.
    Page,
    /// Rows of a table.
    Row,
}

/// Where a text stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// What is counted.
    pub unit: Unit,
    /// The first line, page or row, from 1.
    pub first: usize,
    /// The last one.
    pub last: usize,
}

impl Document {
    /// Reads a file's bytes.
    ///
    /// # Errors
    /// When they are not what the format says; a PDF without text is one of pictures.
    pub fn read(bytes: &[u8], format: Format) -> Result<Self, DocumentError> {
        if format == Format::Pdf {
            return pdf::read(bytes);
        }
        let text = std::str::from_utf8(bytes);
        let text = text.map_err(|error| DocumentError::NotText { at: error.valid_up_to() })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let blocks = match format {
            Format::Markdown => markdown::blocks(text),
            Format::Html => html::blocks(text),
            Format::Restructured => restructured::blocks(text),
            Format::Plain | Format::Pdf => plain::blocks(text, 1, true),
        };
        Ok(Self { blocks, unit: Unit::Line })
    }

    /// A row of a table: texts that stand beside each other.
    pub fn row<'a>(texts: impl IntoIterator<Item = &'a str>, at: usize, unit: Unit) -> Self {
        let block =
            |text: &str| Block { kind: Kind::Prose, text: text.to_owned(), at, lines: false };
        Self { blocks: texts.into_iter().map(block).collect(), unit }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Line => "line",
            Unit::Page => "page",
            Unit::Row => "row",
        };
        let Self { first, last, .. } = self;
        if first == last {
            write!(f, "{unit} {first}")
        } else {
            write!(f, "{unit}s {first}–{last}")
        }
    }
}

/// Counts lines of a text, asked for rising places.
pub(crate) struct LineCounter<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> LineCounter<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, line: 1 }
    }

    /// The line of a byte, from 1.
    pub(crate) fn line(&mut self, at: usize) -> usize {
        if at < self.at {
            (self.at, self.line) = (0, 1);
        }
        self.line += newlines(&self.text[self.at..at]);
        self.at = at;
        self.line
    }
}

/// Line breaks in a text.
pub(crate) fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_as_people_say_them() {
        let place = |unit, first, last| Place { unit, first, last }.to_string();
        assert_eq!(place(Unit::Line, 3, 3), "line 3");
        assert_eq!(place(Unit::Page, 3, 4), "pages 3–4");
        assert_eq!(place(Unit::Row, 9, 9), "row 9");
    }

    #[test]
    fn what_is_no_text_is_an_error_that_names_the_byte() {
        let error = Document::read(b"caf\xe9", Format::Plain).unwrap_err();
        assert!(matches!(error, DocumentError::NotText { at: 3 }));
        let bom = Document::read("\u{feff}café".as_bytes(), Format::Plain).unwrap();
        assert_eq!(bom.blocks[0].text, "café");
    }
}
