//! From generated text to a label.

use std::{borrow::Cow, cell::LazyCell};

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use crate::EvalError;

/// Chooses a label for a text: rules are tried in order, the first that fits wins.
///
/// Upper and lower case are the same on both sides. (Ludwig lowers the text only, so that a
/// rule with a capital letter never fits there.)
///
/// ```
/// use fidelio_eval::{LabelMatcher, MatchKind, MatchRule};
///
/// let rule = |label: &str, value: &str| MatchRule {
///     label: label.into(),
///     kind: MatchKind::Contains,
///     value: value.into(),
/// };
/// let matcher = LabelMatcher::new(vec![rule("1", "Spam"), rule("0", "ham")], Some("0".into()))?;
/// assert_eq!(matcher.match_text("This is SPAM.").label, Some("1"));
/// assert_eq!(matcher.match_text("I cannot tell.").rule, None);
/// # Ok::<(), fidelio_eval::EvalError>(())
/// ```
#[derive(Debug, Clone)]
pub struct LabelMatcher {
    rules: Vec<(String, Test)>,
    fallback: Option<String>,
}

/// A label and what a text must have to be given it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchRule {
    /// The label.
    pub label: String,
    /// How `value` is to be understood.
    #[serde(rename = "type")]
    pub kind: MatchKind,
    /// What is looked for.
    pub value: String,
}

/// How a rule's value is to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchKind {
    /// It stands somewhere in the text.
    Contains,
    /// It is a regular expression that fits somewhere in the text.
    Regex,
    /// The text is JSON, in a Markdown code fence or not, and names it: under `label`, `value`
    /// or `category`, else under the first key, or as the whole. (Not a JSON Schema, in spite of
    /// the name that Ludwig gave it.)
    JsonSchema,
}

/// The label found for a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched<'a> {
    /// The label; `None` when no rule fits and there is no fallback.
    pub label: Option<&'a str>,
    /// The number of the rule that fitted, from 0; `None` for the fallback.
    pub rule: Option<usize>,
}

#[derive(Debug, Clone)]
enum Test {
    Contains(String),
    Regex(Regex),
    Json(String),
}

impl LabelMatcher {
    /// Reads the rules.
    ///
    /// # Errors
    /// Without a rule; when a value is empty; when a pattern is wrong; when a rule can never
    /// decide because an earlier one fits every text it fits.
    pub fn new(rules: Vec<MatchRule>, fallback: Option<String>) -> Result<Self, EvalError> {
        if rules.is_empty() {
            return Err(EvalError::NoRules);
        }
        for (i, rule) in rules.iter().enumerate() {
            if rule.value.is_empty() {
                return Err(EvalError::EmptyValue { label: rule.label.clone() });
            }
            if let Some(by) = rules[..i].iter().find(|earlier| earlier.forestalls(rule)) {
                return Err(EvalError::Unreachable {
                    label: rule.label.clone(),
                    value: rule.value.clone(),
                    by_label: by.label.clone(),
                    by_value: by.value.clone(),
                });
            }
        }
        let rules = rules
            .into_iter()
            .map(|rule| {
                let test = Test::of(&rule)?;
                Ok((rule.label, test))
            })
            .collect::<Result<_, EvalError>>()?;
        Ok(Self { rules, fallback })
    }

    /// The label of a decoded text, special tokens removed.
    pub fn match_text(&self, text: &str) -> Matched<'_> {
        let lower = text.to_lowercase();
        let answer = LazyCell::new(|| json_answer(text));
        let fits = |test: &Test| match test {
            Test::Contains(value) => lower.contains(value),
            Test::Regex(pattern) => pattern.is_match(text),
            Test::Json(value) => answer.as_ref().is_some_and(|answer| answer == value),
        };
        match self.rules.iter().position(|(_, test)| fits(test)) {
            Some(rule) => Matched { label: Some(&self.rules[rule].0), rule: Some(rule) },
            None => Matched { label: self.fallback.as_deref(), rule: None },
        }
    }
}

impl MatchRule {
    /// Whether this rule, coming first, fits every text that `later` fits.
    fn forestalls(&self, later: &Self) -> bool {
        match (self.kind, later.kind) {
            (MatchKind::Contains, MatchKind::Contains) => {
                later.value.to_lowercase().contains(&self.value.to_lowercase())
            }
            (a, b) => a == b && self.value == later.value,
        }
    }
}

impl Test {
    fn of(rule: &MatchRule) -> Result<Self, EvalError> {
        Ok(match rule.kind {
            MatchKind::Contains => Self::Contains(rule.value.to_lowercase()),
            MatchKind::JsonSchema => Self::Json(rule.value.to_lowercase()),
            MatchKind::Regex => Self::Regex(compile(rule)?),
        })
    }
}

fn compile(rule: &MatchRule) -> Result<Regex, EvalError> {
    let wrong = |character: usize, problem: String| EvalError::Pattern {
        label: rule.label.clone(),
        pattern: rule.value.clone(),
        character,
        problem,
    };
    let at = |offset: usize| rule.value.get(..offset).unwrap_or_default().chars().count() + 1;
    if let Err(error) = regex_syntax::parse(&rule.value) {
        return Err(match error {
            regex_syntax::Error::Parse(error) => {
                wrong(at(error.span().start.offset), error.kind().to_string())
            }
            regex_syntax::Error::Translate(error) => {
                wrong(at(error.span().start.offset), error.kind().to_string())
            }
            other => wrong(1, other.to_string()),
        });
    }
    // What parses may still be too large.
    RegexBuilder::new(&rule.value)
        .case_insensitive(true)
        .build()
        .map_err(|error| wrong(1, error.to_string()))
}

/// What a JSON answer says, in lower case. Of an object: the first of `label`, `value` and
/// `category` that says something, else the first key's value.
fn json_answer(text: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(without_fence(text)).ok()?;
    let said = match &value {
        serde_json::Value::Object(map) => ["label", "value", "category"]
            .iter()
            .filter_map(|key| map.get(*key))
            .find(|value| says_something(value))
            .or_else(|| map.values().next())?,
        other => other,
    };
    let said: Cow<'_, str> = match said {
        serde_json::Value::String(text) => text.as_str().into(),
        other => other.to_string().into(),
    };
    Some(said.trim().to_lowercase())
}

fn says_something(value: &serde_json::Value) -> bool {
    use serde_json::Value;
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// The inside of a Markdown code fence, or the text itself.
fn without_fence(text: &str) -> &str {
    let text = text.trim();
    let Some(inside) = text.strip_prefix("```") else { return text };
    let inside = inside.strip_suffix("```").unwrap_or(inside);
    match inside.split_once('\n') {
        Some((language, body)) if language.trim().chars().all(char::is_alphanumeric) => body.trim(),
        _ => inside.strip_prefix("json").unwrap_or(inside).trim(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(label: &str, kind: MatchKind, value: &str) -> MatchRule {
        MatchRule { label: label.into(), kind, value: value.into() }
    }

    #[track_caller]
    fn check(rules: &[(&str, MatchKind, &str)], text: &str, expected: Option<&str>) {
        let rules = rules.iter().map(|&(label, kind, value)| rule(label, kind, value)).collect();
        let matcher = LabelMatcher::new(rules, None).unwrap();
        assert_eq!(matcher.match_text(text).label, expected, "{text}");
    }

    #[test]
    fn the_first_rule_that_fits_wins() {
        let rules = [
            ("negative", MatchKind::Contains, "not good"),
            ("positive", MatchKind::Contains, "good"),
            ("negative", MatchKind::Regex, r"\bbad\b"),
        ];
        check(&rules, "It is not good.", Some("negative"));
        check(&rules, "Good but bad", Some("positive"));
        check(&rules, "badly", None);
        check(&rules, "so BAD!", Some("negative"));
    }

    #[test]
    fn case_does_not_matter_on_either_side() {
        check(&[("x", MatchKind::Contains, "POSITIVE")], "positive", Some("x"));
        check(&[("x", MatchKind::Contains, "größe")], "GRÖSSE GRÖßE", Some("x"));
        check(&[("x", MatchKind::Regex, "^Yes$")], "YES", Some("x"));
        check(&[("x", MatchKind::Regex, r"\S+")], "a", Some("x"));
        check(&[("x", MatchKind::Regex, "(?-i)Yes")], "yes", None);
    }

    #[test]
    fn json_answers_are_found() {
        let rules = [("x", MatchKind::JsonSchema, "Spam")];
        check(&rules, r#"{"label": "SPAM"}"#, Some("x"));
        check(&rules, "```json\n{\"category\": \"spam\"}\n```", Some("x"));
        check(&rules, "```\n\"spam\"\n```", Some("x"));
        check(&rules, "```{\"verdict\": \"spam\", \"why\": \"ham\"}```", Some("x"));
        check(&rules, r#"{"why": "spam", "label": "", "value": "ham"}"#, None);
        check(&rules, r#"{"label": "ham", "value": "spam"}"#, None);
        check(&rules, r#"{"label": "spam""#, None);
        check(&rules, "{}", None);
        check(&[("x", MatchKind::JsonSchema, "1")], r#"{"label": 1}"#, Some("x"));
        check(&[("x", MatchKind::JsonSchema, "true")], "```true```", Some("x"));
    }

    #[test]
    fn the_fallback_says_that_no_rule_fitted() {
        let rules = vec![rule("a", MatchKind::Contains, "a")];
        let matcher = LabelMatcher::new(rules, Some("none".into())).unwrap();
        assert_eq!(matcher.match_text("b"), Matched { label: Some("none"), rule: None });
        assert_eq!(matcher.match_text("a"), Matched { label: Some("a"), rule: Some(0) });
        assert_eq!(matcher.match_text(""), Matched { label: Some("none"), rule: None });
    }

    #[test]
    fn a_wrong_pattern_says_where() {
        let wrong = |pattern: &str| {
            LabelMatcher::new(vec![rule("x", MatchKind::Regex, pattern)], None).unwrap_err()
        };
        assert_eq!(
            wrong("größe(").to_string(),
            "the pattern `größe(` of label `x` is wrong at character 6: unclosed group"
        );
        let look_around = wrong("a(?=b)");
        assert!(look_around.hint().unwrap().contains("look-around"), "{look_around}");
        let backreference = wrong(r"(a)\1");
        assert!(backreference.hint().unwrap().contains("alternatives"), "{backreference}");
        assert!(matches!(wrong(r"(\w{1000}){1000}"), EvalError::Pattern { .. }));
    }

    #[test]
    fn useless_rules_are_refused() {
        let new = |rules: &[(&str, MatchKind, &str)]| {
            let rules = rules.iter().map(|&(l, k, v)| rule(l, k, v)).collect();
            LabelMatcher::new(rules, None).map(|_| ())
        };
        assert_eq!(new(&[]), Err(EvalError::NoRules));
        assert_eq!(
            new(&[("x", MatchKind::Contains, "")]),
            Err(EvalError::EmptyValue { label: "x".into() })
        );
        let hidden = new(&[
            ("positive", MatchKind::Contains, "positive"),
            ("neutral", MatchKind::Contains, "Not Positive"),
        ]);
        assert_eq!(
            hidden.unwrap_err().hint().unwrap(),
            "move the rule for `neutral` before the other"
        );
    }
}
