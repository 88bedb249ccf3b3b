//! A file and where each of its records begins: all that is kept of a file in memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::format::is_gzip;
use crate::{DataError, Place, Unit};

/// Records of a file, found by their number: 8 bytes of memory each.
pub(super) struct Records {
    path: Arc<Path>,
    unit: Unit,
    reader: Mutex<Reader>,
    starts: Vec<u64>,
    end: u64,
    lines: LineMap,
}

/// An open file and how far it is read, so that reading on needs no seek.
struct Reader {
    file: BufReader<File>,
    at: u64,
}

impl Records {
    pub(super) fn new(path: &Path, unit: Unit, file: File, index: Index) -> Self {
        // What was grown by doubling is kept only as large as it is used.
        let mut starts = index.starts;
        starts.shrink_to_fit();
        Self {
            path: path.into(),
            unit,
            // The scan left the file at its end: the first read must seek.
            reader: Mutex::new(Reader { file: BufReader::new(file), at: u64::MAX }),
            starts,
            end: index.end,
            lines: index.lines,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    pub(super) fn place(&self, index: usize) -> Place {
        Place {
            file: Arc::clone(&self.path),
            line: self.lines.line(index),
            unit: self.unit.clone(),
        }
    }

    /// The bytes from the beginning of a record to the beginning of the next one.
    pub(super) fn read(&self, index: usize) -> Result<Vec<u8>, DataError> {
        let Some(&start) = self.starts.get(index) else {
            return Err(DataError::OutOfRange { index, len: self.len() });
        };
        let end = self.starts.get(index + 1).copied().unwrap_or(self.end);
        let mut bytes = vec![0; (end - start) as usize];
        // A reader that was left in the middle by a failed read says so: `at` is stale then.
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader.read(start, &mut bytes).map_err(|source| match source.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                DataError::Changed { path: self.path.to_path_buf() }
            }
            _ => DataError::Read { path: self.path.to_path_buf(), source },
        })?;
        Ok(bytes)
    }
}

impl Reader {
    fn read(&mut self, start: u64, into: &mut [u8]) -> std::io::Result<()> {
        let near = i64::try_from(start).ok().zip(i64::try_from(self.at).ok());
        match near {
            Some((start, at)) => self.file.seek_relative(start - at)?,
            None => drop(self.file.seek(SeekFrom::Start(start))?),
        }
        self.at = u64::MAX;
        self.file.read_exact(into)?;
        self.at = start + into.len() as u64;
        Ok(())
    }
}

/// Where records begin and on which lines, as a scan collects it.
#[derive(Default)]
pub(super) struct Index {
    pub(super) starts: Vec<u64>,
    pub(super) end: u64,
    lines: LineMap,
}

impl Index {
    pub(super) fn push(&mut self, start: u64, line: usize) {
        self.lines.push(self.starts.len(), line);
        self.starts.push(start);
    }
}

/// The line of each record, kept only where it is not the line after the record before.
#[derive(Default)]
struct LineMap {
    jumps: Vec<(usize, usize)>, // (record, its line)
}

impl LineMap {
    fn push(&mut self, record: usize, line: usize) {
        if self.jumps.is_empty() || self.line(record) != line {
            self.jumps.push((record, line));
        }
    }

    fn line(&self, record: usize) -> usize {
        let after = self.jumps.partition_point(|(first, _)| *first <= record);
        match after.checked_sub(1).map(|i| self.jumps[i]) {
            Some((first, line)) => line + (record - first),
            None => record + 1,
        }
    }
}

/// Opens a text file. What is compressed is unpacked into a temporary file without a name,
/// since nothing can be found by offset in a compressed one.
pub(super) fn open_text(path: &Path) -> Result<File, DataError> {
    let failed = |source| DataError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    if is_gzip(path) {
        let mut unpacked = tempfile::tempfile().map_err(failed)?;
        std::io::copy(&mut flate2::read::MultiGzDecoder::new(file), &mut unpacked)
            .map_err(failed)?;
        unpacked.seek(SeekFrom::Start(0)).map_err(failed)?;
        file = unpacked;
    }
    let mut first = [0; 2];
    let got = file.read(&mut first).map_err(failed)?;
    let encoding = |encoding| Err(DataError::Encoding { path: path.to_owned(), encoding });
    match first.get(..got) {
        Some([]) | None => return Err(DataError::EmptyFile { path: path.to_owned() }),
        Some([0xff, 0xfe]) => return encoding("UTF-16 (little endian)"),
        Some([0xfe, 0xff]) => return encoding("UTF-16 (big endian)"),
        Some([0x1f, 0x8b]) => return encoding("compressed with gzip, without `.gz` in its name"),
        _ => {}
    }
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok(file)
}

/// The lines of a text file with their numbers and offsets, checked to be UTF-8.
pub(super) struct Lines<'a> {
    path: &'a Path,
    file: BufReader<&'a File>,
    /// The line last read, with its line break and without a byte order mark.
    pub(super) bytes: Vec<u8>,
    /// Its number, from 1.
    pub(super) number: usize,
    /// Where it begins in the file.
    pub(super) start: u64,
    /// Where the next one begins.
    pub(super) next: u64,
}

impl<'a> Lines<'a> {
    pub(super) fn new(path: &'a Path, file: &'a File) -> Self {
        let file = BufReader::with_capacity(1 << 16, file);
        Self { path, file, bytes: Vec::new(), number: 0, start: 0, next: 0 }
    }

    /// Reads the next line; false at the end of the file.
    pub(super) fn advance(&mut self) -> Result<bool, DataError> {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        self.bytes.clear();
        let got = self
            .file
            .read_until(b'\n', &mut self.bytes)
            .map_err(|source| DataError::Read { path: self.path.to_owned(), source })?;
        self.start = self.next;
        self.next += got as u64;
        if got == 0 {
            return Ok(false);
        }
        self.number += 1;
        if self.number == 1 && self.bytes.starts_with(MARK) {
            self.bytes.drain(..MARK.len());
            self.start += MARK.len() as u64;
        }
        match std::str::from_utf8(&self.bytes) {
            Ok(_) => Ok(true),
            Err(error) => Err(DataError::InvalidUtf8 {
                path: self.path.to_owned(),
                line: self.number,
                byte: error.valid_up_to() + 1,
            }),
        }
    }

    /// Whether the line last read holds nothing but its line break.
    pub(super) fn is_blank(&self) -> bool {
        matches!(self.bytes.as_slice(), b"\n" | b"\r\n" | b"\r" | b"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_where_they_jump() {
        let mut map = LineMap::default();
        let lines = [2, 3, 4, 9, 10, 12];
        for (record, line) in lines.into_iter().enumerate() {
            map.push(record, line);
        }
        assert_eq!(map.jumps, [(0, 2), (3, 9), (5, 12)]);
        let back: Vec<_> = (0..lines.len()).map(|record| map.line(record)).collect();
        assert_eq!(back, lines);
    }
}
