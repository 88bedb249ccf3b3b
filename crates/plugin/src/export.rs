//! The author's side in Rust: [`export!`](crate::export!) makes a table of a `Backend`.

mod calls;

use std::{
    any::Any,
    collections::BTreeMap,
    ffi::c_void,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use fidelio_backend::{Backend, BackendError, Session};

pub use calls::table;

use crate::{
    abi::{self, Status},
    failure::Failure,
    reading::{Broken, filled},
};

/// Makes a plugin of a backend: `export!(MyBackend::new)` in a crate of type `cdylib`.
///
/// What stands in the parentheses is a function or closure without arguments that makes the
/// backend; it is called once, when the plugin is first asked for something. A library has one.
///
/// Panics are caught at the border: the call fails, and the session answers nothing from then on.
/// So a plugin is not built with `panic = "abort"`.
#[macro_export]
macro_rules! export {
    ($new:expr $(,)?) => {
        #[cfg(panic = "abort")]
        compile_error!("a plugin must catch panics: take `panic = \"abort\"` out of its profile");

        /// The plugin.
        #[allow(non_upper_case_globals, reason = "the border's own name")]
        #[allow(unsafe_code, reason = "one symbol for the library's users")]
        #[unsafe(no_mangle)]
        pub static fidelio_plugin_v1: $crate::abi::PluginTable = $crate::plugin_table!($new);
    };
}

/// The table of a backend, for a program that has its plugin linked in.
#[macro_export]
macro_rules! plugin_table {
    ($new:expr $(,)?) => {{
        struct Plugin;
        static EXPORTED: $crate::export::Exported = $crate::export::Exported::new();
        impl $crate::export::Export for Plugin {
            fn exported() -> &'static $crate::export::Exported {
                &EXPORTED
            }
            fn make() -> ::std::boxed::Box<dyn $crate::backend::Backend> {
                $crate::export::boxed($new)
            }
        }
        $crate::export::table::<Plugin>()
    }};
}

/// What [`export!`](crate::export!) fills in.
pub trait Export {
    /// The plugin's only state.
    fn exported() -> &'static Exported;
    /// Makes the backend.
    fn make() -> Box<dyn Backend>;
}

/// The backend that `new` makes.
pub fn boxed<B: Backend + 'static>(new: impl FnOnce() -> B) -> Box<dyn Backend> {
    Box::new(new())
}

/// A plugin's backend and its sessions.
///
/// The host knows a session by a number, so that one that is closed, or never was, is told from one
/// that is open, whatever the host does.
pub struct Exported {
    backend: OnceLock<Box<dyn Backend>>,
    sessions: Mutex<Sessions>,
}

struct Sessions {
    next: usize,
    open: BTreeMap<usize, Arc<Mutex<Open>>>,
}

/// An open session.
struct Open {
    session: Box<dyn Session>,
    poisoned: bool,
}

impl std::fmt::Debug for Exported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exported").finish_non_exhaustive()
    }
}

impl Exported {
    /// A plugin that was asked for nothing yet.
    #[expect(clippy::new_without_default, reason = "only ever a static")]
    pub const fn new() -> Self {
        let sessions = Sessions { next: 1, open: BTreeMap::new() };
        Self { backend: OnceLock::new(), sessions: Mutex::new(sessions) }
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, Sessions> {
        // Nothing panics while it is held.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, session: Box<dyn Session>) -> *mut c_void {
        let mut sessions = self.sessions();
        let number = sessions.next;
        sessions.next += 1;
        sessions.open.insert(number, Arc::new(Mutex::new(Open { session, poisoned: false })));
        ptr::without_provenance_mut(number)
    }

    fn session(&self, handle: *mut c_void) -> Result<Arc<Mutex<Open>>, Failure> {
        let open = self.sessions().open.get(&handle.addr()).map(Arc::clone);
        open.ok_or_else(closed)
    }

    fn take(&self, handle: *mut c_void) -> Result<Arc<Mutex<Open>>, Failure> {
        self.sessions().open.remove(&handle.addr()).ok_or_else(closed)
    }
}

fn closed() -> Failure {
    Failure::new(abi::STATUS_CLOSED, "the session is closed")
}

fn backend<P: Export>() -> &'static dyn Backend {
    P::exported().backend.get_or_init(P::make).as_ref()
}

/// Why a call failed, on its way out.
enum Stop {
    Failed(Failure),
    Broken(Broken),
}

impl From<BackendError> for Stop {
    fn from(error: BackendError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// Runs a call that belongs to no session: panics end here.
///
/// # Safety
/// `error` is null or the host's, writable, and nobody else's until the call returns.
unsafe fn fenced(error: *mut abi::Error, work: impl FnOnce() -> Result<(), Stop>) -> Status {
    let failure = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => return abi::STATUS_OK,
        Ok(Err(Stop::Failed(failure))) => failure,
        Ok(Err(Stop::Broken(rule))) => Failure::new(abi::STATUS_MISUSE, rule),
        Err(panic) => Failure::new(abi::STATUS_PANICKED, words(panic)),
    };
    // SAFETY: the caller's promise.
    unsafe { report(failure, error) }
}

/// Runs a call on a session: panics end here, and so does the session.
///
/// # Safety
/// As [`fenced`].
unsafe fn on_session<P: Export>(
    handle: *mut c_void,
    error: *mut abi::Error,
    work: impl FnOnce(&mut dyn Session) -> Result<(), Stop>,
) -> Status {
    let guarded = || {
        let open = P::exported().session(handle).map_err(Stop::Failed)?;
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.poisoned {
            let text = "the session panicked before";
            return Err(Stop::Failed(Failure::new(abi::STATUS_POISONED, text)));
        }
        // Taken back below: whoever panics leaves it set.
        open.poisoned = true;
        let outcome = work(open.session.as_mut());
        open.poisoned = false;
        outcome
    };
    // SAFETY: the caller's promise.
    unsafe { fenced(error, guarded) }
}

/// # Safety
/// As [`fenced`].
unsafe fn report(failure: Failure, error: *mut abi::Error) -> Status {
    let Failure { status, text, first, second } = failure;
    // SAFETY: the caller's promise. A host that gives no place for an error gets the status only.
    if let Ok(place) = unsafe { filled(error, "the error") } {
        place.text = given(text.into_bytes());
        (place.first, place.second) = (first, second);
    }
    status
}

/// What a panic said.
fn words(panic: Box<dyn Any + Send>) -> String {
    let words = match panic.downcast_ref::<String>() {
        Some(words) => words.clone(),
        None => panic.downcast_ref::<&str>().map_or_else(String::new, |words| (*words).to_owned()),
    };
    // The payload may be anything, and dropping it may panic.
    std::mem::forget(panic);
    words
}

/// Bytes for the host, which gives them back to [`taken_back`].
fn given(bytes: Vec<u8>) -> abi::Bytes {
    if bytes.is_empty() {
        return crate::reading::NONE;
    }
    let bytes = Box::leak(bytes.into_boxed_slice());
    abi::Bytes { data: bytes.as_mut_ptr(), len: bytes.len() }
}

/// # Safety
/// The bytes are none, or of [`given`] and not given back before.
unsafe extern "C" fn taken_back(bytes: abi::Bytes) {
    if !bytes.data.is_null() {
        let slice = ptr::slice_from_raw_parts_mut(bytes.data, bytes.len);
        // SAFETY: `given` leaked a box of this address and length.
        drop(unsafe { Box::from_raw(slice) });
    }
}
