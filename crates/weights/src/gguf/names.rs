//! llama.cpp's tensor names in Hugging Face's spelling.

use fidelio_backend::Encoding;

use super::{
    families::{self, Family, Otherwise, Whole},
    metadata::{Metadata, Value},
};
use crate::{
    Fault,
    tensors::{Form, Stored},
};

/// Tensors outside of layers: llama.cpp's name, Hugging Face's.
fn whole(family: &Family) -> impl Iterator<Item = (&'static str, &'static str)> {
    let Whole { table, positions, norm, head, .. } = *family.whole;
    let three = [("token_embd", table), ("output_norm", norm), ("output", head)];
    three.into_iter().chain(positions.map(|positions| ("position_embd", positions)))
}

/// Renames the tensors of architectures we know, and notes which stand in another form.
/// Others keep their names, so that a model can report them.
pub(super) fn rename(metadata: &Metadata, stored: &mut [Stored]) -> Result<(), Fault> {
    let Some(family) = families::of(metadata.require_text("general.architecture")?) else {
        return Ok(());
    };
    for tensor in stored {
        let Some(renamed) = hugging_face(&tensor.name, family) else { continue };
        tensor.form = form(metadata, family, tensor, &renamed)?;
        if tensor.form == Form::Turned {
            tensor.shape.reverse();
        }
        tensor.name = renamed.into();
    }
    Ok(())
}

fn form(
    metadata: &Metadata,
    family: &Family,
    tensor: &Stored,
    renamed: &str,
) -> Result<Form, Fault> {
    if family.norms_around_one && is_norm(renamed) {
        return one_plus(tensor);
    }
    match family.form_of(renamed) {
        Some(Otherwise::Turned) => return turned(tensor),
        Some(Otherwise::InThreeParts) => return in_three_parts(metadata, family, tensor),
        None => {}
    }
    let count = match renamed.rsplit('.').nth(1) {
        Some("q_proj") if family.interleaved => "attention.head_count",
        Some("k_proj") if family.interleaved => "attention.head_count_kv",
        _ => return Ok(Form::AsNamed),
    };
    let count = format!("{}.{count}", family.architecture);
    let heads = match heads(metadata, &count)? {
        Some(heads) => heads,
        None => heads(metadata, &format!("{}.attention.head_count", family.architecture))?
            .ok_or(Fault::MissingKey { key: count })?,
    };
    interleaved(tensor, heads)
}

/// Whether a tensor of Hugging Face's name scales a norm.
pub(super) fn is_norm(name: &str) -> bool {
    name.ends_with("norm.weight")
}

fn one_plus(tensor: &Stored) -> Result<Form, Fault> {
    if tensor.encoding == Encoding::F32 {
        return Ok(Form::OnePlus);
    }
    Err(Fault::Encoding {
        tensor: tensor.name.to_string(),
        encoding: format!("{:?}, where a norm is to be F32", tensor.encoding),
    })
}

/// Blocks lie along rows, and cannot be turned round with them.
fn turned(tensor: &Stored) -> Result<Form, Fault> {
    let plain = matches!(tensor.encoding, Encoding::F32 | Encoding::F16 | Encoding::BF16);
    if plain && tensor.shape.len() == 2 {
        return Ok(Form::Turned);
    }
    Err(Fault::Encoding {
        tensor: tensor.name.to_string(),
        encoding: format!(
            "{:?} {:?}, where a matrix that the model has the other way round is to be floats",
            tensor.encoding, tensor.shape
        ),
    })
}

fn in_three_parts(metadata: &Metadata, family: &Family, tensor: &Stored) -> Result<Form, Fault> {
    let key = format!("{}.attention.head_count", family.architecture);
    let heads = heads(metadata, &key)?.ok_or(Fault::MissingKey { key })?;
    let heads = usize::try_from(heads).unwrap_or(usize::MAX);
    let rows = tensor.shape.first().copied().unwrap_or(1);
    let divides = heads.checked_mul(3).is_some_and(|parts| parts > 0 && rows % parts == 0);
    let problem = if !divides {
        "the rows do not divide into three parts for each head"
    } else if tensor.shape.len() == 1 && tensor.encoding.block_len() > 1 {
        "a vector of quantised blocks cannot be reordered"
    } else {
        return Ok(Form::InThreeParts { heads });
    };
    Err(Fault::Dimensions {
        tensor: tensor.name.to_string(),
        dims: tensor.shape.iter().map(|&dim| dim as u64).collect(),
        problem,
    })
}

/// The name in a checkpoint of Hugging Face.
fn hugging_face(name: &str, family: &Family) -> Option<String> {
    let outside = name.rsplit_once('.').and_then(|(ours, kind)| {
        let (_, theirs) = whole(family).find(|(it, _)| *it == ours)?;
        Some(format!("{theirs}.{kind}"))
    });
    if outside.is_some() {
        return outside;
    }
    let mut parts = name.split('.');
    let (Some("blk"), Some(layer), Some(part), Some(kind @ ("weight" | "bias")), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    if layer.is_empty() || !layer.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (_, part) = family.parts.iter().find(|(ours, _)| *ours == part)?;
    Some(format!("{}.{layer}.{part}.{kind}", family.whole.layers))
}

/// The name in a GGUF file of a tensor of Hugging Face's.
pub(super) fn gguf(name: &str, family: &Family) -> Option<String> {
    let (outside, kind) = name.rsplit_once('.')?;
    if let Some((ours, _)) = whole(family).find(|(_, theirs)| *theirs == outside) {
        return Some(format!("{ours}.{kind}"));
    }
    let rest = name.strip_prefix(family.whole.layers)?.strip_prefix('.')?;
    let (layer, rest) = rest.split_once('.')?;
    let (part, kind) = rest.rsplit_once('.')?;
    let (ours, _) = family.parts.iter().find(|(_, theirs)| *theirs == part)?;
    Some(format!("blk.{layer}.{ours}.{kind}"))
}

/// A head count, which some files give per layer; then all must be equal.
pub(super) fn heads(metadata: &Metadata, key: &str) -> Result<Option<u64>, Fault> {
    let Some(Value::Array(array)) = metadata.get(key) else { return metadata.unsigned(key) };
    let mut counts = array.scalars(key)?.map(super::Scalar::unsigned);
    let first = counts.next().flatten();
    if first.is_none() || !counts.all(|count| count == first) {
        let problem = "differs between layers, which cannot be run".to_owned();
        return Err(Fault::Value { key: key.to_owned(), problem });
    }
    Ok(first)
}

fn interleaved(tensor: &Stored, heads: u64) -> Result<Form, Fault> {
    let rows = tensor.shape.first().copied().unwrap_or(1);
    let heads = usize::try_from(heads).unwrap_or(usize::MAX);
    let problem = if heads == 0 || rows % heads != 0 || (rows / heads) % 2 != 0 {
        "the rows do not divide into the heads and those into halves"
    } else if tensor.shape.len() == 1 && tensor.encoding.block_len() > 1 {
        "a vector of quantised blocks cannot be reordered"
    } else {
        return Ok(Form::Interleaved { heads });
    };
    Err(Fault::Dimensions {
        tensor: tensor.name.to_string(),
        dims: tensor.shape.iter().map(|&dim| dim as u64).collect(),
        problem,
    })
}

#[cfg(test)]
mod tests {
    use super::{families, gguf, hugging_face, is_norm};

    fn llama(name: &str) -> Option<String> {
        hugging_face(name, families::of("llama").unwrap())
    }

    #[test]
    fn layers_are_spelt_out() {
        assert_eq!(
            llama("blk.12.attn_q.bias").as_deref(),
            Some("model.layers.12.self_attn.q_proj.bias")
        );
        assert_eq!(llama("output.weight").as_deref(), Some("lm_head.weight"));
    }

    #[test]
    fn one_name_is_another_part_elsewhere() {
        let part = |architecture| {
            let family = families::of(architecture).unwrap();
            hugging_face("blk.0.ffn_norm.weight", family).unwrap()
        };
        assert_eq!(part("qwen2"), "model.layers.0.post_attention_layernorm.weight");
        assert_eq!(part("gemma2"), "model.layers.0.pre_feedforward_layernorm.weight");
    }

    #[test]
    fn names_go_both_ways() {
        for family in families::FAMILIES {
            let layers = family.parts.iter().map(|(ours, _)| format!("blk.12.{ours}.weight"));
            for name in layers.chain(["token_embd.weight".to_owned()]) {
                let theirs = hugging_face(&name, family).unwrap();
                assert_eq!(gguf(&theirs, family).as_deref(), Some(&*name));
                let found = !family.norms_around_one || is_norm(&theirs) == name.contains("norm");
                assert!(found, "{name}");
            }
        }
        let llama = families::of("llama").unwrap();
        assert_eq!(gguf("model.layers.0.self_attn.q_norm.weight", llama), None);
    }

    #[test]
    fn strangers_keep_their_names() {
        for name in ["rope_freqs.weight", "blk.x.attn_q.weight", "blk.0.attn_q", "blk.0.z.weight"] {
            assert_eq!(llama(name), None, "{name}");
        }
    }
}
