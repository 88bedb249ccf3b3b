//! `fidelio serve`: a model behind HTTP, until it is asked to stop.

mod adapters;
mod local;
mod rows;
mod texts;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fidelio::{EmbedOptions, Embedder, Error, Machine, RunFile, Serving, generate::Limits};
use fidelio_serve::{
    Ended, FoundAdapter, Inference, InferenceLimits, Keys, Metrics, ServeError, ServeOptions,
    Served, Server, Tls, Voice, stop_signal,
};
use serde::Serialize;
use tokio::runtime::Runtime;

use adapters::Finder;
pub(super) use local::Local;
use texts::Texts;

use crate::{
    args::{Global, ModelFlags},
    failure::Failure,
    ui::{Ui, progress::Downloads},
};

/// Keys in the environment, separated by commas.
const KEYS: &str = "FIDELIO_API_KEYS";

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelFlags,
    #[command(flatten)]
    network: NetworkFlags,
    #[command(flatten)]
    load: LoadFlags,
}

/// Where it listens, and to whom.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Network")]
struct NetworkFlags {
    /// The address to listen on; `0.0.0.0` is every network of this machine.
    #[arg(short = 'H', long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,
    /// The port; 0 takes one that is free.
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    port: u16,
    /// Let in only who has one of these keys: on each line a name and a key's SHA-256. Keys may
    /// also stand in the variable `FIDELIO_API_KEYS`, separated by commas.
    #[arg(long, value_name = "FILE")]
    api_keys: Option<PathBuf>,
    /// Encrypt connections with this certificate, a PEM file with its chain.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's private key, a PEM file.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Let web pages of this origin ask; may be repeated.
    #[arg(long, value_name = "ORIGIN", visible_alias = "allowed-origins")]
    allow_origin: Vec<String>,
    /// What clients call the model [default: its own name].
    #[arg(long, value_name = "NAME")]
    served_name: Option<String>,
    /// Offer what another run learnt on the same weights under a name of its own; may be repeated.
    #[arg(long, value_name = "NAME=RUN")]
    adapter: Vec<String>,
    /// Let clients publish what runs in this folder learnt, with `POST /v1/adapters`.
    #[arg(long, value_name = "DIR")]
    adapters_from: Option<PathBuf>,
    /// Make vectors of texts with this model, such as `minilm`, for `/v1/embeddings`.
    #[arg(long, value_name = "MODEL")]
    embedder: Option<String>,
}

impl NetworkFlags {
    fn tls(&self) -> Result<Option<Tls>, ServeError> {
        let files = self.tls_certificate.as_deref().zip(self.tls_key.as_deref());
        files.map(|(certificate, key)| Tls::of_files(certificate, key)).transpose()
    }
}

/// How much it bears.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Load")]
struct LoadFlags {
    /// Requests that are computed at one time.
    #[arg(long, value_name = "N", default_value_t = 32)]
    max_running: usize,
    /// Requests that wait beyond those; further ones are told to come again.
    #[arg(long, value_name = "N", default_value_t = 128)]
    max_waiting: usize,
    /// Requests that one client, by its key or address, may have at one time [default: all places].
    #[arg(long, value_name = "N")]
    max_per_client: Option<usize>,
    /// Connections that are open at one time.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    max_connections: usize,
    /// The largest body of a request.
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20)]
    max_body: usize,
    /// An answer is complete after so many seconds, or it ends with an error.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 600,
        visible_alias = "prediction-timeout"
    )]
    timeout: u64,
    /// Answers under way have so many seconds to end once the server is asked to stop.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain: u64,
}

/// Where a server is, and what it serves.
#[derive(Debug, Serialize)]
struct Listening<'a> {
    address: String,
    model: &'a str,
}

pub(crate) fn run(args: &Args, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let options = args.options()?;
    let machine = super::machine(global)?;
    log(ui);
    let voices = args.voices()?;
    let parts = open(&args.model, &voices, args.limits(), machine, ui)?;
    if options.keys.is_empty() && !options.host.is_loopback() {
        ui.note("note: whoever reaches this address may use it; `--api-keys` lets in only some");
    }
    let encrypted = options.tls.is_some();
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let name = parts.served.names().join(", ");
        let server = parts.bind(options).await?;
        let scheme = if encrypted { "https" } else { "http" };
        let address = format!("{scheme}://{}", server.address());
        let text = format!("{address} serves {name}\n");
        ui.result(&Listening { address, model: &name }, || text)?;
        Ok::<_, Failure>(server.run(asked_to_stop()).await)
    })?;
    // What was cut off still holds its connection's task; nobody waits for it.
    runtime.shutdown_background();
    match ended {
        Ended::Drained => Ok(()),
        Ended::CutOff => {
            let kept =
                format!("some answers took longer than {} s and were cut off", args.load.drain);
            Err(Failure::Interrupted { kept })
        }
    }
}

/// What the models are called, and which adapters there are beside the first one.
pub(super) struct Voices<'a> {
    pub(super) first: String,
    pub(super) others: Vec<(&'a str, &'a Path)>,
    /// Where clients may publish from.
    pub(super) from: Option<&'a Path>,
    /// What makes vectors.
    pub(super) embedder: Option<&'a str>,
}

impl Voices<'_> {
    /// Just one model.
    pub(super) fn one(name: &str) -> Self {
        Self { first: name.to_owned(), others: Vec::new(), from: None, embedder: None }
    }
}

/// A model and the thread that runs it, before they have an address.
pub(super) struct Parts {
    served: Served,
    inference: Inference,
    metrics: Arc<Metrics>,
}

impl Parts {
    async fn bind(self, options: ServeOptions) -> Result<Server, ServeError> {
        Server::bind(options, self.served, self.inference, self.metrics).await
    }
}

/// Opens what is served.
pub(super) fn open(
    model: &ModelFlags,
    voices: &Voices<'_>,
    limits: InferenceLimits,
    machine: Machine,
    ui: &Ui,
) -> Result<Parts, Failure> {
    let generator = model.open(&machine, ui)?;
    let Serving { mut session, adapter, grammar, tokenizer, chat, plain, decoding, base } =
        generator.into_serving()?;
    if chat.is_none() {
        ui.note("note: the model has no chat template, so only `/v1/completions` answers");
    }
    let metrics = Arc::new(Metrics::new());
    let mut voice = Voice::new(voices.first.as_str(), adapter, chat).with_grammar(grammar);
    if let Some(run) = model.run()? {
        match rows::Rows::of_run(&machine, &run, &Downloads::new(ui)) {
            Ok(Some(rows)) => voice = voice.with_rows(Some(Box::new(rows))),
            Ok(None) => {
                ui.note("note: the run's prompts need a table, so `/predict` does not answer");
            }
            Err(error) => ui.note(format!("note: `/predict` does not answer: {error}")),
        }
    }
    let mut served = Served::new(voice, plain, decoding);
    for &(name, folder) in &voices.others {
        let run = RunFile::of_run(folder, &[])?;
        let FoundAdapter { spec, weights, chat, grammar, rows } =
            adapters::found(&machine, &base, &run)?;
        let adapter = session.add_adapter(&spec, Some(weights.as_ref())).map_err(Error::from)?;
        let voice = Voice::new(name, Some(adapter), chat).with_grammar(grammar).with_rows(rows);
        served = served.with_voice(voice);
    }
    if let Some(name) = voices.embedder {
        let (options, progress) = (EmbedOptions::default(), Downloads::new(ui));
        let embedder = Embedder::open(&machine, name, model.device(), &options, &progress)?;
        served = served.with_embedding(name, Box::new(Texts(embedder.without_cache())));
    }
    if let Some(folder) = voices.from {
        served = served.with_finder(Box::new(Finder { machine, base, folder: folder.to_owned() }));
    }
    let inference = Inference::start(session, tokenizer, limits, Arc::clone(&metrics))?;
    Ok(Parts { served, inference, metrics })
}

/// Threads that answer connections.
fn runtime() -> Result<Runtime, ServeError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| ServeError::Thread { source })
}

async fn asked_to_stop() {
    if let Err(error) = stop_signal().await {
        tracing::error!(%error, "signals cannot be heard; the server goes on until it is killed");
        std::future::pending::<()>().await;
    }
}

impl Args {
    fn options(&self) -> Result<ServeOptions, Failure> {
        let Self { network, load, .. } = self;
        for (flag, value) in [
            ("--max-running", load.max_running),
            ("--max-connections", load.max_connections),
            ("--max-per-client", load.max_per_client.unwrap_or(1)),
            ("--max-body", load.max_body),
            ("--timeout", load.timeout as usize),
        ] {
            if value == 0 {
                return Err(Failure::usage(format!("`{flag}` must be at least 1")));
            }
        }
        Ok(ServeOptions {
            host: network.host,
            port: network.port,
            keys: keys(network.api_keys.as_deref(), std::env::var(KEYS).ok().as_deref())?,
            origins: network.allow_origin.clone(),
            tls: network.tls()?,
            max_body: load.max_body,
            max_connections: load.max_connections,
            max_per_client: load.max_per_client,
            deadline: Duration::from_secs(load.timeout),
            drain: Duration::from_secs(load.drain),
            ..ServeOptions::default()
        })
    }

    /// No name twice, and a folder that is there.
    fn voices(&self) -> Result<Voices<'_>, Failure> {
        let first = self.name();
        let NetworkFlags { adapter, adapters_from, .. } = &self.network;
        let mut others: Vec<(&str, &Path)> = Vec::new();
        for flag in adapter {
            let (name, run) = adapters::named(flag)?;
            if name == first || others.iter().any(|(other, _)| *other == name) {
                return Err(Failure::usage(format!("two models would be called `{name}`")));
            }
            others.push((name, run));
        }
        if let Some(folder) = adapters_from.as_deref().filter(|folder| !folder.is_dir()) {
            return Err(Failure::usage(format!("`{}` is not a folder", folder.display())));
        }
        let embedder = self.network.embedder.as_deref();
        if embedder.is_some_and(|it| it == first || others.iter().any(|(name, _)| *name == it)) {
            return Err(Failure::usage_with(
                "the model that makes vectors and another one would have the same name",
                "call the other one something else with `--served-name`",
            ));
        }
        let from = adapters_from.as_deref();
        Ok(Voices { first, others, from, embedder })
    }

    fn limits(&self) -> InferenceLimits {
        let engine = Limits { max_rows: self.load.max_running, ..Limits::default() };
        InferenceLimits { engine, max_waiting: self.load.max_waiting }
    }

    /// What clients call the model: an alias as it is, the last part of a path.
    fn name(&self) -> String {
        if let Some(name) = &self.network.served_name {
            return name.clone();
        }
        let name = self.model.name();
        let path = Path::new(name.as_ref());
        let last = path.components().next_back().filter(|_| path.exists());
        // `.` has no name of its own; the folder that it means has.
        let whole = std::path::absolute(path).ok();
        let named = |path: &Path| path.file_name().map(|it| it.to_string_lossy().into_owned());
        last.and_then(|_| whole.as_deref().and_then(named)).unwrap_or_else(|| name.into_owned())
    }
}

/// Keys of a file, and those of the environment, which are called by their number.
fn keys(file: Option<&Path>, variable: Option<&str>) -> Result<Keys, Failure> {
    let keys = file.map(Keys::of_file).transpose()?.unwrap_or_default();
    let Some(variable) = variable else { return Ok(keys) };
    let given: Vec<&str> = variable.split(',').map(str::trim).collect();
    if given.iter().any(|key| key.is_empty()) {
        return Err(Failure::usage_with(
            format!("`{KEYS}` holds an empty key"),
            "write keys separated by commas, or unset it to let everybody in",
        ));
    }
    Ok(given
        .iter()
        .enumerate()
        .fold(keys, |keys, (i, key)| keys.with(&format!("key {}", i + 1), key)))
}

/// Sends the server's log to stderr, in lines or, with `--json`, as JSON.
fn log(ui: &Ui) {
    let level = if ui.is_quiet() { tracing::Level::WARN } else { tracing::Level::INFO };
    let lines = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false);
    // A program has one log; nothing else sets it.
    if ui.is_json() {
        drop(lines.json().flatten_event(true).try_init());
    } else {
        drop(lines.try_init());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_environment_are_separated_by_commas() {
        assert!(keys(None, None).unwrap().is_empty());
        assert!(!keys(None, Some("sk-1, sk-2")).unwrap().is_empty());
        for wrong in ["", ",", "sk-1,", " "] {
            assert_eq!(keys(None, Some(wrong)).unwrap_err().code(), 2, "{wrong:?}");
        }
    }
}
