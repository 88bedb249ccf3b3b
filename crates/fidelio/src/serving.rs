//! A model in parts, for a server.

use std::sync::Arc;

use fidelio_backend::{AdapterId, Session};
use fidelio_generate::{Decoding, Grammar};
use fidelio_prompting::Renderer;
use tokenizers::Tokenizer;

/// What a server needs of a [`Generator`](crate::Generator), to batch requests on it as they come.
pub struct Serving {
    /// The model on its device, without rows.
    pub session: Box<dyn Session>,
    /// What a training run left, if it is one's model.
    pub adapter: Option<AdapterId>,
    /// What answers are held to, where the run file says so.
    pub grammar: Option<Grammar>,
    /// Makes text of tokens.
    pub tokenizer: Arc<Tokenizer>,
    /// Makes ids of conversations, as [`Generator::conversation`](crate::Generator::conversation)
    /// does, but for special tokens that a message spells: strangers' text stays text. None where the
    /// model was taught no way to talk.
    pub chat: Option<Renderer>,
    /// Makes ids of a text as it is, as [`Generator::prompt`](crate::Generator::prompt) does of a
    /// raw one.
    pub plain: Renderer,
    /// Greedy decoding until the model's own end.
    pub decoding: Decoding,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").field("decoding", &self.decoding).finish_non_exhaustive()
    }
}
