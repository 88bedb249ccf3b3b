//! JSON: one object per line, a list of records, or an object of columns.
//!
//! Lines and lists are read through once and then record by record. An object of columns has
//! no records in the file, so it is taken into memory and spooled.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::records::{Index, Lines, Records, open_text};
use super::spool::Spool;
use crate::{DataError, Place, Row, Source, Unit};

struct Json {
    columns: Vec<String>,
    records: Records,
}

/// Opens a file with one object per line.
pub(super) fn open_lines(path: &Path) -> Result<Box<dyn Source>, DataError> {
    let file = open_text(path)?;
    let mut lines = Lines::new(path, &file);
    let mut columns = Columns::default();
    let mut index = Index::default();
    while lines.advance()? {
        if lines.bytes.trim_ascii().is_empty() {
            continue;
        }
        let object: Object = serde_json::from_slice(&lines.bytes)
            .map_err(|error| bad_json(path, &error, lines.number, 1))?;
        columns.add(&object.0);
        index.push(lines.start, lines.number);
    }
    index.end = lines.next;
    drop(lines);
    finish(path, file, index, columns)
}

/// Opens a file that holds a list of records or an object of columns.
pub(super) fn open(path: &Path) -> Result<Box<dyn Source>, DataError> {
    let file = open_text(path)?;
    let mut bytes = Bytes::new(path, &file);
    bytes.skip_mark()?;
    match bytes.skip_space()? {
        None => return Err(DataError::EmptyFile { path: path.to_owned() }),
        Some(b'{') => {
            let mut text = Vec::new();
            bytes
                .file
                .read_to_end(&mut text)
                .map_err(|source| DataError::Read { path: path.to_owned(), source })?;
            return open_columns(path, &text, bytes.line, bytes.column);
        }
        Some(b'[') => drop(bytes.take()?),
        Some(other) => {
            let reason = format!("it begins with `{}`", char::from(other).escape_default());
            return Err(DataError::JsonShape { path: path.to_owned(), reason });
        }
    }
    let mut columns = Columns::default();
    let mut index = Index::default();
    let mut element = Vec::new();
    let mut next = bytes.skip_space()?;
    if next == Some(b']') {
        return Err(DataError::NoRows { path: path.to_owned() });
    }
    loop {
        let (start, line, column) = (bytes.offset, bytes.line, bytes.column);
        bytes.take_element(&mut element)?;
        let object: Object = serde_json::from_slice(&element)
            .map_err(|error| bad_json(path, &error, line, column))?;
        columns.add(&object.0);
        index.push(start, line);
        index.end = bytes.offset;
        next = bytes.skip_space()?;
        match next {
            Some(b',') => {
                bytes.take()?;
                bytes.skip_space()?;
            }
            Some(b']') => break,
            _ => return Err(bytes.fault("expected `,` or `]` after a record")),
        }
    }
    bytes.take()?;
    if bytes.skip_space()?.is_some() {
        return Err(bytes.fault("text after the end of the list"));
    }
    drop(bytes);
    finish(path, file, index, columns)
}

fn finish(
    path: &Path,
    file: File,
    index: Index,
    columns: Columns,
) -> Result<Box<dyn Source>, DataError> {
    if index.starts.is_empty() {
        return Err(DataError::NoRows { path: path.to_owned() });
    }
    let records = Records::new(path, Unit::Line, file, index);
    Ok(Box::new(Json { columns: columns.order, records }))
}

/// `{"a": [1, 2], "b": ["x", "y"]}`, or with objects by row number in place of the lists.
fn open_columns(
    path: &Path,
    text: &[u8],
    line: usize,
    column: usize,
) -> Result<Box<dyn Source>, DataError> {
    let object: Object =
        serde_json::from_slice(text).map_err(|error| bad_json(path, &error, line, column))?;
    let shape = |reason: String| DataError::JsonShape { path: path.to_owned(), reason };
    let mut first_keys: Option<Vec<String>> = None;
    let mut columns = Vec::new();
    for (name, cells) in object.0 {
        let cells: Vec<Value> = match cells {
            Value::Array(cells) => cells,
            Value::Object(cells) => {
                let keys: Vec<String> = cells.keys().cloned().collect();
                if *first_keys.get_or_insert_with(|| keys.clone()) != keys {
                    return Err(shape(format!("column `{name}` has other row names")));
                }
                cells.into_iter().map(|(_, cell)| cell).collect()
            }
            _ => return Err(shape(format!("`{name}` holds neither a list nor an object"))),
        };
        columns.push((name, cells));
    }
    let rows = columns.first().map_or(0, |(_, cells)| cells.len());
    if let Some((name, cells)) = columns.iter().find(|(_, cells)| cells.len() != rows) {
        return Err(shape(format!("column `{name}` has {} cells, expected {rows}", cells.len())));
    }
    let names = columns.iter().map(|(name, _)| name.clone()).collect();
    let mut spool = Spool::new(path, names, Unit::Row)?;
    let mut cells: Vec<_> = columns.into_iter().map(|(_, cells)| cells.into_iter()).collect();
    for row in 1..=rows {
        let row_cells: Vec<Value> = cells.iter_mut().filter_map(Iterator::next).collect();
        spool.push(row, &row_cells)?;
    }
    spool.finish()
}

impl Source for Json {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn len(&self) -> usize {
        self.records.len()
    }

    fn row(&self, index: usize) -> Result<Row, DataError> {
        let bytes = self.records.read(index)?;
        let place = self.records.place(index);
        // A list's record is followed by a comma: only the first value counts.
        let first = serde_json::Deserializer::from_slice(&bytes).into_iter::<Object>().next();
        let Some(Ok(Object(mut object))) = first else {
            return Err(DataError::Changed { path: place.file.to_path_buf() });
        };
        let fields = self
            .columns
            .iter()
            .map(|column| (column.clone(), object.get_mut(column).map_or(Value::Null, Value::take)))
            .collect();
        Ok(Row { fields, place })
    }

    fn place(&self, index: usize) -> Place {
        self.records.place(index)
    }
}

/// The columns of all records, in the order they first appear.
#[derive(Default)]
struct Columns {
    order: Vec<String>,
    known: HashSet<String>,
}

impl Columns {
    fn add(&mut self, object: &Map<String, Value>) {
        for key in object.keys() {
            if !self.known.contains(key) {
                self.known.insert(key.clone());
                self.order.push(key.clone());
            }
        }
    }
}

/// An object in which no key stands twice. (`Map` alone would keep the last and say nothing.)
struct Object(Map<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Object, A::Error> {
                let mut map = Map::new();
                while let Some((key, value)) = access.next_entry::<String, Value>()? {
                    if map.contains_key(&key) {
                        return Err(A::Error::custom(format!("key `{key}` appears twice")));
                    }
                    map.insert(key, value);
                }
                Ok(Object(map))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// An error of a piece of JSON that begins at this line and column of the file.
fn bad_json(path: &Path, error: &serde_json::Error, line: usize, column: usize) -> DataError {
    let message = error.to_string();
    let reason = match message.rfind(" at line ") {
        Some(end) => message[..end].to_owned(),
        None => message,
    };
    let within = error.line().max(1);
    DataError::Json {
        path: path.to_owned(),
        line: line + within - 1,
        column: if within == 1 {
            column + error.column().saturating_sub(1)
        } else {
            error.column().max(1)
        },
        reason,
    }
}

/// The bytes of a file, one by one, with their position.
struct Bytes<'a> {
    path: &'a Path,
    file: BufReader<&'a File>,
    offset: u64,
    line: usize,
    column: usize,
}

impl<'a> Bytes<'a> {
    fn new(path: &'a Path, file: &'a File) -> Self {
        let file = BufReader::with_capacity(1 << 16, file);
        Self { path, file, offset: 0, line: 1, column: 1 }
    }

    fn peek(&mut self) -> Result<Option<u8>, DataError> {
        let buffer = self.file.fill_buf();
        let buffer =
            buffer.map_err(|source| DataError::Read { path: self.path.to_owned(), source })?;
        Ok(buffer.first().copied())
    }

    fn take(&mut self) -> Result<Option<u8>, DataError> {
        let byte = self.peek()?;
        if let Some(byte) = byte {
            self.file.consume(1);
            self.offset += 1;
            self.column += 1;
            if byte == b'\n' {
                self.line += 1;
                self.column = 1;
            }
        }
        Ok(byte)
    }

    fn skip_mark(&mut self) -> Result<(), DataError> {
        if self.peek()? == Some(0xef) {
            for _ in 0..3 {
                self.take()?;
            }
            self.column = 1;
        }
        Ok(())
    }

    /// Goes to the next byte that is no white space, and tells it.
    fn skip_space(&mut self) -> Result<Option<u8>, DataError> {
        while let Some(byte) = self.peek()? {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Ok(Some(byte));
            }
            self.take()?;
        }
        Ok(None)
    }

    /// Takes the bytes of one element, up to the comma or bracket behind it.
    /// Whether they are JSON is for the parser to say.
    fn take_element(&mut self, into: &mut Vec<u8>) -> Result<(), DataError> {
        into.clear();
        let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
        while let Some(byte) = self.peek()? {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                _ if in_string => {}
                b',' | b']' if depth == 0 => return Ok(()),
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            into.push(byte);
            self.take()?;
        }
        Err(self.fault("the list is not closed"))
    }

    fn fault(&self, reason: &str) -> DataError {
        DataError::Json {
            path: self.path.to_owned(),
            line: self.line,
            column: self.column,
            reason: reason.to_owned(),
        }
    }
}
