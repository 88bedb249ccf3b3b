//! Candidates that several searchers place high.

use crate::searcher::best;
use crate::{Hit, Query, RetrievalError, Searcher};

/// How little the first places stand out: the constant of the paper.
const K: f32 = 60.0;

/// Fuses rankings by reciprocal rank (Cormack, Clarke and Büttcher, SIGIR 2009): a candidate's score is
/// the sum of 1 / (60 + rank) over the searchers that find it, ranks counted from 1. Scores of the
/// searchers themselves, which cannot be compared, do not count.
pub struct Hybrid {
    searchers: Vec<Box<dyn Searcher>>,
}

impl std::fmt::Debug for Hybrid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hybrid").field("searchers", &self.searchers.len()).finish()
    }
}

impl Hybrid {
    /// Of these; `last` also says how like two candidates are.
    pub fn new(others: Vec<Box<dyn Searcher>>, last: Box<dyn Searcher>) -> Self {
        let mut searchers = others;
        searchers.push(last);
        Self { searchers }
    }
}

impl Searcher for Hybrid {
    fn search(
        &self,
        query: &Query<'_>,
        among: &dyn Fn(usize) -> bool,
        limit: usize,
    ) -> Result<Vec<Hit>, RetrievalError> {
        let mut scores = std::collections::BTreeMap::<usize, f32>::new();
        for searcher in &self.searchers {
            // Whole rankings: what a query gets does not depend on how many are wanted.
            for (hit, rank) in searcher.search(query, among, usize::MAX)?.iter().zip(1_u32..) {
                *scores.entry(hit.candidate).or_default() += 1.0 / (K + rank as f32);
            }
        }
        let hits = scores.into_iter().map(|(candidate, score)| Hit { candidate, score });
        Ok(best(hits.collect(), limit))
    }

    fn similarity(&self, a: usize, b: usize) -> f32 {
        self.searchers.last().map_or(0.0, |searcher| searcher.similarity(a, b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds what it was told to, in that order.
    struct Told(&'static [usize], f32);

    impl Searcher for Told {
        fn search(
            &self,
            _: &Query<'_>,
            among: &dyn Fn(usize) -> bool,
            limit: usize,
        ) -> Result<Vec<Hit>, RetrievalError> {
            let hits = self.0.iter().copied().filter(|&it| among(it)).take(limit);
            Ok(hits.map(|candidate| Hit { candidate, score: 0.5 }).collect())
        }

        fn similarity(&self, _: usize, _: usize) -> f32 {
            self.1
        }
    }

    #[test]
    fn ranks_add_up_as_the_paper_has_it() {
        let others: Vec<Box<dyn Searcher>> = vec![Box::new(Told(&[2, 0, 1], 0.1))];
        let hybrid = Hybrid::new(others, Box::new(Told(&[3, 1, 2, 0], 0.9)));
        let search = |among: &dyn Fn(usize) -> bool, limit| {
            hybrid.search(&Query { text: "", itself: None }, among, limit).unwrap()
        };
        let hits = search(&|_| true, 9);
        let expected = [
            (2, 1.0 / 61.0 + 1.0 / 63.0),
            (1, 1.0 / 63.0 + 1.0 / 62.0),
            (0, 1.0 / 62.0 + 1.0 / 64.0),
            (3, 1.0 / 61.0),
        ];
        assert_eq!(hits.len(), 4);
        for (hit, (candidate, score)) in hits.iter().zip(expected) {
            assert_eq!(hit.candidate, candidate);
            assert!((hit.score - score).abs() < 1e-7, "{hit:?}, not {score}");
        }
        assert_eq!(search(&|_| true, 2)[..], hits[..2], "fewer are the first of more");
        let without: Vec<_> = search(&|it| it != 2, 9).iter().map(|hit| hit.candidate).collect();
        // 1/61 + 1/63 is more than 1/62 + 1/62.
        assert_eq!(without, [0, 1, 3], "what is not admitted has no rank");
        assert!((hybrid.similarity(0, 1) - 0.9).abs() < f32::EPSILON);
    }
}
