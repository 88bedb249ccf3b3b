#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fidelio_fuzz::read_safetensors(bytes::Bytes::copy_from_slice(data));
});
