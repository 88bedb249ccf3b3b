//! In which order rows are learnt from.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A place in the stream of rows: so many epochs are over, and so many rows of this one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Epochs that are over.
    pub epoch: u64,
    /// Rows of this epoch that are done.
    pub row: usize,
}

impl Cursor {
    /// The place as a number of epochs.
    pub fn epochs(self, rows: usize) -> f64 {
        self.epoch as f64 + self.row as f64 / rows as f64
    }
}

/// Every row once per epoch: in the order given, or shuffled anew for each epoch from seed and
/// epoch alone, so that a [`Cursor`] is all there is to remember.
#[derive(Debug, Clone)]
pub struct Order {
    rows: usize,
    seed: Option<u64>,
    epoch: u64,
    permutation: Vec<u32>,
}

impl Order {
    /// The order of so many rows; shuffled where there is a seed.
    pub fn new(rows: usize, seed: Option<u64>) -> Self {
        Self { rows, seed, epoch: 0, permutation: permutation(rows, seed, 0) }
    }

    /// The next rows, at most `len` of them and never beyond the end of the epoch, and the place
    /// after them.
    pub fn window(&mut self, at: Cursor, len: usize) -> (&[u32], Cursor) {
        if self.epoch != at.epoch {
            self.epoch = at.epoch;
            self.permutation = permutation(self.rows, self.seed, at.epoch);
        }
        let end = at.row.saturating_add(len).min(self.rows);
        let taken = Range { start: at.row.min(end), end };
        let next = if end == self.rows {
            Cursor { epoch: at.epoch + 1, row: 0 }
        } else {
            Cursor { row: end, ..at }
        };
        (&self.permutation[taken], next)
    }
}

/// The rows of an epoch in order: Fisher and Yates, from the last row down.
fn permutation(rows: usize, seed: Option<u64>, epoch: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..rows as u32).collect();
    if let Some(seed) = seed {
        let stream = mix(mix(seed) ^ epoch);
        for last in (1..rows).rev() {
            let drawn = mix(stream.wrapping_add((last as u64).wrapping_mul(GAMMA)));
            // The high half of a product: off by less than `rows` / 2⁶⁴.
            let other = (u128::from(drawn) * (last as u128 + 1)) >> 64;
            order.swap(last, other as usize);
        }
    }
    order
}

/// What splitmix64 counts in.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// One output of splitmix64, as a hash of its state before.
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(GAMMA);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn take(order: &mut Order, mut at: Cursor, len: usize, windows: usize) -> Vec<Vec<u32>> {
        let mut taken = Vec::new();
        for _ in 0..windows {
            let (rows, next) = order.window(at, len);
            taken.push(rows.to_vec());
            at = next;
        }
        taken
    }

    proptest! {
        #[test]
        fn an_epoch_holds_every_row_once(
            rows in 1_usize..40, len in 1_usize..50, seed: Option<u64>, epoch in 0_u64..5,
        ) {
            let mut order = Order::new(rows, seed);
            let at = Cursor { epoch, row: 0 };
            let mut all = take(&mut order, at, len, rows.div_ceil(len)).concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..rows as u32).collect::<Vec<_>>());
        }

        #[test]
        fn any_cursor_goes_on_with_the_same_stream(
            rows in 1_usize..20, len in 1_usize..8, seed: Option<u64>, skip in 0_usize..30,
        ) {
            let whole = take(&mut Order::new(rows, seed), Cursor::default(), len, skip + 10);
            let mut at = Cursor::default();
            for _ in 0..skip {
                at = Order::new(rows, seed).window(at, len).1;
            }
            let text = serde_json::to_string(&at).unwrap();
            let at = serde_json::from_str(&text).unwrap();
            let rest = take(&mut Order::new(rows, seed), at, len, 10);
            prop_assert_eq!(&whole[skip..], &rest[..]);
        }
    }

    #[test]
    fn epochs_and_seeds_have_orders_of_their_own() {
        let order = |seed, epoch| permutation(50, Some(seed), epoch);
        assert_ne!(order(1, 0), order(1, 1));
        assert_ne!(order(1, 0), order(2, 0));
        assert_ne!(order(0, 1), order(1, 0));
        assert_eq!(permutation(3, None, 9), [0, 1, 2]);
    }

    #[test]
    fn every_place_is_reached_about_equally_often() {
        let mut counts = [[0_u32; 5]; 5];
        for epoch in 0..5000 {
            for (place, row) in permutation(5, Some(7), epoch).into_iter().enumerate() {
                counts[place][row as usize] += 1;
            }
        }
        // 1000 expected, standard deviation 28.
        assert!(counts.iter().flatten().all(|n| (860..1140).contains(n)), "{counts:?}");
    }
}
