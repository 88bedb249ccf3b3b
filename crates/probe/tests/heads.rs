//! Heads against those of scikit-learn (`make_goldens.py` made them), and what no golden can show.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use fidelio_probe::{Fit, Head, Judge, Probe, ProbeError, Rows, Targets, choose};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    kind: String,
    regularization: f64,
    standardize: bool,
    label_weights: Option<Vec<f64>>,
    vectors: Vec<Vec<f32>>,
    targets: Vec<f64>,
    weights: Vec<Vec<f64>>,
    biases: Vec<f64>,
    asked: Vec<Vec<f32>>,
    answers: serde_json::Value,
}

impl Case {
    fn rows(&self) -> Rows {
        rows(&self.vectors)
    }

    fn fit(&self) -> Probe {
        let labels: Vec<usize> = self.targets.iter().map(|&label| label as usize).collect();
        let names = names(labels.iter().max().map_or(0, |most| most + 1));
        let targets = match &*self.kind {
            "numbers" => Targets::Numbers(&self.targets),
            _ => Targets::Labels { labels: &names, of: &labels },
        };
        let fit = Fit {
            regularization: self.regularization,
            standardize: self.standardize,
            label_weights: self.label_weights.clone(),
        };
        Probe::fit(&self.rows(), &targets, &fit).unwrap()
    }
}

fn rows(vectors: &[Vec<f32>]) -> Rows {
    let mut rows = Rows::new(vectors.first().map_or(0, Vec::len));
    for vector in vectors {
        rows.push(vector).unwrap();
    }
    rows
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|label| format!("label {label}")).collect()
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("goldens/heads.json")).unwrap()
}

/// The largest difference, as a share of the largest value.
fn apart(ours: &[f64], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let most = theirs.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    ours.iter().zip(theirs).fold(0.0_f64, |apart, (a, b)| apart.max((a - b).abs())) / most
}

#[test]
fn heads_are_those_of_scikit_learn() {
    let cases = cases();
    assert!(cases.len() > 10);
    for case in cases {
        let probe = case.fit();
        let weights = apart(probe.weights(), &case.weights.concat());
        let biases = apart(probe.biases(), &case.biases);
        assert!(weights < 1e-6 && biases < 1e-6, "{}: {weights:.1e} {biases:.1e}", case.name);
        for (vector, theirs) in case.asked.iter().zip(case.answers.as_array().unwrap()) {
            let (ours, theirs) = if let Some(number) = theirs.as_f64() {
                (vec![probe.number(vector).unwrap()], vec![number])
            } else {
                let theirs: Vec<f64> = serde_json::from_value(theirs.clone()).unwrap();
                (probe.probabilities(vector).unwrap(), theirs)
            };
            assert!(apart(&ours, &theirs) < 1e-6, "{}: {ours:?} {theirs:?}", case.name);
        }
    }
}

#[test]
fn the_same_rows_give_the_same_bits_and_the_file_keeps_them() {
    for case in cases() {
        let probe = case.fit();
        assert_eq!(probe, case.fit());
        assert_eq!(Probe::from_bytes(&probe.to_bytes()).unwrap(), probe, "{}", case.name);
    }
}

#[test]
fn labels_are_kept_with_the_head() {
    let names = ["ham", "spam \"2\""].map(String::from);
    let rows = rows(&[vec![1.0], vec![2.0]]);
    let targets = Targets::Labels { labels: &names, of: &[0, 1] };
    let probe = Probe::fit(&rows, &targets, &Fit::with(0.1)).unwrap();
    let back = Probe::from_bytes(&probe.to_bytes()).unwrap();
    assert_eq!(back.head(), &Head::Labels(names.to_vec()));
    assert_eq!(back.number(&[1.0]), Err(ProbeError::OtherHead("labels")));
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let names = names(3);
    let two = rows(&[vec![1.0], vec![2.0]]);
    let fit = |targets, with: f64| Probe::fit(&two, &targets, &Fit::with(with)).unwrap_err();
    let labels = |of| Targets::Labels { labels: &names, of };
    assert_eq!(fit(labels(&[0, 2]), 0.1), ProbeError::EmptyLabel { label: "label 1".to_owned() });
    assert_eq!(fit(labels(&[0, 3]), 0.1), ProbeError::NoLabel { row: 1, label: 3, labels: 3 });
    assert_eq!(fit(labels(&[0]), 0.1), ProbeError::Lengths { targets: 1, rows: 2 });
    assert_eq!(
        fit(Targets::Labels { labels: &names[..1], of: &[0, 0] }, 0.1),
        ProbeError::OneLabel { labels: 1 }
    );
    assert_eq!(fit(Targets::Numbers(&[1.0, f64::NAN]), 0.1), ProbeError::NotFinite { row: 1 });
    assert_eq!(fit(Targets::Numbers(&[1.0, 2.0]), 0.0), ProbeError::Regularization { got: 0.0 });
    let weighted = Fit { label_weights: Some(vec![1.0, 0.0]), ..Fit::with(0.1) };
    let targets = Targets::Labels { labels: &names[..2], of: &[0, 1] };
    assert_eq!(
        Probe::fit(&two, &targets, &weighted).unwrap_err(),
        ProbeError::LabelWeights { labels: 2 }
    );
    let mut rows = Rows::new(2);
    assert_eq!(rows.push(&[1.0]), Err(ProbeError::Width { got: 1, expected: 2 }));
    assert_eq!(rows.push(&[1.0, f32::INFINITY]), Err(ProbeError::NotFinite { row: 0 }));
    let numbers = Targets::Numbers(&[]);
    assert_eq!(Probe::fit(&rows, &numbers, &Fit::with(0.1)).unwrap_err(), ProbeError::NoRows);
}

/// Labels that are half noise want much regularization, clear ones little, whoever judges.
#[test]
fn the_regularization_follows_the_noise() {
    let mut state = 1_u32;
    let mut draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    let vectors: Vec<Vec<f32>> = (0..240).map(|_| (0..20).map(|_| draw()).collect()).collect();
    let names = names(2);
    let mut chosen = |noise: f32, folds: bool| {
        let of: Vec<usize> =
            vectors.iter().map(|it| usize::from(it[0] + noise * draw() > 0.0)).collect();
        let (fitted, rest) = (rows(&vectors[..120]), rows(&vectors[120..]));
        let targets = Targets::Labels { labels: &names, of: &of[..120] };
        let held_out = Targets::Labels { labels: &names, of: &of[120..] };
        let judge = if folds { Judge::Folds(5) } else { Judge::HeldOut(&rest, held_out) };
        let choice = choose(&fitted, &targets, &Fit::with(1.0), judge).unwrap();
        let best = choice.tried.iter().min_by(|a, b| a.loss.total_cmp(&b.loss)).unwrap();
        assert!(best.regularization.total_cmp(&choice.regularization).is_eq());
        choice.regularization
    };
    for folds in [false, true] {
        let (clear, noisy) = (chosen(0.0, folds), chosen(4.0, folds));
        assert!(clear <= 1e-3 && noisy >= 10.0 * clear, "{clear} {noisy}");
    }
}

/// A label with one row is fitted in every fold and judged in none.
#[test]
fn a_label_with_one_row_can_be_judged_in_folds() {
    let names = names(3);
    let vectors: Vec<Vec<f32>> = (0..11_u8).map(|i| vec![f32::from(i % 2), f32::from(i)]).collect();
    let of = [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 2];
    let targets = Targets::Labels { labels: &names, of: &of };
    let choice = choose(&rows(&vectors), &targets, &Fit::with(1.0), Judge::Folds(5)).unwrap();
    assert!(choice.tried.iter().all(|it| it.loss.is_finite()));
}

#[test]
fn a_row_that_judges_is_not_fitted() {
    let names = names(2);
    let two = rows(&[vec![0.0], vec![1.0]]);
    let targets = Targets::Labels { labels: &names, of: &[0, 1] };
    let error = choose(&two, &targets, &Fit::with(1.0), Judge::Folds(5)).unwrap_err();
    assert_eq!(error, ProbeError::NothingJudges);
    assert!(error.hint().unwrap().contains("regularization_lambda"));
}

proptest! {
    #[test]
    fn damaged_files_are_refused(cut in 0_usize..400, at in 0_usize..400, bits in 1_u8..) {
        let rows = rows(&[vec![1.0, 0.0], vec![2.0, 1.0]]);
        let probe = Probe::fit(&rows, &Targets::Numbers(&[1.0, 2.0]), &Fit::with(0.1)).unwrap();
        let bytes = probe.to_bytes();
        prop_assert!(cut >= bytes.len() || Probe::from_bytes(&bytes[..cut]).is_err());
        let mut other = bytes.clone();
        if let Some(byte) = other.get_mut(at) {
            *byte ^= bits;
        }
        // It need not be noticed, but it must not panic.
        if let Ok(read) = Probe::from_bytes(&other) {
            prop_assert_eq!(read.width(), 2);
        }
    }

    #[test]
    fn probabilities_sum_to_one(vector in prop::collection::vec(-1e6_f32..1e6, 3)) {
        let vectors: Vec<Vec<f32>> = (0..9_u8).map(|i| vec![f32::from(i), f32::from(i % 3), 1.0]).collect();
        let names = names(3);
        let of = [0, 1, 2, 0, 1, 2, 0, 1, 2];
        let targets = Targets::Labels { labels: &names, of: &of };
        let probe = Probe::fit(&rows(&vectors), &targets, &Fit::with(1e-4)).unwrap();
        let sum: f64 = probe.probabilities(&vector).unwrap().iter().sum();
        prop_assert!((sum - 1.0).abs() < 1e-12);
    }
}
