//! Random numbers that are the same on every machine and in every release.
//!
//! A splitmix64 generator of our own, and not one of the common crates: what a seed selects is
//! part of a run's identity, and those crates reserve the right to change their shuffles and
//! their ranges. Output `n` is a hash of `seed + n · γ`: the generator is a counter, its state one
//! number. It chooses rows; it protects nothing.

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub(crate) struct Rng {
    state: u64,
}

impl Rng {
    /// The stream of a seed for one purpose, so that two purposes do not draw the same numbers.
    pub(crate) fn new(seed: u64, purpose: u64) -> Self {
        let mut by_purpose = Self { state: purpose };
        Self { state: seed ^ by_purpose.next() }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`. (The high half of a product: off by less than `end` / 2⁶⁴.)
    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// Puts items into a random order: Fisher and Yates, from the last item down.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_published_one() {
        // The reference values of splitmix64 for seed 1234567.
        let mut rng = Rng { state: 1_234_567 };
        let drawn = [rng.next(), rng.next(), rng.next()];
        assert_eq!(
            drawn,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn every_place_is_reached_about_equally_often() {
        let mut counts = [[0_u32; 5]; 5];
        for seed in 0..5000 {
            let mut items = [0, 1, 2, 3, 4];
            Rng::new(seed, 1).shuffle(&mut items);
            for (place, item) in items.into_iter().enumerate() {
                counts[place][item] += 1;
            }
        }
        // 1000 expected, standard deviation 28.
        assert!(counts.iter().flatten().all(|n| (860..1140).contains(n)), "{counts:?}");
    }
}
