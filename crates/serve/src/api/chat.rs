//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use fidelio_prompting::{Conversation, ToolFormat};
use serde_json::Value;

use super::{
    App,
    answering::{Answering, Work},
    clients::Client,
    fields::Fields,
    messages,
    problem::Problem,
    sampling::Sampling,
    tools::{self, Shape},
    writing::{Beginning, Endpoint, Writer},
};
use crate::offers::Offer;

/// The most alternatives for a token, as OpenAI has it.
const MAX_TOP: usize = 20;

pub(crate) async fn answer(
    State(app): State<Arc<App>>,
    client: Client,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let voice = app.voice(&mut fields)?;
    let talk = messages::take(&mut fields);
    let tools = tools::take(&mut fields, Shape::Nested);
    let mut sampling = Sampling::take(&mut fields, &app, 1);
    let logprobs = fields.flag("logprobs").unwrap_or_default();
    let top = fields.whole("top_logprobs", 0..=MAX_TOP);
    if top.is_some() && !logprobs {
        fields.wrong("top_logprobs", "is of use only with `logprobs: true`");
    }
    fields.finish()?;
    sampling.grammar = app.grammar(&voice, sampling.form.take()).await?;
    sampling.decoding.logprobs = logprobs.then(|| top.unwrap_or_default());

    let places = app.places(client, sampling.n)?;
    let talk = talk.unwrap_or_default();
    let (ids, format) = conversation(&app, &voice, talk, tools, &sampling).await?;
    let mut writer = Writer::new(Arc::clone(&app), voice.name(), Endpoint::Chat);
    (writer.logprobs, writer.tools) = (logprobs, format);
    writer.write_as(&sampling);
    let beginning = Beginning { prompt: ids.clone(), ..Beginning::default() };
    let prompts = vec![ids];
    let sampling = &sampling;
    let work = Work { voice, prompts, sampling, usual_tokens: None, score: None, tools: format };
    let (answering, _) = Answering::begin(&app, &writer.id, work, places).await?;
    let beginnings = vec![beginning; sampling.n];
    writer.write(answering, beginnings, sampling.stream).await
}

/// The tokens of a conversation, and how its tools are called where it has some.
pub(super) async fn conversation(
    app: &App,
    voice: &Arc<Offer>,
    talk: Conversation,
    tools: Option<Value>,
    sampling: &Sampling,
) -> Result<(Vec<u32>, Option<ToolFormat>), Problem> {
    if tools.is_some() && sampling.grammar.is_some() {
        let message =
            "`tools` and a form of the answer exclude each other: a call has another form";
        return Err(Problem::invalid("invalid_value", message).about("tools"));
    }
    let (mut talk, speaker) = (talk, Arc::clone(voice));
    app.render(move |_| {
        let format = tools.is_some().then(|| speaker.tool_format()).transpose()?;
        if let Some(tools) = tools {
            speaker.offer(&mut talk, tools);
        }
        Ok((speaker.conversation(&talk)?, format))
    })
    .await
}
