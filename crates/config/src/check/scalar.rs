//! Scalars against their types: the text decides only once its key is known.

use serde_json::Value;

use super::Walk;
use super::complain::not_built;
use super::words::{did_you_mean, float_bounds, int_bounds, names, number_hint};
use crate::catalogue::{Bound, Choice, Status, Type, Verdict};
use crate::problem::{Kind, Problem};
use crate::suggest::nearest;
use crate::yaml::{Node, Scalar};

impl Walk<'_> {
    pub(super) fn scalar(
        &mut self,
        takes: &'static Type,
        scalar: &Scalar,
        node: &Node,
        path: &str,
    ) -> Option<Value> {
        match takes {
            Type::Bool => {
                if let Some(value) = scalar.as_bool() {
                    Some(Value::Bool(value))
                } else {
                    let hint = match scalar.text.to_lowercase().as_str() {
                        "yes" | "on" | "y" => Some("write `true`".to_owned()),
                        "no" | "off" | "n" => Some("write `false`".to_owned()),
                        "true" | "false" => Some("remove the quotes".to_owned()),
                        _ => None,
                    };
                    self.wrong(path, node, "`true` or `false`", hint)
                }
            }
            Type::Int(from, to) => match scalar.as_int() {
                Some(value) if (*from..=*to).contains(&value) => Some(Value::from(value)),
                Some(value) => {
                    let bounds = int_bounds(*from, *to);
                    let got = format!("got {value}");
                    self.range(path, node, &bounds, got)
                }
                None => {
                    let whole = scalar.as_float().filter(|v| v.fract() == 0.0 && v.abs() < 1e15);
                    let hint = whole.map(|value| format!("write {value}"));
                    self.wrong(path, node, "a whole number", hint.or_else(|| number_hint(scalar)))
                }
            },
            Type::Float(from, to) => match scalar.as_float() {
                Some(value) if !value.is_finite() => {
                    self.range(path, node, "must be a finite number", format!("got {value}"))
                }
                Some(value) if above(*from, value) && below(*to, value) => Some(Value::from(value)),
                Some(value) => {
                    let got = format!("got {value}");
                    self.range(path, node, &float_bounds(*from, *to), got)
                }
                None => self.wrong(path, node, "a number", number_hint(scalar)),
            },
            Type::Text | Type::Words => {
                let empty_text = scalar.text.is_empty() && matches!(takes, Type::Text);
                if !scalar.is_text() && !empty_text {
                    let hint = format!("for a text, write `\"{}\"`", scalar.text);
                    return self.wrong(path, node, "text", Some(hint));
                }
                if scalar.text.is_empty() && matches!(takes, Type::Words) {
                    return self.range(path, node, "must not be empty", String::new());
                }
                Some(Value::from(&*scalar.text))
            }
            Type::Label => Some(Value::from(&*scalar.text)),
            Type::Form(form) => match (form.judge)(&scalar.text) {
                Verdict::Fine => Some(Value::from(&*scalar.text)),
                Verdict::NotBuilt(feature) => {
                    if self.live {
                        let problem = not_built(path, feature).at(self.sources, node.span, "");
                        self.fail(problem, path);
                    }
                    None
                }
                Verdict::Wrong(hint) => {
                    let words = form.words;
                    let problem = self
                        .not_allowed(path, node, format!("cannot be `{}`", scalar.text))
                        .hint(if hint.is_empty() { format!("it takes {words}") } else { hint });
                    self.fail(problem, path);
                    None
                }
            },
            Type::Choice(choices) => self.choice(choices, scalar, node, path),
            _ => None,
        }
    }

    pub(super) fn choice(
        &mut self,
        choices: &'static [Choice],
        scalar: &Scalar,
        node: &Node,
        path: &str,
    ) -> Option<Value> {
        let Some(choice) = choices.iter().find(|choice| choice.name == &*scalar.text) else {
            let near = nearest(&scalar.text, choices.iter().map(|choice| choice.name));
            let problem = self
                .not_allowed(path, node, format!("cannot be `{}`", scalar.text))
                .hint(did_you_mean(near, || format!("one of {}", names(choices))));
            self.fail(problem, path);
            return None;
        };
        match choice.status {
            Status::Built => return Some(Value::from(choice.name)),
            Status::NotBuilt(feature) => {
                if self.live {
                    let message = format!(
                        "`{path}: {}` needs {feature}, which is not built yet",
                        choice.name
                    );
                    let problem =
                        Problem::new(Kind::NotBuilt, path, message).at(self.sources, node.span, "");
                    self.fail(problem, path);
                } else {
                    return Some(Value::from(choice.name));
                }
            }
            Status::NoEffect(why) => {
                let problem = self
                    .not_allowed(path, node, format!("cannot be `{}`", choice.name))
                    .because(why);
                self.fail(problem, path);
            }
        }
        None
    }
}

fn above(bound: Bound, value: f64) -> bool {
    match bound {
        Bound::Open => true,
        Bound::With(least) => value >= least,
        Bound::Without(least) => value > least,
    }
}

fn below(bound: Bound, value: f64) -> bool {
    match bound {
        Bound::Open => true,
        Bound::With(most) => value <= most,
        Bound::Without(most) => value < most,
    }
}
