//! Workbooks: the first sheet or a named one, its first row that is not empty as the header.
//!
//! The reader takes a sheet into memory as a whole. Numbers without fraction become integers
//! (a workbook knows no other numbers than floating ones), dates become ISO 8601 text. A cell with
//! empty text counts as missing, since nobody sees the difference in a sheet; rows without any
//! cell are skipped.

use std::path::Path;
use std::sync::Arc;

use calamine::{Data, Range, Reader, open_workbook_auto};
use serde_json::Value;

use super::caught::caught;
use super::spool::Spool;
use crate::{DataError, Place, Source, Unit};

pub(super) fn open(path: &Path, sheet: Option<&str>) -> Result<Box<dyn Source>, DataError> {
    // The library reports a missing file in several ways.
    std::fs::metadata(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    let decoded = caught(|| decode(path, sheet))
        .map_err(|reason| DataError::Workbook { path: path.to_owned(), source: reason.into() })?;
    let (sheet, range) = decoded?;
    let first_row = range.start().map_or(0, |(row, _)| row as usize);
    let mut rows = range
        .rows()
        .enumerate()
        .map(|(i, cells)| (first_row + i + 1, cells))
        .filter(|(_, cells)| cells.iter().any(|cell| !is_blank(cell)));
    let Some((header_row, header)) = rows.next() else {
        return Err(DataError::EmptyFile { path: path.to_owned() });
    };

    let sheet: Arc<str> = sheet.into();
    let place = |line| Place { file: path.into(), line, unit: Unit::Sheet(Arc::clone(&sheet)) };
    // Formatting alone stretches a sheet: columns without a name at its right edge do not count
    // as long as they hold nothing.
    let width = header.iter().rposition(|cell| !is_blank(cell)).map_or(0, |last| last + 1);
    let mut columns = Vec::with_capacity(width);
    for cell in &header[..width] {
        let name = value(cell).map_err(|reason| DataError::Cell {
            place: place(header_row),
            column: format!("number {}", columns.len() + 1),
            reason,
        })?;
        columns.push(crate::text(&name).unwrap_or_default().into_owned());
    }
    let mut spool = Spool::new(path, columns.clone(), Unit::Sheet(Arc::clone(&sheet)))?;
    for (number, cells) in rows {
        if let Some(extra) = cells.iter().skip(width).position(|cell| !is_blank(cell)) {
            return Err(DataError::Cell {
                place: place(number),
                column: format!("number {}", width + extra + 1),
                reason: "the header has no name for it".to_owned(),
            });
        }
        let cells: Vec<Value> = columns
            .iter()
            .zip(cells)
            .map(|(column, cell)| {
                value(cell).map_err(|reason| DataError::Cell {
                    place: place(number),
                    column: column.clone(),
                    reason,
                })
            })
            .collect::<Result<_, _>>()?;
        spool.push(number, &cells)?;
    }
    spool.finish()
}

/// The name and the cells of a sheet.
fn decode(path: &Path, sheet: Option<&str>) -> Result<(String, Range<Data>), DataError> {
    let failed = |source: calamine::Error| match source {
        calamine::Error::Io(source) => DataError::Read { path: path.to_owned(), source },
        other => DataError::Workbook { path: path.to_owned(), source: Box::new(other) },
    };
    let mut workbook = open_workbook_auto(path).map_err(failed)?;
    let have = workbook.sheet_names();
    let sheet = match sheet {
        Some(sheet) if have.iter().any(|name| name == sheet) => sheet.to_owned(),
        Some(sheet) => {
            return Err(DataError::Sheet { path: path.to_owned(), sheet: sheet.to_owned(), have });
        }
        None => match have.into_iter().next() {
            Some(first) => first,
            None => return Err(DataError::EmptyFile { path: path.to_owned() }),
        },
    };
    let range = workbook.worksheet_range(&sheet).map_err(failed)?;
    Ok((sheet, range))
}

fn is_blank(cell: &Data) -> bool {
    match cell {
        Data::Empty => true,
        Data::String(text) => text.is_empty(),
        _ => false,
    }
}

fn value(cell: &Data) -> Result<Value, String> {
    Ok(match cell {
        cell if is_blank(cell) => Value::Null,
        Data::String(text) | Data::DateTimeIso(text) | Data::DurationIso(text) => {
            Value::from(text.as_str())
        }
        Data::Bool(yes) => Value::from(*yes),
        Data::Int(number) => Value::from(*number),
        Data::Float(number) => float(*number)?,
        Data::DateTime(time) if time.is_datetime() => {
            let (year, month, day, hour, minute, second, milli) = time.to_ymd_hms_milli();
            let date = format!("{year:04}-{month:02}-{day:02}");
            Value::from(match (hour, minute, second, milli) {
                (0, 0, 0, 0) => date,
                (_, _, _, 0) => format!("{date}T{hour:02}:{minute:02}:{second:02}"),
                _ => format!("{date}T{hour:02}:{minute:02}:{second:02}.{milli:03}"),
            })
        }
        Data::DateTime(duration) => float(duration.as_f64())?, // days
        Data::Empty => Value::Null,
        Data::Error(error) => return Err(format!("the sheet shows the error `{error}`")),
    })
}

fn float(number: f64) -> Result<Value, String> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return Ok(Value::from(number as i64));
    }
    serde_json::Number::from_f64(number)
        .map(Value::Number)
        .ok_or_else(|| format!("{number} is not a finite number"))
}
