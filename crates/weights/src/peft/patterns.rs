//! Patterns of ranks and alphas, of which the first that fits a module holds.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

/// The same patterns sorted by their text. Where that would let another one hold for a module,
/// each module that a pattern fits stands there by its own name instead.
///
/// # Errors
/// The pattern that is no regular expression.
pub(super) fn sorted<T: Copy>(
    patterns: Vec<(String, T)>,
    modules: &BTreeSet<String>,
) -> Result<BTreeMap<String, T>, String> {
    let compiled = patterns
        .iter()
        .map(|(text, value)| Ok((compile(text)?, text.as_str(), *value)))
        .collect::<Result<Vec<_>, String>>()?;
    let holds = |module: &str| compiled.iter().find(|(regex, ..)| regex.is_match(module));
    let first_by_text = |module: &str| {
        compiled.iter().filter(|(regex, ..)| regex.is_match(module)).map(|(_, text, _)| *text).min()
    };
    let same = modules
        .iter()
        .all(|module| holds(module).map(|(_, text, _)| *text) == first_by_text(module));
    if same {
        return Ok(patterns.into_iter().collect());
    }
    Ok(modules
        .iter()
        .filter_map(|module| holds(module).map(|(.., value)| (regex::escape(module), *value)))
        .collect())
}

/// As PEFT reads it: the whole name of a module, or what follows a dot up to its end.
fn compile(text: &str) -> Result<Regex, String> {
    Regex::new(&format!(r"^(?:.*\.)?(?:{text})$")).map_err(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pattern_of_the_file_holds() {
        let modules = ["a.x.q", "a.y.q", "a.x.v"].map(str::to_owned).into();
        let sorted = |patterns: &[(&str, usize)]| {
            let patterns = patterns.iter().map(|(text, rank)| ((*text).to_owned(), *rank));
            sorted(patterns.collect(), &modules).map(|it| it.into_iter().collect::<Vec<_>>())
        };
        let pair = |name: &str, rank| (name.to_owned(), rank);
        assert_eq!(sorted(&[("v", 1), ("q", 2)]).unwrap(), [pair("q", 2), pair("v", 1)]);
        assert_eq!(
            sorted(&[("x\\..*", 1), ("q", 2)]).unwrap(),
            [pair("a\\.x\\.q", 1), pair("a\\.x\\.v", 1), pair("a\\.y\\.q", 2)]
        );
        assert_eq!(sorted(&[("(q", 1)]), Err("(q".to_owned()));
    }
}
