//! Against a softmax in `f64` over an explicit list of what each token sees.

use proptest::prelude::*;

use super::{
    AttentionGradients, Heads, Operands, Run, Scoring, Sees, Span, attention_on,
    backward::attention_backward_on,
};
use crate::{random::Random, simd::Path};

/// Operands of a random forest over a random cache.
struct Case {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    past_k: Vec<f32>,
    past_v: Vec<f32>,
    runs: Vec<Run>,
    spans: Vec<Span>,
    window: Option<u32>,
    heads: Heads,
    scoring: Scoring,
}

impl Case {
    /// Runs of up to `longest` tokens, each below cached slots, earlier runs, or nothing.
    fn random(seed: u64, heads: Heads, runs: usize, longest: usize, window: Option<u32>) -> Self {
        let mut random = Random(seed);
        let slots = 150;
        let mut spans = Vec::new();
        let mut made: Vec<Run> = Vec::new();
        let mut tokens = 0;
        for i in 0..runs {
            let begin = spans.len() as u32;
            match random.below(4) {
                0 if i > 0 => {
                    // Below an earlier run: its spans, then its tokens.
                    let parent = made[random.below(i)].clone();
                    spans
                        .extend_from_within(parent.spans.start as usize..parent.spans.end as usize);
                    spans.push(Span { past: false, start: parent.first, len: parent.len });
                }
                1 | 2 => {
                    for _ in 0..=random.below(2) {
                        let start = random.below(slots) as u32;
                        let len = 1 + random.below(slots - start as usize) as u32;
                        spans.push(Span { past: true, start, len });
                    }
                }
                _ => {}
            }
            let len = 1 + random.below(longest) as u32;
            made.push(Run { first: tokens, len, spans: begin..spans.len() as u32 });
            tokens += len;
        }
        let (t, width) = (tokens as usize, heads.key_value * heads.dim);
        let scoring = Scoring::scaled(2.5 / (heads.dim as f32).sqrt());
        Self {
            q: random.numbers(t * heads.query * heads.dim).iter().map(|q| q * 4.0).collect(),
            k: random.numbers(t * width),
            v: random.numbers(t * width),
            past_k: random.numbers(slots * width),
            past_v: random.numbers(slots * width),
            runs: made,
            spans,
            window,
            heads,
            scoring,
        }
    }

    fn attend(&self, path: Path) -> Vec<f32> {
        let Self { q, k, v, past_k, past_v, runs, spans, window, heads, scoring } = self;
        let (heads, scoring) = (*heads, *scoring);
        let sees = Sees { runs, spans, window: *window };
        let mut out = vec![f32::NAN; q.len()];
        let operands = Operands { q, k, v, past_k, past_v, sees, heads, scoring };
        attention_on(path, &operands, &mut out);
        out
    }

    fn naive(&self) -> Vec<f64> {
        self.naive_of(&[&self.q, &self.k, &self.v].map(|x| wide(x)))
    }

    fn naive_of(&self, [all_q, all_k, all_v]: &[Vec<f64>; 3]) -> Vec<f64> {
        let (past_k, past_v) = (wide(&self.past_k), wide(&self.past_v));
        let Heads { query, key_value, dim } = self.heads;
        let mut out = Vec::new();
        for run in &self.runs {
            for token in 0..run.len {
                let mut seen = Vec::new();
                for span in &self.spans[run.spans.start as usize..run.spans.end as usize] {
                    seen.extend((span.start..span.start + span.len).map(|at| (span.past, at)));
                }
                seen.extend((run.first..=run.first + token).map(|at| (false, at)));
                let window = self.window.map_or(seen.len(), |w| seen.len().min(w as usize));
                let seen = &seen[seen.len() - window..];
                for head in 0..query {
                    let q = ((run.first + token) as usize * query + head) * dim;
                    let q = &all_q[q..][..dim];
                    let at = |&(past, at): &(bool, u32)| {
                        let start = (at as usize * key_value + head / (query / key_value)) * dim;
                        let (k, v) = if past { (&past_k, &past_v) } else { (all_k, all_v) };
                        (&k[start..][..dim], &v[start..][..dim])
                    };
                    let dot = |k: &[f64]| -> f64 { q.iter().zip(k).map(|(q, k)| q * k).sum() };
                    let scored = |dot: f64| {
                        let scaled = dot * f64::from(self.scoring.scale);
                        let cap = self.scoring.softcap.map(f64::from);
                        cap.map_or(scaled, |cap| cap * (scaled / cap).tanh())
                    };
                    let scores: Vec<f64> = seen.iter().map(|s| scored(dot(at(s).0))).collect();
                    let max = scores.iter().copied().fold(f64::MIN, f64::max);
                    let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
                    let total: f64 = weights.iter().sum();
                    out.extend((0..dim).map(|c| {
                        let parts = seen.iter().zip(&weights);
                        parts.map(|(s, w)| w / total * at(s).1[c]).sum::<f64>()
                    }));
                }
            }
        }
        out
    }

    /// The slope along a random direction of each operand, against central differences in `f64`.
    fn check_gradients(&self, seed: u64) {
        let mut random = Random(seed);
        let g_out = random.numbers(self.q.len());
        let inputs = [&self.q, &self.k, &self.v].map(|x| wide(x));
        let directions = [&self.q, &self.k, &self.v].map(|x| wide(&random.numbers(x.len())));
        let moved = |operand: usize, step: f64| -> f64 {
            let mut moved = inputs.clone();
            for (x, direction) in moved[operand].iter_mut().zip(&directions[operand]) {
                *x += step * direction;
            }
            self.naive_of(&moved).iter().zip(&g_out).map(|(o, &g)| o * f64::from(g)).sum()
        };
        let slopes = [0, 1, 2].map(|operand| (moved(operand, 1e-5) - moved(operand, -1e-5)) / 2e-5);
        for path in Path::all() {
            let out = self.attend(path);
            let [mut q, mut k, mut v] =
                [&self.q, &self.k, &self.v].map(|x| vec![f32::NAN; x.len()]);
            let gradients = AttentionGradients { q: &mut q, k: &mut k, v: &mut v };
            let Self { runs, spans, window, heads, scoring, .. } = self;
            let operands = Operands {
                q: &self.q,
                k: &self.k,
                v: &self.v,
                past_k: &self.past_k,
                past_v: &self.past_v,
                sees: Sees { runs, spans, window: *window },
                heads: *heads,
                scoring: *scoring,
            };
            attention_backward_on(path, &operands, &out, &g_out, gradients);
            for ((gradient, direction), slope) in [q, k, v].iter().zip(&directions).zip(slopes) {
                let along: f64 =
                    gradient.iter().zip(direction).map(|(&g, d)| f64::from(g) * d).sum();
                let size: f64 = gradient.iter().map(|&g| f64::from(g).powi(2)).sum();
                assert!((along - slope).abs() < 1e-4 * (1.0 + size.sqrt()), "{along} {slope}");
            }
        }
    }

    fn check(&self) {
        let expected = self.naive();
        for path in Path::all() {
            for (got, expected) in self.attend(path).iter().zip(&expected) {
                assert!((f64::from(*got) - expected).abs() < 1e-5, "{got} {expected} on {path:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn forests_see_what_they_should(
        seed: u64,
        groups in 1..4_usize,
        key_value in 1..4_usize,
        dim in prop::sample::select(&[2_usize, 12, 32, 40, 64, 72][..]),
        runs in 1..7_usize,
        longest in prop::sample::select(&[1_usize, 3, 40, 90][..]),
        window in prop::option::of(1..200_u32),
        softcap in prop::option::of(0.5_f32..50.0),
    ) {
        let heads = Heads { query: groups * key_value, key_value, dim };
        let mut case = Case::random(seed, heads, runs, longest, window);
        case.scoring.softcap = softcap;
        case.check();
    }
}

#[test]
fn a_large_batch_is_spread() {
    Case::random(1, Heads { query: 9, key_value: 3, dim: 64 }, 6, 400, None).check();
}

/// The same run at another place of another batch.
#[test]
fn a_run_does_not_depend_on_the_others() {
    let heads = Heads { query: 9, key_value: 3, dim: 64 };
    let case = Case::random(3, heads, 9, 80, Some(100));
    let together = case.attend(Path::active());
    for run in &case.runs {
        let spans = &case.spans[run.spans.start as usize..run.spans.end as usize];
        if spans.iter().any(|span| !span.past) {
            continue;
        }
        let part = |x: &[f32], heads: usize| {
            let width = heads * case.heads.dim;
            x[run.first as usize * width..][..run.len as usize * width].to_vec()
        };
        let alone = Case {
            q: part(&case.q, heads.query),
            k: part(&case.k, heads.key_value),
            v: part(&case.v, heads.key_value),
            past_k: case.past_k.clone(),
            past_v: case.past_v.clone(),
            runs: vec![Run { first: 0, len: run.len, spans: 0..spans.len() as u32 }],
            spans: spans.to_vec(),
            ..case
        };
        assert_eq!(alone.attend(Path::active()), part(&together, heads.query));
    }
}

#[test]
fn huge_scores_do_not_overflow() {
    let mut case = Case::random(4, Heads { query: 2, key_value: 1, dim: 8 }, 3, 70, None);
    case.scoring.scale = 1000.0;
    let expected = case.naive();
    for (got, expected) in case.attend(Path::active()).iter().zip(expected) {
        assert!((f64::from(*got) - expected).abs() < 1e-2, "{got} {expected}");
    }
}

#[test]
#[should_panic(expected = "a span ends at 151 of 150 slots")]
fn a_span_beyond_the_cache_is_refused() {
    let mut case = Case::random(5, Heads { query: 1, key_value: 1, dim: 4 }, 1, 1, None);
    case.spans = vec![Span { past: true, start: 150, len: 1 }];
    case.runs[0].spans = 0..1;
    case.attend(Path::active());
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn gradients_are_slopes(
        seed in any::<u64>(),
        group in 1_usize..4,
        key_value in 1_usize..4,
        dim in 1_usize..70,
        runs in 1_usize..7,
        longest in prop::sample::select(vec![1_usize, 5, 90]),
        window in prop::option::of(1_u32..40),
        softcap in prop::option::of(0.5_f32..50.0),
    ) {
        let heads = Heads { query: group * key_value, key_value, dim };
        let mut case = Case::random(seed, heads, runs, longest, window);
        case.scoring.softcap = softcap;
        case.check_gradients(seed);
    }
}
