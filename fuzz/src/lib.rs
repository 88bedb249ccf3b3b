//! Counts what an input makes us allocate.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// Forwards to the system and keeps count per thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // Fails only while a thread is torn down, when nobody measures.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: `at` came from `alloc` above with this layout.
        unsafe { System.dealloc(at, layout) }
    }
}

/// Runs `read` on an input and panics when it held more than four times the input's size plus one
/// megabyte at once.
pub fn bounded<T>(input: usize, read: impl FnOnce() -> T) -> T {
    let before = LIVE.get();
    PEAK.set(before);
    let result = read();
    let peak = PEAK.get() - before;
    let allowed = 4 * input as isize + (1 << 20);
    assert!(peak <= allowed, "an input of {input} bytes made us allocate {peak}");
    result
}

/// Reads a GGUF file as a program would: settings, names, and every tensor.
pub fn read_gguf(input: bytes::Bytes) -> bool {
    use fidelio_backend::Weights;
    let len = input.len();
    bounded(len, || {
        let model = fidelio_weights::gguf::Gguf::parse(&input, "input".as_ref())
            .and_then(fidelio_weights::gguf::Gguf::into_model);
        let Ok((_, tensors, _)) = model else { return false };
        for name in tensors.iter().map(|(name, _, _)| name) {
            let tensor = tensors.get(name).expect("a listed tensor");
            let elements = tensor.shape.iter().product();
            assert_eq!(tensor.encoding.bytes_of(elements), Some(tensor.bytes.len()));
        }
        true
    })
}

/// Reads a safetensors file as a program would.
pub fn read_safetensors(input: bytes::Bytes) -> bool {
    use fidelio_backend::Weights;
    let len = input.len();
    bounded(len, || {
        let Ok(tensors) = fidelio_weights::safetensors::parse(&input, "input".as_ref()) else {
            return false;
        };
        for name in tensors.iter().map(|(name, _, _)| name) {
            let tensor = tensors.get(name).expect("a listed tensor");
            let elements = tensor.shape.iter().product();
            assert_eq!(tensor.encoding.bytes_of(elements), Some(tensor.bytes.len()));
        }
        true
    })
}

/// Checks a run file; a sound one is rendered and must be read back as the same.
pub fn read_run_file(input: &str) -> bool {
    let read = || fidelio_config::parse("run.yaml", input, &[]);
    let Ok(document) = bounded(input.len(), read) else { return false };
    let again = fidelio_config::parse("again.yaml", &document.render(), &[]);
    let again = again.unwrap_or_else(|problems| panic!("a rendered run file: {problems}"));
    assert_eq!(again.settled(), document.settled());
    true
}
