//! Choosing examples for a query: never the query itself, diverse and balanced if that is wanted.

use std::fmt;
use std::sync::Arc;

use crate::{Candidates, Duplicate, Hit, Query, Random, RetrievalError, Searcher};

/// Candidates looked at for a diverse choice, per example and at least.
const SHORTLIST: (usize, usize) = (10, 50);

/// How examples are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Selection {
    /// How many are shown, at least 1.
    pub k: usize,
    /// Whether all labels are shown equally often, as far as there are candidates.
    pub balance: bool,
    /// How much an example that is like one already chosen is held back, from 0 (not at all) to 1
    /// (likeness to the query does not count any more): maximal marginal relevance,
    /// (1 − diversity) · relevance − diversity · likeness to the nearest chosen one.
    pub diversity: f32,
    /// Candidates that say what the query says.
    pub duplicates: Duplicates,
    /// The order in which examples are shown.
    pub order: Order,
    /// The seed of what is drawn where too few candidates have a word in common with the query.
    pub seed: u64,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            k: 1,
            balance: false,
            diversity: 0.0,
            duplicates: Duplicates::Show,
            order: Order::BestLast,
            seed: 42,
        }
    }
}

/// What becomes of candidates that say what the query says. They are reported either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicates {
    /// They may be chosen.
    Show,
    /// They are passed over.
    Skip,
}

/// The order in which examples are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The best one last, next to the query: models use the ends of a long prompt best.
    BestLast,
    /// The best one first.
    BestFirst,
}

/// An example that was chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Picked {
    /// The candidate.
    pub candidate: usize,
    /// When it was chosen, from 0: where there is no room for all, the last chosen goes first.
    pub rank: usize,
    /// How well it fits, in the searcher's measure; 0 for one that was drawn for want of a better.
    pub score: f32,
}

/// What was chosen for a query.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chosen {
    /// In the order in which they are shown.
    pub examples: Vec<Picked>,
    /// Candidates that say what the query says: those among the examples, or those passed over.
    pub duplicates: Vec<Duplicate>,
    /// How many of the examples were drawn, having nothing in common with the query.
    pub drawn: usize,
}

impl Chosen {
    /// The candidates in the order in which they are shown.
    pub fn candidates(&self) -> impl Iterator<Item = usize> + '_ {
        self.examples.iter().map(|picked| picked.candidate)
    }
}

/// Chooses examples for queries.
pub struct Chooser {
    candidates: Arc<Candidates>,
    searcher: Box<dyn Searcher>,
    rest: Random,
    how: Selection,
}

impl fmt::Debug for Chooser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let candidates = self.candidates.len();
        f.debug_struct("Chooser")
            .field("candidates", &candidates)
            .field("how", &self.how)
            .finish_non_exhaustive()
    }
}

impl Chooser {
    /// Chooses among `candidates`, over which `searcher` searches.
    ///
    /// # Errors
    /// [`RetrievalError::TooFew`] and [`RetrievalError::NoLabels`].
    pub fn new(
        candidates: Arc<Candidates>,
        searcher: Box<dyn Searcher>,
        how: Selection,
    ) -> Result<Self, RetrievalError> {
        let have = candidates.len();
        if how.k > have {
            return Err(RetrievalError::TooFew { asked: how.k, have });
        }
        let without = (0..have).filter(|&row| candidates.label(row).is_none()).count();
        if how.balance && without > 0 {
            return Err(RetrievalError::NoLabels { without, have });
        }
        let rest = Random::new(Arc::clone(&candidates), how.seed);
        Ok(Self { candidates, searcher, rest, how })
    }

    /// The candidates.
    pub fn candidates(&self) -> &Candidates {
        &self.candidates
    }

    /// How it chooses.
    pub fn selection(&self) -> Selection {
        self.how
    }

    /// The examples for a query: as many as are wanted, or as there are besides the query itself.
    ///
    /// # Errors
    /// Those of the searcher.
    pub fn choose(&self, query: &Query<'_>) -> Result<Chosen, RetrievalError> {
        let mut duplicates = self.candidates.duplicates(query.text);
        duplicates.retain(|it| Some(it.candidate) != query.itself);
        let skipped = |candidate: usize| {
            self.how.duplicates == Duplicates::Skip
                && duplicates.binary_search_by_key(&candidate, |it| it.candidate).is_ok()
        };
        let admitted = |candidate: usize| Some(candidate) != query.itself && !skipped(candidate);
        let mut lists = Vec::new();
        for label in self.groups() {
            let of_group = |candidate: usize| {
                admitted(candidate)
                    && label.is_none_or(|label| self.candidates.label(candidate) == Some(label))
            };
            lists.push(self.shortlist(query, &of_group)?);
        }
        let mut examples = self.pick(lists);
        let drawn = examples.iter().filter(|picked| picked.score <= 0.0).count();
        // A stable sort: of equal ones, the one that was chosen first counts as the better.
        examples.sort_by(|a, b| b.score.total_cmp(&a.score));
        if self.how.order == Order::BestLast {
            examples.reverse();
        }
        if self.how.duplicates == Duplicates::Show {
            let shown = |it: &Duplicate| examples.iter().any(|x| x.candidate == it.candidate);
            duplicates.retain(shown);
        }
        Ok(Chosen { examples, duplicates, drawn })
    }

    /// What is searched by itself: everything, or each label.
    fn groups(&self) -> Vec<Option<&str>> {
        if !self.how.balance {
            return vec![None];
        }
        self.candidates.labels().into_iter().map(Some).collect()
    }

    /// The best candidates, topped up with drawn ones.
    fn shortlist(
        &self,
        query: &Query<'_>,
        among: &dyn Fn(usize) -> bool,
    ) -> Result<Vec<Open>, RetrievalError> {
        let (per_example, least) = SHORTLIST;
        let diverse = self.how.diversity > 0.0;
        let limit = if diverse { least.max(per_example * self.how.k) } else { self.how.k };
        let mut hits = self.searcher.search(query, among, limit)?;
        // Whatever a searcher makes of `among`: no row is its own example.
        hits.retain(|hit| among(hit.candidate));
        let missing = self.how.k.saturating_sub(hits.len());
        if missing > 0 {
            let further = |it: usize| among(it) && hits.iter().all(|hit| hit.candidate != it);
            let drawn = self.rest.search(query, &further, missing)?;
            hits.extend(drawn.into_iter().map(|hit| Hit { score: 0.0, ..hit }));
        }
        Ok(hits.into_iter().map(|hit| Open { hit, nearest: 0.0 }).collect())
    }

    /// Takes the best of the lists that have given least, until there are enough.
    fn pick(&self, mut lists: Vec<Vec<Open>>) -> Vec<Picked> {
        let scores = lists.iter().flatten().map(|open| open.hit.score);
        let best = scores.fold(0.0, f32::max).max(f32::MIN_POSITIVE);
        let mut given = vec![0_usize; lists.len()];
        let mut picked = Vec::with_capacity(self.how.k);
        while picked.len() < self.how.k {
            let Some((list, at)) = self.next(&lists, &given, best) else { break };
            let Hit { candidate, score } = lists[list].remove(at).hit;
            given[list] += 1;
            picked.push(Picked { candidate, rank: picked.len(), score });
            if self.how.diversity > 0.0 {
                for open in lists.iter_mut().flatten() {
                    let likeness = self.searcher.similarity(open.hit.candidate, candidate);
                    open.nearest = open.nearest.max(likeness);
                }
            }
        }
        picked
    }

    /// The list and the place in it of the candidate that is taken next.
    fn next(&self, lists: &[Vec<Open>], given: &[usize], best: f32) -> Option<(usize, usize)> {
        let filled = |list: usize| !lists[list].is_empty();
        let least = (0..lists.len()).filter(|&list| filled(list)).map(|list| given[list]).min()?;
        let due = (0..lists.len()).filter(|&list| filled(list) && given[list] == least);
        let places = due.flat_map(|list| (0..lists[list].len()).map(move |at| (list, at)));
        let worth = |&(list, at): &(usize, usize)| {
            let Open { hit, nearest } = &lists[list][at];
            let diversity = self.how.diversity;
            (1.0 - diversity) * hit.score / best - diversity * nearest
        };
        // Of equal ones the first, as the searcher has them.
        places.reduce(|a, b| if worth(&b) > worth(&a) { b } else { a })
    }
}

/// A candidate that may still be chosen.
struct Open {
    hit: Hit,
    /// How like it is to the nearest one that is chosen.
    nearest: f32,
}
