//! `POST /v1/adapters` and `DELETE /v1/adapters/{name}`: what is offered, while others are answered.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde_json::{Value, json};

use super::{App, fields::Fields, others, problem::Problem};
use crate::{AdapterError, FoundAdapter, Voice, offers::Withdrawn};

/// Letters that a model's name may have.
const MAX_NAME: usize = 128;

/// Publishes an adapter under a name. Requests that are under way end with what they began with.
pub(crate) async fn publish(
    State(app): State<Arc<App>>,
    mut fields: Fields,
) -> Result<Json<Value>, Problem> {
    let name = text(&mut fields, "name", is_name, "of up to 128 letters, digits and `-_./:`");
    let run = text(&mut fields, "run", |_| true, "the name of a run's folder");
    fields.finish()?;
    if app.served.finder().is_none() {
        let message = "this server publishes no adapters; it must be started with a folder of runs";
        return Err(Problem::refused(StatusCode::FORBIDDEN, "adapters_not_allowed", message));
    }
    if app.offers.find(None).is_some_and(|first| first.name() == name) {
        let message = format!("`{name}` is what the server was started with, and stays as it is");
        return Err(Problem::refused(StatusCode::CONFLICT, "name_taken", message).about("name"));
    }
    let FoundAdapter { spec, weights, chat, grammar, rows } = find(&app, run).await?;
    let added = app.inference.adapt(spec, weights).await.ok_or_else(Problem::dead)?;
    let adapter = added.map_err(|error| {
        let message = format!("the adapter does not fit the model: {error}");
        Problem::refused(StatusCode::CONFLICT, "adapter_unfit", message).about("run")
    })?;
    let voice = Voice::new(name.clone(), Some(adapter), chat).with_grammar(grammar).with_rows(rows);
    let replaced = app.offers.publish(voice);
    tracing::info!(name, replaced, "published");
    let voice = app.voice_of(Some(&name))?;
    let mut card = others::card(&app, &voice);
    card["replaced"] = json!(replaced);
    Ok(Json(card))
}

/// Offers an adapter no more.
pub(crate) async fn withdraw(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    match app.offers.withdraw(&name) {
        Withdrawn::Yes => Ok(Json(json!({ "id": name, "object": "model", "deleted": true }))),
        Withdrawn::First => {
            let message = "what the server was started with stays";
            Err(Problem::refused(StatusCode::CONFLICT, "name_taken", message))
        }
        Withdrawn::None => app.voice_of(Some(&name)).map(|_| Json(Value::Null)),
    }
}

/// Reads an adapter away from the threads that answer everybody.
async fn find(app: &Arc<App>, run: String) -> Result<FoundAdapter, Problem> {
    let served = Arc::clone(&app.served);
    let found = tokio::task::spawn_blocking(move || {
        let none = || AdapterError::Missing("nothing finds adapters".to_owned());
        served.finder().map_or_else(|| Err(none()), |finder| finder.find(&run))
    });
    let found = found.await.map_err(|_| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::server(status, "adapter_failed", "the adapter could not be read")
    })?;
    found.map_err(|error| {
        let (status, code) = match error {
            AdapterError::Missing(_) => (StatusCode::NOT_FOUND, "adapter_not_found"),
            AdapterError::Unfit(_) => (StatusCode::CONFLICT, "adapter_unfit"),
            AdapterError::Failed(_) => (StatusCode::UNPROCESSABLE_ENTITY, "adapter_broken"),
        };
        Problem::refused(status, code, error.to_string()).about("run")
    })
}

fn text(fields: &mut Fields, field: &'static str, fine: fn(&str) -> bool, wanted: &str) -> String {
    let text = fields.take(field).and_then(|value| value.as_str().map(str::to_owned));
    text.filter(|text| !text.is_empty() && fine(text)).unwrap_or_else(|| {
        fields.wrong(field, format!("must be a text: {wanted}"));
        String::new()
    })
}

fn is_name(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    name.len() <= MAX_NAME && name.chars().all(fine)
}
