//! Several adapters as one: PEFT's numbers, and what cannot become one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use fidelio_backend::{AdapterSpec, LoraBias, LoraRanks, LoraSpec, TargetModules, Weights};
use fidelio_weights::{
    WeightsError,
    peft::{self, Combination, Combined, PeftAdapter, Share},
    safetensors,
};
use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/weights/fixtures/combined")
}

fn source(name: &str) -> PeftAdapter {
    peft::open(&fixtures().join("sources").join(name)).unwrap()
}

fn floats(weights: &dyn Weights, name: &str) -> Vec<f32> {
    let bytes = weights.get(name).unwrap().bytes;
    bytes.chunks_exact(4).map(|x| f32::from_le_bytes(*x.first_chunk().unwrap())).collect()
}

fn lora(adapter: &PeftAdapter) -> &LoraSpec {
    match &adapter.spec {
        AdapterSpec::Lora(spec) => spec,
        other => panic!("{other:?}"),
    }
}

fn lora_mut(adapter: &mut PeftAdapter) -> &mut LoraSpec {
    match &mut adapter.spec {
        AdapterSpec::Lora(spec) => spec,
        other => panic!("{other:?}"),
    }
}

/// Combines sources by name, with a weight of 1 each.
fn combine(names: &[&str], how: Combination) -> Result<Combined, WeightsError> {
    let adapters: Vec<PeftAdapter> = names.iter().map(|name| source(name)).collect();
    combine_these(names, &adapters, how)
}

fn combine_these(
    names: &[&str],
    adapters: &[PeftAdapter],
    how: Combination,
) -> Result<Combined, WeightsError> {
    let shares: Vec<Share<'_>> = names
        .iter()
        .zip(adapters)
        .map(|(name, adapter)| Share { name, adapter, weight: 1.0 })
        .collect();
    peft::combine(&shares, how, None)
}

/// What PEFT was asked in a case, done here.
fn done(case: &str) -> (Combined, Value) {
    let text = fs::read(fixtures().join(format!("{case}.json"))).unwrap();
    let told: Value = serde_json::from_slice(&text).unwrap();
    let names: Vec<&str> =
        told["sources"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let adapters: Vec<PeftAdapter> = names.iter().map(|name| source(name)).collect();
    let shares: Vec<Share<'_>> = names
        .iter()
        .zip(&adapters)
        .zip(told["weights"].as_array().unwrap())
        .map(|((name, adapter), weight)| Share { name, adapter, weight: weight.as_f64().unwrap() })
        .collect();
    let how: Combination = serde_json::from_value(told.clone()).unwrap();
    (peft::combine(&shares, how, None).unwrap(), told)
}

/// `B · A` beside a layer.
fn product(weights: &dyn Weights, module: &str) -> Vec<f64> {
    let (a, b) = (format!("{module}.lora_A.weight"), format!("{module}.lora_B.weight"));
    let shape = weights.get(&a).unwrap().shape;
    let (a, b) = (floats(weights, &a), floats(weights, &b));
    let (r, input) = (shape[0], shape[1]);
    let row = |row: &[f32]| -> Vec<f64> {
        let element =
            |j: usize| (0..r).map(|k| f64::from(row[k]) * f64::from(a[k * input + j])).sum::<f64>();
        (0..input).map(element).collect()
    };
    b.chunks_exact(r).flat_map(row).collect()
}

fn close(found: &[f64], want: &[f64], what: &str) {
    assert_eq!(found.len(), want.len(), "{what}");
    let length = want.iter().map(|x| x * x).sum::<f64>().sqrt();
    let apart = found.iter().zip(want).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
    // PEFT computes in 32 bits.
    assert!(apart <= 2e-6 * length, "{what}: {apart} of {length}");
}

const CASES: [&str; 10] = [
    "linear",
    "linear-negative",
    "linear-rslora-first",
    "linear-patterns",
    "one",
    "ties",
    "ties-negative",
    "magnitude_prune",
    "dare_linear",
    "dare_ties",
];

#[test]
fn matrices_are_those_of_peft() {
    for case in CASES {
        let (combined, told) = done(case);
        let want = safetensors::open(&fixtures().join(format!("{case}.safetensors"))).unwrap();
        let weights = &combined.adapter.weights;
        assert_eq!(weights.names(), want.names(), "{case}");
        for name in want.names() {
            let what = format!("{case}: {name}");
            assert_eq!(weights.get(&name).unwrap().shape, want.get(&name).unwrap().shape, "{what}");
            let values = |weights: &dyn Weights| -> Vec<f64> {
                floats(weights, &name).into_iter().map(f64::from).collect()
            };
            close(&values(weights), &values(&want), &what);
            // What is dropped is dropped on both sides, not only small.
            for (found, want) in values(weights).iter().zip(values(&want)) {
                assert_eq!(*found == 0.0, want == 0.0, "{what}");
            }
        }
        // PEFT's own scale is 1 too, but where it forgets that the first adapter was rsLoRA.
        let scales = told["scaling_in_peft"].as_object().unwrap();
        let forgets = case == "linear-rslora-first";
        assert!(scales.values().all(|scale| *scale == if forgets { 2.0 } else { 1.0 }), "{case}");
    }
}

#[test]
fn the_best_approximation_is_that_of_peft() {
    let (combined, _) = done("svd");
    let want = safetensors::open(&fixtures().join("svd.safetensors")).unwrap();
    let weights = &combined.adapter.weights;
    assert_eq!(weights.names(), want.names());
    for module in &combined.modules {
        close(&product(weights, &module.module), &product(&want, &module.module), &module.module);
        // Singular vectors have a length of 1: PEFT keeps the values on the other side.
        let a = floats(weights, &format!("{}.lora_A.weight", module.module));
        let input = a.len() / module.rank;
        for row in a.chunks_exact(input) {
            let length: f32 = row.iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-5, "{length}");
        }
    }
}

#[test]
fn a_result_says_how_far_it_is_from_the_sum() {
    let (combined, _) = done("svd");
    let of = |module: &str| combined.modules.iter().find(|it| it.module == module).unwrap();
    // Beside `down_proj` stands one adapter, whose product has the rank that is kept.
    let alone = of("model.layers.0.mlp.down_proj");
    assert_eq!((alone.rank, &alone.sources[..]), (4, &["second".to_owned()][..]));
    assert!(alone.distance.unwrap() < 1e-6, "{alone:?}");
    // Beside `q_proj` the ranks 4, 4 and 2 add up to 10, of which 4 are kept.
    let cut = of("model.layers.0.self_attn.q_proj");
    let (first, second, thin) = (source("first"), source("second"), source("thin"));
    let parts = [(&first, 1.0), (&second, 0.5), (&thin, -2.0)].map(|(adapter, weight)| {
        let scale = LoraRanks::new(lora(adapter)).unwrap().scale(&cut.module);
        (product(&adapter.weights, &cut.module), scale * weight)
    });
    let made = product(&combined.adapter.weights, &cut.module);
    let sum = |i: usize| parts.iter().map(|(values, weight)| values[i] * weight).sum::<f64>();
    let length = |value: &dyn Fn(usize) -> f64| {
        (0..made.len()).map(|i| value(i).powi(2)).sum::<f64>().sqrt()
    };
    let want = length(&|i| made[i] - sum(i)) / length(&sum);
    assert!((cut.distance.unwrap() - want).abs() < 1e-5, "{cut:?}, {want}");
    assert!(want > 0.1, "{want}");
}

#[test]
fn a_layer_gets_no_more_rank_than_its_sources_have() {
    let combined = combine(&["patterns", "thin"], Combination::Svd).unwrap();
    let spec = lora(&combined.adapter);
    assert_eq!((spec.r, spec.lora_alpha), (4, 4.0));
    let ranks: Vec<(usize, bool)> = combined
        .modules
        .iter()
        .map(|it| (it.rank, it.distance.is_some_and(|distance| distance < 1e-6)))
        .collect();
    // `down_proj` and `q_proj` of two layers: 1 alone; 4 of 4 and 2; 1 alone; 4 of 2 and 2.
    assert_eq!(ranks, [(1, true), (4, false), (1, true), (4, true)]);
    assert_eq!(spec.rank_pattern.len(), 2);
}

#[test]
fn what_is_written_is_an_adapter_with_a_scale_of_one() {
    for case in CASES.into_iter().chain(["svd"]) {
        let folder = tempfile::tempdir().unwrap();
        let (combined, _) = done(case);
        let adapter = &combined.adapter;
        peft::save(folder.path(), lora(adapter), adapter.base_model.as_deref(), &adapter.weights)
            .unwrap();
        let again = peft::open(folder.path()).unwrap();
        assert_eq!(again.base_model.as_deref(), Some("tiny/llama"), "{case}");
        let ranks = LoraRanks::new(lora(&again)).unwrap();
        for module in &combined.modules {
            let a = again.weights.get(&format!("{}.lora_A.weight", module.module)).unwrap();
            assert_eq!(ranks.rank(&module.module), a.shape[0], "{case}");
            assert!((ranks.scale(&module.module) - 1.0).abs() < 1e-12, "{case}: {module:?}");
        }
        assert!(!lora(&again).use_rslora, "{case}");
    }
}

#[test]
fn targets_are_those_of_all() {
    let named = |names: &[&str]| {
        TargetModules::Named(names.iter().map(|name| (*name).to_owned()).collect())
    };
    let linear = |names: &[&str]| combine(names, Combination::Linear).unwrap().adapter;
    let two = linear(&["first", "second"]);
    assert_eq!(lora(&two).target_modules, named(&["down_proj", "q_proj", "v_proj"]));
    let same = linear(&["patterns", "patterns-too"]);
    assert_eq!(lora(&same).target_modules, lora(&source("patterns")).target_modules);
    // A list and a pattern: the layers themselves.
    let mixed = combine(&["patterns", "thin"], Combination::Svd).unwrap();
    let layers: Vec<&str> = mixed.modules.iter().map(|it| it.module.as_str()).collect();
    assert_eq!(layers.len(), 4);
    assert_eq!(lora(&mixed.adapter).target_modules, named(&layers));
}

#[test]
fn what_is_dropped_depends_on_the_seed_alone() {
    let with = |seed| {
        let how = Combination::DareLinear { density: 0.5, seed };
        let adapter = combine(&["first", "second"], how).unwrap().adapter;
        floats(&adapter.weights, "model.layers.0.self_attn.q_proj.lora_A.weight")
    };
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
}

/// What is said of the second adapter, changed.
fn refused(how: Combination, change: impl FnOnce(&mut PeftAdapter)) -> (String, String) {
    let (first, mut second) = (source("first"), source("second"));
    change(&mut second);
    let error = combine_these(&["first", "second"], &[first, second], how).unwrap_err();
    let named = matches!(&error, WeightsError::Uncombinable { adapter, .. } if adapter == "second");
    assert!(named, "{error}");
    (error.to_string(), error.hint().unwrap_or_default().into_owned())
}

#[test]
fn what_cannot_become_one_is_refused_with_a_reason() {
    let check = |change: fn(&mut PeftAdapter), said: &str, hint: &str| {
        let (text, help) = refused(Combination::Linear, change);
        assert!(text.contains(said) && help.contains(hint), "{text}; {help}");
    };
    check(|it| lora_mut(it).use_dora = true, "DoRA", "fidelio merge");
    check(|it| lora_mut(it).bias = LoraBias::All, "learnt biases", "fidelio merge");
    check(
        |it| it.base_model = Some("other/model".into()),
        "stands on `other/model`, and `first` stands on `tiny/llama`",
        "--base-model",
    );
    check(|it| *it = source("thin"), "its rank beside", "only `svd`");
    check(|it| lora_mut(it).r = 5, "the rank 5, its tensors have 4 and 4", "write it anew");
    // A rank and a scale per layer agree with neither of the others' shapes.
    check(
        |it| {
            *it = other_shapes();
        },
        "inputs and",
        "one model",
    );
    check(
        |it| {
            *it = peft::open(&fixtures().join("../peft/dora")).unwrap();
            lora_mut(it).use_dora = false;
        },
        "is no part of a product",
        "fidelio merge",
    );
}

/// An adapter of the right names and other sizes.
fn other_shapes() -> PeftAdapter {
    let folder = tempfile::tempdir().unwrap();
    let from = fixtures().join("sources/first");
    let config = "adapter_config.json";
    fs::copy(from.join(config), folder.path().join(config)).unwrap();
    let tensors: Vec<_> = ["A", "B"]
        .into_iter()
        .map(|which| {
            let shape = if which == "A" { vec![4, 8] } else { vec![8, 4] };
            let name =
                format!("base_model.model.model.layers.0.self_attn.q_proj.lora_{which}.weight");
            let bytes = vec![0_u8; 4 * 32].into();
            let encoding = fidelio_backend::Encoding::F32;
            (name, fidelio_backend::TensorView { encoding, shape, bytes })
        })
        .collect();
    safetensors::save_file(&folder.path().join("adapter_model.safetensors"), &tensors).unwrap();
    peft::open(folder.path()).unwrap()
}

#[test]
fn another_name_of_the_base_model_can_be_vouched_for() {
    let (first, mut second) = (source("first"), source("second"));
    second.base_model = Some("/models/llama".into());
    let shares = [("first", &first), ("second", &second)].map(|(name, adapter)| Share {
        name,
        adapter,
        weight: 1.0,
    });
    let combined = peft::combine(&shares, Combination::Linear, Some("org/llama")).unwrap();
    assert_eq!(combined.adapter.base_model.as_deref(), Some("org/llama"));
    // One that says nothing contradicts none.
    second.base_model = None;
    let combined = combine_these(&["first", "second"], &[first, second], Combination::Linear);
    assert_eq!(combined.unwrap().adapter.base_model.as_deref(), Some("tiny/llama"));
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let said = |weight: f64, how| {
        let adapter = source("first");
        let shares = [Share { name: "first", adapter: &adapter, weight }];
        peft::combine(&shares, how, None).unwrap_err().to_string()
    };
    for density in [0.0, -0.1, 1.01, f64::NAN] {
        let text = said(1.0, Combination::Ties { density });
        assert!(text.contains("must be above 0 and at most 1"), "{text}");
    }
    assert!(said(f64::NAN, Combination::Linear).contains("the weight of `first` is NaN"));
    let none = peft::combine(&[], Combination::Linear, None).unwrap_err();
    assert!(none.to_string().contains("none was given"), "{none}");
}

#[test]
fn a_folder_takes_the_place_of_an_adapter_and_of_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("deep/merged");
    let names = |folder: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let (first, thin) = (source("first"), source("thin"));
    first.write(&to, false).unwrap();
    assert!(matches!(thin.write(&to, false), Err(WeightsError::Exists { .. })));
    fs::write(to.join("README.md"), "old").unwrap();
    assert_eq!(lora(&peft::open(&to).unwrap()).r, 4);
    thin.write(&to, true).unwrap();
    assert_eq!(lora(&peft::open(&to).unwrap()).r, 2);
    assert_eq!(names(&to), ["adapter_config.json", "adapter_model.safetensors"]);
    assert_eq!(names(to.parent().unwrap()), ["merged"]);

    let other = place.path().join("thesis");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("thesis.txt"), "mine").unwrap();
    assert!(matches!(thin.write(&other, true), Err(WeightsError::Exists { .. })));
    assert_eq!(names(&other), ["thesis.txt"]);
}
