//! What can go wrong between vectors and a head.

/// Why no head can be fitted, used or read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// Nothing to learn from.
    #[error("there are no rows")]
    NoRows,
    /// A vector of another length.
    #[error("a vector has {got} numbers, the others have {expected}")]
    Width {
        /// Its numbers.
        got: usize,
        /// Those of the others.
        expected: usize,
    },
    /// As many targets as rows are needed.
    #[error("there are {targets} targets for {rows} rows")]
    Lengths {
        /// Targets.
        targets: usize,
        /// Rows.
        rows: usize,
    },
    /// A row whose label is none.
    #[error("row {row} has label number {label}, and there are {labels}")]
    NoLabel {
        /// The row, from 0.
        row: usize,
        /// Its label.
        label: usize,
        /// Labels there are.
        labels: usize,
    },
    /// A label that no row has: its bias would go down without end.
    #[error("no row has the label `{label}`")]
    EmptyLabel {
        /// The label.
        label: String,
    },
    /// Nothing to tell apart.
    #[error("telling labels apart needs at least two, and there are {labels}")]
    OneLabel {
        /// Labels there are.
        labels: usize,
    },
    /// A number that is infinite or none.
    #[error("row {row} holds a number that is not finite")]
    NotFinite {
        /// The row, from 0.
        row: usize,
    },
    /// Without regularization separable rows have no optimum.
    #[error("the regularization is {got}; it must be a number above 0")]
    Regularization {
        /// What was asked for.
        got: f64,
    },
    /// A weight per label is needed, and above 0.
    #[error("the weights of the {labels} labels must be as many numbers above 0")]
    LabelWeights {
        /// Labels there are.
        labels: usize,
    },
    /// Every row is the only one of its label, so that none can be kept aside.
    #[error("no row can be kept aside to judge how much regularization is right")]
    NothingJudges,
    /// The optimum was not reached.
    #[error(
        "no optimum was found in {steps} steps: the gradient is still {gradient:.1e} of what it was"
    )]
    NoOptimum {
        /// Steps taken.
        steps: usize,
        /// The largest of the gradient, as a share of what it was at first.
        gradient: f64,
    },
    /// A head that answers with the other kind of value.
    #[error("the head answers with {0}")]
    OtherHead(&'static str),
    /// Bytes that hold no head.
    #[error("it is no head that Fidelio wrote: {reason}")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
}

impl ProbeError {
    /// What the user may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::OneLabel { .. } | Self::EmptyLabel { .. } => {
                "give rows of at least two labels to learn from"
            }
            Self::NothingJudges => "write a number for `trainer.regularization_lambda`",
            Self::NoOptimum { .. } => {
                "raise `trainer.regularization_lambda`, or write `standardize: true`"
            }
            Self::Damaged { .. } => "learn it again",
            _ => return None,
        })
    }
}
