//! Several adapters as one, with the arithmetic of PEFT's `add_weighted_adapter`.
//!
//! All but [`Combination::Svd`] work on the thin matrices element by element, each of the two
//! carrying the root of its adapter's weight times scale. The result is written with a scale of 1.

mod elementwise;
mod svd;

use std::collections::BTreeMap;

use bytes::Bytes;
use fidelio_backend::{
    AdapterSpec, Encoding, LoraBias, LoraInit, LoraRanks, LoraSpec, TargetModules,
};
use indexmap::IndexMap;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::elementwise::Draw;
use super::{A, PeftAdapter};
use crate::{
    Tensors, WeightsError, quantize,
    tensors::{Form, Stored},
};

const B: &str = ".lora_B.weight";
/// The word for every linear layer, which cannot stand among other names.
const ALL_LINEAR: &str = "all-linear";

/// An adapter that becomes part of another.
#[derive(Debug, Clone, Copy)]
pub struct Share<'a> {
    /// What it is called, for messages and in the summary.
    pub name: &'a str,
    /// The adapter.
    pub adapter: &'a PeftAdapter,
    /// What it is multiplied by; negative to take away what it does.
    pub weight: f64,
}

/// How adapters become one. A `density` is the share of elements that is kept, above 0 and at most
/// 1; a single adapter is only multiplied by its weight, in every one of these.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "combination_type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Combination {
    /// The weighted sum of each of the two matrices.
    Linear,
    /// The best approximation of the weighted sum of what the adapters add, by its largest singular
    /// values. The only one that takes different ranks beside one layer.
    Svd,
    /// Each adapter's largest elements; where signs differ, those of the greater sum stay, and are
    /// averaged (arXiv 2306.01708).
    Ties {
        /// Share of elements kept.
        density: f64,
    },
    /// Elements dropped at random, the others divided by `density`; then the weighted sum
    /// (arXiv 2311.03099).
    DareLinear {
        /// Share of elements kept.
        density: f64,
        /// What is drawn depends on it, on the adapter's position, and on the tensor's name.
        seed: u64,
    },
    /// Elements dropped at random in the same way, then signs as in `ties`.
    DareTies {
        /// Share of elements kept.
        density: f64,
        /// As above.
        seed: u64,
    },
    /// Each adapter's largest elements, then the weighted sum.
    MagnitudePrune {
        /// Share of elements kept.
        density: f64,
    },
}

impl Combination {
    fn density(self) -> Option<f64> {
        match self {
            Self::Linear | Self::Svd => None,
            Self::Ties { density }
            | Self::DareLinear { density, .. }
            | Self::DareTies { density, .. }
            | Self::MagnitudePrune { density } => Some(density),
        }
    }
}

/// An adapter made of others.
#[derive(Debug, Clone)]
pub struct Combined {
    /// It, with 32-bit tensors in memory.
    pub adapter: PeftAdapter,
    /// What became of each layer, by name.
    pub modules: Vec<CombinedModule>,
}

/// One layer's part of a combined adapter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CombinedModule {
    /// The layer.
    pub module: String,
    /// Its rank.
    pub rank: usize,
    /// The adapters that stand beside it, in their order.
    pub sources: Vec<String>,
    /// How far `B · A` is from the weighted sum of what the sources add, over the length of that sum
    /// (Frobenius); none where the sum is zero.
    pub distance: Option<f64>,
}

/// Makes one adapter of several. `base_model` is what the result says it stands on; where it is
/// not given, the adapters must agree on it.
///
/// # Errors
/// [`WeightsError::Uncombinable`] for an adapter with something that cannot be combined, or that
/// does not fit the others; [`WeightsError::Combination`] for a density or weight that makes no
/// sense.
pub fn combine(
    shares: &[Share<'_>],
    how: Combination,
    base_model: Option<&str>,
) -> Result<Combined, WeightsError> {
    check_numbers(shares, how)?;
    let sources = shares.iter().enumerate().map(Source::of).collect::<Result<Vec<_>, _>>()?;
    check_layers(&sources)?;
    let base_model = match base_model {
        Some(named) => Some(named.to_owned()),
        None => common_base(shares)?,
    };
    let how = if sources.len() == 1 { Combination::Linear } else { how };
    let modules: BTreeMap<&str, Vec<&Source<'_>>> = by_module(&sources);
    let most = sources.iter().map(Source::highest_rank).max().unwrap_or(1);
    let made = modules
        .par_iter()
        .map(|(module, sources)| combine_module(module, sources, how, most))
        .collect::<Result<Vec<_>, _>>()?;
    let spec = spec(&sources, &made);
    let mut stored = Vec::with_capacity(2 * made.len());
    let mut summary = Vec::with_capacity(made.len());
    for Made { factors, told } in made {
        let Factors { r, input, output, .. } = factors;
        stored.push(tensor(format!("{}{A}", told.module), &factors.a, [r, input]));
        stored.push(tensor(format!("{}{B}", told.module), &factors.b, [output, r]));
        summary.push(told);
    }
    let weights = Tensors::new(stored).map_err(|fault| bad(fault.to_string()))?;
    let adapter = PeftAdapter { spec: AdapterSpec::Lora(spec), base_model, weights };
    Ok(Combined { adapter, modules: summary })
}

fn check_numbers(shares: &[Share<'_>], how: Combination) -> Result<(), WeightsError> {
    if shares.is_empty() {
        return Err(bad("none was given".into()));
    }
    if let Some(share) = shares.iter().find(|share| !share.weight.is_finite()) {
        return Err(bad(format!("the weight of `{}` is {}", share.name, share.weight)));
    }
    match how.density() {
        Some(density) if !(density > 0.0 && density <= 1.0) => {
            Err(bad(format!("the density is {density}; it must be above 0 and at most 1")))
        }
        _ => Ok(()),
    }
}

fn bad(problem: String) -> WeightsError {
    WeightsError::Combination { problem }
}

/// An adapter that can be combined.
struct Source<'a> {
    name: &'a str,
    /// From 0; part of what random masks depend on.
    position: usize,
    weight: f64,
    spec: &'a LoraSpec,
    /// By the layer that they stand beside.
    factors: BTreeMap<&'a str, Factors>,
}

/// The two thin matrices beside a layer: `a` is `[r, input]`, `b` is `[output, r]`, row by row.
struct Factors {
    a: Vec<f64>,
    b: Vec<f64>,
    r: usize,
    input: usize,
    output: usize,
    /// What `b · a` is multiplied by.
    scale: f64,
}

impl<'a> Source<'a> {
    fn of((position, share): (usize, &Share<'a>)) -> Result<Self, WeightsError> {
        let Share { name, adapter, weight } = *share;
        let refuse = |problem: String, help: &'static str| WeightsError::Uncombinable {
            adapter: name.to_owned(),
            problem,
            help,
        };
        let AdapterSpec::Lora(spec) = &adapter.spec else {
            return Err(refuse("it is no LoRA adapter".into(), "name LoRA adapters"));
        };
        if spec.use_dora {
            let problem = "it is a DoRA adapter, whose lengths belong to its own directions";
            return Err(refuse(problem.into(), MERGE_FIRST));
        }
        if spec.bias != LoraBias::None {
            let problem = "it has learnt biases, which belong to the model and cannot be mixed";
            return Err(refuse(problem.into(), MERGE_FIRST));
        }
        let ranks = LoraRanks::new(spec).map_err(|error| refuse(error.to_string(), ""))?;
        let mut factors = BTreeMap::new();
        for (tensor, ..) in adapter.weights.iter() {
            if let Some(module) = tensor.strip_suffix(A) {
                let found = Factors::read(adapter, module, &ranks)
                    .map_err(|problem| refuse(problem, BROKEN))?;
                factors.insert(module, found);
            } else if let Some(module) = tensor.strip_suffix(B) {
                if adapter.weights.find(&format!("{module}{A}")).is_none() {
                    return Err(refuse(format!("`{module}` has no `lora_A`"), BROKEN));
                }
            } else {
                return Err(refuse(format!("`{tensor}` is no part of a product"), MERGE_FIRST));
            }
        }
        if factors.is_empty() {
            return Err(refuse("it has no tensors".into(), BROKEN));
        }
        Ok(Self { name, position, weight, spec, factors })
    }

    fn highest_rank(&self) -> usize {
        self.factors.values().map(|factors| factors.r).max().unwrap_or(1)
    }
}

const MERGE_FIRST: &str =
    "work one of them into the model with `fidelio merge`, and let the other learn on the result";
const BROKEN: &str = "its files contradict each other; write it anew with what made it";

impl Factors {
    fn read(adapter: &PeftAdapter, module: &str, ranks: &LoraRanks) -> Result<Self, String> {
        let matrix = |ending: &str| -> Result<(Vec<f64>, [usize; 2]), String> {
            let name = format!("{module}{ending}");
            let stored = adapter.weights.find(&name).ok_or(format!("`{name}` is missing"))?;
            let tensor = stored.view();
            let [rows, columns] = tensor.shape[..] else {
                return Err(format!("`{name}` has the shape {:?}", tensor.shape));
            };
            let values = quantize::floats(&name, &tensor).map_err(|error| error.to_string())?;
            if values.iter().any(|value| !value.is_finite()) {
                return Err(format!("`{name}` holds values that are no numbers"));
            }
            Ok((values.into_iter().map(f64::from).collect(), [rows, columns]))
        };
        let (a, [r, input]) = matrix(A)?;
        let (b, [output, columns]) = matrix(B)?;
        let said = ranks.rank(module);
        if r != said || columns != said || r == 0 {
            return Err(format!(
                "its configuration gives `{module}` the rank {said}, its tensors have {r} and \
                 {columns}"
            ));
        }
        Ok(Self { a, b, r, input, output, scale: ranks.scale(module) })
    }
}

/// The model that all adapters say they stand on; one that says nothing contradicts none.
fn common_base(shares: &[Share<'_>]) -> Result<Option<String>, WeightsError> {
    let named = |share: &Share<'_>| share.adapter.base_model.clone();
    let Some(first) = shares.iter().find(|share| named(share).is_some()) else { return Ok(None) };
    let base = named(first);
    for share in shares {
        let Some(other) = named(share).filter(|other| Some(other) != base.as_ref()) else {
            continue;
        };
        return Err(WeightsError::Uncombinable {
            adapter: share.name.to_owned(),
            problem: format!(
                "it stands on `{other}`, and `{}` stands on `{}`",
                first.name,
                base.unwrap_or_default()
            ),
            help: "what adapters add means nothing beside another model; if both names mean the \
                   same one, say it with `--base-model`",
        });
    }
    Ok(base)
}

/// All must stand on the same layers, in the same order.
fn check_layers(sources: &[Source<'_>]) -> Result<(), WeightsError> {
    let layers = |source: &Source<'_>| source.spec.layer_replication.clone();
    match sources.iter().find(|source| layers(source) != layers(&sources[0])) {
        Some(other) => Err(WeightsError::Uncombinable {
            adapter: other.name.to_owned(),
            problem: format!("its `layer_replication` is not that of `{}`", sources[0].name),
            help: "name adapters of equally many layers",
        }),
        None => Ok(()),
    }
}

fn by_module<'s, 'a>(sources: &'s [Source<'a>]) -> BTreeMap<&'a str, Vec<&'s Source<'a>>> {
    let mut modules: BTreeMap<&str, Vec<&Source<'_>>> = BTreeMap::new();
    for source in sources {
        for module in source.factors.keys() {
            modules.entry(module).or_default().push(source);
        }
    }
    modules
}

/// What a layer gets.
struct Made {
    factors: Factors,
    told: CombinedModule,
}

fn combine_module(
    module: &str,
    sources: &[&Source<'_>],
    how: Combination,
    most: usize,
) -> Result<Made, WeightsError> {
    let parts: Vec<(&Source<'_>, &Factors)> =
        sources.iter().map(|source| (*source, &source.factors[module])).collect();
    check_shapes(module, &parts, how)?;
    let weighted: Vec<(f64, &Factors)> =
        parts.iter().map(|(source, factors)| (source.weight * factors.scale, *factors)).collect();
    let factors = match how {
        Combination::Svd => svd::truncated(&weighted, most)
            .ok_or_else(|| bad(format!("the singular values beside `{module}` do not converge")))?,
        how => {
            let draws: Vec<[Draw; 2]> = parts
                .iter()
                .map(|(source, _)| {
                    [A, B].map(|end| Draw::new(source.position, &format!("{module}{end}")))
                })
                .collect();
            elementwise::combined(&weighted, how, &draws)
        }
    };
    let told = CombinedModule {
        module: module.to_owned(),
        rank: factors.r,
        sources: parts.iter().map(|(source, _)| source.name.to_owned()).collect(),
        distance: svd::distance(&factors, &weighted),
    };
    Ok(Made { factors, told })
}

/// Adapters beside one layer must fit it, and each other where elements meet.
fn check_shapes(
    module: &str,
    parts: &[(&Source<'_>, &Factors)],
    how: Combination,
) -> Result<(), WeightsError> {
    let (first, shape) = &parts[0];
    for (source, factors) in &parts[1..] {
        let refuse = |problem: String, help| {
            Err(WeightsError::Uncombinable { adapter: source.name.to_owned(), problem, help })
        };
        if (factors.input, factors.output) != (shape.input, shape.output) {
            return refuse(
                format!(
                    "`{module}` has {} inputs and {} outputs, in `{}` {} and {}",
                    factors.input, factors.output, first.name, shape.input, shape.output
                ),
                "name adapters of one model",
            );
        }
        if how != Combination::Svd && factors.r != shape.r {
            return refuse(
                format!(
                    "its rank beside `{module}` is {}, that of `{}` is {}",
                    factors.r, first.name, shape.r
                ),
                "only `svd` takes different ranks",
            );
        }
    }
    Ok(())
}

/// What the result is: a new adapter whose scale is 1 beside every layer.
fn spec(sources: &[Source<'_>], made: &[Made]) -> LoraSpec {
    let r = made.iter().map(|made| made.factors.r).max().unwrap_or(1);
    let others = || {
        let other = made.iter().filter(|made| made.factors.r != r);
        other.map(|made| (regex::escape(&made.told.module), made.factors.r))
    };
    LoraSpec {
        r,
        lora_alpha: r as f64,
        lora_dropout: sources[0].spec.lora_dropout,
        target_modules: targets(sources, made),
        bias: LoraBias::None,
        use_rslora: false,
        use_dora: false,
        init_lora_weights: LoraInit::Default,
        rank_pattern: others().collect(),
        alpha_pattern: others().map(|(name, r)| (name, r as f64)).collect::<IndexMap<_, _>>(),
        layer_replication: sources[0].spec.layer_replication.clone(),
        seed: 0,
    }
}

/// Where all adapters list names, every one of those; else the layers by their whole names, since
/// patterns of one adapter must not find layers beside which only another stands.
fn targets(sources: &[Source<'_>], made: &[Made]) -> TargetModules {
    let first = &sources[0].spec.target_modules;
    if sources.iter().all(|source| source.spec.target_modules == *first) {
        return first.clone();
    }
    let mut union: Vec<String> = Vec::new();
    for source in sources {
        match &source.spec.target_modules {
            TargetModules::Named(names) if !names.iter().any(|name| name == ALL_LINEAR) => {
                union.extend(names.iter().cloned());
            }
            _ => {
                let modules = made.iter().map(|made| made.told.module.clone());
                return TargetModules::Named(modules.collect());
            }
        }
    }
    union.sort();
    union.dedup();
    TargetModules::Named(union)
}

fn tensor(name: String, values: &[f64], shape: [usize; 2]) -> Stored {
    let bytes: Vec<u8> = values.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect();
    Stored {
        name: name.into(),
        encoding: Encoding::F32,
        shape: shape.into(),
        bytes: Bytes::from(bytes),
        start: 0,
        form: Form::AsNamed,
    }
}
