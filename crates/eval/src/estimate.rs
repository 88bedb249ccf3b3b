//! Figures with bootstrap intervals.
//!
//! A figure is a function of sums over rows (a mean, a ratio, corpus BLEU) or of how often each
//! kind of row occurs (accuracy, F1). Resampling then only adds up what each row contributes,
//! and no text is looked at twice.

use serde::{Deserialize, Serialize};

use crate::EvalError;

/// A figure measured over rows, with the interval it may have come from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The figure over all rows. Written as null where it is not finite.
    #[serde(with = "finite")]
    pub value: f64,
    /// The lower end of the interval; not a number (null) without resamples.
    #[serde(with = "finite")]
    pub low: f64,
    /// The upper end of the interval; not a number (null) without resamples.
    #[serde(with = "finite")]
    pub high: f64,
    /// How many rows stand behind it.
    pub rows: usize,
}

/// How intervals are made: percentiles of the figure over resampled rows.
///
/// The same seed draws the same rows for every figure over equally many rows, on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// How often the rows are drawn anew; 0 gives figures without intervals.
    pub resamples: u32,
    /// How much of the resampled figures the interval covers.
    pub confidence: f64,
    /// What the draws depend on.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 1_000, confidence: 0.95, seed: 42 }
    }
}

impl Bootstrap {
    /// Figures without intervals.
    pub fn none() -> Self {
        Self { resamples: 0, ..Self::default() }
    }

    /// The mean of one value per row.
    ///
    /// # Errors
    /// Without rows, or with a confidence outside 0 to 1.
    pub fn mean(&self, values: &[f64]) -> Result<Estimate, EvalError> {
        let rows: Vec<[f64; 1]> = values.iter().map(|&value| [value]).collect();
        self.sums(&rows, |[sum]| sum / values.len() as f64)
    }

    /// The share of rows that are true.
    ///
    /// Where all rows are alike, every resample is too and the percentiles would claim certainty;
    /// the interval is then the exact binomial one (Clopper and Pearson).
    ///
    /// # Errors
    /// Without rows, or with a confidence outside 0 to 1.
    pub fn share(&self, rows: &[bool]) -> Result<Estimate, EvalError> {
        let values: Vec<f64> = rows.iter().map(|&hit| f64::from(u8::from(hit))).collect();
        Ok(self.widen_certain(self.mean(&values)?))
    }

    /// A figure of the column sums of `rows`.
    ///
    /// # Errors
    /// Without rows, or with a confidence outside 0 to 1.
    pub fn sums<const N: usize>(
        &self,
        rows: &[[f64; N]],
        figure: impl Fn(&[f64; N]) -> f64,
    ) -> Result<Estimate, EvalError> {
        self.resample(rows, [0.0; N], add, figure)
    }

    /// A figure of the column sums of two result sets, drawn by the same rows.
    pub(crate) fn pairs<const N: usize>(
        &self,
        rows: &[([f64; N], [f64; N])],
        figure: impl Fn(&([f64; N], [f64; N])) -> f64,
    ) -> Result<Estimate, EvalError> {
        let add_both = |sums: &mut ([f64; N], [f64; N]), row: &([f64; N], [f64; N])| {
            add(&mut sums.0, &row.0);
            add(&mut sums.1, &row.1);
        };
        self.resample(rows, ([0.0; N], [0.0; N]), add_both, figure)
    }

    fn resample<T: Copy>(
        &self,
        rows: &[T],
        nothing: T,
        add: impl Fn(&mut T, &T),
        figure: impl Fn(&T) -> f64,
    ) -> Result<Estimate, EvalError> {
        self.check(rows.len())?;
        let mut total = nothing;
        for row in rows {
            add(&mut total, row);
        }
        let mut draws = Draws::new(self.seed);
        let replicates = (0..self.resamples).map(|_| {
            let mut sums = nothing;
            for _ in 0..rows.len() {
                add(&mut sums, &rows[draws.below(rows.len())]);
            }
            figure(&sums)
        });
        Ok(self.estimate(figure(&total), replicates.collect(), rows.len()))
    }

    /// Figures of how many rows are of each kind: `kinds` holds each row's, below `number`.
    pub(crate) fn kinds<const M: usize>(
        &self,
        kinds: &[u32],
        number: usize,
        mut figures: impl FnMut(&[u32]) -> [f64; M],
    ) -> Result<[Estimate; M], EvalError> {
        self.check(kinds.len())?;
        let mut counts = vec![0_u32; number];
        for &kind in kinds {
            counts[kind as usize] += 1;
        }
        let values = figures(&counts);
        let mut draws = Draws::new(self.seed);
        let mut replicates = [(); M].map(|()| Vec::with_capacity(self.resamples as usize));
        for _ in 0..self.resamples {
            counts.fill(0);
            for _ in 0..kinds.len() {
                counts[kinds[draws.below(kinds.len())] as usize] += 1;
            }
            for (all, figure) in replicates.iter_mut().zip(figures(&counts)) {
                all.push(figure);
            }
        }
        let mut each = values.into_iter().zip(replicates);
        Ok([(); M].map(|()| {
            let (value, replicates) = each.next().expect("M figures were made");
            self.estimate(value, replicates, kinds.len())
        }))
    }

    /// Replaces the empty interval of a share that is exactly 0 or 1.
    pub(crate) fn widen_certain(&self, share: Estimate) -> Estimate {
        if self.resamples == 0 {
            return share;
        }
        let reach = ((1.0 - self.confidence) / 2.0).powf(1.0 / share.rows as f64);
        if share.value >= 1.0 {
            Estimate { low: reach, high: 1.0, ..share }
        } else if share.value <= 0.0 {
            Estimate { low: 0.0, high: 1.0 - reach, ..share }
        } else {
            share
        }
    }

    fn check(&self, rows: usize) -> Result<(), EvalError> {
        if !(self.confidence > 0.0 && self.confidence < 1.0) {
            return Err(EvalError::Confidence { got: self.confidence });
        }
        if rows == 0 { Err(EvalError::NoRows) } else { Ok(()) }
    }

    /// Resamples on which the figure is not defined (no row of a class, say) do not count.
    fn estimate(&self, value: f64, mut replicates: Vec<f64>, rows: usize) -> Estimate {
        replicates.retain(|figure| !figure.is_nan());
        replicates.sort_unstable_by(f64::total_cmp);
        let tail = (1.0 - self.confidence) / 2.0;
        Estimate {
            value,
            low: quantile(&replicates, tail),
            high: quantile(&replicates, 1.0 - tail),
            rows,
        }
    }
}

fn add<const N: usize>(sums: &mut [f64; N], row: &[f64; N]) {
    for (sum, value) in sums.iter_mut().zip(row) {
        *sum += value;
    }
}

/// Interpolates linearly between the two nearest values, as NumPy does.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = share * last as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    // Not `below + (above - below) * part`, which is undefined between two infinities.
    let part = at.fract();
    if part > 0.0 { below * (1.0 - part) + above * part } else { below }
}

/// Row numbers from a seed: SplitMix64 (Steele, Lea and Flood, 2014), the same everywhere.
struct Draws(u64);

impl Draws {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `n`; uneven by less than n / 2^64.
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
        ((u128::from(x) * n as u128) >> 64) as usize
    }
}

/// JSON has no infinity: what is not finite is written as null and read as not a number.
mod finite {
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() { to.serialize_f64(*value) } else { to.serialize_none() }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wilson's score interval at 95 %.
    fn wilson(hits: f64, n: f64) -> (f64, f64) {
        let (z, p) = (1.959_963_984_540_054_f64, hits / n);
        let center = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
        let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
        (center - half, center + half)
    }

    #[test]
    fn shares_agree_with_wilson() {
        for (hits, n) in [(150, 200), (100, 200), (590, 1_000), (60, 400)] {
            let rows: Vec<bool> = (0..n).map(|i| i < hits).collect();
            let got = Bootstrap::default().share(&rows).unwrap();
            let (low, high) = wilson(f64::from(hits), f64::from(n));
            assert!((got.low - low).abs() < 0.012, "{got:?} {low}");
            assert!((got.high - high).abs() < 0.012, "{got:?} {high}");
        }
    }

    #[test]
    fn the_interval_of_a_mean_is_about_two_standard_errors() {
        let values: Vec<f64> = (0..500).map(|i| f64::from(i * 37 % 101)).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let error = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n / n).sqrt();
        let got = Bootstrap::default().mean(&values).unwrap();
        assert!(((got.high - got.low) / (2.0 * 1.96 * error) - 1.0).abs() < 0.08, "{got:?}");
    }

    #[test]
    fn ten_of_ten_is_not_certain() {
        let got = Bootstrap::default().share(&[true; 10]).unwrap();
        assert!((got.low - 0.691_503).abs() < 1e-6, "{got:?}"); // scipy: binomtest(10, 10)
        let none = Bootstrap::default().share(&[false; 10]).unwrap();
        assert!((none.high - 0.308_497).abs() < 1e-6, "{none:?}");
    }

    #[test]
    fn a_seed_gives_the_same_interval_again() {
        let values: Vec<f64> = (0..50).map(f64::from).collect();
        let with = |seed| Bootstrap { seed, ..Bootstrap::default() }.mean(&values).unwrap();
        assert_eq!(with(7), with(7));
        assert_ne!(with(7).low, with(8).low);
    }

    #[test]
    fn draws_are_those_of_splitmix64() {
        // The first outputs for seed 1234567 in the authors' C code, scaled to 2^32.
        let mut draws = Draws::new(1_234_567);
        let first: Vec<usize> = (0..3).map(|_| draws.below(1 << 32)).collect();
        let outputs =
            [6_457_827_717_110_365_317_u64, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(first, outputs.map(|x| (x >> 32) as usize));
    }

    #[test]
    fn no_resamples_no_interval() {
        let got = Bootstrap::none().mean(&[1.0, 2.0]).unwrap();
        assert!(got.value == 1.5 && got.low.is_nan() && got.high.is_nan());
        assert_eq!(
            serde_json::to_string(&got).unwrap(),
            r#"{"value":1.5,"low":null,"high":null,"rows":2}"#
        );
    }

    #[test]
    fn nothing_to_measure_is_an_error() {
        assert_eq!(Bootstrap::default().mean(&[]), Err(EvalError::NoRows));
        let odd = Bootstrap { confidence: 95.0, ..Bootstrap::default() };
        assert_eq!(odd.mean(&[1.0]), Err(EvalError::Confidence { got: 95.0 }));
    }

    #[test]
    fn quantiles_interpolate_as_numpy() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        assert!((quantile(&sorted, 0.025) - 1.075).abs() < 1e-12);
        assert!((quantile(&sorted, 0.5) - 3.0).abs() < 1e-12);
        assert!((quantile(&sorted, 0.975) - 7.7).abs() < 1e-12);
    }
}
