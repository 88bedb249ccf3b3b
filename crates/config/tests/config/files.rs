//! The committed run files.

use fidelio_config::Override;

/// Name and text of every file in a folder below `tests/`, by name.
pub(crate) fn all(folder: &str) -> Vec<(String, String)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// The overrides that a file asks for in its first comments.
pub(crate) fn overrides(text: &str) -> Vec<Override> {
    text.lines().filter_map(|line| line.strip_prefix("# set: ")).map(Override::new).collect()
}
