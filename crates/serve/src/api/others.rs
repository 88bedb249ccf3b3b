//! The endpoints that answer at once: models, tokens, health, metrics.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use fidelio_prompting::ChatTemplate;
use serde_json::{Value, json};

use super::{App, fields::Fields, messages, problem::Problem};
use crate::{Voice, embedding::Embedding};

/// `GET /v1/models`.
pub(crate) async fn models(State(app): State<Arc<App>>) -> Json<Value> {
    let offers = app.offers.all();
    let mut cards: Vec<Value> = offers.iter().map(|voice| card(&app, voice)).collect();
    cards.extend(app.served.embedding().map(embedding_card));
    Json(json!({ "object": "list", "data": cards }))
}

/// `GET /v1/models/{name}`; a name may hold slashes.
pub(crate) async fn model(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    if let Some(embedding) = app.served.embedding().filter(|it| it.name == name) {
        return Ok(Json(embedding_card(embedding)));
    }
    let voice = app.voice_of(Some(&name))?;
    Ok(Json(card(&app, &voice)))
}

pub(super) fn card(app: &App, voice: &Voice) -> Value {
    json!({
        "id": voice.name(),
        "object": "model",
        "created": voice.created(),
        "owned_by": "fidelio",
        "max_model_len": app.room(),
    })
}

fn embedding_card(embedding: &Embedding) -> Value {
    json!({
        "id": embedding.name,
        "object": "model",
        "created": embedding.created,
        "owned_by": "fidelio",
    })
}

/// `POST /tokenize`: the ids that `/v1/completions` or `/v1/chat/completions` would feed.
pub(crate) async fn tokenize(
    State(app): State<Arc<App>>,
    mut fields: Fields,
) -> Result<Json<Value>, Problem> {
    let voice = app.voice(&mut fields)?;
    let text = fields.text("prompt");
    let chat = fields.take("messages");
    let talk = match (&text, chat) {
        (None, Some(chat)) => {
            let mut only = Fields::new([("messages".to_owned(), chat)].into_iter().collect());
            let talk = messages::take(&mut only);
            only.finish()?;
            talk
        }
        (Some(_), None) => None,
        _ => {
            fields.wrong("prompt", "or `messages` must be there, and not both");
            None
        }
    };
    let wanted = fields.flag("return_token_strs").unwrap_or_default();
    let complete = fields.flag("add_special_tokens");
    if talk.is_some() && complete.is_some() {
        fields
            .wrong("add_special_tokens", "is of use only with `prompt`: a template writes its own");
    }
    fields.finish()?;
    let ids = app.render(move |served| match (talk, text.unwrap_or_default()) {
        (Some(talk), _) => voice.conversation(&talk),
        (None, text) if complete == Some(false) => served.part(&text),
        (None, text) => served.text(&text),
    });
    let ids = ids.await?;
    let texts = app.served.texts();
    let strings: Option<Vec<String>> =
        wanted.then(|| ids.iter().map(|&id| texts.text(id)).collect());
    Ok(Json(json!({
        "count": ids.len(),
        "max_model_len": app.room(),
        "tokens": ids,
        "token_strs": strings,
    })))
}

/// `POST /detokenize`: the text of ids, special tokens among it.
pub(crate) async fn detokenize(
    State(app): State<Arc<App>>,
    mut fields: Fields,
) -> Result<Json<Value>, Problem> {
    app.voice(&mut fields)?;
    let ids: Option<Vec<u32>> =
        fields.take("tokens").and_then(|tokens| serde_json::from_value(tokens).ok());
    let vocabulary = app.inference.capacity().vocabulary;
    let inside = |ids: &Vec<u32>| ids.iter().all(|&id| (id as usize) < vocabulary);
    let ids = ids.filter(inside).unwrap_or_else(|| {
        fields.wrong("tokens", format!("must be a list of ids below {vocabulary}"));
        Vec::new()
    });
    fields.finish()?;
    Ok(Json(json!({ "prompt": app.served.texts().joined(&ids) })))
}

/// `GET /tokenizer_info`: the names of special tokens, and the chat template.
pub(crate) async fn tokenizer_info(State(app): State<Arc<App>>) -> Json<Value> {
    let special = app.served.special_texts();
    let voice = app.offers.find(None);
    let template = voice.as_ref().and_then(|voice| voice.chat_template());
    let template = template.map(ChatTemplate::source);
    Json(json!({
        "bos_token": special.bos,
        "eos_token": special.eos,
        "pad_token": special.pad,
        "unk_token": special.unk,
        "chat_template": template,
        "model_max_length": app.room(),
    }))
}

/// `GET /healthz`: whether the process is of any use.
pub(crate) async fn health(State(app): State<Arc<App>>) -> Response {
    if app.inference.is_alive() {
        return "ok\n".into_response();
    }
    (StatusCode::INTERNAL_SERVER_ERROR, "the model's thread has ended\n").into_response()
}

/// `GET /readyz`: whether requests should be sent here.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    let not = |why: &'static str| (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    if app.draining.load(Ordering::SeqCst) {
        return not("stopping\n");
    }
    if !app.inference.is_well() {
        return not("the model cannot be run\n");
    }
    "ready\n".into_response()
}

/// `GET /metrics`.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.metrics.text()).into_response()
}
