//! A model that makes vectors, beside the one that generates.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::sync::{Mutex, Semaphore};

/// Requests that may wait for vectors.
pub(crate) const WAITING: usize = 64;

/// Makes vectors of texts.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot make vectors of texts",
    note = "implement `fidelio_serve::EmbedTexts`: `embed` gives a vector for each text, in their order"
)]
pub trait EmbedTexts: Send {
    /// The vectors of texts, in their order; `go_on` says whether anybody still waits.
    ///
    /// # Errors
    /// When a text cannot become a vector, or the model cannot be run.
    fn embed(
        &mut self,
        texts: &[String],
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vectors, EmbedError>;
}

/// What became of texts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vectors {
    /// One for each text.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens that all texts have together.
    pub tokens: u64,
}

/// Why there are no vectors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// A text cannot become one, for this reason.
    #[error("{0}")]
    Refused(String),
    /// The model could not be run, for this reason.
    #[error("{0}")]
    Failed(String),
    /// Nobody waited any more.
    #[error("nobody waited any more")]
    Stopped,
}

/// Such a model under its name.
pub(crate) struct Embedding {
    pub(crate) name: String,
    pub(crate) created: u64,
    /// One request at a time.
    pub(crate) model: Arc<Mutex<Box<dyn EmbedTexts>>>,
    pub(crate) places: Semaphore,
}

impl fmt::Debug for Embedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedding").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Embedding {
    pub(crate) fn new(name: String, model: Box<dyn EmbedTexts>) -> Self {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let model = Arc::new(Mutex::new(model));
        Self { name, created, model, places: Semaphore::new(WAITING) }
    }
}
