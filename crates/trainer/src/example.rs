//! What is learnt from.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{TrainError, digest::hex};

/// A row ready to be learnt from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Its tokens.
    pub ids: Vec<u32>,
    /// Which of them are learnt: token `i` is asked at token `i - 1`, so the first cannot be.
    pub learn: Vec<bool>,
}

/// Why a row cannot be learnt from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum Unfit {
    #[error("it has nothing to learn: none of its {tokens} tokens is marked")]
    NothingToLearn { tokens: usize },
    #[error("its first token is to be learnt, which nothing comes before")]
    FirstToken,
    #[error("it has {tokens} tokens and {marks} marks of what is learnt")]
    Marks { tokens: usize, marks: usize },
    #[error("its {tokens} tokens do not fit the model's context of {context}")]
    TooLong { tokens: usize, context: usize },
}

impl Example {
    /// The tokens that must be computed: those after the last one that is learnt are seen by no
    /// question, and neither is that one itself.
    pub fn fed(&self) -> &[u32] {
        let last = self.learn.iter().rposition(|learnt| *learnt).unwrap_or(0);
        &self.ids[..last]
    }

    /// Where something is asked, and the token asked for there.
    pub fn questions(&self) -> impl Iterator<Item = (usize, u32)> {
        let learnt = self.ids.iter().zip(&self.learn).skip(1).enumerate();
        learnt.filter(|(_, (_, learn))| **learn).map(|(at, (id, _))| (at, *id))
    }

    fn check(&self, context: usize) -> Result<(), Unfit> {
        let (tokens, marks) = (self.ids.len(), self.learn.len());
        if tokens != marks {
            return Err(Unfit::Marks { tokens, marks });
        }
        if self.learn.first() == Some(&true) {
            return Err(Unfit::FirstToken);
        }
        if !self.learn.contains(&true) {
            return Err(Unfit::NothingToLearn { tokens });
        }
        if tokens > context {
            return Err(Unfit::TooLong { tokens, context });
        }
        Ok(())
    }
}

/// Checks rows before anything is computed with them.
pub(crate) fn check_rows(rows: &[Example], context: usize) -> Result<(), TrainError> {
    if rows.is_empty() {
        return Err(TrainError::NoRows);
    }
    rows.iter().enumerate().try_for_each(|(row, example)| {
        example.check(context).map_err(|unfit| TrainError::Row { row, unfit })
    })
}

/// What tells one set of rows from another.
pub(crate) fn digest_rows(rows: &[Example]) -> String {
    let mut hash = Sha256::new();
    for row in rows {
        hash.update((row.ids.len() as u64).to_le_bytes());
        for (id, learn) in row.ids.iter().zip(&row.learn) {
            hash.update(id.to_le_bytes());
            hash.update([u8::from(*learn)]);
        }
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(learn: &[bool]) -> Example {
        Example { ids: (0..learn.len() as u32).collect(), learn: learn.to_vec() }
    }

    #[test]
    fn what_nobody_asks_about_is_not_computed() {
        let example = example(&[false, false, true, false, true, false]);
        assert_eq!(example.fed(), [0, 1, 2, 3]);
        assert_eq!(example.questions().collect::<Vec<_>>(), [(1, 2), (3, 4)]);
    }

    #[test]
    fn a_row_that_cannot_be_learnt_is_refused_with_its_number() {
        let good = example(&[false, true]);
        let unfit = |row: Example| match check_rows(&[good.clone(), row], 3) {
            Err(TrainError::Row { row: 1, unfit }) => unfit,
            other => panic!("{other:?}"),
        };
        assert_eq!(unfit(example(&[false, false])), Unfit::NothingToLearn { tokens: 2 });
        assert_eq!(unfit(example(&[])), Unfit::NothingToLearn { tokens: 0 });
        assert_eq!(unfit(example(&[true, true])), Unfit::FirstToken);
        assert_eq!(
            unfit(example(&[false, true, true, true])),
            Unfit::TooLong { tokens: 4, context: 3 }
        );
        let marks = Example { ids: vec![1], learn: vec![false, true] };
        assert_eq!(unfit(marks), Unfit::Marks { tokens: 1, marks: 2 });
        assert!(matches!(check_rows(&[], 3), Err(TrainError::NoRows)));
    }

    #[test]
    fn rows_are_told_apart_by_ids_and_marks_and_borders() {
        let digest = |rows: &[&[bool]]| {
            digest_rows(&rows.iter().map(|learn| example(learn)).collect::<Vec<_>>())
        };
        assert_ne!(digest(&[&[false, true]]), digest(&[&[false, false]]));
        assert_ne!(digest(&[&[false], &[]]), digest(&[&[], &[false]]));
    }
}
