//! Ctrl-C: the work in progress stops at its next step and keeps what is done.

use std::sync::{
    Once,
    atomic::{AtomicBool, Ordering},
};

static ASKED: AtomicBool = AtomicBool::new(false);
/// Whether somebody looks at `ASKED` between steps. Before that nothing is lost by leaving.
static WATCHED: AtomicBool = AtomicBool::new(false);

/// From here on the first Ctrl-C asks the work to stop; a second one, or one while nobody
/// watches, leaves at once.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Where no handler can be installed, Ctrl-C ends the process as it always did.
        let installed = ctrlc::set_handler(|| {
            let again = ASKED.swap(true, Ordering::SeqCst);
            if again || !WATCHED.load(Ordering::SeqCst) {
                leave();
            }
            crate::ui::complain("stopping; Ctrl-C again leaves at once");
        });
        drop(installed);
    });
}

/// Whether the user asked to stop. Called between steps.
pub(crate) fn asked() -> bool {
    WATCHED.store(true, Ordering::SeqCst);
    ASKED.load(Ordering::SeqCst)
}

/// Forgets a Ctrl-C that was answered, so that the next one counts anew; nobody watches until
/// [`asked`] is called again.
pub(crate) fn reset() {
    WATCHED.store(false, Ordering::SeqCst);
    ASKED.store(false, Ordering::SeqCst);
}

#[expect(
    clippy::exit,
    clippy::disallowed_methods,
    reason = "a user who asks twice does not wait for destructors; files appear only when whole"
)]
fn leave() -> ! {
    std::process::exit(i32::from(crate::failure::FAILED))
}
