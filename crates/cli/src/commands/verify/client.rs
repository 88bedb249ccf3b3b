//! Asking a server as any client does.

use std::{path::Path, time::Duration};

use fidelio::Asked;
use serde_json::{Map, Value, json};

use crate::failure::Failure;

/// The most alternatives that a server tells for a token.
const TOP: usize = 20;
/// Longer than any server's deadline, so that it is the server who says so.
const PATIENCE: Duration = Duration::from_hours(1);
/// How tokens are written by their numbers.
const ID: &str = "token_id:";

/// A server's address, and what it is told with every request.
pub(super) struct Client {
    agent: ureq::Agent,
    url: String,
    model: Option<String>,
    key: Option<String>,
}

/// What a server read of a prompt, and what it would say first.
#[derive(Debug, PartialEq)]
pub(super) struct First {
    pub(super) prompt: Vec<u32>,
    pub(super) likeliest: Vec<(u32, f32)>,
}

impl Client {
    pub(super) fn new(
        url: &str,
        model: Option<String>,
        key: Option<&Path>,
    ) -> Result<Self, Failure> {
        let url = url.trim_end_matches('/').trim_end_matches("/v1").to_owned();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Failure::usage_with(
                format!("`{url}` is not the address of a server"),
                "write it as `http://127.0.0.1:8000`",
            ));
        }
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build();
        let key = key.map(|path| {
            let read = std::fs::read_to_string(path);
            read.map_err(|source| Failure::Read { path: path.to_owned(), source })
        });
        let key = key.transpose()?.map(|key| key.trim().to_owned());
        Ok(Self { agent: config.into(), url, model, key })
    }

    /// The prompt's tokens and the likeliest first ones of the answer, before any rule; or why the
    /// server does not take it.
    pub(super) fn ask(&self, asked: &Asked) -> Result<Result<First, String>, Failure> {
        let mut body = json!({
            "max_tokens": 1,
            "temperature": 0,
            "response_format": { "type": "text" },
            "return_token_ids": true,
            "return_tokens_as_token_ids": true,
        });
        let path = match asked {
            Asked::Messages(messages) => {
                body["messages"] = json!(messages);
                body["logprobs"] = json!(true);
                body["top_logprobs"] = json!(TOP);
                "/v1/chat/completions"
            }
            Asked::Prompt(prompt) => {
                body["prompt"] = json!(prompt);
                body["logprobs"] = json!(TOP);
                "/v1/completions"
            }
        };
        if let Some(model) = &self.model {
            body["model"] = json!(model);
        }
        let (status, reply) = self.post(path, &body)?;
        if status != 200 {
            let message = reply.pointer("/error/message").and_then(Value::as_str);
            return Ok(Err(message.map_or_else(|| format!("status {status}"), str::to_owned)));
        }
        let read = match asked {
            Asked::Messages(_) => of_chat(&reply),
            Asked::Prompt(_) => of_text(&reply),
        };
        Ok(read.ok_or_else(|| "its answer has no token ids; is it another server?".to_owned()))
    }

    fn post(&self, path: &str, body: &Value) -> Result<(u16, Value), Failure> {
        let url = format!("{}{path}", self.url);
        let unreachable = |error: &dyn std::fmt::Display| {
            Failure::usage_with(
                format!("`{url}` does not answer: {error}"),
                "start it with `fidelio serve -m RUN`, or leave `--url` out",
            )
        };
        let mut request = self.agent.post(&url).header("content-type", "application/json");
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let mut response = request.send(body.to_string()).map_err(|error| unreachable(&error))?;
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().map_err(|error| unreachable(&error))?;
        Ok((status, serde_json::from_str(&text).unwrap_or_default()))
    }
}

fn of_chat(reply: &Value) -> Option<First> {
    let content = reply.pointer("/choices/0/logprobs/content/0")?;
    let top = content["top_logprobs"].as_array()?;
    let one = |it: &Value| Some((id(it["token"].as_str()?)?, it["logprob"].as_f64()? as f32));
    let likeliest = top.iter().chain([content]).map(one).collect::<Option<_>>()?;
    Some(First { prompt: ids(&reply["prompt_token_ids"])?, likeliest })
}

fn of_text(reply: &Value) -> Option<First> {
    let choice = reply.pointer("/choices/0")?;
    let top: &Map<String, Value> = choice.pointer("/logprobs/top_logprobs/0")?.as_object()?;
    let one = |(token, logprob): (&String, &Value)| Some((id(token)?, logprob.as_f64()? as f32));
    let likeliest = top.iter().map(one).collect::<Option<_>>()?;
    Some(First { prompt: ids(&choice["prompt_token_ids"])?, likeliest })
}

fn id(token: &str) -> Option<u32> {
    token.strip_prefix(ID)?.parse().ok()
}

fn ids(value: &Value) -> Option<Vec<u32>> {
    serde_json::from_value(value.clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_endpoints_say_the_same() {
        let expected = First { prompt: vec![1, 2], likeliest: vec![(7, -0.5), (8, -1.0)] };
        let text = json!({ "choices": [{ "prompt_token_ids": [1, 2], "logprobs": {
            "top_logprobs": [{ "token_id:7": -0.5, "token_id:8": -1.0 }] } }] });
        assert_eq!(of_text(&text).unwrap(), expected);
        let token = |id: u32, logprob: f32| json!({ "token": format!("token_id:{id}"), "logprob": logprob });
        let mut first = token(7, -0.5);
        first["top_logprobs"] = json!([token(7, -0.5), token(8, -1.0)]);
        let chat = json!({ "prompt_token_ids": [1, 2],
            "choices": [{ "logprobs": { "content": [first] } }] });
        let read = of_chat(&chat).unwrap();
        assert_eq!(read.prompt, expected.prompt);
        assert_eq!(read.likeliest[..2], expected.likeliest);
    }

    #[test]
    fn answers_of_other_servers_are_no_answers() {
        let chat = json!({ "choices": [{ "logprobs": { "content": [
            { "token": "a", "logprob": -1.0, "top_logprobs": [] }] } }] });
        assert_eq!(of_chat(&chat), None);
        assert_eq!(of_text(&json!({})), None);
    }

    #[test]
    fn an_address_has_a_scheme() {
        assert!(Client::new("127.0.0.1:8000", None, None).is_err());
        let client = Client::new("http://127.0.0.1:8000/v1/", None, None).unwrap();
        assert_eq!(client.url, "http://127.0.0.1:8000");
    }
}
