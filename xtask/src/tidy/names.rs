//! The walks in `docs/ARCHITECTURE.md` name functions that exist, and the page of failures that cannot
//! happen names tests that exist.

use super::Findings;
use super::tree::Tree;
use regex::Regex;
use std::collections::BTreeSet;

const PAGE: &str = "docs/ARCHITECTURE.md";
/// Its tables name tests in the last column.
const FAILURES: &str = "docs/guide/what-cannot-happen.md";

/// Checks every name like `generate::Engine::submit`: a crate's folder, then what it defines.
pub(super) fn check(tree: &Tree, found: &mut Findings) {
    walks(tree, found);
    tests(tree, found);
}

fn walks(tree: &Tree, found: &mut Findings) {
    let Some(page) = tree.get(PAGE) else { return };
    let name = Regex::new(r"`([a-z_]+)((?:::\w+)+)(?:\([^`]*\))?`").expect("constant");
    for (line, text) in page.lines() {
        for parts in name.captures_iter(text) {
            let folder = format!("crates/{}/src/", &parts[1]);
            if tree.below(&folder, ".rs").next().is_none() {
                continue; // Someone else's crate.
            }
            for part in parts[2].split("::").filter(|part| !part.is_empty()) {
                if !is_defined(tree, &folder, part) {
                    let message =
                        format!("`{part}` of `{}{}` is not defined", &parts[1], &parts[2]);
                    found.error(format!("{PAGE}:{line}"), message);
                }
            }
        }
    }
}

fn tests(tree: &Tree, found: &mut Findings) {
    let Some(page) = tree.get(FAILURES) else { return };
    let function = Regex::new(r"\bfn (\w+)").expect("constant");
    let name = Regex::new(r"`(\w+)`").expect("constant");
    let functions: BTreeSet<&str> = tree
        .below("crates/", ".rs")
        .flat_map(|file| function.captures_iter(&file.text))
        .filter_map(|parts| Some(parts.get(1)?.as_str()))
        .collect();
    for (line, text) in page.lines() {
        let row = text.strip_prefix('|').and_then(|row| row.strip_suffix('|'));
        let Some(last) = row.and_then(|row| row.rsplit('|').next()) else { continue };
        for parts in name.captures_iter(last) {
            if !functions.contains(&parts[1]) {
                found.error(format!("{FAILURES}:{line}"), format!("no test is `{}`", &parts[1]));
            }
        }
    }
}

fn is_defined(tree: &Tree, folder: &str, name: &str) -> bool {
    let keywords = "fn|struct|enum|trait|mod|type|const|static|macro_rules!";
    let definition = format!(r"\b({keywords})\s+{name}\b|^\s*{name}\s*[,({{]");
    let definition = Regex::new(&format!("(?m){definition}")).expect("a name is a word");
    tree.below(folder, ".rs").any(|file| definition.is_match(&file.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_is_gone_is_found() {
        let source = "#[test]\nfn it_holds() {}\n";
        let page = "`not_a_row`\n| a failure | `a_key` | `it_holds`, `it_held` |\n";
        let tree = Tree::of(&[("crates/a/tests/a.rs", source), (FAILURES, page)]);
        let mut found = Findings::default();
        check(&tree, &mut found);
        assert_eq!(found.errors.len(), 1, "{:?}", found.errors);
        assert!(found.errors[0].contains(":2") && found.errors[0].contains("`it_held`"));
    }

    #[test]
    fn a_name_that_is_gone_is_found() {
        let source = "pub struct Engine;\nimpl Engine {\n    pub fn submit(&self) {}\n}\n";
        let page = "`generate::Engine::submit` then `generate::Engine::leave`, `std::mem::take`";
        let tree = Tree::of(&[("crates/generate/src/lib.rs", source), (PAGE, page)]);
        let mut found = Findings::default();
        check(&tree, &mut found);
        assert_eq!(found.errors.len(), 1);
        assert!(found.errors[0].contains("`leave`"));
    }
}
