//! What our Rust sources may name where: Burn, `unsafe`, prints; and how long and named they are.

use super::Findings;
use super::metadata::Metadata;
use super::tree::{File, Tree};
use regex::Regex;

/// The crates that may name Burn and what belongs to it.
const NAME_BURN: [&str; 2] = ["ops", "model"];

/// Where `unsafe` may stand: kernels, the file map of checkpoints, a word to the system's allocator,
/// the C border and what measures it, and the allocator that counts for the fuzz targets.
const MAY_BE_UNSAFE: [&str; 7] = [
    "crates/kernels/src/",
    "crates/weights/src/mmap",
    "crates/cli/src/heap.rs",
    "crates/plugin/",
    "plugins/",
    "benchmarks/benches/plugin_call.rs",
    "fuzz/src/",
];

/// Crates that talk to a person.
const MAY_PRINT: [&str; 3] = ["crates/cli/", "xtask/", "benchmarks/"];

const VAGUE_NAMES: [&str; 6] =
    ["utils.rs", "util.rs", "common.rs", "helpers.rs", "manager.rs", "base.rs"];

const LONG: usize = 900;

pub(super) fn check(tree: &Tree, metadata: &Metadata, found: &mut Findings) {
    burn_in_manifests(metadata, found);
    let rules = Rules::new();
    for file in tree.below("", ".rs") {
        rules.check(file, found);
    }
}

fn burn_in_manifests(metadata: &Metadata, found: &mut Findings) {
    for member in metadata.members() {
        let folder = member.name.strip_prefix("fidelio-").unwrap_or(&member.name);
        if NAME_BURN.contains(&folder) {
            continue;
        }
        for dependency in &member.dependencies {
            let is_burn = ["burn", "cubecl"].iter().any(|name| {
                dependency.name == *name || dependency.name.starts_with(&format!("{name}-"))
            });
            if is_burn {
                let message = "only `fidelio-ops` and `fidelio-model` may depend on";
                found.error(&member.name, format!("{message} `{}`", dependency.name));
            }
        }
    }
}

struct Rules {
    burn: Regex,
    print: Regex,
    unsafe_code: Regex,
    unsafe_block: Regex,
}

impl Rules {
    fn new() -> Self {
        let rule = |text| Regex::new(text).expect("the rules' expressions are constant");
        Self {
            burn: rule(r"\b(burn|burn_\w+|cubecl)::|\buse (burn|cubecl)\b"),
            print: rule(r"\be?print(ln)?!|\bdbg!"),
            unsafe_code: rule(r"\bunsafe\s*(\{|fn\b|impl\b|extern\b|trait\b)"),
            unsafe_block: rule(r"\bunsafe\s*(\{|impl\b)"),
        }
    }

    fn check(&self, file: &File, found: &mut Findings) {
        let path = file.path.as_str();
        let name = path.rsplit('/').next().unwrap_or(path);
        if VAGUE_NAMES.contains(&name) {
            found.error(path, "a file is named by its idea, not by being left over");
        }
        let length = file.text.lines().count();
        if length > LONG {
            found.warn(path, format!("has {length} lines; look for the second idea in it"));
        }

        let is_rule = path.starts_with("xtask/src/tidy");
        let may_name_burn = is_rule
            || NAME_BURN.iter().any(|folder| path.starts_with(&format!("crates/{folder}/")));
        let may_be_unsafe = MAY_BE_UNSAFE.iter().any(|start| path.starts_with(start));
        let may_print =
            MAY_PRINT.iter().any(|start| path.starts_with(start)) || !path.contains("/src/");

        let lines: Vec<&str> = file.text.lines().collect();
        // Unit tests stand last in a file and may say why they skip.
        let tests = lines.iter().position(|line| line.trim() == "#[cfg(test)]");
        for (index, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            if code.starts_with("//") {
                continue;
            }
            let at = format!("{path}:{}", index + 1);
            if !may_name_burn && self.burn.is_match(code) {
                found.error(&at, "names Burn; only `fidelio-ops` and `fidelio-model` may");
            }
            if !may_print && tests.is_none_or(|tests| index < tests) && self.print.is_match(code) {
                found.error(&at, "a library does not print; return it or send an event");
            }
            if is_rule || !self.unsafe_code.is_match(code) {
                continue;
            }
            if !may_be_unsafe {
                found.error(&at, "`unsafe` does not belong in this file");
            } else if self.unsafe_block.is_match(code) && !is_explained(&lines[..index], code) {
                found.error(&at, "says no `// SAFETY:` why this is sound");
            }
        }
    }
}

/// Whether the lines just above, or the line itself, say why. Attributes may stand between.
fn is_explained(above: &[&str], line: &str) -> bool {
    line.contains("// SAFETY:")
        || above
            .iter()
            .rev()
            .take(12)
            .take_while(|line| !line.trim().is_empty() && line.trim() != "}")
            .any(|line| line.contains("SAFETY:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(path: &str, text: &str) -> usize {
        let mut found = Findings::default();
        check(&Tree::of(&[(path, text)]), &Metadata::default(), &mut found);
        found.errors.len()
    }

    #[test]
    fn burn_is_named_in_two_crates_only() {
        assert_eq!(errors("crates/ops/src/lib.rs", "use burn::tensor::Tensor;"), 0);
        assert_eq!(errors("crates/data/src/lib.rs", "use burn::tensor::Tensor;"), 1);
        assert_eq!(errors("crates/data/src/lib.rs", "// use burn::tensor::Tensor;"), 0);
        let mut found = Findings::default();
        let metadata = Metadata::of(&[("fidelio-data", &[("burn-flex", "dev")])]);
        burn_in_manifests(&metadata, &mut found);
        assert_eq!(found.errors.len(), 1);
    }

    #[test]
    fn unsafe_stands_where_it_may_and_is_explained() {
        assert_eq!(errors("crates/data/src/lib.rs", "unsafe { f() }"), 1);
        assert_eq!(errors("crates/kernels/src/dot.rs", "unsafe { f() }"), 1);
        assert_eq!(errors("crates/kernels/src/dot.rs", "// SAFETY: f is.\nunsafe { f() }"), 0);
        assert_eq!(errors("crates/kernels/src/dot.rs", "unsafe fn f() {}"), 0);
    }

    #[test]
    fn libraries_do_not_print() {
        assert_eq!(errors("crates/data/src/lib.rs", "println!(\"x\");"), 1);
        assert_eq!(errors("crates/data/src/lib.rs", "#[cfg(test)]\nprintln!(\"x\");"), 0);
        assert_eq!(errors("crates/data/tests/all.rs", "eprintln!(\"skipped\");"), 0);
        assert_eq!(errors("crates/cli/src/main.rs", "println!(\"x\");"), 0);
    }

    #[test]
    fn no_file_is_named_utils() {
        assert_eq!(errors("crates/data/src/utils.rs", ""), 1);
    }
}
