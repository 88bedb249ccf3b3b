//! Adafactor: Adam's second moment from one number per row and one per column.

use burn::tensor::Tensor;

use super::rule::{Keeps, Kept, Rule, Step, norm};

const ROWS: &str = "exp_avg_sq_row";
const COLUMNS: &str = "exp_avg_sq_col";

/// Adafactor (arXiv 1804.04235, algorithms 4 and 5, without a first moment), as transformers has
/// it: the step is `g / sqrt(v)` with `v` of rank 1, clipped to a root mean square of
/// `clip_threshold`.
///
/// With `relative_step` the schedule is the paper's own and the run's rate is not used. A vector,
/// one row, needs no case of its own: of one row, the product of both factors is the average
/// itself.
pub(super) struct Adafactor {
    /// Added to squared gradients; the least scale of a parameter.
    pub(super) eps: [f64; 2],
    pub(super) clip_threshold: f64,
    pub(super) decay_rate: f64,
    pub(super) weight_decay: f64,
    pub(super) scale_parameter: bool,
    pub(super) relative_step: bool,
    pub(super) warmup_init: bool,
}

impl Adafactor {
    /// The rate before a parameter's own scale: `min(1e-2, 1/sqrt(t))`, or from `1e-6 * t` up.
    fn rate(&self, lr: f64, update: u64) -> f64 {
        if !self.relative_step {
            return lr;
        }
        let limit = if self.warmup_init { 1e-6 * update as f64 } else { 1e-2 };
        limit.min(1.0 / (update as f64).sqrt())
    }

    /// The rate of a parameter, a matrix of one element: relative to its root mean square.
    fn scaled(&self, rate: f64, value: &Tensor<2>) -> Tensor<2> {
        if self.scale_parameter {
            root_mean_square(value.clone()).clamp_min(self.eps[1]) * rate
        } else {
            Tensor::full([1, 1], rate, &value.device())
        }
    }
}

impl Rule for Adafactor {
    fn step(&self, step: Step<'_>, kept: &mut Kept) -> Tensor<2> {
        let lr = self.scaled(self.rate(step.lr, step.update), &step.value);
        let decay = 1.0 - (step.update as f64).powf(self.decay_rate);

        let square = step.gradient.clone().square() + self.eps[0];
        let rows = kept.average(ROWS, decay, square.clone().mean_dim(1));
        let columns = kept.average(COLUMNS, decay, square.mean_dim(0));
        // Two roots: the product of the factors may be too small for 32 bits.
        let direction = step.gradient / (rows.clone() / rows.mean_dim(0)).sqrt() / columns.sqrt();
        let excess = root_mean_square(direction.clone()) / self.clip_threshold;
        let direction = direction / excess.clamp_min(1.0);

        let shrunk = step.value.clone() * lr.clone() * self.weight_decay;
        step.value - shrunk - direction * lr
    }

    fn keeps(&self, _: &str, [rows, columns]: [usize; 2]) -> Keeps {
        Keeps { tensors: vec![(ROWS, [rows, 1]), (COLUMNS, [1, columns])], ..Keeps::default() }
    }
}

/// As a matrix of one element.
fn root_mean_square(x: Tensor<2>) -> Tensor<2> {
    let count = x.dims().iter().product::<usize>() as f64;
    norm(x) / count.sqrt()
}
