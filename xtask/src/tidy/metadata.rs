//! What `cargo metadata` knows of the workspace and of everything it depends on.

use crate::programs;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// All packages, of ours and of others, with every feature on.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Metadata {
    pub(super) packages: Vec<Package>,
    #[serde(default)]
    workspace_members: BTreeSet<String>,
    #[serde(default)]
    resolve: Option<Resolve>,
}

/// A package as its manifest describes it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Package {
    pub(super) id: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) version: String,
    #[serde(default)]
    pub(super) license: Option<String>,
    #[serde(default)]
    pub(super) license_file: Option<String>,
    #[serde(default)]
    pub(super) dependencies: Vec<Dependency>,
}

/// A dependency as a manifest names it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// `dev`, `build`, or none for the usual kind.
    #[serde(default)]
    pub(super) kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

impl Metadata {
    pub(super) fn read() -> Result<Self> {
        let json = programs::output(&mut programs::cargo(&[
            "metadata",
            "--format-version",
            "1",
            "--all-features",
            "--locked",
        ]))
        .context("Cargo.lock must be up to date (`cargo metadata` renews it)")?;
        serde_json::from_str(&json).context("cargo's metadata does not parse")
    }

    /// The workspace's own packages.
    pub(super) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// Everybody else's packages.
    pub(super) fn foreign(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| !self.workspace_members.contains(&package.id))
    }

    /// Names that members depend on directly in more than one version, with the versions.
    pub(super) fn direct_duplicates(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let by_id: BTreeMap<_, _> =
            self.packages.iter().map(|package| (package.id.as_str(), package)).collect();
        let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let nodes = self.resolve.iter().flat_map(|resolve| &resolve.nodes);
        for node in nodes.filter(|node| self.workspace_members.contains(&node.id)) {
            for package in node.dependencies.iter().filter_map(|id| by_id.get(id.as_str())) {
                versions.entry(&package.name).or_default().insert(&package.version);
            }
        }
        versions.retain(|_, versions| versions.len() > 1);
        versions
    }
}

#[cfg(test)]
impl Metadata {
    /// Members with their dependencies, as `("name", &[("dependency", "kind")])`.
    pub(super) fn of(members: &[(&str, &[(&str, &str)])]) -> Self {
        let mut metadata = Self::default();
        for (name, dependencies) in members {
            let dependency = |(name, kind): &(&str, &str)| Dependency {
                name: (*name).to_owned(),
                kind: (!kind.is_empty()).then(|| (*kind).to_owned()),
            };
            metadata.workspace_members.insert((*name).to_owned());
            metadata.packages.push(Package {
                id: (*name).to_owned(),
                name: (*name).to_owned(),
                dependencies: dependencies.iter().map(dependency).collect(),
                ..Package::default()
            });
        }
        metadata
    }
}
