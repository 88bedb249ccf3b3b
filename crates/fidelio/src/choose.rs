//! Choosing among labels: each label's tokens under the prompt, many rows in one forest.

use fidelio_backend::{
    AdapterId, Ask, Batch, Parent, RowId, RowStep, RowTo, Session, Target, Want, Wanted,
};
use fidelio_data::{micro_batches, plant};

use crate::{Error, Event, Flow, Observer, Stage, job::Prepared};

/// Tokens of one forest: enough that weights are read for many tokens at once, little enough
/// that activations stay small.
const FOREST_TOKENS: usize = 1024;
/// What all prompts begin with is computed once if it is at least so long.
const SHARED_TOKENS: usize = 8;
/// Tokens of the shared beginning that are computed at a time.
const CHUNK: usize = 512;

/// The log-probabilities of every label's tokens under every row's prompt.
#[derive(Debug, Default)]
pub(crate) struct Scored {
    /// Per row (as given), per label, per token of the label and its stop. Rows that were not
    /// reached before a stop are empty.
    pub(crate) rows: Vec<Vec<Vec<f32>>>,
    /// Tokens that went through the model.
    pub(crate) computed: u64,
    pub(crate) stopped: bool,
}

/// Scores the labels of some rows.
pub(crate) fn score_labels(
    session: &mut dyn Session,
    adapter: Option<AdapterId>,
    rows: &[Prepared],
    rows_at_once: usize,
    stage: Stage,
    observer: &mut dyn Observer,
) -> Result<Scored, Error> {
    let shared = shared_beginning(rows);
    let beginning = rows.first().map_or(&[][..], |row| &row.prompt[..shared]);
    let cached = cache(session, adapter, beginning)?;
    let below = Below { adapter, cached, shared };
    let scored = score_below(session, rows, below, rows_at_once, stage, observer);
    if let Some(row) = cached {
        session.truncate(row, 0)?;
    }
    let mut scored = scored?;
    scored.computed += shared as u64;
    Ok(scored)
}

/// Tokens that all prompts begin with. The last token of each prompt stays out: it is asked.
fn shared_beginning(rows: &[Prepared]) -> usize {
    let Some(first) = rows.first() else { return 0 };
    let shared = rows.iter().fold(first.prompt.len(), |shared, row| {
        let same = first.prompt[..shared].iter().zip(&row.prompt).take_while(|(a, b)| a == b);
        same.count().min(row.prompt.len().saturating_sub(1))
    });
    if shared >= SHARED_TOKENS { shared } else { 0 }
}

fn cache(
    session: &mut dyn Session,
    adapter: Option<AdapterId>,
    tokens: &[u32],
) -> Result<Option<RowId>, Error> {
    let mut row = None;
    for chunk in tokens.chunks(CHUNK) {
        let to = row.map_or(RowTo::New, RowTo::Row);
        let step = RowStep { row: to, tokens: chunk, adapter, wanted: Wanted::Nothing };
        row = session.extend(&[step])?.first().map(|answer| answer.row);
    }
    Ok(row)
}

/// What forests stand on.
#[derive(Clone, Copy)]
struct Below {
    adapter: Option<AdapterId>,
    /// The shared beginning of all prompts.
    cached: Option<RowId>,
    /// Its tokens.
    shared: usize,
}

/// A label of a row, as a path in a forest.
struct Path<'a> {
    row: usize,
    label: usize,
    /// Where its label's tokens are asked: the prompt's last token, below the shared beginning.
    asked_from: usize,
    answer: &'a [u32],
    tokens: Vec<u32>,
}

fn score_below(
    session: &mut dyn Session,
    rows: &[Prepared],
    below: Below,
    rows_at_once: usize,
    stage: Stage,
    observer: &mut dyn Observer,
) -> Result<Scored, Error> {
    let paths = paths(rows, below.shared);
    let sequences: Vec<&[u32]> = paths.iter().map(|path| path.tokens.as_slice()).collect();
    let groups: Vec<usize> = paths.iter().map(|path| path.row).collect();
    let longest =
        rows.iter().map(|row| row.prompt.len() + row.answers.iter().map(Vec::len).sum::<usize>());
    let budget = FOREST_TOKENS.max(longest.max().unwrap_or(0));
    let mut scored = Scored { rows: vec![Vec::new(); rows.len()], ..Scored::default() };
    let mut done = 0;
    for batch in micro_batches(&sequences, &groups, budget, 1)? {
        for chosen in at_most(&batch, &paths, rows_at_once) {
            let chosen: Vec<&Path<'_>> = chosen.iter().map(|&i| &paths[i]).collect();
            scored.computed += score_forest(session, &chosen, below, &mut scored.rows)? as u64;
            done += chosen.iter().filter(|path| path.label == 0).count();
            let tokens = scored.computed;
            let event = Event::Progress { stage, done, total: rows.len(), tokens };
            if observer.on(&event) == Flow::Stop {
                scored.stopped = done < rows.len();
                return Ok(scored);
            }
        }
    }
    Ok(scored)
}

fn paths(rows: &[Prepared], shared: usize) -> Vec<Path<'_>> {
    let path = |(row, prepared): (usize, &Prepared), label: usize, answer| {
        let prompt = &prepared.prompt[shared..];
        let answer: &[u32] = answer;
        // The answer's last token is asked for, never read.
        let tokens = [prompt, &answer[..answer.len().saturating_sub(1)]].concat();
        (row, label, prompt.len() - 1, tokens)
    };
    let mut paths = Vec::new();
    for (row, prepared) in rows.iter().enumerate() {
        for (label, answer) in prepared.answers.iter().enumerate() {
            let (row, label, asked_from, tokens) = path((row, prepared), label, answer);
            paths.push(Path { row, label, asked_from, answer, tokens });
        }
    }
    paths
}

/// Splits a batch so that no part has more than `rows` rows.
fn at_most(batch: &[usize], paths: &[Path<'_>], rows: usize) -> Vec<Vec<usize>> {
    let mut parts: Vec<Vec<usize>> = Vec::new();
    let mut in_part = std::collections::BTreeSet::new();
    for &i in batch {
        if !in_part.contains(&paths[i].row) && in_part.len() == rows || parts.is_empty() {
            parts.push(Vec::new());
            in_part.clear();
        }
        in_part.insert(paths[i].row);
        parts.last_mut().expect("a part was just pushed").push(i);
    }
    parts
}

/// Scores the paths of one forest; returns how many tokens it had.
fn score_forest(
    session: &mut dyn Session,
    paths: &[&Path<'_>],
    below: Below,
    into: &mut [Vec<Vec<f32>>],
) -> Result<usize, Error> {
    let sequences: Vec<&[u32]> = paths.iter().map(|path| path.tokens.as_slice()).collect();
    let planted = plant(&sequences, 1);
    let mut batch = Batch { forest: planted.forest, ..Batch::default() };
    batch.forest.adapter = below.adapter;
    if let Some(row) = below.cached {
        for node in &mut batch.forest.nodes {
            if node.parent == Parent::Root {
                node.parent = Parent::Cached(row);
            }
        }
    }
    for (group, (path, at)) in paths.iter().zip(&planted.at).enumerate() {
        for (i, &token) in path.answer.iter().enumerate() {
            let at = at[path.asked_from + i];
            batch.targets.push(Target {
                at,
                ask: Ask::Token(token),
                weight: 1.0,
                group: group as u32,
            });
        }
    }
    let scores = session.score(&batch, Want::default())?.scores;
    let mut scores = scores.iter().map(|score| score.logprob);
    for path in paths {
        let logprobs: Vec<f32> = scores.by_ref().take(path.answer.len()).collect();
        let labels = &mut into[path.row];
        labels.resize_with(labels.len().max(path.label + 1), Vec::new);
        labels[path.label] = logprobs;
    }
    Ok(batch.forest.tokens.len())
}
