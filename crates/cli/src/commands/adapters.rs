//! `fidelio adapters`: several adapters become one.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use clap::{Subcommand, ValueEnum};
use fidelio::{
    AdapterMerge, Error, MergeSource,
    weights::peft::{Combination, CombinedModule},
};
use serde_json::json;

use crate::{
    failure::Failure,
    ui::{Table, Ui},
};

const DENSITY: f64 = 0.5;
const SEED: u64 = 42;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

/// What to do with them.
#[derive(Debug, Subcommand)]
enum What {
    /// Make one adapter of several, as PEFT's `add_weighted_adapter` does.
    Merge(Merge),
}

#[derive(Debug, clap::Args)]
struct Merge {
    /// Folders of training runs, or of adapters in PEFT's format.
    #[arg(value_name = "DIR", required = true)]
    adapters: Vec<PathBuf>,
    /// The folder for the result, in PEFT's format.
    #[arg(short, long, value_name = "DIR")]
    output_directory: PathBuf,
    /// In which way.
    #[arg(long = "type", value_name = "TYPE", default_value = "linear")]
    kind: Kind,
    /// What each is multiplied by, in their order [default: 1 each].
    #[arg(long, value_name = "X,…", value_delimiter = ',', allow_hyphen_values = true)]
    weights: Vec<f64>,
    /// Share of elements that is kept, above 0 and at most 1; for `ties`, `dare_linear`,
    /// `dare_ties`, `magnitude_prune` [default: 0.5].
    #[arg(long, value_name = "X")]
    density: Option<f64>,
    /// What `dare_linear` and `dare_ties` drop depends on it [default: 42].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The model that the result says it stands on; needed where the adapters name it differently.
    #[arg(long, value_name = "MODEL")]
    base_model: Option<String>,
    /// Replace an adapter that is there.
    #[arg(long)]
    overwrite: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Kind {
    /// The weighted sum of each of the two matrices.
    Linear,
    /// The best approximation of the sum of what the adapters add; takes different ranks.
    Svd,
    /// Each adapter's largest elements, signs decided together.
    Ties,
    /// Elements dropped at random, then the weighted sum.
    DareLinear,
    /// Elements dropped at random, signs decided together.
    DareTies,
    /// Each adapter's largest elements, then the weighted sum.
    MagnitudePrune,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<(), Failure> {
    let What::Merge(args) = &args.what;
    merge(args, ui)
}

fn merge(args: &Merge, ui: &Ui) -> Result<(), Failure> {
    let to = &args.output_directory;
    check_place(to, args.overwrite)?;
    let how = args.combination()?;
    let merge = AdapterMerge { sources: args.sources()?, how, base_model: args.base_model.clone() };
    let combined = merge.merge()?;
    combined.adapter.write(to, args.overwrite).map_err(Error::from)?;
    ui.note(format!("the merged adapter is in {}", to.display()));
    let answer = json!({
        "folder": to,
        "how": how,
        "sources": merge.sources.iter().map(|source| json!({"adapter": source.name, "weight": source.weight})).collect::<Vec<_>>(),
        "base_model": combined.adapter.base_model,
        "modules": combined.modules,
    });
    ui.result(&answer, || summary(&combined.modules))
}

/// What is there may be replaced only if it is an adapter, and only where that was asked for.
fn check_place(to: &Path, overwrite: bool) -> Result<(), Failure> {
    if !to.exists() {
        return Ok(());
    }
    if !to.join("adapter_config.json").exists() {
        let message = format!("`{}` is there, and holds no adapter", to.display());
        return Err(Failure::usage_with(message, "name another `--output-directory`"));
    }
    if overwrite { Ok(()) } else { Err(Error::Occupied { path: to.to_owned() }.into()) }
}

impl Merge {
    fn sources(&self) -> Result<Vec<MergeSource>, Failure> {
        let (given, wanted) = (self.weights.len(), self.adapters.len());
        if given != 0 && given != wanted {
            return Err(Failure::usage_with(
                format!("{wanted} adapters have {given} weights"),
                "write one for each, in their order: `--weights 1,0.5`",
            ));
        }
        let weight = |i: usize| self.weights.get(i).copied().unwrap_or(1.0);
        let source = |(i, path): (usize, &PathBuf)| MergeSource {
            name: path.display().to_string(),
            path: path.clone(),
            weight: weight(i),
        };
        Ok(self.adapters.iter().enumerate().map(source).collect())
    }

    /// A flag that would do nothing is an error.
    fn combination(&self) -> Result<Combination, Failure> {
        let kind = self.kind;
        let prunes = !matches!(kind, Kind::Linear | Kind::Svd);
        let draws = matches!(kind, Kind::DareLinear | Kind::DareTies);
        let word = kind.to_possible_value().map(|it| it.get_name().to_owned()).unwrap_or_default();
        let idle = |flag: &str, types: &str| {
            let message = format!("`--{flag}` does nothing with `--type {word}`");
            Err(Failure::usage_with(message, format!("it belongs to {types}")))
        };
        if self.density.is_some() && !prunes {
            return idle("density", "`ties`, `dare_linear`, `dare_ties` and `magnitude_prune`");
        }
        if self.seed.is_some() && !draws {
            return idle("seed", "`dare_linear` and `dare_ties`");
        }
        if self.adapters.len() == 1 && kind != Kind::Linear {
            return Err(Failure::usage_with(
                format!("`--type {word}` needs two adapters or more"),
                "one alone is only multiplied by its weight: `--type linear`",
            ));
        }
        let density = self.density.unwrap_or(DENSITY);
        let seed = self.seed.unwrap_or(SEED);
        Ok(match kind {
            Kind::Linear => Combination::Linear,
            Kind::Svd => Combination::Svd,
            Kind::Ties => Combination::Ties { density },
            Kind::DareLinear => Combination::DareLinear { density, seed },
            Kind::DareTies => Combination::DareTies { density, seed },
            Kind::MagnitudePrune => Combination::MagnitudePrune { density },
        })
    }
}

/// Layers of one kind, rank and sources in one line.
fn summary(modules: &[CombinedModule]) -> String {
    let mut groups: BTreeMap<(&str, usize, String), Vec<Option<f64>>> = BTreeMap::new();
    for CombinedModule { module, rank, sources, distance } in modules {
        let kind = module.rsplit('.').next().unwrap_or(module);
        groups.entry((kind, *rank, sources.join(" + "))).or_default().push(*distance);
    }
    let mut table = Table::new(["layers", "number", "rank", "made of", "off their sum"]);
    for ((kind, rank, sources), distances) in groups {
        let number = distances.len().to_string();
        table.row([kind.to_owned(), number, rank.to_string(), sources, off(&distances)]);
    }
    table.render()
}

/// How far the results are from the sum of what their sources add, from the nearest to the farthest.
fn off(distances: &[Option<f64>]) -> String {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let known = || distances.iter().flatten().copied();
    let (least, most) = (known().fold(f64::INFINITY, f64::min), known().fold(0.0, f64::max));
    match known().count() {
        0 => "-".to_owned(),
        _ if percent(least) == percent(most) => percent(most),
        _ => format!("{:.1} to {}", 100.0 * least, percent(most)),
    }
}
