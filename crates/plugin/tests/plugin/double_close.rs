//! A host that closes twice, or uses what it closed, gets an error and no more than that.

use std::{ffi::c_void, ptr};

use fidelio_backend::FakeBackend;
use fidelio_plugin::{
    abi::{self, Head, VERSION},
    plugin_table,
};

static TABLE: abi::PluginTable = plugin_table!(FakeBackend::default);

fn head<T>() -> Head {
    Head { size: size_of::<T>() as u32, version: VERSION }
}

/// Makes a call and returns its status and text.
fn call(call: impl FnOnce(*mut abi::Error) -> abi::Status) -> (abi::Status, String) {
    let text = abi::Bytes { data: ptr::null_mut(), len: 0 };
    let mut error = abi::Error { head: head::<abi::Error>(), text, first: 0, second: 0 };
    let status = call(&raw mut error);
    if error.text.data.is_null() {
        return (status, String::new());
    }
    // SAFETY: the plugin says that so many bytes stand there.
    let bytes = unsafe { std::slice::from_raw_parts(error.text.data, error.text.len) }.to_vec();
    // SAFETY: its own bytes, given back once.
    unsafe { TABLE.free.unwrap()(error.text) };
    (status, String::from_utf8(bytes).unwrap())
}

fn open() -> *mut c_void {
    let spec = r#"{"config": {"vocab_size": 40, "max_position_embeddings": 64}}"#;
    let weights = abi::Weights {
        head: head::<abi::Weights>(),
        context: ptr::null(),
        count: 0,
        name: Some(no_name),
        get: None,
        forget: None,
        release: None,
    };
    let args = abi::OpenArgs {
        head: head::<abi::OpenArgs>(),
        device: 0,
        spec: abi::Text { data: spec.as_ptr(), len: spec.len() },
        weights: &raw const weights,
    };
    let mut session = ptr::null_mut();
    // SAFETY: arguments and place live until the call returns.
    let open = |error| unsafe { TABLE.open.unwrap()(&raw const args, &raw mut session, error) };
    assert_eq!(call(open), (abi::STATUS_OK, String::new()));
    session
}

unsafe extern "C" fn no_name(_: *const c_void, _: usize, _: *mut abi::Text) -> abi::Status {
    abi::STATUS_FAILED
}

fn close(session: *mut c_void) -> (abi::Status, String) {
    // SAFETY: a Rust plugin knows its sessions by number and follows no pointer.
    call(|error| unsafe { TABLE.close.unwrap()(session, error) })
}

#[test]
fn closing_twice_is_an_error_and_nothing_else() {
    let (session, other) = (open(), open());
    assert_eq!(close(session).0, abi::STATUS_OK);
    let closed = (abi::STATUS_CLOSED, "the session is closed".to_owned());
    assert_eq!(close(session), closed);
    let mut row = 0;
    // SAFETY: as in `close`.
    let fork = call(|error| unsafe { TABLE.fork.unwrap()(session, 0, &raw mut row, error) });
    assert_eq!(fork, closed);
    assert_eq!(close(ptr::null_mut()), closed);
    assert_eq!(close(other).0, abi::STATUS_OK, "the other session lives on");
}

#[test]
fn arguments_that_are_missing_or_short_are_refused() {
    let session = open();
    // SAFETY: null is refused.
    let call_with = |args| call(|error| unsafe { TABLE.extend.unwrap()(session, args, error) });
    let (status, text) = call_with(ptr::null());
    assert_eq!((status, text.as_str()), (abi::STATUS_MISUSE, "the arguments is a null pointer"));
    let short = abi::ExtendArgs {
        head: Head { size: 16, version: VERSION },
        steps: ptr::null(),
        step_count: 0,
        rows: ptr::null_mut(),
        positions: ptr::null_mut(),
        position_count: 0,
    };
    let (status, text) = call_with(&raw const short);
    assert_eq!(status, abi::STATUS_MISUSE);
    assert!(text.contains("has 16 bytes, expected"), "{text}");
    assert_eq!(close(session).0, abi::STATUS_OK);
}
