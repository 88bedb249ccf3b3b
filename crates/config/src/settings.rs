//! Machine settings: where the cache is, which device is usual, how the hub is reached.
//!
//! Layers, later ones win: defaults, the user's `config.toml`, the project's `fidelio.toml`, the
//! environment, flags. Every value remembers which layer it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use config::{Config, File, FileFormat, Value, ValueKind};
use serde::Serialize;

use crate::suggest::nearest;

/// What settings are read from; passed in, so that tests need no real home and no real environment.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
    /// The current folder, where `fidelio.toml` is looked for.
    pub folder: PathBuf,
}

impl Surroundings {
    /// Those of this process. Variables that are not Unicode are left out.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { variables, folder: std::env::current_dir().unwrap_or_default() }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn home(&self) -> PathBuf {
        let home = self.variable("HOME").or_else(|| self.variable("USERPROFILE"));
        home.map_or_else(|| self.folder.clone(), PathBuf::from)
    }

    /// The user's file.
    pub fn user_file(&self) -> PathBuf {
        let base = self
            .variable("XDG_CONFIG_HOME")
            .map_or_else(|| self.home().join(".config"), PathBuf::from);
        base.join("fidelio").join("config.toml")
    }

    /// The project's file.
    pub fn project_file(&self) -> PathBuf {
        self.folder.join("fidelio.toml")
    }

    fn cache(&self) -> PathBuf {
        self.variable("XDG_CACHE_HOME").map_or_else(|| self.home().join(".cache"), PathBuf::from)
    }
}

/// The layer that a setting came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// Nobody said otherwise.
    Default,
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "${name}"),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// A value and the layer it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

/// The machine's settings.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where downloaded models and prepared files are kept.
    pub cache_dir: Setting<PathBuf>,
    /// Where Hugging Face's own tools keep theirs; models there are used, never changed.
    pub hugging_face_dir: Setting<PathBuf>,
    /// The device of runs that say `auto`.
    pub device: Setting<String>,
    /// The hub.
    pub hub_endpoint: Setting<String>,
    /// The hub's token; never shown, never written.
    pub hub_token: Option<Setting<String>>,
    /// Whether the network is left alone.
    pub offline: Setting<bool>,
    /// Where backend plugins lie.
    pub plugin_dir: Setting<PathBuf>,
    /// Threads; 0 is one for each core.
    pub threads: Setting<usize>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.table()).finish()
    }
}

/// What is wrong with the machine's settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A file that is there but cannot be used.
    #[error("cannot read the settings in `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A key that is no setting.
    #[error("unknown setting `{key}` in {origin}")]
    Unknown {
        /// The key.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// What was probably meant.
        near: Option<&'static str>,
    },
    /// A value of the wrong type.
    #[error("the setting `{key}` must be {expected}, not `{got}` ({origin})")]
    Wrong {
        /// The key.
        key: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What was there.
        got: String,
        /// Where it stands.
        origin: Origin,
    },
}

impl SettingsError {
    /// What to write instead.
    pub fn hint(&self) -> Option<std::borrow::Cow<'_, str>> {
        match self {
            Self::Unknown { near: Some(near), .. } => {
                Some(format!("did you mean `{near}`?").into())
            }
            Self::Unknown { key, .. } if key.contains("token") => {
                Some("a token is read from `$HF_TOKEN` only, never from a file".into())
            }
            Self::Unknown { .. } => Some(format!("known: {}", KEYS.join(", ")).into()),
            Self::Read { .. } | Self::Wrong { .. } => None,
        }
    }
}

const KEYS: [&str; 7] =
    ["cache_dir", "hugging_face_dir", "device", "hub_endpoint", "offline", "plugin_dir", "threads"];

/// Names under which others keep the same setting, after our own.
const VARIABLES: [(&str, &str); 10] = [
    ("cache_dir", "FIDELIO_CACHE_DIR"),
    ("hugging_face_dir", "HF_HOME"),
    ("hugging_face_dir", "FIDELIO_HUGGING_FACE_DIR"),
    ("device", "FIDELIO_DEVICE"),
    ("hub_endpoint", "HF_ENDPOINT"),
    ("hub_endpoint", "FIDELIO_HUB_ENDPOINT"),
    ("offline", "HF_HUB_OFFLINE"),
    ("offline", "FIDELIO_OFFLINE"),
    ("plugin_dir", "FIDELIO_PLUGIN_DIR"),
    ("threads", "FIDELIO_THREADS"),
];

/// Variables of ours that are no settings; the rest of `FIDELIO_*` must be known.
const OTHER_VARIABLES: [&str; 2] = ["FIDELIO_LOG", "FIDELIO_TEST_"];

impl Settings {
    /// Reads all layers. `flags` are pairs of setting and value from the command line.
    ///
    /// # Errors
    /// A settings file that cannot be read, an unknown setting, a value of the wrong type.
    pub fn load(
        around: &Surroundings,
        flags: &[(&'static str, String)],
    ) -> Result<Self, SettingsError> {
        let mut layers: BTreeMap<String, Setting<Value>> = BTreeMap::new();
        for path in [around.user_file(), around.project_file()] {
            for (key, value) in read(&path)? {
                let origin = Origin::File(path.clone());
                know(&key, &origin)?;
                layers.insert(key, Setting { value, origin });
            }
        }
        for name in around.variables.keys().filter(|name| name.starts_with("FIDELIO_")) {
            let ours = VARIABLES.iter().any(|(_, variable)| variable == name)
                || OTHER_VARIABLES.iter().any(|other| name.starts_with(other));
            if !ours {
                let key = name.trim_start_matches("FIDELIO_").to_lowercase();
                know(&key, &Origin::Environment(name.clone()))?;
            }
        }
        for (key, name) in VARIABLES {
            if let Some(value) = around.variable(name) {
                let origin = Origin::Environment(name.to_owned());
                layers.insert(key.to_owned(), Setting { value: value.into(), origin });
            }
        }
        for (key, value) in flags {
            know(key, &Origin::Flag)?;
            let value = Setting { value: value.clone().into(), origin: Origin::Flag };
            layers.insert((*key).to_owned(), value);
        }
        Self::settle(around, &mut layers)
    }

    fn settle(
        around: &Surroundings,
        layers: &mut BTreeMap<String, Setting<Value>>,
    ) -> Result<Self, SettingsError> {
        let mut folder = |key: &'static str, default: PathBuf| {
            let found = take(layers, key, "a folder", Value::into_string)?;
            Ok(found.map_or(Setting { value: default, origin: Origin::Default }, |it| Setting {
                value: expand(&it.value, around),
                origin: it.origin,
            }))
        };
        let cache_dir = folder("cache_dir", around.cache().join("fidelio"))?;
        let hugging_face_dir = folder("hugging_face_dir", around.cache().join("huggingface"))?;
        let plugin_dir = folder("plugin_dir", around.home().join(".config/fidelio/plugins"))?;
        let mut text = |key: &'static str, default: &str| {
            let found = take(layers, key, "text", Value::into_string)?;
            Ok(found
                .unwrap_or_else(|| Setting { value: default.to_owned(), origin: Origin::Default }))
        };
        let device = text("device", "auto")?;
        let mut hub_endpoint = text("hub_endpoint", "https://huggingface.co")?;
        hub_endpoint.value.truncate(hub_endpoint.value.trim_end_matches('/').len());
        let offline = take(layers, "offline", "`true` or `false`", Value::into_bool)?;
        let threads = take(layers, "threads", "a whole number", |value| {
            value.into_uint().map(|threads| threads as usize)
        })?;
        let hub_token = token(around, &hugging_face_dir.value);
        Ok(Self {
            cache_dir,
            hugging_face_dir,
            device,
            hub_endpoint,
            hub_token,
            offline: offline.unwrap_or(Setting { value: false, origin: Origin::Default }),
            plugin_dir,
            threads: threads.unwrap_or(Setting { value: 0, origin: Origin::Default }),
        })
    }

    /// Every setting with its value and where it came from, as `fidelio doctor` shows them. Of the
    /// token only its presence is told.
    pub fn table(&self) -> Vec<(&'static str, String, String)> {
        let path = |it: &Setting<PathBuf>| (it.value.display().to_string(), it.origin.to_string());
        let row = |key, (value, origin): (String, String)| (key, value, origin);
        let token = self.hub_token.as_ref().map_or_else(
            || ("not set".to_owned(), Origin::Default.to_string()),
            |it| ("set".to_owned(), it.origin.to_string()),
        );
        vec![
            row("cache_dir", path(&self.cache_dir)),
            row("hugging_face_dir", path(&self.hugging_face_dir)),
            row("device", (self.device.value.clone(), self.device.origin.to_string())),
            row(
                "hub_endpoint",
                (self.hub_endpoint.value.clone(), self.hub_endpoint.origin.to_string()),
            ),
            row("hub_token", token),
            row("offline", (self.offline.value.to_string(), self.offline.origin.to_string())),
            row("plugin_dir", path(&self.plugin_dir)),
            row("threads", (self.threads.value.to_string(), self.threads.origin.to_string())),
        ]
    }
}

fn know(key: &str, origin: &Origin) -> Result<(), SettingsError> {
    if KEYS.contains(&key) {
        return Ok(());
    }
    let near = nearest(key, KEYS);
    Err(SettingsError::Unknown { key: key.to_owned(), origin: origin.clone(), near })
}

/// One file's keys; a file that is not there has none.
fn read(path: &Path) -> Result<Vec<(String, Value)>, SettingsError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| SettingsError::Read {
        path: path.to_owned(),
        source,
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error.into())),
    };
    let layer = Config::builder()
        .add_source(File::from_str(&text, FileFormat::Toml))
        .build()
        .map_err(|error| failed(error.into()))?;
    match layer.cache.kind {
        ValueKind::Table(table) => Ok(table.into_iter().collect()),
        _ => Ok(Vec::new()),
    }
}

fn take<T>(
    layers: &mut BTreeMap<String, Setting<Value>>,
    key: &'static str,
    expected: &'static str,
    convert: impl Fn(Value) -> Result<T, config::ConfigError>,
) -> Result<Option<Setting<T>>, SettingsError> {
    let Some(Setting { value, origin }) = layers.remove(key) else { return Ok(None) };
    let got = value.to_string();
    match convert(value) {
        Ok(value) => Ok(Some(Setting { value, origin })),
        Err(_) => Err(SettingsError::Wrong { key, expected, got, origin }),
    }
}

/// `~` is the home folder; relative folders are relative to the current one.
fn expand(text: &str, around: &Surroundings) -> PathBuf {
    match text.strip_prefix("~/") {
        Some(rest) => around.home().join(rest),
        None if text == "~" => around.home(),
        None => around.folder.join(text),
    }
}

fn token(around: &Surroundings, hugging_face: &Path) -> Option<Setting<String>> {
    for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
        if let Some(value) = around.variable(name) {
            let origin = Origin::Environment(name.to_owned());
            return Some(Setting { value: value.trim().to_owned(), origin });
        }
    }
    let path = hugging_face.join("token");
    let value = std::fs::read_to_string(&path).ok()?.trim().to_owned();
    (!value.is_empty()).then_some(Setting { value, origin: Origin::File(path) })
}
