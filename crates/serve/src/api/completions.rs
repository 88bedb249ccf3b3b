//! `POST /v1/completions`, which evaluation harnesses score with.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde_json::Value;

use super::{
    App,
    answering::{Answering, Work},
    clients::Client,
    fields::Fields,
    problem::Problem,
    sampling::Sampling,
    writing::{Beginning, Endpoint, Writer},
};

/// New tokens where the request does not say, as OpenAI has it.
const USUAL_TOKENS: usize = 16;
/// The most alternatives for a token.
const MAX_TOP: usize = 20;

/// A prompt as it was sent.
#[derive(Debug, Clone)]
enum Prompt {
    Text(String),
    Ids(Vec<u32>),
}

pub(crate) async fn answer(
    State(app): State<Arc<App>>,
    client: Client,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let voice = app.voice(&mut fields)?;
    let prompts = prompts(&mut fields);
    let mut sampling = Sampling::take(&mut fields, &app, 0);
    let logprobs = fields.whole("logprobs", 0..=MAX_TOP);
    let echo = fields.flag("echo").unwrap_or_default();
    if sampling.max_tokens == Some(0) && !echo {
        fields.wrong("max_tokens", "is 0, which is of use only with `echo: true`");
    }
    let best_of = fields.whole("best_of", 1..=usize::MAX);
    if best_of.is_some_and(|best| best != sampling.n) {
        fields.wrong("best_of", "is not supported: every choice is given back; set `n`");
    }
    sampling.decoding.logprobs = logprobs;
    let scored = echo && logprobs.is_some();
    let count = Work::places(prompts.len(), &sampling, scored);
    let most = app.inference.all_places();
    if count > most {
        fields.wrong("prompt", format!("needs {count} places with `n`, and there are {most}"));
    }
    fields.finish()?;
    sampling.grammar = app.grammar(&voice, sampling.form.take()).await?;

    let places = app.places(client, count)?;
    let rendered = app.render(move |served| {
        let render = |prompt| {
            Ok(match prompt {
                Prompt::Text(text) => (served.text(&text)?, Some(text)),
                Prompt::Ids(ids) => (ids, None),
            })
        };
        prompts.into_iter().map(render).collect::<Result<Vec<_>, _>>()
    });
    let rendered = rendered.await?;
    let mut writer = Writer::new(Arc::clone(&app), voice.name(), Endpoint::Text);
    writer.logprobs = logprobs.is_some();
    writer.write_as(&sampling);
    let ids: Vec<Vec<u32>> = rendered.iter().map(|(ids, _)| ids.clone()).collect();
    check_ids(&app, &ids)?;
    let work = Work {
        voice,
        prompts: ids,
        sampling: &sampling,
        usual_tokens: Some(USUAL_TOKENS),
        score: logprobs.filter(|_| scored),
        tools: None,
    };
    let (answering, scores) = Answering::begin(&app, &writer.id, work, places).await?;

    let mut scores = scores.into_iter();
    let mut beginnings = Vec::new();
    for (ids, text) in rendered {
        let text = text.unwrap_or_else(|| app.served.texts().joined(&ids));
        let scored = scores.next().unwrap_or_default();
        let beginning = if echo {
            Beginning { prompt: ids, text, echo, scored }
        } else {
            Beginning { prompt: ids, ..Beginning::default() }
        };
        beginnings.extend(vec![beginning; sampling.n]);
    }
    writer.write(answering, beginnings, sampling.stream).await
}

/// A text, a list of ids, or a list of either.
fn prompts(fields: &mut Fields) -> Vec<Prompt> {
    let prompts = match fields.take("prompt") {
        Some(Value::String(text)) => Some(vec![Prompt::Text(text)]),
        Some(Value::Array(items)) if !items.is_empty() => match ids(&items) {
            Some(ids) => Some(vec![Prompt::Ids(ids)]),
            None => items.into_iter().map(prompt).collect(),
        },
        _ => None,
    };
    prompts.unwrap_or_else(|| {
        let problem = "must be a text, a list of token ids, or a list of such prompts";
        fields.wrong("prompt", problem);
        Vec::new()
    })
}

fn prompt(value: Value) -> Option<Prompt> {
    match value {
        Value::String(text) => Some(Prompt::Text(text)),
        Value::Array(items) => ids(&items).filter(|ids| !ids.is_empty()).map(Prompt::Ids),
        _ => None,
    }
}

fn ids(items: &[Value]) -> Option<Vec<u32>> {
    items.iter().map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok())).collect()
}

/// Ids that only score go past the engine, which would have checked them.
fn check_ids(app: &App, prompts: &[Vec<u32>]) -> Result<(), Problem> {
    let vocabulary = app.inference.capacity().vocabulary;
    let outside = prompts.iter().flatten().find(|&&id| id as usize >= vocabulary);
    let Some(id) = outside else { return Ok(()) };
    let message = format!("`prompt` holds token id {id}, outside the vocabulary of {vocabulary}");
    Err(Problem::invalid("invalid_prompt", message).about("prompt"))
}
