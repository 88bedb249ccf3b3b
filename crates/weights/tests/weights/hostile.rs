//! Files that were damaged or made to do harm: an error with a name, never a panic.

use bytes::Bytes;
use fidelio_backend::Weights;
use fidelio_weights::{
    Fault, WeightsError,
    gguf::{Gguf, GgufWriter, MetadataValue as M},
    safetensors,
};
use proptest::prelude::*;

use crate::checkpoints::tiny_llama;

fn gguf(bytes: Vec<u8>) -> Result<usize, WeightsError> {
    let (_, tensors, _) = Gguf::parse(&Bytes::from(bytes), "m.gguf".as_ref())?.into_model()?;
    for name in tensors.names() {
        tensors.get(&name).unwrap();
    }
    Ok(tensors.len())
}

fn fault(outcome: Result<usize, WeightsError>) -> Fault {
    match outcome {
        Err(WeightsError::Malformed { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

/// A file with one tensor description, written by hand.
fn one_tensor(name: &[u8], dims: &[u64], kind: u32, offset: u64, data: usize) -> Vec<u8> {
    let mut file =
        GgufWriter::new().metadata("general.architecture", &M::Text("other")).to_bytes().unwrap();
    file[8] = 1; // one tensor
    while file.last() == Some(&0) {
        file.pop(); // the padding; the last value ends in a letter
    }
    file.extend_from_slice(&(name.len() as u64).to_le_bytes());
    file.extend_from_slice(name);
    file.extend_from_slice(&(dims.len() as u32).to_le_bytes());
    for dim in dims {
        file.extend_from_slice(&dim.to_le_bytes());
    }
    file.extend_from_slice(&kind.to_le_bytes());
    file.extend_from_slice(&offset.to_le_bytes());
    file.resize(file.len().next_multiple_of(32) + data, 0);
    file
}

#[test]
fn a_good_file_is_good() {
    assert_eq!(gguf(one_tensor(b"w", &[32, 2], 2, 0, 36)).unwrap(), 1);
    assert_eq!(gguf(tiny_llama().to_bytes().unwrap()).unwrap(), 7);
}

#[test]
fn every_prefix_of_a_file_is_an_error() {
    let file = tiny_llama().to_bytes().unwrap();
    for end in 0..file.len() - 32 {
        gguf(file[..end].to_vec()).unwrap_err();
    }
}

#[test]
fn lies_about_a_tensor_name_it() {
    let cases = [
        (one_tensor(b"w", &[32, 2], 2, 0, 35), "ends at byte 36"),
        (one_tensor(b"w", &[33], 2, 0, 99), "whole blocks"),
        (one_tensor(b"w", &[8], 0, 4, 99), "multiple of 32"),
        (one_tensor(b"w", &[8], 16, 0, 99), "IQ2_XXS"),
        (one_tensor(b"w", &[8], 77, 0, 99), "type 77"),
        (one_tensor(b"w", &[0], 0, 0, 99), "none may be 0"),
        (one_tensor(b"w", &[u64::MAX, u64::MAX], 0, 0, 99), "overflows"),
        (one_tensor(b"w", &[1 << 62], 0, 0, 99), "overflows"),
        (one_tensor(b"w", &[4], 0, u64::MAX - 31, 99), "ends at byte"),
        (one_tensor(b"w", &[1; 5], 0, 0, 99), "too many"),
    ];
    for (file, expected) in cases {
        let message = fault(gguf(file)).to_string();
        assert!(message.contains(expected) && message.contains("`w`"), "{message}");
    }
    assert!(matches!(fault(gguf(one_tensor(&[0xFF], &[4], 0, 0, 16))), Fault::NotText { .. }));
}

#[test]
fn huge_counts_allocate_nothing() {
    let mut file =
        GgufWriter::new().metadata("general.architecture", &M::Text("other")).to_bytes().unwrap();
    for at in [8, 16] {
        let mut file = file.clone();
        file[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(fault(gguf(file)), Fault::TooMany { .. }));
    }
    file[24..32].copy_from_slice(&(u64::MAX / 2).to_le_bytes()); // the first key's length
    assert!(matches!(fault(gguf(file)), Fault::Truncated { .. }));
}

#[test]
fn other_versions_and_byte_orders_are_named() {
    let file = tiny_llama().to_bytes().unwrap();
    let with = |bytes: [u8; 4]| {
        let mut file = file.clone();
        file[4..8].copy_from_slice(&bytes);
        fault(gguf(file))
    };
    assert!(matches!(with([1, 0, 0, 0]), Fault::Version { version: 1 }));
    assert!(matches!(with([0, 0, 0, 3]), Fault::BigEndian));
    assert!(matches!(fault(gguf(b"PK\x03\x04 zip".to_vec())), Fault::Magic));
    let mut second = file.clone();
    second[4] = 2;
    assert_eq!(gguf(second).unwrap(), 7);
}

#[test]
fn repeated_names_are_named() {
    let twice = tiny_llama().metadata("llama.block_count", &M::U32(2)).to_bytes().unwrap();
    assert!(
        matches!(fault(gguf(twice)), Fault::Duplicate { name, .. } if name == "llama.block_count")
    );
    let view = |name| {
        let gguf = Gguf::parse(&tiny_llama().to_bytes().unwrap().into(), "m".as_ref()).unwrap();
        gguf.into_model().unwrap().1.get(name).unwrap()
    };
    // The same tensor under both of its names.
    let both = tiny_llama()
        .tensor("model.embed_tokens.weight", view("model.embed_tokens.weight"))
        .to_bytes()
        .unwrap();
    assert!(matches!(fault(gguf(both)), Fault::Duplicate { what: "tensor", .. }));
}

#[test]
fn heads_that_do_not_divide_are_an_error() {
    for heads in [0, 3, 8, u32::MAX] {
        let bytes = tiny_llama().to_bytes().unwrap();
        let key = b"llama.attention.head_count";
        let at = bytes.windows(key.len()).position(|w| w == key).unwrap() + key.len() + 4;
        let mut bytes = bytes;
        bytes[at..at + 4].copy_from_slice(&heads.to_le_bytes());
        assert!(matches!(fault(gguf(bytes)), Fault::Dimensions { .. }), "{heads}");
    }
}

#[test]
fn split_files_say_how_to_join_them() {
    let file = tiny_llama().metadata("split.count", &M::U32(3)).to_bytes().unwrap();
    let error = gguf(file).unwrap_err();
    assert!(error.hint().unwrap().contains("--merge"));
}

fn header(text: &str, data: usize) -> Fault {
    let mut file = (text.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(text.as_bytes());
    file.resize(file.len() + data, 0);
    fault(safetensors::parse(&file.into(), "m.safetensors".as_ref()).map(|t| t.len()))
}

#[test]
fn lies_in_a_safetensors_header_name_the_tensor() {
    let one = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    for (text, data, expected) in [
        (one("F32", "[2]", "[0,8]"), 7, "ends at byte 8"),
        (one("F32", "[2]", "[0,4]"), 4, "needs 8 bytes"),
        (one("F32", "[2]", "[8,0]"), 8, "ends at byte 0"),
        (one("F64", "[1]", "[0,8]"), 8, "F64"),
        (one("F32", "[9223372036854775807,4]", "[0,4]"), 4, "overflows"),
        (one("F32", "[1]", "[0,18446744073709551615]"), 4, "ends at byte"),
    ] {
        let message = header(&text, data).to_string();
        assert!(message.contains(expected) && message.contains("`w`"), "{message}");
    }
    for text in [
        one("F32", "[-1]", "[0,4]"),
        one("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"),
        one("F32", "[1]", "[0,4,8]"),
        "{\"w\":".to_owned(),
        "[]".to_owned(),
        "{}{}".to_owned(),
    ] {
        assert!(matches!(header(&text, 4), Fault::Json { .. }), "{text}");
    }
}

#[test]
fn safetensors_data_is_covered_once() {
    let two = |a: &str, b: &str| {
        format!(
            r#"{{"a":{{"dtype":"U8","shape":[4],"data_offsets":{a}}},"b":{{"dtype":"U8","shape":[4],"data_offsets":{b}}}}}"#
        )
    };
    assert!(matches!(header(&two("[0,4]", "[2,6]"), 6), Fault::Overlap { .. }));
    assert!(matches!(header(&two("[0,4]", "[5,9]"), 9), Fault::Hole { .. }));
    assert!(matches!(header(&two("[0,4]", "[4,8]"), 9), Fault::Hole { .. }));
    let twice = two("[0,4]", "[4,8]").replace("\"b\"", "\"a\"");
    assert!(matches!(header(&twice, 8), Fault::Duplicate { name, .. } if name == "a"));
}

#[test]
fn a_safetensors_header_longer_than_the_file_is_an_error() {
    for length in [9_u64, 1 << 40, u64::MAX] {
        let mut file = length.to_le_bytes().to_vec();
        file.extend_from_slice(b"{}");
        let outcome = safetensors::parse(&file.into(), "m".as_ref());
        assert!(outcome.is_err());
    }
}

proptest! {
    #[test]
    fn damaged_gguf_never_panics(
        at in 0_usize..2000,
        with in any::<[u8; 8]>(),
        len in 1_usize..=8,
        cut in 0_usize..3000,
    ) {
        let mut file = tiny_llama().to_bytes().unwrap();
        let at = at.min(file.len() - len);
        file[at..at + len].copy_from_slice(&with[..len]);
        let keep = file.len().saturating_sub(cut / 10);
        file.truncate(keep);
        let _ = gguf(file);
    }

    #[test]
    fn damaged_safetensors_never_panic(text in r#"\{("[ab]":\{"dtype":"(F32|U8|Q)","shape":\[[0-9,]{0,5}\],"data_offsets":\[[0-9]{1,3},[0-9]{1,3}\]\},?){0,3}\}"#, data in 0_usize..64) {
        let mut file = (text.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(text.as_bytes());
        file.resize(file.len() + data, 0);
        let _ = safetensors::parse(&file.into(), "m".as_ref());
    }
}
