//! Panics of foreign decoders, turned into errors.
//!
//! The decoders of binary formats assert some things that a damaged file can break (seen: a
//! cut-off `.xls`). What a user's file holds must not end the program; so their work, which shares
//! no state with ours, is fenced. The standard panic message still goes to stderr.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a decoder; a panic becomes its message.
pub(super) fn caught<T>(decode: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(decode)).map_err(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no reason given");
        format!("the file is damaged; its decoder stopped: {said}")
    })
}
