//! Arrows between our crates point to lower layers, as the table in `docs/ARCHITECTURE.md` has them.

use super::Findings;
use super::metadata::Metadata;
use super::tree::Tree;
use std::collections::BTreeMap;

const PAGE: &str = "docs/ARCHITECTURE.md";

pub(super) fn check(tree: &Tree, metadata: &Metadata, found: &mut Findings) {
    let Some(page) = tree.get(PAGE) else {
        found.error(PAGE, "is missing; it holds the table of layers");
        return;
    };
    let layers = layers(&page.text);
    for (name, row) in &layers {
        let exists = metadata.members().any(|member| member.name == *name);
        if !exists && !row.later {
            found.error(PAGE, format!("`{name}` is no crate; mark its row `later`"));
        } else if exists && row.later {
            found.error(PAGE, format!("`{name}` exists; its row must not say `later`"));
        }
    }
    for member in metadata.members() {
        let Some(from) = layers.get(member.name.as_str()) else {
            found.error(PAGE, format!("`{}` is missing in the table of layers", member.name));
            continue;
        };
        for dependency in &member.dependencies {
            let Some(to) = layers.get(dependency.name.as_str()) else { continue };
            // A test may also use a neighbour; nothing may use what stands above it.
            let test = dependency.kind.as_deref() == Some("dev");
            let allowed = to.layer < from.layer || test && to.layer == from.layer;
            if !allowed && dependency.name != member.name {
                let arrow = format!(
                    "`{}` ({}) uses `{}` ({})",
                    member.name, from.layer, dependency.name, to.layer
                );
                found.error(PAGE, format!("{arrow}: arrows point to lower layers only"));
            }
        }
    }
}

/// A row of the table.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    layer: u32,
    later: bool,
}

/// Reads rows of the form `| 2 | `crate` | ... |`; a layer of `2, later` is one to come.
fn layers(page: &str) -> BTreeMap<&str, Row> {
    let mut rows = BTreeMap::new();
    for line in page.lines() {
        let mut cells = line.trim().trim_start_matches('|').split('|').map(str::trim);
        let (Some(layer), Some(name)) = (cells.next(), cells.next()) else { continue };
        let (number, later) = match layer.split_once(',') {
            Some((number, rest)) => (number, rest.trim() == "later"),
            None => (layer, false),
        };
        let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) else {
            continue;
        };
        if let Ok(layer) = number.trim().parse() {
            rows.insert(name, Row { layer, later });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(table: &str, members: &[(&str, &[(&str, &str)])]) -> Vec<String> {
        let mut found = Findings::default();
        check(&Tree::of(&[(PAGE, table)]), &Metadata::of(members), &mut found);
        found.errors
    }

    const TABLE: &str = "| layer | crate | what |\n|---|---|---|\n| 0 | `low` | x |\n| 1 | `high` | x |\n| 1 | `beside` | x |\n";

    #[test]
    fn an_arrow_down_is_fine() {
        let members: &[(&str, &[(&str, &str)])] =
            &[("low", &[]), ("high", &[("low", ""), ("beside", "dev")]), ("beside", &[])];
        assert_eq!(errors(TABLE, members), Vec::<String>::new());
    }

    #[test]
    fn arrows_up_and_sideways_are_found() {
        let members: &[(&str, &[(&str, &str)])] =
            &[("low", &[("high", "dev")]), ("high", &[("beside", "")]), ("beside", &[])];
        assert_eq!(errors(TABLE, members).len(), 2);
    }

    #[test]
    fn the_table_and_the_workspace_name_the_same_crates() {
        let table = format!("{TABLE}| 2, later | `coming` | x |\n| 2 | `gone` | x |\n");
        let members: &[(&str, &[(&str, &str)])] =
            &[("low", &[]), ("high", &[]), ("beside", &[]), ("new", &[])];
        let errors = errors(&table, members);
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].contains("`gone`") && errors[1].contains("`new`"));
    }
}
