//! `{% generation %}` blocks: transformers' mark for what the assistant writes.
//!
//! minijinja has no extensions, but transformers builds the block as a call block, and so do we: the
//! tags become `{% call … %}` and `{% endcall %}`, on the same line.

use minijinja::value::{Kwargs, Value};
use minijinja::{Error, State};

/// Put around a generation block's output when it is tracked. Private characters, checked for in the data.
pub(crate) const OPEN: char = '\u{10FFF0}';
/// The end of [`OPEN`].
pub(crate) const CLOSE: char = '\u{10FFF1}';
/// The function that the call blocks call.
pub(super) const FUNCTION: &str = "__generation__";
/// The variable that turns the tracking on.
pub(super) const TRACK: &str = "__track_generation__";

/// The source with generation tags rewritten, and whether there were any.
pub(super) fn rewrite(source: &str) -> (String, bool) {
    let mut out = String::with_capacity(source.len());
    let mut found = false;
    let mut rest = source;
    while let Some(at) = rest.find('{') {
        let (before, here) = rest.split_at(at);
        out.push_str(before);
        let taken = if here.starts_with("{#") {
            here.find("#}").map_or(here.len(), |end| end + 2)
        } else if let Some((end, tag, word)) = tag(here) {
            let length = match word {
                "generation" | "endgeneration" => {
                    found = true;
                    out.push_str(&tag);
                    rest = &here[end..];
                    continue;
                }
                "raw" => here.find("endraw").unwrap_or(here.len()),
                _ => end,
            };
            length.max(1)
        } else {
            1
        };
        out.push_str(&here[..taken]);
        rest = &here[taken..];
    }
    out.push_str(rest);
    (out, found)
}

/// A tag of one word at the start of `text`: its length, its replacement, the word.
fn tag(text: &str) -> Option<(usize, String, &str)> {
    let inner = text.strip_prefix("{%")?;
    let length = inner.find("%}")?;
    let inside = &inner[..length];
    let (open, inside) = sign_in_front(inside);
    let (close, inside) = sign_behind(inside);
    let word = inside.trim();
    let call = match word {
        "generation" => format!("call {FUNCTION}()"),
        "endgeneration" => "endcall".to_owned(),
        other if other.chars().all(|c| c.is_ascii_alphabetic()) => String::new(),
        _ => return None,
    };
    // Line breaks inside the tag are kept, so that lines in errors stay those of the checkpoint's file.
    let breaks = "\n".repeat(inside.matches('\n').count());
    Some((length + 4, format!("{{%{open} {call}{breaks} {close}%}}"), word))
}

fn sign_in_front(text: &str) -> (&str, &str) {
    if text.starts_with(['-', '+']) { text.split_at(1) } else { ("", text) }
}

fn sign_behind(text: &str) -> (&str, &str) {
    if text.ends_with(['-', '+']) {
        let (inside, sign) = text.split_at(text.len() - 1);
        (sign, inside)
    } else {
        ("", text)
    }
}

/// What the call block calls: its body, between marks when tracked.
#[expect(clippy::needless_pass_by_value, reason = "minijinja hands arguments over by value")]
pub(super) fn support(state: &mut State<'_, '_>, kwargs: Kwargs) -> Result<Value, Error> {
    let caller: Value = kwargs.get("caller")?;
    let body = caller.call(state, &[])?;
    if state.lookup(TRACK).is_some_and(|v| v.is_true()) {
        return Ok(Value::from(format!("{OPEN}{body}{CLOSE}")));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::rewrite;

    #[test]
    fn tags_become_calls() {
        let (out, found) = rewrite("a{%- generation -%}b{% endgeneration %}{# {% generation %} #}");
        assert!(found);
        assert_eq!(out, "a{%- call __generation__() -%}b{% endcall %}{# {% generation %} #}");
    }

    #[test]
    fn everything_else_stays() {
        for source in [
            "{{ generation }}",
            "{% set generation = 1 %}",
            "{% raw %}{% generation %}{% endraw %}",
            "{",
            "{%",
            "{#",
        ] {
            assert_eq!(rewrite(source), (source.to_owned(), false));
        }
    }
}
