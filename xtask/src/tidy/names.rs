//! The walks in `docs/ARCHITECTURE.md` name functions that exist.

use super::Findings;
use super::tree::Tree;
use regex::Regex;

const PAGE: &str = "docs/ARCHITECTURE.md";

/// Checks every name like `generate::Engine::submit`: a crate's folder, then what it defines.
pub(super) fn check(tree: &Tree, found: &mut Findings) {
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
