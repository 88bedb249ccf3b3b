//! Who gets a place next, and what it can begin with.

use fidelio_backend::{AdapterId, BackendError, RowId, Verb};

use super::{Active, Engine, Kept};
use crate::{
    GenerateError, RequestId,
    job::Job,
    prefix::{Live, Offer, Place, common, offer},
};

impl Engine<'_> {
    /// Gives places to requests that wait, as long as there is room.
    pub(super) fn admit(&mut self) -> Result<(), GenerateError> {
        if self.crowded && !self.active.is_empty() {
            return Ok(());
        }
        for id in self.window() {
            if self.active.len() >= self.limits.max_rows {
                break;
            }
            let Some(job) = self.waiting.get(id) else { continue };
            let Offer { now, soon } = self.offer(job);
            let shared = now.map_or(0, |(_, shared)| shared);
            if soon > shared {
                continue; // a row that is being prefilled will have more of it
            }
            if !self.admit_one(id)? {
                break; // younger requests do not overtake
            }
        }
        self.drop_unwanted()
    }

    /// Gives a place to one request. False when there is no room.
    fn admit_one(&mut self, id: RequestId) -> Result<bool, GenerateError> {
        loop {
            let Some(job) = self.waiting.get(id) else { return Ok(true) };
            let now = self.offer(job).now;
            let missing = job.ids.len() - now.map_or(0, |(_, shared)| shared);
            let empty = self.active.is_empty() && self.kept.is_empty();
            if empty || self.fits_new_row(missing) {
                let from = match now {
                    Some((place, shared)) => self.fork(place, shared)?,
                    None => None,
                };
                self.begin(id, from);
                return Ok(true);
            }
            // Kept beginnings make room; the one that is wanted becomes the request's own row.
            let wanted = now.map(|(place, _)| place);
            if let Some(i) = (0..self.kept.len()).find(|&i| wanted != Some(Place::Kept(i))) {
                self.session.truncate(self.kept[i].row, 0)?;
                self.kept.remove(i);
                continue;
            }
            let Some((Place::Kept(i), shared)) = now else { return Ok(false) };
            if !self.active.is_empty() && !self.fits(missing) {
                return Ok(false);
            }
            self.session.truncate(self.kept[i].row, shared)?;
            let row = self.kept.remove(i).row;
            self.begin(id, Some((row, shared)));
            return Ok(true);
        }
    }

    fn begin(&mut self, id: RequestId, from: Option<(RowId, usize)>) {
        let Some(mut job) = self.waiting.begin(id) else { return };
        let done = from.map_or(0, |(_, shared)| shared);
        self.stats.shared_tokens += done as u64;
        job.began.get_or_insert_with(|| (self.clock)());
        job.cached_prompt.get_or_insert(done);
        self.active.insert(id, Active { job, row: from.map(|(row, _)| row), done });
    }

    /// A new row that begins with `shared` tokens of another; `None` if the session cannot fork.
    fn fork(
        &mut self,
        place: Place<RequestId>,
        shared: usize,
    ) -> Result<Option<(RowId, usize)>, GenerateError> {
        let source = match place {
            Place::Active(id) => self.active.get(&id).and_then(|it| it.row),
            Place::Kept(i) => Some(self.kept[i].row),
        };
        let Some(source) = source else { return Ok(None) };
        let row = match self.session.fork(source) {
            Ok(row) => row,
            // Then nothing is shared: slower, with the same results.
            Err(BackendError::Verb(Verb::Fork)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if let Err(error) = self.session.truncate(row, shared) {
            self.session.truncate(row, 0).ok();
            return Err(error.into());
        }
        Ok(Some((row, shared)))
    }

    /// Frees the row of a request that has ended, or keeps of it what requests that wait begin with.
    pub(super) fn retire(
        &mut self,
        row: RowId,
        ids: &[u32],
        adapter: Option<AdapterId>,
    ) -> Result<(), GenerateError> {
        let keep = if self.limits.kept_prefixes == 0 { 0 } else { self.wanted(ids, adapter) };
        self.session.truncate(row, keep)?;
        if keep > 0 {
            if self.kept.len() == self.limits.kept_prefixes {
                self.session.truncate(self.kept[0].row, 0)?;
                self.kept.remove(0);
            }
            self.kept.push(Kept { row, ids: ids[..keep].to_vec(), adapter });
        }
        Ok(())
    }

    /// The longest beginning of `ids` that a waiting request has and that no other row offers.
    fn wanted(&self, ids: &[u32], adapter: Option<AdapterId>) -> usize {
        let least = self.limits.min_shared_prefix.max(1);
        let mut longest = 0;
        let window = self.window();
        let jobs = window.iter().filter_map(|id| self.waiting.get(*id));
        for job in jobs.filter(|job| job.adapter == adapter) {
            let shared = common(&job.ids, ids).min(job.ids.len() - 1);
            if shared >= least.max(longest + 1) {
                let mut others = self.live(adapter).map(|row| common(&job.ids, row.ids));
                if !others.any(|other| other + least > shared) {
                    longest = shared;
                }
            }
        }
        longest
    }

    /// Frees beginnings that no waiting request has any more.
    fn drop_unwanted(&mut self) -> Result<(), GenerateError> {
        let least = self.limits.min_shared_prefix.max(1);
        for i in (0..self.kept.len()).rev() {
            let window = self.window();
            let jobs = window.iter().filter_map(|id| self.waiting.get(*id));
            let Kept { ids, adapter, .. } = &self.kept[i];
            let wants = |job: &Job| job.adapter == *adapter && common(&job.ids, ids) >= least;
            if !jobs.into_iter().any(wants) {
                self.session.truncate(self.kept[i].row, 0)?;
                self.kept.remove(i);
            }
        }
        Ok(())
    }

    /// The requests that are looked at: those whose turn is next, so that long queues cost nothing.
    fn window(&self) -> Vec<RequestId> {
        self.waiting.first(self.limits.max_rows.saturating_mul(4))
    }

    fn offer(&self, job: &Job) -> Offer<RequestId> {
        offer(&job.ids, self.live(job.adapter), self.limits.min_shared_prefix)
    }

    /// All rows that a new one may begin with: those that were computed with the same adapter.
    fn live(&self, adapter: Option<AdapterId>) -> impl Iterator<Item = Live<'_, RequestId>> {
        let alike = self.active.iter().filter(move |(_, it)| it.job.adapter == adapter);
        let active = alike.map(|(&id, it)| Live {
            place: Place::Active(id),
            ids: &it.job.ids,
            cached: it.done,
        });
        let kept = self.kept.iter().enumerate().filter(move |(_, it)| it.adapter == adapter);
        let kept =
            kept.map(|(i, it)| Live { place: Place::Kept(i), ids: &it.ids, cached: it.ids.len() });
        active.chain(kept)
    }

    /// Whether there is room for another row that computes `tokens`.
    fn fits_new_row(&self, tokens: usize) -> bool {
        let unopened = self.active.values().filter(|it| it.row.is_none()).count();
        self.session.capacity().rows > unopened && self.fits(tokens)
    }

    /// Whether `tokens` fit beside what active rows have still to compute, and a token for each of
    /// them to grow by.
    fn fits(&self, tokens: usize) -> bool {
        let promised: usize = self.active.values().map(|it| it.left() + 1).sum();
        self.session.capacity().tokens >= tokens.saturating_add(promised)
    }
}
