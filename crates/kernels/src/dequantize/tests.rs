//! Against the `gguf` Python package, whose values are committed (`tests/fixtures/make.py`).

use super::dequantize_on;
use crate::{Format, simd::Path};

/// Stored blocks, followed by what they decode to; none for a format that no file has.
fn fixture(format: Format) -> Option<&'static [u8]> {
    macro_rules! file {
        ($name:literal) => {
            include_bytes!(concat!("../../tests/fixtures/", $name, ".bin"))
        };
    }
    let stored: &[u8] = match format {
        Format::F32 => file!("F32"),
        Format::F16 => file!("F16"),
        Format::BF16 => file!("BF16"),
        Format::Q4_0 => file!("Q4_0"),
        Format::Q4_1 => file!("Q4_1"),
        Format::Q5_0 => file!("Q5_0"),
        Format::Q5_1 => file!("Q5_1"),
        Format::Q8_0 => file!("Q8_0"),
        Format::Q2_K => file!("Q2_K"),
        Format::Q3_K => file!("Q3_K"),
        Format::Q4_K => file!("Q4_K"),
        Format::Q5_K => file!("Q5_K"),
        Format::Q6_K => file!("Q6_K"),
        _ => return None,
    };
    Some(stored)
}

#[test]
fn every_format_decodes_to_the_reference_bits() {
    for format in Format::ALL {
        let elements = if format.block_len() == 1 { 64 } else { 4 * format.block_len() };
        let Some(both) = fixture(format) else { continue };
        let (stored, decoded) = both.split_at(format.bytes_of(elements).unwrap());
        let expected: Vec<f32> =
            decoded.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        assert_eq!(expected.len(), elements, "{format:?}");
        for path in Path::all() {
            let mut got = vec![f32::NAN; elements];
            dequantize_on(path, format, stored, &mut got);
            assert_eq!(got, expected, "{format:?} on {path:?}");
        }
    }
}

#[test]
#[should_panic(expected = "bytes of 32 Q4_1")]
fn a_wrong_size_is_refused() {
    super::dequantize(Format::Q4_1, &[0; 19], &mut [0.0; 32]);
}
