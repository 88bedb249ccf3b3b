//! Python methods that templates call and that `minijinja-contrib` does not know.

use minijinja::value::{Kwargs, Tuple, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat;

/// Answers a method call on a plain value as Python would.
pub(super) fn method(
    state: &mut State<'_, '_>,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match (value.as_str(), name) {
        (Some(text), "removeprefix") => {
            let (prefix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_prefix(prefix).unwrap_or(text)))
        }
        (Some(text), "removesuffix") => {
            let (suffix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_suffix(suffix).unwrap_or(text)))
        }
        (Some(text), "rsplit") => {
            let (mark, limit): (Option<&str>, Option<i64>) = from_args(args)?;
            rsplit(text, mark, limit)
        }
        (Some(text), "partition") => {
            let (mark,): (&str,) = from_args(args)?;
            let (a, b, c) =
                text.split_once(mark).map_or((text, "", ""), |(left, right)| (left, mark, right));
            Ok(triple(a, b, c))
        }
        (Some(text), "rpartition") => {
            let (mark,): (&str,) = from_args(args)?;
            let (a, b, c) =
                text.rsplit_once(mark).map_or(("", "", text), |(left, right)| (left, mark, right));
            Ok(triple(a, b, c))
        }
        (Some(text), "split") => split(state, value, text, args),
        _ => pycompat::unknown_method_callback(state, value, name, args),
    }
}

/// `is iterable`: none is not, what is undefined is.
pub(super) fn iterable(value: &Value) -> bool {
    !value.is_none() && (value.kind() == ValueKind::String || value.try_iter().is_ok())
}

/// `split` takes its arguments by name, too.
fn split(
    state: &mut State<'_, '_>,
    value: &Value,
    text: &str,
    args: &[Value],
) -> Result<Value, Error> {
    if !args.last().is_some_and(Value::is_kwargs) {
        return pycompat::unknown_method_callback(state, value, "split", args);
    }
    let (mark, limit, kwargs): (Option<&str>, Option<i64>, Kwargs) = from_args(args)?;
    let mark = match mark {
        Some(mark) => Some(mark.to_owned()),
        None => kwargs.get::<Option<String>>("sep")?,
    };
    let limit = match limit {
        Some(limit) => Some(limit),
        None => kwargs.get::<Option<i64>>("maxsplit")?,
    };
    kwargs.assert_all_used()?;
    match mark {
        Some(mark) if mark.is_empty() => Err(empty_separator()),
        Some(mark) => Ok(match limit.and_then(|n| usize::try_from(n).ok()) {
            Some(n) => text.splitn(n.saturating_add(1), &mark).map(Value::from).collect(),
            None => text.split(&mark).map(Value::from).collect(),
        }),
        None => Ok(text.split_whitespace().map(Value::from).collect()),
    }
}

fn rsplit(text: &str, mark: Option<&str>, limit: Option<i64>) -> Result<Value, Error> {
    let limit = limit.and_then(|n| usize::try_from(n).ok()).map(|n| n.saturating_add(1));
    let mut parts: Vec<&str> = match (mark, limit) {
        (Some(""), _) => return Err(empty_separator()),
        (Some(mark), Some(limit)) => text.rsplitn(limit, mark).collect(),
        (Some(mark), None) => text.rsplit(mark).collect(),
        (None, _) => text.split_whitespace().rev().collect(),
    };
    parts.reverse();
    Ok(parts.into_iter().map(Value::from).collect())
}

fn triple(a: &str, b: &str, c: &str) -> Value {
    Value::from(Tuple::from([Value::from(a), Value::from(b), Value::from(c)]))
}

fn empty_separator() -> Error {
    Error::new(ErrorKind::InvalidOperation, "empty separator")
}
