//! One record of separated text, so written that reading gives the same cells.

use serde_json::Value;

pub(super) fn write(into: &mut Vec<u8>, separator: u8, cells: &[Value]) {
    for (i, cell) in cells.iter().enumerate() {
        if i > 0 {
            into.push(separator);
        }
        match crate::text(cell) {
            None if cells.len() == 1 => into.extend(b"\"\""), // a blank line would be skipped
            None => {}
            Some(text) => write_text(into, separator, &text),
        }
    }
    into.push(b'\n');
}

fn write_text(into: &mut Vec<u8>, separator: u8, text: &str) {
    let special = |byte: u8| byte == separator || matches!(byte, b'"' | b'\n' | b'\r');
    // A byte order mark at the head of a file would be taken for one.
    if !text.is_empty() && !text.bytes().any(special) && !text.starts_with('\u{feff}') {
        into.extend(text.as_bytes());
        return;
    }
    into.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' {
            into.push(b'"');
        }
        into.push(byte);
    }
    into.push(b'"');
}
