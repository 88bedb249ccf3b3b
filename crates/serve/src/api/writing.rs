//! Answers as OpenAI writes them, whole or as a stream of events.

use std::{collections::VecDeque, convert::Infallible, sync::Arc};

use axum::{
    Json,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use fidelio_generate::{Emitted, Finish, FinishReason, TokenLogprobs};
use fidelio_prompting::{Said, ToolFormat};
use futures_util::stream;
use serde_json::{Value, json};

use super::{
    App,
    answering::Answering,
    logprobs::{self, Columns, Spelling},
    problem::Problem,
    sampling::{self, Sampling},
    tools::{Ear, NumberedCall},
};

/// Which endpoint writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Chat,
    Text,
}

/// What a choice begins with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beginning {
    /// The prompt's tokens.
    pub(crate) prompt: Vec<u32>,
    /// The prompt's text, if it is wanted back.
    pub(crate) text: String,
    /// Whether it is.
    pub(crate) echo: bool,
    /// One for each token but the first.
    pub(crate) scored: Vec<TokenLogprobs>,
}

/// One choice so far.
#[derive(Debug)]
struct Choice {
    prompt: Vec<u32>,
    /// Text that has not been written yet.
    text: String,
    ear: Ear,
    /// Calls that have not been written yet.
    calls: Vec<NumberedCall>,
    /// Calls that have.
    called: usize,
    /// Tokens of the answer.
    ids: Vec<u32>,
    tokens: Vec<TokenLogprobs>,
    columns: Columns,
    reason: Option<&'static str>,
}

impl Choice {
    /// All that was said, as a message.
    fn message(&mut self) -> Value {
        let content = Some(&self.text).filter(|text| !text.is_empty() || self.calls.is_empty());
        let mut message = json!({ "role": "assistant", "content": content, "refusal": null });
        if !self.calls.is_empty() {
            message["tool_calls"] = self.calls.iter().map(NumberedCall::json).collect();
        }
        message
    }

    /// What is new, as a part of a message.
    fn delta(&mut self, text: String) -> Value {
        let mut delta = json!({});
        if !text.is_empty() || self.reason.is_none() && self.calls.is_empty() {
            delta["content"] = text.into();
        }
        if !self.calls.is_empty() {
            let calls = std::mem::take(&mut self.calls);
            let first = self.called;
            self.called += calls.len();
            let numbered = calls.iter().enumerate().map(|(i, call)| {
                let mut call = call.json();
                call["index"] = json!(first + i);
                call
            });
            delta["tool_calls"] = numbered.collect();
        }
        delta
    }
}

/// Writes the choices of one request.
pub(crate) struct Writer {
    app: Arc<App>,
    model: String,
    endpoint: Endpoint,
    pub(crate) id: String,
    /// Whether log-probabilities are wanted.
    pub(crate) logprobs: bool,
    /// How the model calls tools, where it has some.
    pub(crate) tools: Option<ToolFormat>,
    include_usage: bool,
    token_ids: bool,
    spelling: Spelling,
}

impl Writer {
    /// Writes what the voice of this name says.
    pub(crate) fn new(app: Arc<App>, model: &str, endpoint: Endpoint) -> Self {
        let kind = if endpoint == Endpoint::Chat { "chatcmpl" } else { "cmpl" };
        let id = format!("{kind}-{:016x}{:016x}", sampling::random(), sampling::random());
        Self {
            app,
            model: model.to_owned(),
            endpoint,
            id,
            logprobs: false,
            tools: None,
            include_usage: false,
            token_ids: false,
            spelling: Spelling::Text,
        }
    }

    /// Writes what the request's fields say.
    pub(crate) fn write_as(&mut self, sampling: &Sampling) {
        self.include_usage = sampling.include_usage;
        self.token_ids = sampling.token_ids;
        self.spelling = sampling.spelling;
    }

    /// Writes the answer as it was asked for.
    pub(crate) async fn write(
        self,
        answering: Answering,
        beginnings: Vec<Beginning>,
        stream: bool,
    ) -> Result<Response, Problem> {
        if stream {
            return Ok(self.stream(answering, beginnings));
        }
        self.whole(answering, beginnings).await
    }

    /// Everything at once.
    async fn whole(
        self,
        mut answering: Answering,
        beginnings: Vec<Beginning>,
    ) -> Result<Response, Problem> {
        let mut choices: Vec<Choice> = beginnings.iter().map(|it| self.begin(it)).collect();
        while let Some(next) = answering.next().await {
            let (at, emitted) = next?;
            if let Some(choice) = choices.get_mut(at) {
                self.add(choice, emitted);
            }
        }
        let prompt = choices.first().map(|it| it.prompt.clone()).unwrap_or_default();
        let choices: Vec<Value> =
            choices.iter_mut().enumerate().map(|(i, it)| self.choice(i, it)).collect();
        let object = match self.endpoint {
            Endpoint::Chat => "chat.completion",
            Endpoint::Text => "text_completion",
        };
        let mut answer = self.frame(object, choices);
        if self.token_ids && self.endpoint == Endpoint::Chat {
            answer["prompt_token_ids"] = json!(prompt);
        }
        answer["usage"] = answering.taken().json();
        Ok(Json(answer).into_response())
    }

    /// Event by event, as text comes. What goes wrong on the way is an event too, and then the stream
    /// ends without `[DONE]`.
    fn stream(self, answering: Answering, beginnings: Vec<Beginning>) -> Response {
        let mut choices: Vec<Choice> = beginnings.iter().map(|it| self.begin(it)).collect();
        let first = choices.iter_mut().enumerate().filter_map(|(i, it)| self.first(i, it));
        let outbox: VecDeque<String> = first.map(|value| value.to_string()).collect();
        let state = Streaming { writer: self, answering, choices, outbox, ended: false };
        let events = stream::unfold(state, |mut state| async {
            let data = state.next().await?;
            Some((Ok::<_, Infallible>(Event::default().data(data)), state))
        });
        Sse::new(events).keep_alive(KeepAlive::default()).into_response()
    }

    fn begin(&self, beginning: &Beginning) -> Choice {
        let Beginning { prompt, text, echo, scored } = beginning;
        let mut choice = Choice {
            prompt: if self.token_ids { prompt.clone() } else { Vec::new() },
            text: text.clone(),
            ear: Ear::new(self.tools),
            calls: Vec::new(),
            called: 0,
            ids: Vec::new(),
            tokens: Vec::new(),
            columns: Columns::new(self.spelling),
            reason: None,
        };
        if self.logprobs && *echo {
            let texts = self.app.served.texts();
            if let Some(&first) = prompt.first() {
                choice.columns.push_first(texts, first);
            }
            for it in scored {
                choice.columns.push(texts, it);
            }
        }
        choice
    }

    fn add(&self, choice: &mut Choice, emitted: Emitted) {
        for said in choice.ear.hear(&emitted.text, emitted.finish.is_some()) {
            match said {
                Said::Text(text) => choice.text.push_str(&text),
                Said::Call(call) => choice.calls.push(NumberedCall::new(call)),
            }
        }
        if self.token_ids {
            choice.ids.extend(&emitted.tokens);
            choice.ids.extend(emitted.finish.as_ref().and_then(end_of));
        }
        choice.reason = emitted.finish.as_ref().map(|finish| finish.reason.name());
        if choice.reason == Some("stop") && choice.called + choice.calls.len() > 0 {
            choice.reason = Some("tool_calls");
        }
        match self.endpoint {
            Endpoint::Chat => choice.tokens.extend(emitted.logprobs),
            Endpoint::Text => {
                let texts = self.app.served.texts();
                for it in &emitted.logprobs {
                    choice.columns.push(texts, it);
                }
            }
        }
    }

    /// A whole choice.
    fn choice(&self, index: usize, choice: &mut Choice) -> Value {
        let logprobs = self.take_logprobs(choice);
        // A prompt that was only wanted back ends where it ends.
        let reason = choice.reason.unwrap_or("length");
        let mut written = match self.endpoint {
            Endpoint::Chat => json!({
                "index": index,
                "message": choice.message(),
                "logprobs": logprobs,
                "finish_reason": reason,
            }),
            Endpoint::Text => json!({
                "index": index,
                "text": choice.text,
                "logprobs": logprobs,
                "finish_reason": reason,
            }),
        };
        self.add_ids(&mut written, choice);
        written
    }

    /// Adds the ids that a choice has new, where they are wanted: those of a text's prompt too, since
    /// there each choice may have another.
    fn add_ids(&self, written: &mut Value, choice: &mut Choice) {
        if !self.token_ids {
            return;
        }
        written["token_ids"] = json!(std::mem::take(&mut choice.ids));
        let prompt = std::mem::take(&mut choice.prompt);
        if self.endpoint == Endpoint::Text && !prompt.is_empty() {
            written["prompt_token_ids"] = json!(prompt);
        }
    }

    /// The event with which a choice begins, if it has one.
    fn first(&self, index: usize, choice: &mut Choice) -> Option<Value> {
        match self.endpoint {
            Endpoint::Chat => {
                let delta = json!({ "role": "assistant", "content": "" });
                let mut event = self.event(index, delta, None, None);
                if self.token_ids && index == 0 {
                    event["prompt_token_ids"] = json!(std::mem::take(&mut choice.prompt));
                }
                Some(event)
            }
            Endpoint::Text if choice.text.is_empty() && choice.prompt.is_empty() => None,
            Endpoint::Text => Some(self.delta(index, choice)),
        }
    }

    /// What a choice has new, as an event.
    fn delta(&self, index: usize, choice: &mut Choice) -> Value {
        let text = std::mem::take(&mut choice.text);
        let logprobs = Some(self.take_logprobs(choice)).filter(|it| !it.is_null());
        let delta = match self.endpoint {
            Endpoint::Chat => choice.delta(text),
            Endpoint::Text => json!(text),
        };
        let mut event = self.event(index, delta, logprobs, choice.reason);
        self.add_ids(&mut event["choices"][0], choice);
        event
    }

    fn event(
        &self,
        index: usize,
        delta: Value,
        logprobs: Option<Value>,
        reason: Option<&'static str>,
    ) -> Value {
        let (object, name) = match self.endpoint {
            Endpoint::Chat => ("chat.completion.chunk", "delta"),
            Endpoint::Text => ("text_completion", "text"),
        };
        let choice = json!({
            "index": index, name: delta, "logprobs": logprobs, "finish_reason": reason,
        });
        let mut event = self.frame(object, vec![choice]);
        if self.include_usage {
            event["usage"] = Value::Null;
        }
        event
    }

    fn take_logprobs(&self, choice: &mut Choice) -> Value {
        match self.endpoint {
            _ if !self.logprobs => Value::Null,
            Endpoint::Chat => {
                let tokens = std::mem::take(&mut choice.tokens);
                logprobs::of_chat(self.app.served.texts(), self.spelling, &tokens)
            }
            Endpoint::Text => choice.columns.take(),
        }
    }

    fn frame(&self, object: &str, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": object,
            "created": sampling::now(),
            "model": self.model,
            "choices": choices,
        })
    }
}

/// The token that ended an answer.
fn end_of(finish: &Finish) -> Option<u32> {
    match finish.reason {
        FinishReason::Eos(token) => Some(token),
        _ => None,
    }
}

/// A stream under way.
struct Streaming {
    writer: Writer,
    answering: Answering,
    choices: Vec<Choice>,
    outbox: VecDeque<String>,
    ended: bool,
}

impl Streaming {
    /// The data of the next event; none at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(data) = self.outbox.pop_front() {
                return Some(data);
            }
            if self.ended {
                return None;
            }
            match self.answering.next().await {
                Some(Ok((at, emitted))) => self.add(at, emitted),
                Some(Err(problem)) => {
                    self.ended = true;
                    self.outbox.push_back(problem.json().to_string());
                }
                None => self.end(),
            }
        }
    }

    fn add(&mut self, at: usize, emitted: Emitted) {
        let Some(choice) = self.choices.get_mut(at) else { return };
        let tells = emitted.finish.is_some()
            || self.writer.logprobs && !emitted.logprobs.is_empty()
            || self.writer.token_ids && !emitted.tokens.is_empty();
        self.writer.add(choice, emitted);
        if tells || !choice.text.is_empty() || !choice.calls.is_empty() {
            self.outbox.push_back(self.writer.delta(at, choice).to_string());
        }
    }

    fn end(&mut self) {
        self.ended = true;
        // A choice without new tokens has said nothing of its end yet.
        for (i, choice) in self.choices.iter_mut().enumerate().filter(|it| it.1.reason.is_none()) {
            choice.reason = Some("length");
            self.outbox.push_back(self.writer.delta(i, choice).to_string());
        }
        if self.writer.include_usage {
            let object = match self.writer.endpoint {
                Endpoint::Chat => "chat.completion.chunk",
                Endpoint::Text => "text_completion",
            };
            let mut event = self.writer.frame(object, Vec::new());
            event["usage"] = self.answering.taken().json();
            self.outbox.push_back(event.to_string());
        }
        self.outbox.push_back("[DONE]".to_owned());
    }
}
