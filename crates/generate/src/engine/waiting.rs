//! Requests that wait for a place, in the order in which they get one: clients take turns.
//!
//! Each request of a client queues behind that client's own; whoever has asked for little lately is
//! next. With one client this is the order in which requests came.

use std::collections::{BTreeMap, BTreeSet};

use crate::{RequestId, job::Job};

/// Clients that are remembered before those who have waited for nothing lately are forgotten.
const REMEMBERED: usize = 1024;

/// They.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    jobs: BTreeMap<RequestId, Job>,
    order: BTreeSet<(u64, RequestId)>,
    /// The latest turn that has begun.
    now: u64,
    /// The last turn of each client.
    last: BTreeMap<u64, u64>,
}

impl Waiting {
    /// The turn of a client's next request.
    pub(super) fn turn(&mut self, client: u64) -> u64 {
        if self.last.len() > REMEMBERED {
            let now = self.now;
            self.last.retain(|_, last| *last > now);
        }
        let last = self.last.entry(client).or_default();
        *last = (*last).max(self.now) + 1;
        *last
    }

    pub(super) fn insert(&mut self, job: Job) {
        self.order.insert((job.turn, job.id));
        self.jobs.insert(job.id, job);
    }

    pub(super) fn remove(&mut self, id: RequestId) -> Option<Job> {
        let job = self.jobs.remove(&id)?;
        self.order.remove(&(job.turn, id));
        Some(job)
    }

    /// The same for one whose turn it is.
    pub(super) fn begin(&mut self, id: RequestId) -> Option<Job> {
        let job = self.remove(id)?;
        self.now = self.now.max(job.turn);
        Some(job)
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    /// The first `n`, whose turn is next.
    pub(super) fn first(&self, n: usize) -> Vec<RequestId> {
        self.order.iter().map(|(_, id)| *id).take(n).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }
}
