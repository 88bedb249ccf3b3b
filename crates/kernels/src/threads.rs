//! When work is worth spreading, and the scratch memory of each thread.

use std::cell::RefCell;

/// Multiply-adds (or as much other work) below which a call stays on its thread: waking the pool
/// costs some ten microseconds.
const WORTH_SPREADING: usize = 1 << 18;

/// Whether `work` multiply-adds are worth spreading over the pool.
pub(crate) fn worth_spreading(work: usize) -> bool {
    work >= WORTH_SPREADING && rayon::current_num_threads() > 1
}

/// Does work on a thread of the pool, on which kernels spread theirs without waking a thread to
/// hand it over and another to hand it back. Worth it for work that calls many kernels.
pub fn on_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| work())
}

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Floats in a cache line.
const LINE: usize = 16;

/// Lends `len` floats of this thread, whatever they hold, from the beginning of a cache line on.
/// Not to be nested.
pub(crate) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < len + LINE {
            scratch.resize(len + LINE, 0.0);
        }
        let before = scratch.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        work(&mut scratch[before..][..len])
    })
}
