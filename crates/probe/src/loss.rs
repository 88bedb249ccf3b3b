//! What is minimised: the mean loss of the rows, its gradient, and products with its curvature.
//!
//! Parameters are one list: the weights of each output, then their biases.

use crate::{
    Targets,
    design::{Design, add, dot},
};

/// The mean loss of the rows of a design plus `regularization · Σ w²`.
#[derive(Debug)]
pub(crate) struct Loss<'a> {
    design: &'a Design,
    targets: Targets<'a>,
    /// Each row's share of the mean; they sum to 1.
    shares: Vec<f64>,
    pub(crate) regularization: f64,
}

/// The loss at one point, and what its curvature there is made of.
#[derive(Debug)]
pub(crate) struct At {
    pub(crate) value: f64,
    pub(crate) gradient: Vec<f64>,
    /// What each row answers with: probabilities, or a number.
    answers: Vec<f64>,
}

/// Outputs of a head for so many labels: two need one.
pub(crate) fn outputs_of(labels: usize) -> usize {
    if labels == 2 { 1 } else { labels }
}

impl<'a> Loss<'a> {
    pub(crate) fn new(
        design: &'a Design,
        targets: Targets<'a>,
        label_weights: Option<&[f64]>,
        regularization: f64,
    ) -> Self {
        let mut shares = match (targets, label_weights) {
            (Targets::Labels { of, .. }, Some(weights)) => of.iter().map(|&i| weights[i]).collect(),
            _ => vec![1.0; design.len()],
        };
        let sum: f64 = shares.iter().sum();
        for share in &mut shares {
            *share /= sum;
        }
        Self { design, targets, shares, regularization }
    }

    pub(crate) fn outputs(&self) -> usize {
        match self.targets {
            Targets::Labels { labels, .. } => outputs_of(labels.len()),
            Targets::Numbers(_) => 1,
        }
    }

    /// Weights and biases.
    pub(crate) fn parameters(&self) -> usize {
        self.outputs() * (self.design.width + 1)
    }

    /// The weights of each output, and the biases.
    fn parts<'p>(&self, parameters: &'p [f64]) -> (&'p [f64], &'p [f64]) {
        parameters.split_at(self.outputs() * self.design.width)
    }

    /// Each row's outputs with these parameters.
    fn outputs_at<'p>(
        &'p self,
        parameters: &'p [f64],
    ) -> impl Iterator<Item = (&'p [f64], Vec<f64>)> + 'p {
        let (weights, biases) = self.parts(parameters);
        let each = move |row: &'p [f64]| {
            let weights = weights.chunks_exact(self.design.width);
            let outputs = weights.zip(biases).map(|(weights, bias)| dot(row, weights) + bias);
            (row, outputs.collect())
        };
        self.design.rows().map(each)
    }

    /// Adds what a row's outputs pull at to a gradient.
    fn pull(&self, gradient: &mut [f64], row: &[f64], factors: &[f64]) {
        let (weights, biases) = gradient.split_at_mut(self.outputs() * self.design.width);
        let weights = weights.chunks_exact_mut(self.design.width);
        for ((weights, bias), &factor) in weights.zip(biases).zip(factors) {
            add(weights, factor, row);
            *bias += factor;
        }
    }

    /// Adds the pull of the regularization, which leaves biases alone.
    fn shrink(&self, gradient: &mut [f64], parameters: &[f64]) {
        let weights = self.outputs() * self.design.width;
        add(&mut gradient[..weights], 2.0 * self.regularization, &parameters[..weights]);
    }

    pub(crate) fn at(&self, parameters: &[f64]) -> At {
        let mut gradient = vec![0.0; parameters.len()];
        let mut answers = Vec::with_capacity(self.design.len() * self.outputs());
        let (weights, _) = self.parts(parameters);
        let mut value = self.regularization * dot(weights, weights);
        for (number, (row, outputs)) in self.outputs_at(parameters).enumerate() {
            let share = self.shares[number];
            let (loss, mut answered) = self.answered(number, &outputs);
            value += share * loss;
            answers.extend_from_slice(&answered);
            self.miss(number, &mut answered);
            for it in &mut answered {
                *it *= share;
            }
            self.pull(&mut gradient, row, &answered);
        }
        self.shrink(&mut gradient, parameters);
        At { value, gradient, answers }
    }

    /// A row's loss, and its answer: the probability of the second label, of each label, or a number.
    fn answered(&self, number: usize, outputs: &[f64]) -> (f64, Vec<f64>) {
        match self.targets {
            Targets::Numbers(of) => ((outputs[0] - of[number]).powi(2), outputs.to_vec()),
            Targets::Labels { of, .. } if outputs.len() == 1 => {
                let toward = if of[number] == 1 { outputs[0] } else { -outputs[0] };
                (log_1p_exp(-toward), vec![logistic(outputs[0])])
            }
            Targets::Labels { of, .. } => {
                let probabilities = softmax(outputs);
                (log_sum_exp(outputs) - outputs[of[number]], probabilities)
            }
        }
    }

    /// From a row's answer to the derivative of its loss by its outputs.
    fn miss(&self, number: usize, answer: &mut [f64]) {
        match self.targets {
            Targets::Numbers(of) => answer[0] = 2.0 * (answer[0] - of[number]),
            Targets::Labels { of, .. } if answer.len() == 1 => {
                answer[0] -= if of[number] == 1 { 1.0 } else { 0.0 };
            }
            Targets::Labels { of, .. } => answer[of[number]] -= 1.0,
        }
    }

    /// The product of the curvature at a point with a direction.
    pub(crate) fn curved(&self, at: &At, direction: &[f64]) -> Vec<f64> {
        let outputs = self.outputs();
        let mut product = vec![0.0; direction.len()];
        let answers = at.answers.chunks_exact(outputs);
        for (((row, mut along), answer), &share) in
            self.outputs_at(direction).zip(answers).zip(&self.shares)
        {
            match self.targets {
                Targets::Numbers(_) => along[0] *= 2.0,
                Targets::Labels { .. } if outputs == 1 => along[0] *= answer[0] * (1.0 - answer[0]),
                Targets::Labels { .. } => {
                    let mean = dot(answer, &along);
                    for (along, probability) in along.iter_mut().zip(answer) {
                        *along = probability * (*along - mean);
                    }
                }
            }
            for it in &mut along {
                *it *= share;
            }
            self.pull(&mut product, row, &along);
        }
        self.shrink(&mut product, direction);
        product
    }

    /// About the curvature along each parameter alone: what divides a direction before it is
    /// followed, the same for every output.
    pub(crate) fn diagonal(&self) -> Vec<f64> {
        let steepness = match self.targets {
            Targets::Numbers(_) => 2.0,
            Targets::Labels { .. } => 0.25,
        };
        let column = |power: &f64| (steepness * power + 2.0 * self.regularization).max(1e-300);
        let weights: Vec<f64> = self.design.power.iter().map(column).collect();
        let mut all = weights.repeat(self.outputs());
        all.resize(self.parameters(), steepness);
        all
    }
}

/// `ln(1 + e^x)` without overflow.
pub(crate) fn log_1p_exp(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `1 / (1 + e^-x)` without overflow.
pub(crate) fn logistic(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// `ln Σ e^x` without overflow.
pub(crate) fn log_sum_exp(outputs: &[f64]) -> f64 {
    let most = outputs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + outputs.iter().map(|x| (x - most).exp()).sum::<f64>().ln()
}

/// Probabilities of outputs; they sum to 1.
pub(crate) fn softmax(outputs: &[f64]) -> Vec<f64> {
    let most = outputs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut each: Vec<f64> = outputs.iter().map(|x| (x - most).exp()).collect();
    let sum: f64 = each.iter().sum();
    for it in &mut each {
        *it /= sum;
    }
    each
}
