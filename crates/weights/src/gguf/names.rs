//! llama.cpp's tensor names in Hugging Face's spelling.

use super::metadata::{Metadata, Value};
use crate::{
    Fault,
    tensors::{RowOrder, Stored},
};

/// Tensors outside of layers: llama.cpp's name, Hugging Face's.
pub(super) const WHOLE: [(&str, &str); 3] = [
    ("token_embd.weight", "model.embed_tokens.weight"),
    ("output_norm.weight", "model.norm.weight"),
    ("output.weight", "lm_head.weight"),
];
/// Parts of a layer: llama.cpp's name, Hugging Face's.
pub(super) const PARTS: [(&str, &str); 9] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// Renames the tensors of architectures we know, and notes whose rows stand in another order.
/// Others keep their names, so that a model can report them.
pub(super) fn rename(metadata: &Metadata, stored: &mut [Stored]) -> Result<(), Fault> {
    if metadata.require_text("general.architecture")? != "llama" {
        return Ok(());
    }
    for tensor in stored {
        let Some(renamed) = llama(&tensor.name) else { continue };
        let heads_key = match renamed.rsplit('.').nth(1) {
            Some("q_proj") => Some("llama.attention.head_count"),
            Some("k_proj") => Some("llama.attention.head_count_kv"),
            _ => None,
        };
        if let Some(key) = heads_key {
            let heads = match heads(metadata, key)? {
                Some(heads) => heads,
                None => heads(metadata, "llama.attention.head_count")?
                    .ok_or_else(|| Fault::MissingKey { key: key.to_owned() })?,
            };
            tensor.rows = interleaved(tensor, heads)?;
        }
        tensor.name = renamed.into();
    }
    Ok(())
}

/// The name in a Llama checkpoint of Hugging Face.
fn llama(name: &str) -> Option<String> {
    if let Some((_, theirs)) = WHOLE.iter().find(|(ours, _)| *ours == name) {
        return Some((*theirs).to_owned());
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
    let (_, part) = PARTS.iter().find(|(ours, _)| *ours == part)?;
    Some(format!("model.layers.{layer}.{part}.{kind}"))
}

/// The name in a GGUF file of architecture `llama`, of a tensor of Hugging Face's.
pub(super) fn gguf(name: &str) -> Option<String> {
    if let Some((ours, _)) = WHOLE.iter().find(|(_, theirs)| *theirs == name) {
        return Some((*ours).to_owned());
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let (part, kind) = rest.rsplit_once('.')?;
    let (ours, _) = PARTS.iter().find(|(_, theirs)| *theirs == part)?;
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

fn interleaved(tensor: &Stored, heads: u64) -> Result<RowOrder, Fault> {
    let rows = tensor.shape.first().copied().unwrap_or(1);
    let heads = usize::try_from(heads).unwrap_or(usize::MAX);
    let problem = if heads == 0 || rows % heads != 0 || (rows / heads) % 2 != 0 {
        "the rows do not divide into the heads and those into halves"
    } else if tensor.shape.len() == 1 && tensor.encoding.block_len() > 1 {
        "a vector of quantised blocks cannot be reordered"
    } else {
        return Ok(RowOrder::Interleaved { heads });
    };
    Err(Fault::Dimensions {
        tensor: tensor.name.to_string(),
        dims: tensor.shape.iter().map(|&dim| dim as u64).collect(),
        problem,
    })
}

#[cfg(test)]
mod tests {
    use super::{gguf, llama};

    #[test]
    fn layers_are_spelt_out() {
        assert_eq!(
            llama("blk.12.attn_q.bias").as_deref(),
            Some("model.layers.12.self_attn.q_proj.bias")
        );
        assert_eq!(llama("output.weight").as_deref(), Some("lm_head.weight"));
    }

    #[test]
    fn names_go_both_ways() {
        for name in ["token_embd.weight", "blk.12.attn_q.bias", "blk.0.ffn_down.weight"] {
            assert_eq!(gguf(&llama(name).unwrap()).as_deref(), Some(name));
        }
        assert_eq!(gguf("model.layers.0.self_attn.q_norm.weight"), None);
    }

    #[test]
    fn strangers_keep_their_names() {
        for name in ["rope_freqs.weight", "blk.x.attn_q.weight", "blk.0.attn_q", "blk.0.z.weight"] {
            assert_eq!(llama(name), None, "{name}");
        }
    }
}
