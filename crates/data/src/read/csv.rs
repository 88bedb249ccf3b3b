//! Text with separators.
//!
//! A parser of our own, because two things matter here that common ones do not tell:
//! whether an empty cell was quoted (`""` is empty text, nothing at all is a missing cell),
//! and at which byte of which line a record goes wrong.
//!
//! The separator of a `.csv` file is the one among comma, semicolon, tab and pipe that stands
//! most often in the header outside quotes, the earlier in this list when two are even.
//! Blank lines are skipped.

use std::path::Path;

use serde_json::Value;

use super::records::{Index, Lines, Records, open_text};
use super::{ReadOptions, check_columns};
use crate::{DataError, Place, Row, Source, Unit};

struct Csv {
    columns: Vec<String>,
    records: Records,
    separator: u8,
    null_values: Vec<String>,
}

pub(super) fn open(
    path: &Path,
    options: &ReadOptions,
    implied: Option<u8>,
) -> Result<Box<dyn Source>, DataError> {
    let separator = match options.separator {
        Some(separator) => Some(checked(separator)?),
        None => implied,
    };
    let file = open_text(path)?;
    let mut lines = Lines::new(path, &file);
    let mut record = Record::new(separator.unwrap_or(b','));

    let first_separator = |lines: &Lines<'_>| separator.unwrap_or_else(|| sniff(&lines.bytes));
    let Some(_) = next_record(path, &mut lines, &mut record, Some(&first_separator))? else {
        return Err(DataError::EmptyFile { path: path.to_owned() });
    };
    let columns: Vec<String> = record.cells().map(|cell| cell.text.to_owned()).collect();
    check_columns(path, &columns)?;

    let mut index = Index::default();
    while let Some((start, line)) = next_record(path, &mut lines, &mut record, None)? {
        if record.ends.len() != columns.len() {
            let (expected, got) = (columns.len(), record.ends.len());
            return Err(DataError::Ragged { path: path.to_owned(), line, expected, got });
        }
        index.push(start, line);
    }
    index.end = lines.next;
    if index.starts.is_empty() {
        return Err(DataError::NoRows { path: path.to_owned() });
    }
    let separator = record.separator;
    drop(lines);
    let records = Records::new(path, Unit::Line, file, index);
    Ok(Box::new(Csv { columns, records, separator, null_values: options.null_values.clone() }))
}

impl Source for Csv {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn len(&self) -> usize {
        self.records.len()
    }

    fn row(&self, index: usize) -> Result<Row, DataError> {
        let bytes = self.records.read(index)?;
        let place = self.records.place(index);
        // It was well formed when the file was opened.
        let changed = || DataError::Changed { path: place.file.to_path_buf() };
        let mut record = Record::new(self.separator);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            record
                .feed(std::str::from_utf8(line).map_err(|_| changed())?)
                .map_err(|_| changed())?;
            if !record.is_open() {
                break;
            }
        }
        record.finish();
        if record.ends.len() != self.columns.len() {
            return Err(changed());
        }
        let fields = self.columns.iter().cloned().zip(record.cells().map(|c| self.value(&c)));
        Ok(Row { fields: fields.collect(), place })
    }

    fn place(&self, index: usize) -> Place {
        self.records.place(index)
    }
}

impl Csv {
    fn value(&self, cell: &Cell<'_>) -> Value {
        let missing = cell.text.is_empty() || self.null_values.iter().any(|v| v == cell.text);
        if missing && !cell.quoted { Value::Null } else { Value::from(cell.text) }
    }
}

/// Reads one record; gives where it begins and its line, or nothing at the end of the file.
fn next_record(
    path: &Path,
    lines: &mut Lines<'_>,
    record: &mut Record,
    separator: Option<&dyn Fn(&Lines<'_>) -> u8>,
) -> Result<Option<(u64, usize)>, DataError> {
    record.clear();
    loop {
        if !lines.advance()? {
            return Ok(None);
        }
        if !lines.is_blank() {
            break;
        }
    }
    if let Some(separator) = separator {
        record.separator = separator(lines);
    }
    let begin = (lines.start, lines.number);
    let mut quote = lines.number; // the line where the quoted cell that is still open begins
    loop {
        let was_open = record.is_open();
        let cells = record.ends.len();
        // The bytes were checked to be UTF-8 as they were read.
        record.feed(&String::from_utf8_lossy(&lines.bytes)).map_err(|byte| {
            DataError::StrayQuote { path: path.to_owned(), line: lines.number, byte }
        })?;
        if !record.is_open() {
            break;
        }
        if !was_open || record.ends.len() > cells {
            quote = lines.number;
        }
        if !lines.advance()? {
            return Err(DataError::OpenQuote { path: path.to_owned(), line: quote });
        }
    }
    record.finish();
    Ok(Some(begin))
}

/// The separator of a file with this header.
fn sniff(header: &[u8]) -> u8 {
    let mut best = (0, b',');
    for separator in *b",;\t|" {
        let mut quoted = false;
        let count = header
            .iter()
            .filter(|byte| {
                quoted ^= **byte == b'"';
                !quoted && **byte == separator
            })
            .count();
        if count > best.0 {
            best = (count, separator);
        }
    }
    best.1
}

fn checked(separator: char) -> Result<u8, DataError> {
    match u8::try_from(separator) {
        Ok(byte) if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(byte),
        _ => Err(DataError::Separator { separator }),
    }
}

/// One record, taken apart line by line.
struct Record {
    separator: u8,
    text: String,
    ends: Vec<(usize, bool)>, // where each cell ends in `text`, and whether it was quoted
    state: State,
}

struct Cell<'a> {
    text: &'a str,
    quoted: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    CellStart,
    Plain,
    Quoted,
    /// After a quote inside a quoted cell: its end, or the first half of a doubled quote.
    Closing,
    End,
}

impl Record {
    fn new(separator: u8) -> Self {
        Self { separator, text: String::new(), ends: Vec::new(), state: State::CellStart }
    }

    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.state = State::CellStart;
    }

    /// Whether the record goes on in the next line.
    fn is_open(&self) -> bool {
        self.state == State::Quoted
    }

    /// Takes the next line with its line break. The error is the byte, from 1, of what stands
    /// behind a closing quote.
    fn feed(&mut self, line: &str) -> Result<(), usize> {
        let ending = if line.ends_with("\r\n") { 2 } else { usize::from(line.ends_with('\n')) };
        let body = line.len() - ending;
        let mut pending = 0; // what is not yet copied into `text`
        for (i, byte) in line.bytes().enumerate().take(body) {
            match (self.state, byte) {
                (State::CellStart, b'"') => {
                    self.state = State::Quoted;
                    pending = i + 1;
                }
                (State::CellStart | State::Plain, byte) if byte == self.separator => {
                    self.text.push_str(&line[pending..i]);
                    self.end_cell(false);
                    pending = i + 1;
                }
                (State::CellStart, _) => self.state = State::Plain,
                (State::Quoted, b'"') => {
                    self.text.push_str(&line[pending..i]);
                    self.state = State::Closing;
                    pending = i + 1;
                }
                (State::Closing, b'"') => {
                    self.state = State::Quoted;
                    pending = i; // the second quote is text
                }
                (State::Closing, byte) if byte == self.separator => {
                    self.end_cell(true);
                    pending = i + 1;
                }
                (State::Closing | State::End, _) => return Err(i + 1),
                (State::Plain | State::Quoted, _) => {}
            }
        }
        match self.state {
            State::Quoted => self.text.push_str(&line[pending..]),
            _ => self.text.push_str(&line[pending..body]),
        }
        Ok(())
    }

    /// Ends the last cell.
    fn finish(&mut self) {
        if self.state != State::End {
            self.end_cell(self.state == State::Closing);
            self.state = State::End;
        }
    }

    fn end_cell(&mut self, quoted: bool) {
        self.ends.push((self.text.len(), quoted));
        self.state = State::CellStart;
    }

    fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        let mut start = 0;
        self.ends.iter().map(move |&(end, quoted)| {
            let text = &self.text[start..end];
            start = end;
            Cell { text, quoted }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<(String, bool)>, usize> {
        let mut record = Record::new(b',');
        for line in text.split_inclusive('\n') {
            record.feed(line)?;
        }
        record.finish();
        Ok(record.cells().map(|cell| (cell.text.to_owned(), cell.quoted)).collect())
    }

    #[test]
    fn records_come_apart() {
        let check = |text: &str, expected: &[(&str, bool)]| {
            let expected: Vec<_> = expected.iter().map(|(t, q)| ((*t).to_owned(), *q)).collect();
            assert_eq!(parse(text).unwrap(), expected, "{text:?}");
        };
        check("a,b\n", &[("a", false), ("b", false)]);
        check("a,b\r\n", &[("a", false), ("b", false)]);
        check(",\n", &[("", false), ("", false)]);
        check("\"\",\"\"\n", &[("", true), ("", true)]);
        check("\"a,\"\"b\"\"\",c", &[("a,\"b\"", true), ("c", false)]);
        check("\"a\r\nb\nc\",d\n", &[("a\r\nb\nc", true), ("d", false)]);
        check("it's 5\" wide,\"\"\"\"\n", &[("it's 5\" wide", false), ("\"", true)]);
        check("ä,\"ö\"\n", &[("ä", false), ("ö", true)]);
    }

    #[test]
    fn text_behind_a_quote_is_refused() {
        assert_eq!(parse("a,\"b\" c\n"), Err(6));
    }

    #[test]
    fn the_header_tells_the_separator() {
        let check = |header: &str, separator| assert_eq!(sniff(header.as_bytes()), separator);
        check("a,b;c,d\n", b',');
        check("a;b\n", b';');
        check("a\tb,c\td\n", b'\t');
        check("a|b\n", b'|');
        check("\"a,b,c\";d\n", b';');
        check("a,b;c\n", b',');
        check("text\n", b',');
    }
}
