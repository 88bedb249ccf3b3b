//! What finds candidates for a query.

use crate::RetrievalError;

/// What examples are chosen for.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Its text.
    pub text: &'a str,
    /// The candidate that is the same row, if it is among the candidates: never its own example.
    pub itself: Option<usize>,
}

/// A candidate that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Its number among the candidates, from 0.
    pub candidate: usize,
    /// How well it fits the query, in the searcher's own measure; greater is better, and 0 means
    /// that it has nothing in common.
    pub score: f32,
}

/// Finds candidates for a query and says how like two candidates are.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not find examples",
    note = "implement `Searcher`, or use `Random`, `Bm25` or `Semantic`"
)]
pub trait Searcher: Send + Sync {
    /// At most `limit` candidates that `among` admits, the best first. Candidates that have nothing
    /// in common with the query may be left out. The answer depends on nothing but the query and
    /// the candidates.
    ///
    /// # Errors
    /// [`RetrievalError::Search`], where a store can fail.
    fn search(
        &self,
        query: &Query<'_>,
        among: &dyn Fn(usize) -> bool,
        limit: usize,
    ) -> Result<Vec<Hit>, RetrievalError>;

    /// How like two candidates are, from 0 (nothing in common) to 1 (the same).
    fn similarity(&self, a: usize, b: usize) -> f32;
}

/// The best of some hits, the best first; of equal ones the first.
pub(crate) fn best(mut hits: Vec<Hit>, limit: usize) -> Vec<Hit> {
    let by_score =
        |a: &Hit, b: &Hit| b.score.total_cmp(&a.score).then(a.candidate.cmp(&b.candidate));
    if limit < hits.len() {
        hits.select_nth_unstable_by(limit, by_score);
        hits.truncate(limit);
    }
    hits.sort_unstable_by(by_score);
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_first_and_ties_keep_their_order() {
        let hits = [0.5, 2.0, 0.5, 1.0, 0.1].into_iter().enumerate();
        let hits: Vec<Hit> = hits.map(|(candidate, score)| Hit { candidate, score }).collect();
        let numbers =
            |limit| best(hits.clone(), limit).iter().map(|hit| hit.candidate).collect::<Vec<_>>();
        assert_eq!(numbers(3), [1, 3, 0]);
        assert_eq!(numbers(9), [1, 3, 0, 2, 4]);
        assert_eq!(numbers(0), [0; 0]);
    }
}
