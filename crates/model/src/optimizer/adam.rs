//! Adam and its kin: the mean of past gradients over a measure of their size.

use burn::tensor::Tensor;

use super::rule::{Keeps, Kept, Rule, Step, WeightDecay, bias_correction};

const MEAN: &str = "exp_avg";
pub(super) const SQUARE: &str = "exp_avg_sq";
const GREATEST: &str = "max_exp_avg_sq";
const SIZE: &str = "exp_inf";
const PRODUCT: &str = "mu_product";

/// Adam (arXiv 1412.6980, algorithm 1): `x -= lr * m̂ / (sqrt(v̂) + eps)` with the averages `m` of
/// gradients and `v` of their squares, freed of their bias. Decoupled decay makes it AdamW
/// (arXiv 1711.05101); AMSGrad (arXiv 1904.09237) divides by the greatest `v` so far.
pub(super) struct Adam {
    pub(super) betas: [f64; 2],
    pub(super) eps: f64,
    pub(super) decay: WeightDecay,
    pub(super) amsgrad: bool,
}

impl Rule for Adam {
    fn step(&self, step: Step<'_>, kept: &mut Kept) -> Tensor<2> {
        let (value, gradient) = self.decay.apply(step.lr, step.value, step.gradient);
        let [mean_bias, square_bias] = self.betas.map(|beta| bias_correction(beta, step.update));
        let mean = kept.average(MEAN, self.betas[0], gradient.clone());
        let mut square = kept.average(SQUARE, self.betas[1], gradient.square());
        if self.amsgrad {
            square = kept.greatest(GREATEST, square);
        }
        let size = square.sqrt() / square_bias.sqrt() + self.eps;
        value - mean / size * (step.lr / mean_bias)
    }

    fn keeps(&self, _: &str, shape: [usize; 2]) -> Keeps {
        let names: &[_] = if self.amsgrad { &[MEAN, SQUARE, GREATEST] } else { &[MEAN, SQUARE] };
        Keeps::alike(names, shape)
    }
}

/// AdaMax (arXiv 1412.6980, algorithm 2): Adam with a decaying maximum in place of `sqrt(v)`.
pub(super) struct Adamax {
    pub(super) betas: [f64; 2],
    pub(super) eps: f64,
    pub(super) decay: WeightDecay,
}

impl Rule for Adamax {
    fn step(&self, step: Step<'_>, kept: &mut Kept) -> Tensor<2> {
        let (value, gradient) = self.decay.apply(step.lr, step.value, step.gradient);
        let mean = kept.average(MEAN, self.betas[0], gradient.clone());
        // PyTorch adds `eps` before the maximum; the paper has none.
        let size = gradient.abs() + self.eps;
        let size = match kept.take(SIZE) {
            None => size,
            Some(old) => (old * self.betas[1]).max_pair(size),
        };
        let size = kept.put(SIZE, size);
        value - mean / size * (step.lr / bias_correction(self.betas[0], step.update))
    }

    fn keeps(&self, _: &str, shape: [usize; 2]) -> Keeps {
        Keeps::alike(&[MEAN, SIZE], shape)
    }
}

/// NAdam (Dozat, "Incorporating Nesterov Momentum into Adam", 2016): Adam that looks ahead, with
/// the momentum warming up as `mu_t = beta1 * (1 - 0.96^(t * momentum_decay) / 2)`.
pub(super) struct Nadam {
    pub(super) betas: [f64; 2],
    pub(super) eps: f64,
    pub(super) decay: WeightDecay,
    pub(super) momentum_decay: f64,
}

impl Nadam {
    fn momentum(&self, update: u64) -> f64 {
        self.betas[0] * (1.0 - 0.5 * 0.96_f64.powf(update as f64 * self.momentum_decay))
    }
}

impl Rule for Nadam {
    fn step(&self, step: Step<'_>, kept: &mut Kept) -> Tensor<2> {
        let (value, gradient) = self.decay.apply(step.lr, step.value, step.gradient);
        let [now, next] = [step.update, step.update + 1].map(|update| self.momentum(update));
        let product = kept.number(PRODUCT, 1.0, |product| product * now);

        let mean = kept.average(MEAN, self.betas[0], gradient.clone());
        let square = kept.average(SQUARE, self.betas[1], gradient.clone().square());
        let size = (square / bias_correction(self.betas[1], step.update)).sqrt() + self.eps;
        let ahead =
            gradient * ((1.0 - now) / (1.0 - product)) + mean * (next / (1.0 - product * next));
        value - ahead / size * step.lr
    }

    fn keeps(&self, _: &str, shape: [usize; 2]) -> Keeps {
        Keeps { numbers: vec![PRODUCT], ..Keeps::alike(&[MEAN, SQUARE], shape) }
    }
}

/// RAdam (arXiv 1908.03265, algorithm 2): Adam that steps by its mean alone until the variance of
/// its denominator is known, and is rectified from then on.
pub(super) struct Radam {
    pub(super) betas: [f64; 2],
    pub(super) eps: f64,
    pub(super) decay: WeightDecay,
}

impl Radam {
    /// The rectification `r_t`; none while the average is too short.
    fn rectification(&self, update: u64) -> Option<f64> {
        let (beta, t) = (self.betas[1], update as f64);
        let longest = 2.0 / (1.0 - beta) - 1.0;
        let length = longest - 2.0 * t * beta.powf(t) / bias_correction(beta, update);
        // The paper begins at 4, PyTorch at 5.
        (length > 5.0).then(|| {
            let now = (length - 4.0) * (length - 2.0) * longest;
            (now / ((longest - 4.0) * (longest - 2.0) * length)).sqrt()
        })
    }
}

impl Rule for Radam {
    fn step(&self, step: Step<'_>, kept: &mut Kept) -> Tensor<2> {
        let (value, gradient) = self.decay.apply(step.lr, step.value, step.gradient);
        let [mean_bias, square_bias] = self.betas.map(|beta| bias_correction(beta, step.update));
        let mean = kept.average(MEAN, self.betas[0], gradient.clone());
        let square = kept.average(SQUARE, self.betas[1], gradient.square());
        let lr = step.lr / mean_bias;
        match self.rectification(step.update) {
            None => value - mean * lr,
            Some(r) => value - mean / (square.sqrt() + self.eps) * (lr * r * square_bias.sqrt()),
        }
    }

    fn keeps(&self, _: &str, shape: [usize; 2]) -> Keeps {
        Keeps::alike(&[MEAN, SQUARE], shape)
    }
}
