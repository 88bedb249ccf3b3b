//! The fast paths against the default bodies, on every CPU backend.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use burn::{
    backend::{Backend, tensor::FloatTensor},
    tensor::{DType, TensorData, try_read_sync},
};
use fidelio_kernels::{Asked, Format, Run, Span};

use crate::{LlmBackend, Sees, StoredMatrix, plain};

/// Numbers in -1..1 that look random and are the same everywhere.
fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
        })
        .collect()
}

fn floats<B: Backend, const D: usize>(seed: u64, shape: [usize; D]) -> FloatTensor<B> {
    let data = TensorData::new(numbers(seed, shape.iter().product()), shape);
    B::float_from_data(data, &B::Device::default())
}

fn same<B: Backend>(what: &str, found: FloatTensor<B>, expected: FloatTensor<B>) {
    let read = |x| {
        let data = try_read_sync(B::float_into_data(x)).unwrap().unwrap();
        (data.shape().clone(), data.convert::<f32>().try_into_vec::<f32>().unwrap())
    };
    let ((found_shape, found), (shape, expected)) = (read(found), read(expected));
    assert_eq!(found_shape, shape, "{what}");
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let bound = 1e-5 * expected.abs().max(1.0);
        assert!((found - expected).abs() <= bound, "{what}, {i}: {found} {expected}");
    }
}

/// A stored matrix of plain floats in one of the formats that need no block.
fn stored<B: Backend>(
    format: Format,
    rows: usize,
    cols: usize,
) -> (B::IntTensorPrimitive, StoredMatrix) {
    let bytes: Vec<u8> = numbers(5, rows * cols)
        .iter()
        .flat_map(|x| match format {
            Format::F32 => x.to_le_bytes().to_vec(),
            Format::BF16 => x.to_le_bytes()[2..].to_vec(),
            other => panic!("{other:?} has blocks"),
        })
        .collect();
    let len = bytes.len();
    let bytes = burn::tensor::Bytes::from_bytes_vec(bytes);
    let data = TensorData::from_bytes(bytes, [len], DType::U8);
    (B::int_from_data(data, &B::Device::default()), StoredMatrix { format, rows, cols })
}

fn linear_and_head<B: LlmBackend>() {
    for (format, n, rows, cols) in [(Format::F32, 1, 7, 8), (Format::BF16, 19, 65, 40)] {
        let (w, m) = stored::<B>(format, rows, cols);
        let x = floats::<B, 2>(1, [n, cols]);
        let what = format!("{format:?} {n} {rows} {cols}");
        same::<B>(
            &what,
            B::linear_stored(x.clone(), w.clone(), m),
            plain::linear_stored::<B>(x.clone(), w.clone(), m),
        );
        let ids = vec![3, 0, 6];
        same::<B>(
            &what,
            B::embed_stored(w.clone(), ids.clone(), m),
            plain::embed_stored::<B>(w.clone(), &ids, m),
        );
        let last = n as u32 - 1;
        let asked = [(0, 2), (last, 6), (0, 0)].map(|(row, token)| Asked { row, token }).to_vec();
        let found = B::token_scores_stored(x.clone(), w.clone(), m, asked.clone());
        let expected = plain::token_scores_stored::<B>(x.clone(), w.clone(), m, &asked);
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found.logprob - expected.logprob).abs() < 1e-5, "{what}");
            assert_eq!((found.rank, found.top), (expected.rank, expected.top), "{what}");
        }
        let found = B::top_logits_stored(x.clone(), w.clone(), m, 3, vec![1]);
        let expected = plain::top_logits_stored::<B>(x, w, m, 3, &[1]);
        assert_eq!(found.len(), n);
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found.logsumexp - expected.logsumexp).abs() < 1e-5, "{what}");
            let ids = |top: &crate::Top| top.entries.iter().map(|e| e.0).collect::<Vec<_>>();
            assert_eq!(ids(found), ids(expected), "{what}");
        }
    }
}

fn pointwise<B: LlmBackend>() {
    let (x, y) = (floats::<B, 2>(1, [5, 24]), floats::<B, 2>(2, [5, 24]));
    let w = floats::<B, 1>(3, [24]);
    same::<B>(
        "rms_norm",
        B::rms_norm(x.clone(), w.clone(), 1e-5),
        plain::rms_norm::<B>(x.clone(), w, 1e-5),
    );
    same::<B>("gated_silu", B::gated_silu(x.clone(), y.clone()), plain::gated_silu::<B>(x, y));
    let heads = floats::<B, 3>(4, [5, 3, 8]);
    let (cos, sin) = (floats::<B, 2>(5, [5, 4]), floats::<B, 2>(6, [5, 4]));
    same::<B>(
        "rotary",
        B::rotary(heads.clone(), cos.clone(), sin.clone()),
        plain::rotary::<B>(heads, cos, sin),
    );
}

fn attention_over_a_forest_and_a_cache<B: LlmBackend>() {
    let span = |past, start, len| Span { past, start, len };
    // A root, two children of it, one of them below cached tokens as well.
    let spans = vec![span(false, 0, 4), span(true, 3, 5), span(true, 9, 1), span(false, 0, 4)];
    let runs = vec![
        Run { first: 0, len: 4, spans: 0..0 },
        Run { first: 4, len: 1, spans: 0..1 },
        Run { first: 5, len: 3, spans: 1..4 },
    ];
    for window in [None, Some(3)] {
        let sees = Sees { runs: runs.clone().into(), spans: spans.clone().into(), window };
        let q = floats::<B, 3>(1, [8, 6, 16]);
        let [k, v] = [2, 3].map(|seed| floats::<B, 3>(seed, [8, 2, 16]));
        let [past_k, past_v] = [4, 5].map(|seed| floats::<B, 3>(seed, [12, 2, 16]));
        same::<B>(
            &format!("window {window:?}"),
            B::forest_attention(
                q.clone(),
                k.clone(),
                v.clone(),
                past_k.clone(),
                past_v.clone(),
                sees.clone(),
                0.25,
            ),
            plain::attention::<B>(q, k, v, past_k, past_v, &sees, 0.25),
        );
    }
}

fn store_writes_only_its_slots<B: LlmBackend>() {
    let pool = floats::<B, 3>(1, [10, 2, 4]);
    let rows = floats::<B, 3>(2, [4, 2, 4]);
    let slots = vec![7, 8, 1, 3];
    let kept = pool.clone(); // a second owner: its elements must stay as they are
    same::<B>(
        "store",
        B::store(pool.clone(), rows.clone(), slots.clone()),
        plain::store::<B>(kept.clone(), rows, &slots),
    );
    same::<B>("the other owner's pool", kept, floats::<B, 3>(1, [10, 2, 4]));
}

fn fast_paths_equal_default_bodies<B: LlmBackend>() {
    linear_and_head::<B>();
    pointwise::<B>();
    attention_over_a_forest_and_a_cache::<B>();
    store_writes_only_its_slots::<B>();
}

#[cfg(feature = "flex")]
#[test]
fn flex() {
    fast_paths_equal_default_bodies::<burn::backend::Flex>();
}

#[cfg(feature = "ndarray")]
#[test]
#[expect(deprecated, reason = "upstream is retiring ndarray; users still ask for it")]
fn ndarray() {
    fast_paths_equal_default_bodies::<burn::backend::NdArray>();
}
