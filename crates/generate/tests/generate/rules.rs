//! Every rule against the values of `transformers` (fixtures/make_rules.py).

use fidelio_generate::{Decoding, RowView, Rules, rules::LogitBias};
use serde::Deserialize;

use crate::fixture;

#[derive(Deserialize)]
struct Case {
    decoding: Decoding,
    prompt: Vec<u32>,
    generated: Vec<u32>,
    logits: Vec<f32>,
    expected: Vec<Option<f32>>,
}

#[test]
fn rules_give_what_transformers_gives() {
    let text = std::fs::read_to_string(fixture("rules.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    assert_eq!(cases.len(), 53);
    for (i, case) in cases.into_iter().enumerate() {
        let ids = [&case.prompt[..], &case.generated].concat();
        let row = RowView { ids: &ids, prompt: case.prompt.len() };
        let mut rules = Rules::new(&case.decoding, Vec::new());
        let mut logits = case.logits.clone();
        rules.apply(&row, &mut logits);
        for (id, (&got, expected)) in logits.iter().zip(&case.expected).enumerate() {
            let expected = expected.unwrap_or(f32::NEG_INFINITY);
            // They compute in f32 too; only divisions and products are rounded.
            let near = expected.is_finite() && (got - expected).abs() <= 2e-6 * expected.abs();
            let same = near || got.to_bits() == expected.to_bits();
            let names = rules.names();
            assert!(same, "case {i} {names:?}, token {id}: got {got}, expected {expected}");
        }
        if !rules.need_ids(&row) {
            continue_on_a_part(i, &mut rules, &row, &case.logits, &logits);
        }
    }
}

/// Rules that say so give the same on the largest logits alone.
fn continue_on_a_part(
    case: usize,
    rules: &mut Rules,
    row: &RowView<'_>,
    logits: &[f32],
    whole: &[f32],
) {
    let kept: Vec<usize> = (0..whole.len()).filter(|&i| whole[i].is_finite()).collect();
    if !rules.names().contains(&"top_k") {
        return; // a part is enough only where the rest is excluded anyway
    }
    let mut part: Vec<f32> = kept.iter().map(|&i| logits[i]).collect();
    rules.apply(row, &mut part);
    let expected: Vec<f32> = kept.iter().map(|&i| whole[i]).collect();
    assert_eq!(part, expected, "case {case}");
}

#[test]
fn a_bad_word_may_begin_with_the_first_token() {
    let decoding = Decoding { bad_words_ids: vec![vec![4, 5, 6]], ..Decoding::default() };
    let mut logits = vec![1.0; 8];
    let row = RowView { ids: &[4, 5], prompt: 1 };
    Rules::new(&decoding, Vec::new()).apply(&row, &mut logits);
    let banned: Vec<usize> = (0..8).filter(|&id| logits[id].is_infinite()).collect();
    assert_eq!(banned, [6]);
}

#[test]
fn of_equal_logits_top_k_keeps_the_smaller_ids() {
    let decoding = Decoding { do_sample: true, top_k: 2, ..Decoding::default() };
    let mut logits = vec![1.0, 3.0, 1.0, 1.0];
    Rules::new(&decoding, Vec::new()).apply(&RowView { ids: &[0], prompt: 1 }, &mut logits);
    let no = f32::NEG_INFINITY;
    assert_eq!(logits, [1.0, 3.0, no, no]);
}

#[test]
fn a_bias_is_added_to_its_tokens_alone() {
    let bias = LogitBias::new(vec![(2, -100.0), (0, 1.5), (9, 1.0)]);
    let mut rules = Rules::new(&Decoding::default(), vec![Box::new(bias)]);
    let row = RowView { ids: &[1], prompt: 1 };
    let mut logits = vec![1.0, 2.0, 3.0];
    rules.apply(&row, &mut logits);
    assert_eq!(logits, [2.5, 2.0, -97.0]);
    assert!(rules.need_ids(&row), "it tells tokens apart");
}
