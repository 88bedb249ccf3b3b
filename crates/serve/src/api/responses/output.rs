//! A response as it is written: whole, or as the events that it comes in.

use std::{collections::VecDeque, convert::Infallible};

use axum::response::{
    IntoResponse as _, Response,
    sse::{Event, KeepAlive, Sse},
};
use fidelio_generate::Emitted;
use fidelio_prompting::{Said, ToolFormat};
use futures_util::stream;
use serde_json::{Value, json};

use super::super::{
    answering::Answering,
    problem::Problem,
    sampling,
    tools::{Ear, NumberedCall},
};

/// A response on its way.
pub(super) struct Output {
    id: String,
    model: String,
    created: u64,
    /// What the request said, as it is told again.
    echo: Value,
    ear: Ear,
    /// What is complete.
    items: Vec<Value>,
    /// The message that is being written, at the end of the items.
    text: Option<Message>,
    /// Whether it was cut at its most tokens.
    cut: bool,
    /// Events that have not been sent.
    outbox: VecDeque<Value>,
    sent: u64,
}

struct Message {
    id: String,
    text: String,
}

impl Output {
    pub(super) fn new(model: &str, tools: Option<ToolFormat>, echo: Value) -> Self {
        Self {
            id: fresh("resp"),
            model: model.to_owned(),
            created: sampling::now(),
            echo,
            ear: Ear::new(tools),
            items: Vec::new(),
            text: None,
            cut: false,
            outbox: VecDeque::new(),
            sent: 0,
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Everything at once.
    pub(super) async fn whole(mut self, mut answering: Answering) -> Result<Value, Problem> {
        while let Some(next) = answering.next().await {
            self.add(next?.1);
        }
        self.close();
        let status = if self.cut { "incomplete" } else { "completed" };
        Ok(self.response(status, Some(&answering), None))
    }

    fn add(&mut self, emitted: Emitted) {
        let reason = emitted.finish.as_ref().map(|finish| finish.reason.name());
        self.cut = reason == Some("length");
        for said in self.ear.hear(&emitted.text, reason.is_some()) {
            match said {
                Said::Text(text) => self.write(&text),
                Said::Call(call) => self.call(NumberedCall::new(call)),
            }
        }
    }

    fn write(&mut self, text: &str) {
        let at = self.items.len();
        let message = match &mut self.text {
            Some(message) => message,
            empty @ None => {
                let message = Message { id: fresh("msg"), text: String::new() };
                let item = item(&message.id, "in_progress", &[]);
                self.outbox.push_back(json!({ "type": "response.output_item.added",
                    "output_index": at, "item": item }));
                self.outbox.push_back(json!({ "type": "response.content_part.added",
                    "item_id": message.id, "output_index": at, "content_index": 0,
                    "part": part("") }));
                empty.insert(message)
            }
        };
        message.text.push_str(text);
        self.outbox.push_back(json!({ "type": "response.output_text.delta",
            "item_id": message.id, "output_index": at, "content_index": 0, "delta": text,
            "logprobs": [] }));
    }

    /// Ends the message that is being written.
    fn close(&mut self) {
        let Some(Message { id, text }) = self.text.take() else { return };
        let at = self.items.len();
        let status = if self.cut { "incomplete" } else { "completed" };
        let item = item(&id, status, &[part(&text)]);
        self.outbox.push_back(json!({ "type": "response.output_text.done", "item_id": id,
            "output_index": at, "content_index": 0, "text": text, "logprobs": [] }));
        self.outbox.push_back(json!({ "type": "response.content_part.done", "item_id": id,
            "output_index": at, "content_index": 0, "part": part(&text) }));
        self.outbox.push_back(json!({ "type": "response.output_item.done", "output_index": at,
            "item": item }));
        self.items.push(item);
    }

    fn call(&mut self, call: NumberedCall) {
        self.close();
        let (at, id) = (self.items.len(), fresh("fc"));
        let item = |status: &str, arguments: &str| {
            json!({ "type": "function_call", "id": id, "call_id": call.id, "name": call.name,
                "arguments": arguments, "status": status })
        };
        let whole = item("completed", &call.arguments);
        self.outbox.push_back(json!({ "type": "response.output_item.added", "output_index": at,
            "item": item("in_progress", "") }));
        self.outbox.push_back(json!({ "type": "response.function_call_arguments.delta",
            "item_id": id, "output_index": at, "delta": call.arguments }));
        self.outbox.push_back(json!({ "type": "response.function_call_arguments.done",
            "item_id": id, "output_index": at, "name": call.name, "arguments": call.arguments }));
        self.outbox.push_back(json!({ "type": "response.output_item.done", "output_index": at,
            "item": whole }));
        self.items.push(whole);
    }

    fn response(
        &self,
        status: &str,
        answering: Option<&Answering>,
        error: Option<&Problem>,
    ) -> Value {
        let mut response = json!({
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": error.map(|problem| {
                let error = problem.json();
                json!({ "code": "server_error", "message": error["error"]["message"] })
            }),
            "incomplete_details": (status == "incomplete")
                .then(|| json!({ "reason": "max_output_tokens" })),
            "model": self.model,
            "output": self.items,
            "parallel_tool_calls": true,
            "previous_response_id": null,
            "reasoning": { "effort": null, "summary": null },
            "store": false,
            "tool_choice": "auto",
            "truncation": "disabled",
            "metadata": {},
            "usage": answering.map(|it| it.taken().json_of_response()),
        });
        for (key, value) in self.echo.as_object().into_iter().flatten() {
            response[key] = value.clone();
        }
        response
    }

    fn event(&mut self, mut event: Value) -> Event {
        event["sequence_number"] = json!(self.sent);
        self.sent += 1;
        let kind = event["type"].as_str().unwrap_or_default().to_owned();
        Event::default().event(kind).data(event.to_string())
    }
}

/// Event by event, as text comes. What goes wrong on the way is the last one.
pub(super) fn stream(mut output: Output, answering: Answering) -> Response {
    for kind in ["response.created", "response.in_progress"] {
        let response = output.response("in_progress", None, None);
        output.outbox.push_back(json!({ "type": kind, "response": response }));
    }
    let state = Streaming { output, answering, ended: false };
    let events = stream::unfold(state, |mut state| async {
        let event = state.next().await?;
        Some((Ok::<_, Infallible>(event), state))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

struct Streaming {
    output: Output,
    answering: Answering,
    ended: bool,
}

impl Streaming {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.output.outbox.pop_front() {
                return Some(self.output.event(event));
            }
            if self.ended {
                return None;
            }
            match self.answering.next().await {
                Some(Ok((_, emitted))) => self.output.add(emitted),
                Some(Err(problem)) => self.end("failed", Some(&problem)),
                None => {
                    self.output.close();
                    self.end(if self.output.cut { "incomplete" } else { "completed" }, None);
                }
            }
        }
    }

    fn end(&mut self, status: &str, problem: Option<&Problem>) {
        self.ended = true;
        let response = self.output.response(status, Some(&self.answering), problem);
        let kind = format!("response.{status}");
        self.output.outbox.push_back(json!({ "type": kind, "response": response }));
    }
}

fn item(id: &str, status: &str, content: &[Value]) -> Value {
    json!({ "type": "message", "id": id, "status": status, "role": "assistant",
        "content": content })
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

fn fresh(kind: &str) -> String {
    format!("{kind}_{:016x}{:016x}", sampling::random(), sampling::random())
}
