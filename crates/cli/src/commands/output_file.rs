//! `--output FILE`: text to a file instead of stdout.

use std::path::Path;

use crate::{failure::Failure, ui::Ui};

/// Writes `text` to `path`, which must not exist unless `overwrite`; `-` and none are stdout.
pub(super) fn write(
    ui: &Ui,
    path: Option<&Path>,
    text: &str,
    overwrite: bool,
) -> Result<(), Failure> {
    let Some(path) = path.filter(|path| path.as_os_str() != "-") else { return ui.print(text) };
    if path.exists() && !overwrite {
        return Err(Failure::usage_with(
            format!("`{}` is there already", path.display()),
            "name another file with `--output`, or add `--overwrite`",
        ));
    }
    std::fs::write(path, text)
        .map_err(|source| Failure::Write { path: path.to_owned(), source })?;
    ui.note(format!("wrote {}", path.display()));
    Ok(())
}
