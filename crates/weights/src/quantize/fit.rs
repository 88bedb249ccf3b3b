//! The scales (and minima) that blocks of 256 are written with.
//!
//! For fixed whole numbers the best scale is a least-squares problem, for a fixed scale the best
//! whole numbers come from rounding. The two alternate from several beginnings, and the
//! best end is kept. What is minimised is the sum of squared errors of the decoded elements.

/// How far a beginning's range lies from the plain one, in units of one step.
const BEGINNINGS: std::ops::RangeInclusive<i8> = -9..=9;
/// One tenth of a step lies between two beginnings.
const PER_STEP: f32 = 10.0;
/// Alternations after the best beginning was found; more gain nothing.
const ALTERNATIONS: usize = 3;

/// `x ≈ scale · q - minimum` with `q` from 0 to a largest value; neither may be negative.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Affine {
    pub(super) scale: f32,
    pub(super) minimum: f32,
}

impl Affine {
    /// The best one found for some elements.
    pub(super) fn of(x: &[f32; 32], most: f32) -> Self {
        let low = x.iter().copied().fold(0.0, f32::min);
        let high = x.iter().copied().fold(low, f32::max);
        if high <= low {
            return Self { scale: 0.0, minimum: -low };
        }
        let mut best = Self { scale: (high - low) / most, minimum: -low };
        let mut least = best.error(x, most);
        let mut take = |found: Self| {
            let error = found.error(x, most);
            let better = error < least;
            if better {
                (best, least) = (found, error);
            }
            better
        };
        for beginning in BEGINNINGS {
            let scale = (high - low) / (most + f32::from(beginning) / PER_STEP);
            take(Self { scale, minimum: -low }.refined(x, most));
        }
        let mut at = best;
        for _ in 0..ALTERNATIONS {
            at = at.refined(x, most);
            let error = at.error(x, most);
            if error >= least {
                break;
            }
            (best, least) = (at, error);
        }
        best
    }

    /// The whole number of one element.
    pub(super) fn rounded(self, x: f32, most: f32) -> f32 {
        nearest(((x + self.minimum) * self.inverse()).clamp(0.0, most))
    }

    /// What dividing by the scale multiplies with.
    fn inverse(self) -> f32 {
        if self.scale > 0.0 { 1.0 / self.scale } else { 0.0 }
    }

    /// The sum of squared errors.
    pub(super) fn error(self, x: &[f32; 32], most: f32) -> f32 {
        x.iter()
            .map(|&x| {
                let q = self.rounded(x, most);
                let off = self.scale * q - self.minimum - x;
                off * off
            })
            .sum()
    }

    /// The best scale and minimum for the whole numbers that this one gives.
    fn refined(self, x: &[f32; 32], most: f32) -> Self {
        let [mut q1, mut q2, mut x1, mut xq] = [0.0_f32; 4];
        for &x in x {
            let q = self.rounded(x, most);
            q1 += q;
            q2 += q * q;
            x1 += x;
            xq += x * q;
        }
        let n = x.len() as f32;
        let determinant = n * q2 - q1 * q1;
        if determinant <= 0.0 {
            return self;
        }
        let minimum = (q1 * xq - q2 * x1) / determinant;
        if minimum >= 0.0 {
            return Self { scale: ((n * xq - q1 * x1) / determinant).max(0.0), minimum };
        }
        // The best minimum would be negative, which cannot be written: the line goes through 0.
        Self { scale: (xq / q2).max(0.0), minimum: 0.0 }
    }
}

/// `x ≈ scale · q` with `q` from `-half` to `half - 1`; the scale may be negative.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Linear {
    pub(super) scale: f32,
}

impl Linear {
    /// The best one found for some elements.
    pub(super) fn of(x: &[f32; 16], half: f32) -> Self {
        let largest =
            x.iter().fold(0.0_f32, |most, &x| if x.abs() > most.abs() { x } else { most });
        if largest == 0.0 {
            return Self::default();
        }
        let mut best = Self { scale: -largest / half };
        let mut least = best.error(x, half);
        for beginning in BEGINNINGS {
            let begun = Self { scale: -largest / (half + f32::from(beginning) / PER_STEP) };
            let found = begun.refined(x, half);
            let error = found.error(x, half);
            if error < least {
                (best, least) = (found, error);
            }
        }
        best
    }

    /// The whole number of one element.
    pub(super) fn rounded(self, x: f32, half: f32) -> f32 {
        nearest((x * self.inverse()).clamp(-half, half - 1.0))
    }

    /// What dividing by the scale multiplies with.
    fn inverse(self) -> f32 {
        if self.scale == 0.0 { 0.0 } else { 1.0 / self.scale }
    }

    /// The sum of squared errors.
    pub(super) fn error(self, x: &[f32; 16], half: f32) -> f32 {
        x.iter()
            .map(|&x| {
                let off = self.scale * self.rounded(x, half) - x;
                off * off
            })
            .sum()
    }

    fn refined(self, x: &[f32; 16], half: f32) -> Self {
        let (mut q2, mut xq) = (0.0_f32, 0.0_f32);
        for &x in x {
            let q = self.rounded(x, half);
            q2 += q * q;
            xq += x * q;
        }
        if q2 > 0.0 { Self { scale: xq / q2 } } else { self }
    }
}

/// Rounds a small number, ties to even, in a way that vectorises on every machine: above 2^23 a
/// float has no fraction left.
pub(super) fn nearest(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0; // 1.5 · 2^23
    (x + SHIFT) - SHIFT
}
