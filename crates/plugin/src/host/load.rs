//! From a file to a plugin that was checked.

use std::{
    mem::{MaybeUninit, offset_of},
    path::Path,
    ptr,
    sync::{Arc, mpsc},
    time::Duration,
};

use libloading::Library;

use super::{Plugin, PluginBackend, function, plugin_name};
use crate::{
    abi::{self, Head, PluginTable, VERSION},
    description::Description,
    error::PluginError,
    failure::VERBS,
    reading::{NONE, head},
};

const SYMBOL: &str = "fidelio_plugin_v1";

/// Bytes of the first table there was; what came later may be missing.
const FIRST_TABLE: usize = offset_of!(PluginTable, restore) + size_of::<usize>();

/// Loads a file on a thread of its own, so that one that hangs keeps nobody waiting. Such a thread
/// stays behind; nothing can end it.
pub(super) fn load(path: &Path, limit: Duration) -> Result<PluginBackend, PluginError> {
    let missing = || PluginError::Missing { path: path.to_owned() };
    // A name without a folder would be searched for in the system's folders.
    let path = std::path::absolute(path).map_err(|_| missing())?;
    if !path.is_file() {
        return Err(PluginError::Missing { path });
    }
    let (answer, answered) = mpsc::channel();
    let at = path.clone();
    let loading = move || {
        // Nobody listens any more where the limit has passed.
        drop(answer.send(load_now(&at)));
    };
    let thread = std::thread::Builder::new().name("plugin".to_owned()).spawn(loading);
    thread.map_err(|source| PluginError::Thread { path: path.clone(), source })?;
    answered.recv_timeout(limit).unwrap_or(Err(PluginError::Hangs { path, limit }))
}

fn load_now(path: &Path) -> Result<PluginBackend, PluginError> {
    let library =
        open(path).map_err(|source| PluginError::Load { path: path.to_owned(), source })?;
    // SAFETY: nothing is read through the pointer before `check` has looked at its head.
    let symbol = unsafe { library.get::<*const PluginTable>(SYMBOL.as_bytes()) };
    let missing = |_| PluginError::Symbol { path: path.to_owned(), symbol: SYMBOL };
    let table = *symbol.map_err(missing)?;
    // The library is never unloaded: whatever it left behind goes on working.
    std::mem::forget(library);
    let name = plugin_name(path).or_else(|| Some(path.file_stem()?.to_str()?.to_owned()));
    // SAFETY: a library with this symbol promises to be what `abi::PluginTable` says.
    unsafe { check(table, path, name.unwrap_or_else(|| "unnamed".to_owned())) }
}

#[cfg(unix)]
fn open(path: &Path) -> Result<Library, libloading::Error> {
    use libloading::os::unix::{Library as Unix, RTLD_LOCAL, RTLD_NOW};
    // SAFETY: loading runs the library's code, which is what the caller asks for by its path.
    unsafe { Unix::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map(Into::into)
}

#[cfg(not(unix))]
fn open(path: &Path) -> Result<Library, libloading::Error> {
    // SAFETY: loading runs the library's code, which is what the caller asks for by its path.
    unsafe { Library::new(path) }
}

/// Checks a table and asks the plugin what it is.
///
/// # Safety
/// `table` is null or points to what begins as a table and is as long as it says; its functions do
/// what [`PluginTable`] says of them.
pub(super) unsafe fn check(
    table: *const PluginTable,
    path: &Path,
    name: String,
) -> Result<PluginBackend, PluginError> {
    let at = || path.to_owned();
    if table.is_null() || !table.is_aligned() {
        return Err(PluginError::Symbol { path: at(), symbol: SYMBOL });
    }
    // SAFETY: not null and aligned; a head stands there by the caller's promise.
    let Head { size, version } = unsafe { *table.cast::<Head>() };
    if version != VERSION {
        return Err(PluginError::Version { path: at(), found: version });
    }
    let size = size as usize;
    if size < FIRST_TABLE {
        return Err(PluginError::ShortTable { path: at(), found: size, expected: FIRST_TABLE });
    }
    // SAFETY: so many bytes stand there by the caller's promise.
    let table = unsafe { copied(table, size) };
    let mut plugin = Plugin { name, path: at(), table, verbs: 0 };
    required(&plugin)?;
    let (description, verbs) =
        describe(&plugin).map_err(|what| PluginError::Description { path: at(), what })?;
    plugin.verbs = verbs;
    claimed(&plugin)?;
    let info = description.info(format!("plugin:{}", plugin.name), verbs);
    if info.devices.is_empty() {
        let what = "it has no device".to_owned();
        return Err(PluginError::Description { path: at(), what });
    }
    Ok(PluginBackend { plugin: Arc::new(plugin), info })
}

/// As much of a table as both sides know; the rest is null.
///
/// # Safety
/// `size` bytes are readable at `table`.
unsafe fn copied(table: *const PluginTable, size: usize) -> PluginTable {
    let mut ours = MaybeUninit::<PluginTable>::zeroed();
    let size = size.min(size_of::<PluginTable>());
    // SAFETY: readable by the caller's promise, writable since it is ours, and no longer than either.
    unsafe {
        ptr::copy_nonoverlapping(table.cast::<u8>(), ours.as_mut_ptr().cast(), size);
    }
    // SAFETY: zeros are a table without functions, and what was copied are a head and pointers.
    unsafe { ours.assume_init() }
}

/// What every plugin has.
fn required(plugin: &Plugin) -> Result<(), PluginError> {
    let t = &plugin.table;
    let has = [
        ("describe", t.describe.is_some()),
        ("open", t.open.is_some()),
        ("close", t.close.is_some()),
        ("free", t.free.is_some()),
        ("capacity", t.capacity.is_some()),
    ];
    all(plugin, &has)
}

/// What a plugin has by its verbs.
fn claimed(plugin: &Plugin) -> Result<(), PluginError> {
    let t = &plugin.table;
    let has = [
        (abi::VERB_EXTEND, "extend", t.extend.is_some()),
        (abi::VERB_FORK, "fork", t.fork.is_some()),
        (abi::VERB_TRUNCATE, "truncate", t.truncate.is_some()),
        (abi::VERB_SCORE, "score", t.score.is_some()),
        (abi::VERB_EMBED, "embed", t.embed.is_some()),
        (abi::VERB_ADAPT, "add_adapter", t.add_adapter.is_some()),
        (abi::VERB_ADAPT, "remove_adapter", t.remove_adapter.is_some()),
        (abi::VERB_LEARN, "learn", t.learn.is_some()),
        (abi::VERB_LEARN, "accumulate", t.accumulate.is_some()),
        (abi::VERB_LEARN, "update", t.update.is_some()),
        (abi::VERB_LEARN, "save", t.save.is_some()),
        (abi::VERB_LEARN, "restore", t.restore.is_some()),
        (abi::VERB_FOOTPRINT, "footprint", t.footprint.is_some()),
    ];
    let claimed = has.into_iter().filter(|(bit, ..)| plugin.verbs & bit != 0);
    all(plugin, &claimed.map(|(_, name, has)| (name, has)).collect::<Vec<_>>())
}

fn all(plugin: &Plugin, has: &[(&'static str, bool)]) -> Result<(), PluginError> {
    match has.iter().find(|(_, has)| !has) {
        Some((function, _)) => Err(PluginError::Function { path: plugin.path.clone(), function }),
        None => Ok(()),
    }
}

fn describe(plugin: &Plugin) -> Result<(Description, u64), String> {
    let mut out = abi::Description { head: head::<abi::Description>(), verbs: 0, json: NONE };
    let describe = function(plugin.table.describe, "describe").map_err(|it| it.to_string())?;
    // SAFETY: the place lives until the call returns.
    let call = |error: *mut abi::Error| unsafe { describe(&raw mut out, error) };
    plugin.call(call).map_err(|error| error.to_string())?;
    let description = plugin.take_json(out.json)?;
    if !VERBS.iter().any(|(_, bit)| out.verbs & bit != 0) {
        return Err("it claims no verb".to_owned());
    }
    Ok((description, out.verbs))
}
