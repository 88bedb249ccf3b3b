//! Against blocks that the `gguf` package and llama.cpp made (`tests/make_quantized.py`).

use fidelio_backend::{Encoding, TensorView};
use serde_json::{Map, Value};

use super::{encode, floats, reencode};
use crate::WeightsError;

fn stored(encoding: Encoding) -> &'static [u8] {
    macro_rules! file {
        ($name:literal) => {
            include_bytes!(concat!("../../tests/quantized/", $name, ".bin"))
        };
    }
    match encoding {
        Encoding::F32 => file!("values"),
        Encoding::Q4_0 => file!("Q4_0"),
        Encoding::Q4_1 => file!("Q4_1"),
        Encoding::Q5_0 => file!("Q5_0"),
        Encoding::Q5_1 => file!("Q5_1"),
        Encoding::Q8_0 => file!("Q8_0"),
        Encoding::Q4_K => file!("Q4_K"),
        Encoding::Q5_K => file!("Q5_K"),
        Encoding::Q6_K => file!("Q6_K"),
        other => panic!("{other:?}"),
    }
}

fn view(encoding: Encoding, bytes: impl Into<Vec<u8>>) -> TensorView {
    let bytes: Vec<u8> = bytes.into();
    let elements = bytes.len() / encoding.block_bytes() * encoding.block_len();
    TensorView { encoding, shape: vec![elements / 256, 256], bytes: bytes.into() }
}

fn values() -> TensorView {
    view(Encoding::F32, stored(Encoding::F32))
}

#[test]
fn blocks_of_32_are_the_bytes_of_the_reference() {
    use Encoding::*;
    for encoding in [Q8_0, Q4_0, Q4_1, Q5_0, Q5_1] {
        let found = reencode("x", &values(), encoding).unwrap();
        assert!(found == stored(encoding), "{encoding:?}");
    }
}

/// Roots of the mean squared error against the values, for each distribution among them: of all
/// elements alike, and with the weights by which llama.cpp prefers large ones.
fn errors(encoding: Encoding, bytes: &[u8]) -> Vec<(String, [f64; 2])> {
    let truth = floats("x", &values()).unwrap();
    let found = floats("x", &view(encoding, bytes)).unwrap();
    let kinds: Map<String, Value> =
        serde_json::from_str(include_str!("../../tests/quantized/kinds.json")).unwrap();
    let mut at = 0;
    let mut error = |(kind, count): (String, Value)| {
        let range = at..at + count.as_u64().unwrap() as usize;
        at = range.end;
        let (truth, found) = (&truth[range.clone()], &found[range]);
        let squares = |weight: &dyn Fn(f64) -> f64| -> f64 {
            let pairs = truth.iter().zip(found).map(|(a, b)| (f64::from(*a), f64::from(*b)));
            pairs.map(|(a, b)| weight(a) * (a - b).powi(2)).sum()
        };
        let size =
            (truth.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / truth.len() as f64).sqrt();
        (kind, [squares(&|_| 1.0), squares(&|x| size + x.abs())].map(f64::sqrt))
    };
    kinds.into_iter().map(&mut error).collect()
}

#[test]
fn blocks_of_256_err_no_more_than_those_of_llama_cpp() {
    for encoding in [Encoding::Q4_K, Encoding::Q5_K, Encoding::Q6_K] {
        let ours = reencode("x", &values(), encoding).unwrap();
        let theirs = errors(encoding, stored(encoding));
        for ((kind, ours), (_, theirs)) in errors(encoding, &ours).into_iter().zip(theirs) {
            let [plain, weighted] = [0, 1].map(|i| ours[i] / theirs[i]);
            assert!(plain <= 1.0 && weighted <= 1.03, "{encoding:?} {kind}: {plain} {weighted}");
        }
    }
}

/// Least squares may not lose what plain rounding keeps.
#[test]
fn what_a_block_can_hold_it_holds() {
    let ramp: Vec<f32> = (0..256).map(|i| (i % 16) as f32 * 0.5 - 2.0).collect();
    let bytes: Vec<u8> = ramp.iter().flat_map(|x| x.to_le_bytes()).collect();
    for encoding in [Encoding::Q4_K, Encoding::Q5_K] {
        let found = reencode("x", &view(Encoding::F32, bytes.clone()), encoding).unwrap();
        for (a, b) in ramp.iter().zip(floats("x", &view(encoding, found)).unwrap()) {
            assert!((a - b).abs() < 2e-3, "{encoding:?}: {a} {b}");
        }
    }
}

#[test]
fn every_encoding_decodes_and_encodes_in_stretches_as_in_one() {
    use Encoding::*;
    let values = values();
    let all = floats("x", &values).unwrap();
    for encoding in [F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K] {
        let mut whole = vec![0; encoding.bytes_of(all.len()).unwrap()];
        encode(encoding, &all, &mut whole);
        let found = reencode("x", &values, encoding).unwrap();
        assert!(found == whole, "{encoding:?}");
        let again = reencode("x", &view(encoding, whole.clone()), encoding).unwrap();
        assert!(again == whole, "{encoding:?}");
    }
}

#[track_caller]
fn refuses(values: &[f32], shape: &[usize], to: Encoding, expected: &str) {
    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    let view = TensorView { encoding: Encoding::F32, shape: shape.to_vec(), bytes: bytes.into() };
    let error = reencode("blk", &view, to).unwrap_err();
    assert!(matches!(&error, WeightsError::Unwritable { tensor, .. } if tensor == "blk"));
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn what_has_no_counterpart_is_refused() {
    let mut x = [1.0; 64];
    refuses(&x, &[2, 32], Encoding::Q4_K, "rows of 32 do not fill its blocks of 256");
    refuses(&x, &[2, 32], Encoding::Q2_K, "no encoder");
    refuses(&x, &[3, 32], Encoding::Q8_0, "does not have 256 bytes");
    x[40] = 1e6;
    refuses(&x, &[2, 32], Encoding::F16, "1000000 is too large");
    refuses(&x, &[2, 32], Encoding::Q8_0, "1000000 is too large");
    x[40] = f32::NAN;
    refuses(&x, &[2, 32], Encoding::Q4_0, "it holds NaN");
}
