//! The encoder that BERT began: norms after each part, attention both ways, learnt positions.

use burn::tensor::Tensor;
use fidelio_backend::BackendError;
use fidelio_ops::{Activation, Weight, activate};

use super::{Encoder, EncoderSizes};
use crate::{
    layers::{Linear, Norm, NormConfig, NormKind, refuse},
    loader::Loader,
    texts::Texts,
};

/// What a family calls the parts of a layer.
pub(super) struct Names {
    pub(super) layers: &'static str,
    /// Query, key and value.
    pub(super) qkv: [&'static str; 3],
    pub(super) attended: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) up: &'static str,
    pub(super) down: &'static str,
    pub(super) output_norm: &'static str,
}

/// The names of BERT and of those that took its code.
pub(super) const BERT: Names = Names {
    layers: "encoder.layer",
    qkv: ["attention.self.query", "attention.self.key", "attention.self.value"],
    attended: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    output_norm: "output.LayerNorm",
};

/// Sizes of an encoder, and how it counts positions.
pub(super) struct Shape {
    pub(super) vocabulary: usize,
    pub(super) hidden: usize,
    pub(super) inner: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) positions: usize,
    /// Kinds of tokens, of which texts have the first; none where there are none.
    pub(super) types: Option<usize>,
    pub(super) eps: f64,
    pub(super) activation: Activation,
    /// A padding token, which stands at the position of its own number; others come after it.
    pub(super) padding: Option<u32>,
}

impl Shape {
    /// # Errors
    /// Where a size is 0 or does not divide; `keys` are what `config.json` calls hidden size, heads,
    /// layers, inner size and positions.
    pub(super) fn check(&self, keys: [&str; 5]) -> Result<(), BackendError> {
        let sizes = [self.hidden, self.heads, self.layers, self.inner, self.positions];
        let more = [("vocab_size", self.vocabulary), ("type_vocab_size", self.types.unwrap_or(1))];
        if let Some((key, _)) = keys.into_iter().zip(sizes).chain(more).find(|(_, size)| *size == 0)
        {
            return refuse(key, "is 0".into());
        }
        if self.first_position() >= self.positions {
            return refuse(keys[4], format!("is {}, all before the first token", self.positions));
        }
        if self.hidden.is_multiple_of(self.heads) {
            return Ok(());
        }
        let (hidden, heads) = (self.hidden, self.heads);
        refuse(keys[0], format!("is {hidden}, which the {heads} attention heads do not divide"))
    }

    /// Where a text begins.
    fn first_position(&self) -> usize {
        self.padding.map_or(0, |padding| padding as usize + 1)
    }
}

/// An encoder whose parameters have the names of its family.
pub(super) struct PostNorm {
    embeddings: Embeddings,
    layers: Vec<Block>,
    sizes: EncoderSizes,
}

struct Embeddings {
    words: Weight,
    positions: Weight,
    types: Option<Weight>,
    norm: Norm,
    padding: Option<u32>,
}

struct Block {
    qkv: [Linear; 3],
    attended: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    output_norm: Norm,
    heads: usize,
    activation: Activation,
}

impl PostNorm {
    /// Loads what stands below `at`, which ends in a dot where it is not empty.
    pub(super) fn load(at: &str, names: &Names, shape: &Shape, loader: &mut Loader<'_>) -> Self {
        let embeddings = Embeddings::load(&format!("{at}embeddings"), shape, loader);
        let layers = (0..shape.layers)
            .map(|i| Block::load(&format!("{at}{}.{i}", names.layers), names, shape, loader))
            .collect();
        let context = shape.positions - shape.first_position();
        let sizes = EncoderSizes { vocabulary: shape.vocabulary, context };
        Self { embeddings, layers, sizes }
    }
}

impl Encoder for PostNorm {
    fn forward(&self, ids: &[u32], texts: &Texts) -> Tensor<2> {
        let x = self.embeddings.forward(ids, texts); // [t, hidden]
        self.layers.iter().fold(x, |x, block| block.forward(x, texts))
    }

    fn sizes(&self) -> EncoderSizes {
        self.sizes
    }
}

impl Embeddings {
    fn load(at: &str, shape: &Shape, loader: &mut Loader<'_>) -> Self {
        let mut table =
            |name: &str, rows| loader.matrix(&format!("{at}.{name}.weight"), rows, shape.hidden);
        Self {
            words: table("word_embeddings", shape.vocabulary),
            positions: table("position_embeddings", shape.positions),
            types: shape.types.map(|types| table("token_type_embeddings", types)),
            norm: norm(&format!("{at}.LayerNorm"), shape, loader),
            padding: shape.padding,
        }
    }

    /// Every text is a first one: token type 0 throughout.
    fn forward(&self, ids: &[u32], texts: &Texts) -> Tensor<2> {
        let x = self.words.embed(ids) + self.positions.embed(&self.places(ids, texts));
        let x = match &self.types {
            Some(types) => x + types.embed(&[0]), // [1, hidden]
            None => x,
        };
        self.norm.forward(x)
    }

    /// The row of the table of positions for each token.
    fn places(&self, ids: &[u32], texts: &Texts) -> Vec<u32> {
        let Some(padding) = self.padding else { return texts.positions().to_vec() };
        let mut counted = 0;
        let place = |(&id, &position): (&u32, &u32)| {
            if position == 0 {
                counted = 0;
            }
            if id == padding {
                return padding;
            }
            counted += 1;
            padding + counted
        };
        ids.iter().zip(texts.positions()).map(place).collect()
    }
}

impl Block {
    fn load(at: &str, names: &Names, shape: &Shape, loader: &mut Loader<'_>) -> Self {
        let (hidden, inner) = (shape.hidden, shape.inner);
        let mut linear = |name: &str, sizes| {
            Linear::load(&format!("{at}.{name}"), sizes, true, loader).for_many_rows()
        };
        Self {
            qkv: names.qkv.map(|name| linear(name, [hidden, hidden])),
            attended: linear(names.attended, [hidden, hidden]),
            up: linear(names.up, [hidden, inner]),
            down: linear(names.down, [inner, hidden]),
            attention_norm: norm(&format!("{at}.{}", names.attention_norm), shape, loader),
            output_norm: norm(&format!("{at}.{}", names.output_norm), shape, loader),
            heads: shape.heads,
            activation: shape.activation,
        }
    }

    /// `[t, hidden]` to the same; each token sees its whole text.
    fn forward(&self, x: Tensor<2>, texts: &Texts) -> Tensor<2> {
        let attended = self.attended.apply(self.attend(x.clone(), texts));
        let x = self.attention_norm.forward(attended + x);
        let inner = activate(self.up.apply(x.clone()), self.activation); // [t, inner]
        self.output_norm.forward(self.down.apply(inner) + x)
    }

    fn attend(&self, x: Tensor<2>, texts: &Texts) -> Tensor<2> {
        let [t, hidden] = x.dims();
        let d = hidden / self.heads;
        // [t, h·d] -> [t, h, d]
        let heads = |layer: &Linear| layer.apply(x.clone()).reshape([t, self.heads, d]);
        let [q, k, v] = &self.qkv;
        let scale = 1.0 / (d as f32).sqrt();
        texts.attend([heads(q), heads(k), heads(v)], scale, None).reshape([t, hidden])
    }
}

fn norm(at: &str, shape: &Shape, loader: &mut Loader<'_>) -> Norm {
    let config = NormConfig { eps: shape.eps, kind: NormKind::Layer };
    Norm::load(at, shape.hidden, config, loader)
}
