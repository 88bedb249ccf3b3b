//! One update: divide, clip, step.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use fidelio_backend::{BackendError, Clip, UpdateReport};

use super::Learning;

/// Behind the name of an adapter's factor whose rate LoRA+ raises.
const LORA_B: &str = ".lora_B.weight";

impl Learning {
    /// Divides, clips, steps, begins anew.
    pub(super) fn step(&mut self, lr: f64, weight: f64) -> Result<UpdateReport, BackendError> {
        if !self.added || weight.is_nan() || weight <= 0.0 {
            return Err(BackendError::Engine(format!(
                "an update needs gradients and a weight above 0, found the weight {weight}"
            )));
        }
        self.added = false;
        let mut gradients = std::mem::take(&mut self.sums);
        for gradient in gradients.values_mut() {
            *gradient = gradient.clone() / weight;
        }
        let gradient_norm = gradients.values().map(square).sum::<f64>().sqrt();
        if !gradient_norm.is_finite() {
            return Ok(UpdateReport { gradient_norm, clipped: false, applied: false });
        }
        let clipped = clip(&mut gradients, self.spec.clip, gradient_norm);
        self.optimizer.begin();
        self.updates += 1;
        for (name, value) in &mut self.values {
            let rows = value.clone().rows();
            let gradient = gradients.remove(name).unwrap_or_else(|| rows.zeros_like());
            let ratio = self.spec.lora_plus_ratio.filter(|_| name.ends_with(LORA_B));
            let stepped = self.optimizer.step(lr * ratio.unwrap_or(1.0), name, rows, gradient);
            *value = value.like(stepped);
        }
        Ok(UpdateReport { gradient_norm, clipped, applied: true })
    }
}

/// Limits gradients in place; says whether it had to.
fn clip(gradients: &mut BTreeMap<String, Tensor<2>>, clip: Clip, norm: f64) -> bool {
    // As in PyTorch's `clip_grad_norm_`.
    let factor = |limit: f64, norm: f64| limit / (norm + 1e-6);
    let mut clipped = false;
    for gradient in gradients.values_mut() {
        let factor = match clip {
            Clip::None => continue,
            Clip::GlobalNorm(limit) => factor(limit, norm),
            Clip::Norm(limit) => factor(limit, square(gradient).sqrt()),
            Clip::Value(limit) => {
                let largest = f64::from(gradient.clone().abs().max().into_scalar::<f32>());
                if largest > limit {
                    *gradient = gradient.clone().clamp(-limit, limit);
                    clipped = true;
                }
                continue;
            }
        };
        if factor < 1.0 {
            *gradient = gradient.clone() * factor;
            clipped = true;
        }
    }
    clipped
}

fn square(x: &Tensor<2>) -> f64 {
    f64::from((x.clone() * x.clone()).sum().into_scalar::<f32>())
}
