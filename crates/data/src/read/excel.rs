//! Workbooks: the first sheet or a named one, its first row that is not empty as the header.
//!
//! The reader takes the cells of a sheet into memory as a whole, and only those that hold something:
//! one stray cell far to the right or below costs nothing. Numbers without fraction become integers
//! (a workbook knows no other numbers than floating ones), dates become ISO 8601 text. A cell with
//! empty text counts as missing, since nobody sees the difference in a sheet; rows without any
//! cell are skipped.

use std::io::{Read, Seek};
use std::path::Path;
use std::sync::Arc;

use calamine::{Cell, Data, DataRef, Reader, Sheets, open_workbook_auto};
use serde_json::Value;

use super::biff;
use super::caught::caught;
use super::spool::Spool;
use crate::{DataError, Place, Source, Unit};

pub(super) fn open(path: &Path, sheet: Option<&str>) -> Result<Box<dyn Source>, DataError> {
    // The library reports a missing file in several ways.
    std::fs::metadata(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    let decoded = caught(|| decode(path, sheet))
        .map_err(|reason| DataError::Workbook { path: path.to_owned(), source: reason.into() })?;
    let (sheet, cells) = decoded?;
    let mut rows = cells.chunk_by(|a, b| a.row == b.row);
    let Some(header) = rows.next() else {
        return Err(DataError::EmptyFile { path: path.to_owned() });
    };

    let sheet: Arc<str> = sheet.into();
    let place = |line| Place { file: path.into(), line, unit: Unit::Sheet(Arc::clone(&sheet)) };
    let cell_error =
        |row, column: String, reason| DataError::Cell { place: place(row), column, reason };
    // Columns without a name at the right edge do not count as long as they hold nothing.
    let mut columns = vec![String::new(); header.last().map_or(0, |last| last.column + 1)];
    for cell in header {
        let name = value(&cell.value)
            .map_err(|reason| cell_error(cell.row, numbered(cell.column), reason))?;
        columns[cell.column] = crate::text(&name).unwrap_or_default().into_owned();
    }
    let mut spool = Spool::new(path, columns.clone(), Unit::Sheet(Arc::clone(&sheet)))?;
    for cells in rows {
        let mut row = vec![Value::Null; columns.len()];
        for cell in cells {
            let Some(column) = columns.get(cell.column) else {
                let reason = "the header has no name for it".to_owned();
                return Err(cell_error(cell.row, numbered(cell.column), reason));
            };
            row[cell.column] = value(&cell.value)
                .map_err(|reason| cell_error(cell.row, column.clone(), reason))?;
        }
        spool.push(cells[0].row, &row)?;
    }
    spool.finish()
}

fn numbered(column: usize) -> String {
    format!("number {}", column + 1)
}

/// A cell that holds something.
struct Filled {
    /// From 1, as the sheet shows it.
    row: usize,
    /// From 0, counted from the first column of the sheet that holds anything.
    column: usize,
    value: Data,
}

/// The name of a sheet and its cells, by rows, then by columns.
fn decode(path: &Path, sheet: Option<&str>) -> Result<(String, Vec<Filled>), DataError> {
    let read = |source| DataError::Read { path: path.to_owned(), source };
    let failed = |source: calamine::Error| match source {
        calamine::Error::Io(source) => read(source),
        other => DataError::Workbook { path: path.to_owned(), source: Box::new(other) },
    };
    let damaged =
        |reason: String| DataError::Workbook { path: path.to_owned(), source: reason.into() };
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("xls")) {
        biff::check(path).map_err(read)?.map_err(damaged)?;
    }
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
    let cells = cells(&mut workbook, &sheet).map_err(failed)?;
    let cells = in_order(cells).map_err(damaged)?;
    Ok((sheet, cells))
}

/// The cells of a sheet that hold something, in the file's order.
fn cells<R: Read + Seek>(
    workbook: &mut Sheets<R>,
    sheet: &str,
) -> Result<Vec<Cell<Data>>, calamine::Error> {
    let mut cells = Vec::new();
    let mut keep = |position, value: Data| {
        if !is_blank(&value) {
            cells.push(Cell::new(position, value));
        }
    };
    let owned = |cell: &Cell<DataRef<'_>>| Data::from(cell.get_value().clone());
    match workbook {
        Sheets::Xlsx(book) => {
            let mut reader = book.worksheet_cells_reader(sheet)?;
            while let Some(cell) = reader.next_cell()? {
                keep(cell.get_position(), owned(&cell));
            }
        }
        Sheets::Xlsb(book) => {
            let mut reader = book.worksheet_cells_reader(sheet)?;
            while let Some(cell) = reader.next_cell()? {
                keep(cell.get_position(), owned(&cell));
            }
        }
        Sheets::Xls(_) | Sheets::Ods(_) => {
            let range = workbook.worksheet_range(sheet)?;
            let (top, left) = range.start().unwrap_or_default();
            for (row, column, value) in range.used_cells() {
                keep((top + row as u32, left + column as u32), value.clone());
            }
        }
    }
    Ok(cells)
}

/// Cells by rows, then by columns; the columns counted from the leftmost that is used.
fn in_order(mut cells: Vec<Cell<Data>>) -> Result<Vec<Filled>, String> {
    // The last column that any spreadsheet program knows is XFD.
    const COLUMNS: u32 = 16_384;
    cells.sort_by_key(Cell::get_position);
    let columns = || cells.iter().map(|cell| cell.get_position().1);
    if let Some(column) = columns().find(|column| *column >= COLUMNS) {
        return Err(format!("a cell lies in column {column}, a sheet has {COLUMNS}"));
    }
    if let Some(twice) = cells.windows(2).find(|two| two[0].get_position() == two[1].get_position())
    {
        let (row, column) = twice[0].get_position();
        return Err(format!("the cell in row {}, column {} appears twice", row + 1, column + 1));
    }
    let left = columns().min().unwrap_or_default();
    let filled = |cell: &Cell<Data>| {
        let (row, column) = cell.get_position();
        let value = cell.get_value().clone();
        Filled { row: row as usize + 1, column: (column - left) as usize, value }
    };
    Ok(cells.iter().map(filled).collect())
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
