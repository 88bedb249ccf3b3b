//! Where `cargo xtask fetch` puts what is too large to commit.

use std::path::PathBuf;

/// The default model, or nothing with a line that says so.
pub(crate) fn default_model() -> Option<PathBuf> {
    present("models/SmolLM2-135M-Instruct.Q4_1.gguf")
}

/// A file of the user's cache, or nothing with a line that says so.
pub(crate) fn present(file: &str) -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = set("FIDELIO_CACHE_DIR")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("fidelio")))
        .or_else(|| Some(set("HOME")?.join(".cache/fidelio")))?;
    let path = cache.join(file);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is absent, `cargo xtask fetch` brings it", path.display());
    None
}
