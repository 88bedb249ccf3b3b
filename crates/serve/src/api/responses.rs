//! `POST /v1/responses`: OpenAI's newer way of asking. Nothing is stored, so each request brings the
//! whole conversation.

mod input;
mod output;

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use serde_json::{Map, Value, json};

use super::{
    App,
    answering::{Answering, Work},
    chat,
    clients::Client,
    fields::Fields,
    forms::{self, Form},
    problem::Problem,
    sampling::Sampling,
    tools::{self, Shape},
};
use output::{Output, stream};

pub(crate) async fn answer(
    State(app): State<Arc<App>>,
    client: Client,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let voice = app.voice(&mut fields)?;
    let instructions = fields.text("instructions");
    let talk = input::take(&mut fields, instructions.as_deref());
    let most = fields.whole("max_output_tokens", 1..=usize::MAX);
    let mut sampling = Sampling::take(&mut fields, &app, 1);
    for (name, is_there) in [("max_tokens", sampling.max_tokens.is_some()), ("n", sampling.n > 1)] {
        if is_there {
            fields.wrong(name, "is no field of responses");
        }
    }
    sampling.max_tokens = most;
    let tools = tools::take(&mut fields, Shape::Flat);
    let said = fields.object("text").unwrap_or_default();
    let format = said.get("format").cloned().unwrap_or_else(|| json!({ "type": "text" }));
    if let Some(form) = form(&mut fields, said) {
        if sampling.form.is_some() {
            fields.wrong("response_format", "is no field of responses: say `text.format`");
        }
        sampling.form = Some(form);
    }
    refuse_what_is_stored(&mut fields);
    fields.finish()?;
    sampling.grammar = app.grammar(&voice, sampling.form.take()).await?;

    let places = app.places(client, 1)?;
    let shown = tools.clone().unwrap_or_else(|| json!([]));
    let talk = talk.unwrap_or_default();
    let (ids, calls) = chat::conversation(&app, &voice, talk, tools, &sampling).await?;
    let output = Output::new(
        voice.name(),
        calls,
        json!({
            "instructions": instructions,
            "max_output_tokens": most,
            "temperature": if sampling.decoding.do_sample { sampling.decoding.temperature } else { 0.0 },
            "top_p": sampling.decoding.top_p,
            "text": { "format": format },
            "tools": flat(&shown),
        }),
    );
    let (prompts, sampling_of) = (vec![ids], &sampling);
    let work = Work {
        voice,
        prompts,
        sampling: sampling_of,
        usual_tokens: None,
        score: None,
        tools: calls,
    };
    let (answering, _) = Answering::begin(&app, output.id(), work, places).await?;
    if sampling.stream {
        return Ok(stream(output, answering));
    }
    Ok(Json(output.whole(answering).await?).into_response())
}

/// The form in `text`, whose `format` has no object of its own for a schema.
fn form(fields: &mut Fields, mut said: Map<String, Value>) -> Option<Form> {
    let format = said.shift_remove("format");
    if let Some(key) = said.keys().next() {
        let problem = format!("has `{key}`, which is not supported");
        fields.wrong("text", problem);
        return None;
    }
    let Value::Object(mut format) = format? else {
        fields.wrong("text", "must have an object `format`");
        return None;
    };
    if format.get("type") == Some(&json!("json_schema")) {
        format.shift_remove("type");
        format = Map::from_iter([
            ("type".to_owned(), json!("json_schema")),
            ("json_schema".to_owned(), Value::Object(format)),
        ]);
    }
    match forms::form(format) {
        Ok(form) => Some(form),
        Err(problem) => {
            fields.wrong("text", format!("has a `format` that {problem}"));
            None
        }
    }
}

/// Fields whose harmless values say what is done anyway.
fn refuse_what_is_stored(fields: &mut Fields) {
    if fields.flag("background") == Some(true) {
        fields.wrong("background", "cannot be true: nothing is stored");
    }
    if fields.text("truncation").is_some_and(|it| it != "disabled") {
        fields.wrong("truncation", "must be `disabled`: nothing is cut");
    }
    if fields.take("include").is_some_and(|it| it != json!([])) {
        fields.wrong("include", "must be empty: there is nothing else to include");
    }
}

/// Tools as responses have them.
fn flat(tools: &Value) -> Value {
    let one = |tool: &Value| {
        let mut flat = json!({ "type": "function", "strict": false });
        for (key, value) in tool["function"].as_object().into_iter().flatten() {
            flat[key] = value.clone();
        }
        flat
    };
    tools.as_array().into_iter().flatten().map(one).collect()
}
