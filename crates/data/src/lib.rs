//! Rows to forests: readers, splits, sampling, missing values, writers.
//!
//! The main type is [`Table`]: the rows of one or several files, each reachable by its number
//! while only 8 bytes per row stay in memory. Everything else stands on the trait it
//! implements, [`Source`]. A cell is a JSON value, a missing cell is `null`, and a row knows the
//! file and line it came from.
//!
//! It deliberately knows no run file, no template, no tokenizer and no model.

mod dates;
mod error;
mod folds;
mod micro_batches;
mod missing;
mod notes;
mod plant;
mod profile;
mod read;
mod rng;
mod row;
mod sampling;
mod sets;
mod source;
mod split;
mod table;
mod vocabulary;
mod write;

pub use error::DataError;
pub use folds::fold;
pub use micro_batches::micro_batches;
pub use missing::{Filled, MissingValues, Strategy};
pub use notes::{Note, Set};
pub use plant::{Planted, plant};
pub use profile::{ColumnProfile, Looks, Profile, profile};
pub use read::{Format, ReadOptions};
pub use row::{Place, Row, Unit, text};
pub use sampling::{Sampling, shuffled};
pub use sets::Sets;
pub use source::{Memory, Source, Subset, require_columns, rows};
pub use split::{Division, MIN_ROWS, Split, divide};
pub use table::Table;
pub use vocabulary::Vocabulary;
pub use write::TableWriter;
