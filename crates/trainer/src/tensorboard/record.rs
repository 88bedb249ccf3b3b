//! The records of an event file: TensorFlow's framing around `Event` messages of protocol buffers.
//!
//! A record is the length of its message, a checksum of the length, the message, and a checksum of
//! the message; numbers are little-endian. Only the few fields that a run fills are written, in the
//! order of their numbers, so that the bytes are those that other writers make.

use std::io::{self, Write};

/// What an event says.
#[derive(Debug, Clone, Copy)]
pub(super) enum What<'a> {
    /// The version of the file's format; the first event of every file.
    Version,
    /// The run begins, or goes on: readers drop events of this step and later ones.
    Start,
    /// Values by name.
    Scalars(&'a [(&'a str, f64)]),
}

/// The version whose readers drop what a start supersedes.
const VERSION: &str = "brain.Event:2";

/// How a field's bytes are to be read; the lowest 3 bits of its key.
#[derive(Debug, Clone, Copy)]
enum Wire {
    Varint = 0,
    Bits64 = 1,
    Bytes = 2,
    Bits32 = 5,
}

/// Writes an event in one piece, so that a reader never sees a part of one that was written whole.
/// `at` is in seconds since 1970.
pub(super) fn write(to: &mut impl Write, at: f64, step: u64, what: What<'_>) -> io::Result<()> {
    let message = event(at, step, what);
    let length = (message.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(message.len() + 16);
    record.extend(length);
    record.extend(masked_checksum(&length).to_le_bytes());
    record.extend(&message);
    record.extend(masked_checksum(&message).to_le_bytes());
    to.write_all(&record)
}

/// The format's guard against checksums of data that holds checksums.
fn masked_checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// `Event` of TensorFlow's `event.proto`.
fn event(at: f64, step: u64, what: What<'_>) -> Vec<u8> {
    let mut message = Vec::new();
    key(&mut message, 1, Wire::Bits64); // wall_time
    message.extend(at.to_le_bytes());
    if step > 0 {
        key(&mut message, 2, Wire::Varint); // step
        varint(&mut message, step);
    }
    match what {
        What::Version => bytes(&mut message, 3, VERSION.as_bytes()), // file_version
        What::Start => bytes(&mut message, 7, &[1 << 3, 1]), // session_log { status: START }
        What::Scalars(values) => bytes(&mut message, 5, &summary(values)), // summary
    }
    message
}

/// `Summary` of `summary.proto`. Its values are single precision.
fn summary(values: &[(&str, f64)]) -> Vec<u8> {
    let mut message = Vec::new();
    for (tag, value) in values {
        let mut entry = Vec::new();
        bytes(&mut entry, 1, tag.as_bytes()); // tag
        key(&mut entry, 2, Wire::Bits32); // simple_value
        entry.extend((*value as f32).to_le_bytes());
        bytes(&mut message, 1, &entry); // value
    }
    message
}

fn key(message: &mut Vec<u8>, field: u64, wire: Wire) {
    varint(message, field << 3 | wire as u64);
}

fn bytes(message: &mut Vec<u8>, field: u64, contents: &[u8]) {
    key(message, field, Wire::Bytes);
    varint(message, contents.len() as u64);
    message.extend(contents);
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}
