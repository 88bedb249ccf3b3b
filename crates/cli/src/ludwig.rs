//! Names that people bring with them: Ludwig's two-letter flags, and commands that come later.

use std::{ffi::OsString, process::ExitCode};

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::{failure, ui};

/// Ludwig's short flags of two letters, which clap would read as one flag and its value.
const FLAGS: [(&str, &str); 9] = [
    ("-cs", "--config-str"),
    ("-od", "--output-directory"),
    ("-rs", "--random-seed"),
    ("-gc", "--generation-config"),
    ("-bs", "--batch-size"),
    ("-kf", "--k-fold"),
    ("-ff", "--file-format"),
    ("-sstp", "--skip-save-predictions"),
    ("-sses", "--skip-save-eval-stats"),
];

/// Commands that are known and not here yet, each with what it comes with.
const LATER: [(&str, &str); 2] = [
    ("hyperopt", "it comes with the search for settings, after fine-tuning"),
    ("upload", "it comes with fine-tuning, when there is something to upload"),
];

/// Ludwig's spelling as ours: two-letter flags, and underscores in the names of long ones.
pub(crate) fn respell(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut rest_is_values = false;
    let mut respelt = Vec::new();
    for argument in arguments {
        rest_is_values |= argument == "--";
        let text = argument.to_str().filter(|_| !rest_is_values);
        respelt.push(text.and_then(flag).map_or(argument, OsString::from));
    }
    respelt
}

fn flag(text: &str) -> Option<String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let name = match FLAGS.iter().find(|(short, _)| *short == name) {
        Some((_, long)) => (*long).to_owned(),
        None if name.starts_with("--") && name.contains('_') => name.replace('_', "-"),
        None => return None,
    };
    Some(value.map_or(name.clone(), |value| format!("{name}={value}")))
}

/// Prints what clap has to say, or what we know better, and gives the exit code.
pub(crate) fn answer(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Help and version. Nobody is left to tell if stdout is gone.
        drop(error.print());
        return ExitCode::SUCCESS;
    }
    let unknown = match (error.kind(), error.get(ContextKind::InvalidSubcommand)) {
        (ErrorKind::InvalidSubcommand, Some(ContextValue::String(name))) => Some(name.as_str()),
        _ => None,
    };
    match unknown.and_then(later) {
        Some(sentence) => ui::complain(&sentence),
        None => drop(error.print()),
    }
    ExitCode::from(failure::IMPOSSIBLE)
}

fn later(command: &str) -> Option<String> {
    let spelt = command.replace('_', "-");
    let (name, why) = LATER.iter().find(|(later, _)| *later == spelt)?;
    Some(format!("error: `fidelio {name}` is not built yet: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &[&str], expected: &[&str]) {
        assert_eq!(respell(given.iter().map(OsString::from)), expected);
    }

    #[test]
    fn ludwigs_flags_become_ours() {
        check(&["-cs", "a: 1"], &["--config-str", "a: 1"]);
        check(&["--output_directory=a_b"], &["--output-directory=a_b"]);
        check(&["--set", "a_b=1"], &["--set", "a_b=1"]);
        check(&["-c", "run_1.yaml"], &["-c", "run_1.yaml"]);
        check(&["--", "--a_b", "-cs"], &["--", "--a_b", "-cs"]);
    }

    #[test]
    fn commands_that_come_later_say_with_what() {
        assert!(later("hyperopt").is_some_and(|text| text.contains("fine-tuning")));
        assert!(later("trian").is_none());
    }
}
