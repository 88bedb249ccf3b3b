//! What the cells of an `.xls` workbook claim, looked at before anyone makes room for it.
//!
//! The decoder makes a full rectangle between the first and the last cell of each sheet. A record
//! may name any of 65,536 columns, a sheet has 256 of them; so one damaged cell asks for 84 GB,
//! which ends the program before an error can be made of it. The container is read by another
//! library, which refuses chains of sectors that are circles.
//!
//! Records: type and length as two 16-bit numbers, then the content; little endian.
//! Source: \[MS-XLS\] 2.3 (record stream) and 2.4 (the records named below), \[MS-CFB\].

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

const COLUMNS: u16 = 256;
const ROWS: u32 = 65_536;

/// # Errors
///
/// What is damaged, in words; an `io::Error` only if the file cannot be read.
pub(super) fn check(path: &Path) -> io::Result<Result<(), String>> {
    let mut container = match cfb::CompoundFile::open(File::open(path)?) {
        Ok(container) => container,
        Err(error) => return Ok(Err(format!("its container is damaged: {error}"))),
    };
    let streams: Vec<_> = container
        .walk()
        .filter(cfb::Entry::is_stream)
        .filter(|entry| ["workbook", "book"].contains(&entry.name().to_lowercase().as_str()))
        .map(|entry| entry.path().to_owned())
        .collect();
    for stream in streams {
        let mut content = Vec::new();
        let read =
            container.open_stream(&stream).and_then(|mut stream| stream.read_to_end(&mut content));
        if let Err(error) = read {
            return Ok(Err(format!("its container is damaged: {error}")));
        }
        if let Err(reason) = check_sheets(&content) {
            return Ok(Err(reason));
        }
    }
    Ok(Ok(()))
}

fn check_sheets(stream: &[u8]) -> Result<(), String> {
    const BOUND_SHEET: u16 = 0x0085;
    for record in Records(stream) {
        if let (BOUND_SHEET, [a, b, c, d, ..]) = (record.kind, record.content) {
            let at = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
            let Some(sheet) = stream.get(at..) else {
                return Err(format!("a sheet begins at byte {at} of {}", stream.len()));
            };
            Records(sheet).try_for_each(|record| check_record(&record))?;
        }
    }
    Ok(())
}

/// A record of a sheet names no cell outside of what a sheet can hold.
fn check_record(record: &Record<'_>) -> Result<(), String> {
    const DIMENSIONS: u16 = 0x0200;
    const MUL_RK: u16 = 0x00BD;
    // FORMULA, LABELSST, RSTRING, NUMBER, LABEL, BOOLERR, RK
    const CELLS: [u16; 7] = [0x0006, 0x00FD, 0x00D6, 0x0203, 0x0204, 0x0205, 0x027E];
    let number = |at: usize| {
        let bytes = record.content.get(at..at + 2)?;
        Some(u16::from_le_bytes([bytes[0], bytes[1]]))
    };
    let wide = |at: usize| Some(u32::from(number(at)?) | u32::from(number(at + 2)?) << 16);
    // The columns it names, and the rows it spans.
    let (columns, rows) = match record.kind {
        kind if CELLS.contains(&kind) => (vec![number(2)], None),
        MUL_RK => (vec![number(2), number(record.content.len().saturating_sub(2))], None),
        // Before version 8 rows have 16 bits. The ends are the first that are not used.
        DIMENSIONS if record.content.len() == 10 => {
            (vec![number(6).map(before)], number(0).map(u32::from).zip(number(2).map(u32::from)))
        }
        DIMENSIONS => (vec![number(10).map(before)], wide(0).zip(wide(4))),
        _ => return Ok(()),
    };
    if let Some(column) = columns.into_iter().flatten().find(|column| *column >= COLUMNS) {
        return Err(format!(
            "a cell lies in column {}, a sheet of this format has {COLUMNS}",
            u32::from(column) + 1
        ));
    }
    if let Some((first, end)) = rows
        && (first.max(end) > ROWS || (first > end && end > 0))
    {
        return Err(format!(
            "a sheet goes from row {} to row {end} of {ROWS}",
            u64::from(first) + 1
        ));
    }
    Ok(())
}

const fn before(end: u16) -> u16 {
    end.saturating_sub(1)
}

struct Record<'a> {
    kind: u16,
    content: &'a [u8],
}

/// The records up to the end of the substream, or to where the bytes end: what a cut record
/// holds, the decoder refuses itself.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let (head, rest) = self.0.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Record { kind: u16::from_le_bytes([head[0], head[1]]), content })
    }
}
