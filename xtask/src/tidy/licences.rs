//! Every dependency's licence is one of `deny.toml`'s, and we name no crate in two versions.

use super::Findings;
use super::metadata::Metadata;
use super::tree::Tree;
use serde::Deserialize;

const LIST: &str = "deny.toml";

/// The part of `deny.toml` that this rule reads, so that there is one list.
#[derive(Debug, Deserialize)]
struct Deny {
    licenses: Licenses,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

/// Crates whose manifest names no licence, with what their licence file says.
const READ_BY_HAND: [(&str, &str, &str); 1] = [("cfg_block", "0.1.1", "Apache-2.0")];

pub(super) fn check(tree: &Tree, metadata: &Metadata, found: &mut Findings) {
    let list = tree.get(LIST).map(|file| toml::from_str::<Deny>(&file.text));
    let licenses = match list {
        Some(Ok(deny)) => deny.licenses,
        Some(Err(error)) => return found.error(LIST, error),
        None => return found.error(LIST, "is missing; it lists the licences we accept"),
    };
    for package in metadata.foreign() {
        let by_hand = READ_BY_HAND
            .iter()
            .find(|(name, version, _)| (*name, *version) == (&package.name, &package.version))
            .map(|(_, _, expression)| *expression);
        let expression = package.license.as_deref().or(by_hand);
        let name = format!("{} {}", package.name, package.version);
        match expression {
            Some(expression) if is_allowed(expression, &licenses.allow) => {}
            Some(expression) => {
                found.error(name, format!("licence `{expression}` is not accepted"));
            }
            None => {
                let file = package.license_file.as_deref().unwrap_or("none");
                found.error(name, format!("names no licence (licence file: {file})"));
            }
        }
    }
    for (name, versions) in metadata.direct_duplicates() {
        let versions: Vec<_> = versions.into_iter().collect();
        found.error(name, format!("our crates use it in two versions: {}", versions.join(", ")));
    }
}

/// Whether an SPDX expression can be met with these licences. `OR` binds weaker than `AND`.
fn is_allowed(expression: &str, allow: &[String]) -> bool {
    // The old form of `OR` is a slash.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = any(&mut rest, allow);
    met && rest.is_empty()
}

fn any(words: &mut &[&str], allow: &[String]) -> bool {
    let mut met = all(words, allow);
    while words.first() == Some(&"OR") {
        *words = &words[1..];
        met |= all(words, allow);
    }
    met
}

fn all(words: &mut &[&str], allow: &[String]) -> bool {
    let mut met = one(words, allow);
    while words.first() == Some(&"AND") {
        *words = &words[1..];
        met &= one(words, allow);
    }
    met
}

fn one(words: &mut &[&str], allow: &[String]) -> bool {
    let Some((first, rest)) = words.split_first() else { return false };
    *words = rest;
    if *first == "(" {
        let met = any(words, allow);
        let closed = words.first() == Some(&")");
        *words = words.get(1..).unwrap_or_default();
        return met && closed;
    }
    let mut name = (*first).to_owned();
    if let [with, exception, rest @ ..] = *words
        && *with == "WITH"
    {
        name = format!("{name} WITH {exception}");
        *words = rest;
    }
    allow.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(expression: &str) -> bool {
        is_allowed(expression, &["MIT", "ISC", "Apache-2.0 WITH X"].map(str::to_owned))
    }

    #[test]
    fn either_licence_will_do() {
        assert!(allowed("MIT"));
        assert!(allowed("GPL-3.0 OR MIT"));
        assert!(allowed("MIT/Apache-2.0"));
        assert!(allowed("Apache-2.0 WITH X OR GPL-3.0"));
        assert!(!allowed("GPL-3.0"));
        assert!(!allowed("Apache-2.0"));
    }

    #[test]
    fn all_of_a_conjunction_are_needed() {
        assert!(allowed("MIT AND ISC"));
        assert!(allowed("(MIT OR GPL-3.0) AND ISC"));
        assert!(!allowed("MIT AND (GPL-3.0 OR LGPL-3.0)"));
        assert!(!allowed("MIT AND"));
    }
}
