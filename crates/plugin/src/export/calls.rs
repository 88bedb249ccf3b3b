//! One function of C for each entry of the table. Every one is null checks and a fence around the
//! method of the same name.

use std::ffi::c_void;

use fidelio_backend::{
    AdapterId, Answers, BackendError, DeviceId, Learn, Part, Pooling, RowId, Session, Want,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{Export, Stop, backend, fenced, given, on_session, taken_back};
use crate::{
    abi::{self, Status},
    description::Description,
    failure::{POOLINGS, bit},
    forest,
    reading::{Broken, filled, head, place, room, sent, text},
    steps::ReceivedSteps,
    tensors::{BorrowedSink, BorrowedWeights},
};

/// The table of a plugin.
pub const fn table<P: Export>() -> abi::PluginTable {
    abi::PluginTable {
        head: head::<abi::PluginTable>(),
        describe: Some(describe::<P>),
        open: Some(open::<P>),
        close: Some(close::<P>),
        free: Some(taken_back),
        capacity: Some(capacity::<P>),
        extend: Some(extend::<P>),
        fork: Some(fork::<P>),
        truncate: Some(truncate::<P>),
        score: Some(score::<P>),
        embed: Some(embed::<P>),
        add_adapter: Some(add_adapter::<P>),
        remove_adapter: Some(remove_adapter::<P>),
        learn: Some(learn::<P>),
        footprint: Some(footprint::<P>),
        accumulate: Some(accumulate::<P>),
        update: Some(update::<P>),
        save: Some(save::<P>),
        restore: Some(restore::<P>),
    }
}

unsafe extern "C" fn describe<P: Export>(
    out: *mut abi::Description,
    error: *mut abi::Error,
) -> Status {
    let work = || {
        // SAFETY: the host gives a place of its own.
        let out = unsafe { filled(out, "the description")? };
        let info = backend::<P>().describe();
        let verbs = info.verbs.iter().fold(0, |bits, verb| bits | bit(*verb));
        // A `Session` chooses the largest logits, and answers none where it has no footprint.
        let also = |verb, bit| if verbs & verb == 0 { 0 } else { bit };
        out.verbs = verbs
            | also(abi::VERB_EXTEND, abi::VERB_TOP)
            | also(abi::VERB_LEARN, abi::VERB_FOOTPRINT);
        out.json = json(&Description::of(info))?;
        Ok(())
    };
    // SAFETY: the host gives a place of its own.
    unsafe { fenced(error, work) }
}

unsafe extern "C" fn open<P: Export>(
    args: *const abi::OpenArgs,
    session: *mut *mut c_void,
    error: *mut abi::Error,
) -> Status {
    let work = || {
        // SAFETY: the host gives arguments that live until this call returns.
        let args = unsafe { sent(args, "the arguments")? };
        // SAFETY: the host gives a place of its own.
        let place = unsafe { place(session, "the session")? };
        // SAFETY: as the arguments.
        let spec = parsed(unsafe { text(args.spec, "the spec")? })?;
        // SAFETY: as the arguments.
        let weights = unsafe { BorrowedWeights::new(args.weights)? };
        let opened = backend::<P>().open(DeviceId(args.device), &spec, &weights)?;
        *place = P::exported().keep(opened);
        Ok(())
    };
    // SAFETY: the host gives a place of its own.
    unsafe { fenced(error, work) }
}

unsafe extern "C" fn close<P: Export>(session: *mut c_void, error: *mut abi::Error) -> Status {
    let work = || {
        drop(P::exported().take(session).map_err(Stop::Failed)?);
        Ok(())
    };
    // SAFETY: the host gives a place of its own.
    unsafe { fenced(error, work) }
}

unsafe extern "C" fn capacity<P: Export>(
    session: *mut c_void,
    out: *mut abi::Capacity,
    error: *mut abi::Error,
) -> Status {
    let work = |session: &mut dyn Session| {
        // SAFETY: the host gives a place of its own.
        let out = unsafe { filled(out, "the capacity")? };
        let capacity = session.capacity();
        out.vocabulary = capacity.vocabulary as u64;
        out.context = capacity.context as u64;
        out.rows = capacity.rows as u64;
        out.tokens = capacity.tokens as u64;
        Ok(())
    };
    // SAFETY: the host gives a place of its own.
    unsafe { on_session::<P>(session, error, work) }
}

unsafe extern "C" fn extend<P: Export>(
    session: *mut c_void,
    args: *const abi::ExtendArgs,
    error: *mut abi::Error,
) -> Status {
    let work = |session: &mut dyn Session| {
        // SAFETY: the host gives arguments that live until this call returns.
        let received = unsafe { ReceivedSteps::new(args)? };
        let answers: Answers = session.extend(&received.steps)?;
        // SAFETY: the rooms in the arguments are the host's, for this call to fill.
        unsafe { received.answer(&answers) }.map_err(engine)
    };
    // SAFETY: the host gives a place of its own.
    unsafe { on_session::<P>(session, error, work) }
}

unsafe extern "C" fn fork<P: Export>(
    session: *mut c_void,
    row: u64,
    new_row: *mut u64,
    error: *mut abi::Error,
) -> Status {
    let work = |session: &mut dyn Session| {
        // SAFETY: the host gives a place of its own.
        let place = unsafe { place(new_row, "the new row")? };
        *place = session.fork(RowId(row))?.0;
        Ok(())
    };
    // SAFETY: the host gives a place of its own.
    unsafe { on_session::<P>(session, error, work) }
}

unsafe extern "C" fn truncate<P: Export>(
    session: *mut c_void,
    row: u64,
    keep: u64,
    error: *mut abi::Error,
) -> Status {
    let work = |session: &mut dyn Session| {
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        Ok(session.truncate(RowId(row), keep)?)
    };
    // SAFETY: the host gives a place of its own.
    unsafe { on_session::<P>(session, error, work) }
}

unsafe extern "C" fn score<P: Export>(
    session: *mut c_void,
    batch: *const abi::Batch,
    out: *mut abi::ScoreOut,
    error: *mut abi::Error,
) -> Status {
    let work = |session: &mut dyn Session| {
        // SAFETY: the host gives a batch that lives until this call returns.
        let batch = unsafe { forest::receive(batch)? };
        // SAFETY: the host gives a place of its own.
        let out = unsafe { filled(out, "the scores")? };
        let wants_logits = !out.logits.is_null();
        let count = batch.targets.len();
        let answer = session.score(&batch, Want { logits: wants_logits })?;
        if answer.scores.len() != count || wants_logits && answer.logits.len() != count {
            let found = answer.scores.len();
            return Err(engine(format!("the engine answered {found} of {count} targets")));
        }
        // SAFETY: the host gives room for an answer of each target.
        let scores = unsafe { room(out.scores, count, "the scores")? };
        for (place, score) in scores.iter_mut().zip(&answer.scores) {
            *place = abi::Score { logprob: score.logprob, rank: score.rank, top: score.top };
        }
        if wants_logits {
            let v = session.capacity().vocabulary;
            // SAFETY: and for a row of logits of each.
            let logits = unsafe { room(out.logits, count * v, "the scores' logits")? };
            for (place, row) in logits.chunks_exact_mut(v.max(1)).zip(&answer.logits) {
                if row.len() != v {
                    let found = row.len();
                    return Err(engine(format!("the engine answered {found} logits of {v}")));
                }
                place.copy_from_slice(row);
            }
            out.logits_written = logits.len();
        }
        out.written = count;
        Ok(())
    };
    // SAFETY: the host gives a place of its own.
    unsafe { on_session::<P>(session, error, work) }
}

unsafe extern "C" fn embed<P: Export>(
    session: *mut c_void,
    batch: *const abi::Batch,
    pooling: u32,
    out: *mut abi::Vectors,
    error: *mut abi::Error,
) -> Status {
    let work = |session: &mut dyn Session| {
        // SAFETY: the host gives a batch that lives until this call returns.
        let batch = unsafe { forest::receive(batch)? };
        // SAFETY: the host gives a place of its own.
        let out = unsafe { filled(out, "the vectors")? };
        let vectors = session.embed(&batch.forest, pooling_of(pooling)?)?;
        let nodes = batch.forest.nodes.len();
        if nodes == 0 && !vectors.is_empty() || nodes > 0 && !vectors.len().is_multiple_of(nodes) {
            let found = vectors.len();
            return Err(engine(format!("the engine answered {found} numbers for {nodes} texts")));
        }
        out.width = vectors.len().checked_div(nodes).unwrap_or(0);
        out.floats = given(vectors.iter().flat_map(|x| x.to_ne_bytes()).collect());
        Ok(())
    };
    // SAFETY: the host gives a place of its own.
    unsafe { on_session::<P>(session, error, work) }
}

unsafe extern "C" fn add_adapter<P: Export>(
    session: *mut c_void,
    args: *const abi::SpecArgs,
    adapter: *mut u32,
    error: *mut abi::Error,
) -> Status {
    let work = |session: &mut dyn Session| {
        // SAFETY: the host gives arguments that live until this call returns.
        let args = unsafe { sent(args, "the arguments")? };
        // SAFETY: the host gives a place of its own.
        let place = unsafe { place(adapter, "the adapter")? };
        // SAFETY: as the arguments.
        let spec = parsed(unsafe { text(args.spec, "the spec")? })?;
        let added = if args.weights.is_null() {
            session.add_adapter(&spec, None)?
        } else {
            // SAFETY: as the arguments.
            let weights = unsafe { BorrowedWeights::new(args.weights)? };
            session.add_adapter(&spec, Some(&weights))?
        };
        *place = added.0;
        Ok(())
    };
    // SAFETY: the host gives a place of its own.
    unsafe { on_session::<P>(session, error, work) }
}

unsafe extern "C" fn remove_adapter<P: Export>(
    session: *mut c_void,
    adapter: u32,
    error: *mut abi::Error,
) -> Status {
    let work = |session: &mut dyn Session| Ok(session.remove_adapter(AdapterId(adapter))?);
    // SAFETY: the host gives a place of its own.
    unsafe { on_session::<P>(session, error, work) }
}

unsafe extern "C" fn learn<P: Export>(
    session: *mut c_void,
    args: *const abi::SpecArgs,
    parameters: *mut abi::Bytes,
    error: *mut abi::Error,
) -> Status {
    let work = |session: &mut dyn Session| {
        // SAFETY: the host gives arguments that live until this call returns.
        let args = unsafe { sent(args, "the arguments")? };
        // SAFETY: the host gives a place of its own.
        let place = unsafe { place(parameters, "the parameters")? };
        // SAFETY: as the arguments.
        let spec = parsed(unsafe { text(args.spec, "the spec")? })?;
        *place = json(&session.learn(&spec)?.parameters())?;
        Ok(())
    };
    // SAFETY: the host gives a place of its own.
    unsafe { on_session::<P>(session, error, work) }
}

unsafe extern "C" fn footprint<P: Export>(
    session: *mut c_void,
    args: *const abi::SpecArgs,
    batch: *const abi::Batch,
    micro_batches: u64,
    footprint: *mut abi::Bytes,
    error: *mut abi::Error,
) -> Status {
    let work = |session: &mut dyn Session| {
        // SAFETY: the host gives arguments that live until this call returns.
        let args = unsafe { sent(args, "the arguments")? };
        // SAFETY: as the arguments.
        let batch = unsafe { forest::receive(batch)? };
        // SAFETY: the host gives a place of its own.
        let place = unsafe { place(footprint, "the footprint")? };
        // SAFETY: as the arguments.
        let spec = parsed(unsafe { text(args.spec, "the spec")? })?;
        let micro_batches = usize::try_from(micro_batches).unwrap_or(usize::MAX);
        if let Some(footprint) = session.footprint(&spec, &batch, micro_batches)? {
            *place = json(&footprint)?;
        }
        Ok(())
    };
    // SAFETY: the host gives a place of its own.
    unsafe { on_session::<P>(session, error, work) }
}

unsafe extern "C" fn accumulate<P: Export>(
    session: *mut c_void,
    batch: *const abi::Batch,
    loss: *mut abi::LossSum,
    error: *mut abi::Error,
) -> Status {
    let work = |session: &mut dyn Session| {
        // SAFETY: the host gives a batch that lives until this call returns.
        let batch = unsafe { forest::receive(batch)? };
        // SAFETY: the host gives a place of its own.
        let place = unsafe { filled(loss, "the loss")? };
        let loss = learner(session)?.accumulate(&batch)?;
        (place.sum, place.weight) = (loss.sum, loss.weight);
        Ok(())
    };
    // SAFETY: the host gives a place of its own.
    unsafe { on_session::<P>(session, error, work) }
}

unsafe extern "C" fn update<P: Export>(
    session: *mut c_void,
    lr: f64,
    weight: f64,
    report: *mut abi::UpdateReport,
    error: *mut abi::Error,
) -> Status {
    let work = |session: &mut dyn Session| {
        // SAFETY: the host gives a place of its own.
        let place = unsafe { filled(report, "the report")? };
        let report = learner(session)?.update(lr, weight)?;
        place.gradient_norm = report.gradient_norm;
        (place.clipped, place.applied) = (report.clipped.into(), report.applied.into());
        Ok(())
    };
    // SAFETY: the host gives a place of its own.
    unsafe { on_session::<P>(session, error, work) }
}

unsafe extern "C" fn save<P: Export>(
    session: *mut c_void,
    part: u32,
    into: *const abi::Sink,
    error: *mut abi::Error,
) -> Status {
    let work = |session: &mut dyn Session| {
        // SAFETY: the host gives a sink that answers until this call returns.
        let mut sink = unsafe { BorrowedSink::new(into)? };
        Ok(learner(session)?.save(part_of(part)?, &mut sink)?)
    };
    // SAFETY: the host gives a place of its own.
    unsafe { on_session::<P>(session, error, work) }
}

unsafe extern "C" fn restore<P: Export>(
    session: *mut c_void,
    part: u32,
    from: *const abi::Weights,
    error: *mut abi::Error,
) -> Status {
    let work = |session: &mut dyn Session| {
        // SAFETY: the host gives weights that answer until this call returns.
        let weights = unsafe { BorrowedWeights::new(from)? };
        Ok(learner(session)?.restore(part_of(part)?, &weights)?)
    };
    // SAFETY: the host gives a place of its own.
    unsafe { on_session::<P>(session, error, work) }
}

fn learner(session: &mut dyn Session) -> Result<&mut dyn Learn, Stop> {
    let what = "nothing learns here; `learn` comes first (an engine that learns also has \
                `Session::learning`)";
    session.learning().ok_or_else(|| BackendError::Engine(what.to_owned()).into())
}

fn part_of(part: u32) -> Result<Part, Broken> {
    match part {
        abi::PART_PARAMETERS => Ok(Part::Parameters),
        abi::PART_OPTIMIZER => Ok(Part::Optimizer),
        other => Err(format!("there is no part {other}")),
    }
}

fn pooling_of(pooling: u32) -> Result<Pooling, Broken> {
    let known = POOLINGS.iter().find(|(_, number)| *number == pooling);
    known.map(|(pooling, _)| *pooling).ok_or_else(|| format!("there is no pooling {pooling}"))
}

fn parsed<T: DeserializeOwned>(spec: &str) -> Result<T, Broken> {
    serde_json::from_str(spec).map_err(|error| format!("the spec cannot be read: {error}"))
}

fn json(value: &impl Serialize) -> Result<abi::Bytes, Stop> {
    match serde_json::to_vec(value) {
        Ok(bytes) => Ok(given(bytes)),
        Err(error) => Err(BackendError::Engine(error.to_string()).into()),
    }
}

/// What an engine of this side did wrong.
fn engine(what: String) -> Stop {
    BackendError::Engine(what).into()
}
