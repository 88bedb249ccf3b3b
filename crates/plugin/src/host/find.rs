//! Which files are plugins, and what each is called.

use std::{
    env::consts::{DLL_EXTENSION, DLL_PREFIX},
    path::{Path, PathBuf},
};

use crate::error::PluginError;

/// The name of the plugin in a file, as `device: plugin:NAME` has it: `libfidelio_plugin_my_gpu.so`
/// is `my-gpu`, and so are `libmy_gpu.so` and `my-gpu.so`. None where the file is no library.
pub fn plugin_name(path: &Path) -> Option<String> {
    if path.extension()? != DLL_EXTENSION {
        return None;
    }
    let stem = path.file_stem()?.to_str()?;
    let stem = stem.strip_prefix(DLL_PREFIX).unwrap_or(stem).replace('_', "-");
    let name = stem.strip_prefix("fidelio-plugin-").unwrap_or(&stem);
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    (!name.is_empty() && name.chars().all(fits)).then(|| name.to_owned())
}

/// The files in a folder that may be plugins, by name. A folder that does not exist has none.
///
/// # Errors
/// When the folder cannot be read.
pub fn plugins_in(folder: &Path) -> Result<Vec<PathBuf>, PluginError> {
    let failed = |source| PluginError::Folder { path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if plugin_name(&path).is_some() && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_files() {
        let name = |stem: &str| plugin_name(Path::new(&format!("{stem}.{DLL_EXTENSION}")));
        for stem in ["my-gpu", "my_gpu", "fidelio_plugin_my_gpu"] {
            assert_eq!(name(&format!("{DLL_PREFIX}{stem}")).as_deref(), Some("my-gpu"), "{stem}");
        }
        assert_eq!(name("a b"), None);
        assert_eq!(plugin_name(Path::new("README.md")), None);
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_plugins() {
        assert!(plugins_in(Path::new("nowhere/at/all")).unwrap().is_empty());
    }
}
