//! Columns of cells as a Parquet file, compressed with snappy.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{Type, TypePtr};
use serde_json::Value;

use crate::{DataError, text};

/// The most rows of one row group.
const GROUP: usize = 100_000;

/// The cells written so far, column by column.
#[derive(Debug)]
pub(super) struct Columns {
    cells: Vec<Vec<Value>>,
}

/// What holds all cells of a column.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Bool,
    Int,
    Double,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Shape {
    kind: Kind,
    list: bool,
}

impl Columns {
    pub(super) fn new(columns: usize) -> Self {
        Self { cells: vec![Vec::new(); columns] }
    }

    pub(super) fn add(&mut self, cells: &[Value]) {
        for (column, cell) in self.cells.iter_mut().zip(cells) {
            column.push(cell.clone());
        }
    }

    pub(super) fn write(
        &self,
        path: &Path,
        names: &[String],
        rows: usize,
        into: &mut (impl Write + Send),
    ) -> Result<(), DataError> {
        self.encode(names, rows, into).map_err(|source| DataError::Parquet {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    fn encode(
        &self,
        names: &[String],
        rows: usize,
        into: &mut (impl Write + Send),
    ) -> Result<(), ParquetError> {
        let shapes: Vec<Shape> = self.cells.iter().map(|cells| Shape::of(cells)).collect();
        let fields = names.iter().zip(&shapes).map(|(name, shape)| shape.field(name));
        let schema = Type::group_type_builder("schema")
            .with_fields(fields.collect::<Result<Vec<TypePtr>, _>>()?)
            .build()?;
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let mut file = SerializedFileWriter::new(into, Arc::new(schema), Arc::new(properties))?;
        for start in (0..rows).step_by(GROUP) {
            let end = (start + GROUP).min(rows);
            let mut group = file.next_row_group()?;
            for (cells, shape) in self.cells.iter().zip(&shapes) {
                if let Some(mut column) = group.next_column()? {
                    shape.write(&cells[start..end], column.untyped())?;
                    column.close()?;
                }
            }
            group.close()?;
        }
        file.close()?;
        Ok(())
    }
}

impl Shape {
    /// A list where all cells are lists, and otherwise a plain column. A list in a plain column,
    /// and anything in a list that is itself no plain value, is written as JSON text.
    fn of(cells: &[Value]) -> Self {
        let present = || cells.iter().filter(|cell| !cell.is_null());
        let list = present().next().is_some() && present().all(Value::is_array);
        let kind = if list {
            Kind::of(present().filter_map(Value::as_array).flatten())
        } else {
            Kind::of(cells.iter())
        };
        Self { kind, list }
    }

    fn field(self, name: &str) -> Result<TypePtr, ParquetError> {
        let leaf = |name: &str| {
            let physical = match self.kind {
                Kind::Bool => Physical::BOOLEAN,
                Kind::Int => Physical::INT64,
                Kind::Double => Physical::DOUBLE,
                Kind::Text => Physical::BYTE_ARRAY,
            };
            let text = (self.kind == Kind::Text).then_some(LogicalType::String);
            Type::primitive_type_builder(name, physical)
                .with_repetition(Repetition::OPTIONAL)
                .with_logical_type(text)
                .build()
                .map(Arc::new)
        };
        if !self.list {
            return leaf(name);
        }
        let middle = Type::group_type_builder("list")
            .with_repetition(Repetition::REPEATED)
            .with_fields(vec![leaf("element")?])
            .build()?;
        Type::group_type_builder(name)
            .with_repetition(Repetition::OPTIONAL)
            .with_converted_type(ConvertedType::LIST)
            .with_logical_type(Some(LogicalType::List))
            .with_fields(vec![Arc::new(middle)])
            .build()
            .map(Arc::new)
    }

    fn write(self, cells: &[Value], column: &mut ColumnWriter<'_>) -> Result<(), ParquetError> {
        // Definition levels count how much of `optional list / repeated entry / optional element`
        // is there; repetition level 1 continues the list of the entry before.
        let (mut definition, mut repetition) = (Vec::new(), Vec::new());
        let mut values: Vec<&Value> = Vec::new();
        let mut put = |value, repeated: i16, depth: i16| {
            repetition.push(repeated);
            definition.push(depth);
            values.extend(value);
        };
        for cell in cells {
            match (self.list, cell) {
                (_, Value::Null) => put(None, 0, 0),
                (false, cell) => put(Some(cell), 0, 1),
                (true, Value::Array(list)) if !list.is_empty() => {
                    for (i, element) in list.iter().enumerate() {
                        let present = (!element.is_null()).then_some(element);
                        put(present, i16::from(i > 0), 2 + i16::from(present.is_some()));
                    }
                }
                (true, _) => put(None, 0, 1), // an empty list
            }
        }
        let definition = Some(definition.as_slice());
        let repetition = self.list.then_some(repetition.as_slice());
        match column {
            ColumnWriter::BoolColumnWriter(writer) => {
                let values: Vec<bool> = values.iter().filter_map(|v| v.as_bool()).collect();
                writer.write_batch(&values, definition, repetition)?;
            }
            ColumnWriter::Int64ColumnWriter(writer) => {
                let values: Vec<i64> = values.iter().filter_map(|v| v.as_i64()).collect();
                writer.write_batch(&values, definition, repetition)?;
            }
            ColumnWriter::DoubleColumnWriter(writer) => {
                let values: Vec<f64> = values.iter().filter_map(|v| v.as_f64()).collect();
                writer.write_batch(&values, definition, repetition)?;
            }
            ColumnWriter::ByteArrayColumnWriter(writer) => {
                let bytes = |v: &&Value| ByteArray::from(text(v).unwrap_or_default().as_bytes());
                let values: Vec<ByteArray> = values.iter().map(bytes).collect();
                writer.write_batch(&values, definition, repetition)?;
            }
            _ => return Err(ParquetError::General("a column of another type".to_owned())),
        }
        Ok(())
    }
}

impl Kind {
    /// The narrowest kind that holds all values that are there.
    fn of<'a>(values: impl Iterator<Item = &'a Value>) -> Self {
        let mut kind = None;
        for value in values {
            let own = match value {
                Value::Null => continue,
                Value::Bool(_) => Self::Bool,
                Value::Number(n) if n.is_i64() => Self::Int,
                Value::Number(_) => Self::Double,
                _ => Self::Text,
            };
            kind = Some(match (kind, own) {
                (None, own) => own,
                (Some(kind), own) if kind == own => own,
                (Some(Self::Int | Self::Double), Self::Int | Self::Double) => Self::Double,
                _ => Self::Text,
            });
        }
        kind.unwrap_or(Self::Text)
    }
}
