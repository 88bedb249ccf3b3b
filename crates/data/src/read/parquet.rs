//! Parquet, plain or compressed with snappy, zstd or gzip.
//!
//! Dates and times become ISO 8601 text, decimals text, binary cells text where they are UTF-8.
//! A floating cell that is not a number counts as missing, as data frames mean it.

use std::fs::File;
use std::path::Path;

use chrono::{DateTime, NaiveDate, TimeDelta};
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Number, Value};

use super::caught::caught;
use super::spool::Spool;
use crate::{DataError, Place, Source, Unit};

pub(super) fn open(path: &Path) -> Result<Box<dyn Source>, DataError> {
    caught(|| decode(path))
        .map_err(|reason| DataError::Parquet { path: path.to_owned(), source: reason.into() })?
}

fn decode(path: &Path) -> Result<Box<dyn Source>, DataError> {
    let failed = |source: parquet::errors::ParquetError| DataError::Parquet {
        path: path.to_owned(),
        source: Box::new(source),
    };
    let file =
        File::open(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    let reader = SerializedFileReader::new(file).map_err(failed)?;
    let schema = reader.metadata().file_metadata().schema();
    let columns: Vec<String> =
        schema.get_fields().iter().map(|field| field.name().to_owned()).collect();

    let nanos = check_types(path, &reader)?;

    let mut spool = Spool::new(path, columns, Unit::Row)?;
    let rows = reader.get_row_iter(None).map_err(failed)?;
    for (number, row) in (1..).zip(rows) {
        let mut cells = Vec::new();
        for (column, field) in row.map_err(failed)?.into_columns() {
            let cell = match (&field, nanos.get(cells.len())) {
                (Field::Long(ns), Some(true)) => {
                    timestamp(Some(DateTime::from_timestamp_nanos(*ns)))
                }
                _ => value(field),
            };
            cells.push(cell.map_err(|reason| DataError::Cell {
                place: Place { file: path.into(), line: number, unit: Unit::Row },
                column,
                reason,
            })?);
        }
        spool.push(number, &cells)?;
    }
    spool.finish()
}

/// Checks that all types are ones the row reader knows (it gives nanoseconds as bare numbers and
/// panics at some others). Tells for each column whether it is a time stamp in nanoseconds.
fn check_types(path: &Path, reader: &impl FileReader) -> Result<Vec<bool>, DataError> {
    use ConvertedType as C;
    let schema = reader.metadata().file_metadata().schema_descr();
    let mut nanos = vec![false; schema.root_schema().get_fields().len()];
    for leaf in 0..schema.num_columns() {
        let column = schema.column(leaf);
        let is_nanos = match column.logical_type_ref() {
            Some(LogicalType::Timestamp(kind)) => kind.unit == TimeUnit::NANOS,
            _ => false,
        };
        let known = match (column.physical_type(), column.converted_type()) {
            (_, C::NONE) => match column.logical_type_ref() {
                Some(LogicalType::Time(kind)) => kind.unit != TimeUnit::NANOS,
                Some(LogicalType::Timestamp(_)) => column.path().parts().len() == 1,
                _ => true,
            },
            (Physical::INT32, kind) => matches!(
                kind,
                C::INT_8
                    | C::INT_16
                    | C::INT_32
                    | C::UINT_8
                    | C::UINT_16
                    | C::UINT_32
                    | C::DATE
                    | C::TIME_MILLIS
                    | C::DECIMAL
            ),
            (Physical::INT64, kind) => matches!(
                kind,
                C::INT_64
                    | C::UINT_64
                    | C::TIME_MICROS
                    | C::TIMESTAMP_MILLIS
                    | C::TIMESTAMP_MICROS
                    | C::DECIMAL
            ),
            (Physical::BYTE_ARRAY, kind) => {
                matches!(kind, C::UTF8 | C::ENUM | C::JSON | C::BSON | C::DECIMAL)
            }
            (Physical::FIXED_LEN_BYTE_ARRAY, kind) => matches!(kind, C::DECIMAL),
            _ => false,
        };
        if !known {
            return Err(DataError::Parquet {
                path: path.to_owned(),
                source: format!("column `{}` has a type that cannot be read", column.path()).into(),
            });
        }
        if let Some(flag) = nanos.get_mut(schema.get_column_root_idx(leaf)) {
            *flag = is_nanos;
        }
    }
    Ok(nanos)
}

fn value(field: Field) -> Result<Value, String> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(yes) => yes.into(),
        Field::Byte(n) => n.into(),
        Field::Short(n) => n.into(),
        Field::Int(n) => n.into(),
        Field::Long(n) => n.into(),
        Field::UByte(n) => n.into(),
        Field::UShort(n) => n.into(),
        Field::UInt(n) => n.into(),
        Field::ULong(n) => n.into(),
        Field::Float16(x) => float(x.to_f64())?,
        // By way of its shortest text, so that 0.1 stays 0.1.
        Field::Float(x) => float(x.to_string().parse().unwrap_or(f64::from(x)))?,
        Field::Double(x) => float(x)?,
        Field::Str(text) => text.into(),
        Field::Bytes(bytes) => match bytes.as_utf8() {
            Ok(text) => text.into(),
            Err(_) => return Err("binary data that is not UTF-8".to_owned()),
        },
        Field::Date(days) => date(days)?,
        Field::TimeMillis(ms) => time_of_day(i64::from(ms) * 1000)?,
        Field::TimeMicros(us) => time_of_day(us)?,
        Field::TimestampMillis(ms) => timestamp(DateTime::from_timestamp_millis(ms))?,
        Field::TimestampMicros(us) => timestamp(DateTime::from_timestamp_micros(us))?,
        decimal @ Field::Decimal(_) => decimal.to_string().into(),
        Field::Group(row) => Value::Object(
            row.into_columns()
                .into_iter()
                .map(|(key, field)| Ok((key, value(field)?)))
                .collect::<Result<_, String>>()?,
        ),
        Field::ListInternal(list) => list
            .elements()
            .iter()
            .map(|element| value(element.clone()))
            .collect::<Result<Vec<_>, _>>()?
            .into(),
        Field::MapInternal(map) => Value::Object(
            map.entries()
                .iter()
                .map(|(key, cell)| {
                    let key = value(key.clone())?;
                    Ok((crate::text(&key).unwrap_or_default().into_owned(), value(cell.clone())?))
                })
                .collect::<Result<_, String>>()?,
        ),
    })
}

fn float(x: f64) -> Result<Value, String> {
    if x.is_nan() {
        return Ok(Value::Null);
    }
    Number::from_f64(x).map(Value::Number).ok_or_else(|| format!("{x} is not a finite number"))
}

fn date(days: i32) -> Result<Value, String> {
    NaiveDate::default() // 1970-01-01
        .checked_add_signed(TimeDelta::days(i64::from(days)))
        .map(|date| date.to_string().into())
        .ok_or_else(|| format!("{days} days from 1970 is no date"))
}

fn time_of_day(us: i64) -> Result<Value, String> {
    let time = u32::try_from(us.div_euclid(1_000_000)).ok().and_then(|seconds| {
        let nanos = us.rem_euclid(1_000_000) as u32 * 1000;
        chrono::NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanos)
    });
    time.map(|time| time.to_string().into()).ok_or_else(|| format!("{us} µs is no time of day"))
}

fn timestamp(time: Option<DateTime<chrono::Utc>>) -> Result<Value, String> {
    time.map(|time| time.naive_utc().format("%Y-%m-%dT%H:%M:%S%.f").to_string().into())
        .ok_or_else(|| "a time stamp beyond all dates".to_owned())
}
