//! `cargo xtask test`: nextest, then the examples in the documentation.

use crate::places;
use crate::programs::{self, cargo, is_installed};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, IsTerminal};
use std::process::{Command, Stdio};

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The one device that models run on, its backend compiled in; without it flex and ndarray.
    #[arg(long, value_enum)]
    device: Option<Device>,
    /// Run only the tests whose name contains one of these.
    filters: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Device {
    Flex,
    Ndarray,
    Wgpu,
    Cuda,
}

/// The backends that every submission is tested with.
pub(crate) const FEATURES: &str = "flex,ndarray";

impl Device {
    fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        }
    }

    fn features(device: Option<Self>) -> &'static str {
        match device {
            None | Some(Self::Flex | Self::Ndarray) => FEATURES,
            Some(Self::Wgpu) => "flex,wgpu",
            Some(Self::Cuda) => "flex,cuda",
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let summary = tests(args.device, &args.filters)?;
    if args.filters.is_empty() {
        doctests(Device::features(args.device))?;
    }
    eprintln!("{summary}");
    Ok(())
}

/// Runs the tests of the whole workspace and returns the runner's summary line.
pub(crate) fn tests(device: Option<Device>, filters: &[String]) -> Result<String> {
    let features = Device::features(device);
    let device = device.map(|device| ("FIDELIO_TEST_DEVICE", device.name()));
    if is_installed("cargo", &["nextest", "--version"]) {
        let mut command = cargo(&["nextest", "run", "--workspace", "--no-fail-fast"]);
        command.args(["--features", features]).args(filters).envs(device);
        if places::on_ci() {
            command.args(["--profile", "ci"]);
        }
        // Nextest writes its report, the summary included, to stderr.
        let seen = watched(&mut command, Watch::Stderr, |line| line.contains("Summary ["))?;
        return seen.last().cloned().context("the test runner ended without a summary");
    }
    if places::on_ci() {
        bail!("cargo-nextest is not installed (cargo install --locked cargo-nextest)");
    }
    eprintln!("test: cargo-nextest is not installed; `cargo test` runs the same tests, slower");
    let mut command =
        cargo(&["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"]);
    command.args(["--features", features]).args(filters).envs(device);
    let seen = watched(&mut command, Watch::Stdout, |line| line.starts_with("test result:"))?;
    Ok(sum(&seen))
}

/// Runs the examples in the documentation.
pub(crate) fn doctests(features: &str) -> Result<()> {
    programs::run(&mut cargo(&["test", "--workspace", "--doc", "--features", features]))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    Stdout,
    Stderr,
}

/// Runs a command, passes one of its streams on to our stderr, and returns the lines asked for.
fn watched(
    command: &mut Command,
    watch: Watch,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<String>> {
    if std::io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = match watch {
        Watch::Stdout => command.stdout(Stdio::piped()),
        Watch::Stderr => command.stderr(Stdio::piped()),
    }
    .stdin(Stdio::null())
    .spawn()
    .context("cannot start cargo")?;

    let stream: Box<dyn std::io::Read> = match watch {
        Watch::Stdout => Box::new(child.stdout.take().expect("piped above")),
        Watch::Stderr => Box::new(child.stderr.take().expect("piped above")),
    };
    let mut seen = Vec::new();
    for line in BufReader::new(stream).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        eprintln!("{line}");
        let plain = without_colors(&line);
        if wanted(&plain) {
            seen.push(plain.trim().to_owned());
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("tests failed{}", seen.last().map_or(String::new(), |line| format!(": {line}")));
    }
    Ok(seen)
}

fn without_colors(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line.chars();
    while let Some(character) = rest.next() {
        if character == '\u{1b}' {
            // A color is ESC [ numbers m.
            let _ = rest.by_ref().find(|&end| end == 'm');
        } else {
            plain.push(character);
        }
    }
    plain
}

/// One line for the many of `cargo test`.
fn sum(results: &[String]) -> String {
    let count = |what: &str| -> u64 {
        results
            .iter()
            .filter_map(|line| {
                line.split(what).next()?.split([' ', ';', '.']).rfind(|w| !w.is_empty())
            })
            .filter_map(|number| number.parse::<u64>().ok())
            .sum()
    };
    let (passed, failed) = (count(" passed"), count(" failed"));
    format!("Summary: {} tests run: {passed} passed, {failed} failed", passed + failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_are_taken_off() {
        let line = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.1s] 3 tests run";
        assert_eq!(without_colors(line), "     Summary [   0.1s] 3 tests run");
    }

    #[test]
    fn results_of_several_binaries_are_summed() {
        let results = [
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured".to_owned(),
            "test result: ok. 4 passed; 1 failed; 0 ignored; 0 measured".to_owned(),
        ];
        assert_eq!(sum(&results), "Summary: 8 tests run: 7 passed, 1 failed");
    }
}
