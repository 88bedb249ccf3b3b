//! What is wrong with rows that are to be learnt, before anything is.

use std::collections::BTreeMap;

use fidelio_data::Place;
use serde::Serialize;

use crate::job::Prepared;

/// How many examples of a finding are named.
const NAMED: usize = 5;

/// What is learnt of a run's rows, and what looks like a mistake.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Audit {
    /// Learnt tokens over all.
    pub share_learnt: f64,
    /// Answers that are learnt: more than there are rows where conversations have several, and 0
    /// for documents.
    pub turns: usize,
    /// Rows with an answer whose last token is none that generation stops at: a model that learns
    /// from them does not learn to end.
    pub without_stop: Finding,
    /// Rows that stand in the data before, token for token.
    pub repeated: Finding,
    /// Rows with the prompt of an earlier row and another answer.
    pub contradicting: Finding,
}

/// Rows of one kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Finding {
    /// How many.
    pub rows: usize,
    /// The first of them, with their places.
    pub first: Vec<String>,
}

impl Finding {
    pub(crate) fn add(&mut self, place: &impl std::fmt::Display) {
        self.rows += 1;
        if self.first.len() < NAMED {
            self.first.push(place.to_string());
        }
    }
}

impl Audit {
    /// Looks at windows of documents. They end where they end, and all begin alike.
    pub(crate) fn of_documents(rows: &[Prepared]) -> Self {
        let audit = Self::of(rows, &[]);
        let none = Finding::default;
        Self { turns: 0, without_stop: none(), contradicting: none(), ..audit }
    }

    /// Looks at rendered rows; `stops` are the tokens that generation ends at.
    pub(crate) fn of(rows: &[Prepared], stops: &[u32]) -> Self {
        let (mut learnt, mut tokens, mut turns) = (0_usize, 0_usize, 0_usize);
        let [mut without_stop, mut repeated, mut contradicting] = [const { Vec::new() }; 3];
        let mut answers: BTreeMap<&[u32], &[u32]> = BTreeMap::new();
        for row in rows {
            let prompt = row.learn.iter().take_while(|learnt| !**learnt).count();
            learnt += row.learn.iter().filter(|learnt| **learnt).count();
            tokens += row.prompt.len();
            let ends: Vec<u32> = ends_of_turns(row).collect();
            turns += ends.len();
            if ends.is_empty() || ends.iter().any(|token| !stops.contains(token)) {
                without_stop.push(&row.place);
            }
            let (prompt, answer) = row.prompt.split_at(prompt);
            match answers.get(prompt) {
                Some(earlier) if *earlier == answer => repeated.push(&row.place),
                Some(_) => contradicting.push(&row.place),
                None => {
                    answers.insert(prompt, answer);
                }
            }
        }
        let finding = |places: Vec<&Place>| {
            let mut finding = Finding::default();
            for place in places {
                finding.add(place);
            }
            finding
        };
        Self {
            share_learnt: learnt as f64 / tokens.max(1) as f64,
            turns,
            without_stop: finding(without_stop),
            repeated: finding(repeated),
            contradicting: finding(contradicting),
        }
    }
}

/// The last token of each run of learnt ones.
fn ends_of_turns(row: &Prepared) -> impl Iterator<Item = u32> {
    let after = row.learn.iter().skip(1).chain([&false]);
    let ends = row.prompt.iter().zip(row.learn.iter().zip(after));
    ends.filter(|(_, (learnt, next))| **learnt && !**next).map(|(token, _)| *token)
}

#[cfg(test)]
mod tests {
    use fidelio_data::Unit;

    use super::*;

    fn row(line: usize, prompt: &[u32], answer: &[u32]) -> Prepared {
        let file = std::sync::Arc::from(std::path::Path::new("a.csv"));
        let place = Place { file, line, unit: Unit::Line };
        let learn = (0..prompt.len() + answer.len()).map(|i| i >= prompt.len()).collect();
        let ids = [prompt, answer].concat();
        Prepared { learn, ..Prepared::new(line, place, ids, Vec::new()) }
    }

    #[test]
    fn repeated_contradicting_and_endless_rows_are_found() {
        let rows = [
            row(2, &[1, 2], &[5, 9]),
            row(3, &[1, 2], &[5, 9]),
            row(4, &[1, 2], &[6, 9]),
            row(5, &[1, 3], &[6]),
        ];
        let audit = Audit::of(&rows, &[9]);
        assert_eq!(audit.repeated.first, ["`a.csv` line 3"]);
        assert_eq!(audit.contradicting.first, ["`a.csv` line 4"]);
        assert_eq!(audit.without_stop.first, ["`a.csv` line 5"]);
        assert!((audit.share_learnt - 7.0 / 15.0).abs() < 1e-12);
        assert_eq!(audit.turns, 4);
    }

    #[test]
    fn an_earlier_turn_that_does_not_end_is_found() {
        let mut talk = row(2, &[1, 2], &[5, 3, 6, 9]);
        talk.learn = vec![false, false, true, false, true, true];
        let audit = Audit::of(&[talk], &[9]);
        assert_eq!((audit.turns, audit.without_stop.rows), (2, 1));
    }
}
