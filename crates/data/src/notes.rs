//! What was done to the rows that nobody asked for in so many words.

use std::fmt;

/// Something that the user should be told: rows were moved, filled or not used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// A sample was asked for that is larger than the table, so all rows are used.
    SampleTooLarge {
        /// The rows asked for.
        asked: usize,
        /// The rows there are.
        have: usize,
    },
    /// A validation or test set of one or two rows was topped up from the training set.
    ToppedUp {
        /// The set.
        set: Set,
        /// Its rows before.
        from: usize,
        /// Its rows after.
        to: usize,
    },
    /// A validation or test set has fewer rows than can be measured on, and the way it was chosen
    /// leaves nothing to move.
    SmallSet {
        /// The set.
        set: Set,
        /// Its rows.
        rows: usize,
    },
    /// No row went to the validation or test set.
    NoRows {
        /// The set.
        set: Set,
    },
    /// Rows whose split column is missing a value were treated as having one value in common.
    MissingKeys {
        /// The column.
        column: String,
        /// The rows.
        rows: usize,
    },
    /// Missing cells were filled.
    Filled {
        /// The column.
        column: String,
        /// How many.
        cells: usize,
        /// With what.
        with: String,
    },
    /// Rows were dropped because this cell is missing.
    Dropped {
        /// The column.
        column: String,
        /// How many; a row that several columns drop counts for the first.
        rows: usize,
    },
}

/// One of the three parts of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Set {
    /// What is learnt from.
    Train,
    /// What decides when to stop.
    Validation,
    /// What is measured on at the end.
    Test,
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "training",
            Self::Validation => "validation",
            Self::Test => "test",
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SampleTooLarge { asked, have } => {
                write!(f, "a sample of {asked} rows was asked for, all {have} rows are used")
            }
            Self::ToppedUp { set, from, to } => write!(
                f,
                "the {set} set had {from} rows, it got {} from the training set",
                to - from
            ),
            Self::SmallSet { set, rows } => write!(f, "the {set} set has only {rows} rows"),
            Self::NoRows { set } => write!(f, "no row went to the {set} set"),
            Self::MissingKeys { column, rows } => {
                write!(f, "column `{column}` is missing in {rows} rows, which went together")
            }
            Self::Filled { column, cells, with } => {
                write!(f, "column `{column}`: {cells} missing cells filled with {with}")
            }
            Self::Dropped { column, rows } => {
                write!(f, "column `{column}`: {rows} rows dropped, the cell is missing")
            }
        }
    }
}
