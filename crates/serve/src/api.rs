//! The HTTP surface: routes, and what every request passes on its way to one.

mod adapters;
mod answering;
mod body;
mod chat;
mod clients;
mod completions;
mod embeddings;
mod fields;
mod forms;
mod logprobs;
mod messages;
mod others;
mod page;
mod problem;
mod responses;
mod rows;
mod sampling;
mod tools;
mod writing;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use fidelio_prompting::PromptError;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::{
    Inference, Metrics, ServeError, ServeOptions, Served,
    offers::{Offer, Offers},
};
use clients::{Client, Places};
pub(crate) use clients::{Peer, Shares};
use fields::Fields;
use problem::Problem;

/// What all requests share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) served: Arc<Served>,
    pub(crate) offers: Offers,
    pub(crate) inference: Inference,
    pub(crate) options: ServeOptions,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) shares: Shares,
    /// The server has been asked to stop: nothing new begins.
    pub(crate) draining: AtomicBool,
}

impl App {
    /// Tokens that prompt and answer may have together.
    fn room(&self) -> usize {
        let capacity = self.inference.capacity();
        // The last token of an answer is never cached.
        capacity.context.min(capacity.tokens.saturating_add(1))
    }

    /// Places for so many requests of a client, or the news that all are taken.
    fn places(&self, client: Client, n: usize) -> Result<Places, Problem> {
        if !self.inference.is_alive() {
            return Err(Problem::dead());
        }
        let share = self.shares.take(client, n, self.options.max_per_client)?;
        let all = self.inference.all_places();
        let places = self.inference.places(n).ok_or_else(|| Problem::busy(all))?;
        Ok(Places { places, share })
    }

    /// Takes the field `model`, which must name a voice on offer if it is there.
    fn voice(&self, fields: &mut Fields) -> Result<Arc<Offer>, Problem> {
        self.voice_of(fields.text("model").as_deref())
    }

    fn voice_of(&self, name: Option<&str>) -> Result<Arc<Offer>, Problem> {
        self.offers.find(name).ok_or_else(|| {
            let name: String = name.unwrap_or_default().chars().take(100).collect();
            let all = self.offers.all();
            let all: Vec<String> = all.iter().map(|it| format!("`{}`", it.name())).collect();
            let message = format!("there is no model `{name}`; this server has {}", all.join(", "));
            let status = StatusCode::NOT_FOUND;
            Problem::refused(status, "model_not_found", message).about("model")
        })
    }

    /// Renders away from the threads that answer everybody: a long prompt takes its time.
    async fn render<T: Send + 'static>(
        &self,
        render: impl FnOnce(&Served) -> Result<T, PromptError> + Send + 'static,
    ) -> Result<T, Problem> {
        let served = Arc::clone(&self.served);
        let rendered = tokio::task::spawn_blocking(move || render(&served)).await;
        let rendered = rendered.map_err(|_| {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Problem::server(status, "rendering_failed", "the prompt could not be rendered")
        })?;
        rendered.map_err(|error| {
            let causes = std::iter::successors(std::error::Error::source(&error), |it| it.source());
            let all = causes.fold(error.to_string(), |all, cause| format!("{all}: {cause}"));
            Problem::invalid("invalid_prompt", all)
        })
    }
}

/// The routes, with everything in front of them.
pub(crate) fn router(app: Arc<App>) -> Result<Router, ServeError> {
    let asked = Router::new()
        .route("/v1/chat/completions", post(chat::answer))
        .route("/v1/completions", post(completions::answer))
        .route("/predict", post(rows::predict))
        .route("/batch_predict", post(rows::batch_predict))
        .route("/v1/responses", post(responses::answer))
        .route("/v1/embeddings", post(embeddings::answer))
        .route("/v1/adapters", post(adapters::publish))
        .route("/v1/adapters/{*name}", delete(adapters::withdraw))
        .route("/tokenize", post(others::tokenize))
        .route("/detokenize", post(others::detokenize))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), refuse_when_stopping));
    let all = Router::new()
        .merge(asked)
        .route("/v1/models", get(others::models))
        .route("/v1/models/{*name}", get(others::model))
        .route("/tokenizer_info", get(others::tokenizer_info))
        .route("/metrics", get(others::metrics))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), let_in))
        .route("/", get(page::index))
        .route("/page.css", get(page::style))
        .route("/page.js", get(page::script))
        .route("/healthz", get(others::health))
        .route("/readyz", get(others::ready))
        .method_not_allowed_fallback(other_method)
        .fallback(nowhere)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), check_origin))
        .layer(cors(&app.options)?)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), watch))
        .with_state(app);
    Ok(all)
}

async fn nowhere(method: Method, uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(100).collect();
    let message = format!("there is nothing at {method} {path}");
    Problem::refused(StatusCode::NOT_FOUND, "not_found", message)
}

async fn other_method(method: Method) -> Problem {
    let message = format!("{method} is not what this path answers");
    Problem::refused(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

/// Counts and logs; the path is that of the route, so that no secret in it is written down.
async fn watch(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let endpoint = request.extensions().get::<MatchedPath>();
    let endpoint = endpoint.map_or("none", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    app.metrics.answered(&endpoint, status);
    let seconds = begun.elapsed().as_secs_f64();
    tracing::info!(%method, endpoint, status, seconds, "request");
    response
}

/// Lets in whoever has a key, where keys are wanted.
async fn let_in(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if app.options.keys.is_empty() {
        return Ok(next.run(request).await);
    }
    let header = request.headers().get(header::AUTHORIZATION);
    let key = header.and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    let problem =
        |message: &str| Problem::refused(StatusCode::UNAUTHORIZED, "invalid_api_key", message);
    let key = key.ok_or_else(|| problem("an API key is wanted, as `authorization: Bearer KEY`"))?;
    match app.options.keys.holder(key) {
        Some(holder) => {
            tracing::debug!(holder, "let in");
            let client = Client::of_key(holder);
            request.extensions_mut().insert(client);
            Ok(next.run(request).await)
        }
        None => Err(problem("the API key is not known")),
    }
}

/// Refuses web pages of other origins: without this any page that a user of this machine opens could
/// use a server that only listens on loopback.
async fn check_origin(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Some(origin) = request.headers().get(header::ORIGIN) else {
        return Ok(next.run(request).await);
    };
    let origin = origin.to_str().unwrap_or_default();
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if is_loopback(origin)
        || is_own(origin, host.unwrap_or_default())
        || app.options.origins.iter().any(|allowed| allowed == origin)
    {
        return Ok(next.run(request).await);
    }
    let message = "pages of this origin may not ask; the server must be started with it";
    Err(Problem::refused(StatusCode::FORBIDDEN, "origin_not_allowed", message))
}

fn is_loopback(origin: &str) -> bool {
    let host = origin.split_once("://").map_or("", |(_, host)| host);
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| {
        let port = host.strip_prefix(name).map(|rest| rest.strip_prefix(':').unwrap_or(rest));
        port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// Whether a page is this server's own. Only an address of numbers can be trusted: a name is made to
/// lead here by whoever has it.
fn is_own(origin: &str, host: &str) -> bool {
    let Some((scheme, of_page)) = origin.split_once("://") else { return false };
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|it| it.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name);
    let number = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    matches!(scheme, "http" | "https") && of_page == host && number.is_ok()
}

async fn refuse_when_stopping(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    if !app.draining.load(Ordering::SeqCst) {
        return next.run(request).await;
    }
    let message = "the server is stopping and takes nothing new";
    let status = StatusCode::SERVICE_UNAVAILABLE;
    Problem::server(status, "stopping", message).into_response()
}

/// Headers for pages of the origins that are allowed; none without any.
fn cors(options: &ServeOptions) -> Result<CorsLayer, ServeError> {
    let mut origins = Vec::with_capacity(options.origins.len());
    for origin in &options.origins {
        let value = HeaderValue::from_str(origin);
        origins.push(value.map_err(|_| ServeError::Origin { origin: origin.clone() })?);
    }
    if origins.is_empty() {
        return Ok(CorsLayer::new());
    }
    Ok(CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_of_numbers_is_a_servers_own() {
        for (origin, host, own) in [
            ("http://192.168.1.5:8000", "192.168.1.5:8000", true),
            ("https://192.168.1.5", "192.168.1.5", true),
            ("http://[fe80::1]:8000", "[fe80::1]:8000", true),
            ("http://192.168.1.5:8001", "192.168.1.5:8000", false),
            ("http://evil.example.org:8000", "evil.example.org:8000", false),
            ("null", "null", false),
            ("ftp://192.168.1.5", "192.168.1.5", false),
        ] {
            assert_eq!(is_own(origin, host), own, "{origin} at {host}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (origin, loopback) in [
            ("http://localhost", true),
            ("http://localhost:3000", true),
            ("http://127.0.0.1:8000", true),
            ("http://[::1]:8000", true),
            ("http://localhost.example.org", false),
            ("http://127.0.0.1.example.org:80", false),
            ("http://localhost:3000.example.org", false),
            ("https://example.org", false),
            ("null", false),
        ] {
            assert_eq!(is_loopback(origin), loopback, "{origin}");
        }
    }
}
