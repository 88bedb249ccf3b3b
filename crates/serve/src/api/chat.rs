//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::{extract::State, response::Response};

use super::{
    App,
    answering::{Answering, Work},
    fields::Fields,
    messages,
    problem::Problem,
    sampling::Sampling,
    writing::{Beginning, Endpoint, Writer},
};

/// The most alternatives for a token, as OpenAI has it.
const MAX_TOP: usize = 20;

pub(crate) async fn answer(
    State(app): State<Arc<App>>,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let voice = app.voice(&mut fields)?;
    let talk = messages::take(&mut fields);
    let mut sampling = Sampling::take(&mut fields, &app, 1);
    let logprobs = fields.flag("logprobs").unwrap_or_default();
    let top = fields.whole("top_logprobs", 0..=MAX_TOP);
    if top.is_some() && !logprobs {
        fields.wrong("top_logprobs", "is of use only with `logprobs: true`");
    }
    fields.finish()?;
    sampling.grammar = app.grammar(&voice, sampling.form.take()).await?;
    sampling.decoding.logprobs = logprobs.then(|| top.unwrap_or_default());

    let places = app.places(sampling.n)?;
    let talk = talk.unwrap_or_default();
    let speaker = Arc::clone(&voice);
    let ids = app.render(move |_| speaker.conversation(&talk)).await?;
    let mut writer = Writer::new(Arc::clone(&app), voice.name(), Endpoint::Chat);
    writer.logprobs = logprobs;
    writer.write_as(&sampling);
    let beginning = Beginning { prompt: ids.clone(), ..Beginning::default() };
    let prompts = vec![ids];
    let work = Work { voice, prompts, sampling: &sampling, usual_tokens: None, score: None };
    let (answering, _) = Answering::begin(&app, &writer.id, work, places).await?;
    let beginnings = vec![beginning; sampling.n];
    writer.write(answering, beginnings, sampling.stream).await
}
