//! Vectors of texts, made by the facade as the server asks.

use fidelio::{Embedder, Error, Event, Flow, Observer, TextAt};
use fidelio_serve::{EmbedError, EmbedTexts, Vectors};

/// It.
pub(super) struct Texts(pub(super) Embedder);

impl EmbedTexts for Texts {
    fn embed(
        &mut self,
        texts: &[String],
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vectors, EmbedError> {
        let texts: Vec<TextAt<'_>> =
            texts.iter().map(|text| TextAt { text, place: None }).collect();
        let embedded =
            self.0.embed(&texts, &mut WhileWanted(go_on)).map_err(|error| match error {
                Error::Texts { .. } => EmbedError::Refused(error.to_string()),
                other => EmbedError::Failed(other.to_string()),
            })?;
        let vectors: Option<Vec<Vec<f32>>> = embedded.vectors.into_iter().collect();
        let vectors = vectors.ok_or(EmbedError::Stopped)?;
        Ok(Vectors { vectors, tokens: embedded.usage.tokens })
    }
}

/// Stops the work once nobody waits for it.
struct WhileWanted<'a>(&'a (dyn Fn() -> bool + Sync));

impl Observer for WhileWanted<'_> {
    fn on(&mut self, _: &Event) -> Flow {
        if (self.0)() { Flow::Continue } else { Flow::Stop }
    }
}
