//! Texts that an encoder reads: each token sees all of its own text, and nothing else.

use burn::tensor::Tensor;
use fidelio_backend::Forest;
use fidelio_ops::{Run, Scoring, Sees, Span};

/// The texts of a batch, as attention takes them.
///
/// Attention lets a token see the spans before its run, then the run up to itself, as far back as a
/// window reaches. So each text stands before itself, and the window is as long as the text: its
/// token at `i` sees those behind `i` in the span and those up to `i` in the run, each once.
/// A window is one for all runs of a call, hence a call for each stretch of texts of one length.
pub(crate) struct Texts {
    positions: Vec<u32>,
    /// How long each text is.
    lengths: Vec<u32>,
    stretches: Vec<Stretch>,
}

/// Neighbouring texts of one length.
struct Stretch {
    /// The first token.
    first: usize,
    tokens: usize,
    sees: Sees,
}

impl Texts {
    /// The nodes of a forest, each a text of its own. Cheapest where texts of one length are
    /// neighbours.
    pub(crate) fn of(forest: &Forest) -> Self {
        let positions = forest.nodes.iter().flat_map(|node| 0..node.len).collect();
        let stretches = forest
            .nodes
            .chunk_by(|a, b| a.len == b.len)
            .map(|texts| Stretch::of(texts[0].start, texts.len() as u32, texts[0].len))
            .collect();
        let lengths = forest.nodes.iter().map(|node| node.len).collect();
        Self { positions, lengths, stretches }
    }

    /// Each token's position in its text.
    pub(crate) fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// `q`, `k` and `v` `[t, h, d]` to `[t, h, d]`; within a `reach`, a token sees so many to each
    /// side.
    pub(crate) fn attend(
        &self,
        [q, k, v]: [Tensor<3>; 3],
        scale: f32,
        reach: Option<u32>,
    ) -> Tensor<3> {
        let [_, h, d] = k.dims();
        let nothing = Tensor::zeros([1, h, d], &k.device()); // no cache
        let scoring = Scoring::scaled(scale);
        let longest = self.lengths.iter().max().copied().unwrap_or(0);
        if let Some(reach) = reach.filter(|reach| reach + 1 < longest) {
            let past = [nothing.clone(), nothing];
            return fidelio_ops::attention(q, [k, v], past, self.near(reach), scoring);
        }
        let attended = self.stretches.iter().map(|stretch| {
            let Stretch { first, tokens, sees } = stretch;
            let own = |x: &Tensor<3>| x.clone().slice([*first..first + tokens, 0..h, 0..d]);
            let past = [nothing.clone(), nothing.clone()];
            fidelio_ops::attention(own(&q), [own(&k), own(&v)], past, sees.clone(), scoring)
        });
        let mut attended: Vec<Tensor<3>> = attended.collect();
        match attended.len() {
            1 => attended.remove(0),
            _ => Tensor::cat(attended, 0),
        }
    }
}

impl Texts {
    /// Each token is a run of its own, which sees the spans on both of its sides and itself.
    fn near(&self, reach: u32) -> Sees {
        let tokens = self.positions.len();
        let (mut runs, mut spans) = (Vec::with_capacity(tokens), Vec::with_capacity(2 * tokens));
        let mut start = 0;
        for &len in &self.lengths {
            for first in start..start + len {
                let from = spans.len() as u32;
                let before = (first - start).min(reach);
                let after = (start + len - first - 1).min(reach);
                let sides = [(first - before, before), (first + 1, after)];
                let sides = sides.into_iter().filter(|(_, len)| *len > 0);
                spans.extend(sides.map(|(start, len)| Span { past: false, start, len }));
                runs.push(Run { first, len: 1, spans: from..spans.len() as u32 });
            }
            start += len;
        }
        Sees { runs: runs.into(), spans: spans.into(), window: None }
    }
}

impl Stretch {
    fn of(first: u32, texts: u32, len: u32) -> Self {
        let starts = (0..texts).map(|text| text * len);
        let spans: Vec<Span> =
            starts.clone().map(|start| Span { past: false, start, len }).collect();
        let runs: Vec<Run> =
            starts.zip(0..).map(|(first, at)| Run { first, len, spans: at..at + 1 }).collect();
        let sees = Sees { runs: runs.into(), spans: spans.into(), window: Some(len) };
        Self { first: first as usize, tokens: (texts * len) as usize, sees }
    }
}

#[cfg(test)]
mod tests {
    use fidelio_backend::Parent;

    use super::*;

    #[test]
    fn neighbours_of_one_length_are_one_stretch() {
        let mut forest = Forest::default();
        for tokens in [&[1_u32, 2][..], &[3, 4], &[5], &[6, 7]] {
            forest.push(Parent::Root, tokens);
        }
        let texts = Texts::of(&forest);
        assert_eq!(texts.positions(), [0, 1, 0, 1, 0, 0, 1]);
        let found: Vec<_> = texts.stretches.iter().map(|it| (it.first, it.tokens)).collect();
        assert_eq!(found, [(0, 4), (4, 1), (5, 2)]);
        let sees = &texts.stretches[0].sees;
        assert_eq!(sees.window, Some(2));
        assert_eq!(sees.runs[1], Run { first: 2, len: 2, spans: 1..2 });
        assert_eq!(sees.spans[1], Span { past: false, start: 2, len: 2 });
    }

    #[test]
    fn near_tokens_are_those_of_the_same_text() {
        let mut forest = Forest::default();
        forest.push(Parent::Root, &[1]);
        forest.push(Parent::Root, &[2, 3, 4, 5]);
        let sees = Texts::of(&forest).near(1);
        let seen = |run: usize| {
            let run = &sees.runs[run];
            let spans = &sees.spans[run.spans.start as usize..run.spans.end as usize];
            spans.iter().map(|span| (span.start, span.len)).collect::<Vec<_>>()
        };
        assert!(seen(0).is_empty());
        assert_eq!(seen(1), [(2, 1)]);
        assert_eq!(seen(2), [(1, 1), (3, 1)]);
        assert_eq!(seen(4), [(3, 1)]);
    }
}
