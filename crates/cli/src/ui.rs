//! How the program talks: data to stdout, everything else to stderr.

pub(crate) mod errors;
mod outline;
pub(crate) mod progress;
mod table;

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
};

use serde::Serialize;

pub(crate) use outline::outline;
pub(crate) use table::Table;

use crate::{args::Global, failure::Failure};

/// What the global flags and the terminal say about talking.
#[derive(Debug)]
pub(crate) struct Ui {
    json: bool,
    quiet: bool,
    /// Whether progress bars may move.
    moving: bool,
}

impl Ui {
    pub(crate) fn new(flags: &Global) -> Self {
        if flags.plain {
            anstream::ColorChoice::Never.write_global();
        }
        let moving = !flags.plain && !flags.quiet && io::stderr().is_terminal();
        Self { json: flags.json, quiet: flags.quiet, moving }
    }

    /// Whether results are wanted as JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether only results and problems are to be said.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Text to stdout, as it is.
    #[expect(clippy::unused_self, reason = "all data goes out through one value")]
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(stdout_failed)
    }

    /// A result to stdout: as JSON if the user wants that, else as `text` says it.
    pub(crate) fn result(
        &self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.json { self.json(value) } else { self.print(&text()) }
    }

    /// A value to stdout as JSON.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let mut text = serde_json::to_string_pretty(value)
            .map_err(|error| stdout_failed(io::Error::other(error)))?;
        text.push('\n');
        self.print(&text)
    }

    /// A line to stderr, unless nothing is to be said.
    pub(crate) fn note(&self, text: impl Display) {
        if !self.quiet {
            complain(&text.to_string());
        }
    }
}

/// A line to stderr, whatever the flags say. A stderr that is gone cannot be told so.
pub(crate) fn complain(text: &str) {
    drop(writeln!(anstream::stderr().lock(), "{}", painted(text)));
}

/// The words that the eye looks for, in colour; the stream takes colours out where they are not
/// wanted.
fn painted(text: &str) -> String {
    let line = |line: &str| {
        if let Some(rest) = line.strip_prefix("error") {
            return format!("\u{1b}[1;31merror\u{1b}[0m{rest}");
        }
        match line.split_once("= hint:") {
            Some((before, rest)) if before.trim().is_empty() => {
                format!("{before}= \u{1b}[1;36mhint\u{1b}[0m:{rest}")
            }
            _ => line.to_owned(),
        }
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

fn stdout_failed(source: io::Error) -> Failure {
    if source.kind() == io::ErrorKind::BrokenPipe {
        Failure::BrokenPipe
    } else {
        Failure::Write { path: "stdout".into(), source }
    }
}

/// Bytes as people write them: `98.4 MB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    if value < 9.995 { format!("{value:.2} {unit}") } else { format!("{value:.1} {unit}") }
}

/// A number with its noun: `1 row`, `2 rows`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Seconds as people read them: `3.2 s`, `4 min 05 s`.
pub(crate) fn seconds(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    if whole < 3600 {
        return format!("{} min {:02} s", whole / 60, whole % 60);
    }
    format!("{} h {:02} min", whole / 3600, whole % 3600 / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_read_well() {
        let cases = [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (98_400_000, "98.4 MB")];
        for (size, text) in cases {
            assert_eq!(bytes(size), text);
        }
        assert_eq!(bytes(999_999_999), "1.00 GB");
        let cases = [(3.24, "3.2 s"), (245.0, "4 min 05 s"), (7384.0, "2 h 03 min")];
        for (time, text) in cases {
            assert_eq!(seconds(time), text);
        }
        assert_eq!(count(1, "row"), "1 row");
        assert_eq!(count(0, "row"), "0 rows");
    }
}
