//! An encoder on a Burn device: texts in, vectors out, nothing kept.

use burn::tensor::{Device, Int, Tensor, TensorData};
use fidelio_backend::{
    Answers, BackendError, Batch, Capacity, Forest, OpenSpec, Pooling, RowId, RowStep, Scores,
    Session, Verb, Want, Weights,
};
use fidelio_kernels::on_pool;

use crate::{
    arch::{self, Encoder, EncoderSizes},
    layers::refuse,
    loader::Loader,
    texts::Texts,
};

/// One encoder, resident on one device.
pub(crate) struct EncoderSession {
    model: Box<dyn Encoder>,
    model_type: String,
}

impl EncoderSession {
    /// # Errors
    /// As `Backend::open`; also for settings that only decoders have.
    pub(crate) fn open(
        spec: &OpenSpec,
        weights: &dyn Weights,
        device: &Device,
    ) -> Result<Self, BackendError> {
        if spec.rotary.is_some() {
            return refuse("model_type", "is an encoder's, which has no rotary positions".into());
        }
        let mut loader = Loader::new(weights, device, spec);
        let (model, model_type) = arch::build_encoder(spec, &mut loader)?;
        loader.finish()?;
        Ok(Self { model, model_type })
    }

    fn refused<T>(&self, verb: Verb) -> Result<T, BackendError> {
        let reason = "it reads whole texts and makes vectors of them".into();
        Err(BackendError::NotOfModel { model_type: self.model_type.clone(), verb, reason })
    }

    // Exclusive, since a model goes to the thread that computes and is on no other meanwhile.
    fn vectors(&mut self, forest: &Forest, pooling: Pooling) -> Vec<f32> {
        let states = self.model.forward(&forest.tokens, &Texts::of(forest)); // [t, hidden]
        pooled(states, forest, pooling)
    }
}

/// The vectors of texts, from the states of all their tokens `[t, hidden]`.
pub(super) fn pooled(states: Tensor<2>, forest: &Forest, pooling: Pooling) -> Vec<f32> {
    let width = states.dims()[1];
    let states = if pooling == Pooling::Mean {
        states
    } else {
        let rows: Vec<i32> =
            forest.pooled_tokens(pooling).into_iter().map(|row| row as i32).collect();
        let rows = TensorData::new(rows, [forest.nodes.len()]);
        let rows = Tensor::<1, Int>::from_data(rows, &states.device());
        states.select(0, rows)
    };
    let data = states.into_data();
    forest.pool(data.as_slice::<f32>().expect("states are f32"), width, pooling)
}

impl Session for EncoderSession {
    fn capacity(&self) -> Capacity {
        let sizes = self.model.sizes();
        Capacity { vocabulary: sizes.vocabulary, context: sizes.context, rows: 0, tokens: 0 }
    }

    fn embed(&mut self, forest: &Forest, pooling: Pooling) -> Result<Vec<f32>, BackendError> {
        forest.check_texts()?;
        let EncoderSizes { vocabulary, context } = self.model.sizes();
        if let Some(&token) = forest.tokens.iter().find(|&&token| token as usize >= vocabulary) {
            return Err(BackendError::NoToken { token, vocabulary });
        }
        if let Some(node) = forest.nodes.iter().find(|node| node.len as usize > context) {
            return Err(BackendError::Context { tokens: node.len as usize, context });
        }
        if let Some(adapter) = forest.adapter {
            return Err(BackendError::NoAdapter(adapter));
        }
        if forest.nodes.is_empty() {
            return Ok(Vec::new());
        }
        Ok(on_pool(|| self.vectors(forest, pooling)))
    }

    fn extend(&mut self, _: &[RowStep<'_>]) -> Result<Answers, BackendError> {
        self.refused(Verb::Extend)
    }

    fn fork(&mut self, _: RowId) -> Result<RowId, BackendError> {
        self.refused(Verb::Fork)
    }

    fn truncate(&mut self, _: RowId, _: usize) -> Result<(), BackendError> {
        self.refused(Verb::Truncate)
    }

    fn score(&mut self, _: &Batch, _: Want) -> Result<Scores, BackendError> {
        self.refused(Verb::Score)
    }
}
