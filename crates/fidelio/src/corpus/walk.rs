//! Which files a corpus is made of.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

use fidelio_data::Format as TableFormat;
use fidelio_documents::Format;
use glob::{MatchOptions, Pattern};
use serde::{Deserialize, Serialize};

use crate::Error;

/// Files and folders, as they were given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sources {
    /// Where paths begin that are not absolute.
    base: PathBuf,
    paths: Vec<PathBuf>,
    pub(super) globs: Vec<String>,
}

/// A file to index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceFile {
    /// What it is called: its path as it was given.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
}

/// What a file is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Document(Format),
    Table,
}

impl Walked {
    /// What its files are called.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.files.iter().map(|file| file.name.as_str()).collect()
    }

    /// Whether there is a table among them.
    pub(super) fn has_tables(&self) -> bool {
        self.files.iter().any(|file| file.kind == Kind::Table)
    }
}

/// The files of some sources.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// By name.
    pub(super) files: Vec<SourceFile>,
    /// Files in folders that are no documents.
    pub(super) passed_over: usize,
}

impl Sources {
    /// Of paths that begin at the current folder.
    pub(super) fn of(paths: &[PathBuf], globs: &[String]) -> Result<Self, Error> {
        let here = Path::new(".");
        let base = fs::canonicalize(here).map_err(|source| failed(here, source))?;
        // `./docs` and `docs` are one name.
        let plain = |path: &PathBuf| -> PathBuf {
            path.components().filter(|part| *part != Component::CurDir).collect()
        };
        // What lies in the current folder is named from there, however it was given.
        let named = |path: PathBuf| match path.strip_prefix(&base) {
            Ok(below) => below.to_owned(),
            Err(_) => path,
        };
        let paths = paths.iter().map(plain).map(named).collect();
        Ok(Self { base, paths, globs: globs.to_vec() })
    }

    /// Those that are still there.
    pub(super) fn there(&self) -> Self {
        let there = self.paths.iter().filter(|path| self.base.join(path).exists());
        Self { paths: there.cloned().collect(), ..self.clone() }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// All their files, but for those of the corpus itself.
    pub(super) fn walk(&self, corpus: &Path, tables: bool) -> Result<Walked, Error> {
        let mut walk = Walk {
            corpus: fs::canonicalize(corpus).ok(),
            globs: self.patterns()?,
            tables,
            seen: BTreeSet::new(),
            walked: Walked::default(),
        };
        for given in &self.paths {
            let path = self.base.join(given);
            let is_folder = fs::metadata(&path).map_err(|source| failed(&path, source))?.is_dir();
            if is_folder {
                walk.folder(&path, given, Path::new(""))?;
            } else {
                walk.file(path, given)?;
            }
        }
        let mut walked = walk.walked;
        walked.files.sort_by(|a, b| a.name.cmp(&b.name));
        walked.files.dedup_by(|a, b| a.name == b.name);
        if walked.files.is_empty() {
            return Err(Error::NothingToIndex { passed_over: walked.passed_over });
        }
        Ok(walked)
    }

    fn patterns(&self) -> Result<Vec<Pattern>, Error> {
        let pattern = |text: &String| {
            Pattern::new(text).map_err(|error| Error::Glob {
                pattern: text.clone(),
                reason: error.msg.to_owned(),
            })
        };
        self.globs.iter().map(pattern).collect()
    }
}

struct Walk {
    corpus: Option<PathBuf>,
    globs: Vec<Pattern>,
    tables: bool,
    /// Folders that were entered: links may lead back.
    seen: BTreeSet<PathBuf>,
    walked: Walked,
}

impl Walk {
    /// A file that was named.
    fn file(&mut self, path: PathBuf, given: &Path) -> Result<(), Error> {
        let kind = match Format::of(&path) {
            Some(format) => Kind::Document(format),
            None if TableFormat::of(&path).is_ok() && self.tables => Kind::Table,
            None if TableFormat::of(&path).is_ok() => {
                return Err(Error::NoTextColumn { path: given.to_owned() });
            }
            None => Kind::Document(Format::Plain),
        };
        self.walked.files.push(SourceFile { name: name(given), path, kind });
        Ok(())
    }

    /// A folder's documents; `below` is its path within the one that was named.
    fn folder(&mut self, path: &Path, given: &Path, below: &Path) -> Result<(), Error> {
        let whole = fs::canonicalize(path).map_err(|source| failed(path, source))?;
        if Some(&whole) == self.corpus.as_ref() || !self.seen.insert(whole) {
            return Ok(());
        }
        let entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries = entries.map_err(|source| failed(path, source))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, file) = (entry.path(), entry.file_name());
            if file.to_string_lossy().starts_with('.') {
                continue;
            }
            let (given, below) = (given.join(&file), below.join(&file));
            let kind = fs::metadata(&path).map_err(|source| failed(&path, source))?;
            if kind.is_dir() {
                self.folder(&path, &given, &below)?;
            } else {
                match self.kind(&path, &below) {
                    Some(kind) => {
                        self.walked.files.push(SourceFile { name: name(&given), path, kind });
                    }
                    None => self.walked.passed_over += 1,
                }
            }
        }
        Ok(())
    }

    /// What a folder's file is read as; none if it is none of its documents.
    fn kind(&self, path: &Path, below: &Path) -> Option<Kind> {
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
        let file = below.file_name().map_or(below, Path::new);
        let wanted = |glob: &Pattern| {
            glob.matches_path_with(below, options) || glob.matches_path_with(file, options)
        };
        if !self.globs.is_empty() && !self.globs.iter().any(wanted) {
            return None;
        }
        match Format::of(path) {
            Some(format) => Some(Kind::Document(format)),
            None if TableFormat::of(path).is_ok() => self.tables.then_some(Kind::Table),
            None => (!self.globs.is_empty()).then_some(Kind::Document(Format::Plain)),
        }
    }
}

fn name(path: &Path) -> String {
    path.components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
        .replacen("//", "/", 1)
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::Read { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path, globs: &[&str], tables: bool) -> (Vec<String>, usize) {
        let globs: Vec<String> = globs.iter().map(ToString::to_string).collect();
        let sources = Sources::of(&[folder.to_owned()], &globs).unwrap();
        let walked = sources.walk(&folder.join("corpus"), tables).unwrap();
        let below =
            |file: &SourceFile| file.path.strip_prefix(folder).unwrap().display().to_string();
        (walked.files.iter().map(below).collect(), walked.passed_over)
    }

    #[test]
    fn folders_give_their_documents() {
        let folder = tempfile::tempdir().unwrap();
        let at = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir_all(at.join("sub/.git")).unwrap();
        fs::create_dir_all(at.join("corpus")).unwrap();
        for file in [
            "b.md",
            "a.txt",
            "sub/c.html",
            "sub/d.png",
            "t.csv",
            "sub/.git/x.md",
            "log",
            "corpus/own.txt",
        ] {
            fs::write(at.join(file), "text").unwrap();
        }
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&at, &[], false), (owned(&["a.txt", "b.md", "sub/c.html"]), 3));
        assert_eq!(names(&at, &[], true).0, owned(&["a.txt", "b.md", "sub/c.html", "t.csv"]));
        assert_eq!(names(&at, &["*.md", "log"], false), (owned(&["b.md", "log"]), 4));
        assert_eq!(names(&at, &["sub/*"], false).0, owned(&["sub/c.html", "sub/d.png"]));
        std::os::unix::fs::symlink(&at, at.join("sub/loop")).unwrap();
        assert_eq!(names(&at, &["*.md"], false).0, owned(&["b.md"]));
    }

    #[test]
    fn names_are_paths_as_they_were_given() {
        let named = |path: &str| {
            let sources = Sources::of(&[path.into()], &[]).unwrap();
            name(&sources.paths[0])
        };
        assert_eq!(named("./docs//guide"), "docs/guide");
        assert_eq!(named("/nowhere/x.md"), "/nowhere/x.md");
        let here = fs::canonicalize(".").unwrap();
        assert_eq!(named(here.join("x.md").to_str().unwrap()), "x.md");
    }

    #[test]
    fn what_gives_nothing_is_an_error_that_says_so() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("t.csv"), "a\nb\n").unwrap();
        let walk = |path: &Path, tables| {
            Sources::of(&[path.to_owned()], &[]).unwrap().walk(Path::new("nowhere"), tables)
        };
        let nothing = walk(folder.path(), false).unwrap_err();
        assert!(matches!(nothing, Error::NothingToIndex { passed_over: 1 }), "{nothing}");
        let table = walk(&folder.path().join("t.csv"), false).unwrap_err();
        assert!(matches!(table, Error::NoTextColumn { .. }) && table.hint().is_some(), "{table}");
        fs::write(folder.path().join("a.md"), "x").unwrap();
        assert!(!walk(&folder.path().join("a.md"), true).unwrap().has_tables());
    }
}
