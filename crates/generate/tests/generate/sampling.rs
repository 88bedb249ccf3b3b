//! Draws have the distribution that the logits say.

use fidelio_generate::sample::{draw, uniform};

/// The 99.9 % quantile of chi-square with 7 degrees of freedom.
const BOUND_7: f64 = 24.32;
const DRAWS: u64 = 20_000;

/// Chi-square of counted places against expected probabilities.
fn chi_square(counts: &[u64], probabilities: &[f64]) -> f64 {
    let total: u64 = counts.iter().sum();
    let term = |(&count, p): (&u64, &f64)| {
        let expected = p * total as f64;
        (count as f64 - expected).powi(2) / expected
    };
    counts.iter().zip(probabilities).map(term).sum()
}

fn check(numbers: impl Iterator<Item = f64>) {
    let probabilities = [0.3_f64, 0.2, 0.15, 0.12, 0.1, 0.08, 0.03, 0.02];
    let mut logits: Vec<f32> = probabilities.iter().map(|p| p.ln() as f32 + 3.0).collect();
    logits.insert(3, f32::NEG_INFINITY);
    let mut counts = [0; 9];
    for uniform in numbers {
        assert!((0.0..1.0).contains(&uniform));
        counts[draw(&logits, uniform).unwrap()] += 1;
    }
    assert_eq!(counts[3], 0, "an excluded place");
    let counts: Vec<u64> = [&counts[..3], &counts[4..]].concat();
    let chi_square = chi_square(&counts, &probabilities);
    assert!(chi_square < BOUND_7, "chi-square {chi_square}, counts {counts:?}");
}

#[test]
fn the_steps_of_one_seed_are_distributed_as_the_logits_say() {
    check((0..DRAWS).map(|step| uniform(42, step)));
}

#[test]
fn so_are_the_first_tokens_of_neighboring_seeds() {
    check((0..DRAWS).map(|seed| uniform(seed, 0)));
}

#[test]
fn neighbors_do_not_depend_on_each_other() {
    // Pairs of quadrants are uniform over their 8 cells (2 x 4), for steps and for seeds.
    let pairs: [fn(u64) -> (f64, f64); 2] =
        [|i| (uniform(7, i), uniform(7, i + 1)), |i| (uniform(i, 3), uniform(i + 1, 3))];
    for pair in pairs {
        let mut counts = [0; 8];
        for i in 0..DRAWS {
            let (a, b) = pair(2 * i);
            counts[(a * 2.0) as usize * 4 + (b * 4.0) as usize] += 1;
        }
        let chi_square = chi_square(&counts, &[0.125; 8]);
        assert!(chi_square < BOUND_7, "chi-square {chi_square}, counts {counts:?}");
    }
}
