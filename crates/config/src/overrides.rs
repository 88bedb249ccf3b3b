//! `--set path=value`: single keys from the command line, checked like the file itself.

use crate::catalogue::shorthand;
use crate::problem::{Kind, Problem};
use crate::run::ModelType;
use crate::source::{Source, Span};
use crate::yaml::{self, Entry, Node, Shape};

/// One `--set`, as given: `generation.max_new_tokens=64`. The value is YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    text: String,
}

impl Override {
    /// Takes the text after `--set`; it is checked when the run file is.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// The text after `--set`.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl<T: Into<String>> From<T> for Override {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

/// One part of a path with its bytes.
struct Part {
    name: String,
    span: Span,
}

/// Applies the override that is source `number` to the tree.
pub(crate) fn apply(
    root: &mut Node,
    sources: &[Source],
    number: usize,
    model: ModelType,
) -> Result<(), Problem> {
    let text = sources.get(number).map_or("", Source::text);
    let whole = Span::new(number, 0..text.len());
    let Some((parts, value_at)) = path(text, number) else {
        return Err(Problem::new(Kind::Syntax, "", "an override is written `path=value`")
            .at(sources, whole, "")
            .hint("for example `--set generation.max_new_tokens=64`"));
    };
    if let Some(empty) = parts.iter().find(|part| part.name.is_empty()) {
        let at = Span { end: empty.span.end.max(empty.span.start), ..empty.span };
        return Err(Problem::new(Kind::Syntax, "", "the path of the override has an empty part")
            .at(sources, at, ""));
    }
    let value = yaml::parse(sources, number, value_at)?.unwrap_or_else(|| Node {
        span: Span::new(number, value_at..text.len()),
        shape: Shape::Scalar(yaml::Scalar { text: "".into(), plain: true }),
    });
    set(root, &parts, value, (sources, model), "")
}

/// The parts before the `=`, and where the value begins. A part in double quotes may hold dots.
fn path(text: &str, source: usize) -> Option<(Vec<Part>, usize)> {
    let mut parts = Vec::new();
    let mut name = String::new();
    let mut start = 0;
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '.' | '=' if !quoted => {
                let span = Span::new(source, start..at);
                parts.push(Part { name: std::mem::take(&mut name).trim().to_owned(), span });
                start = at + 1;
                if c == '=' {
                    return Some((parts, at + 1));
                }
            }
            _ => name.push(c),
        }
    }
    None
}

/// Walks down, making sections where there are none, and puts the value there.
fn set(
    here: &mut Node,
    parts: &[Part],
    value: Node,
    (sources, model): (&[Source], ModelType),
    above: &str,
) -> Result<(), Problem> {
    let Some((part, rest)) = parts.split_first() else {
        *here = value;
        return Ok(());
    };
    let at = crate::view::join(above, &part.name);
    if here.is_null() {
        *here = Node { span: part.span, shape: Shape::Map(Vec::new()) };
    }
    // `split: fixed` is short for `{type: fixed}`; a key below it makes it long.
    if let (Shape::Scalar(_), Some(tag)) = (&here.shape, shorthand(model, above)) {
        let value = here.clone();
        let entry = Entry { key: tag.into(), key_span: here.span, value };
        here.shape = Shape::Map(vec![entry]);
    }
    match &mut here.shape {
        Shape::Map(entries) => {
            if let Some(entry) = entries.iter_mut().find(|entry| *entry.key == *part.name) {
                // Problems with a replaced value are the override's.
                if rest.is_empty() {
                    entry.key_span = part.span;
                }
                return set(&mut entry.value, rest, value, (sources, model), &at);
            }
            let shape = match rest.first() {
                Some(next) if next.name == "0" => Shape::List(Vec::new()),
                _ => Shape::Map(Vec::new()),
            };
            let mut below = Node { span: part.span, shape };
            set(&mut below, rest, value, (sources, model), &at)?;
            let key = part.name.clone().into_boxed_str();
            entries.push(Entry { key, key_span: part.span, value: below });
            Ok(())
        }
        Shape::List(items) => {
            let count = items.len();
            let index = part.name.parse::<usize>().ok().filter(|index| *index <= count);
            let Some(index) = index else {
                let message = format!(
                    "`{above}` is a list of {count}, so `{}` is none of its items",
                    part.name
                );
                return Err(Problem::new(Kind::NotAllowed, at, message)
                    .at(sources, part.span, "")
                    .hint(format!("items are counted from 0; {count} appends one")));
            };
            if index == count {
                items.push(Node { span: part.span, shape: Shape::Map(Vec::new()) });
            }
            match items.get_mut(index) {
                Some(item) => set(item, rest, value, (sources, model), &at),
                None => Ok(()),
            }
        }
        Shape::Scalar(_) => {
            let message = format!("`{above}` is a single value, so it has no `{}`", part.name);
            Err(Problem::new(Kind::WrongType, at, message).at(sources, part.span, "").related(
                sources,
                here.span,
                "given here",
            ))
        }
    }
}
