//! Grammars: which texts an answer may be.

mod compiled;

mod ebnf;
mod error;
mod formats;
mod rule;
mod schema;
mod tokens;

use std::{fmt, sync::Arc};

use llguidance::{
    JsonCompileOptions, Matcher, ParserFactory,
    api::TopLevelGrammar,
    toktrie::{ApproximateTokEnv, TokEnv},
};
use serde_json::{Value, json};

pub use compiled::Grammars;
pub use error::{GrammarError, SchemaPath};
pub use rule::GrammarRule;
pub use tokens::GrammarTokens;

/// The texts that an answer may be: those of a JSON schema, of a regular expression, or of a
/// grammar.
///
/// JSON is written in one way, as Python's `json.dumps` writes it: `", "` between items, `": "`
/// behind keys, no other space, keys in the order of the schema's `properties`. So a schema leaves
/// to the model what it must decide, and the rest is text without a choice.
///
/// ```
/// # use fidelio_generate::Grammar;
/// # use serde_json::json;
/// let grammar = Grammar::json_schema(&json!({
///     "type": "object",
///     "properties": {"kind": {"enum": ["invoice", "reminder"]}, "amount": {"type": "integer"}},
///     "required": ["kind", "amount"],
///     "additionalProperties": false,
/// }))?;
/// assert!(grammar.accepts(r#"{"kind": "invoice", "amount": 120}"#));
/// assert!(!grammar.accepts(r#"{"kind": "offer", "amount": 120}"#));
/// # Ok::<(), fidelio_generate::GrammarError>(())
/// ```
#[derive(Clone)]
pub struct Grammar(Arc<Inner>);

struct Inner {
    kind: Kind,
    /// As its author wrote it.
    text: String,
    source: TopLevelGrammar,
    /// Over single bytes, at the beginning of a text.
    bytes: Matcher,
}

/// What a grammar was written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    JsonSchema,
    Regex,
    Grammar,
}

impl Grammar {
    /// The JSON documents that are valid under a schema of draft 2020-12, 2019-09, 7 or 6.
    ///
    /// # Errors
    /// Every keyword that the grammar would not keep is an error: none is ignored.
    pub fn json_schema(schema: &Value) -> Result<Self, GrammarError> {
        schema::check(schema)?;
        let source = TopLevelGrammar::from_json_schema(schema::prepared(schema));
        let text = schema.to_string();
        let made = Self::new(Kind::JsonSchema, text, source);
        made.map_err(|problem| {
            schema::blame(schema, problem, &|part| {
                let source = TopLevelGrammar::from_json_schema(schema::prepared(part));
                Self::new(Kind::JsonSchema, String::new(), source).err()
            })
        })
    }

    /// Any JSON object.
    ///
    /// # Errors
    /// None in practice.
    pub fn json_object() -> Result<Self, GrammarError> {
        Self::json_schema(&json!({"type": "object"}))
    }

    /// The texts that match a regular expression as a whole, in the syntax of the crate `regex`.
    ///
    /// # Errors
    /// [`GrammarError::Regex`].
    pub fn regex(pattern: &str) -> Result<Self, GrammarError> {
        let source = TopLevelGrammar::from_regex(whole(pattern));
        Self::new(Kind::Regex, pattern.to_owned(), source)
            .map_err(|problem| GrammarError::Regex { problem: problem.sentence() })
    }

    /// The texts of a grammar: with `::=` EBNF as the W3C or llama.cpp write it, beginning at `root`;
    /// else Lark, beginning at `start`.
    ///
    /// # Errors
    /// [`GrammarError::Grammar`] with line and column.
    pub fn parse(text: &str) -> Result<Self, GrammarError> {
        let is_ebnf = ebnf::is_ebnf(text);
        let lark = if is_ebnf { ebnf::to_lark(text)? } else { text.to_owned() };
        if !is_ebnf {
            error::refuse_directives(text)?;
        }
        Self::new(Kind::Grammar, text.to_owned(), TopLevelGrammar::from_lark(lark))
            .map_err(|problem| problem.in_grammar(!is_ebnf))
    }

    /// Whether a text, as it stands, is one of the grammar's.
    pub fn accepts(&self, text: &str) -> bool {
        self.misfit(text).is_none()
    }

    /// The byte up to which a text could still become one of the grammar's, where it is none: its
    /// length where it only lacks an end.
    pub fn misfit(&self, text: &str) -> Option<usize> {
        let mut matcher = self.0.bytes.deep_clone();
        for (at, byte) in text.bytes().enumerate() {
            if matcher.is_stopped() || matcher.consume_token(u32::from(byte)).is_err() {
                return Some(at);
            }
        }
        let is_whole = matcher.is_stopped() || matcher.is_accepting().unwrap_or(false);
        (!is_whole).then_some(text.len())
    }

    fn new(kind: Kind, text: String, source: TopLevelGrammar) -> Result<Self, error::Problem> {
        let factory = factory(&ApproximateTokEnv::single_byte_env())?;
        let bytes = matcher(&factory, &source)?;
        // A grammar that allows nothing fails where its first token is asked for.
        bytes.deep_clone().compute_mask_or_eos().map_err(|_| error::Problem::empty())?;
        Ok(Self(Arc::new(Inner { kind, text, source, bytes })))
    }

    /// The same texts, written in the same way.
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.kind, &self.0.text) == (other.0.kind, &other.0.text)
    }
}

impl fmt::Debug for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Grammar").field(&self.0.kind).field(&self.0.text).finish()
    }
}

impl PartialEq for Grammar {
    fn eq(&self, other: &Self) -> bool {
        self.is(other)
    }
}

/// A value in the one way in which grammars write JSON.
pub fn write_json(value: &Value) -> String {
    let list =
        |open: char, items: Vec<String>, close: char| format!("{open}{}{close}", items.join(", "));
    match value {
        Value::Array(items) => list('[', items.iter().map(write_json).collect(), ']'),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                format!("{}: {}", Value::from(name.as_str()), write_json(value))
            };
            list('{', fields.iter().map(field).collect(), '}')
        }
        other => other.to_string(),
    }
}

/// How JSON is written. Without `u`, no character has two spellings: a property could otherwise
/// come a second time under the name `"\u0061"`.
fn writing() -> JsonCompileOptions {
    JsonCompileOptions {
        item_separator: ", ".to_owned(),
        key_separator: ": ".to_owned(),
        whitespace_flexible: false,
        json_allowed_escapes: Some("nrbtf\\\"".to_owned()),
        ..JsonCompileOptions::default()
    }
}

/// What compiles grammars for the tokens of `tokens`.
fn factory(tokens: &TokEnv) -> Result<ParserFactory, error::Problem> {
    let mut factory = ParserFactory::new_simple(tokens).map_err(error::Problem::of)?;
    factory.quiet();
    factory.limits_mut().verbose_errors = false;
    Ok(factory)
}

/// A grammar at the beginning of a text.
fn matcher(factory: &ParserFactory, source: &TopLevelGrammar) -> Result<Matcher, error::Problem> {
    let parser = factory.create_parser(source.clone()).map_err(error::Problem::of)?;
    Ok(Matcher::new(Ok(parser)))
}

/// A pattern without anchors at its ends, which change nothing where the whole text must match.
fn whole(pattern: &str) -> &str {
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    let Some(rest) = pattern.strip_suffix('$') else { return pattern };
    let escapes = rest.len() - rest.trim_end_matches('\\').len();
    if escapes.is_multiple_of(2) { rest } else { pattern }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_at_the_ends_of_a_pattern_are_dropped() {
        for (pattern, inner) in
            [("^a+$", "a+"), ("a\\$", "a\\$"), ("a\\\\$", "a\\\\"), ("^", ""), ("a|b$", "a|b")]
        {
            assert_eq!(whole(pattern), inner, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_is_matched_as_a_whole() {
        let grammar = Grammar::regex("^[0-9]{3}-[a-f]+$").unwrap();
        assert!(grammar.accepts("123-abc"));
        for text in ["", "123-", "123-abg", "0123-a", "123-a "] {
            assert!(!grammar.accepts(text), "{text}");
        }
        assert!(Grammar::regex("").unwrap().accepts(""));
    }

    #[test]
    fn json_has_one_writing() {
        let schema = json!({
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "array", "items": {"type": "null"}}},
            "required": ["a", "b"],
            "additionalProperties": false,
        });
        let grammar = Grammar::json_schema(&schema).unwrap();
        assert!(grammar.accepts(r#"{"a": 1, "b": [null, null]}"#));
        for text in [
            r#"{"a":1, "b": [null, null]}"#,
            r#"{"a": 1,"b": [null, null]}"#,
            r#"{"a": 1, "b": [null,null]}"#,
            r#"{ "a": 1, "b": [null, null]}"#,
            r#"{"b": [], "a": 1}"#,
            r#"{"a": 1, "b": []}"#.trim_end_matches('}'),
        ] {
            assert!(!grammar.accepts(text), "{text}");
        }
        assert!(Grammar::json_object().unwrap().accepts(r#"{"x": [1, {"y": "z"}]}"#));
        let value = json!({"a": 1, "b": [null, null]});
        assert!(grammar.accepts(&write_json(&value)));
        assert_eq!(write_json(&json!({"x": [1, {}, []]})), r#"{"x": [1, {}, []]}"#);
    }

    #[test]
    fn a_misfit_is_placed() {
        let grammar = Grammar::json_schema(&json!({"enum": ["invoice", "offer"]})).unwrap();
        for (text, at) in [
            ("\"offer\"", None),
            ("\"order\"", Some(2)),
            ("\"inv", Some(4)),
            ("\"offer\" ", Some(7)),
        ] {
            assert_eq!(grammar.misfit(text), at, "{text}");
        }
    }

    #[test]
    fn a_declared_property_has_one_spelling() {
        let schema = json!({
            "properties": {"a": {"type": "integer"}},
            "additionalProperties": {"type": "string"},
            "type": "object",
        });
        let grammar = Grammar::json_schema(&schema).unwrap();
        assert!(grammar.accepts(r#"{"a": 1, "b": "x"}"#));
        assert!(!grammar.accepts(r#"{"a": 1, "a": "x"}"#));
        assert!(!grammar.accepts(r#"{"a": 1, "\u0061": "x"}"#));
        assert!(!grammar.accepts(r#"{"\u0061": "x"}"#));
    }

    #[test]
    fn what_allows_no_text_is_an_error() {
        for schema in [json!(false), json!({"enum": []}), json!({"type": "string", "enum": [1]})] {
            let error = Grammar::json_schema(&schema).unwrap_err();
            assert!(matches!(error, GrammarError::Schema { .. }), "{error}");
        }
        Grammar::regex("[^\\s\\S]").unwrap_err();
    }
}
