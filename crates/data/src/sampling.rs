//! Taking a part of the rows.

use serde::{Deserialize, Serialize};

use crate::rng::Rng;
use crate::{DataError, Note};

/// How many rows to take, before anything is split. At most one of the two is set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// The share of the rows, above 0 and at most 1.
    pub sample_ratio: f64,
    /// The number of rows.
    pub sample_size: Option<usize>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { sample_ratio: 1.0, sample_size: None }
    }
}

const PURPOSE: u64 = 0x7361_6d70_6c65; // "sample"
const SHUFFLE: u64 = 0x0073_6875_6666_6c65; // "shuffle"

/// These rows in a random order, the same for a seed on every machine.
pub fn shuffled(mut rows: Vec<usize>, seed: u64) -> Vec<usize> {
    Rng::new(seed, SHUFFLE).shuffle(&mut rows);
    rows
}

impl Sampling {
    /// Takes some of these rows, in the order they have. A size beyond their number takes all,
    /// and a note says so.
    ///
    /// # Errors
    /// [`DataError::Sampling`] where the values contradict each other or leave no row.
    pub fn take(
        &self,
        rows: Vec<usize>,
        seed: u64,
        notes: &mut Vec<Note>,
    ) -> Result<Vec<usize>, DataError> {
        let refuse = |reason: String| Err(DataError::Sampling { reason });
        let ratio = self.sample_ratio;
        if !(ratio > 0.0 && ratio <= 1.0) {
            return refuse(format!("`sample_ratio` must be above 0 and at most 1, got {ratio}"));
        }
        let size = match self.sample_size {
            Some(_) if ratio < 1.0 => {
                return refuse("`sample_size` and `sample_ratio` exclude each other".to_owned());
            }
            Some(0) => return refuse("`sample_size` must be at least 1".to_owned()),
            Some(size) => size,
            None => (rows.len() as f64 * ratio).round() as usize,
        };
        if size == 0 {
            return refuse(format!("`sample_ratio` {ratio} leaves none of {} rows", rows.len()));
        }
        if size > rows.len() {
            notes.push(Note::SampleTooLarge { asked: size, have: rows.len() });
        }
        if size >= rows.len() {
            return Ok(rows);
        }
        let mut shuffled = rows;
        Rng::new(seed, PURPOSE).shuffle(&mut shuffled);
        shuffled.truncate(size);
        shuffled.sort_unstable();
        Ok(shuffled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(ratio: f64, size: Option<usize>) -> Result<Vec<usize>, DataError> {
        let sampling = Sampling { sample_ratio: ratio, sample_size: size };
        sampling.take((0..20).collect(), 42, &mut Vec::new())
    }

    #[test]
    fn the_same_seed_takes_the_same_rows() {
        // Computed independently: tests/data/reference.py.
        assert_eq!(take(1.0, Some(6)).unwrap(), EXPECTED_SAMPLE);
        assert_eq!(take(0.3, None).unwrap(), EXPECTED_SAMPLE);
    }

    const EXPECTED_SAMPLE: [usize; 6] = [4, 6, 13, 17, 18, 19];

    #[test]
    fn all_rows_keep_their_order() {
        assert_eq!(take(1.0, None).unwrap(), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_size_beyond_the_rows_is_noted() {
        let mut notes = Vec::new();
        let sampling = Sampling { sample_size: Some(9), ..Sampling::default() };
        assert_eq!(sampling.take(vec![3, 5], 0, &mut notes).unwrap(), [3, 5]);
        assert_eq!(notes, [Note::SampleTooLarge { asked: 9, have: 2 }]);
    }

    #[test]
    fn what_leaves_nothing_is_refused() {
        for (ratio, size) in
            [(0.0, None), (1.5, None), (0.5, Some(3)), (0.01, None), (1.0, Some(0))]
        {
            assert!(
                matches!(take(ratio, size), Err(DataError::Sampling { .. })),
                "{ratio} {size:?}"
            );
        }
        assert!(take(f64::NAN, None).is_err());
    }
}
