//! Rows that are answered by the names of their features: what a run was made for.

use fidelio_backend::{AdapterId, Session};
use serde_json::{Map, Value};

/// Answers rows as a run answers those of a table.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot answer rows",
    note = "implement `fidelio_serve::AnswerRows`: `features` names the columns, `answer` gives an object for each row"
)]
pub trait AnswerRows: Send {
    /// The columns that every row must have.
    fn features(&self) -> &[String];

    /// The answers in the order of the rows, none for a row that a rule of the run drops. The session
    /// has no rows of others, and must be left without any; `go_on` says whether anybody still waits.
    ///
    /// # Errors
    /// When a row cannot become a prompt, or the model cannot be run.
    fn answer(
        &mut self,
        rows: Vec<Map<String, Value>>,
        session: &mut dyn Session,
        adapter: Option<AdapterId>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<Option<Map<String, Value>>>, RowsError>;
}

/// Why rows are not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowsError {
    /// They cannot be asked so, for this reason.
    #[error("{0}")]
    Refused(String),
    /// The model could not be run, for this reason.
    #[error("{0}")]
    Failed(String),
    /// Nobody waited any more.
    #[error("nobody waited any more")]
    Stopped,
}
