//! How likely a prompt's own tokens were.

use fidelio_backend::{
    AdapterId, BackendError, Logits, RowId, RowStep, RowTo, Session, Shape, Wanted,
};
use fidelio_generate::TokenLogprobs;

/// Tokens computed in one call. Each asks for the logits of all tokens that follow in the chunk, so
/// that longer chunks would hand out more than they use.
const CHUNK: usize = 64;

/// A prompt whose tokens are to be scored.
#[derive(Debug)]
pub struct Scoring {
    /// Its tokens.
    pub ids: Vec<u32>,
    /// How many of the likeliest tokens are wanted at each place.
    pub top: usize,
    /// The adapter that it is computed with; none is the model alone.
    pub adapter: Option<AdapterId>,
}

/// What became of it.
pub(super) enum Scored {
    /// One for each token but the first.
    Done(Vec<TokenLogprobs>),
    /// Other rows take the room that it needs.
    NoRoom,
    /// It cannot be done.
    Failed(String),
}

impl Scoring {
    /// Computes the prompt on a row of its own, which is gone afterwards. `alone` says that no
    /// request has a row that could make room later.
    pub(super) fn run(&self, session: &mut dyn Session, alone: bool) -> Scored {
        let room = session.capacity();
        if !alone && (room.tokens < self.ids.len() || room.rows == 0) {
            return Scored::NoRoom;
        }
        let mut row = None;
        let scored = self.chunks(session, &mut row);
        let freed = row.map_or(Ok(()), |row| session.truncate(row, 0));
        match (scored, freed) {
            (Ok(Some(logprobs)), Ok(())) => Scored::Done(logprobs),
            (Ok(None), Ok(())) => Scored::Failed("the model's logits are not numbers".to_owned()),
            (Err(BackendError::CacheFull { .. }), Ok(())) if !alone => Scored::NoRoom,
            (Err(error), _) | (_, Err(error)) => Scored::Failed(error.to_string()),
        }
    }

    /// None where logits are not numbers.
    fn chunks(
        &self,
        session: &mut dyn Session,
        row: &mut Option<RowId>,
    ) -> Result<Option<Vec<TokenLogprobs>>, BackendError> {
        let mut logprobs = Vec::with_capacity(self.ids.len());
        // What follows the last token is not asked for.
        let asked = self.ids.len().saturating_sub(1);
        for start in (0..asked).step_by(CHUNK) {
            let end = asked.min(start + CHUNK);
            let next = &self.ids[start + 1..=end];
            let step = RowStep {
                row: row.map_or(RowTo::New, RowTo::Row),
                tokens: &self.ids[start..end],
                adapter: self.adapter,
                wanted: Wanted::All(Shape::Top { k: self.top, also: next }),
            };
            let answers = session.extend(&[step])?;
            for answer in answers {
                *row = Some(answer.row);
                for (at, logits) in answer.logits.into_iter().enumerate() {
                    let Some(scored) = score(&logits, next, at) else { return Ok(None) };
                    logprobs.push(scored);
                }
            }
        }
        Ok(Some(logprobs))
    }
}

/// The log-probability of the token that followed. Behind the likeliest tokens stand those of
/// `next`, of which the one at `at` followed here.
fn score(logits: &Logits, next: &[u32], at: usize) -> Option<TokenLogprobs> {
    let Logits::Top { entries, logsumexp } = logits else { return None };
    let logprob = |logit: f32| (f64::from(logit) - f64::from(*logsumexp)) as f32;
    let (top, also) = entries.split_at_checked(entries.len().checked_sub(next.len())?)?;
    let &(token, logit) = also.get(at)?;
    let top = top.iter().map(|&(id, logit)| (id, logprob(logit))).collect();
    logprob(logit).is_finite().then(|| TokenLogprobs { token, logprob: logprob(logit), top })
}
