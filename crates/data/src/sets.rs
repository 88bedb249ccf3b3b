//! The training, validation and test rows of a run, however they were given.

use std::sync::Arc;

use crate::{DataError, Note, Sampling, Source, Split, Subset, divide};

/// The sets of a run: divided from one table, or given as tables of their own.
#[derive(Clone)]
pub struct Sets {
    /// What is learnt from.
    pub train: Arc<dyn Source>,
    /// What decides when to stop.
    pub validation: Option<Arc<dyn Source>>,
    /// What is measured on at the end.
    pub test: Option<Arc<dyn Source>>,
    /// What was done that the user should know.
    pub notes: Vec<Note>,
}

impl Sets {
    /// Samples and divides one table; a set without rows is none.
    ///
    /// # Errors
    /// Those of [`divide`].
    pub fn divided(
        source: &Arc<dyn Source>,
        sampling: &Sampling,
        split: &Split,
        seed: u64,
    ) -> Result<Self, DataError> {
        let division = divide(source.as_ref(), sampling, split, seed)?;
        let subset = |rows| -> Arc<dyn Source> { Arc::new(Subset::new(Arc::clone(source), rows)) };
        let some = |rows: Vec<usize>| (!rows.is_empty()).then(|| subset(rows));
        Ok(Self {
            train: subset(division.train),
            validation: some(division.validation),
            test: some(division.test),
            notes: division.notes,
        })
    }

    /// Takes sets as they were given; only the training set is sampled. No split is made, and no
    /// set is topped up. Columns are for the caller to require: a test set may lack the answers.
    ///
    /// # Errors
    /// [`DataError::Sampling`].
    pub fn separate(
        train: Arc<dyn Source>,
        validation: Option<Arc<dyn Source>>,
        test: Option<Arc<dyn Source>>,
        sampling: &Sampling,
        seed: u64,
    ) -> Result<Self, DataError> {
        let mut notes = Vec::new();
        let rows = sampling.take((0..train.len()).collect(), seed, &mut notes)?;
        let train: Arc<dyn Source> =
            if rows.len() == train.len() { train } else { Arc::new(Subset::new(train, rows)) };
        Ok(Self { train, validation, test, notes })
    }
}

impl std::fmt::Debug for Sets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sets")
            .field("train", &self.train.len())
            .field("validation", &self.validation.as_ref().map(|set| set.len()))
            .field("test", &self.test.as_ref().map(|set| set.len()))
            .field("notes", &self.notes)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;
    use serde_json::json;

    fn source(rows: usize) -> Arc<dyn Source> {
        let rows = (0..rows).map(|i| json!({"a": i}).as_object().unwrap().clone());
        Arc::new(Memory::new("m", rows.collect()))
    }

    #[test]
    fn one_table_is_divided() {
        let split = Split::Random { probabilities: [0.8, 0.0, 0.2] };
        let sets = Sets::divided(&source(20), &Sampling::default(), &split, 1).unwrap();
        assert_eq!(sets.train.len(), 16);
        assert!(sets.validation.is_none());
        assert_eq!(sets.test.unwrap().len(), 4);
    }

    #[test]
    fn given_sets_are_kept_and_only_training_is_sampled() {
        let sampling = Sampling { sample_ratio: 0.5, ..Sampling::default() };
        let sets = Sets::separate(source(10), None, Some(source(2)), &sampling, 1).unwrap();
        assert_eq!((sets.train.len(), sets.test.unwrap().len()), (5, 2));
    }
}
