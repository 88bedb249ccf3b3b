//! What an adapter starts from: PEFT's starts.

use burn::tensor::{Device, Tensor, TensorData};
use fidelio_backend::{BackendError, LoraInit, LoraSpec};
use fidelio_ops::Weight;

use super::{Targets, principal, targets::Target};
use crate::{loader::Module, noise::Stream};

/// Refuses starts that cannot be made.
pub(super) fn check(
    spec: &LoraSpec,
    targets: &Targets<'_>,
    modules: &[Module],
) -> Result<(), BackendError> {
    let refuse = |what: String, help: &str| Err(BackendError::Adapter { what, help: help.into() });
    match spec.init_lora_weights {
        LoraInit::Default | LoraInit::Gaussian => Ok(()),
        LoraInit::Pissa | LoraInit::Olora if spec.use_dora => refuse(
            "`use_dora` with a start that is taken from the weight".to_owned(),
            "choose one of the two",
        ),
        LoraInit::Pissa | LoraInit::Olora => {
            let short = |module: &Module| {
                let r = targets.of(&module.name)?.r;
                let Module { name, input, output, .. } = module;
                let short = r > *input.min(output);
                short.then(|| format!("`{name}` [{output}, {input}] has no factors of rank {r}"))
            };
            match modules.iter().find_map(short) {
                Some(what) => refuse(what, "make `r` smaller"),
                None => Ok(()),
            }
        }
        LoraInit::Orthogonal => {
            let odd = modules.iter().filter_map(|module| targets.of(&module.name));
            match odd.map(|target| target.r).find(|r| r % 2 == 1) {
                Some(r) => refuse(
                    format!("`init_lora_weights: orthogonal` needs an even rank, found {r}"),
                    "make `r` even, or choose another start",
                ),
                None => Ok(()),
            }
        }
        other => refuse(
            format!("`init_lora_weights: {other:?}` is not known to this engine"),
            "use `default`, `gaussian`, `orthogonal`, `pissa` or `olora`",
        ),
    }
}

/// Whether the factors are taken from the layer's weight: their product is not zero.
pub(super) fn is_from_weight(init: LoraInit) -> bool {
    matches!(init, LoraInit::Pissa | LoraInit::Olora)
}

/// `a` `[r, in]` and `b` `[out, r]`; where they are not taken from the weight, their product is
/// zero.
pub(super) fn factors(
    spec: &LoraSpec,
    target: Target,
    module: &Module,
    weight: impl Fn() -> Weight,
    device: &Device,
) -> (Tensor<2>, Tensor<2>) {
    let r = target.r;
    let mut random = Stream::of(spec.seed, &module.name);
    let (input, output) = (module.input, module.output);
    let matrix = |values: Vec<f32>, shape: [usize; 2]| {
        Tensor::<2>::from_data(TensorData::new(values, shape), device)
    };
    let zero = || Tensor::zeros([output, r], device);
    match spec.init_lora_weights {
        LoraInit::Gaussian => {
            let deviation = 1.0 / r as f32;
            let a = (0..r * input).map(|_| random.normal() * deviation).collect();
            (matrix(a, [r, input]), zero())
        }
        LoraInit::Pissa => principal::singular(&weight(), r, target.scale, &mut random, device),
        LoraInit::Olora => principal::triangular(&weight(), r, device),
        LoraInit::Orthogonal => {
            let basis = orthogonal(r, &mut random); // rows
            let half = r / 2;
            let mut product = |size: usize, parity: usize| -> Vec<f32> {
                let random: Vec<f32> = (0..size * half).map(|_| random.normal()).collect();
                let mut out = vec![0.0; size * r];
                for (row, out) in random.chunks(half).zip(out.chunks_mut(r)) {
                    for (weight, i) in row.iter().zip((parity..r).step_by(2)) {
                        for (out, x) in out.iter_mut().zip(&basis[i * r..][..r]) {
                            *out += weight * x / 10.0;
                        }
                    }
                }
                out
            };
            let (a, b) = (product(input, 1), product(output, 0));
            (matrix(a, [input, r]).transpose(), matrix(b, [output, r]))
        }
        // Every other start has been refused.
        _ => {
            let bound = 1.0 / (input as f32).sqrt(); // Kaiming's with slope sqrt(5)
            let a = (0..r * input).map(|_| (2.0 * random.uniform() - 1.0) * bound).collect();
            (matrix(a, [r, input]), zero())
        }
    }
}

/// An orthonormal basis of `r` rows out of random ones.
fn orthogonal(r: usize, random: &mut Stream) -> Vec<f32> {
    let rows = std::iter::from_fn(|| Some((0..r).map(|_| f64::from(random.normal())).collect()));
    orthonormal(rows, r, r)
}

/// An orthonormal basis of `count` rows, the first of which span what `rows` span, by Gram and
/// Schmidt twice. Where `rows` give out, unit rows take their place.
pub(super) fn orthonormal(
    rows: impl IntoIterator<Item = Vec<f64>>,
    count: usize,
    width: usize,
) -> Vec<f32> {
    let unit = |i: usize| (0..width).map(|j| f64::from(u8::from(i == j))).collect();
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(count);
    for mut row in rows.into_iter().chain((0..width).map(unit)) {
        if basis.len() == count {
            break;
        }
        let before = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        for _ in 0..2 {
            for other in &basis {
                let along: f64 = row.iter().zip(other).map(|(x, y)| x * y).sum();
                for (x, y) in row.iter_mut().zip(other) {
                    *x -= along * y;
                }
            }
        }
        let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        if length > 1e-6 * before {
            basis.push(row.iter().map(|x| x / length).collect());
        }
    }
    basis.concat().iter().map(|&x| x as f32).collect()
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    fn start(init: &str) -> (Vec<f32>, Vec<f32>, f32) {
        let spec: LoraSpec = serde_json::from_value(serde_json::json!({
            "r": 4, "lora_alpha": 8.0, "target_modules": ["q"], "init_lora_weights": init, "seed": 3,
        }))
        .expect("a spec");
        let module = Module { name: "q".into(), input: 64, output: 32, bias: false };
        let target = Target { r: 4, scale: 2.0 };
        let (a, b) =
            factors(&spec, target, &module, || unreachable!("not asked for"), &Device::flex());
        let product = b.clone().matmul(a.clone()).abs().max().into_scalar::<f32>();
        let values = |x: Tensor<2>| x.into_data().try_into_vec::<f32>().expect("f32");
        (values(a), values(b), product)
    }

    #[test]
    fn the_default_is_uniform_within_one_over_the_root_of_the_inputs() {
        let (a, b, _) = start("default");
        let largest = a.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        assert!((0.11..=0.125).contains(&largest), "{largest}");
        assert!(b.iter().all(|&x| x == 0.0));
    }

    #[test]
    fn gaussian_has_deviation_one_over_the_rank() {
        let (a, b, _) = start("gaussian");
        let deviation = (a.iter().map(|x| x * x).sum::<f32>() / a.len() as f32).sqrt();
        assert!((deviation - 0.25).abs() < 0.03, "{deviation}");
        assert!(b.iter().all(|&x| x == 0.0));
    }

    #[test]
    fn orthogonal_factors_cancel_without_being_zero() {
        let (a, b, product) = start("orthogonal");
        assert!(product < 1e-6, "{product}");
        for factor in [a, b] {
            assert!(factor.iter().any(|x| x.abs() > 0.05));
        }
    }
}
