//! A session whose adapters are speakers of their own.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use fidelio_backend::{
    AdapterId, AdapterSpec, Answers, BackendError, Batch, Capacity, FakeSession, RowId, RowStep,
    RowTo, Scores, Session, Want, Weights,
};

/// The base, and what an adapter makes of it: the one that is added n-th is `of(n)`.
pub(crate) struct Choir {
    base: FakeSession,
    of: fn(u32) -> FakeSession,
    adapters: BTreeMap<AdapterId, FakeSession>,
    added: u32,
    /// The adapters that it has at a time.
    has: Has,
}

/// Which adapters a [`Choir`] has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Has(Arc<Mutex<Vec<u32>>>);

impl Has {
    pub(crate) fn now(&self) -> Vec<u32> {
        self.0.lock().unwrap().clone()
    }
}

impl Choir {
    pub(crate) fn new(base: FakeSession, of: fn(u32) -> FakeSession) -> (Self, Has) {
        let has = Has::default();
        let it = Self { base, of, adapters: BTreeMap::new(), added: 0, has: has.clone() };
        (it, has)
    }

    /// Rows of an adapter have numbers that say whose they are.
    fn voice(&mut self, row: RowId) -> Result<(&mut FakeSession, RowId, u64), BackendError> {
        let (of, inner) = (row.0 >> 32, RowId(row.0 & 0xffff_ffff));
        match of {
            0 => Ok((&mut self.base, inner, of)),
            n => {
                let id = AdapterId(n as u32);
                let session = self.adapters.get_mut(&id).ok_or(BackendError::NoAdapter(id))?;
                Ok((session, inner, of))
            }
        }
    }

    fn tell(&self) {
        *self.has.0.lock().unwrap() = self.adapters.keys().map(|id| id.0).collect();
    }
}

impl Session for Choir {
    fn capacity(&self) -> Capacity {
        self.base.capacity()
    }

    fn extend(&mut self, steps: &[RowStep<'_>]) -> Result<Answers, BackendError> {
        let mut answers = Vec::new();
        for step in steps {
            let at = match step.row {
                RowTo::New => RowId(step.adapter.map_or(0, |id| u64::from(id.0)) << 32),
                RowTo::Row(row) => row,
            };
            let (session, inner, of) = self.voice(at)?;
            let row = match step.row {
                RowTo::New => RowTo::New,
                RowTo::Row(_) => RowTo::Row(inner),
            };
            for mut answer in session.extend(&[RowStep { row, adapter: None, ..*step }])? {
                answer.row = RowId(of << 32 | answer.row.0);
                answers.push(answer);
            }
        }
        Ok(answers)
    }

    fn fork(&mut self, row: RowId) -> Result<RowId, BackendError> {
        let (session, inner, of) = self.voice(row)?;
        Ok(RowId(of << 32 | session.fork(inner)?.0))
    }

    fn truncate(&mut self, row: RowId, keep: usize) -> Result<(), BackendError> {
        let (session, inner, _) = self.voice(row)?;
        session.truncate(inner, keep)
    }

    fn score(&mut self, batch: &Batch, want: Want) -> Result<Scores, BackendError> {
        self.base.score(batch, want)
    }

    fn add_adapter(
        &mut self,
        _: &AdapterSpec,
        _: Option<&dyn Weights>,
    ) -> Result<AdapterId, BackendError> {
        self.added += 1;
        let id = AdapterId(self.added);
        self.adapters.insert(id, (self.of)(self.added));
        self.tell();
        Ok(id)
    }

    fn remove_adapter(&mut self, adapter: AdapterId) -> Result<(), BackendError> {
        self.adapters.remove(&adapter).ok_or(BackendError::NoAdapter(adapter))?;
        self.tell();
        Ok(())
    }
}
