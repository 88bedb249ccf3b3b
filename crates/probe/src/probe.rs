//! The head itself.

use crate::{
    ProbeError, Rows, Targets,
    design::{Design, dot},
    loss::{Loss, logistic, outputs_of, softmax},
    newton::minimize,
};

/// How a head is fitted.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// What the sum of the squared weights is multiplied with, beside the mean loss of the rows.
    /// `C` of scikit-learn's `LogisticRegression` is `1 / (2 · rows · regularization)`, `alpha` of
    /// its `Ridge` is `rows · regularization`.
    pub regularization: f64,
    /// Whether each column is brought to mean 0 and spread 1 first.
    pub standardize: bool,
    /// How much a row of each label counts; equally when none.
    pub label_weights: Option<Vec<f64>>,
}

impl Fit {
    /// With so much regularization.
    pub fn with(regularization: f64) -> Self {
        Self { regularization, standardize: false, label_weights: None }
    }

    pub(crate) fn check(&self, targets: &Targets<'_>) -> Result<(), ProbeError> {
        if !(self.regularization > 0.0 && self.regularization.is_finite()) {
            return Err(ProbeError::Regularization { got: self.regularization });
        }
        let (Targets::Labels { labels, .. }, Some(weights)) = (targets, &self.label_weights) else {
            return Ok(());
        };
        let fits = weights.len() == labels.len()
            && weights.iter().all(|weight| *weight > 0.0 && weight.is_finite());
        if fits { Ok(()) } else { Err(ProbeError::LabelWeights { labels: labels.len() }) }
    }
}

/// What a head answers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// One of these labels.
    Labels(Vec<String>),
    /// A number.
    Number,
}

impl Head {
    fn outputs(&self) -> usize {
        match self {
            Self::Labels(labels) => outputs_of(labels.len()),
            Self::Number => 1,
        }
    }
}

/// A linear head: weights and a bias for each of its outputs. Of two labels it has one output, that
/// of the second.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    pub(crate) head: Head,
    pub(crate) width: usize,
    /// Output after output.
    pub(crate) weights: Vec<f64>,
    pub(crate) biases: Vec<f64>,
}

impl Probe {
    /// Fits a head to rows: the one optimum of its loss.
    ///
    /// # Errors
    /// When rows and targets do not fit, a label has no row, or the settings are impossible.
    pub fn fit(rows: &Rows, targets: &Targets<'_>, fit: &Fit) -> Result<Self, ProbeError> {
        targets.check(rows)?;
        fit.check(targets)?;
        let path = Path::new(rows, fit.standardize);
        path.fit(targets, fit, &mut None)
    }

    pub(crate) fn of_parts(
        head: Head,
        width: usize,
        weights: Vec<f64>,
        biases: Vec<f64>,
    ) -> Option<Self> {
        let outputs = head.outputs();
        let fits = outputs > 0
            && biases.len() == outputs
            && weights.len() == outputs * width
            && weights.iter().chain(&biases).all(|it| it.is_finite());
        fits.then_some(Self { head, width, weights, biases })
    }

    /// What it answers with.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Numbers of a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The weights of each output, output after output.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The bias of each output.
    pub fn biases(&self) -> &[f64] {
        &self.biases
    }

    /// A vector's probability of each label; they sum to 1.
    ///
    /// # Errors
    /// When the vector has another length, or the head answers with numbers.
    pub fn probabilities(&self, vector: &[f32]) -> Result<Vec<f64>, ProbeError> {
        if self.head == Head::Number {
            return Err(ProbeError::OtherHead("numbers"));
        }
        let outputs = self.outputs(vector)?;
        Ok(match outputs[..] {
            [second] => vec![logistic(-second), logistic(second)],
            _ => softmax(&outputs),
        })
    }

    /// A vector's number.
    ///
    /// # Errors
    /// When the vector has another length, or the head answers with labels.
    pub fn number(&self, vector: &[f32]) -> Result<f64, ProbeError> {
        match self.head {
            Head::Number => Ok(self.outputs(vector)?[0]),
            Head::Labels(_) => Err(ProbeError::OtherHead("labels")),
        }
    }

    pub(crate) fn outputs(&self, vector: &[f32]) -> Result<Vec<f64>, ProbeError> {
        if vector.len() != self.width {
            return Err(ProbeError::Width { got: vector.len(), expected: self.width });
        }
        let vector: Vec<f64> = vector.iter().map(|&value| f64::from(value)).collect();
        let weights = self.weights.chunks_exact(self.width.max(1));
        Ok(weights.zip(&self.biases).map(|(weights, bias)| dot(weights, &vector) + bias).collect())
    }
}

/// Rows that several heads are fitted to, one after the other.
#[derive(Debug)]
pub(crate) struct Path {
    design: Design,
}

impl Path {
    pub(crate) fn new(rows: &Rows, standardize: bool) -> Self {
        Self { design: Design::of(rows, standardize) }
    }

    /// Fits from where the head before ended, if there was one.
    pub(crate) fn fit(
        &self,
        targets: &Targets<'_>,
        fit: &Fit,
        begun: &mut Option<Vec<f64>>,
    ) -> Result<Probe, ProbeError> {
        let weights = fit.label_weights.as_deref();
        let loss = Loss::new(&self.design, *targets, weights, fit.regularization);
        let parameters = begun.get_or_insert_with(|| vec![0.0; loss.parameters()]);
        minimize(&loss, parameters)?;
        let (fitted, biases) = parameters.split_at(loss.outputs() * self.design.width);
        let mut probe = Probe {
            head: match targets {
                Targets::Labels { labels, .. } => Head::Labels(labels.to_vec()),
                Targets::Numbers(_) => Head::Number,
            },
            width: self.design.width,
            weights: Vec::with_capacity(fitted.len()),
            biases: Vec::with_capacity(biases.len()),
        };
        for (weights, bias) in fitted.chunks_exact(self.design.width).zip(biases) {
            let (weights, shift) = self.design.undone(weights);
            probe.weights.extend(weights);
            probe.biases.push(bias + shift);
        }
        Ok(probe)
    }
}
