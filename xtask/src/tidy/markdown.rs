//! Links in our documents lead somewhere, and the commands they show exist.

use super::Findings;
use super::tree::{File, Tree};
use regex::Regex;
use std::collections::BTreeSet;

pub(super) fn check(tree: &Tree, found: &mut Findings) {
    let ours: BTreeSet<String> = crate::command_names().into_iter().collect();
    let cli = cli_commands(tree);
    for file in tree.below("", ".md") {
        links(tree, file, found);
        commands(file, &ours, cli.as_ref(), found);
    }
}

/// Relative links name a file or folder of the tree, and a heading that it has.
fn links(tree: &Tree, file: &File, found: &mut Findings) {
    let link = Regex::new(r"\]\(([^)\s]+)\)").expect("constant");
    let mut fenced = false;
    for (line, text) in file.lines() {
        if text.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for target in link.captures_iter(text).map(|parts| parts[1].to_owned()) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let at = format!("{}:{line}", file.path);
            let (path, heading) = target.split_once('#').unwrap_or((&target, ""));
            let path = if path.is_empty() { file.path.clone() } else { resolve(&file.path, path) };
            let folder = format!("{path}/");
            if !path.is_empty()
                && !tree.paths.iter().any(|known| *known == path || known.starts_with(&folder))
            {
                found.error(&at, format!("the link to `{target}` is dead"));
            } else if !heading.is_empty()
                && let Some(page) = tree.get(&path)
                && !headings(page).contains(heading)
            {
                found.error(&at, format!("`{path}` has no heading `#{heading}`"));
            }
        }
    }
}

/// A path relative to the file that names it, from the root.
fn resolve(from: &str, to: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in to.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The anchors of a page's headings: lower case, blanks as hyphens, no punctuation.
fn headings(page: &File) -> BTreeSet<String> {
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    page.text.lines().filter(|line| line.starts_with('#')).map(anchor).collect()
}

/// `cargo xtask X` anywhere, and `fidelio X` in blocks of shell commands.
fn commands(
    file: &File,
    ours: &BTreeSet<String>,
    cli: Option<&BTreeSet<String>>,
    found: &mut Findings,
) {
    let xtask = Regex::new(r"\bcargo xtask ([a-z][a-z-]*)").expect("constant");
    let fidelio = Regex::new(r"^\s*(?:\$ )?fidelio ([a-z][a-z-]*)").expect("constant");
    let mut block: Option<&str> = None;
    for (line, text) in file.lines() {
        let at = format!("{}:{line}", file.path);
        for command in xtask.captures_iter(text).map(|parts| parts[1].to_owned()) {
            if !ours.contains(&command) {
                found.error(&at, format!("there is no `cargo xtask {command}`"));
            }
        }
        if let Some(kind) = text.trim_start().strip_prefix("```") {
            block = if block.is_some() { None } else { Some(kind.trim()) };
            continue;
        }
        let is_shell = block.is_some_and(|kind| matches!(kind, "sh" | "bash" | "console"));
        if let (true, Some(cli), Some(parts)) = (is_shell, cli, fidelio.captures(text))
            && !cli.contains(&parts[1])
        {
            found.error(&at, format!("there is no `fidelio {}`", &parts[1]));
        }
    }
}

/// The subcommands of the binary, read from the source that defines them.
/// `None` while there is no such source.
fn cli_commands(tree: &Tree) -> Option<BTreeSet<String>> {
    let definition =
        Regex::new(r"(?s)#\[derive\([^\]]*\bSubcommand\b[^\]]*\)\](.*?)\n\}").expect("constant");
    let variant = Regex::new(r"(?m)^    ([A-Z]\w*)\s*[,({]").expect("constant");
    let renamed = Regex::new(r#"#\[command\([^\]]*name = "([^"]+)""#).expect("constant");
    let mut names = BTreeSet::from(["help".to_owned()]);
    for file in tree.below("crates/cli/src/", ".rs") {
        for body in definition.captures_iter(&file.text).map(|parts| parts[1].to_owned()) {
            names.extend(variant.captures_iter(&body).map(|parts| kebab(&parts[1])));
            names.extend(renamed.captures_iter(&body).map(|parts| parts[1].to_owned()));
        }
    }
    (names.len() > 1).then_some(names)
}

/// `RenderConfig` as clap spells it: `render-config`.
fn kebab(name: &str) -> String {
    let mut spelt = String::new();
    for (index, character) in name.chars().enumerate() {
        if character.is_uppercase() && index > 0 {
            spelt.push('-');
        }
        spelt.extend(character.to_lowercase());
    }
    spelt
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(files: &[(&str, &str)]) -> Vec<String> {
        let mut found = Findings::default();
        check(&Tree::of(files), &mut found);
        found.errors
    }

    #[test]
    fn dead_links_are_found() {
        let page = "[a](../README.md) [b](gone.md) [c](https://example.org) [d](b.md#two-words) [e](b.md#x)";
        let files =
            [("docs/a.md", page), ("docs/b.md", "# Two words\n"), ("README.md", "[docs](docs/)")];
        let errors = errors(&files);
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].contains("gone.md") && errors[1].contains("#x"));
    }

    #[test]
    fn commands_that_do_not_exist_are_found() {
        let cli = "#[derive(Debug, Subcommand)]\nenum Command {\n    /// Says.\n    RenderConfig(Args),\n    Check { all: bool },\n}\n";
        let page = "`cargo xtask check`, `cargo xtask chekc`\n```sh\nfidelio render-config -c run.yaml\nfidelio rendr\n```\n";
        let errors = errors(&[("README.md", page), ("crates/cli/src/main.rs", cli)]);
        assert_eq!(errors.len(), 2, "{errors:?}");
    }
}
