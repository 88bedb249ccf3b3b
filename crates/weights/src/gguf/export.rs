//! A whole model as one GGUF file that llama.cpp runs.

use std::{collections::BTreeSet, ops::ControlFlow, path::Path};

use fidelio_backend::{Encoding, Weights};

use super::{
    names,
    quantization::{Quantization, Reason, Role},
    settings::{Settings, unexportable},
    writer::{GgufWriter, MetadataValue as M},
};
use crate::{
    Checkpoint, WeightsError,
    export::go_on,
    quantize,
    tensors::{Form, TensorPlan},
    tokenizer,
};

const EMBED_TOKENS: &str = "model.embed_tokens.weight";
const NORM: &str = "model.norm.weight";
const LM_HEAD: &str = "lm_head.weight";
/// Version of the block layouts.
const QUANTIZATION_VERSION: u32 = 2;

/// Everything about a GGUF file but the weights' values: settings, tokenizer, chat templates, and
/// what each tensor will be written as.
#[derive(Debug)]
pub struct GgufPlan {
    writer: GgufWriter,
    tensors: Vec<PlannedTensor>,
    notes: Vec<String>,
}

/// One tensor of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedTensor {
    /// Its name in the checkpoint.
    pub name: String,
    /// Its name, encoding and shape in the file.
    pub plan: TensorPlan,
    /// Why it has that encoding.
    pub reason: Reason,
    form: Form,
}

impl GgufPlan {
    /// Plans the file for a checkpoint of an architecture that can be written; `name` is what the file calls the model.
    ///
    /// # Errors
    /// [`WeightsError::Unexportable`] where llama.cpp would not do what the model does, or the
    /// tokenizer cannot be described; all that can be known before a weight is read.
    pub fn new(
        checkpoint: &Checkpoint,
        name: &str,
        quantization: Quantization,
    ) -> Result<Self, WeightsError> {
        let settings = Settings::read(checkpoint.config())?;
        let tensors = tensors(checkpoint, &settings, quantization)?;
        let mut notes: Vec<String> = settings.note().into_iter().collect();
        notes.extend(twice_quantised(checkpoint, &tensors));
        let writer = GgufWriter::new()
            .metadata("general.type", &M::Text("model"))
            .metadata("general.name", &M::Text(name))
            .metadata("general.file_type", &M::U32(quantization.file_type()))
            .metadata("general.quantization_version", &M::U32(QUANTIZATION_VERSION));
        let writer = words(settings.write(writer)?, checkpoint, settings.vocab_size, &mut notes)?;
        Ok(Self { writer, tensors, notes })
    }

    /// What each tensor will be written as.
    pub fn tensors(&self) -> &[PlannedTensor] {
        &self.tensors
    }

    /// What is not as one might expect.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Writes the file, one tensor after the other, with the values of `weights`; it appears whole
    /// or not at all. `each` is asked after every tensor whether to go on.
    ///
    /// # Errors
    /// When a tensor cannot be had, is not what the checkpoint says, or cannot be written; and
    /// [`WeightsError::Stopped`].
    pub fn write(
        &self,
        weights: &dyn Weights,
        path: &Path,
        each: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<(), WeightsError> {
        let plans: Vec<TensorPlan> = self.tensors.iter().map(|t| t.plan.clone()).collect();
        let mut tensors = self.tensors.iter();
        self.writer.write_with(path, &plans, |plan| {
            let Some(planned) = tensors.next() else {
                return Err(plan.unwritable("GGUF", "it was not planned".to_owned()));
            };
            let tensor = quantize::get(weights, &planned.name)?;
            if tensor.shape != plan.shape {
                let problem = format!("it is {:?}, not {:?}", tensor.shape, plan.shape);
                return Err(plan.unwritable("GGUF", problem));
            }
            let bytes = quantize::reencode(&planned.name, &tensor, plan.encoding)?;
            go_on(each)?;
            Ok(planned.form.arrange(bytes, &plan.shape))
        })
    }
}

/// The tensors in the order of the computation.
fn tensors(
    checkpoint: &Checkpoint,
    settings: &Settings,
    quantization: Quantization,
) -> Result<Vec<PlannedTensor>, WeightsError> {
    let mut left: BTreeSet<&str> = checkpoint.weights().iter().map(|(name, ..)| name).collect();
    let mut planned = Vec::with_capacity(left.len());
    let mut plan = |name: &str, role: Role, form: Form| {
        if !left.remove(name) {
            return Err(unexportable(format!("tensor `{name}` is missing")));
        }
        let (shape, ours) = (shape(checkpoint, name), names::gguf(name, settings.family));
        let ours =
            ours.ok_or_else(|| unexportable(format!("tensor `{name}` has no place in it")))?;
        let row = shape.last().copied().unwrap_or(1);
        check_shape(name, &shape, role, form)?;
        let (encoding, reason) = quantization.of(role, row, settings.num_hidden_layers);
        let plan = TensorPlan { name: ours, encoding, shape };
        planned.push(PlannedTensor { name: name.to_owned(), plan, reason, form });
        Ok(())
    };
    if let Some(&rows) = shape(checkpoint, EMBED_TOKENS).first()
        && rows != settings.vocab_size
    {
        let size = settings.vocab_size;
        return Err(unexportable(format!(
            "`vocab_size` is {size}, and there are {rows} embeddings"
        )));
    }
    let tied = settings.tie_word_embeddings;
    let embeddings = if tied { Role::Output } else { Role::Matrix };
    plan(EMBED_TOKENS, embeddings, Form::AsNamed)?;
    for layer in 0..settings.num_hidden_layers {
        for (_, part) in settings.family.parts {
            let form = form(part, settings);
            plan(&format!("model.layers.{layer}.{part}.weight"), role(part, layer), form)?;
            let bias = format!("model.layers.{layer}.{part}.bias");
            if checkpoint.weights().find(&bias).is_some() {
                plan(&bias, Role::Vector, form)?;
            }
        }
    }
    plan(NORM, Role::Vector, Form::AsNamed)?;
    if !tied {
        plan(LM_HEAD, Role::Output, Form::AsNamed)?;
    }
    match left.iter().find(|name| !(tied && **name == LM_HEAD)) {
        Some(name) => Err(unexportable(format!("tensor `{name}` has no place in it"))),
        None => Ok(planned),
    }
}

fn shape(checkpoint: &Checkpoint, name: &str) -> Vec<usize> {
    checkpoint.weights().find(name).map(|tensor| tensor.shape.to_vec()).unwrap_or_default()
}

fn role(part: &str, layer: usize) -> Role {
    match part {
        "self_attn.v_proj" => Role::Values { layer },
        "mlp.down_proj" => Role::Down { layer },
        norm if norm.ends_with("norm") => Role::Vector,
        _ => Role::Matrix,
    }
}

/// Rows of queries and keys may stand in another order there.
fn form(part: &str, settings: &Settings) -> Form {
    match part {
        _ if !settings.family.interleaved => Form::AsNamed,
        "self_attn.q_proj" => Form::Interleaved { heads: settings.num_attention_heads },
        "self_attn.k_proj" => Form::Interleaved { heads: settings.key_value_heads() },
        _ => Form::AsNamed,
    }
}

fn check_shape(name: &str, shape: &[usize], role: Role, form: Form) -> Result<(), WeightsError> {
    let dimensions = if role == Role::Vector { 1 } else { 2 };
    let divides = match form {
        Form::AsNamed | Form::OnePlus | Form::Turned | Form::InThreeParts { .. } => true,
        Form::Interleaved { heads } => {
            shape.first().is_some_and(|rows| rows.is_multiple_of(2 * heads))
        }
    };
    if shape.len() == dimensions && divides {
        return Ok(());
    }
    Err(unexportable(format!("tensor `{name}` is {shape:?}, which does not fit config.json")))
}

/// A word on tensors that lose twice: they are stored in blocks, and will be in others.
fn twice_quantised(checkpoint: &Checkpoint, tensors: &[PlannedTensor]) -> Option<String> {
    let stored = |tensor: &PlannedTensor| -> Option<Encoding> {
        Some(checkpoint.weights().find(&tensor.name)?.encoding)
    };
    let count = tensors
        .iter()
        .filter(|tensor| {
            tensor.plan.encoding.is_quantised()
                && stored(tensor).is_some_and(|s| s.is_quantised() && s != tensor.plan.encoding)
        })
        .count();
    (count > 0).then(|| {
        format!("{count} tensors are quantised already and lose again; a base of floats loses once")
    })
}

/// Tokenizer and chat templates. Those of a GGUF file are kept as they are.
fn words(
    writer: GgufWriter,
    checkpoint: &Checkpoint,
    rows: usize,
    notes: &mut Vec<String>,
) -> Result<GgufWriter, WeightsError> {
    let Some(metadata) = checkpoint.metadata() else {
        let writer = tokenizer::describe(writer, &checkpoint.tokenizer()?, rows, notes)?;
        return Ok(templates(writer, checkpoint));
    };
    Ok(metadata
        .iter()
        .filter(|(key, _)| key.starts_with("tokenizer."))
        .fold(writer, |writer, (key, value)| writer.copied(key, value)))
}

fn templates(writer: GgufWriter, checkpoint: &Checkpoint) -> GgufWriter {
    const KEY: &str = "tokenizer.chat_template";
    let default = checkpoint.chat_template();
    let others: Vec<_> =
        checkpoint.chat_templates().iter().filter(|other| Some(*other) != default).collect();
    let mut writer = writer;
    if let Some(default) = default {
        writer = writer.metadata(KEY, &M::Text(&default.text));
    }
    if others.is_empty() {
        return writer;
    }
    let names: Vec<&str> = others.iter().map(|other| other.name.as_str()).collect();
    writer = writer.metadata(&format!("{KEY}s"), &M::Texts(&names));
    others.iter().fold(writer, |writer, other| {
        writer.metadata(&format!("{KEY}.{}", other.name), &M::Text(&other.text))
    })
}
