#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fidelio_fuzz::read_gguf(bytes::Bytes::copy_from_slice(data));
});
