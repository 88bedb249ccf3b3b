//! Why a file is no plugin that can be used.

use std::{borrow::Cow, path::PathBuf, time::Duration};

use crate::abi::VERSION;

/// A plugin that could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// No such file.
    #[error("there is no plugin at `{path}`")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A folder of plugins that cannot be listed.
    #[error("the plugin folder `{path}` cannot be read")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No plugin of a name in a folder.
    #[error("there is no plugin `{name}` in `{folder}`")]
    Unknown {
        /// The name.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
        /// What is there.
        have: Vec<String>,
    },
    /// The system's loader refuses the file.
    #[error("`{path}` cannot be loaded")]
    Load {
        /// The file.
        path: PathBuf,
        /// What the loader says.
        #[source]
        source: libloading::Error,
    },
    /// A library without the symbol.
    #[error("`{path}` is not a plugin: it has no `{symbol}`")]
    Symbol {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        symbol: &'static str,
    },
    /// A plugin of another version of the border.
    #[error(
        "`{path}` was built for version {found} of the plugin interface, this host has {VERSION}"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The plugin's version.
        found: u32,
    },
    /// A table that is shorter than the first one was.
    #[error("the table of `{path}` has {found} bytes, expected at least {expected}")]
    ShortTable {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        found: usize,
        /// What it must have.
        expected: usize,
    },
    /// A function that every plugin has, or that its verbs need.
    #[error("`{path}` has no function `{function}`")]
    Function {
        /// The file.
        path: PathBuf,
        /// The entry of the table.
        function: &'static str,
    },
    /// A plugin that does not come back.
    #[error("`{path}` did not say what it is within {} s", .limit.as_secs_f32())]
    Hangs {
        /// The file.
        path: PathBuf,
        /// How long it had.
        limit: Duration,
    },
    /// A description that failed or makes no sense.
    #[error("`{path}` does not say what it is: {what}")]
    Description {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The host has no thread to load it on.
    #[error("no thread to load `{path}` on")]
    Thread {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl PluginError {
    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Unknown { have, .. } if !have.is_empty() => {
                format!("it has {}", have.join(", ")).into()
            }
            Self::Unknown { .. } | Self::Missing { .. } => {
                "a plugin is a shared library; put it there, or give its path".into()
            }
            Self::Symbol { .. } => {
                "a plugin in Rust ends with `fidelio_plugin::export!(MyBackend::new)`, one in C \
                 defines `fidelio_plugin_v1` with `FIDELIO_EXPORT`"
                    .into()
            }
            Self::Version { .. } | Self::ShortTable { .. } => {
                "build the plugin again, with the `fidelio-plugin` or the header of this host"
                    .into()
            }
            Self::Function { .. } => {
                "fill that entry of the table, or do not claim the verb that needs it".into()
            }
            _ => return None,
        })
    }
}
