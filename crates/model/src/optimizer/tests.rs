//! Trajectories of other implementations (`tests/make_optimizers.py`), and going on from a state.

use std::collections::BTreeMap;

use burn::tensor::{Device, DeviceType, Tensor, TensorData};
use fidelio_backend::OptimizerSpec;
use serde::Deserialize;

use super::{Optimizer, State};

/// The names of the reference, with rows and columns.
const PARAMETERS: [(&str, [usize; 2]); 2] = [("matrix", [4, 3]), ("vector", [1, 5])];

#[derive(Deserialize)]
struct Golden {
    start: BTreeMap<String, Vec<f32>>,
    gradients: BTreeMap<String, Vec<Vec<f32>>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    spec: OptimizerSpec,
    lr: Vec<f64>,
    matrix: Vec<Vec<f32>>,
    vector: Vec<Vec<f32>>,
    averaged_matrix: Option<Vec<Vec<f32>>>,
    averaged_vector: Option<Vec<Vec<f32>>>,
}

/// Both parameters on their way.
struct Run {
    optimizer: Optimizer,
    values: BTreeMap<&'static str, Tensor<2>>,
}

impl Run {
    fn new(golden: &Golden, case: &Case, device: &Device) -> Self {
        let values = PARAMETERS
            .map(|(name, shape)| (name, tensor(&golden.start[name], shape, device)))
            .into();
        Self { optimizer: Optimizer::new(case.spec.clone()).unwrap(), values }
    }

    fn update(&mut self, golden: &Golden, case: &Case, update: usize) {
        self.optimizer.begin();
        for (name, shape) in PARAMETERS {
            let value = self.values[name].clone();
            let gradient = tensor(&golden.gradients[name][update], shape, &value.device());
            let value = self.optimizer.step(case.lr[update], name, value, gradient);
            self.values.insert(name, value);
        }
    }
}

fn golden() -> Golden {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/optimizers.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn devices() -> Vec<Device> {
    let kinds: &[DeviceType] = &[
        #[cfg(feature = "flex")]
        DeviceType::Flex,
        #[cfg(feature = "ndarray")]
        DeviceType::NdArray,
    ];
    let devices: Vec<_> = kinds.iter().flat_map(|kind| Device::enumerate(kind.clone())).collect();
    assert!(!devices.is_empty(), "the tests need an engine");
    devices
}

fn tensor(values: &[f32], shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

fn floats(tensor: &Tensor<2>) -> Vec<f32> {
    tensor.to_data().try_to_vec().unwrap()
}

fn check(at: &str, found: &Tensor<2>, expected: &[f32]) {
    let found = floats(found);
    assert_eq!(found.len(), expected.len(), "{at}");
    for (found, expected) in found.iter().zip(expected) {
        let close = (found - expected).abs() <= 1e-5 * expected.abs().max(0.1);
        assert!(close, "{at}: {found}, the reference has {expected}");
    }
}

#[test]
fn every_optimizer_goes_where_its_original_goes() {
    let golden = golden();
    for device in devices() {
        for case in &golden.cases {
            let mut run = Run::new(&golden, case, &device);
            for update in 0..case.lr.len() {
                run.update(&golden, case, update);
                let at = format!("{:?} on {device:?}, update {update}", case.spec);
                check(&at, &run.values["matrix"], &case.matrix[update]);
                check(&at, &run.values["vector"], &case.vector[update]);
            }
        }
    }
}

#[test]
fn the_model_of_a_schedule_free_optimizer_is_the_average() {
    let golden = golden();
    let averaged = golden.cases.iter().filter(|case| case.averaged_matrix.is_some());
    for case in averaged {
        let mut run = Run::new(&golden, case, &devices()[0]);
        for update in 0..case.lr.len() {
            run.update(&golden, case, update);
            let expected = [&case.averaged_matrix, &case.averaged_vector];
            for ((name, _), expected) in PARAMETERS.iter().zip(expected) {
                let model = run.optimizer.averaged(name, run.values[name].clone());
                let at = format!("{:?}, average after {update}", case.spec);
                check(&at, &model, &expected.as_ref().unwrap()[update]);
            }
        }
    }
}

#[test]
fn a_restored_optimizer_goes_on_to_the_bit() {
    let golden = golden();
    for case in &golden.cases {
        let mut whole = Run::new(&golden, case, &devices()[0]);
        (0..3).for_each(|update| whole.update(&golden, case, update));
        let mut resumed = Run::new(&golden, case, &devices()[0]);
        resumed.values.clone_from(&whole.values);
        resumed.optimizer.restore(PARAMETERS, whole.optimizer.state()).unwrap();
        for update in 3..case.lr.len() {
            whole.update(&golden, case, update);
            resumed.update(&golden, case, update);
        }
        for (name, _) in PARAMETERS {
            let [whole, resumed] = [&whole, &resumed].map(|run| floats(&run.values[name]));
            assert_eq!(whole, resumed, "{name} with {:?}", case.spec);
        }
    }
}

#[test]
fn a_state_that_does_not_fit_is_refused_whole() {
    let golden = golden();
    let nadam = |case: &&Case| matches!(case.spec, OptimizerSpec::Nadam { .. });
    let case = golden.cases.iter().find(nadam).unwrap();
    let mut run = Run::new(&golden, case, &devices()[0]);
    run.update(&golden, case, 0);
    let mut state = run.optimizer.state();
    let misshapen = state.tensors.remove("matrix.exp_avg").unwrap().transpose();
    state.tensors.insert("vector.exp_avg".into(), misshapen);
    state.numbers.insert("other.mu_product".into(), 1.0);
    state.numbers.remove("vector.mu_product");

    let problems = run.optimizer.restore(PARAMETERS, state).unwrap_err();
    assert_eq!(
        problems,
        [
            "`matrix.exp_avg` [4, 3] is missing",
            "`vector.exp_avg` is [3, 4], expected [1, 5]",
            "the number `vector.mu_product` is missing",
            "`other.mu_product` is not a part of this optimizer's state",
        ]
    );
    assert_eq!(run.optimizer.state().numbers.len(), 2, "nothing has changed");
}

#[test]
fn the_state_of_one_that_took_no_step_is_empty() {
    let spec = OptimizerSpec::Lion { betas: [0.9, 0.99], weight_decay: 0.0 };
    let mut optimizer = Optimizer::new(spec).unwrap();
    optimizer.restore(PARAMETERS, State::default()).unwrap();
    let state = optimizer.state();
    assert_eq!((state.updates, state.tensors.len()), (0, 0));
}

#[test]
fn muon_leaves_embeddings_and_the_head_to_adamw() {
    let golden = golden();
    let muon = OptimizerSpec::Muon { momentum: 0.95, nesterov: true, weight_decay: 0.1 };
    let adamw =
        OptimizerSpec::Adamw { betas: [0.9, 0.95], eps: 1e-10, weight_decay: 0.1, amsgrad: false };
    for name in ["model.embed_tokens.weight", "lm_head.weight", "transformer.wpe.weight"] {
        let [found, expected] = [&muon, &adamw].map(|spec| {
            let mut optimizer = Optimizer::new(spec.clone()).unwrap();
            let value = tensor(&golden.start["matrix"], [4, 3], &devices()[0]);
            let gradient = tensor(&golden.gradients["matrix"][0], [4, 3], &devices()[0]);
            optimizer.begin();
            floats(&optimizer.step(0.1, name, value, gradient))
        });
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn lamb_moves_a_parameter_of_zeros() {
    let spec = OptimizerSpec::Lamb {
        betas: [0.9, 0.999],
        eps: 1e-6,
        weight_decay: 0.0,
        bias_correction: true,
    };
    let mut optimizer = Optimizer::new(spec).unwrap();
    let zeros = Tensor::zeros([1, 2], &devices()[0]);
    let gradient = tensor(&[2.0, -3.0], [1, 2], &devices()[0]);
    optimizer.begin();
    check("lora_B", &optimizer.step(0.1, "lora_B", zeros, gradient), &[-0.1, 0.1]);
}

#[test]
fn schedule_free_without_a_first_beta_is_refused() {
    let spec = OptimizerSpec::ScheduleFreeAdamw {
        betas: [0.0, 0.999],
        eps: 1e-8,
        weight_decay: 0.0,
        warmup_steps: 0,
    };
    let error = Optimizer::new(spec).err().unwrap();
    assert!(error.to_string().contains("first beta above 0"), "{error}");
}

/// Trajectories of bitsandbytes on a parameter that is large enough for it to round
/// (`tests/make_optimizers_8bit.py`).
#[derive(Deserialize)]
struct Rounding {
    shape: [usize; 2],
    every: usize,
    cases: Vec<RoundingCase>,
}

#[derive(Deserialize)]
struct RoundingCase {
    spec: OptimizerSpec,
    lr: f64,
    /// Every so many-th value after each update.
    values: Vec<Vec<f32>>,
}

/// Numbers that both sides make: whole numbers in thousandths, smaller from row to row.
fn made(update: usize, [rows, cols]: [usize; 2]) -> Vec<f32> {
    let number = |i: usize| {
        let whole = (i * 7919 + update * 104_729) % 2001;
        (whole as f32 - 1000.0) / 1000.0 / (1 << (i / cols % 12)) as f32
    };
    (0..rows * cols).map(number).collect()
}

fn rounding() -> Rounding {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/optimizers_8bit.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn eight_bits_go_where_bitsandbytes_goes() {
    let golden = rounding();
    for device in devices() {
        for case in &golden.cases {
            let mut optimizer = Optimizer::new(case.spec.clone()).unwrap();
            let mut value = tensor(&made(0, golden.shape), golden.shape, &device);
            let mut apart = 0;
            for (update, expected) in (1..).zip(&case.values) {
                optimizer.begin();
                let gradient = tensor(&made(update, golden.shape), golden.shape, &device);
                value = optimizer.step(case.lr, "wide", value, gradient);
                let found = floats(&value);
                let found = found.iter().step_by(golden.every);
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.zip(expected) {
                    let difference = f64::from((found - expected).abs());
                    let at = format!("{:?} on {device:?}, update {update}", case.spec);
                    assert!(difference < 0.1 * case.lr, "{at}: {found}, expected {expected}");
                    apart += usize::from(difference > 1e-5);
                }
            }
            let compared: usize = case.values.iter().map(Vec::len).sum();
            // A number on the edge of two codes may fall to either side, and goes on from there.
            assert!(apart * 100 <= compared, "{:?}: {apart} of {compared}", case.spec);
        }
    }
}

#[test]
fn eight_bits_keep_a_byte_for_each_number_and_go_on_from_it() {
    let (golden, device) = (rounding(), &devices()[0]);
    let shape = golden.shape;
    let numbers = shape[0] * shape[1];
    for case in &golden.cases {
        let whole = Optimizer::new(case.spec.clone()).unwrap();
        let moments = if matches!(case.spec, OptimizerSpec::Lion8bit { .. }) { 1 } else { 2 };
        assert_eq!(whole.keeps("wide", shape), moments * (numbers + numbers.div_ceil(256) * 4));
        assert_eq!(whole.keeps("narrow", [4, 3]), moments * 4 * 3 * 4);
        let mut runs = [whole, Optimizer::new(case.spec.clone()).unwrap()];
        let mut values = [(); 2].map(|()| tensor(&made(0, shape), shape, device));
        for update in 1..5 {
            if update == 3 {
                let state = runs[1].state();
                assert_eq!((state.tensors.len(), state.rounded.len()), (0, moments));
                runs[1] = Optimizer::new(case.spec.clone()).unwrap();
                runs[1].restore([("wide", shape)], state).unwrap();
            }
            for (run, value) in runs.iter_mut().zip(&mut values) {
                run.begin();
                let gradient = tensor(&made(update, shape), shape, device);
                *value = run.step(case.lr, "wide", value.clone(), gradient);
            }
        }
        assert_eq!(floats(&values[0]), floats(&values[1]), "{:?}: to the bit", case.spec);
    }
}
