//! Files of several megabytes that hold nothing but the smallest things that cost memory: where a
//! fuzzer's small inputs cannot reach.

use fidelio_fuzz::{bounded, read_gguf, read_safetensors};
use fidelio_weights::gguf::{Gguf, GgufWriter, MetadataValue as M};

fn gguf_start(tensors: u64, keys: u64) -> Vec<u8> {
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    file.extend(tensors.to_le_bytes());
    file.extend(keys.to_le_bytes());
    file
}

fn text(file: &mut Vec<u8>, text: &str) {
    file.extend((text.len() as u64).to_le_bytes());
    file.extend(text.as_bytes());
}

#[test]
fn many_tensors() {
    let count = 200_000_u64;
    let mut file = gguf_start(count, 1);
    text(&mut file, "general.architecture");
    file.extend(8_u32.to_le_bytes());
    text(&mut file, "x");
    for i in 0..count {
        text(&mut file, &format!("{i:x}"));
        file.extend(0_u32.to_le_bytes()); // a scalar
        file.extend(0_u32.to_le_bytes()); // F32
        file.extend((i * 32).to_le_bytes());
    }
    file.resize(file.len() + 32 + count as usize * 32, 0);
    assert!(read_gguf(file.clone().into()));
    file.truncate(file.len() / 2); // now the data is missing
    assert!(!read_gguf(file.into()));
}

#[test]
fn many_keys() {
    for count in [60_000_u64, 400_000] {
        let mut file = gguf_start(0, count);
        for i in 0..count {
            text(&mut file, &format!("{i:x}"));
            file.extend(0_u32.to_le_bytes());
            file.push(1);
        }
        assert!(!read_gguf(file.into())); // no architecture, or too many
    }
}

#[test]
fn many_texts_in_a_list() {
    let texts = vec![""; 1_000_000];
    let file = GgufWriter::new()
        .metadata("general.architecture", &M::Text("x"))
        .metadata("list", &M::Texts(&texts))
        .to_bytes()
        .unwrap();
    let file = bytes::Bytes::from(file);
    bounded(file.len(), || Gguf::parse(&file, "input".as_ref()).unwrap());
}

#[test]
fn many_small_safetensors() {
    let mut header = String::from("{");
    for i in 0..100_000 {
        if i > 0 {
            header.push(',');
        }
        header += &format!(r#""{i:x}":{{"dtype":"U8","shape":[],"data_offsets":[{i},{}]}}"#, i + 1);
    }
    header.push('}');
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + 100_000, 0);
    assert!(read_safetensors(file.into()));
}

#[test]
fn many_dimensions() {
    let shape = vec!["1"; 2_000_000].join(",");
    let header = format!(r#"{{"w":{{"dtype":"U8","shape":[{shape}],"data_offsets":[0,1]}}}}"#);
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.push(0);
    assert!(!read_safetensors(file.into()));
}
