//! Against all logits, in `f64`.

use super::{Asked, Top, TopAsked, token_scores, top_logits, top_of};
use crate::{
    Arithmetic::{F32, Int8},
    Format, Layout, linear,
    random::Random,
};

const COLS: usize = 64;
const VOCABULARY: usize = 1003;

fn log_sum_exp(logits: &[f32]) -> f64 {
    logits.iter().map(|&l| f64::from(l).exp()).sum::<f64>().ln()
}

#[test]
fn scores_are_those_of_all_logits() {
    let mut random = Random(1);
    let head = random.weights(Format::Q8_0, VOCABULARY, COLS);
    let n = 80;
    let hidden = random.numbers(n * COLS);
    let mut logits = vec![0.0; n * VOCABULARY];
    linear(&hidden, head.matrix(), None, F32, &mut logits);
    // Out of order, some rows several times, some never.
    let asked: Vec<_> = (0..200)
        .map(|_| Asked { row: random.below(n) as u32, token: random.below(VOCABULARY) as u32 })
        .collect();
    let mut scores = Vec::new();
    token_scores(&hidden, head.matrix(), F32, &asked, &mut scores);
    assert_eq!(scores.len(), asked.len());
    for (asked, score) in asked.iter().zip(&scores) {
        let logits = &logits[asked.row as usize * VOCABULARY..][..VOCABULARY];
        let logit = logits[asked.token as usize];
        let expected = f64::from(logit) - log_sum_exp(logits);
        assert!((f64::from(score.logprob) - expected).abs() < 2e-6, "{score:?} {expected}");
        assert_eq!(score.rank as usize, logits.iter().filter(|&&l| l > logit).count());
        let top = (0..VOCABULARY).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
        assert_eq!(score.top as usize, top);
    }
}

#[test]
fn the_largest_logits_come_with_those_asked_for() {
    let mut random = Random(2);
    let head = random.weights(Format::F32, VOCABULARY, COLS);
    let hidden = random.numbers(3 * COLS);
    let mut logits = vec![0.0; 3 * VOCABULARY];
    linear(&hidden, head.matrix(), None, F32, &mut logits);
    let asked = [TopAsked { row: 2, k: 5, also: &[7, 3] }, TopAsked { row: 0, k: 0, also: &[9] }];
    let tops = top_logits(&hidden, head.matrix(), F32, &asked);
    for (asked, top) in asked.iter().zip(&tops) {
        let logits = &logits[asked.row as usize * VOCABULARY..][..VOCABULARY];
        let mut sorted: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
        sorted.truncate(asked.k);
        sorted.extend(asked.also.iter().map(|&t| (t, logits[t as usize])));
        assert_eq!(top.entries, sorted);
        assert!((f64::from(top.logsumexp) - log_sum_exp(logits)).abs() < 2e-6);
    }
}

#[test]
fn ties_go_to_the_smaller_id() {
    let Top { entries, logsumexp } = top_of(&[1.0, 3.0, 2.0, 3.0, 3.0], 2, &[]);
    assert_eq!(entries, [(1, 3.0), (3, 3.0)]);
    assert!((logsumexp - 4.253_68).abs() < 1e-4, "{logsumexp}");
    let mut scores = Vec::new();
    let ones: Vec<u8> = [1.0_f32; 4].iter().flat_map(|w| w.to_le_bytes()).collect();
    let head =
        crate::Matrix { format: Format::F32, bytes: &ones, rows: 4, cols: 1, layout: Layout::Rows };
    token_scores(&[2.0], head, F32, &[Asked { row: 0, token: 3 }], &mut scores);
    assert_eq!((scores[0].rank, scores[0].top), (0, 0));
    assert!((scores[0].logprob + 4_f32.ln()).abs() < 1e-6);
}

/// Few of the largest are found otherwise than many, and are the same.
#[test]
fn few_are_the_first_of_many() {
    let mut random = Random(5);
    for len in [1, 63, 64, 300, 5000] {
        // Few values, so that many are equal; both zeros among them.
        let logits: Vec<f32> = (0..len)
            .map(|_| [random.below(9) as f32 - 4.0, -0.0, random.number()][random.below(3)])
            .collect();
        let all = super::many(&logits, len);
        for k in [0, 1, 2, 7, 64, 128] {
            let expected = &all[..k.min(len)];
            let bits = |entries: &[(u32, f32)]| -> Vec<_> {
                entries.iter().map(|(id, logit)| (*id, logit.to_bits())).collect()
            };
            assert_eq!(bits(&super::few(&logits, k)), bits(expected), "{k} of {len}");
        }
    }
}

#[test]
fn no_question_costs_nothing() {
    let head = Random(3).weights(Format::F32, 4, 2);
    let mut scores = Vec::new();
    token_scores(&[0.0; 2], head.matrix(), F32, &[], &mut scores);
    assert!(scores.is_empty());
    assert!(top_logits(&[0.0; 2], head.matrix(), F32, &[]).is_empty());
}

/// The questions are answered from the logits of the arithmetic that is asked for.
#[test]
fn scores_follow_the_arithmetic() {
    let mut random = Random(4);
    let head = random.weights(Format::Q4_1, VOCABULARY, COLS);
    let hidden = random.numbers(3 * COLS);
    let mut logits = vec![0.0; 3 * VOCABULARY];
    linear(&hidden, head.matrix(), None, Int8, &mut logits);
    let asked: Vec<_> = (0..3).map(|row| Asked { row, token: 7 * row }).collect();
    let mut scores = Vec::new();
    token_scores(&hidden, head.matrix(), Int8, &asked, &mut scores);
    let tops = [0, 1, 2].map(|row| TopAsked { row, k: 4, also: &[5] });
    let tops = top_logits(&hidden, head.matrix(), Int8, &tops);
    for (i, logits) in logits.chunks(VOCABULARY).enumerate() {
        let expected = f64::from(logits[7 * i]) - log_sum_exp(logits);
        assert!((f64::from(scores[i].logprob) - expected).abs() < 2e-6);
        assert_eq!(tops[i], top_of(logits, 4, &[5]));
    }
}
