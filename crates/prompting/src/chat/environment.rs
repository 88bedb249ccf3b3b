//! minijinja set up as transformers sets up Jinja2.

use std::sync::Arc;

use jiff::civil::DateTime;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, ErrorKind};

use super::{generation, json, python};
use crate::PromptError;

/// Where `strftime_now` gets the time from.
///
/// A run that must be repeated gives a fixed time; templates that print today's date otherwise change
/// their prompts overnight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Clock {
    /// The machine's local time.
    #[default]
    Local,
    /// Always this time.
    Fixed(DateTime),
}

impl Clock {
    /// Always the time that `text` gives, such as `2026-01-31` or `2026-01-31T08:30:00`.
    ///
    /// # Errors
    /// When it is not a date or a time of that form.
    pub fn fixed(text: &str) -> Result<Self, PromptError> {
        let problem = |e: jiff::Error| format!("is not a date or time: {e}");
        text.parse()
            .map(Clock::Fixed)
            .map_err(|e| PromptError::Rule { rule: "clock", problem: problem(e) })
    }

    fn now(self) -> DateTime {
        match self {
            Clock::Local => jiff::Zoned::now().datetime(),
            Clock::Fixed(time) => time,
        }
    }
}

/// A template's own refusal, carried through minijinja's errors.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refusal(pub(super) String);

/// The steps that one rendering may take: far beyond any real template, reached in about a second.
const FUEL: u64 = 20_000_000;

pub(super) fn environment(clock: Clock) -> Environment<'static> {
    let mut env = Environment::new();
    env.set_syntax(syntax());
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_unknown_method_callback(python::method);
    env.set_fuel(Some(FUEL));
    env.add_filter("tojson", json::tojson);
    env.add_filter("safe", safe);
    env.add_test("iterable", python::iterable);
    env.add_function("raise_exception", |message: Value| -> Result<Value, Error> {
        let refusal = Refusal(message.to_string());
        Err(Error::new(ErrorKind::InvalidOperation, refusal.0.clone()).with_source(refusal))
    });
    env.add_function("strftime_now", move |format: &str| -> Result<String, Error> {
        jiff::fmt::strtime::format(format, clock.now())
            .map_err(|e| Error::new(ErrorKind::InvalidOperation, e.to_string()).with_source(e))
    });
    env.add_function(generation::FUNCTION, generation::support);
    env
}

/// In Jinja2 a text marked safe escapes every text that is added to it, as HTML. minijinja does not, so a
/// template that marks texts would give another prompt: better none.
fn safe(_: Value) -> Result<Value, Error> {
    let detail = "the filter `safe` is not supported: it escapes HTML in Jinja2";
    Err(Error::new(ErrorKind::InvalidOperation, detail))
}

fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
        .expect("the default delimiters are valid")
}

/// The template's own refusal inside an error, if that is what it is.
pub(super) fn refusal(error: &Error) -> Option<String> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(e) = source {
        if let Some(refusal) = e.downcast_ref::<Refusal>() {
            return Some(refusal.0.clone());
        }
        source = e.source();
    }
    None
}

/// What is shared by all clones of a template.
pub(super) type Shared = Arc<Environment<'static>>;
