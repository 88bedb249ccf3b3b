//! Rows as they are fitted: around their mean, and of one spread if that is asked for.
//!
//! A bias that is not regularized takes up any shift, so that the optimum is the same; but hidden
//! states of language models have a mean far from 0, around which they hardly differ.

use crate::Rows;

/// Rows in double precision, each column around its mean.
#[derive(Debug)]
pub(crate) struct Design {
    pub(crate) width: usize,
    /// Row after row.
    values: Vec<f64>,
    /// Each column's mean.
    mean: Vec<f64>,
    /// What each column was divided by; 1 where it is the same in every row.
    scale: Vec<f64>,
    /// The mean square of each column, as it is now.
    pub(crate) power: Vec<f64>,
}

impl Design {
    pub(crate) fn of(rows: &Rows, standardize: bool) -> Self {
        let (width, n) = (rows.width(), rows.len() as f64);
        let mut mean = vec![0.0; width];
        for row in rows {
            for (sum, &value) in mean.iter_mut().zip(row) {
                *sum += f64::from(value);
            }
        }
        for sum in &mut mean {
            *sum /= n;
        }
        let centered = |row: &[f32]| -> Vec<f64> {
            row.iter().zip(&mean).map(|(&value, mean)| f64::from(value) - mean).collect()
        };
        let mut values: Vec<f64> = rows.iter().flat_map(centered).collect();
        let mut power = vec![0.0; width];
        for row in values.chunks_exact(width) {
            for (sum, value) in power.iter_mut().zip(row) {
                *sum += value * value / n;
            }
        }
        let mut scale = vec![1.0; width];
        if standardize {
            for column in 0..width {
                // What is left of a column that never changes is rounding.
                let least = (mean[column] * f64::EPSILON * 10.0).abs();
                if power[column].sqrt() > least {
                    scale[column] = power[column].sqrt();
                    power[column] = 1.0;
                }
            }
            for row in values.chunks_exact_mut(width) {
                row.iter_mut().zip(&scale).for_each(|(value, scale)| *value /= scale);
            }
        }
        Self { width, values, mean, scale, power }
    }

    pub(crate) fn rows(&self) -> std::slice::ChunksExact<'_, f64> {
        self.values.chunks_exact(self.width)
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// The same head on rows as they were given: its weights, and what its bias grows by.
    pub(crate) fn undone(&self, weights: &[f64]) -> (Vec<f64>, f64) {
        let weights: Vec<f64> = weights.iter().zip(&self.scale).map(|(w, s)| w / s).collect();
        let shift = -dot(&weights, &self.mean);
        (weights, shift)
    }
}

/// A sum of products, eight at a time, the same on every machine.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (eights_a, rest_a) = a.as_chunks::<LANES>();
    let (eights_b, rest_b) = b.as_chunks::<LANES>();
    for (a, b) in eights_a.iter().zip(eights_b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest: f64 = rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

/// Adds a multiple of one list to another.
pub(crate) fn add(into: &mut [f64], factor: f64, of: &[f64]) {
    for (into, of) in into.iter_mut().zip(of) {
        *into += factor * of;
    }
}
