//! What a crate offers others, as a committed list: a break is seen in review.
//!
//! The list is made of formatted sources, by their lines and indents; the compiler's lint
//! `unreachable_pub` sees to it that what says `pub` is public.

use crate::places;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The public items of the crate in `crates/<folder>`, one a line, by file.
pub(crate) fn list(folder: &str) -> Result<String> {
    let sources = places::root().join("crates").join(folder).join("src");
    let mut files = Vec::new();
    walk(&sources, &mut files)?;
    files.sort();
    let mut list = vec![format!(
        "Public items of fidelio-{folder}, by file. Written by `cargo xtask docs`; a line that goes \
         or changes breaks others."
    )];
    for file in files {
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read `{}`", file.display()))?;
        let found = items(&text);
        if !found.is_empty() {
            let name = file.strip_prefix(&sources).unwrap_or(&file).display();
            list.push(format!("\n{name}"));
            list.extend(found.iter().map(|item| format!("  {item}")));
        }
    }
    Ok(list.join("\n") + "\n")
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let unreadable = || format!("cannot list `{}`", folder.display());
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The public items of one file, each on one line behind what it belongs to.
fn items(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    // The item at the left margin, and whether all that stands in it is as public as it.
    let (mut owner, mut is_open) = (String::new(), false);
    let mut lines = text.lines();
    let mut is_exported = false;
    while let Some(line) = lines.next() {
        if line.starts_with("#[cfg(test)]") {
            // Unit tests stand last.
            break;
        }
        let indent = line.len() - line.trim_start().len();
        let code = line.trim();
        if code.is_empty() || code.starts_with("//") || indent > 4 {
            continue;
        }
        if code.starts_with('#') || code == "}" || code == ")" || code == "}}" {
            is_exported |= code == "#[macro_export]";
            // An attribute may take several lines.
            if code.starts_with('#') && !code.ends_with(']') {
                lines.by_ref().find(|line| line.trim().ends_with(']'));
            }
            continue;
        }
        let mut whole = code.to_owned();
        // A signature goes on until its body or its end.
        while !ends(&whole) {
            let Some(next) = lines.next() else { break };
            whole = format!("{whole} {}", next.trim());
        }
        let whole = tidied(&whole);
        if indent == 0 {
            is_open = ["pub enum ", "pub trait "].iter().any(|kind| whole.starts_with(kind));
            let is_macro = whole.starts_with("macro_rules!") && is_exported;
            is_exported = false;
            if whole.starts_with("pub ") || is_macro {
                found.push(whole.clone());
            }
            owner = whole;
        } else if whole.starts_with("pub ") || is_open {
            found.push(format!("{owner}: {whole}"));
        }
    }
    found
}

/// Whether a declaration is complete: its brackets are closed, but for a body's.
fn ends(whole: &str) -> bool {
    let depth = |open: char, close: char| {
        whole.matches(open).count() as i64 - whole.matches(close).count() as i64
    };
    if depth('(', ')') > 0 || depth('[', ']') > 0 {
        return false;
    }
    // A list of re-exports is an item, a body is not.
    if whole.starts_with("pub use") {
        return whole.ends_with(';');
    }
    whole.ends_with([';', '{', ',', '}']) && !whole.ends_with("where {")
}

/// Without the body, and with single blanks.
fn tidied(whole: &str) -> String {
    let single = whole.split_whitespace().collect::<Vec<_>>().join(" ");
    let single = if single.starts_with("pub use") {
        single.replace("{ ", "{").replace(", }", "}").replace(" }", "}")
    } else {
        match single.find(" {") {
            Some(body) => single[..body].to_owned(),
            None => single,
        }
    };
    single.trim_end_matches([';', ',']).replace("( ", "(").replace(", )", ")")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_what_the_sources_say() {
        for folder in ["backend", "plugin"] {
            let path = places::root().join(format!("docs/reference/public-items-{folder}.txt"));
            let committed = std::fs::read_to_string(path).unwrap();
            let stale =
                "the list is stale: see what changed, then `cargo xtask docs` writes it anew";
            assert!(committed == list(folder).unwrap(), "{folder}: {stale}");
        }
    }

    #[test]
    fn items_are_found_with_what_they_belong_to() {
        let text = "\
//! Doc.
pub use a::{
    B, C,
};
pub(crate) fn hidden() {}
/// A thing.
pub struct Thing {
    /// A field.
    pub field: u32,
    private: u32,
}
impl Thing {
    pub fn new(
        a: u32,
        b: u32,
    ) -> Self {
        pub_like();
    }
    fn not(&self) {}
}
#[note(
    because = \"pub it is\"
)]
pub trait Verb: Send {
    fn one(&self);
    fn two(&self) -> u32 {
        2
    }
}
pub enum Kind {
    A,
    B { x: u32 },
}
#[cfg(test)]
mod tests {
    pub fn nothing() {}
}
";
        let expected = [
            "pub use a::{B, C}",
            "pub struct Thing",
            "pub struct Thing: pub field: u32",
            "impl Thing: pub fn new(a: u32, b: u32) -> Self",
            "pub trait Verb: Send",
            "pub trait Verb: Send: fn one(&self)",
            "pub trait Verb: Send: fn two(&self) -> u32",
            "pub enum Kind",
            "pub enum Kind: A",
            "pub enum Kind: B",
        ];
        assert_eq!(items(text), expected);
    }
}
