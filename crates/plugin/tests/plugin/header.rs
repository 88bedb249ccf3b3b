//! The committed header is what `src/abi.rs` says, to the byte and to the offset.

use fidelio_plugin::abi;

use crate::{c::compile, header_text::header};

#[test]
fn the_committed_header_is_the_one_that_is_generated() {
    let committed = include_str!("../../include/fidelio_plugin.h");
    assert!(committed == header(), "the header is stale: `cargo xtask docs` writes it anew");
}

#[test]
fn c_and_rust_lay_structs_out_alike() {
    let mut checks = vec!["#include \"fidelio_plugin.h\"".to_owned()];
    let mut same = |what: String, number: usize| {
        checks.push(format!("_Static_assert({what} == {number}, \"{what}\");"));
    };
    macro_rules! layout {
        ($($type:ident { $($field:ident),+ })+) => {$(
            same(format!("sizeof(Fidelio{})", stringify!($type)), size_of::<abi::$type>());
            $(same(
                format!("offsetof(Fidelio{}, {})", stringify!($type), stringify!($field)),
                std::mem::offset_of!(abi::$type, $field),
            );)+
        )+};
    }
    layout! {
        Head { size, version }
        Bytes { data, len }
        Text { data, len }
        Error { head, text, first, second }
        Description { head, verbs, json }
        OpenArgs { head, device, spec, weights }
        Weights { head, context, count, name, get, forget, release }
        Tensor { head, encoding, dimensions, shape, data, len, owner }
        Capacity { head, vocabulary, context, rows, tokens }
        Step { row, flags, adapter, tokens, token_count, k, also, also_count }
        Position { step, token, logits, ids, len, written, logsumexp }
        ExtendArgs { head, steps, step_count, rows, positions, position_count }
        Node { parent, kind, start, len }
        Target { at, ask, token, weight, group }
        Batch { head, flags, adapter, tokens, token_count, nodes, node_count, targets,
                target_count, rows, row_count }
        Score { logprob, rank, top }
        ScoreOut { head, scores, written, logits, logits_written }
        Vectors { head, width, floats }
        SpecArgs { head, spec, weights }
        LossSum { head, sum, weight }
        UpdateReport { head, gradient_norm, clipped, applied }
        Sink { head, context, put }
        PluginTable { head, describe, open, close, free, capacity, extend, fork, truncate, score,
                      embed, add_adapter, remove_adapter, learn, footprint, accumulate, update,
                      save, restore }
    }
    let file = tempfile::Builder::new().suffix(".c").tempfile().unwrap();
    std::fs::write(file.path(), checks.join("\n")).unwrap();
    compile(file.path().to_str().unwrap(), "layout", &[]);
}
