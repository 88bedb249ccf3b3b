//! Answers on their way: what the inference thread says, for all choices of one HTTP request.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use fidelio_generate::{Emitted, FinishReason, GenerateError, Request, TokenLogprobs};
use fidelio_prompting::ToolFormat;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{
    App,
    clients::{Places, Share},
    forms,
    problem::Problem,
    sampling::Sampling,
};
use crate::{Event, Listener, Scoring, offers::Offer};

/// What one HTTP request asks of the model.
pub(crate) struct Work<'a> {
    pub(crate) voice: Arc<Offer>,
    pub(crate) prompts: Vec<Vec<u32>>,
    pub(crate) sampling: &'a Sampling,
    /// The most new tokens where the request does not say; none is as many as fit.
    pub(crate) usual_tokens: Option<usize>,
    /// Log-probabilities of the prompts' own tokens, with so many of the likeliest beside each.
    pub(crate) score: Option<usize>,
    /// How calls of tools are written, where there are tools.
    pub(crate) tools: Option<ToolFormat>,
}

impl Work<'_> {
    /// How many places it takes.
    pub(crate) fn places(prompts: usize, sampling: &Sampling, scored: bool) -> usize {
        let choices = if sampling.max_tokens == Some(0) { 0 } else { sampling.n };
        prompts * (choices + usize::from(scored))
    }
}

/// Tokens that a request took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Taken {
    prompt: usize,
    cached: usize,
    completion: usize,
}

impl Taken {
    pub(crate) fn json(self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": { "cached_tokens": self.cached },
        })
    }
}

impl Taken {
    /// As responses have it.
    pub(crate) fn json_of_response(self) -> Value {
        json!({
            "input_tokens": self.prompt,
            "input_tokens_details": { "cached_tokens": self.cached },
            "output_tokens": self.completion,
            "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": self.prompt + self.completion,
        })
    }
}

/// Choices that are being made. Dropping it cancels those that are not complete.
#[derive(Debug)]
pub(crate) struct Answering {
    heard: UnboundedReceiver<(usize, Event)>,
    /// What came before everything was accepted.
    early: VecDeque<(usize, Event)>,
    /// Choices for each prompt.
    n: usize,
    left: usize,
    taken: Taken,
    begun: Instant,
    id: String,
    /// What is answered with stays until all is answered.
    _voice: Arc<Offer>,
    _share: Share,
}

impl Answering {
    /// Hands everything to the inference thread and waits until all of it is accepted, and scored
    /// where that is wanted. The scores come in the order of the prompts.
    pub(crate) async fn begin(
        app: &App,
        id: &str,
        work: Work<'_>,
        places: Places,
    ) -> Result<(Self, Vec<Vec<TokenLogprobs>>), Problem> {
        let Work { voice, prompts, sampling, usual_tokens, score, tools } = work;
        let keep_special_tokens = tools.is_some_and(ToolFormat::needs_special_tokens);
        let adapter = voice.adapter();
        let n = if sampling.max_tokens == Some(0) { 0 } else { sampling.n };
        let (events, heard) = unbounded_channel();
        let listener = |number| Listener { number, events: events.clone() };
        let until = Instant::now() + sampling.time;
        let Places { places, share } = places;
        let client = share.client();
        let mut places = places.into_iter();
        let choices = prompts.len() * n;
        let prompt = prompts.iter().map(Vec::len).sum();
        for (p, ids) in prompts.iter().enumerate() {
            let new_tokens = new_tokens(app, sampling, usual_tokens, ids.len())?;
            for (i, place) in places.by_ref().take(n).enumerate() {
                let decoding = sampling.of_choice(i, new_tokens);
                let request = Request {
                    prompt: ids.clone(),
                    decoding,
                    adapter,
                    client,
                    keep_special_tokens,
                    grammar: sampling.grammar.clone(),
                    rules: sampling.rules(),
                };
                app.inference.generate(request, listener(p * n + i), place, until);
            }
        }
        for (p, (ids, place)) in prompts.iter().zip(places).enumerate() {
            let scoring = Scoring { ids: ids.clone(), top: score.unwrap_or_default(), adapter };
            app.inference.score(scoring, listener(choices + p), place, until);
        }
        drop(events);
        let scores = if score.is_some() { prompts.len() } else { 0 };
        let mut answering = Self {
            heard,
            early: VecDeque::new(),
            n,
            left: choices,
            taken: Taken { prompt, ..Taken::default() },
            begun: Instant::now(),
            id: id.to_owned(),
            _voice: voice,
            _share: share,
        };
        let scored = answering.accepted(choices, scores).await?;
        Ok((answering, scored))
    }

    async fn accepted(
        &mut self,
        choices: usize,
        scores: usize,
    ) -> Result<Vec<Vec<TokenLogprobs>>, Problem> {
        let mut scored = vec![Vec::new(); scores];
        let (mut waiting, mut unscored) = (choices + scores, scores);
        while waiting > 0 || unscored > 0 {
            match self.heard.recv().await.ok_or_else(Problem::dead)? {
                (_, Event::Accepted) => waiting -= 1,
                (_, Event::Refused(error)) => return Err(refused(&error)),
                (number, Event::Scored(logprobs)) => {
                    unscored -= 1;
                    if let Some(scored) = scored.get_mut(number - choices) {
                        *scored = logprobs;
                    }
                }
                (_, Event::Late) => return Err(Problem::late()),
                (_, Event::Failed(why)) => return Err(failed(&why)),
                other @ (_, Event::Emitted(_)) => self.early.push_back(other),
            }
        }
        Ok(scored)
    }

    /// What comes next, and for which choice; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Result<(usize, Emitted), Problem>> {
        if self.left == 0 {
            return None;
        }
        let event = match self.early.pop_front() {
            Some(early) => Some(early),
            None => self.heard.recv().await,
        };
        let next = match event {
            Some((choice, Event::Emitted(emitted))) => self.count(choice, emitted),
            Some((_, Event::Late)) => Err(Problem::late()),
            Some((_, Event::Failed(why))) => Err(failed(&why)),
            Some((_, Event::Refused(error))) => Err(refused(&error)),
            Some((_, Event::Accepted | Event::Scored(_))) | None => Err(Problem::dead()),
        };
        if next.is_err() {
            self.left = 0;
        }
        Some(next)
    }

    fn count(&mut self, choice: usize, emitted: Emitted) -> Result<(usize, Emitted), Problem> {
        let Some(finish) = &emitted.finish else { return Ok((choice, emitted)) };
        match &finish.reason {
            FinishReason::Eos(_)
            | FinishReason::Stop(_)
            | FinishReason::Grammar
            | FinishReason::Length => {}
            FinishReason::Time => return Err(Problem::late()),
            FinishReason::Failed(why) => return Err(failed(why)),
            FinishReason::CacheFull => {
                let message = "the cache has no room for the answer, though nothing else is in it";
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                return Err(Problem::server(status, "cache_full", message));
            }
            other => return Err(failed(other.name())),
        }
        self.left -= 1;
        self.taken.completion += finish.usage.completion_tokens;
        if choice.is_multiple_of(self.n) {
            self.taken.cached += finish.usage.cached_prompt_tokens;
        }
        Ok((choice, emitted))
    }

    pub(crate) fn taken(&self) -> Taken {
        self.taken
    }
}

impl Drop for Answering {
    /// Says what the request took; nothing of what it said.
    fn drop(&mut self) {
        let Taken { prompt, cached, completion } = self.taken;
        let seconds = Duration::as_secs_f64(&self.begun.elapsed());
        let complete = self.left == 0;
        tracing::info!(
            request = self.id,
            prompt_tokens = prompt,
            cached_tokens = cached,
            completion_tokens = completion,
            seconds,
            complete,
            "answered"
        );
    }
}

/// The most new tokens behind a prompt. One that leaves no room for an answer is refused with its
/// numbers: nothing is ever cut.
fn new_tokens(
    app: &App,
    sampling: &Sampling,
    usual: Option<usize>,
    prompt: usize,
) -> Result<usize, Problem> {
    let room = app.room();
    let answer = sampling.max_tokens.or(usual);
    let total = prompt.saturating_add(answer.unwrap_or(1));
    if total <= room {
        return Ok(answer.unwrap_or(room - prompt));
    }
    let wanted = match answer {
        None | Some(0) => String::new(),
        Some(answer) => format!(" and {answer} for the answer"),
    };
    let message = format!(
        "the model has room for {room} tokens, and the request needs {total} or more: {prompt} in \
         the prompt{wanted}; shorten the prompt{}",
        if answer.is_some_and(|answer| answer > 1) { " or lower `max_tokens`" } else { "" }
    );
    Err(Problem::invalid("context_length_exceeded", message))
}

/// Why the engine does not take a request.
fn refused(error: &GenerateError) -> Problem {
    match error {
        GenerateError::Decoding { field, problem } => {
            let field = match *field {
                "max_new_tokens" => "max_tokens",
                "min_new_tokens" => "min_tokens",
                "stop_strings" => "stop",
                other => other,
            };
            let problem = problem.replace("max_new_tokens", "max_tokens");
            Problem::invalid("invalid_value", format!("`{field}` {problem}")).about(field)
        }
        GenerateError::EmptyPrompt | GenerateError::PromptToken { .. } => {
            Problem::invalid("invalid_prompt", error.to_string()).about("prompt")
        }
        GenerateError::TooLong { .. } | GenerateError::CacheTooSmall { .. } => {
            Problem::invalid("context_length_exceeded", error.to_string())
        }
        GenerateError::Grammar(error) => forms::unusable(error),
        other => failed(&other.to_string()),
    }
}

/// The reason itself goes to the log: it may name what no client should know.
pub(crate) fn failed(why: &str) -> Problem {
    tracing::error!(why, "a request failed");
    let message = "the model could not be run; the server's log says why";
    Problem::server(StatusCode::INTERNAL_SERVER_ERROR, "inference_failed", message)
}
