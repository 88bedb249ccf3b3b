//! Candidates by common words.

use std::sync::Arc;

use crate::searcher::best;
use crate::words::words;
use crate::{Candidates, Hit, Query, RetrievalError, Searcher};

/// How soon further occurrences of a word stop counting; Lucene's default.
const K1: f32 = 1.2;
/// How much long candidates are held back; Lucene's default.
const B: f32 = 0.75;

/// Finds candidates by common words, rare ones counting more: BM25 as Lucene computes it,
/// Σ ln(1 + (n − df + ½) / (df + ½)) · tf / (tf + k₁ (1 − b + b · length / mean length)).
/// Candidates without a common word are not found.
#[derive(Debug, Clone)]
pub struct Bm25 {
    candidates: Arc<Candidates>,
    /// Of each candidate, what its length adds below the line.
    damping: Arc<[f32]>,
}

impl Bm25 {
    /// Over these candidates.
    pub fn new(candidates: Arc<Candidates>) -> Self {
        let mean = candidates.mean_length();
        let damp = |candidate| damping(candidates.length(candidate) as f32, mean);
        let damping = (0..candidates.len()).map(damp).collect();
        Self { candidates, damping }
    }
}

/// What a word is worth that `have` of `all` texts have.
pub(crate) fn rarity(all: f32, have: f32) -> f32 {
    ((all - have + 0.5) / (have + 0.5)).ln_1p()
}

/// How much of that it brings, occurring so often in a text of this damping.
pub(crate) fn weight(times: f32, damping: f32) -> f32 {
    times / (times + damping)
}

/// What the length of a text adds below the line.
pub(crate) fn damping(length: f32, mean: f32) -> f32 {
    K1 * (1.0 - B + B * length / mean.max(f32::MIN_POSITIVE))
}

impl Searcher for Bm25 {
    fn search(
        &self,
        query: &Query<'_>,
        among: &dyn Fn(usize) -> bool,
        limit: usize,
    ) -> Result<Vec<Hit>, RetrievalError> {
        let mut scores = vec![0.0_f32; self.candidates.len()];
        for word in words(query.text) {
            let Some(postings) = self.candidates.postings(&word) else { continue };
            let (all, have) = (self.candidates.len() as f32, postings.len() as f32);
            let rarity = rarity(all, have);
            for posting in postings {
                let (candidate, times) = (posting.candidate as usize, posting.times as f32);
                scores[candidate] += rarity * weight(times, self.damping[candidate]);
            }
        }
        let found = scores.into_iter().enumerate();
        let found = found.filter(|&(candidate, score)| score > 0.0 && among(candidate));
        Ok(best(found.map(|(candidate, score)| Hit { candidate, score }).collect(), limit))
    }

    fn similarity(&self, a: usize, b: usize) -> f32 {
        self.candidates.cosine(a, b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Candidate;

    #[test]
    fn rare_common_words_win_and_strangers_are_not_found() {
        let row = |text: &str| Candidate { text: text.to_owned(), label: None };
        let texts = ["the film", "the long book", "the the the", "a comet"];
        let searcher = Bm25::new(Candidates::new(texts.map(row)).shared());
        let found = |text, among: &dyn Fn(usize) -> bool| {
            let hits = searcher.search(&Query { text, itself: None }, among, 9).unwrap();
            hits.iter().map(|hit| hit.candidate).collect::<Vec<_>>()
        };
        assert_eq!(found("The FILM", &|_| true), [0, 2, 1]);
        assert_eq!(found("The FILM", &|candidate| candidate != 0), [2, 1]);
        assert_eq!(found("nothing", &|_| true), [0; 0]);
    }
}
