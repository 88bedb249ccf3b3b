//! From what a user writes as `base_model` to a path on this machine.

mod aliases;
mod download;
mod hub;
mod hub_id;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

pub use aliases::{Alias, aliases};
use hub::{Hub, Wanted};
use hub_id::HubId;

use crate::WeightsError;

/// Resolves `base_model`.
#[derive(Debug, Clone, Copy)]
pub struct Source;

/// Where models come from and where they are kept.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// Fidelio's own cache; `models/` in it holds what `cargo xtask fetch` brought.
    pub cache_dir: PathBuf,
    /// The hub's cache, in the layout that Python's `huggingface_hub` shares.
    pub hub_cache: PathBuf,
    /// The hub, without a slash at its end.
    pub endpoint: String,
    /// Sent to the hub, and to nobody else.
    pub token: Option<String>,
    /// Use only what is in the caches.
    pub offline: bool,
    /// How often a broken download is taken up again before it fails.
    pub retries: u32,
    /// How long to wait before the first of them; doubled each time.
    pub pause: Duration,
}

/// A model on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// A folder or GGUF file for [`Checkpoint::open`](crate::Checkpoint::open).
    pub path: PathBuf,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Origin {
    /// A path that the user gave.
    Local,
    /// Fidelio's own cache.
    Cache,
    /// The hub.
    Hub {
        /// `org/name`.
        id: String,
        /// The branch, tag or commit asked for.
        revision: String,
        /// The commit that it was.
        commit: String,
    },
}

/// Watches downloads.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot watch a download",
    note = "implement `fidelio_weights::Progress`, or pass `&Silent`"
)]
pub trait Progress: Sync {
    /// A file of `total` bytes, of which `have` are here already.
    fn begin(&self, file: &str, have: u64, total: u64);
    /// So many more bytes have arrived.
    fn advance(&self, bytes: u64);
    /// The file is complete, or given up.
    fn end(&self);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _file: &str, _have: u64, _total: u64) {}
    fn advance(&self, _bytes: u64) {}
    fn end(&self) {}
}

impl SourceOptions {
    /// The usual settings, from the variables that Hugging Face's own tools read:
    /// `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE` (also `HUGGINGFACE_HUB_CACHE`), `HF_TOKEN` (also
    /// `HUGGING_FACE_HUB_TOKEN`, or the token file of a login), `HF_HUB_OFFLINE`.
    pub fn from_env(cache_dir: PathBuf, env: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let home = set("HF_HOME").map(PathBuf::from).or_else(|| {
            let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
            let cache = cache.or_else(|| Some(PathBuf::from(set("HOME")?).join(".cache")))?;
            Some(cache.join("huggingface"))
        });
        let hub_cache = set("HF_HUB_CACHE")
            .or_else(|| set("HUGGINGFACE_HUB_CACHE"))
            .map(PathBuf::from)
            .or_else(|| Some(home.as_ref()?.join("hub")))
            .unwrap_or_else(|| cache_dir.join("hub"));
        let token_file =
            set("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| Some(home.as_ref()?.join("token")));
        let token = set("HF_TOKEN").or_else(|| set("HUGGING_FACE_HUB_TOKEN")).or_else(|| {
            let text = std::fs::read_to_string(token_file?).ok()?;
            Some(text.trim().to_owned()).filter(|token| !token.is_empty())
        });
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let offline = set("HF_HUB_OFFLINE").is_some_and(|value| {
            matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on")
        });
        Self {
            cache_dir,
            hub_cache,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token,
            offline,
            retries: 4,
            pause: Duration::from_secs(1),
        }
    }
}

impl Source {
    /// Finds a model, downloading it if it is on the hub and not in the cache: an alias, a local
    /// folder or GGUF file, or a hub id (`org/name`, `org/name@revision`, `org/name:file.gguf`).
    ///
    /// # Errors
    /// When it is none of these, does not exist, or cannot be downloaded.
    pub fn resolve(
        base_model: &str,
        options: &SourceOptions,
        progress: &dyn Progress,
    ) -> Result<Resolved, WeightsError> {
        if let Some(alias) = aliases().iter().find(|alias| alias.name == base_model) {
            return resolve_alias(alias, options, progress);
        }
        let path = Path::new(base_model);
        if path.exists() {
            return Ok(Resolved { path: path.to_owned(), origin: Origin::Local });
        }
        match HubId::parse(base_model) {
            Some(id) => Hub::new(options, progress).fetch(&id, Wanted::Model),
            None if looks_like_a_path(base_model) => {
                Err(WeightsError::NotFound { path: path.to_owned() })
            }
            None => Err(WeightsError::UnknownModel {
                name: base_model.to_owned(),
                suggestion: aliases::closest(base_model).map(str::to_owned),
            }),
        }
    }

    /// Finds an adapter in PEFT's format, downloading it if it is on the hub and not in the cache: a
    /// local folder, or a hub id (`org/name`, `org/name@revision`).
    ///
    /// # Errors
    /// When it is neither, does not exist, or cannot be downloaded.
    pub fn resolve_adapter(
        name: &str,
        options: &SourceOptions,
        progress: &dyn Progress,
    ) -> Result<Resolved, WeightsError> {
        let path = Path::new(name);
        if path.exists() {
            return Ok(Resolved { path: path.to_owned(), origin: Origin::Local });
        }
        match HubId::parse(name).filter(|id| id.file.is_none()) {
            Some(id) => Hub::new(options, progress).fetch(&id, Wanted::Adapter),
            None => Err(WeightsError::NotFound { path: path.to_owned() }),
        }
    }
}

fn resolve_alias(
    alias: &Alias,
    options: &SourceOptions,
    progress: &dyn Progress,
) -> Result<Resolved, WeightsError> {
    let Some(file) = alias.cached_file else {
        return match HubId::parse(alias.hub_id) {
            Some(id) => Hub::new(options, progress).fetch(&id, Wanted::Model),
            None => Err(WeightsError::UnknownModel { name: alias.hub_id.into(), suggestion: None }),
        };
    };
    let path = options.cache_dir.join("models").join(file);
    if !path.exists() {
        return Err(WeightsError::NotFetched {
            alias: alias.name.to_owned(),
            path,
            hub_id: alias.hub_id.to_owned(),
        });
    }
    Ok(Resolved { path, origin: Origin::Cache })
}

fn looks_like_a_path(text: &str) -> bool {
    text.starts_with(['.', '/', '~'])
        || text.contains('\\')
        || text.matches('/').count() > 1
        || hub_id::has_extension(text, "gguf")
        || hub_id::has_extension(text, "safetensors")
}
