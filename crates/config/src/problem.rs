//! What is wrong with a run file: one problem, and all of them at once.

use std::fmt;

use serde::Serialize;

use crate::source::{Source, Span};

/// The kinds of problem; each has a code that stays the same over versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// C001: a key that nobody knows at this place.
    UnknownKey,
    /// C002: a value of another type than the key takes.
    WrongType,
    /// C003: a value of the right type that is out of range or not among the allowed ones.
    NotAllowed,
    /// C004: two settings that cannot both be meant.
    Contradiction,
    /// C005: a key that cannot have an effect beside the others.
    Useless,
    /// C006: a key or value of Ludwig's whose feature Fidelio does not have yet.
    NotBuilt,
    /// C007: a required key that is not there.
    Missing,
    /// C008: text that is not YAML.
    Syntax,
    /// C009: a file that cannot be read.
    Unreadable,
}

impl Kind {
    /// Every kind, in the order of the codes.
    pub const ALL: [Self; 9] = [
        Self::UnknownKey,
        Self::WrongType,
        Self::NotAllowed,
        Self::Contradiction,
        Self::Useless,
        Self::NotBuilt,
        Self::Missing,
        Self::Syntax,
        Self::Unreadable,
    ];

    /// The code, `C001` to `C009`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::UnknownKey => "C001",
            Self::WrongType => "C002",
            Self::NotAllowed => "C003",
            Self::Contradiction => "C004",
            Self::Useless => "C005",
            Self::NotBuilt => "C006",
            Self::Missing => "C007",
            Self::Syntax => "C008",
            Self::Unreadable => "C009",
        }
    }

    /// What the kind means, in a few words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::UnknownKey => "unknown key",
            Self::WrongType => "wrong type",
            Self::NotAllowed => "value not allowed",
            Self::Contradiction => "contradiction",
            Self::Useless => "useless key",
            Self::NotBuilt => "not built yet",
            Self::Missing => "missing key",
            Self::Syntax => "not YAML",
            Self::Unreadable => "unreadable file",
        }
    }
}

/// A place in a source with a few words beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// Name of the file, or `--set`.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// The bytes, and which source they are of.
    pub span: Span,
    /// What is to be seen there; may be empty.
    pub text: String,
}

/// One thing that is wrong, where, why, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The kind's code, `C001` to `C009`.
    pub code: &'static str,
    /// The kind.
    pub kind: Kind,
    /// One sentence without a period, user text in backticks.
    pub message: String,
    /// The key it is about, dotted, as `--set` takes it; empty for the whole file.
    pub path: String,
    /// The place; none only where no text exists (a file that cannot be read).
    pub at: Option<Label>,
    /// Other places that have a part in it.
    pub related: Vec<Label>,
    /// Why this is an error at all, where the message does not say it.
    pub reason: Option<String>,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem without a place; see [`Document::problem`](crate::Document::problem) for one with.
    pub fn new(kind: Kind, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: kind.code(),
            kind,
            message: message.into(),
            path: path.into(),
            at: None,
            related: Vec::new(),
            reason: None,
            hint: None,
        }
    }

    /// Puts it at a place.
    #[must_use]
    pub fn at(mut self, sources: &[Source], span: Span, text: impl Into<String>) -> Self {
        self.at = label(sources, span, text);
        self
    }

    /// Adds another place that has a part in it.
    #[must_use]
    pub fn related(mut self, sources: &[Source], span: Span, text: impl Into<String>) -> Self {
        self.related.extend(label(sources, span, text));
        self
    }

    /// Says why.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Says what to write instead.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn order(&self) -> (u32, u32, Kind, &str) {
        let span = self.at.as_ref().map(|label| label.span);
        (span.map_or(0, |s| s.source), span.map_or(0, |s| s.start), self.kind, &self.message)
    }
}

fn label(sources: &[Source], span: Span, text: impl Into<String>) -> Option<Label> {
    let source = sources.get(span.source as usize)?;
    let (line, column) = source.line_column(span.start as usize);
    Some(Label { file: source.name().to_owned(), line, column, span, text: text.into() })
}

/// Most problems that are kept: more than anyone reads, few enough that a hostile file stays small.
const KEPT: usize = 200;

/// Problems as they are found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    problems: Vec<Problem>,
    more: usize,
}

impl Found {
    /// Keeps a problem, or only counts it where there are many already. A repetition of the one
    /// before is neither.
    pub(crate) fn push(&mut self, problem: Problem) {
        if self.problems.len() >= KEPT {
            self.more += 1;
        } else if self.problems.last() != Some(&problem) {
            self.problems.push(problem);
        }
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.more += other.more;
        for problem in other.problems {
            self.push(problem);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Every problem of a run file, by position. `Display` prints them as a compiler would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct Problems {
    /// Where the run file is, or its name.
    pub file: String,
    /// The problems, by position.
    pub problems: Vec<Problem>,
    /// How many more there are than are listed; only a broken or hostile file has so many.
    pub more: usize,
    /// The texts that the problems point into: the run file, then the overrides.
    #[serde(skip)]
    pub sources: Vec<Source>,
}

impl Problems {
    /// Sorts `problems` by position and drops repetitions.
    pub fn new(sources: Vec<Source>, problems: Vec<Problem>) -> Self {
        Self::of(sources, Found { problems, more: 0 })
    }

    pub(crate) fn of(sources: Vec<Source>, Found { mut problems, more }: Found) -> Self {
        problems.sort_by(|a, b| a.order().cmp(&b.order()));
        problems.dedup();
        let file = sources.first().map_or_else(String::new, |source| source.name().to_owned());
        Self { file, problems, more, sources }
    }

    /// The problems, by position.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.problems.iter()
    }

    /// How many there are; never 0 where a function returned this as its error.
    pub fn len(&self) -> usize {
        self.problems.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write_problem(f, problem, &self.sources)?;
        }
        let count = self.problems.len() + self.more;
        write!(f, "\n{count} problem{} in {}", if count == 1 { "" } else { "s" }, self.file)?;
        if self.more > 0 {
            write!(f, ", of which {} are shown", self.problems.len())?;
        }
        Ok(())
    }
}

/// Widest excerpt that is printed whole; longer lines are cut around the marked part.
const EXCERPT: usize = 100;

fn write_problem(f: &mut fmt::Formatter<'_>, it: &Problem, sources: &[Source]) -> fmt::Result {
    writeln!(f, "error[{}]: {}", it.code, it.message)?;
    let labels = it.at.iter().chain(&it.related);
    let width = labels.clone().map(|label| label.line.to_string().len()).max().unwrap_or(0);
    let gutter = " ".repeat(width);
    for (index, label) in labels.enumerate() {
        let corner = if index == 0 { "┌─" } else { "├─" };
        writeln!(f, "{gutter}{corner} {}:{}:{}", label.file, label.line, label.column)?;
        if let Some(source) = sources.get(label.span.source as usize) {
            write_excerpt(f, label, source, width)?;
        }
    }
    if let Some(reason) = &it.reason {
        writeln!(f, "{gutter}= why: {reason}")?;
    }
    if let Some(hint) = &it.hint {
        writeln!(f, "{gutter}= hint: {hint}")?;
    }
    Ok(())
}

fn write_excerpt(
    f: &mut fmt::Formatter<'_>,
    label: &Label,
    source: &Source,
    width: usize,
) -> fmt::Result {
    let line = source.line(label.line);
    let before = label.column - 1;
    let in_line = line.chars().count().saturating_sub(before);
    let spanned = source.slice(label.span.range());
    let marked = spanned.split('\n').next().unwrap_or("").trim_end_matches('\r');
    let marked = marked.chars().count().clamp(1, in_line.max(1));
    let skip = if before + marked > EXCERPT { before.saturating_sub(EXCERPT / 4) } else { 0 };
    let shown: String = line
        .chars()
        .skip(skip)
        .take(EXCERPT)
        // Characters that move the cursor would put the caret elsewhere, or reach the terminal.
        .map(|c| if c.is_control() { '→' } else { c })
        .collect();
    let cut = |skipped: bool| if skipped { "…" } else { "" };
    let tail = cut(line.chars().count() > skip + EXCERPT);
    writeln!(f, "{:>width$}│ {}{shown}{tail}", label.line, cut(skip > 0))?;
    let indent = " ".repeat(before - skip + usize::from(skip > 0));
    let carets = "^".repeat(marked.min(EXCERPT));
    let text = if label.text.is_empty() { String::new() } else { format!(" {}", label.text) };
    writeln!(f, "{:width$}│ {indent}{carets}{text}", "")
}
