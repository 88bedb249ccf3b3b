//! The fast paths against the default bodies, on every CPU backend; and the gradients of the default
//! bodies against slopes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use burn::{
    backend::{
        Autodiff, AutodiffBackend, Backend, TensorMetadata, ops::FloatTensorOps,
        tensor::FloatTensor,
    },
    tensor::{DType, TensorData, try_read_sync},
};
use fidelio_kernels::{
    Activation, Arithmetic, Asked, Format, Layout, Matrix, Run, Scoring, Span, pack, quantize,
};

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
    resident::<B>(data)
}

fn resident<B: Backend>(data: TensorData) -> FloatTensor<B> {
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

/// A stored matrix of plain floats in one of the formats that need no block, or a packed one.
fn stored<B: Backend>(
    format: Format,
    rows: usize,
    cols: usize,
) -> (B::IntTensorPrimitive, StoredMatrix) {
    let bytes: Vec<u8> = numbers(5, rows * cols)
        .iter()
        .flat_map(|x| match format {
            Format::F32 | Format::Int8 => x.to_le_bytes().to_vec(),
            Format::BF16 => x.to_le_bytes()[2..].to_vec(),
            other => panic!("{other:?} has blocks"),
        })
        .collect();
    let (bytes, layout) = if format == Format::Int8 {
        let floats =
            Matrix { format: Format::F32, bytes: &bytes, rows, cols, layout: Layout::Rows };
        let rounded = quantize(floats, format);
        (pack(Matrix { format, bytes: &rounded, ..floats }).as_ref().to_vec(), Layout::Eights)
    } else {
        (bytes, Layout::Rows)
    };
    let len = bytes.len();
    let bytes = burn::tensor::Bytes::from_bytes_vec(bytes);
    let data = TensorData::from_bytes(bytes, [len], DType::U8);
    (
        B::int_from_data(data, &B::Device::default()),
        StoredMatrix { format, rows, cols, layout, arithmetic: Arithmetic::F32 },
    )
}

fn linear_and_head<B: LlmBackend>() {
    for (format, n, rows, cols) in
        [(Format::F32, 1, 7, 8), (Format::BF16, 19, 65, 40), (Format::Int8, 19, 65, 40)]
    {
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

/// The nearest brain float, the even of two equally near.
fn brain(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}

fn brains<B: Backend>(x: &FloatTensor<B>) -> FloatTensor<B> {
    let data = try_read_sync(B::float_into_data(x.clone())).unwrap().unwrap();
    let shape = data.shape().clone();
    let numbers = data.try_into_vec::<f32>().unwrap().into_iter().map(brain).collect();
    resident::<B>(TensorData::new::<f32, _>(numbers, shape))
}

/// Products of brain floats are those of rounded operands.
fn products_of_brain_floats<B: LlmBackend>() {
    for format in [Format::F32, Format::BF16, Format::Int8] {
        let (stored, m) = stored::<B>(format, 65, 40);
        let m = StoredMatrix { arithmetic: Arithmetic::Bf16, ..m };
        let w = brains::<B>(&B::embed_stored(stored.clone(), (0..65).collect(), m));
        let (x, g) = (floats::<B, 2>(1, [19, 40]), floats::<B, 2>(2, [19, 65]));
        let (near_x, near_g) = (brains::<B>(&x), brains::<B>(&g));
        same::<B>(
            &format!("linear_stored of {format:?}"),
            B::linear_stored(x, stored.clone(), m),
            plain::linear_floats::<B>(near_x, w.clone()),
        );
        same::<B>(
            &format!("linear_stored_backward of {format:?}"),
            B::linear_stored_backward(g, stored, m),
            B::float_matmul(near_g, w),
        );
    }
    let (x, w) = (floats::<B, 2>(1, [19, 40]), floats::<B, 2>(3, [65, 40]));
    let g = floats::<B, 2>(2, [19, 65]);
    let [near_x, near_w, near_g] = [&x, &w, &g].map(brains::<B>);
    let bf16 = Arithmetic::Bf16;
    same::<B>(
        "linear",
        B::linear_floats(x.clone(), w.clone(), bf16),
        plain::linear_floats::<B>(near_x.clone(), near_w.clone()),
    );
    same::<B>(
        "linear_backward",
        B::linear_floats_backward(g.clone(), w, bf16),
        B::float_matmul(near_g.clone(), near_w),
    );
    same::<B>(
        "linear_floats_gradient",
        B::linear_floats_gradient(g, x, bf16),
        plain::linear_floats_gradient::<B>(near_g, near_x),
    );
}

fn pointwise<B: LlmBackend>() {
    let (x, y) = (floats::<B, 2>(1, [5, 24]), floats::<B, 2>(2, [5, 24]));
    let w = floats::<B, 1>(3, [24]);
    same::<B>(
        "rms_norm",
        B::rms_norm(x.clone(), w.clone(), 1e-5),
        plain::rms_norm::<B>(x.clone(), w, 1e-5),
    );
    let [w, b] = [3, 7].map(|seed| floats::<B, 1>(seed, [24]));
    same::<B>(
        "layer_norm",
        B::centered_norm(x.clone(), w.clone(), b.clone(), 1e-5),
        plain::layer_norm::<B>(x.clone(), w, b, 1e-5),
    );
    for activation in ACTIVATIONS {
        let (x, y) = (x.clone(), y.clone());
        same::<B>(
            &format!("activate {activation:?}"),
            B::activate(x.clone(), activation),
            plain::activate::<B>(x.clone(), activation),
        );
        same::<B>(
            &format!("gated {activation:?}"),
            B::gated(x.clone(), y.clone(), activation),
            plain::gated::<B>(x, y, activation),
        );
    }
    let heads = floats::<B, 3>(4, [5, 3, 8]);
    let (cos, sin) = (floats::<B, 2>(5, [5, 4]), floats::<B, 2>(6, [5, 4]));
    same::<B>(
        "rotary",
        B::rotary(heads.clone(), cos.clone(), sin.clone()),
        plain::rotary::<B>(heads, cos, sin),
    );
}

const ACTIVATIONS: [Activation; 3] = [Activation::Silu, Activation::GeluTanh, Activation::Gelu];

/// Windows, and how scores are made.
fn kinds_of_attention() -> [(Option<u32>, Scoring); 3] {
    let scaled = Scoring::scaled(0.25);
    [(None, scaled), (Some(3), scaled), (Some(3), Scoring { scale: 0.5, softcap: Some(0.8) })]
}

fn attention_over_a_forest_and_a_cache<B: LlmBackend>() {
    for (window, scoring) in kinds_of_attention() {
        let sees = forest(window);
        let q = floats::<B, 3>(1, [8, 6, 16]);
        let [k, v] = [2, 3].map(|seed| floats::<B, 3>(seed, [8, 2, 16]));
        let [past_k, past_v] = [4, 5].map(|seed| floats::<B, 3>(seed, [12, 2, 16]));
        same::<B>(
            &format!("window {window:?}, {scoring:?}"),
            B::forest_attention(
                q.clone(),
                k.clone(),
                v.clone(),
                past_k.clone(),
                past_v.clone(),
                sees.clone(),
                scoring,
            ),
            plain::attention::<B>(q, k, v, past_k, past_v, &sees, scoring),
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

/// A root, two children of it, one of them below cached tokens as well: 8 tokens.
fn forest(window: Option<u32>) -> Sees {
    let span = |past, start, len| Span { past, start, len };
    let spans = vec![span(false, 0, 4), span(true, 3, 5), span(true, 9, 1), span(false, 0, 4)];
    let runs = vec![
        Run { first: 0, len: 4, spans: 0..0 },
        Run { first: 4, len: 1, spans: 0..1 },
        Run { first: 5, len: 3, spans: 1..4 },
    ];
    Sees { runs: runs.into(), spans: spans.into(), window }
}

/// The gradients that [`Autodiff`] gives by this crate's backward passes, against those that it
/// derives from the default bodies' single operations.
fn gradients_equal_those_of_default_bodies<B: LlmBackend>() {
    for format in [Format::BF16, Format::Int8] {
        let (w, m) = stored::<B>(format, 65, 40);
        let table = w.clone();
        compare::<B, _>(
            &format!("linear_stored of {format:?}"),
            &[&[19, 40]],
            move |[x]| Graph::<B>::linear_stored(x, w.clone(), m),
            move |[x]| {
                let w = decoded::<B>(&table, m);
                Graph::<B>::float_matmul(x, Graph::<B>::float_swap_dims(w, 0, 1))
            },
        );
    }
    compare::<B, _>(
        "linear",
        &[&[19, 40], &[65, 40]],
        |[x, w]| Graph::<B>::linear_floats(x, w, Arithmetic::F32),
        |[x, w]| Graph::<B>::float_matmul(x, Graph::<B>::float_swap_dims(w, 0, 1)),
    );
    compare::<B, _>(
        "low_rank",
        &[&[9, 24], &[4, 24], &[15, 4]],
        |[x, a, b]| Graph::<B>::low_rank(x, a, b, 0.5),
        |[x, a, b]| plain::low_rank::<Graph<B>>(x, a, b, 0.5),
    );
    compare::<B, _>(
        "rms_norm",
        &[&[150, 24], &[24]],
        |[x, weight]| Graph::<B>::rms_norm(x, weight, 1e-5),
        |[x, weight]| plain::rms_norm::<Graph<B>>(x, weight, 1e-5),
    );
    compare::<B, _>(
        "layer_norm",
        &[&[150, 24], &[24], &[24]],
        |[x, weight, bias]| Graph::<B>::centered_norm(x, weight, bias, 1e-5),
        |[x, weight, bias]| plain::layer_norm::<Graph<B>>(x, weight, bias, 1e-5),
    );
    for activation in ACTIVATIONS {
        compare::<B, _>(
            &format!("activate {activation:?}"),
            &[&[5, 24]],
            |[x]| Graph::<B>::activate(x, activation),
            |[x]| plain::activate::<Graph<B>>(x, activation),
        );
        compare::<B, _>(
            &format!("gated {activation:?}"),
            &[&[5, 24], &[5, 24]],
            |[gate, up]| Graph::<B>::gated(gate, up, activation),
            |[gate, up]| plain::gated::<Graph<B>>(gate, up, activation),
        );
    }
    let turn = || (constant::<B, 2>(5, [5, 4]), constant::<B, 2>(6, [5, 4]));
    compare::<B, _>(
        "rotary",
        &[&[5, 3, 10]],
        |[x]| Graph::<B>::rotary(x, turn().0, turn().1),
        |[x]| plain::rotary::<Graph<B>>(x, turn().0, turn().1),
    );
    for (window, scoring) in kinds_of_attention() {
        let past = || (constant::<B, 3>(4, [12, 2, 16]), constant::<B, 3>(5, [12, 2, 16]));
        let sees = forest(window);
        compare::<B, _>(
            &format!("attention, window {window:?}, {scoring:?}"),
            &[&[8, 6, 16], &[8, 2, 16], &[8, 2, 16]],
            |[q, k, v]| {
                Graph::<B>::forest_attention(q, k, v, past().0, past().1, sees.clone(), scoring)
            },
            |[q, k, v]| plain::attention::<Graph<B>>(q, k, v, past().0, past().1, &sees, scoring),
        );
    }
}

type Graph<B> = Autodiff<B>;

fn constant<B: Backend, const D: usize>(seed: u64, shape: [usize; D]) -> FloatTensor<Graph<B>> {
    floats::<Graph<B>, D>(seed, shape)
}

fn decoded<B: LlmBackend>(w: &B::IntTensorPrimitive, m: StoredMatrix) -> FloatTensor<Graph<B>> {
    Graph::<B>::embed_stored(w.clone(), (0..m.rows as u32).collect(), m)
}

/// Results and gradients of two ways to compute the same function of `N` operands.
fn compare<B: LlmBackend, const N: usize>(
    what: &str,
    shapes: &[&[usize]; N],
    fast: impl Fn([FloatTensor<Graph<B>>; N]) -> FloatTensor<Graph<B>>,
    plain: impl Fn([FloatTensor<Graph<B>>; N]) -> FloatTensor<Graph<B>>,
) {
    let run = |function: &dyn Fn([FloatTensor<Graph<B>>; N]) -> FloatTensor<Graph<B>>| {
        let mut seed = 0;
        let operands = shapes.map(|shape| {
            seed += 1;
            let data = TensorData::new(numbers(seed, shape.iter().product()), shape.to_vec());
            Graph::<B>::float_from_data(data, &B::Device::default()).require_grad()
        });
        let out = function(operands.clone());
        let value = out.primitive().clone();
        let weights = TensorData::new(numbers(77, value.shape().num_elements()), value.shape());
        let weights = Graph::<B>::float_from_data(weights, &B::Device::default());
        let loss = Graph::<B>::float_sum(Graph::<B>::float_mul(out, weights));
        let gradients = Graph::<B>::backward(loss);
        (value, operands.map(|x| Graph::<B>::grad(&x, &gradients).expect("has a gradient")))
    };
    let ((found, found_g), (expected, expected_g)) = (run(&fast), run(&plain));
    same::<B>(what, found, expected);
    for (i, (found, expected)) in found_g.into_iter().zip(expected_g).enumerate() {
        same::<B>(&format!("{what}, gradient {i}"), found, expected);
    }
}

/// Central differences in `f64` along random directions, against the default bodies' gradients.
#[cfg(feature = "flex")]
mod slopes {
    use burn::backend::Flex;

    use super::*;

    type Numbers = FloatTensor<Flex>;

    fn double(seed: u64, shape: &[usize]) -> Numbers {
        let data = TensorData::new(numbers(seed, shape.iter().product()), shape.to_vec());
        resident::<Flex>(data.convert::<f64>())
    }

    fn dot(a: &Numbers, b: &Numbers) -> f64 {
        let product = Flex::float_sum(Flex::float_mul(a.clone(), b.clone()));
        try_read_sync(Flex::float_into_data(product)).unwrap().unwrap().as_slice::<f64>().unwrap()
            [0]
    }

    fn check<const N: usize>(
        what: &str,
        shapes: [&[usize]; N],
        forward: impl Fn([Numbers; N]) -> Numbers,
        backward: impl Fn([Numbers; N], Numbers) -> [Numbers; N],
    ) {
        let mut seed = 10;
        let operands = shapes.map(|shape| {
            seed += 1;
            double(seed, shape)
        });
        let out = forward(operands.clone());
        let g = double(3, &out.shape().to_vec());
        let gradients = backward(operands.clone(), g.clone());
        for i in 0..N {
            let direction = double(40 + i as u64, shapes[i]);
            let moved = |step: f64| {
                let mut moved = operands.clone();
                let by = Flex::float_mul_scalar(direction.clone(), step.into());
                moved[i] = Flex::float_add(moved[i].clone(), by);
                dot(&forward(moved), &g)
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            let along = dot(&gradients[i], &direction);
            assert!(
                (slope - along).abs() < 1e-7 * (1.0 + slope.abs()),
                "{what}, {i}: {along} {slope}"
            );
        }
    }

    #[test]
    fn default_gradients_are_slopes() {
        check(
            "rms_norm",
            [&[7, 24], &[24]],
            |[x, w]| plain::rms_norm::<Flex>(x, w, 1e-5),
            |[x, w], g| plain::rms_norm_backward::<Flex>(x, w, g, 1e-5).into(),
        );
        check(
            "layer_norm",
            [&[7, 24], &[24], &[24]],
            |[x, w, b]| plain::layer_norm::<Flex>(x, w, b, 1e-5),
            |[x, w, _], g| plain::layer_norm_backward::<Flex>(x, w, g, 1e-5).into(),
        );
        for activation in ACTIVATIONS {
            check(
                &format!("gated {activation:?}"),
                [&[5, 24], &[5, 24]],
                |[gate, up]| plain::gated::<Flex>(gate, up, activation),
                |[gate, up], g| plain::gated_backward::<Flex>(gate, up, g, activation).into(),
            );
            check(
                &format!("activate {activation:?}"),
                [&[5, 24]],
                |[x]| plain::activate::<Flex>(x, activation),
                |[x], g| [plain::activate_backward::<Flex>(x, g, activation)],
            );
        }
        let (cos, sin) = (double(5, &[5, 4]), double(6, &[5, 4]));
        let unit = Flex::float_sqrt(Flex::float_add(
            Flex::float_mul(cos.clone(), cos.clone()),
            Flex::float_mul(sin.clone(), sin.clone()),
        ));
        let (cos, sin) = (Flex::float_div(cos, unit.clone()), Flex::float_div(sin, unit));
        check(
            "rotary",
            [&[5, 3, 10]],
            |[x]| plain::rotary::<Flex>(x, cos.clone(), sin.clone()),
            |[_], g| [plain::rotary::<Flex>(g, cos.clone(), Flex::float_neg(sin.clone()))],
        );
        let past = [double(7, &[12, 2, 16]), double(8, &[12, 2, 16])];
        for (window, scoring) in kinds_of_attention() {
            let sees = forest(window);
            let attend = |q, k, v| {
                let [past_k, past_v] = past.clone();
                plain::attention::<Flex>(q, k, v, past_k, past_v, &sees, scoring)
            };
            check(
                "attention",
                [&[8, 6, 16], &[8, 2, 16], &[8, 2, 16]],
                |[q, k, v]| attend(q, k, v),
                |[q, k, v], g| {
                    let out = attend(q.clone(), k.clone(), v.clone());
                    plain::attention_backward::<Flex>(
                        q,
                        [k, v],
                        past.clone(),
                        out,
                        g,
                        &sees,
                        scoring,
                    )
                    .into()
                },
            );
        }
    }
}

fn fast_paths_equal_default_bodies<B: LlmBackend>() {
    gradients_equal_those_of_default_bodies::<B>();
    linear_and_head::<B>();
    products_of_brain_floats::<B>();
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
