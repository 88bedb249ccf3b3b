//! Steps of `extend` across the border, and the logits that come back. Both ways stand here.

use std::ptr;

use fidelio_backend::{AdapterId, Answer, Logits, RowId, RowStep, RowTo, Shape, Wanted};

use crate::{
    abi,
    reading::{Broken, head, room, sent, slice},
};

/// What a row's id is before the plugin has written it.
const NO_ROW: u64 = u64::MAX;

/// Steps of the host's, in the shape that crosses, with room for what comes back.
#[derive(Debug)]
pub(crate) struct SentSteps<'a> {
    asked: &'a [RowStep<'a>],
    steps: Vec<abi::Step>,
    positions: Vec<abi::Position>,
    /// One for each position.
    rooms: Vec<Room>,
    rows: Vec<u64>,
}

#[derive(Debug)]
struct Room {
    logits: Vec<f32>,
    ids: Vec<u32>,
    /// Whether the plugin chooses the largest.
    chosen: bool,
}

impl<'a> SentSteps<'a> {
    /// `top` says whether the plugin chooses the largest logits itself.
    pub(crate) fn new(asked: &'a [RowStep<'a>], vocabulary: usize, top: bool) -> Self {
        let steps: Vec<abi::Step> = asked.iter().map(|step| send(step, vocabulary, top)).collect();
        let mut rooms = Vec::new();
        let mut positions = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            for token in wanted_tokens(step) {
                let chosen = step.flags & abi::STEP_WANTS_TOP != 0;
                let len = if chosen { step.k + step.also_count } else { vocabulary };
                let ids = vec![0; if chosen { len } else { 0 }];
                rooms.push(Room { logits: vec![0.0; len], ids, chosen });
                positions.push(abi::Position {
                    step: number,
                    token,
                    logits: ptr::null_mut(),
                    ids: ptr::null_mut(),
                    len,
                    written: 0,
                    logsumexp: 0.0,
                });
            }
        }
        for (position, room) in positions.iter_mut().zip(&mut rooms) {
            position.logits = room.logits.as_mut_ptr();
            if room.chosen {
                position.ids = room.ids.as_mut_ptr();
            }
        }
        let rows = vec![NO_ROW; steps.len()];
        Self { asked, steps, positions, rooms, rows }
    }

    /// What is sent; it borrows from `self`.
    pub(crate) fn table(&mut self) -> abi::ExtendArgs {
        abi::ExtendArgs {
            head: head::<abi::ExtendArgs>(),
            steps: self.steps.as_ptr(),
            step_count: self.steps.len(),
            rows: self.rows.as_mut_ptr(),
            positions: self.positions.as_mut_ptr(),
            position_count: self.positions.len(),
        }
    }

    /// What came back, checked.
    pub(crate) fn answers(self, vocabulary: usize) -> Result<Vec<Answer>, Broken> {
        let mut rows: Vec<u64> = Vec::with_capacity(self.rows.len());
        for (number, (&row, step)) in self.rows.iter().zip(self.asked).enumerate() {
            if matches!(step.row, RowTo::Row(asked) if asked.0 != row) || row == NO_ROW {
                return Err(format!("it did not write the row of step {number}"));
            }
            if rows.contains(&row) {
                return Err(format!("it gave row {row} to two steps"));
            }
            rows.push(row);
        }
        let mut answers: Vec<Answer> =
            rows.into_iter().map(|row| Answer { row: RowId(row), logits: Vec::new() }).collect();
        for (position, room) in self.positions.iter().zip(self.rooms) {
            let abi::Position { step, token, len, written, logsumexp, .. } = *position;
            if written != len {
                let at = format!("token {token} of step {step}");
                return Err(format!("it wrote {written} logits at {at}, {len} are wanted"));
            }
            if let Some(id) = room.ids.iter().find(|id| **id as usize >= vocabulary) {
                return Err(format!("it wrote token id {id}, the vocabulary is {vocabulary}"));
            }
            let logits = match shape(&self.asked[step]) {
                Some(Shape::Top { .. }) if room.chosen => {
                    let entries = room.ids.into_iter().zip(room.logits).collect();
                    Logits::Top { entries, logsumexp }
                }
                Some(Shape::Top { k, also }) => top(&room.logits, k, also),
                _ => Logits::Full(room.logits),
            };
            answers[step].logits.push(logits);
        }
        Ok(answers)
    }
}

fn send(step: &RowStep<'_>, vocabulary: usize, top: bool) -> abi::Step {
    let mut flags = match step.wanted {
        Wanted::Nothing => 0,
        Wanted::Last(_) => abi::STEP_WANTS_LAST,
        Wanted::All(_) => abi::STEP_WANTS_ALL,
    };
    let row = match step.row {
        RowTo::New => {
            flags |= abi::STEP_NEW_ROW;
            NO_ROW
        }
        RowTo::Row(row) => row.0,
    };
    if step.adapter.is_some() {
        flags |= abi::STEP_ADAPTER;
    }
    let (k, also): (usize, &[u32]) = match shape(step) {
        Some(Shape::Top { k, also }) if top => {
            flags |= abi::STEP_WANTS_TOP;
            (k.min(vocabulary), also)
        }
        _ => (0, &[]),
    };
    abi::Step {
        row,
        flags,
        adapter: step.adapter.map_or(0, |adapter| adapter.0),
        tokens: step.tokens.as_ptr(),
        token_count: step.tokens.len(),
        k,
        also: also.as_ptr(),
        also_count: also.len(),
    }
}

fn shape<'a>(step: &RowStep<'a>) -> Option<Shape<'a>> {
    match step.wanted {
        Wanted::Nothing => None,
        Wanted::Last(shape) | Wanted::All(shape) => Some(shape),
    }
}

/// The numbers of the tokens at which a step wants logits.
fn wanted_tokens(step: &abi::Step) -> std::ops::Range<usize> {
    let end = step.token_count;
    if step.flags & abi::STEP_WANTS_ALL != 0 {
        0..end
    } else if step.flags & abi::STEP_WANTS_LAST != 0 {
        end.saturating_sub(1)..end
    } else {
        end..end
    }
}

/// The largest logits, for plugins that answer with all of them.
fn top(logits: &[f32], k: usize, also: &[u32]) -> Logits {
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    let k = k.min(order.len());
    let larger = |&a: &u32, &b: &u32| {
        logits[b as usize].total_cmp(&logits[a as usize]).then_with(|| a.cmp(&b))
    };
    if k > 0 && k < order.len() {
        order.select_nth_unstable_by(k - 1, larger);
    }
    order.truncate(k);
    order.sort_unstable_by(larger);
    let logit = |&id: &u32| (id, logits.get(id as usize).copied().unwrap_or(f32::NAN));
    Logits::Top {
        entries: order.iter().chain(also).map(logit).collect(),
        logsumexp: logsumexp(logits),
    }
}

fn logsumexp(logits: &[f32]) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if largest == f32::NEG_INFINITY {
        return largest;
    }
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    (f64::from(largest) + sum.ln()) as f32
}

/// Steps that were sent, on the plugin's side.
pub(crate) struct ReceivedSteps<'a> {
    pub(crate) steps: Vec<RowStep<'a>>,
    args: &'a abi::ExtendArgs,
}

impl<'a> ReceivedSteps<'a> {
    /// # Safety
    /// `args` is null or points to arguments whose arrays are readable as long as `'a`.
    pub(crate) unsafe fn new(args: *const abi::ExtendArgs) -> Result<Self, Broken> {
        // SAFETY: the caller's promise.
        let args: &'a abi::ExtendArgs = unsafe { sent(args, "the arguments")? };
        // SAFETY: the caller's promise.
        let steps = unsafe { slice(args.steps, args.step_count, "the steps")? };
        // SAFETY: the caller's promise.
        let steps = steps.iter().map(|step| unsafe { receive(step) }).collect::<Result<_, _>>()?;
        Ok(Self { steps, args })
    }

    /// Writes what the engine answered.
    ///
    /// # Safety
    /// The arguments' rooms are writable and nobody else uses them.
    pub(crate) unsafe fn answer(&self, answers: &[Answer]) -> Result<(), Broken> {
        // SAFETY: the caller's promise.
        let rows = unsafe { room(self.args.rows, self.args.step_count, "the rows")? };
        let count = self.args.position_count;
        // SAFETY: the caller's promise.
        let positions = unsafe { room(self.args.positions, count, "the positions")? };
        let answered: usize = answers.iter().map(|answer| answer.logits.len()).sum();
        if answers.len() != rows.len() || answered != count {
            return Err(format!("the engine answered {answered} positions, {count} are wanted"));
        }
        let logits = answers.iter().flat_map(|answer| &answer.logits);
        for (position, logits) in positions.iter_mut().zip(logits) {
            // SAFETY: the caller's promise.
            unsafe { write(position, logits)? };
        }
        for (row, answer) in rows.iter_mut().zip(answers) {
            *row = answer.row.0;
        }
        Ok(())
    }
}

/// # Safety
/// The step's arrays are readable as long as `'a`.
unsafe fn receive<'a>(step: &abi::Step) -> Result<RowStep<'a>, Broken> {
    // SAFETY: the caller's promise, for both arrays.
    let tokens = unsafe { slice(step.tokens, step.token_count, "a step's tokens")? };
    // SAFETY: as above.
    let also = unsafe { slice(step.also, step.also_count, "a step's named tokens")? };
    let has = |flag| step.flags & flag != 0;
    let top = Shape::Top { k: step.k, also };
    let shape = if has(abi::STEP_WANTS_TOP) { top } else { Shape::Full };
    Ok(RowStep {
        row: if has(abi::STEP_NEW_ROW) { RowTo::New } else { RowTo::Row(RowId(step.row)) },
        tokens,
        adapter: has(abi::STEP_ADAPTER).then_some(AdapterId(step.adapter)),
        wanted: match (has(abi::STEP_WANTS_ALL), has(abi::STEP_WANTS_LAST)) {
            (true, _) => Wanted::All(shape),
            (false, true) => Wanted::Last(shape),
            (false, false) => Wanted::Nothing,
        },
    })
}

/// # Safety
/// The position's rooms are writable and nobody else uses them.
unsafe fn write(position: &mut abi::Position, logits: &Logits) -> Result<(), Broken> {
    // SAFETY: the caller's promise.
    let floats = unsafe { room(position.logits, position.len, "a position's logits")? };
    let wrong = |found| format!("the engine answered {found} logits, {} are wanted", floats.len());
    match logits {
        Logits::Full(found) if position.ids.is_null() && found.len() == floats.len() => {
            floats.copy_from_slice(found);
        }
        Logits::Top { entries, logsumexp } if entries.len() == floats.len() => {
            // SAFETY: the caller's promise.
            let ids = unsafe { room(position.ids, position.len, "a position's ids")? };
            for ((id, float), entry) in ids.iter_mut().zip(floats).zip(entries) {
                (*id, *float) = *entry;
            }
            position.logsumexp = *logsumexp;
        }
        Logits::Full(found) => return Err(wrong(found.len())),
        Logits::Top { entries, .. } => return Err(wrong(entries.len())),
    }
    position.written = position.len;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_chooses_the_largest_where_the_plugin_does_not() {
        let logits = [1.0, 3.0, f32::NEG_INFINITY, 3.0, 2.0];
        let Logits::Top { entries, logsumexp } = top(&logits, 3, &[2, 0]) else { panic!() };
        assert_eq!(entries, [(1, 3.0), (3, 3.0), (4, 2.0), (2, f32::NEG_INFINITY), (0, 1.0)]);
        let direct = (2.0 * 3_f64.exp() + 2_f64.exp() + 1_f64.exp()).ln();
        assert!((f64::from(logsumexp) - direct).abs() < 1e-6);
        let Logits::Top { entries, .. } = top(&logits, 9, &[]) else { panic!() };
        assert_eq!(entries.len(), 5, "no more than there are");
    }

    #[test]
    fn rows_and_sizes_that_are_not_what_was_asked_are_found() {
        let step = RowStep {
            row: RowTo::New,
            tokens: &[1, 2],
            adapter: None,
            wanted: Wanted::Last(Shape::Full),
        };
        let steps = [step, RowStep { row: RowTo::Row(RowId(3)), wanted: Wanted::Nothing, ..step }];
        let outcome = |rows: [u64; 2], written| {
            let mut sent = SentSteps::new(&steps, 4, false);
            sent.rows = rows.to_vec();
            sent.positions[0].written = written;
            sent.answers(4).map(|_| ())
        };
        assert_eq!(outcome([0, 3], 4), Ok(()));
        assert!(outcome([NO_ROW, 3], 4).unwrap_err().contains("row of step 0"));
        assert!(outcome([0, 4], 4).unwrap_err().contains("row of step 1"));
        assert!(outcome([3, 3], 4).unwrap_err().contains("row 3 to two steps"));
        assert!(outcome([0, 3], 5).unwrap_err().contains("wrote 5 logits"));
    }
}
