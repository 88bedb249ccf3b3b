//! The combinations that work on elements of the thin matrices: linear, TIES, DARE and pruning.

use super::{Combination, Factors};

/// Combines the factors beside one layer, each with its weight times scale. Of a negative one, only
/// `A` takes the sign.
pub(super) fn combined(
    weighted: &[(f64, &Factors)],
    how: Combination,
    draws: &[[Draw; 2]],
) -> Factors {
    let shape = weighted[0].1;
    let root = |weight: f64| weight.abs().sqrt();
    let parts = |of: fn(&Factors) -> &Vec<f64>, weight: &dyn Fn(f64) -> f64, which: usize| {
        let part = |(share, draw): (&(f64, &Factors), &[Draw; 2])| Part {
            weight: weight(share.0),
            values: of(share.1).clone(),
            draw: draw[which],
        };
        weighted.iter().zip(draws).map(part).collect::<Vec<_>>()
    };
    let signed = |weight: f64| if weight < 0.0 { -root(weight) } else { root(weight) };
    Factors {
        a: merged(parts(|it| &it.a, &signed, 0), how),
        b: merged(parts(|it| &it.b, &root, 1), how),
        scale: 1.0,
        ..*shape
    }
}

/// One adapter's matrix.
struct Part {
    weight: f64,
    values: Vec<f64>,
    draw: Draw,
}

fn merged(mut parts: Vec<Part>, how: Combination) -> Vec<f64> {
    for part in &mut parts {
        match how {
            Combination::Linear | Combination::Svd => {}
            Combination::Ties { density } | Combination::MagnitudePrune { density } => {
                keep_largest(&mut part.values, density);
            }
            Combination::DareLinear { density, seed } | Combination::DareTies { density, seed } => {
                keep_drawn(&mut part.values, density, part.draw.seeded(seed));
            }
        }
    }
    let elects = matches!(how, Combination::Ties { .. } | Combination::DareTies { .. });
    let len = parts[0].values.len();
    (0..len).map(|i| if elects { elected(&parts, i) } else { sum(&parts, i) }).collect()
}

fn sum(parts: &[Part], i: usize) -> f64 {
    parts.iter().map(|part| part.weight * part.values[i]).sum()
}

/// The weighted mean of the elements that have the sign of their unweighted sum.
fn elected(parts: &[Part], i: usize) -> f64 {
    let is_positive = parts.iter().map(|part| part.values[i]).sum::<f64>() >= 0.0;
    let agrees = |value: f64| if is_positive { value > 0.0 } else { value < 0.0 };
    let (mut sum, mut count) = (0.0, 0_usize);
    for part in parts.iter().filter(|part| agrees(part.values[i])) {
        sum += part.weight * part.values[i];
        count += 1;
    }
    sum / count.max(1) as f64
}

/// Keeps the share of elements with the largest amounts, the earlier where two are equal.
fn keep_largest(values: &mut [f64], density: f64) {
    let keep = (density * values.len() as f64) as usize;
    if density >= 1.0 || keep >= values.len() {
        return;
    }
    let mut order: Vec<usize> = (0..values.len()).collect();
    let larger =
        |&i: &usize, &j: &usize| values[j].abs().total_cmp(&values[i].abs()).then(i.cmp(&j));
    order.select_nth_unstable_by(keep, larger);
    for &i in &order[keep..] {
        values[i] = 0.0;
    }
}

/// Keeps each element with the probability `density`, and divides it by that.
fn keep_drawn(values: &mut [f64], density: f64, draw: Draw) {
    if density >= 1.0 {
        return;
    }
    for (i, value) in values.iter_mut().enumerate() {
        *value = if draw.at(i) < density { *value / density } else { 0.0 };
    }
}

/// Random numbers for the elements of one tensor of one adapter: a hash of seed, position, name and
/// element, so that they depend on no order of work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draw(u64);

/// SplitMix64's step and mixing function.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
fn mixed(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Draw {
    pub(super) fn new(position: usize, tensor: &str) -> Self {
        // FNV-1a
        let name = tensor.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(mixed(name ^ mixed((position as u64).wrapping_add(STEP))))
    }

    fn seeded(self, seed: u64) -> Self {
        Self(mixed(self.0 ^ mixed(seed.wrapping_add(STEP))))
    }

    /// From 0 up to but without 1.
    fn at(self, element: usize) -> f64 {
        let z = self.0.wrapping_add(STEP.wrapping_mul(element as u64 + 1));
        (mixed(z) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_has_its_share_and_depends_on_every_part() {
        let draw = |seed, position, name: &str| -> Vec<bool> {
            let draw = Draw::new(position, name).seeded(seed);
            (0..20_000).map(|i| draw.at(i) < 0.3).collect()
        };
        let first = draw(7, 0, "q.lora_A.weight");
        let kept = first.iter().filter(|kept| **kept).count() as f64 / 20_000.0;
        // Five deviations of a share of 0.3 among 20 000.
        assert!((kept - 0.3).abs() < 5.0 * (0.3 * 0.7 / 20_000_f64).sqrt(), "{kept}");
        for other in [
            draw(8, 0, "q.lora_A.weight"),
            draw(7, 1, "q.lora_A.weight"),
            draw(7, 0, "q.lora_B.weight"),
        ] {
            let both = first.iter().zip(&other).filter(|(a, b)| **a && **b).count() as f64;
            // Independent: 0.09 of them.
            assert!((both / 20_000.0 - 0.09).abs() < 0.0102, "{both}");
        }
        assert_eq!(first, draw(7, 0, "q.lora_A.weight"));
    }

    #[test]
    fn the_largest_stay_and_the_earlier_of_equals() {
        let check = |density, want: [f64; 5]| {
            let mut values = [1.0, -3.0, 2.0, -2.0, 0.5];
            keep_largest(&mut values, density);
            assert_eq!(format!("{values:?}"), format!("{want:?}"), "{density}");
        };
        check(0.4, [0.0, -3.0, 2.0, 0.0, 0.0]);
        check(0.6, [0.0, -3.0, 2.0, -2.0, 0.0]);
        check(0.1, [0.0; 5]);
        check(1.0, [1.0, -3.0, 2.0, -2.0, 0.5]);
    }
}
