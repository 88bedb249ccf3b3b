//! Words that stand in no file: paths of one machine, and hosts of package registries.

use super::Findings;
use super::tree::Tree;
use regex::Regex;

/// Files that people write; data and fixtures may hold anything.
const WRITTEN: [&str; 9] =
    [".rs", ".md", ".toml", ".yaml", ".yml", ".py", ".sh", ".ci/run", ".gitignore"];

pub(super) fn check(tree: &Tree, found: &mut Findings) {
    let path = Regex::new(r#"(?:^|[\s"'`(=:])/(root|work|(?:home|Users)/\w+)/"#).expect("constant");
    let host = Regex::new(
        r"\b(pypi\.org|pythonhosted\.org|registry\.npmjs\.org|(static|index)\.crates\.io|deb\.debian\.org)\b",
    )
    .expect("constant");
    for file in &tree.files {
        let written = WRITTEN.iter().any(|end| file.path.ends_with(end));
        // This file must name what it looks for.
        if !written || file.path == "xtask/src/tidy/words.rs" {
            continue;
        }
        for (line, text) in file.lines() {
            let at = format!("{}:{line}", file.path);
            // `/home/me` is nobody's.
            if path.captures_iter(text).any(|parts| !parts[1].ends_with("/me")) {
                found.error(&at, "names a path of one machine");
            }
            if host.is_match(text) {
                found.error(&at, "names a registry's host; name the package and its registry");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_paths_are_found_in_what_people_write() {
        let tree = Tree::of(&[
            ("docs/a.md", "see /home/anna/model.gguf"),
            ("docs/b.md", "see docs/home/page and /home/me/model.gguf"),
            ("tests/data.json", "\"/home/me\""),
        ]);
        let mut found = Findings::default();
        check(&tree, &mut found);
        assert_eq!(found.errors, ["docs/a.md:1: names a path of one machine"]);
    }
}
