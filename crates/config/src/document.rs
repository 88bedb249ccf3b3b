//! A run file that passed every check, with its text and where each key stands in it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::check::{self, Checked, Place};
use crate::overrides::{self, Override};
use crate::problem::{Found, Kind, Problem, Problems};
use crate::run::{ModelType, ProbeConfig, RunConfig};
use crate::source::{Source, Span};
use crate::yaml::{self, MAX_BYTES, Node, Shape};
use crate::{render, rules, settle};

/// A sound run file.
#[derive(Debug, Clone)]
pub struct Document<C = RunConfig> {
    /// What it says.
    pub config: C,
    settled: Value,
    sources: Vec<Source>,
    places: BTreeMap<String, Place>,
}

/// A sound run file of any kind of model.
#[derive(Debug, Clone)]
pub enum AnyDocument {
    /// Of `model_type: llm`.
    Llm(Box<Document>),
    /// Of `model_type: ecd`.
    Ecd(Box<Document<ProbeConfig>>),
}

/// Reads and checks the run file of a language model at `path`, overrides applied.
///
/// # Errors
/// Every problem of the file at once; that it is of another kind of model is one.
pub fn load(path: &Path, overrides: &[Override]) -> Result<Document, Problems> {
    let (name, text) = read_named(path)?;
    parse(&name, &text, overrides)
}

/// The same for a run file of any kind of model.
///
/// # Errors
/// Every problem of the file at once.
pub fn load_any(path: &Path, overrides: &[Override]) -> Result<AnyDocument, Problems> {
    let (name, text) = read_named(path)?;
    parse_any(&name, &text, overrides)
}

/// Checks the text of a run file of a language model; `name` is what problems call it.
///
/// # Errors
/// Every problem of the text at once; that it is of another kind of model is one.
pub fn parse(name: &str, text: &str, overrides: &[Override]) -> Result<Document, Problems> {
    let tree = Tree::read(name, text, overrides)?;
    match tree.model {
        ModelType::Llm => tree.settle(),
        ModelType::Ecd => Err(tree.refused_probe()),
    }
}

/// The same for a run file of any kind of model.
///
/// # Errors
/// Every problem of the text at once.
pub fn parse_any(name: &str, text: &str, overrides: &[Override]) -> Result<AnyDocument, Problems> {
    let tree = Tree::read(name, text, overrides)?;
    match tree.model {
        ModelType::Llm => tree.settle().map(|it| AnyDocument::Llm(Box::new(it))),
        ModelType::Ecd => tree.settle().map(|it| AnyDocument::Ecd(Box::new(it))),
    }
}

/// A run file before its keys are looked at.
struct Tree {
    sources: Vec<Source>,
    root: Node,
    model: ModelType,
    problems: Found,
}

impl Tree {
    fn read(name: &str, text: &str, overrides: &[Override]) -> Result<Self, Problems> {
        let mut sources = vec![Source::new(name, text.strip_prefix('\u{feff}').unwrap_or(text))];
        sources.extend(overrides.iter().map(|it| Source::new("--set", it.text())));
        let root = match yaml::parse(&sources, 0, 0) {
            Ok(root) => root,
            Err(problem) => return Err(Problems::new(sources, vec![problem])),
        };
        let mut root = root
            .unwrap_or_else(|| Node { span: Span::new(0, 0..0), shape: Shape::Map(Vec::new()) });
        let mut problems = Found::default();
        for number in 1..sources.len() {
            let model = model_of(&root);
            if let Err(problem) = overrides::apply(&mut root, &sources, number, model) {
                problems.push(problem);
            }
        }
        let model = model_of(&root);
        Ok(Self { sources, root, model, problems })
    }

    fn settle<C: DeserializeOwned>(self) -> Result<Document<C>, Problems> {
        let Self { sources, root, model, mut problems } = self;
        let mut checked = check::check(&root, &sources, model);
        let settled = settle::settle(&mut checked, &sources, model);
        let across = rules::rules(&checked, &settled, &sources, model);
        let Checked { problems: found, places, .. } = checked;
        problems.append(found);
        problems.append(across);
        if !problems.is_empty() {
            return Err(Problems::of(sources, problems));
        }
        match C::deserialize(&settled) {
            Ok(config) => Ok(Document { config, settled, sources, places }),
            Err(error) => {
                // The catalogue and the types disagree; a test keeps them together.
                let problem =
                    Problem::new(Kind::WrongType, "", format!("Fidelio's own mistake: {error}"));
                Err(Problems::new(sources, vec![problem]))
            }
        }
    }

    fn refused_probe(self) -> Problems {
        let message = "`model_type: ecd` is a head on vectors, and this is for language models";
        let mut problem = Problem::new(Kind::NotAllowed, "model_type", message).hint(
            "`check`, `render-config`, `train`, `evaluate`, `predict` and `experiment` take it",
        );
        if let Some(entry) = model_type(&self.root) {
            problem = problem.at(&self.sources, entry.value.span, "");
        }
        Problems::new(self.sources, vec![problem])
    }
}

fn model_type(root: &Node) -> Option<&yaml::Entry> {
    let Shape::Map(entries) = &root.shape else { return None };
    entries.iter().find(|entry| &*entry.key == "model_type")
}

/// The kind of model that a file is for; one that says none is looked at as a language model's.
fn model_of(root: &Node) -> ModelType {
    match model_type(root).map(|entry| &entry.value.shape) {
        Some(Shape::Scalar(scalar)) if &*scalar.text == "ecd" => ModelType::Ecd,
        _ => ModelType::Llm,
    }
}

fn read_named(path: &Path) -> Result<(String, String), Problems> {
    let name = path.display().to_string();
    match read(path) {
        Ok(text) => Ok((name, text)),
        Err(problem) => Err(Problems::new(vec![Source::new(name, "")], vec![problem])),
    }
}

impl AnyDocument {
    /// The run file as canonical YAML with every default filled.
    pub fn render(&self) -> String {
        render::render(self.settled())
    }

    /// The run file with every default filled, as a value.
    pub fn settled(&self) -> &Value {
        match self {
            Self::Llm(document) => document.settled(),
            Self::Ecd(document) => document.settled(),
        }
    }
}

impl<C> Document<C> {
    /// The run file as canonical YAML with every default filled; loading it gives an equal
    /// document.
    pub fn render(&self) -> String {
        render::render(&self.settled)
    }

    /// The run file with every default filled, as a value.
    pub fn settled(&self) -> &Value {
        &self.settled
    }

    /// The texts: the run file, then each override.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Where a key stands, by its dotted path; none for a default.
    pub fn place(&self, path: &str) -> Option<Place> {
        self.places.get(path).copied()
    }

    /// Where a part of a text value stands, given its bytes in the value: for errors inside a
    /// template. It looks through quoting, escapes and block indentation.
    pub fn place_within(&self, path: &str, range: Range<usize>) -> Option<Span> {
        let span = self.place(path)?.value;
        let written = self.sources.get(span.source as usize)?.slice(span.range());
        let value = crate::view::at(&self.settled, path)?.as_str()?;
        let pairs = align(value, written);
        let first = pairs.partition_point(|pair| pair.value < range.start);
        let last = pairs.partition_point(|pair| pair.value < range.end).checked_sub(1);
        let start = pairs.get(first).map_or(written.len(), |pair| pair.written.start);
        let end = last.and_then(|last| pairs.get(last)).map_or(start, |pair| pair.written.end);
        let base = span.start as usize;
        Some(Span::new(span.source as usize, base + start..base + end.max(start)))
    }

    /// A problem at a key, for checks that come after this crate's (data, model, templates).
    pub fn problem(&self, kind: Kind, path: &str, message: impl Into<String>) -> Problem {
        let problem = Problem::new(kind, path, message);
        match self.nearest_place(path) {
            Some(place) => problem.at(&self.sources, place.value, ""),
            None => problem,
        }
    }

    /// A problem at a part of a text value.
    pub fn problem_within(
        &self,
        kind: Kind,
        path: &str,
        range: Range<usize>,
        message: impl Into<String>,
    ) -> Problem {
        match self.place_within(path, range) {
            Some(span) => Problem::new(kind, path, message).at(&self.sources, span, ""),
            None => self.problem(kind, path, message),
        }
    }

    /// Bundles such problems, so that they print like this crate's own.
    pub fn problems(&self, problems: Vec<Problem>) -> Problems {
        Problems::new(self.sources.clone(), problems)
    }

    /// The key itself, or the nearest section around it that was written.
    fn nearest_place(&self, path: &str) -> Option<Place> {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return Some(*place);
            }
            path = path.rsplit_once('.')?.0;
        }
    }

    /// The dotted paths that were written, in the file or by overrides.
    pub fn written(&self) -> BTreeSet<&str> {
        self.places.keys().map(String::as_str).collect()
    }
}

/// Where a character of a value stands in the text it was written as.
struct Pair {
    value: usize,
    written: Range<usize>,
}

/// Each character of `value` with its bytes in `written`: characters that stand there unchanged are
/// paired greedily, what lies between them is quoting and indentation.
fn align(value: &str, written: &str) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let mut from = 0;
    let mut after_break = false;
    for (at, c) in value.char_indices() {
        let rest = written.get(from..).unwrap_or("");
        // Only blanks, quotes and escapes may be skipped.
        let skipped = rest
            .char_indices()
            .find(|(_, w)| *w == c || !(w.is_whitespace() || matches!(w, '"' | '\'' | '\\')));
        let indentation = after_break && c == ' ';
        match skipped {
            Some((offset, found)) if found == c && !indentation => {
                let start = from + offset;
                from = start + c.len_utf8();
                pairs.push(Pair { value: at, written: start..from });
            }
            _ => {
                // An escape such as `\n` stands for a character that is not written.
                let start = from;
                if rest.starts_with('\\') {
                    from += 2.min(rest.len());
                }
                pairs.push(Pair { value: at, written: start..from });
            }
        }
        after_break = c == '\n' || (after_break && c == ' ');
    }
    pairs
}

fn read(path: &Path) -> Result<String, Problem> {
    let name = path.display();
    let unreadable = |reason: String| {
        Problem::new(Kind::Unreadable, "", format!("cannot read `{name}`")).because(reason)
    };
    let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if size > MAX_BYTES as u64 {
        return Err(unreadable(format!("it has {size} bytes; a run file may have {MAX_BYTES}")));
    }
    let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    decode(bytes).map_err(unreadable)
}

fn decode(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err("it is UTF-16; save it as UTF-8".to_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line} holds bytes that are not UTF-8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_template_are_found_in_the_file() {
        let base = "model_type: llm\nbase_model: m\ninput_features: [{name: q}]\n\
                    output_features: [{name: a, type: text}]\n";
        for prompt in [
            "prompt:\n  template: |\n    Hello\n      {q} there\n    {r}\n",
            "prompt: {template: \"Hello\\n  {q} there\\n{r}\"}\n",
            "prompt:\n  template: 'it''s {q}, {r}'\n",
            "prompt:\n  template: {q: 1}\n",
        ] {
            let text = format!("{base}{prompt}");
            let Ok(document) = parse("t", &text, &[]) else { continue };
            let template = document.config.prompt.template.clone().unwrap();
            for name in ["{q}", "{r}"] {
                let at = template.find(name).unwrap();
                let span = document.place_within("prompt.template", at..at + 3).unwrap();
                assert_eq!(&text[span.range()], name, "{prompt}");
            }
        }
    }
}
