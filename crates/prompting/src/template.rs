//! The template language: `str.format`-like fields over a row's columns.

use std::borrow::Cow;
use std::ops::Range;

use crate::format::{self, FormatSpec};
use crate::nearest::nearest;

/// The names that stand for something else than a column.
pub const SPECIALS: [&str; 3] = ["__sample__", "__task__", "__context__"];

/// A parsed template: text and fields, each field with its place.
///
/// ```
/// use fidelio_prompting::Template;
/// let template = Template::parse("Rate {{1 to 5}}: {review} ({year:.0f})").unwrap();
/// let names: Vec<_> = template.fields().map(|f| f.name.as_str()).collect();
/// assert_eq!(names, ["review", "year"]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    Text(String),
    Field(Field),
}

/// A reference in a template.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// A column, or one of [`SPECIALS`].
    pub name: String,
    /// How a number is written, if the template says so.
    pub spec: Option<FormatSpec>,
    /// Where the reference stands in the template, braces included.
    pub range: Range<usize>,
}

/// What is wrong with a template, and where.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{kind}")]
pub struct TemplateError {
    /// The bytes of the template that are meant; empty at its end where something is missing.
    pub range: Range<usize>,
    /// What is wrong.
    pub kind: TemplateProblem,
    /// Whether it is wrong in the format of examples, and not in the template of prompts.
    pub in_format: bool,
}

/// The ways in which a template can be wrong.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateProblem {
    /// `{` without `}`.
    #[error("this `{{` is never closed")]
    Unclosed,
    /// `}` without `{`.
    #[error("this `}}` closes nothing")]
    Unopened,
    /// `{}`.
    #[error("this field has no name")]
    Nameless,
    /// `{a{b}}`.
    #[error("a field cannot hold a brace")]
    Nested,
    /// `{a!r}`.
    #[error("the conversion `!{0}` is not supported")]
    Conversion(String),
    /// A format other than of the kind `.2f`.
    #[error("the format `:{0}` is not supported")]
    Format(String),
    /// A name that is no column.
    #[error("`{name}` is not a column")]
    UnknownColumn {
        /// The name.
        name: String,
        /// The columns there are.
        columns: Vec<String>,
    },
    /// `__something__` that does not exist.
    #[error("`{0}` is not one of `__sample__`, `__task__`, `__context__`")]
    UnknownSpecial(String),
    /// The answer in the question.
    #[error("`{0}` is the output column: its value is appended as the answer")]
    OutputColumn(String),
    /// No reference at all.
    #[error("the template refers to nothing of the row")]
    NoReference,
    /// `task` given, not shown.
    #[error("a task is set, but the template does not show `{{__task__}}`")]
    TaskNotShown,
    /// `__task__` shown, not given.
    #[error("the template shows `{{__task__}}`, but no task is set")]
    TaskMissing,
    /// Examples in the text, and no place for them.
    #[error("retrieval is set, but the template does not show `{{__context__}}`")]
    ContextNotShown,
    /// `__context__` shown, no retrieval.
    #[error("the template shows `{{__context__}}`, but no retrieval is set")]
    ContextMissing,
    /// `__context__` shown, and the examples stand elsewhere.
    #[error("the template shows `{{__context__}}`, but the examples are turns of the chat")]
    ContextBesideTurns,
    /// `__context__` in the format of an example.
    #[error("`{{__context__}}` is made of examples and cannot be part of one")]
    ContextInFormat,
    /// A format that shows an example without its answer.
    #[error("an example would be shown without its answer")]
    AnswerNotShown,
    /// A format that shows nothing of an example but its answer.
    #[error("an example would show nothing but its answer")]
    NothingOfExample,
    /// A format that shows a passage without its text.
    #[error("a passage would be shown without its text")]
    PassageNotShown,
    /// A reference that no passage has.
    #[error("`{0}` is nothing that a passage has")]
    NotOfPassage(String),
    /// Examples in the text without template and task.
    #[error("retrieval without a template needs a task")]
    TaskNeeded,
    /// `__sample__` or no template, and the input is no column.
    #[error("the input `{name}` is not a column of the data")]
    InputMissing {
        /// The input's name.
        name: String,
        /// The columns there are.
        columns: Vec<String>,
    },
}

impl TemplateError {
    pub(crate) fn new(range: Range<usize>, kind: TemplateProblem) -> Self {
        Self { range, kind, in_format: false }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        use TemplateProblem::*;
        Some(match &self.kind {
            Unclosed => Cow::Borrowed("write `{{` for a brace that is meant as text"),
            Unopened => Cow::Borrowed("write `}}` for a brace that is meant as text"),
            Nameless => Cow::Borrowed("put a column's name between the braces"),
            Nested => Cow::Borrowed("double the braces that are meant as text"),
            Conversion(_) => Cow::Borrowed("leave it out: values are written as text"),
            Format(_) => {
                Cow::Borrowed("only formats of fixed decimals are supported, such as `:.2f`")
            }
            UnknownColumn { name, columns } | InputMissing { name, columns } => {
                let specials = SPECIALS.iter().copied();
                match nearest(name, columns.iter().map(String::as_str).chain(specials)) {
                    Some(near) => Cow::Owned(format!("did you mean `{near}`?")),
                    None => Cow::Owned(format!("the columns are {}", listed(columns))),
                }
            }
            UnknownSpecial(name) => {
                let near = nearest(name, SPECIALS)?;
                Cow::Owned(format!("did you mean `{near}`?"))
            }
            OutputColumn(_) => Cow::Borrowed("remove it from the template"),
            NoReference | NothingOfExample => {
                Cow::Borrowed("refer to a column in braces, or to `{__sample__}`")
            }
            TaskNotShown => Cow::Borrowed("add `{__task__}` to the template, or remove the task"),
            TaskMissing | TaskNeeded => Cow::Borrowed("set `prompt.task`"),
            ContextNotShown => Cow::Borrowed("add `{__context__}` to the template"),
            ContextMissing => Cow::Borrowed("set `prompt.retrieval`, or remove it"),
            ContextBesideTurns | ContextInFormat => Cow::Borrowed("remove the reference"),
            AnswerNotShown => Cow::Borrowed("add `{__answer__}` to the format"),
            PassageNotShown => Cow::Borrowed("add `{__passage__}` to the format"),
            NotOfPassage(_) => Cow::Borrowed("a passage has `{__passage__}` and `{__source__}`"),
        })
    }
}

fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(12).map(|n| format!("`{n}`")).collect();
    let more = if names.len() > 12 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// All problems of its syntax, with their places.
    pub fn parse(source: &str) -> Result<Self, Vec<TemplateError>> {
        let mut parser =
            Parser { source, at: 0, text: String::new(), parts: vec![], found: vec![] };
        parser.run();
        if parser.found.is_empty() {
            Ok(Self { source: source.to_owned(), parts: parser.parts })
        } else {
            Err(parser.found)
        }
    }

    /// Text as a template that renders to that text: with its braces doubled.
    pub fn escape(text: &str) -> String {
        text.replace('{', "{{").replace('}', "}}")
    }

    /// The template as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The references, in order.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(field) => Some(field),
            Part::Text(_) => None,
        })
    }

    /// The text without the references.
    pub fn literal(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Field(_) => None,
        });
        texts.collect()
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }
}

struct Parser<'a> {
    source: &'a str,
    at: usize,
    text: String,
    parts: Vec<Part>,
    found: Vec<TemplateError>,
}

impl Parser<'_> {
    fn run(&mut self) {
        while let Some(step) = self.source[self.at..].find(['{', '}']) {
            self.text.push_str(&self.source[self.at..self.at + step]);
            self.at += step;
            let here = &self.source[self.at..];
            if here.starts_with("{{") || here.starts_with("}}") {
                self.text.push_str(&here[..1]);
                self.at += 2;
            } else if here.starts_with('}') {
                self.problem(self.at..self.at + 1, TemplateProblem::Unopened);
                self.at += 1;
            } else {
                self.field();
            }
        }
        self.text.push_str(&self.source[self.at..]);
        self.end_text();
    }

    fn field(&mut self) {
        let start = self.at;
        let inside = &self.source[start + 1..];
        let Some(length) = inside.find(['{', '}']) else {
            self.problem(start..start + 1, TemplateProblem::Unclosed);
            self.at = self.source.len();
            return;
        };
        if inside[length..].starts_with('{') {
            // Resume after what closes the outer field, so that one slip is one report.
            self.problem(start..start + 1 + length + 1, TemplateProblem::Nested);
            let rest = &inside[length..];
            let end = rest.find('}').map_or(rest.len(), |e| e + rest[e..].len().min(1));
            let end = if rest[end..].starts_with('}') { end + 1 } else { end };
            self.at = start + 1 + length + end;
            return;
        }
        self.at = start + 1 + length + 1;
        match read_field(&inside[..length], start..self.at) {
            Ok(field) => {
                self.end_text();
                self.parts.push(Part::Field(field));
            }
            Err(problem) => self.found.push(problem),
        }
    }

    fn end_text(&mut self) {
        if !self.text.is_empty() {
            self.parts.push(Part::Text(std::mem::take(&mut self.text)));
        }
    }

    fn problem(&mut self, range: Range<usize>, kind: TemplateProblem) {
        self.found.push(TemplateError::new(range, kind));
    }
}

fn read_field(inside: &str, range: Range<usize>) -> Result<Field, TemplateError> {
    let (head, spec) = match inside.split_once(':') {
        Some((head, spec)) => (head, Some(spec)),
        None => (inside, None),
    };
    if let Some((_, conversion)) = head.split_once('!') {
        let kind = TemplateProblem::Conversion(conversion.to_owned());
        return Err(TemplateError::new(range, kind));
    }
    if head.is_empty() {
        return Err(TemplateError::new(range, TemplateProblem::Nameless));
    }
    let spec = match spec {
        None | Some("") => None,
        Some(spec) => {
            let at = range.start + 1 + head.len();
            let kind = || TemplateProblem::Format(spec.to_owned());
            let unknown = || TemplateError::new(at..at + 1 + spec.len(), kind());
            Some(format::parse(spec).ok_or_else(unknown)?)
        }
    };
    Ok(Field { name: head.to_owned(), spec, range })
}
