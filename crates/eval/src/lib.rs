//! How good are these answers? Metrics over predicted and expected values, each headline figure
//! with a bootstrap interval, and reports for people and for programs.
//!
//! The main types are [`CategoryStatistics`], [`TextStatistics`] and [`NumberStatistics`], which [`Report`] gathers per
//! output feature; [`LabelMatcher`] turns decoded text into a label first.
//!
//! ```
//! use fidelio_eval::{Bootstrap, CategoryRows, CategoryStatistics};
//!
//! let labels = ["ham".to_owned(), "spam".to_owned()];
//! let rows = CategoryRows::new(&labels, &[0, 0, 0, 1], &[0, 0, 1, 1]);
//! let statistics = CategoryStatistics::measure(&rows, &Bootstrap::default())?;
//! assert_eq!(statistics.accuracy.value, 0.75);
//! assert_eq!(statistics.baseline.label, "ham");
//! # Ok::<(), fidelio_eval::EvalError>(())
//! ```
//!
//! It deliberately runs no model, reads no file and knows no tokenizer: values come in, figures
//! go out. Its arithmetic follows sacrebleu, rouge_score, jiwer and scikit-learn, whose values
//! are committed beside the tests.

#![cfg_attr(test, expect(clippy::float_cmp, reason = "the expected fractions are exact"))]

mod category;
mod choice;
mod compare;
mod confusion;
mod document;
mod drift;
mod error;
mod estimate;
mod matching;
mod metric;
mod number;
mod perplexity;
mod probability;
mod report;
mod table;
mod text;

pub use category::{Baseline, CategoryRows, CategoryStatistics, ClassStatistics, Confused};
pub use choice::{Choice, Contender, SIGNIFICANCE, Standing, holm};
pub use compare::{
    CategoryComparison, Comparison, TextComparison, compare_categories, compare_scores,
    compare_sums, compare_texts, sign_test,
};
pub use document::DocumentStatistics;
pub use drift::{Drift, DriftMeter};
pub use error::EvalError;
pub use estimate::{Bootstrap, Estimate};
pub use matching::{LabelMatcher, MatchKind, MatchRule, Matched};
pub use metric::{Better, Figure};
pub use number::{NumberBaseline, NumberStatistics};
pub use perplexity::{LossSum, perplexity};
pub use probability::{HitsAtK, ProbabilityStatistics, roc_auc};
pub use report::{FeatureStatistics, Report};
pub use text::bleu::{Bleu, BleuStats};
pub use text::chrf::ChrfStats;
pub use text::edit::{Edits, edit_distance};
pub use text::rouge::Rouge;
pub use text::{TextRows, TextStatistics, TokenRows};
