//! The program's side: finding, loading and calling plugins.

mod find;
mod load;
mod session;

use std::{
    path::{Path, PathBuf},
    ptr,
    sync::Arc,
    time::Duration,
};

use fidelio_backend::{Backend, BackendError, BackendInfo, DeviceId, OpenSpec, Session, Weights};

pub use find::{plugin_name, plugins_in};

use self::session::PluginSession;
use crate::{
    abi::{self, Status},
    error::PluginError,
    failure::Failure,
    reading::{NONE, head},
    tensors::LentWeights,
};

/// How long a plugin may take to be loaded and to say what it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// An engine behind the C border, as a backend like any other.
///
/// Its name is `plugin:` and the name of its file, as a user writes it in `device:`.
#[derive(Debug, Clone)]
pub struct PluginBackend {
    plugin: Arc<Plugin>,
    info: BackendInfo,
}

/// A plugin that was loaded and checked. It stays loaded to the end of the process: tensors,
/// sessions and threads of it may outlive everything that is known of it here.
pub(crate) struct Plugin {
    name: String,
    path: PathBuf,
    /// A copy; entries that the plugin does not know are null.
    table: abi::PluginTable,
    verbs: u64,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("path", &self.path).finish_non_exhaustive()
    }
}

impl PluginBackend {
    /// Loads the plugin at a path, and runs its code.
    ///
    /// # Errors
    /// When there is no such file, or it is no plugin that this host can use.
    pub fn load(path: &Path) -> Result<Self, PluginError> {
        Self::load_within(path, PATIENCE)
    }

    /// The same with another limit for how long the plugin may take to say what it is.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_within(path: &Path, limit: Duration) -> Result<Self, PluginError> {
        load::load(path, limit)
    }

    /// Loads the plugin of a name from a folder. Other files there are not loaded.
    ///
    /// # Errors
    /// As [`Self::load`], or when no plugin there has that name.
    pub fn find(folder: &Path, name: &str) -> Result<Self, PluginError> {
        let files = plugins_in(folder)?;
        let names = || files.iter().filter_map(|path| plugin_name(path)).collect();
        match files.iter().find(|path| plugin_name(path).as_deref() == Some(name)) {
            Some(path) => Self::load(path),
            None => Err(PluginError::Unknown {
                name: name.to_owned(),
                folder: folder.to_owned(),
                have: names(),
            }),
        }
    }

    /// A plugin that is linked into the program, with the name it shall have.
    ///
    /// # Errors
    /// As [`Self::load`].
    ///
    /// # Safety
    /// The table's functions do what [`abi::PluginTable`] says of them.
    pub unsafe fn of_table(
        name: &str,
        table: &'static abi::PluginTable,
    ) -> Result<Self, PluginError> {
        // SAFETY: the caller's promise; a reference is to a whole table.
        unsafe { load::check(ptr::from_ref(table), Path::new(name), name.to_owned()) }
    }

    /// Its name, as in `device: plugin:NAME`.
    pub fn name(&self) -> &str {
        &self.plugin.name
    }

    /// The file that it was loaded from.
    pub fn path(&self) -> &Path {
        &self.plugin.path
    }
}

impl Backend for PluginBackend {
    fn describe(&self) -> BackendInfo {
        self.info.clone()
    }

    fn open(
        &self,
        device: DeviceId,
        spec: &OpenSpec,
        weights: &dyn Weights,
    ) -> Result<Box<dyn Session>, BackendError> {
        let plugin = &self.plugin;
        let open = function(plugin.table.open, "open")?;
        let spec = json(spec)?;
        let lent = LentWeights::new(weights);
        let tensors = lent.table();
        let args = abi::OpenArgs {
            head: head::<abi::OpenArgs>(),
            device: device.0,
            spec: crate::reading::lend(&spec),
            weights: &raw const tensors,
        };
        let mut raw = ptr::null_mut();
        // SAFETY: the arguments, what they point to and the place live until the call returns.
        let call = |error: *mut abi::Error| unsafe { open(&raw const args, &raw mut raw, error) };
        plugin.call(call).map_err(|error| lent.explain(error))?;
        Ok(Box::new(PluginSession::new(Arc::clone(plugin), raw)?))
    }
}

impl Plugin {
    /// Makes a call and reads how it ended.
    fn call(&self, call: impl FnOnce(*mut abi::Error) -> Status) -> Result<(), BackendError> {
        self.outcome(call).map_err(|failure| failure.error(&self.name))
    }

    /// The same with the failure as it came.
    fn outcome(&self, call: impl FnOnce(*mut abi::Error) -> Status) -> Result<(), Failure> {
        let mut error = abi::Error { head: head::<abi::Error>(), text: NONE, first: 0, second: 0 };
        let status = call(&raw mut error);
        let text = self.take(error.text, TEXT);
        if status == abi::STATUS_OK {
            return Ok(());
        }
        // An error that cannot be read is still one, and its status says more than that.
        let text = text.map_or_else(|broken| broken, |bytes| shown(&bytes));
        Err(Failure { text, first: error.first, second: error.second, status })
    }

    /// Copies bytes that the plugin made, and gives them back.
    fn take(&self, bytes: abi::Bytes, limit: usize) -> Result<Vec<u8>, String> {
        if bytes.data.is_null() {
            return if bytes.len == 0 {
                Ok(Vec::new())
            } else {
                Err(format!("it says {} bytes and gives none", bytes.len))
            };
        }
        let copied = if bytes.len > limit {
            Err(format!("it gives {} bytes, more than {limit}", bytes.len))
        } else {
            // SAFETY: the plugin says that so many bytes stand there, and keeps them until they
            // are given back.
            Ok(unsafe { std::slice::from_raw_parts(bytes.data, bytes.len) }.to_vec())
        };
        if let Some(free) = self.table.free {
            // SAFETY: the plugin's own bytes, given back once.
            unsafe { free(bytes) };
        }
        copied
    }

    /// The same for JSON.
    fn take_json<T: serde::de::DeserializeOwned>(&self, bytes: abi::Bytes) -> Result<T, String> {
        let bytes = self.take(bytes, JSON)?;
        serde_json::from_slice(&bytes).map_err(|error| error.to_string())
    }

    /// What the plugin did that the border forbids.
    fn broken(&self, verb: &str, what: &str) -> BackendError {
        BackendError::Engine(format!("the plugin `{}` is faulty: in `{verb}` {what}", self.name))
    }
}

/// The longest error text and the longest JSON that are read.
const TEXT: usize = 1 << 16;
const JSON: usize = 1 << 26;

/// Text of a plugin as it may be shown: no zeros, no control characters, always UTF-8.
fn shown(bytes: &[u8]) -> String {
    let visible = |c: char| match c {
        '\n' | '\t' => c.to_string(),
        c if c.is_control() => c.escape_unicode().to_string(),
        c => c.to_string(),
    };
    String::from_utf8_lossy(bytes).chars().map(visible).collect()
}

/// An entry of the table that was checked when the plugin was loaded.
fn function<F>(entry: Option<F>, name: &str) -> Result<F, BackendError> {
    entry.ok_or_else(|| BackendError::Engine(format!("the plugin has no function `{name}`")))
}

fn json(value: &impl serde::Serialize) -> Result<String, BackendError> {
    serde_json::to_string(value).map_err(|error| BackendError::Engine(error.to_string()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_is_shown_without_what_a_terminal_would_obey() {
        assert_eq!(super::shown(b"a\0b\x1b[1m\xff\n"), "a\\u{0}b\\u{1b}[1m\u{fffd}\n");
    }
}
