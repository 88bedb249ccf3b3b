//! One heap for all threads.
#![cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "the system's allocator is told in C")
)]

/// Lets all threads share one heap, where the C library would give each of them its own.
///
/// What one thread frees of its heap the others cannot use, so the peak of the same run lay anywhere
/// between 375 and 540 MB; on one heap it is always the same, and nothing is slower. Called before
/// any thread is started.
pub(crate) fn share() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: sets a number of the allocator's; there is no other thread yet.
    unsafe {
        // Where it is refused, memory is as it would have been.
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
