//! A mistake of ours, told in one sentence instead of a backtrace.

use std::panic::PanicHookInfo;

use crate::ui;

/// The thread on which files are read by crates that panic on broken ones.
const FOREIGN_FILE: &str = fidelio::documents::FOREIGN_FILE;

/// Replaces the runtime's message. `RUST_BACKTRACE` still prints where it happened.
pub(crate) fn install() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // What a broken file does to the crate that reads it becomes an error, and is told as one.
        if std::thread::current().name() == Some(FOREIGN_FILE) {
            return;
        }
        ui::complain(&sorry(info));
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            usual(info);
        }
    }));
}

fn sorry(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let what = payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    let at = info.location().map(ToString::to_string).unwrap_or_default();
    message(&what, &at)
}

fn message(what: &str, at: &str) -> String {
    let what = what.lines().next().unwrap_or_default();
    format!(
        "error: Fidelio made a mistake of its own and had to stop: {what} ({at})\n  \
         = hint: please report it at {}/issues with the command and what `fidelio doctor` prints",
        env!("CARGO_PKG_REPOSITORY")
    )
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn a_panic_is_one_sentence_and_a_place_to_report_it() {
        let text = message("index out of bounds\nmore", "crates/x/src/y.rs:3:1");
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("index out of bounds (crates/x/src/y.rs:3:1)"));
        assert!(text.contains("/issues"));
    }
}
