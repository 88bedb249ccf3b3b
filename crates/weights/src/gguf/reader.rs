//! Little-endian values from untrusted bytes.

use crate::Fault;

/// Reads values one after the other, and says what was missing where the bytes end.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `count` bytes; `what` names them in an error.
    pub(super) fn take(
        &mut self,
        count: u64,
        what: impl FnOnce() -> String,
    ) -> Result<&'a [u8], Fault> {
        let available = self.remaining();
        match usize::try_from(count) {
            Ok(count) if count <= available => {
                let taken = &self.bytes[self.at..self.at + count];
                self.at += count;
                Ok(taken)
            }
            _ => Err(Fault::Truncated {
                what: what(),
                offset: self.at as u64,
                needed: count,
                available: available as u64,
            }),
        }
    }

    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Fault> {
        let taken = self.take(N as u64, || what.to_owned())?;
        let mut array = [0; N];
        array.copy_from_slice(taken);
        Ok(array)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, Fault> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, Fault> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A string with its length before it.
    pub(super) fn text(&mut self, what: impl Fn() -> String) -> Result<&'a str, Fault> {
        let len = self.u64("the length of a text").map_err(|_| Fault::Truncated {
            what: what(),
            offset: self.at as u64,
            needed: 8,
            available: self.remaining() as u64,
        })?;
        let bytes = self.take(len, &what)?;
        std::str::from_utf8(bytes).map_err(|_| Fault::NotText { what: what() })
    }
}
