//! `cargo xtask tidy`: rules that no compiler knows.
//!
//! A rule reads the tree and says what it found; it never stops at the first.

mod layers;
mod licences;
mod markdown;
mod metadata;
mod names;
mod sources;
mod tree;
mod words;

use anyhow::{Result, bail};
use metadata::Metadata;
use tree::Tree;

/// What the rules found.
#[derive(Debug, Default)]
struct Findings {
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl Findings {
    /// Something that must be put right.
    fn error(&mut self, at: impl std::fmt::Display, message: impl std::fmt::Display) {
        self.errors.push(format!("{at}: {message}"));
    }

    /// Something to look at.
    fn warn(&mut self, at: impl std::fmt::Display, message: impl std::fmt::Display) {
        self.warnings.push(format!("{at}: {message}"));
    }
}

/// Runs the command.
pub(crate) fn run() -> Result<()> {
    let tree = Tree::read()?;
    let metadata = Metadata::read()?;
    let mut found = Findings::default();

    layers::check(&tree, &metadata, &mut found);
    licences::check(&tree, &metadata, &mut found);
    sources::check(&tree, &metadata, &mut found);
    names::check(&tree, &mut found);
    markdown::check(&tree, &mut found);
    words::check(&tree, &mut found);

    for warning in &found.warnings {
        eprintln!("tidy: warning: {warning}");
    }
    for error in &found.errors {
        eprintln!("tidy: {error}");
    }
    match found.errors.len() {
        0 => Ok(()),
        1 => bail!("tidy found 1 problem"),
        count => bail!("tidy found {count} problems"),
    }
}
