//! Hashes as text.

use std::fmt::Write as _;

/// A digest in hexadecimal.
pub(crate) fn hex(digest: &[u8]) -> String {
    let mut text = String::with_capacity(digest.len() * 2);
    for byte in digest {
        let _ = write!(text, "{byte:02x}"); // a string takes everything
    }
    text
}
