//! A text that problems point into: the run file, or one `--set`.

use std::ops::Range;

use serde::Serialize;

/// Where something stands: which source of a [`Document`](crate::Document), and its bytes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Span {
    /// Index into the document's sources: 0 is the run file, the rest are overrides.
    pub source: u32,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes `range` of source number `source`.
    pub fn new(source: usize, range: Range<usize>) -> Self {
        Self {
            source: u32::try_from(source).unwrap_or(u32::MAX),
            start: u32::try_from(range.start).unwrap_or(u32::MAX),
            end: u32::try_from(range.end).unwrap_or(u32::MAX),
        }
    }

    /// The bytes as a range.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// One text with its name and the starts of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    name: String,
    text: String,
    lines: Vec<u32>,
}

impl Source {
    /// Names `text`; the name is what problems print before the line number.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let mut lines = vec![0];
        lines.extend(text.match_indices('\n').map(|(at, _)| (at + 1) as u32));
        Self { name: name.into(), text, lines }
    }

    /// The name, for example `run.yaml` or `--set`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte, both counted from 1, the column in characters.
    pub fn line_column(&self, byte: usize) -> (usize, usize) {
        let byte = self.floor(byte);
        let line = self.lines.partition_point(|&start| start as usize <= byte).max(1);
        let start = self.lines.get(line - 1).map_or(0, |&start| start as usize);
        let column = self.text.get(start..byte).map_or(0, |before| before.chars().count());
        (line, column + 1)
    }

    /// The text of a line counted from 1, without its line break; empty when there is none.
    pub fn line(&self, line: usize) -> &str {
        let Some(start) = line.checked_sub(1).and_then(|index| self.lines.get(index)) else {
            return "";
        };
        let rest = self.text.get(*start as usize..).unwrap_or("");
        rest.split('\n').next().unwrap_or("").trim_end_matches('\r')
    }

    /// The text under a range, empty where the range does not fit.
    pub fn slice(&self, range: Range<usize>) -> &str {
        self.text.get(range).unwrap_or("")
    }

    /// The nearest character start at or before `byte`.
    fn floor(&self, byte: usize) -> usize {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1;
        }
        byte
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_not_bytes() {
        let source = Source::new("run.yaml", "a: 1\nä: é, x\r\nlast");
        assert_eq!(source.line_column(0), (1, 1));
        assert_eq!(source.line_column(5), (2, 1));
        assert_eq!(source.line_column("a: 1\nä: é, ".len()), (2, 7));
        assert_eq!(source.line(2), "ä: é, x");
        assert_eq!(source.line(3), "last");
        assert_eq!(source.line(9), "");
        assert_eq!(source.line_column(9999), (3, 5));
    }
}
