//! What the formats of `llguidance` let through, and calendars, clocks and name servers do not.

use serde_json::{Map, Value, json};

/// 29 February stands in leap years only: those divisible by 4, but by 100 only if by 400.
const DAYS: &str = concat!(
    "^(?:[0-9]{4}-(?:0[13-9]|1[0-2])-[0-9]{2}",
    "|[0-9]{4}-02-(?:0[1-9]|1[0-9]|2[0-8])",
    "|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)"
);
/// RFC 5321, section 4.5.3.1: 64 bytes before the `@`. RFC 1035, section 2.3.4: 63 in a label.
const MAILBOX: &str = r"^[^@]{1,64}@(?:\[|[^.@]{1,63}(?:\.[^.@]{1,63})*$)";
/// No leap second: it exists in some minutes only.
const SECONDS: &str = "[0-9]:[0-9]{2}:[0-5][0-9]";

/// Adds to a schema what its format leaves out.
pub(super) fn tighten(keywords: &mut Map<String, Value>) {
    let more: &[Value] = match keywords.get("format").and_then(Value::as_str) {
        Some("date") => &[json!({"pattern": DAYS})],
        Some("time") => &[json!({"pattern": SECONDS})],
        Some("date-time") => &[json!({"pattern": DAYS}), json!({"pattern": SECONDS})],
        Some("email") => &[json!({"pattern": MAILBOX, "maxLength": 254})],
        Some("hostname") => &[json!({"maxLength": 253})],
        _ => return,
    };
    if let Value::Array(all) = keywords.entry("allOf").or_insert_with(|| json!([])) {
        all.extend_from_slice(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Grammar;

    #[test]
    fn days_and_seconds_that_do_not_exist_are_not_written() {
        let accepts = |format: &str, text: &str| {
            let schema = json!({"type": "string", "format": format});
            Grammar::json_schema(&schema).unwrap().accepts(&format!("\"{text}\""))
        };
        for day in ["2024-02-29", "2000-02-29", "0400-02-29", "2023-02-28", "1999-12-31"] {
            assert!(accepts("date", day), "{day}");
            assert!(accepts("date-time", &format!("{day}T23:59:59Z")), "{day}");
        }
        for day in ["2023-02-29", "1900-02-29", "2100-02-29", "2024-02-30", "2024-04-31"] {
            assert!(!accepts("date", day), "{day}");
            assert!(!accepts("date-time", &format!("{day}T23:59:59Z")), "{day}");
        }
        assert!(accepts("time", "12:30:59.5+02:00"));
        assert!(!accepts("time", "12:30:60Z"));
    }
}
