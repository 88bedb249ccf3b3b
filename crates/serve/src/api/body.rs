//! A request's body: JSON, of bounded size, in bounded time.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{StatusCode, header},
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::Value;

use super::{App, fields::Fields, problem::Problem};

/// A body that is JSON of any kind.
#[derive(Debug)]
pub(crate) struct JsonBody(pub(crate) Value);

impl FromRequest<Arc<App>> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        match JsonBody::from_request(request, app).await? {
            JsonBody(Value::Object(map)) => Ok(Self::new(map)),
            JsonBody(_) => Err(Problem::invalid("invalid_json", "the body must be a JSON object")),
        }
    }
}

impl FromRequest<Arc<App>> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let headers = request.headers();
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        // Browsers send other types across origins without asking first.
        if !kind.is_some_and(is_json) {
            let message = "the body must be JSON, with `content-type: application/json`";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Problem::refused(status, "unsupported_media_type", message));
        }
        let claimed = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let claimed = claimed.and_then(|length| length.parse::<u64>().ok());
        if claimed.is_some_and(|length| length > app.options.max_body as u64) {
            return Err(too_large(app.options.max_body));
        }
        let read = read(request.into_body(), app.options.max_body);
        let bytes = tokio::time::timeout(app.options.patience, read).await.map_err(|_| {
            let message = format!("the body did not come within {:?}", app.options.patience);
            Problem::refused(StatusCode::REQUEST_TIMEOUT, "request_timeout", message)
        })??;
        Ok(Self(json(&bytes)?))
    }
}

fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

async fn read(body: Body, most: usize) -> Result<Bytes, Problem> {
    match Limited::new(body, most).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large(most)),
        Err(_) => Err(Problem::invalid("body_incomplete", "the body ended before it was whole")),
    }
}

fn too_large(most: usize) -> Problem {
    let message = format!("the body is larger than {most} bytes, the most that is read");
    Problem::refused(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
}

fn json(bytes: &[u8]) -> Result<Value, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("the body is not UTF-8: byte {} begins none", error.valid_up_to());
        Problem::invalid("invalid_utf8", message)
    })?;
    serde_json::from_str(text).map_err(|error| {
        Problem::invalid("invalid_json", format!("the body is not valid JSON: {error}"))
    })
}
