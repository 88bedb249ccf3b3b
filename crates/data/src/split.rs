//! Dividing a table into training, validation and test rows.

mod assign;

use serde::{Deserialize, Serialize};

use crate::{DataError, Note, Sampling, Set, Source};

/// How to divide. `probabilities` are the shares of training, validation and test rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Split {
    /// By a seeded shuffle.
    Random {
        /// Shares that sum to 1.
        #[serde(default = "usual")]
        probabilities: [f64; 3],
    },
    /// By a column that says 0, 1, 2, or `train`, `validation`, `test` by name
    /// (`val`, `dev`, `valid` and `training` are understood; Ludwig takes numbers only).
    Fixed {
        /// The column.
        #[serde(default = "split_column")]
        column: String,
    },
    /// By a seeded shuffle within each value of a column, so that all sets have the same mix.
    Stratify {
        /// The column.
        column: String,
        /// Shares that sum to 1.
        #[serde(default = "usual")]
        probabilities: [f64; 3],
    },
    /// By time: the earliest rows are learnt from, the latest are tested on.
    Datetime {
        /// The column.
        column: String,
        /// Shares that sum to 1.
        #[serde(default = "usual")]
        probabilities: [f64; 3],
        /// How the times are written, in `strftime` codes; found out when absent.
        #[serde(default)]
        datetime_format: Option<String>,
        /// The time of rows without one. Empty: such rows are an error.
        #[serde(default)]
        fill_value: String,
    },
    /// By a hash of a column's value, so that a row goes to the same set in every version of a
    /// table, and rows of one value go together.
    Hash {
        /// The column.
        column: String,
        /// Shares that sum to 1.
        #[serde(default = "usual")]
        probabilities: [f64; 3],
    },
}

fn usual() -> [f64; 3] {
    [0.7, 0.1, 0.2]
}

fn split_column() -> String {
    "split".to_owned()
}

impl Default for Split {
    fn default() -> Self {
        Self::Random { probabilities: usual() }
    }
}

/// The rows of each set by their numbers in the table, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Division {
    /// What is learnt from.
    pub train: Vec<usize>,
    /// What decides when to stop.
    pub validation: Vec<usize>,
    /// What is measured on at the end.
    pub test: Vec<usize>,
    /// What was done that the user should know.
    pub notes: Vec<Note>,
}

/// The fewest rows of a set. A smaller training set is an error; a validation or test set of one
/// or two rows takes what it lacks from the training set.
pub const MIN_ROWS: usize = 3;

/// Takes a sample of a table's rows and divides it.
///
/// The outcome depends on the table, the settings and the seed alone. A random or time split of
/// `n` rows gives training the first `⌈p₀·n⌉`, validation those up to `⌈(p₀+p₁)·n⌉`, test the rest.
/// Too small sets are topped up where rows have an order to be cut; a fixed or hash split says for
/// each row where it belongs, so there a small set is only noted.
///
/// # Errors
/// [`DataError`] for a missing column, for probabilities that are none, for cells that name no
/// split or no time, and for fewer than [`MIN_ROWS`] training rows.
pub fn divide(
    source: &dyn Source,
    sampling: &Sampling,
    split: &Split,
    seed: u64,
) -> Result<Division, DataError> {
    let mut notes = Vec::new();
    let rows = sampling.take((0..source.len()).collect(), seed, &mut notes)?;
    let mut sets = match split {
        Split::Random { probabilities } => {
            let shares = Shares::new(*probabilities)?;
            assign::random(rows, &shares, seed, &mut notes)
        }
        Split::Fixed { column } => assign::fixed(source, &rows, column)?,
        Split::Stratify { column, probabilities } => {
            let shares = Shares::new(*probabilities)?;
            assign::stratified(source, &rows, column, &shares, seed, &mut notes)?
        }
        Split::Datetime { column, probabilities, datetime_format, fill_value } => {
            let shares = Shares::new(*probabilities)?;
            let times =
                assign::times(source, &rows, column, datetime_format.as_deref(), fill_value)?;
            assign::by_time(times, &shares, &mut notes)
        }
        Split::Hash { column, probabilities } => {
            let shares = Shares::new(*probabilities)?;
            assign::hashed(source, &rows, column, &shares, &mut notes)?
        }
    };
    if sets[0].len() < MIN_ROWS {
        return Err(DataError::TooFewRows { rows: sets[0].len(), minimum: MIN_ROWS });
    }
    for (set, name) in sets.iter().zip([Set::Train, Set::Validation, Set::Test]).skip(1) {
        match set.len() {
            0 => notes.push(Note::NoRows { set: name }),
            rows @ 1..MIN_ROWS => notes.push(Note::SmallSet { set: name, rows }),
            _ => {}
        }
    }
    for set in &mut sets {
        set.sort_unstable();
    }
    let [train, validation, test] = sets;
    Ok(Division { train, validation, test, notes })
}

/// Three shares that were checked to sum to 1.
struct Shares([f64; 3]);

impl Shares {
    fn new(given: [f64; 3]) -> Result<Self, DataError> {
        let refuse = |reason| Err(DataError::Probabilities { given: given.to_vec(), reason });
        if !given.iter().all(|p| (0.0..=1.0).contains(p)) {
            return refuse("each must be between 0 and 1");
        }
        if (given.iter().sum::<f64>() - 1.0).abs() > 1e-6 {
            return refuse("they must sum to 1");
        }
        Ok(Self(given))
    }

    /// Where validation and test begin among `n` rows in order.
    fn cuts(&self, n: usize) -> [usize; 2] {
        // 0.7 of 10 is 7 rows, also where the product comes out a hair above.
        let up_to = |share: f64| (((share * n as f64) - 1e-9).ceil().max(0.0) as usize).min(n);
        let train = up_to(self.0[0]);
        // A share of 0 gets nothing, whatever the sum of the others rounds to.
        let test = match self.0 {
            [_, _, 0.0] => n,
            [_, 0.0, _] => train,
            [a, b, _] => up_to(a + b).max(train),
        };
        [train, test]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_round_training_up() {
        let check = |shares, n, cuts| assert_eq!(Shares::new(shares).unwrap().cuts(n), cuts);
        check([0.7, 0.1, 0.2], 10, [7, 8]);
        check([0.7, 0.1, 0.2], 11, [8, 9]);
        check([0.7, 0.1, 0.2], 100, [70, 80]);
        check([0.9, 0.0, 0.1], 11, [10, 10]);
        check([0.9, 0.1, 0.0], 11, [10, 11]);
        check([1.0, 0.0, 0.0], 5, [5, 5]);
        check([0.0, 0.0, 1.0], 5, [0, 0]);
    }

    #[test]
    fn shares_are_checked() {
        for given in [[0.7, 0.1, 0.1], [1.2, -0.1, -0.1], [f64::NAN, 0.5, 0.5]] {
            assert!(
                matches!(Shares::new(given), Err(DataError::Probabilities { .. })),
                "{given:?}"
            );
        }
    }

    #[test]
    fn the_written_form_is_the_documented_one() {
        let split: Split = serde_json::from_str(r#"{"type": "fixed"}"#).unwrap();
        assert_eq!(split, Split::Fixed { column: "split".to_owned() });
        assert!(serde_json::from_str::<Split>(r#"{"type": "random", "seed": 1}"#).is_err());
    }
}
