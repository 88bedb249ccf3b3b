//! Examples that are drawn.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::searcher::best;
use crate::{Candidates, Hit, Query, RetrievalError, Searcher};

/// Draws candidates. What is drawn for a query depends on the seed, the query's text and the
/// candidates, and on no other query: each candidate has a number that is a hash of seed, text and
/// its own place, and the greatest numbers win.
#[derive(Debug, Clone)]
pub struct Random {
    candidates: Arc<Candidates>,
    seed: u64,
    per_query: bool,
}

impl Random {
    /// Draws anew for each text.
    pub fn new(candidates: Arc<Candidates>, seed: u64) -> Self {
        Self { candidates, seed, per_query: true }
    }

    /// Draws once: every query gets the same, as far as it may see them.
    pub fn once(candidates: Arc<Candidates>, seed: u64) -> Self {
        Self { candidates, seed, per_query: false }
    }

    fn stream(&self, query: &Query<'_>) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        if self.per_query {
            hash.update(query.text.as_bytes());
        }
        let hash = hash.finalize();
        u64::from_le_bytes(hash[..8].try_into().expect("the hash has 32 bytes"))
    }
}

impl Searcher for Random {
    fn search(
        &self,
        query: &Query<'_>,
        among: &dyn Fn(usize) -> bool,
        limit: usize,
    ) -> Result<Vec<Hit>, RetrievalError> {
        let stream = self.stream(query);
        let drawn = |candidate| Hit { candidate, score: fraction(stream, candidate as u64) };
        let all = (0..self.candidates.len()).filter(|&candidate| among(candidate));
        Ok(best(all.map(drawn).collect(), limit))
    }

    fn similarity(&self, a: usize, b: usize) -> f32 {
        self.candidates.cosine(a, b)
    }
}

/// Number `n` of a splitmix64 stream, above 0 and at most 1.
fn fraction(stream: u64, n: u64) -> f32 {
    let mut z = stream.wrapping_add((n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    ((z >> 40) + 1) as f32 / (1_u32 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Candidate;

    fn candidates(count: usize) -> Arc<Candidates> {
        let row = |i: usize| Candidate { text: format!("text {i}"), label: None };
        Candidates::new((0..count).map(row)).shared()
    }

    fn drawn(of: &Random, text: &str, limit: usize) -> Vec<usize> {
        let query = Query { text, itself: None };
        of.search(&query, &|_| true, limit).unwrap().iter().map(|hit| hit.candidate).collect()
    }

    #[test]
    fn a_draw_depends_on_seed_and_text_alone() {
        let of = Random::new(candidates(100), 7);
        let first = drawn(&of, "one", 4);
        assert_eq!(drawn(&of, "one", 4), first, "and not on what was asked before");
        assert_eq!(drawn(&of, "one", 9)[..4], first, "nor on how many are wanted");
        assert_ne!(drawn(&of, "two", 4), first);
        assert_ne!(drawn(&Random::new(candidates(100), 8), "one", 4), first);
        let query = Query { text: "one", itself: None };
        let others = of.search(&query, &|candidate| candidate != first[0], 3).unwrap();
        let others: Vec<_> = others.iter().map(|hit| hit.candidate).collect();
        assert_eq!(others, first[1..], "what is not admitted changes nothing else");
    }

    #[test]
    fn what_is_drawn_once_is_the_same_for_every_text() {
        let of = Random::once(candidates(100), 7);
        assert_eq!(drawn(&of, "one", 4), drawn(&of, "two", 4));
    }

    #[test]
    fn every_candidate_is_drawn_about_equally_often() {
        let of = Random::new(candidates(10), 1);
        let mut counts = [0_u32; 10];
        for query in 0..5000 {
            counts[drawn(&of, &query.to_string(), 1)[0]] += 1;
        }
        // 500 expected, standard deviation 21.
        assert!(counts.iter().all(|count| (400..600).contains(count)), "{counts:?}");
    }
}
