//! The key/value cache: pages of slots that rows share until they diverge.
//!
//! A row is a list of pages and how much of each it uses. `fork` shares the pages; a row writes
//! only into pages that it owns alone, so that what a sibling sees never changes.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use fidelio_backend::{AdapterId, BackendError, RowId};
use fidelio_ops::Span;

use crate::arch::Sizes;

/// Tokens of one page: small enough that a fork wastes little, large enough for long spans.
const PAGE: u32 = 16;

/// A part of a row: the first `len` slots of a page.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Part {
    page: u32,
    len: u32,
}

/// Which slots hold which row's tokens.
#[derive(Debug)]
pub(crate) struct Rows {
    rows: BTreeMap<RowId, Vec<Part>>,
    /// What each row that has one is computed with.
    adapters: BTreeMap<RowId, AdapterId>,
    next: u64,
    /// How many rows use each page.
    users: Vec<u32>,
    limit: usize,
}

impl Rows {
    /// At most `tokens` cached tokens, whole pages.
    pub(crate) fn new(tokens: usize) -> Self {
        let limit = tokens.div_ceil(PAGE as usize).max(1);
        Self { rows: BTreeMap::new(), adapters: BTreeMap::new(), next: 0, users: Vec::new(), limit }
    }

    /// Tokens of whole free pages.
    pub(crate) fn free_tokens(&self) -> usize {
        let used = self.users.iter().filter(|&&users| users > 0).count();
        (self.limit - used) * PAGE as usize
    }

    pub(crate) fn count(&self) -> usize {
        self.rows.len()
    }

    /// Tokens of a row.
    pub(crate) fn len(&self, row: RowId) -> Result<u32, BackendError> {
        Ok(self.parts(row)?.iter().map(|part| part.len).sum())
    }

    /// Where a row's tokens are, neighbours joined.
    pub(crate) fn spans(&self, row: RowId) -> Result<Vec<Span>, BackendError> {
        let mut spans: Vec<Span> = Vec::new();
        for part in self.parts(row)? {
            let start = part.page * PAGE;
            match spans.last_mut() {
                Some(last) if last.start + last.len == start => last.len += part.len,
                _ => spans.push(Span { past: true, start, len: part.len }),
            }
        }
        Ok(spans)
    }

    /// Free pages that `new` more tokens of a row (`None`: a new one) would take.
    pub(crate) fn pages_for(&self, row: Option<RowId>, new: usize) -> Result<usize, BackendError> {
        let room = match row {
            Some(row) => self.parts(row)?.last().map_or(0, |last| self.room(*last)),
            None => 0,
        };
        Ok(new.saturating_sub(room as usize).div_ceil(PAGE as usize))
    }

    pub(crate) fn free_pages(&self) -> usize {
        self.free_tokens() / PAGE as usize
    }

    pub(crate) fn open(&mut self, adapter: Option<AdapterId>) -> RowId {
        let row = RowId(self.next);
        self.next += 1;
        self.rows.insert(row, Vec::new());
        if let Some(adapter) = adapter {
            self.adapters.insert(row, adapter);
        }
        row
    }

    /// The adapter that a row began with.
    pub(crate) fn adapter(&self, row: RowId) -> Result<Option<AdapterId>, BackendError> {
        self.parts(row)?;
        Ok(self.adapters.get(&row).copied())
    }

    /// Closes every row of an adapter, because what it was computed with is no more.
    pub(crate) fn close_all_of(&mut self, adapter: AdapterId) {
        let stale: Vec<RowId> = self
            .rows
            .keys()
            .filter(|row| self.adapters.get(row) == Some(&adapter))
            .copied()
            .collect();
        self.close(&stale);
    }

    /// Closes every row.
    pub(crate) fn close_all(&mut self) {
        let stale: Vec<RowId> = self.rows.keys().copied().collect();
        self.close(&stale);
    }

    fn close(&mut self, rows: &[RowId]) {
        for row in rows {
            let parts = self.rows.remove(row).unwrap_or_default();
            for part in parts {
                self.users[part.page as usize] -= 1;
            }
            self.adapters.remove(row);
        }
    }

    /// Takes `new` slots for a row; the caller has asked [`Self::pages_for`].
    pub(crate) fn grow(&mut self, row: RowId, new: usize) -> Vec<u32> {
        let mut parts = self.rows.remove(&row).unwrap_or_default();
        let mut slots = Vec::with_capacity(new);
        while slots.len() < new {
            let fits = parts.last().is_some_and(|last| self.room(*last) > 0);
            if !fits {
                parts.push(Part { page: self.take_page(), len: 0 });
            }
            let last = parts.last_mut().expect("a part with room was just ensured");
            slots.push(last.page * PAGE + last.len);
            last.len += 1;
        }
        self.rows.insert(row, parts);
        slots
    }

    pub(crate) fn fork(&mut self, row: RowId) -> Result<RowId, BackendError> {
        let parts = self.parts(row)?.to_vec();
        for part in &parts {
            self.users[part.page as usize] += 1;
        }
        let child = self.open(self.adapters.get(&row).copied());
        self.rows.insert(child, parts);
        Ok(child)
    }

    /// Keeps the first `keep` tokens; 0 closes the row.
    pub(crate) fn truncate(&mut self, row: RowId, keep: usize) -> Result<(), BackendError> {
        let held = self.len(row)? as usize;
        if keep > held {
            return Err(BackendError::Engine(format!(
                "row {row:?} holds {held} tokens and cannot keep {keep}"
            )));
        }
        let mut left = keep as u32;
        let mut parts = self.rows.remove(&row).unwrap_or_default();
        parts.retain_mut(|part| {
            part.len = part.len.min(left);
            left -= part.len;
            if part.len == 0 {
                self.users[part.page as usize] -= 1;
            }
            part.len > 0
        });
        if keep > 0 {
            self.rows.insert(row, parts);
        } else {
            self.adapters.remove(&row);
        }
        Ok(())
    }

    /// One past the highest slot in use: what a pool must hold.
    pub(crate) fn slots(&self) -> usize {
        self.users.len() * PAGE as usize
    }

    fn parts(&self, row: RowId) -> Result<&[Part], BackendError> {
        self.rows.get(&row).map(Vec::as_slice).ok_or(BackendError::NoRow(row))
    }

    /// Slots that a row may still write in its last page: none if a sibling shares it.
    fn room(&self, last: Part) -> u32 {
        if self.users[last.page as usize] == 1 { PAGE - last.len } else { 0 }
    }

    fn take_page(&mut self) -> u32 {
        let page = self.users.iter().position(|&users| users == 0).unwrap_or(self.users.len());
        if page == self.users.len() {
            self.users.push(0);
        }
        self.users[page] = 1;
        page as u32
    }
}

/// Keys and values of every layer, `[slots, hk, d]` each, on the device.
#[derive(Debug)]
pub(crate) struct Pool {
    layers: Vec<[Tensor<3>; 2]>,
    sizes: Sizes,
    device: Device,
}

impl Pool {
    pub(crate) fn new(sizes: Sizes, device: &Device) -> Self {
        let empty =
            || Tensor::zeros([PAGE as usize, sizes.key_value_heads, sizes.head_dim], device);
        let layers = (0..sizes.layers).map(|_| [empty(), empty()]).collect();
        Self { layers, sizes, device: device.clone() }
    }

    /// Bytes that a cached token takes.
    pub(crate) fn bytes_per_token(sizes: Sizes) -> usize {
        2 * sizes.layers * sizes.key_value_heads * sizes.head_dim * size_of::<f32>()
    }

    /// Makes room for `slots`, one layer after the other, so that only one is held twice.
    pub(crate) fn reserve(&mut self, slots: usize) {
        let held = self.layers[0][0].dims()[0];
        if slots <= held {
            return;
        }
        // An eighth more than asked: growing stays rare, and little memory lies idle.
        let grown = (slots + slots / 8).next_multiple_of(PAGE as usize);
        for layer in &mut self.layers {
            for tensor in layer {
                let more = Tensor::zeros(
                    [grown - held, self.sizes.key_value_heads, self.sizes.head_dim],
                    &self.device,
                );
                let old = take(tensor);
                *tensor = Tensor::cat(vec![old, more], 0);
            }
        }
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Keys and values of a layer.
    pub(crate) fn layer(&self, layer: usize) -> [Tensor<3>; 2] {
        self.layers[layer].clone()
    }

    /// Writes the keys and values of new tokens.
    pub(crate) fn store(&mut self, layer: usize, new: [Tensor<3>; 2], slots: &[u32]) {
        for (tensor, new) in self.layers[layer].iter_mut().zip(new) {
            *tensor = fidelio_ops::store(take(tensor), new, slots.to_vec());
        }
    }
}

/// Moves a tensor out, so that its only owner can write in place.
fn take(tensor: &mut Tensor<3>) -> Tensor<3> {
    let stand_in = Tensor::zeros([1, 1, 1], &tensor.device());
    std::mem::replace(tensor, stand_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_shares_and_then_writes_elsewhere() {
        let mut rows = Rows::new(64);
        let parent = rows.open(None);
        assert_eq!(rows.grow(parent, 4), [0, 1, 2, 3]);
        let child = rows.fork(parent).unwrap();
        assert_eq!(rows.grow(child, 1), [16], "the shared page must not be written");
        assert_eq!(rows.grow(parent, 1), [32], "not by the parent either");
        rows.truncate(child, 0).unwrap();
        rows.truncate(parent, 4).unwrap();
        assert_eq!(rows.grow(parent, 1), [4], "alone again, it writes in place");
    }

    #[test]
    fn spans_join_neighbouring_pages_and_freeing_gives_pages_back() {
        let mut rows = Rows::new(64);
        let row = rows.open(None);
        rows.grow(row, 20);
        assert_eq!(rows.spans(row).unwrap(), [Span { past: true, start: 0, len: 20 }]);
        assert_eq!(rows.free_tokens(), 32);
        rows.truncate(row, 0).unwrap();
        assert_eq!(rows.free_tokens(), 64);
        assert!(matches!(rows.len(row), Err(BackendError::NoRow(_))));
    }

    #[test]
    fn the_need_for_pages_counts_the_room_left() {
        let mut rows = Rows::new(64);
        let row = rows.open(None);
        rows.grow(row, 10);
        assert_eq!(rows.pages_for(Some(row), 6).unwrap(), 0);
        assert_eq!(rows.pages_for(Some(row), 7).unwrap(), 1);
        rows.fork(row).unwrap();
        assert_eq!(rows.pages_for(Some(row), 1).unwrap(), 1);
        assert_eq!(rows.pages_for(None, 17).unwrap(), 2);
    }
}
