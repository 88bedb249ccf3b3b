//! What training saw, of some of its rows: the question as a client would put it, its tokens, and what
//! the model that had learnt would say first. A served model is held against it.

use std::{collections::BTreeSet, path::Path};

use fidelio_backend::{AdapterId, Logits, RowId, RowStep, RowTo, Session, Shape, Wanted};
use fidelio_prompting::{Question, Row as PromptRow};
use fidelio_trainer::Example;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Error, Job, Results, examples::RowExamples};

/// Its file in a run's folder.
pub(crate) const SEEN: &str = "seen.jsonl";
/// Rows that are kept.
const ROWS: usize = 32;
/// Tokens that are kept of what could be said first, as many as OpenAI's clients can ask for.
const TOP: usize = 20;
/// Of these, those whose log-probabilities must be the same: the others are too unlikely to matter, and
/// their order may change in the last bits.
const COMPARED: usize = 5;
/// Tokens of a prompt that are computed in one call.
const CHUNK: usize = 512;

/// A prompt of a training run, as it learnt from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Where its row stood.
    pub row: String,
    /// What a client would ask.
    #[serde(flatten)]
    pub asked: Asked,
    /// The prompt's tokens.
    pub ids: Vec<u32>,
    /// The likeliest first tokens of the answer and their log-probabilities, descending, by what the
    /// run had learnt in the end.
    pub first: Vec<(u32, f32)>,
}

/// The part of a request that says what is asked, by the name of its field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// A conversation, for `/v1/chat/completions`.
    Messages(Vec<Map<String, Value>>),
    /// A text, for `/v1/completions`.
    Prompt(String),
}

/// How a prompt was served, beside how it was learnt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parity {
    /// Where its row stood.
    pub row: String,
    /// Tokens that training read.
    pub tokens: usize,
    /// The first token that is another.
    pub token: Option<OtherToken>,
    /// The largest difference between log-probabilities of the first token; none where tokens differ,
    /// since then it says nothing.
    pub difference: Option<LogprobDifference>,
}

/// A token of a prompt that is not the one that training read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct OtherToken {
    /// Its place in the prompt, from 0.
    pub at: usize,
    /// What training read there; none behind its end.
    pub trained: Option<u32>,
    /// What was served there; none behind its end.
    pub served: Option<u32>,
}

/// A first token's log-probability, then and now.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LogprobDifference {
    /// The token.
    pub token: u32,
    /// By what training had learnt.
    pub trained: f32,
    /// As it is served; none where it is not among the likeliest ones there.
    pub served: Option<f32>,
}

impl LogprobDifference {
    /// How large it is.
    pub fn size(&self) -> f32 {
        self.served.map_or(f32::INFINITY, |served| (self.trained - served).abs())
    }
}

impl Seen {
    /// What a training run kept.
    ///
    /// # Errors
    /// [`Error::NothingSeen`] where it kept nothing, and when its file cannot be read.
    pub fn read(run: &Path) -> Result<Vec<Self>, Error> {
        let path = run.join(SEEN);
        if !path.exists() {
            return Err(Error::NothingSeen { path: run.to_owned() });
        }
        let fail = |source| Error::Read { path: path.clone(), source };
        let text = std::fs::read_to_string(&path).map_err(fail)?;
        let read = |line: &str| serde_json::from_str(line).map_err(|error| fail(error.into()));
        text.lines().map(read).collect()
    }

    /// Asks the model that has learnt what training saw of some rows, drawn by the seed, and writes it
    /// down.
    pub(crate) fn write(
        job: &Job,
        learnt: &[Example],
        session: &mut dyn Session,
        results: &Results,
    ) -> Result<(), Error> {
        let mut text = Vec::new();
        for seen in Self::of(job, learnt, session)? {
            let failed = |error: serde_json::Error| Error::Write {
                path: results.folder().join(SEEN),
                source: error.into(),
            };
            serde_json::to_writer(&mut text, &seen).map_err(failed)?;
            text.push(b'\n');
        }
        if text.is_empty() {
            return Ok(());
        }
        results.write(SEEN, &text).map(drop)
    }

    fn of(job: &Job, learnt: &[Example], session: &mut dyn Session) -> Result<Vec<Self>, Error> {
        let learnt: BTreeSet<&[u32]> = learnt.iter().map(|row| row.ids.as_slice()).collect();
        let rows = (0..job.source.len()).collect();
        let mut all = Vec::new();
        for number in fidelio_data::shuffled(rows, job.plan.random_seed) {
            if all.len() == ROWS {
                break;
            }
            let row = job.source.row(number)?;
            let chosen = job.choose(&row)?;
            let shots = chosen.as_ref().map(RowExamples::shots);
            let cells =
                PromptRow { examples: shots.as_deref(), ..PromptRow::new(number, &row.fields) };
            let Some(rendered) = job.learnable(&cells, &row)?.kept() else { continue };
            if !learnt.contains(rendered.ids.as_slice()) {
                continue;
            }
            // Of documents nothing is asked.
            let Some(question) = job.renderer.question(&cells)? else { return Ok(all) };
            let ids = rendered.ids[..rendered.prompt_len].to_vec();
            let first = first_token(session, job.adapter, &ids)?;
            all.push(Self { row: row.place.to_string(), asked: question.into(), ids, first });
        }
        Ok(all)
    }

    /// Holds what was served against it: the tokens that were read, and the likeliest first tokens of
    /// the answer.
    pub fn compare(&self, ids: &[u32], first: &[(u32, f32)]) -> Parity {
        let at = (0..self.ids.len().max(ids.len())).find(|&at| self.ids.get(at) != ids.get(at));
        let token = at.map(|at| OtherToken {
            at,
            trained: self.ids.get(at).copied(),
            served: ids.get(at).copied(),
        });
        let differences = self.first.iter().take(COMPARED).map(|&(token, trained)| {
            let served = first.iter().find(|(other, _)| *other == token).map(|it| it.1);
            LogprobDifference { token, trained, served }
        });
        let difference = differences.max_by(|a, b| a.size().total_cmp(&b.size()));
        Parity {
            row: self.row.clone(),
            tokens: self.ids.len(),
            token,
            difference: difference.filter(|_| token.is_none()),
        }
    }
}

impl Parity {
    /// Whether it is the same, within this difference of log-probabilities.
    pub fn holds(&self, tolerance: f32) -> bool {
        self.token.is_none() && self.difference.is_some_and(|it| it.size() <= tolerance)
    }
}

impl From<Question> for Asked {
    fn from(question: Question) -> Self {
        match question {
            Question::Talk(talk) => {
                Self::Messages(talk.messages.iter().map(|it| it.keys().clone()).collect())
            }
            Question::Text(text) => Self::Prompt(text),
        }
    }
}

/// The likeliest tokens behind a prompt, which is computed on a row of its own.
fn first_token(
    session: &mut dyn Session,
    adapter: Option<AdapterId>,
    ids: &[u32],
) -> Result<Vec<(u32, f32)>, Error> {
    let mut row = None;
    let computed = read_prompt(session, adapter, ids, &mut row);
    let freed = row.map_or(Ok(()), |row| session.truncate(row, 0));
    let logits = computed?;
    freed?;
    let Some(Logits::Top { entries, logsumexp }) = logits else { return Ok(Vec::new()) };
    let logprob = |logit: f32| (f64::from(logit) - f64::from(logsumexp)) as f32;
    Ok(entries.into_iter().map(|(id, logit)| (id, logprob(logit))).collect())
}

fn read_prompt(
    session: &mut dyn Session,
    adapter: Option<AdapterId>,
    ids: &[u32],
    row: &mut Option<RowId>,
) -> Result<Option<Logits>, Error> {
    let k = TOP.min(session.capacity().vocabulary);
    let mut logits = None;
    let mut left = ids;
    while !left.is_empty() {
        let (tokens, rest) = left.split_at(left.len().min(CHUNK));
        let wanted = match rest {
            [] => Wanted::Last(Shape::Top { k, also: &[] }),
            _ => Wanted::Nothing,
        };
        let to = row.map_or(RowTo::New, RowTo::Row);
        for answer in session.extend(&[RowStep { row: to, tokens, adapter, wanted }])? {
            *row = Some(answer.row);
            logits = answer.logits.into_iter().next();
        }
        left = rest;
    }
    Ok(logits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        Seen {
            row: "rows.csv line 2".to_owned(),
            asked: Asked::Prompt("a b".to_owned()),
            ids: vec![5, 6, 7],
            first: vec![(1, -0.5), (2, -1.0), (3, -4.0)],
        }
    }

    #[test]
    fn what_is_the_same_holds_and_small_differences_are_measured() {
        let same = seen().compare(&[5, 6, 7], &[(1, -0.5), (2, -1.0), (3, -4.0), (9, -8.0)]);
        assert!(same.holds(0.0), "{same:?}");
        let near = seen().compare(&[5, 6, 7], &[(2, -1.25), (1, -0.5), (3, -4.0)]);
        assert!((near.difference.as_ref().unwrap().size() - 0.25).abs() < 1e-6);
        assert!(near.holds(0.25) && !near.holds(0.2));
    }

    #[test]
    fn other_tokens_are_shown_where_they_begin() {
        for (ids, at, trained, served) in [
            (&[5, 9, 7][..], 1, Some(6), Some(9)),
            (&[5, 6], 2, Some(7), None),
            (&[5, 6, 7, 8], 3, None, Some(8)),
            (&[], 0, Some(5), None),
        ] {
            let parity = seen().compare(ids, &seen().first);
            assert_eq!(parity.token, Some(OtherToken { at, trained, served }));
            assert!(parity.difference.is_none() && !parity.holds(100.0));
        }
    }

    #[test]
    fn a_token_that_is_not_likely_any_more_never_holds() {
        let parity = seen().compare(&[5, 6, 7], &[(2, -1.0), (3, -4.0)]);
        assert_eq!(parity.difference.map(|it| (it.token, it.served)), Some((1, None)));
        assert!(!parity.holds(f32::MAX));
    }

    #[test]
    fn lines_are_as_a_client_asks() {
        let line = serde_json::to_value(seen()).unwrap();
        assert_eq!(line["prompt"], "a b");
        assert_eq!(serde_json::from_value::<Seen>(line).unwrap(), seen());
        let talk = serde_json::json!({ "row": "x", "messages": [{"role": "user", "content": "?"}],
            "ids": [1], "first": [] });
        let read: Seen = serde_json::from_value(talk.clone()).unwrap();
        assert!(matches!(&read.asked, Asked::Messages(messages) if messages.len() == 1));
        assert_eq!(serde_json::to_value(read).unwrap(), talk);
    }
}
