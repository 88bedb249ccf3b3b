//! What can be wrong with what is to be measured.

use std::borrow::Cow;

/// Values that cannot be measured, or rules that cannot be followed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// Nothing to measure.
    #[error("there are no rows to measure")]
    NoRows,
    /// Two columns of different length.
    #[error("{what} has {got} entries, expected {expected}")]
    Lengths {
        /// The column.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The length of the others.
        expected: usize,
    },
    /// A label number outside the list of labels.
    #[error("row {row} has label number {label}, but there are {labels} labels")]
    NoLabel {
        /// The row, from 0.
        row: usize,
        /// The number.
        label: usize,
        /// How many labels there are.
        labels: usize,
    },
    /// The same label twice.
    #[error("the label `{label}` is listed twice")]
    DuplicateLabel {
        /// The label.
        label: String,
    },
    /// Probabilities outside 0 to 1, or that do not sum to 1.
    #[error("the probabilities of row {row} are no distribution: they sum to {sum}")]
    NoDistribution {
        /// The row, from 0.
        row: usize,
        /// Their sum.
        sum: f64,
    },
    /// A confidence that is no probability.
    #[error("the confidence of an interval must lie between 0 and 1, got {got}")]
    Confidence {
        /// The value.
        got: f64,
    },
    /// No rule that could choose a label.
    #[error("there is no rule that maps text to a label")]
    NoRules,
    /// A rule that every text would meet.
    #[error("the rule for label `{label}` has an empty value, which every text contains")]
    EmptyValue {
        /// The rule's label.
        label: String,
    },
    /// A rule that an earlier one always forestalls.
    #[error(
        "the rule for label `{label}` never decides: a text with `{value}` also has `{by_value}`, \
         which label `{by_label}` looks for first"
    )]
    Unreachable {
        /// The later rule's label.
        label: String,
        /// The later rule's value.
        value: String,
        /// The earlier rule's label.
        by_label: String,
        /// The earlier rule's value.
        by_value: String,
    },
    /// A regular expression that cannot be read.
    #[error(
        "the pattern `{pattern}` of label `{label}` is wrong at character {character}: {problem}"
    )]
    Pattern {
        /// The rule's label.
        label: String,
        /// The pattern.
        pattern: String,
        /// Where, from 1.
        character: usize,
        /// What is wrong.
        problem: String,
    },
}

impl EvalError {
    /// What the reader could do about it.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Unreachable { label, .. } => {
                Some(format!("move the rule for `{label}` before the other").into())
            }
            Self::Pattern { problem, .. } if problem.contains("look-") => {
                Some("look-around is not supported; anchors, `\\b` and alternatives are".into())
            }
            Self::Pattern { problem, .. } if problem.contains("backreference") => {
                Some("backreferences are not supported; write the alternatives out".into())
            }
            _ => None,
        }
    }
}

/// Checks that a column is as long as the others.
pub(crate) fn same_length(
    what: &'static str,
    got: usize,
    expected: usize,
) -> Result<(), EvalError> {
    if got == expected { Ok(()) } else { Err(EvalError::Lengths { what, got, expected }) }
}
