//! What a client is told when it cannot have what it asked for, in OpenAI's shape.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// An answer that is none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// OpenAI's word for the kind of mistake.
    kind: &'static str,
    /// A word that programs can look for.
    code: &'static str,
    /// The field that is to blame.
    param: Option<String>,
    message: String,
}

impl Problem {
    fn new(
        status: StatusCode,
        kind: &'static str,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { status, kind, code, param: None, message: message.into() }
    }

    /// The request cannot be meant so.
    pub(crate) fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", code, message)
    }

    /// The same with another status.
    pub(crate) fn refused(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self::new(status, "invalid_request_error", code, message)
    }

    /// The server's fault.
    pub(crate) fn server(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self::new(status, "server_error", code, message)
    }

    /// The queue is full.
    pub(crate) fn busy(places: usize) -> Self {
        let message = format!("all {places} places are taken, running or waiting; try again later");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "queue_full", message)
    }

    /// The client has all places that it may have.
    pub(crate) fn too_many(most: usize) -> Self {
        let message = format!("a client may have {most} requests at a time; wait for some to end");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "too_many_requests", message)
    }

    /// The request's time is over.
    pub(crate) fn late() -> Self {
        let message = "the request's time was over before its answer was complete";
        Self::server(StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded", message)
    }

    /// No thread runs the model any more.
    pub(crate) fn dead() -> Self {
        let message = "the model's thread has ended; the server must be started again";
        Self::server(StatusCode::SERVICE_UNAVAILABLE, "inference_stopped", message)
    }

    #[must_use]
    pub(crate) fn about(self, param: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..self }
    }

    /// As JSON, for answers that have begun already.
    pub(crate) fn json(&self) -> Value {
        json!({ "error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        } })
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.json())).into_response();
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
