//! What can be wrong with a grammar.

use std::fmt;

/// Why something is no grammar, or cannot be used with a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrammarError {
    /// A keyword of a schema that the grammar would not keep.
    #[error("`{keyword}` at `{path}` of the schema {problem}")]
    Keyword {
        /// The schema that has it.
        path: SchemaPath,
        /// Its name.
        keyword: String,
        /// What is wrong with it, as the end of a sentence.
        problem: String,
    },
    /// A part of a schema that is none, or that nothing fits.
    #[error("the schema at `{path}` {problem}")]
    Schema {
        /// Where it stands.
        path: SchemaPath,
        /// What is wrong with it, as the end of a sentence.
        problem: String,
    },
    /// A regular expression.
    #[error("the regular expression {problem}")]
    Regex {
        /// What is wrong with it, as the end of a sentence.
        problem: String,
    },
    /// A grammar's text.
    #[error("line {line}, column {column} of the grammar: {problem}")]
    Grammar {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What is wrong there.
        problem: String,
    },
    /// A tokenizer whose tokens have no text of their own.
    #[error("this model's tokenizer {problem}, so its answers cannot be held to a grammar")]
    Tokenizer {
        /// What it does, as the rest of the sentence.
        problem: String,
    },
}

/// Where something stands in a schema: the keys and indices that lead there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SchemaPath(pub Vec<String>);

impl SchemaPath {
    /// One step further.
    #[must_use]
    pub fn join(&self, step: impl fmt::Display) -> Self {
        let mut steps = self.0.clone();
        steps.push(step.to_string());
        Self(steps)
    }
}

impl fmt::Display for SchemaPath {
    /// As a JSON pointer in a fragment (RFC 6901), which is how `$ref` writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("#")?;
        for step in &self.0 {
            write!(f, "/{}", step.replace('~', "~0").replace('/', "~1"))?;
        }
        Ok(())
    }
}

/// What `llguidance` says of a grammar, in its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    said: String,
    place: Option<(usize, usize)>,
}

/// Said of what allows nothing.
const EMPTY: &str = "fits no text";

impl Problem {
    /// Its messages have a line for each cause, an excerpt, and a place as `at 3(14): `.
    pub(super) fn of(error: impl fmt::Display) -> Self {
        let message = error.to_string();
        let first = message.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let placed = first.strip_prefix("at ").and_then(|rest| {
            let (place, text) = rest.split_once("): ")?;
            let (line, column) = place.split_once('(')?;
            Some(((line.parse().ok()?, column.parse().ok()?), text))
        });
        let (place, text) = placed.map_or((None, first), |(place, text)| (Some(place), text));
        Self { said: text.trim().to_owned(), place }
    }

    pub(super) fn empty() -> Self {
        Self { said: EMPTY.to_owned(), place: None }
    }

    /// As the end of a sentence that begins with what is wrong.
    pub(super) fn sentence(self) -> String {
        if self.said == EMPTY { self.said } else { format!("cannot be used: {}", self.said) }
    }

    /// As that of a grammar; `placed` where its place is one in the text as it was written.
    pub(super) fn in_grammar(self, placed: bool) -> GrammarError {
        let (line, column) = self.place.filter(|_| placed).unwrap_or((1, 1));
        GrammarError::Grammar { line, column, problem: self.said }
    }
}

/// What Lark grammars may not say here: it would not be heeded, or would weaken what they promise.
const DIRECTIVES: [(&str, &str); 8] = [
    ("%json", "a JSON schema stands in `json_schema`, where its keywords are checked"),
    ("%llguidance", "settings of the parser cannot be changed"),
    ("temperature", "the decoding settings hold for the whole answer"),
    ("max_tokens", "the decoding settings hold for the whole answer"),
    ("stop_capture", "nothing of an answer is taken out"),
    ("stop", "nothing of an answer is taken out"),
    ("suffix", "nothing of an answer is taken out"),
    ("capture", "nothing of an answer is taken out"),
];

/// Refuses directives and attributes that would not be heeded.
pub(super) fn refuse_directives(lark: &str) -> Result<(), GrammarError> {
    for (at, word) in words(lark) {
        for (directive, why) in DIRECTIVES {
            let named = word == directive;
            let behind = lark[at + word.len()..].trim_start();
            // An attribute, as in `name[stop="."]: ...`, and not a rule of that name.
            let is_attribute = directive.starts_with('%')
                || behind.starts_with('=')
                || (directive == "capture" && behind.starts_with(']'));
            if named && is_attribute {
                let (line, column) = place(lark, at);
                let problem = format!("`{directive}` cannot stand here: {why}");
                return Err(GrammarError::Grammar { line, column, problem });
            }
        }
    }
    Ok(())
}

/// The words of a Lark grammar outside of texts, patterns and comments, with their places.
fn words(lark: &str) -> Vec<(usize, &str)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '%';
    let mut words = Vec::new();
    let mut rest = 0;
    while let Some(c) = lark[rest..].chars().next() {
        let tail = &lark[rest..];
        rest += if tail.starts_with("//") || c == '#' {
            tail.find('\n').unwrap_or(tail.len())
        } else if c == '"' || c == '/' {
            quoted(tail, c)
        } else if is_word(c) {
            let len = tail.find(|c| !is_word(c)).unwrap_or(tail.len());
            words.push((rest, &tail[..len]));
            len
        } else {
            c.len_utf8()
        };
    }
    words
}

/// The length of a text or pattern that begins and ends with `quote`, both included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Line and column of a place in a text, counted from 1.
pub(super) fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_json_pointers() {
        assert_eq!(SchemaPath::default().to_string(), "#");
        let path = SchemaPath::default().join("properties").join("a/b~c").join(0);
        assert_eq!(path.to_string(), "#/properties/a~1b~0c/0");
    }

    #[test]
    fn attributes_are_refused_and_names_and_texts_are_not() {
        let fine =
            "start: stop \"%json temperature=1\" /max_tokens=/ // stop=2\nstop: \"x\" # %json\n";
        assert_eq!(refuse_directives(fine), Ok(()));
        let cases = [
            ("start: %json {}", 1, 8),
            ("start: a\na[temperature=0.5]: \"x\"", 2, 3),
            ("start: a\na[lazy, max_tokens=3]: \"x\"", 2, 9),
            ("start[capture]: \"a\"", 1, 7),
            ("%llguidance {\"no_forcing\": true}\nstart: \"a\"", 1, 1),
        ];
        for (text, line, column) in cases {
            let error = refuse_directives(text).unwrap_err();
            let GrammarError::Grammar { line: l, column: c, .. } = error else { panic!() };
            assert_eq!((l, c), (line, column), "{text}");
        }
    }
}
