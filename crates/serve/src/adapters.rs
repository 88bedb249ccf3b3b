//! Adapters that are published while a server runs.

use fidelio_backend::{AdapterSpec, Weights};
use fidelio_generate::Grammar;
use fidelio_prompting::Renderer;

use crate::AnswerRows;

/// Reads the adapters that a server is asked to publish, and refuses those that were learnt on
/// something else than the server holds.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot find adapters",
    note = "implement `fidelio_serve::FindAdapter`: `find` reads one by its name, after checking that it fits the base"
)]
pub trait FindAdapter: Send + Sync {
    /// The adapter that a client calls by this name. The name is the client's: whoever takes it for
    /// a path must see to it that it leads nowhere else.
    ///
    /// # Errors
    /// When there is none, or its base, tokenizer or template are others.
    fn find(&self, name: &str) -> Result<FoundAdapter, AdapterError>;
}

/// An adapter that fits, before the session has it.
pub struct FoundAdapter {
    /// What it is.
    pub spec: AdapterSpec,
    /// Its tensors.
    pub weights: Box<dyn Weights>,
    /// Renders conversations as its training did, where it knows any.
    pub chat: Option<Renderer>,
    /// What its answers are held to.
    pub grammar: Option<Grammar>,
    /// What answers its rows.
    pub rows: Option<Box<dyn AnswerRows>>,
}

impl std::fmt::Debug for FoundAdapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FoundAdapter").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// Why an adapter is not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// There is none of this name.
    #[error("{0}")]
    Missing(String),
    /// It does not fit what is served.
    #[error("{0}")]
    Unfit(String),
    /// It cannot be read.
    #[error("{0}")]
    Failed(String),
}
