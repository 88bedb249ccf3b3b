//! A model in parts, for a server.

use std::sync::Arc;

use fidelio_backend::{AdapterId, AdapterSpec, Session};
use fidelio_generate::{Decoding, Grammar};
use fidelio_prompting::Renderer;
use fidelio_weights::peft::PeftAdapter;
use tokenizers::Tokenizer;

use crate::{
    Error, Machine, Model, Opening, RunFile, adapters::Trained, generator::strangers_chat,
    provenance, train,
};

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
    /// What further adapters are held against.
    pub base: ServedBase,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").field("decoding", &self.decoding).finish_non_exhaustive()
    }
}

/// The weights that are served, with their tokenizer and chat template: what an adapter must have
/// been learnt on to be computed on them.
#[derive(Debug)]
pub struct ServedBase {
    model: Model,
    how: Opening,
}

/// What a training run learnt, for weights that are served already.
#[derive(Debug)]
pub struct ServedAdapter {
    /// The adapter.
    pub adapter: PeftAdapter,
    /// Makes ids of conversations as [`Serving::chat`] does, with the run's system message.
    pub chat: Option<Renderer>,
    /// What answers are held to, where the run file says so.
    pub grammar: Option<Grammar>,
}

impl ServedBase {
    pub(crate) fn new(model: Model, how: Opening) -> Self {
        Self { model, how }
    }

    /// The adapter of a training run, if it was learnt on these weights, with this tokenizer and
    /// chat template.
    ///
    /// # Errors
    /// [`Error::OtherThanTrained`], [`Error::OtherWeights`] and [`Error::OtherThanServed`] where it
    /// was not; when the run learnt no adapter, or it cannot be read.
    pub fn adapter(&self, machine: &Machine, run: &RunFile) -> Result<ServedAdapter, Error> {
        let folder = run.trained().ok_or(Error::NoAdapter)?;
        let trained = Trained::in_use(machine, run)?.ok_or(Error::NoAdapter)?;
        let path = || folder.to_owned();
        if let AdapterSpec::Lora(lora) = &trained.adapter.spec
            && !lora.layer_replication.is_empty()
        {
            return Err(Error::OtherThanServed { path: path(), key: "adapter.layer_replication" });
        }
        let learnt = Opening::of(run.config());
        if learnt.quantization != self.how.quantization {
            return Err(Error::OtherThanServed { path: path(), key: "quantization" });
        }
        if learnt.rotary != self.how.rotary {
            return Err(Error::OtherThanServed {
                path: path(),
                key: "model_parameters.rope_scaling",
            });
        }
        train::check_same(folder, &serde_json::json!({ "model": self.model.card() }))?;
        // What is served is what is there: nothing allows other weights here.
        provenance::check_base(machine, &run.clone().allow_other_weights(false), &self.model)?;
        Ok(ServedAdapter {
            adapter: trained.adapter,
            chat: strangers_chat(&self.model, run.config().prompt.system.clone())?,
            grammar: run.answer_form().map(|form| form.grammar().clone()),
        })
    }
}
