//! Answers for every row of a run.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use fidelio_backend::Session;
use fidelio_generate::{
    Decoding, Engine, FinishReason, LabelScore, LabelScores, Limits, Request, TokenLogprobs,
};
use fidelio_prompting::{Purpose, Row as PromptRow};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    AnswerForm, Error, Event, Flow, Job, Observer, ShownPassage, Stage,
    answer_form::field_cells,
    choose::{Scored, score_labels},
    examples::RowExamples,
    job::Prepared,
    memory::peak_memory,
    plan::AnswerPlan,
};

/// The answer for one row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// The row's number within the run, from 0.
    pub row: usize,
    /// Where the row stands.
    pub line: usize,
    /// The label, where the output is a category; none where no rule fits and there is no
    /// fallback.
    pub label: Option<String>,
    /// One per label, where labels were scored; they sum to 1.
    pub probabilities: Option<Vec<f32>>,
    /// The generated text, where text was generated.
    pub response: Option<String>,
    /// The tokens of the text, without its end.
    pub ids: Vec<u32>,
    /// Why the text ended.
    pub finish_reason: Option<FinishReason>,
    /// Each token's log-probability, the end included.
    pub logprobs: Vec<TokenLogprobs>,
    /// The lines of the training rows that its prompt shows as examples, in their order; none where
    /// the run shows no training rows.
    pub examples: Option<Vec<usize>>,
    /// The passages that its prompt shows, in their order; none where the run shows no passages.
    pub passages: Option<Vec<ShownPassage>>,
}

/// The answers of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Predictions {
    /// The output feature.
    pub feature: String,
    /// The labels, where the output is a category.
    pub labels: Option<Vec<String>>,
    /// The properties of the answers that have columns of their own.
    pub fields: Vec<String>,
    /// One per row that was answered, in the order of the rows.
    pub rows: Vec<Prediction>,
    /// What it took.
    pub usage: Usage,
    /// Whether the observer stopped it before all rows were answered.
    pub stopped: bool,
}

/// What a run took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Rows answered.
    pub rows: usize,
    /// Tokens of their prompts.
    pub prompt_tokens: u64,
    /// Tokens of answers: generated ones, or those of labels that were scored.
    pub completion_tokens: u64,
    /// Tokens that went through the model; less than both together where prompts begin alike.
    pub computed_tokens: u64,
    /// From the first row to the last, the opening of the model not counted.
    pub seconds: f64,
    /// Prompt and answer tokens per second.
    pub tokens_per_second: f64,
    /// The most memory that the process had resident, in bytes, where the system says so.
    pub peak_memory: Option<u64>,
}

impl Usage {
    pub(crate) fn new(
        started: Instant,
        prompt: u64,
        completion: u64,
        computed: u64,
        rows: usize,
    ) -> Self {
        let seconds = started.elapsed().as_secs_f64();
        Self {
            rows,
            prompt_tokens: prompt,
            completion_tokens: completion,
            computed_tokens: computed,
            seconds,
            tokens_per_second: (prompt + completion) as f64 / seconds.max(1e-9),
            peak_memory: peak_memory(),
        }
    }
}

impl Job {
    /// Answers every row.
    ///
    /// # Errors
    /// When a row cannot become a prompt (all such rows at once), or the engine fails.
    pub fn predict(&mut self, observer: &mut dyn Observer) -> Result<Predictions, Error> {
        if self.learns {
            return Err(Error::NotTrained);
        }
        if matches!(self.plan.answer, AnswerPlan::Documents) {
            return Err(Error::NothingAsked);
        }
        let prepared = self.prepared(observer)?.prepared;
        let mut session = self.open()?;
        let predictions = self.answer(session.as_mut(), &prepared, observer);
        self.session = Some(session);
        predictions
    }

    /// Answers rows on a session that is open.
    pub(crate) fn answer(
        &self,
        session: &mut dyn Session,
        prepared: &[Prepared],
        observer: &mut dyn Observer,
    ) -> Result<Predictions, Error> {
        let started = Instant::now();
        let answer = &self.plan.answer;
        let (rows, computed, stopped) = match answer {
            AnswerPlan::Score { labels, label_score } => {
                let scored = score_labels(
                    session,
                    self.adapter,
                    prepared,
                    self.plan.rows_at_once,
                    Stage::Scoring,
                    observer,
                )?;
                let rows = self.chosen(session, prepared, &scored, labels, label_score)?;
                (rows, scored.computed, scored.stopped)
            }
            AnswerPlan::Documents => (Vec::new(), 0, false),
            AnswerPlan::Text { decoding, .. } => {
                self.generated(session, prepared, decoding, observer)?
            }
            AnswerPlan::Match { decoding, .. } => {
                let (mut rows, computed, stopped) =
                    self.generated(session, prepared, decoding, observer)?;
                self.match_labels(&mut rows);
                (rows, computed, stopped)
            }
        };
        let numbers: BTreeSet<usize> = rows.iter().map(|row| row.row).collect();
        let answered = || prepared.iter().filter(|row| numbers.contains(&row.number));
        let prompt = answered().map(|row| row.prompt.len() as u64).sum();
        let completion = match answer {
            AnswerPlan::Score { .. } => {
                answered().flat_map(|row| &row.answers).map(|answer| answer.len() as u64).sum()
            }
            _ => rows.iter().map(|row| row.ids.len() as u64).sum(),
        };
        let usage = Usage::new(started, prompt, completion, computed, rows.len());
        let labels = self.labels.as_ref().map(|labels| labels.labels().to_vec());
        let fields = self.form.as_ref().map(|form| form.fields().to_vec()).unwrap_or_default();
        Ok(Predictions { feature: self.output.0.clone(), labels, fields, rows, usage, stopped })
    }

    /// The best label of every scored row.
    fn chosen(
        &self,
        session: &mut dyn Session,
        prepared: &[Prepared],
        scored: &Scored,
        labels: &[String],
        label_score: &str,
    ) -> Result<Vec<Prediction>, Error> {
        let how = match label_score {
            "sum" => LabelScore::Sum,
            "calibrated" => LabelScore::Calibrated,
            _ => LabelScore::Mean,
        };
        let neutral = match how {
            LabelScore::Calibrated => self.neutral(session, prepared, labels)?,
            _ => Vec::new(),
        };
        let mut rows = Vec::with_capacity(prepared.len());
        for (i, (row, logprobs)) in prepared.iter().zip(&scored.rows).enumerate() {
            if logprobs.is_empty() {
                continue;
            }
            let neutral = neutral.get(i).or(neutral.first());
            let scores = LabelScores::new(how, logprobs, neutral.map(Vec::as_slice))?;
            let probabilities = scores.probabilities().iter().map(|&p| p as f32).collect();
            rows.push(Prediction {
                label: Some(labels[scores.best()].clone()),
                probabilities: Some(probabilities),
                ..empty(row)
            });
        }
        Ok(rows)
    }

    /// The labels' log-probabilities under the prompt of an empty input: once for all rows, or behind
    /// the examples of each.
    fn neutral(
        &self,
        session: &mut dyn Session,
        prepared: &[Prepared],
        labels: &[String],
    ) -> Result<Vec<Vec<Vec<f32>>>, Error> {
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let each =
            if self.examples.is_some() { prepared } else { &prepared[..prepared.len().min(1)] };
        let rows = each.iter().map(|row| self.emptied(row, &labels));
        let rows: Vec<Prepared> = rows.collect::<Result<_, _>>()?;
        let (at_once, stage) = (self.plan.rows_at_once, Stage::Scoring);
        let quiet = &mut crate::Silent;
        Ok(score_labels(session, self.adapter, &rows, at_once, stage, quiet)?.rows)
    }

    /// A row's prompt with nothing of the row in it, but with the examples that it shows.
    fn emptied(&self, prepared: &Prepared, labels: &[&str]) -> Result<Prepared, Error> {
        let cells: Map<String, Value> =
            self.source.columns().iter().map(|column| (column.clone(), "".into())).collect();
        let chosen = self.choose(&self.source.row(prepared.number)?)?;
        let all = chosen.as_ref().map(RowExamples::shots).unwrap_or_default();
        let shown = prepared.examples.as_ref().map(|it| it.shown.iter().map(|&at| all[at]));
        let shots: Option<Vec<_>> = shown.map(Iterator::collect);
        let row =
            PromptRow { examples: shots.as_deref(), ..PromptRow::new(prepared.number, &cells) };
        let rendered = self
            .renderer
            .render_labels(&row, labels)
            .map_err(|source| Error::Neutral { source: Box::new(source) })?;
        let (prompt, answers) =
            rendered.map(|choice| (choice.prompt.ids, choice.answers)).unwrap_or_default();
        Ok(Prepared::new(prepared.number, prepared.place.clone(), prompt, answers))
    }

    /// Generates an answer for every row. The session is left without rows even when a round fails.
    fn generated(
        &self,
        session: &mut dyn Session,
        prepared: &[Prepared],
        decoding: &Decoding,
        observer: &mut dyn Observer,
    ) -> Result<(Vec<Prediction>, u64, bool), Error> {
        let limits = Limits { max_rows: self.plan.rows_at_once, ..Limits::default() };
        let text = self.model.vocabulary().shared_tokenizer();
        let mut engine = Engine::new(Box::new(session), text, limits)?;
        let grammar = self.form.as_ref().map(AnswerForm::grammar);
        // Each token's log-probability is reported even if the run file wants no alternatives. Under
        // a grammar it says little of most tokens, and would cost a step for each that is forced.
        let least = if grammar.is_some() { None } else { Some(0) };
        let decoding = Decoding { logprobs: decoding.logprobs.or(least), ..decoding.clone() };
        let asked = |prompt: &[u32]| {
            Request::new(prompt, decoding.clone())
                .with_adapter(self.adapter)
                .with_grammar(grammar.cloned())
        };
        let run = run_engine(&mut engine, prepared, &asked, observer);
        let computed = engine.stats().prefill_tokens + engine.stats().decode_tokens;
        engine.into_session()?;
        let (rows, stopped) = run?;
        Ok((rows, computed, stopped))
    }

    fn match_labels(&self, rows: &mut [Prediction]) {
        let Some(matcher) = &self.matcher else { return };
        for row in rows {
            let text = row.response.as_deref().unwrap_or("");
            row.label = matcher.match_text(text).label.map(str::to_owned);
        }
    }

    /// A row's prompt with the tokens that would have been the right answer, as the one label
    /// to score.
    pub(crate) fn expected(&self, number: usize) -> Result<Option<Prepared>, Error> {
        let row = self.source.row(number)?;
        let chosen = self.choose(&row)?;
        let shots = chosen.as_ref().map(RowExamples::shots);
        let cells = PromptRow { examples: shots.as_deref(), ..PromptRow::new(number, &row.fields) };
        let rendered = self.renderer.render(&cells, Purpose::Train)?.kept();
        Ok(rendered.map(|it| {
            let (prompt, answer) = it.ids.split_at(it.prompt_len);
            Prepared::new(number, row.place, prompt.to_vec(), vec![answer.to_vec()])
        }))
    }
}

fn run_engine(
    engine: &mut Engine<'_>,
    prepared: &[Prepared],
    asked: &dyn Fn(&[u32]) -> Request,
    observer: &mut dyn Observer,
) -> Result<(Vec<Prediction>, bool), Error> {
    let mut waiting = BTreeMap::new();
    for (index, row) in prepared.iter().enumerate() {
        let request = engine.submit(asked(&row.prompt))?;
        waiting.insert(request, index);
    }
    let mut rows: Vec<Option<Prediction>> = vec![None; prepared.len()];
    let mut logprobs: Vec<Vec<TokenLogprobs>> = vec![Vec::new(); prepared.len()];
    let mut done = 0;
    while !engine.is_idle() {
        for emitted in engine.step()? {
            let index = waiting[&emitted.request];
            logprobs[index].extend(emitted.logprobs);
            if let Some(finish) = emitted.finish {
                done += 1;
                rows[index] = Some(Prediction {
                    response: Some(finish.text),
                    ids: finish.ids,
                    finish_reason: Some(finish.reason),
                    logprobs: std::mem::take(&mut logprobs[index]),
                    ..empty(&prepared[index])
                });
            }
        }
        let tokens = engine.stats().prefill_tokens + engine.stats().decode_tokens;
        let event =
            Event::Progress { stage: Stage::Generating, done, total: prepared.len(), tokens };
        if observer.on(&event) == Flow::Stop {
            break;
        }
    }
    let stopped = done < prepared.len();
    Ok((rows.into_iter().flatten().collect(), stopped))
}

fn empty(row: &Prepared) -> Prediction {
    Prediction {
        row: row.number,
        line: row.place.line,
        label: None,
        probabilities: None,
        response: None,
        ids: Vec::new(),
        finish_reason: None,
        logprobs: Vec::new(),
        examples: row.examples.as_ref().and_then(|examples| examples.lines.clone()),
        passages: row.examples.as_ref().and_then(|examples| examples.passages.clone()),
    }
}

impl Predictions {
    /// The columns of the predictions table, named as Ludwig names them.
    pub fn columns(&self) -> Vec<String> {
        let x = &self.feature;
        let mut columns = vec!["row".to_owned(), "line".to_owned(), format!("{x}_predictions")];
        if self.rows.iter().any(|row| row.response.is_some()) {
            columns.push(format!("{x}_response"));
            columns.push(format!("{x}_finish_reason"));
            columns.extend(self.fields.iter().map(|field| format!("{x}_{field}")));
        }
        if self.rows.iter().any(|row| !row.logprobs.is_empty() || row.probabilities.is_some()) {
            columns.push(format!("{x}_probabilities"));
            columns.push(format!("{x}_probability"));
        }
        if self.rows.iter().any(|row| row.probabilities.is_some()) {
            let labels = self.labels.iter().flatten();
            columns.extend(labels.map(|label| format!("{x}_probabilities_{label}")));
        }
        if self.show_examples() {
            columns.push(format!("{x}_examples"));
        }
        if self.show_passages() {
            columns.push(format!("{x}_passages"));
        }
        columns
    }

    /// A row's cells, in the order of [`Self::columns`]. `piece` spells a token.
    pub fn cells(&self, row: &Prediction, piece: &dyn Fn(u32) -> String) -> Vec<Value> {
        let mut cells = vec![json!(row.row), json!(row.line)];
        cells.push(match &row.label {
            Some(label) => json!(label),
            None if self.labels.is_some() => Value::Null,
            None => json!(row.ids.iter().map(|&id| piece(id)).collect::<Vec<_>>()),
        });
        if let Some(response) = &row.response {
            cells.push(json!(response));
            cells.push(json!(row.finish_reason.as_ref().map(FinishReason::name)));
            cells.extend(field_cells(&self.fields, response));
        }
        if let Some(probabilities) = &row.probabilities {
            cells.push(json!(probabilities));
            cells.push(json!(probabilities.iter().copied().fold(0.0_f32, f32::max)));
            cells.extend(probabilities.iter().map(|p| json!(p)));
        } else if !row.logprobs.is_empty() {
            let each: Vec<f32> = row.logprobs.iter().map(|token| token.logprob.exp()).collect();
            cells.push(json!(each));
            // As Ludwig: the sum of the tokens' log-probabilities.
            cells.push(json!(row.logprobs.iter().map(|token| token.logprob).sum::<f32>()));
        }
        let shown = usize::from(self.show_examples()) + usize::from(self.show_passages());
        cells.resize(self.columns().len() - shown, Value::Null);
        cells.extend(row.examples.as_ref().map(|lines| json!(lines)));
        cells.extend(row.passages.as_ref().map(|passages| json!(passages)));
        cells
    }

    /// Whether prompts showed passages.
    fn show_passages(&self) -> bool {
        self.rows.iter().any(|row| row.passages.is_some())
    }

    /// Whether prompts showed training rows.
    fn show_examples(&self) -> bool {
        self.rows.iter().any(|row| row.examples.is_some())
    }
}
