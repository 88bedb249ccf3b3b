//! `fidelio reference`: this command line as a page, which `cargo xtask docs` keeps in `docs/`.
//!
//! Hidden, since `--help` says the same to a person at a terminal.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command, CommandFactory as _};

use crate::{args::Cli, failure::Failure, ui::Ui};

pub(crate) fn run(ui: &Ui) -> Result<(), Failure> {
    ui.print(&page(Cli::command()))
}

/// The page, in Markdown: flags of every command first, then one section for each command.
fn page(mut root: Command) -> String {
    // Fills in what clap derives: usage lines, and the flags that every command has.
    root.build();
    let mut page = String::from("# The command line\n\n");
    page.push_str("This page is generated from the definitions that `fidelio --help` shows.\n");
    page.push_str("Results go to stdout, all else to stderr.\n");
    if let Some(end) = root.get_after_help() {
        let _ = writeln!(page, "{end}");
    }
    let everywhere: Vec<&Arg> = root.get_arguments().filter(|arg| arg.is_global_set()).collect();
    page.push_str("\n## Everywhere\n");
    table(&mut page, &everywhere);
    for command in commands(&root) {
        section(&mut page, command);
    }
    page
}

fn commands(above: &Command) -> impl Iterator<Item = &Command> {
    above.get_subcommands().filter(|it| !it.is_hide_set() && it.get_name() != "help")
}

/// A command, then the commands below it.
fn section(page: &mut String, command: &Command) {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let _ = writeln!(page, "\n## `{name}`\n");
    if let Some(about) = command.get_about() {
        let _ = writeln!(page, "{about}.");
    }
    let aliases: Vec<String> = command.get_all_aliases().map(|it| format!("`{it}`")).collect();
    if !aliases.is_empty() {
        let _ = writeln!(page, "Also under the name {}.", aliases.join(" or "));
    }
    let usage = command.clone().render_usage().to_string();
    let _ = writeln!(page, "\n```text\n{}\n```", usage.trim_start_matches("Usage: ").trim());

    let own: Vec<&Arg> = command.get_arguments().filter(|arg| !arg.is_global_set()).collect();
    let mut headings: Vec<Option<&str>> = Vec::new();
    for arg in &own {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    for heading in headings {
        let of: Vec<&Arg> =
            own.iter().copied().filter(|arg| arg.get_help_heading() == heading).collect();
        if let Some(heading) = heading.filter(|_| of.iter().any(|arg| is_shown(arg))) {
            let _ = writeln!(page, "\n{heading}:");
        }
        table(page, &of);
    }
    for below in commands(command) {
        section(page, below);
    }
}

fn is_shown(arg: &Arg) -> bool {
    !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version")
}

fn table(page: &mut String, args: &[&Arg]) {
    let shown: Vec<&&Arg> = args.iter().filter(|arg| is_shown(arg)).collect();
    if shown.is_empty() {
        return;
    }
    page.push_str("\n| flag | default | meaning |\n|---|---|---|\n");
    for arg in shown {
        let meaning = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let meaning = meaning.replace('|', "\\|");
        let _ = writeln!(page, "| {} | {} | {meaning}.{} |", spelt(arg), default(arg), values(arg));
    }
}

/// Its flags and what they take, as on the command line.
fn spelt(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let value: String = match arg.get_action() {
        ArgAction::Set | ArgAction::Append => names.iter().flat_map(|it| [" <", it, ">"]).collect(),
        _ => String::new(),
    };
    let short = arg.get_short().map(|it| format!("-{it}"));
    let long = arg.get_long().map(|it| format!("--{it}"));
    let flags: Vec<String> = short.into_iter().chain(long).collect();
    format!("`{}`", format!("{}{value}", flags.join(", ")).trim().replace('|', "\\|"))
}

fn default(arg: &Arg) -> String {
    if arg.is_required_set() {
        return "**required**".to_owned();
    }
    // A switch that is not given is off, which goes without saying.
    if !matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) {
        return String::new();
    }
    let defaults = arg.get_default_values().iter().map(|it| format!("`{}`", it.display()));
    defaults.collect::<Vec<_>>().join(" ")
}

/// The words that it takes, if it takes no others.
fn values(arg: &Arg) -> String {
    let words = arg.get_possible_values();
    if words.is_empty() || !matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) {
        return String::new();
    }
    let words = words.iter().filter(|word| !word.is_hide_set());
    let words: Vec<String> = words.map(|word| format!("`{}`", word.get_name())).collect();
    format!(" One of {}.", words.join(", "))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    #[command(name = "tool", after_help = "Exit codes: 0 done.")]
    enum Tool {
        /// Do it
        #[command(alias = "perform")]
        Do {
            /// What it is done to
            #[arg(value_name = "THIS|THAT")]
            what: String,
            /// How often
            #[arg(short, long, value_name = "N", default_value_t = 3)]
            times: usize,
            /// At once
            #[arg(long)]
            now: bool,
            /// Nobody asks
            #[arg(long, hide = true)]
            secret: bool,
        },
    }

    #[test]
    fn each_command_is_a_section_with_its_flags_in_a_table() {
        let page = page(Tool::command());
        let section = page.split_once("## `tool do`").expect("a section").1;
        insta::assert_snapshot!(section.trim(), @r"
        Do it.
        Also under the name `perform`.

        ```text
        tool do [OPTIONS] <THIS|THAT>
        ```

        | flag | default | meaning |
        |---|---|---|
        | `<THIS\|THAT>` | **required** | What it is done to. |
        | `-t, --times <N>` | `3` | How often. |
        | `--now` |  | At once. |
        ");
    }
}
