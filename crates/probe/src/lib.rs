//! Linear heads on vectors: logistic and ridge regression, fitted to their optimum.
//!
//! The main type is [`Probe`]. What it minimises is the mean loss of the rows plus
//! `regularization · Σ w²`, where the biases are not counted; there is one optimum, and it is found
//! up to rounding, so that neither a seed nor a number of steps changes the answers. [`choose`] finds
//! the regularization on rows that were not fitted.
//!
//! ```
//! use fidelio_probe::{Fit, Probe, Rows, Targets};
//!
//! let mut rows = Rows::new(2);
//! for vector in [[0.0, 1.0], [0.2, 0.9], [1.0, 0.1], [0.9, 0.0]] {
//!     rows.push(&vector)?;
//! }
//! let labels = ["cat".to_owned(), "dog".to_owned()];
//! let targets = Targets::Labels { labels: &labels, of: &[0, 0, 1, 1] };
//! let probe = Probe::fit(&rows, &targets, &Fit::with(0.01))?;
//! let probabilities = probe.probabilities(&[0.1, 1.0])?;
//! assert!(probabilities[0] > 0.5);
//! let bytes = probe.to_bytes();
//! assert_eq!(Probe::from_bytes(&bytes)?, probe);
//! # Ok::<(), fidelio_probe::ProbeError>(())
//! ```
//!
//! Its answers are those of scikit-learn's `LogisticRegression` and `Ridge`, whose values are
//! committed beside the tests. It deliberately knows no text, no model and no file.

mod choose;
mod design;
mod error;
mod file;
mod loss;
mod newton;
mod probe;
mod rows;

pub use choose::{Choice, Judge, Tried, choose};
pub use error::ProbeError;
pub use probe::{Fit, Head, Probe};
pub use rows::{Rows, Targets};
