//! ModernBERT: norms before each part, rotary positions, gates, and windows to both sides in most
//! layers. Paper: arxiv.org/abs/2412.13663. Golden vectors: tests/golden/modernbert.

use burn::tensor::Tensor;
use fidelio_backend::{BackendError, OpenSpec};
use fidelio_ops::{Activation, Weight, gated};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    Encoder, EncoderSizes,
    config::{self, activation},
};
use crate::{
    layers::{Linear, Norm, NormConfig, NormKind, Rotary, RotaryConfig, RotaryParameters, refuse},
    loader::Loader,
    texts::Texts,
};

/// The checkpoint's `config.json`, its keys unchanged.
#[derive(Debug, Clone, Deserialize)]
struct ModernBertConfig {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    #[serde(default = "usual_gelu")]
    hidden_activation: String,
    #[serde(default = "usual_eps")]
    norm_eps: f64,
    #[serde(default)]
    norm_bias: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    /// So many tokens are seen, half of them to each side.
    #[serde(default = "usual_window")]
    local_attention: u32,
    /// Every so-manieth layer sees whole texts.
    #[serde(default = "three")]
    global_attn_every_n_layers: usize,
    layer_types: Option<Vec<String>>,
    #[serde(default = "global_base")]
    global_rope_theta: f64,
    local_rope_theta: Option<f64>,
    rope_parameters: Option<OfLayers>,
    // Left over in its own files: it has no such table, and `norm_eps` is what counts.
    #[serde(rename = "position_embedding_type")]
    _position_embedding_type: Option<IgnoredAny>,
    #[serde(rename = "layer_norm_eps")]
    _layer_norm_eps: Option<IgnoredAny>,
}

/// The angles of layers that see whole texts, and of those within a window.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfLayers {
    full_attention: RotaryParameters,
    sliding_attention: RotaryParameters,
}

fn usual_gelu() -> String {
    "gelu".into()
}

fn usual_eps() -> f64 {
    1e-5
}

fn usual_window() -> u32 {
    128
}

fn three() -> usize {
    3
}

fn global_base() -> f64 {
    160_000.0
}

impl ModernBertConfig {
    fn check(&self) -> Result<(), BackendError> {
        for (key, size) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("global_attn_every_n_layers", self.global_attn_every_n_layers),
            ("local_attention", self.local_attention as usize),
        ] {
            if size == 0 {
                return refuse(key, "is 0".into());
            }
        }
        let heads = self.num_attention_heads;
        if !self.hidden_size.is_multiple_of(2 * heads) {
            let hidden = self.hidden_size;
            return refuse("hidden_size", format!("is {hidden}, not {heads} heads of two halves"));
        }
        Ok(())
    }

    /// How far each layer sees to both sides; none where it sees whole texts.
    fn reaches(&self) -> Result<Vec<Option<u32>>, BackendError> {
        let (layers, every) = (self.num_hidden_layers, self.global_attn_every_n_layers);
        let reach = self.local_attention / 2;
        let Some(types) = &self.layer_types else {
            let within = |layer: usize| (!layer.is_multiple_of(every)).then_some(reach);
            return Ok((0..layers).map(within).collect());
        };
        if types.len() != layers {
            let problem = format!("has {} entries for {layers} layers", types.len());
            return refuse("layer_types", problem);
        }
        let reach = |kind: &String| match kind.as_str() {
            "full_attention" => Ok(None),
            "sliding_attention" => Ok(Some(reach)),
            other => refuse("layer_types", format!("has `{other}`, which is not built")),
        };
        types.iter().map(reach).collect()
    }

    /// The angles of layers that see whole texts, and of those within a window.
    fn rotaries(&self) -> Result<[Rotary; 2], BackendError> {
        let of = |written: Option<RotaryParameters>, base: f64| {
            let config = RotaryConfig {
                rope_theta: Some(base),
                rope_parameters: written,
                ..RotaryConfig::default()
            };
            let head_dim = self.hidden_size / self.num_attention_heads;
            let (context, rotary) =
                Rotary::new(&config, None, head_dim, self.max_position_embeddings)?;
            if context != self.max_position_embeddings {
                return refuse("rope_parameters", "stretch positions, which is not built".into());
            }
            Ok(rotary)
        };
        let written = self.rope_parameters.as_ref();
        let local = self.local_rope_theta.unwrap_or(10_000.0);
        Ok([
            of(written.map(|it| it.full_attention.clone()), self.global_rope_theta)?,
            of(written.map(|it| it.sliding_attention.clone()), local)?,
        ])
    }
}

/// Field names follow the checkpoint's tensor names.
pub(super) struct ModernBert {
    tok_embeddings: Weight,
    norm: Norm,
    layers: Vec<Block>,
    final_norm: Norm,
    /// Of layers that see whole texts, and of those within a window.
    rotaries: [Rotary; 2],
    sizes: EncoderSizes,
}

struct Block {
    /// The first layer reads what the embeddings' norm gives.
    attn_norm: Option<Norm>,
    qkv: Linear,
    attended: Linear,
    mlp_norm: Norm,
    up: Linear,
    down: Linear,
    heads: usize,
    reach: Option<u32>,
    activation: Activation,
}

/// Loads the encoder that `spec` describes.
pub(super) fn build(spec: &OpenSpec, loader: &mut Loader<'_>) -> Result<ModernBert, BackendError> {
    let config: ModernBertConfig = config::read_encoder(spec)?;
    config.check()?;
    let activation = activation("hidden_activation", &config.hidden_activation)?;
    let (reaches, rotaries) = (config.reaches()?, config.rotaries()?);
    let at = if loader.has("model.final_norm.weight") { "model." } else { "" };
    // What guesses hidden words.
    for head in ["head.", "decoder."] {
        loader.pass_over_below(head);
    }
    let hidden = config.hidden_size;
    let table = format!("{at}embeddings.tok_embeddings.weight");
    let mut layers = Vec::with_capacity(reaches.len());
    for (i, reach) in reaches.into_iter().enumerate() {
        layers.push(Block::load(&format!("{at}layers.{i}"), i, reach, activation, &config, loader));
    }
    Ok(ModernBert {
        tok_embeddings: loader.matrix(&table, config.vocab_size, hidden),
        norm: norm(&format!("{at}embeddings.norm"), &config, loader),
        layers,
        final_norm: norm(&format!("{at}final_norm"), &config, loader),
        rotaries,
        sizes: EncoderSizes {
            vocabulary: config.vocab_size,
            context: config.max_position_embeddings,
        },
    })
}

fn norm(at: &str, config: &ModernBertConfig, loader: &mut Loader<'_>) -> Norm {
    let kind = if config.norm_bias { NormKind::Layer } else { NormKind::LayerWithoutBias };
    Norm::load(at, config.hidden_size, NormConfig { eps: config.norm_eps, kind }, loader)
}

impl Encoder for ModernBert {
    fn forward(&self, ids: &[u32], texts: &Texts) -> Tensor<2> {
        let x = self.norm.forward(self.tok_embeddings.embed(ids)); // [t, hidden]
        let turns = self.rotaries.each_ref().map(|it| it.at(texts.positions(), &x.device()));
        let x = self.layers.iter().fold(x, |x, block| {
            let [whole, within] = &turns;
            let turn = if block.reach.is_some() { within } else { whole };
            block.forward(x, turn, texts)
        });
        self.final_norm.forward(x)
    }

    fn sizes(&self) -> EncoderSizes {
        self.sizes
    }
}

impl Block {
    fn load(
        at: &str,
        layer: usize,
        reach: Option<u32>,
        activation: Activation,
        config: &ModernBertConfig,
        loader: &mut Loader<'_>,
    ) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (of_attention, of_mlp) = (config.attention_bias, config.mlp_bias);
        let mut linear = |name: &str, sizes, bias| {
            Linear::load(&format!("{at}.{name}"), sizes, bias, loader).for_many_rows()
        };
        Self {
            qkv: linear("attn.Wqkv", [hidden, 3 * hidden], of_attention),
            attended: linear("attn.Wo", [hidden, hidden], of_attention),
            up: linear("mlp.Wi", [hidden, 2 * inner], of_mlp),
            down: linear("mlp.Wo", [inner, hidden], of_mlp),
            attn_norm: (layer > 0).then(|| norm(&format!("{at}.attn_norm"), config, loader)),
            mlp_norm: norm(&format!("{at}.mlp_norm"), config, loader),
            heads: config.num_attention_heads,
            reach,
            activation,
        }
    }

    /// `[t, hidden]` to the same.
    fn forward(&self, x: Tensor<2>, turn: &crate::layers::Turn, texts: &Texts) -> Tensor<2> {
        let [t, hidden] = x.dims();
        let d = hidden / self.heads;
        let read = match &self.attn_norm {
            Some(norm) => norm.forward(x.clone()),
            None => x.clone(),
        };
        let all = self.qkv.apply(read); // [t, 3·h·d]
        // [t, h·d] -> [t, h, d]
        let part = |i: usize| all.clone().narrow(1, i * hidden, hidden).reshape([t, self.heads, d]);
        let [q, k] = [0, 1].map(|i| turn.apply(part(i)));
        let scale = 1.0 / (d as f32).sqrt();
        let attended = texts.attend([q, k, part(2)], scale, self.reach).reshape([t, hidden]);
        let x = x + self.attended.apply(attended);
        let both = self.up.apply(self.mlp_norm.forward(x.clone())); // [t, 2·inner]
        let inner = both.dims()[1] / 2;
        let (gate, up) = (both.clone().narrow(1, 0, inner), both.narrow(1, inner, inner));
        x + self.down.apply(gated(gate, up, self.activation))
    }
}
