//! Named tensors across the border: the host's weights, and the sink it saves into.
//!
//! Of each pair, the host's side stands first and the plugin's side follows.

use std::{ffi::c_void, panic::AssertUnwindSafe, panic::catch_unwind};
use std::{ptr, sync::Mutex, sync::PoisonError};

use bytes::Bytes;
use fidelio_backend::{BackendError, Encoding, TensorSink, TensorView, Weights};

use crate::{
    abi::{self, Status},
    reading::{Broken, head, lend, place, sent, slice, text},
};

/// Encodings and their numbers.
const ENCODINGS: [(Encoding, u32); 17] = [
    (Encoding::F32, abi::ENCODING_F32),
    (Encoding::F16, abi::ENCODING_F16),
    (Encoding::BF16, abi::ENCODING_BF16),
    (Encoding::I8, abi::ENCODING_I8),
    (Encoding::I32, abi::ENCODING_I32),
    (Encoding::I64, abi::ENCODING_I64),
    (Encoding::U8, abi::ENCODING_U8),
    (Encoding::Q4_0, abi::ENCODING_Q4_0),
    (Encoding::Q4_1, abi::ENCODING_Q4_1),
    (Encoding::Q5_0, abi::ENCODING_Q5_0),
    (Encoding::Q5_1, abi::ENCODING_Q5_1),
    (Encoding::Q8_0, abi::ENCODING_Q8_0),
    (Encoding::Q2_K, abi::ENCODING_Q2_K),
    (Encoding::Q3_K, abi::ENCODING_Q3_K),
    (Encoding::Q4_K, abi::ENCODING_Q4_K),
    (Encoding::Q5_K, abi::ENCODING_Q5_K),
    (Encoding::Q6_K, abi::ENCODING_Q6_K),
];

fn encoding_number(encoding: Encoding) -> Option<u32> {
    ENCODINGS.iter().find(|(it, _)| *it == encoding).map(|(_, number)| *number)
}

/// The shape and encoding of a tensor that was sent, and its bytes.
///
/// # Safety
/// The tensor's arrays are readable as long as `'a`.
unsafe fn contents<'a>(
    tensor: &abi::Tensor,
    name: &str,
) -> Result<(Encoding, Vec<usize>, &'a [u8]), Broken> {
    // SAFETY: the caller's promise, for both arrays.
    let shape = unsafe { slice(tensor.shape, tensor.dimensions as usize, "a tensor's shape")? };
    // SAFETY: as above.
    let bytes = unsafe { slice(tensor.data, tensor.len, "a tensor's bytes")? };
    let known = ENCODINGS.iter().find(|(_, number)| *number == tensor.encoding);
    let Some((encoding, _)) = known else {
        return Err(format!("tensor `{name}` has the unknown encoding {}", tensor.encoding));
    };
    let shape: Vec<usize> = shape.iter().map(|&size| size as usize).collect();
    let elements = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    match elements.and_then(|elements| encoding.bytes_of(elements)) {
        Some(expected) if expected == bytes.len() => Ok((*encoding, shape, bytes)),
        _ => Err(format!(
            "tensor `{name}` has {} bytes, which is not what {shape:?} in {encoding:?} takes",
            bytes.len()
        )),
    }
}

// Weights: the host lends, the plugin borrows.

/// Weights of the host's while a call lasts.
pub(crate) struct LentWeights<'a> {
    weights: &'a dyn Weights,
    names: Vec<String>,
    /// The last tensor that could not be had, which the plugin knows by its name only.
    failed: Mutex<Option<(String, BackendError)>>,
}

/// What keeps a lent tensor alive.
struct Owner {
    shape: Vec<u64>,
    bytes: Bytes,
}

impl<'a> LentWeights<'a> {
    pub(crate) fn new(weights: &'a dyn Weights) -> Self {
        Self { weights, names: weights.names(), failed: Mutex::new(None) }
    }

    /// What is sent; it borrows from `self`.
    pub(crate) fn table(&self) -> abi::Weights {
        abi::Weights {
            head: head::<abi::Weights>(),
            context: ptr::from_ref(self).cast(),
            count: self.names.len(),
            name: Some(lent_name),
            get: Some(lent_get),
            forget: Some(lent_forget),
            release: Some(lent_release),
        }
    }

    /// The host's own error, where the plugin only reports that it did not get a tensor.
    pub(crate) fn explain(self, error: BackendError) -> BackendError {
        let failed = self.failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        match (error, failed) {
            (BackendError::ReadTensor { name, .. }, Some((failed, cause))) if name == failed => {
                cause
            }
            (error, _) => error,
        }
    }
}

/// # Safety
/// `context` is the address of [`LentWeights`] whose call has not returned yet.
unsafe fn lent<'a>(context: *const c_void) -> &'a LentWeights<'a> {
    // SAFETY: the caller's promise.
    unsafe { &*context.cast::<LentWeights<'a>>() }
}

/// Runs what a plugin calls in the host: no panic leaves it.
fn fenced(work: impl FnOnce() -> Result<(), Broken>) -> Status {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => abi::STATUS_OK,
        Ok(Err(_)) => abi::STATUS_FAILED,
        Err(_) => abi::STATUS_PANICKED,
    }
}

unsafe extern "C" fn lent_name(
    context: *const c_void,
    index: usize,
    out: *mut abi::Text,
) -> Status {
    fenced(|| {
        // SAFETY: the plugin got the context in this table and calls while its own call lasts.
        let lent = unsafe { lent(context) };
        // SAFETY: the plugin gives a place of its own.
        let out = unsafe { place(out, "the name")? };
        *out = lend(lent.names.get(index).ok_or("there is no such tensor")?);
        Ok(())
    })
}

unsafe extern "C" fn lent_get(
    context: *const c_void,
    name: abi::Text,
    out: *mut abi::Tensor,
) -> Status {
    fenced(|| {
        // SAFETY: the plugin got the context in this table and calls while its own call lasts.
        let lent = unsafe { lent(context) };
        // SAFETY: the plugin gives text of its own.
        let name = unsafe { text(name, "the name")? };
        // SAFETY: the plugin gives a place of its own.
        let out = unsafe { place(out, "the tensor")? };
        let view = lent.weights.get(name).map_err(|error| {
            let mut failed = lent.failed.lock().unwrap_or_else(PoisonError::into_inner);
            *failed = Some((name.to_owned(), error));
            "the tensor cannot be read"
        })?;
        let encoding = encoding_number(view.encoding).ok_or("its encoding has no number")?;
        let shape = view.shape.iter().map(|&size| size as u64).collect();
        let owner = Box::new(Owner { shape, bytes: view.bytes });
        *out = abi::Tensor {
            head: head::<abi::Tensor>(),
            encoding,
            dimensions: owner.shape.len() as u32,
            shape: owner.shape.as_ptr(),
            data: owner.bytes.as_ptr(),
            len: owner.bytes.len(),
            owner: Box::into_raw(owner).cast(),
        };
        Ok(())
    })
}

unsafe extern "C" fn lent_forget(context: *const c_void, name: abi::Text) {
    fenced(|| {
        // SAFETY: the plugin got the context in this table and calls while its own call lasts.
        let lent = unsafe { lent(context) };
        // SAFETY: the plugin gives text of its own.
        lent.weights.forget(unsafe { text(name, "the name")? });
        Ok(())
    });
}

unsafe extern "C" fn lent_release(owner: *mut c_void) {
    fenced(|| {
        if !owner.is_null() {
            // SAFETY: `lent_get` made it of a box, and the plugin gives it back once.
            drop(unsafe { Box::from_raw(owner.cast::<Owner>()) });
        }
        Ok(())
    });
}

/// The host's weights, as a plugin sees them.
pub(crate) struct BorrowedWeights<'a> {
    table: &'a abi::Weights,
    names: Vec<String>,
}

/// A tensor of the host's, given back when nobody uses it any more.
struct Borrowed {
    data: *const u8,
    len: usize,
    owner: *mut c_void,
    release: unsafe extern "C" fn(*mut c_void),
}

// SAFETY: the bytes are read only, and the border promises that `release` may be called on any
// thread.
unsafe impl Send for Borrowed {}

impl AsRef<[u8]> for Borrowed {
    fn as_ref(&self) -> &[u8] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: checked when the tensor came, and valid until it is released.
        unsafe { std::slice::from_raw_parts(self.data, self.len) }
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        // SAFETY: the owner came with the tensor and is given back here only.
        unsafe { (self.release)(self.owner) }
    }
}

// SAFETY: the border promises that the host's functions may be called from any thread.
unsafe impl Send for BorrowedWeights<'_> {}
// SAFETY: and at the same time.
unsafe impl Sync for BorrowedWeights<'_> {}

impl BorrowedWeights<'_> {
    /// # Safety
    /// `table` is null or the host's, which answers as long as `'a`.
    pub(crate) unsafe fn new(table: *const abi::Weights) -> Result<Self, Broken> {
        // SAFETY: the caller's promise.
        let table = unsafe { sent(table, "the weights")? };
        let mut names = Vec::new();
        let name_of = table.name.ok_or("the weights have no `name`")?;
        for index in 0..table.count {
            let mut name = lend("");
            // SAFETY: the host's function, its context, and a place of ours.
            let status = unsafe { name_of(table.context, index, &raw mut name) };
            if status != abi::STATUS_OK {
                return Err(format!("the weights do not name tensor {index}"));
            }
            // SAFETY: the host's text lives as long as the weights.
            names.push(unsafe { text(name, "a tensor's name")? }.to_owned());
        }
        Ok(Self { table, names })
    }

    fn fetch(&self, name: &str) -> Result<TensorView, Broken> {
        let get = self.table.get.ok_or("the weights have no `get`")?;
        let release = self.table.release.ok_or("the weights have no `release`")?;
        let mut tensor = abi::Tensor {
            head: head::<abi::Tensor>(),
            encoding: u32::MAX,
            dimensions: 0,
            shape: ptr::null(),
            data: ptr::null(),
            len: 0,
            owner: ptr::null_mut(),
        };
        // SAFETY: the host's function, its context, text and a place of ours.
        let status = unsafe { get(self.table.context, lend(name), &raw mut tensor) };
        if status != abi::STATUS_OK {
            return Err("the host does not have it or cannot read it".to_owned());
        }
        let held = Borrowed { data: tensor.data, len: tensor.len, owner: tensor.owner, release };
        // SAFETY: the host's tensor, which `held` keeps.
        let (encoding, shape, _) = unsafe { contents(&tensor, name)? };
        Ok(TensorView { encoding, shape, bytes: Bytes::from_owner(held) })
    }
}

impl Weights for BorrowedWeights<'_> {
    fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    fn get(&self, name: &str) -> Result<TensorView, BackendError> {
        let failed = |reason: Broken| BackendError::ReadTensor {
            name: name.to_owned(),
            source: reason.into(),
        };
        self.fetch(name).map_err(failed)
    }

    fn forget(&self, name: &str) {
        if let Some(forget) = self.table.forget {
            // SAFETY: the host's function, its context, and text of ours.
            unsafe { forget(self.table.context, lend(name)) };
        }
    }
}

// Sinks: the host lends, the plugin fills.

/// A sink of the host's while a call lasts.
pub(crate) struct LentSink<'a> {
    sink: &'a mut dyn TensorSink,
    failed: Option<BackendError>,
}

impl<'a> LentSink<'a> {
    pub(crate) fn new(sink: &'a mut dyn TensorSink) -> Self {
        Self { sink, failed: None }
    }

    /// What is sent; it borrows from `self`.
    pub(crate) fn table(&mut self) -> abi::Sink {
        abi::Sink {
            head: head::<abi::Sink>(),
            context: ptr::from_mut(self).cast(),
            put: Some(lent_put),
        }
    }

    /// The error of the sink itself, if it failed.
    pub(crate) fn failed(self) -> Option<BackendError> {
        self.failed
    }
}

unsafe extern "C" fn lent_put(
    context: *mut c_void,
    name: abi::Text,
    tensor: *const abi::Tensor,
) -> Status {
    fenced(|| {
        // SAFETY: the plugin got the context in this table, calls while its own call lasts, and
        // calls on one session never overlap.
        let lent = unsafe { &mut *context.cast::<LentSink<'_>>() };
        // SAFETY: the plugin gives text of its own.
        let name = unsafe { text(name, "the name")? };
        // SAFETY: the plugin gives a tensor of its own.
        let tensor = unsafe { sent(tensor, "the tensor")? };
        // SAFETY: as above.
        let read = unsafe { contents(tensor, name) };
        let put = read.map_err(BackendError::Engine).and_then(|(encoding, shape, bytes)| {
            let bytes = Bytes::copy_from_slice(bytes);
            lent.sink.put(name, TensorView { encoding, shape, bytes })
        });
        put.map_err(|error| {
            lent.failed = Some(error);
            "the sink failed".to_owned()
        })
    })
}

/// The host's sink, as a plugin sees it.
pub(crate) struct BorrowedSink<'a>(&'a abi::Sink);

impl BorrowedSink<'_> {
    /// # Safety
    /// `table` is null or the host's, which answers as long as `'_`.
    pub(crate) unsafe fn new(table: *const abi::Sink) -> Result<Self, Broken> {
        // SAFETY: the caller's promise.
        Ok(Self(unsafe { sent(table, "the sink")? }))
    }
}

impl TensorSink for BorrowedSink<'_> {
    fn put(&mut self, name: &str, tensor: TensorView) -> Result<(), BackendError> {
        let broken = |what: &str| BackendError::Engine(format!("tensor `{name}`: {what}"));
        let put = self.0.put.ok_or_else(|| broken("the sink has no `put`"))?;
        let shape: Vec<u64> = tensor.shape.iter().map(|&size| size as u64).collect();
        let sent = abi::Tensor {
            head: head::<abi::Tensor>(),
            encoding: encoding_number(tensor.encoding)
                .ok_or_else(|| broken("its encoding has no number"))?,
            dimensions: shape.len() as u32,
            shape: shape.as_ptr(),
            data: tensor.bytes.as_ptr(),
            len: tensor.bytes.len(),
            owner: ptr::null_mut(),
        };
        // SAFETY: the host's function, its context, and a tensor that lives longer than the call.
        match unsafe { put(self.0.context, lend(name), &raw const sent) } {
            abi::STATUS_OK => Ok(()),
            _ => Err(broken("the host could not write it")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One(TensorView);

    impl Weights for One {
        fn names(&self) -> Vec<String> {
            vec!["a".to_owned(), "b".to_owned()]
        }

        fn get(&self, name: &str) -> Result<TensorView, BackendError> {
            if name == "a" { Ok(self.0.clone()) } else { Err(BackendError::Engine("disk".into())) }
        }
    }

    impl TensorSink for One {
        fn put(&mut self, name: &str, tensor: TensorView) -> Result<(), BackendError> {
            assert_eq!(name, "a");
            self.0 = tensor;
            Ok(())
        }
    }

    fn tensor() -> TensorView {
        let bytes = Bytes::from_owner((0..24).collect::<Vec<u8>>());
        TensorView { encoding: Encoding::BF16, shape: vec![3, 4], bytes }
    }

    #[test]
    fn weights_come_through_uncopied_and_outlive_the_call() {
        let host = One(tensor());
        let lent = LentWeights::new(&host);
        let table = lent.table();
        // SAFETY: the table lives until the end of the test.
        let borrowed = unsafe { BorrowedWeights::new(&raw const table) }.unwrap();
        assert_eq!(borrowed.names(), ["a", "b"]);
        let view = borrowed.get("a").unwrap();
        assert_eq!(view.bytes.as_ptr(), host.0.bytes.as_ptr(), "not a copy");
        let error = borrowed.get("b").unwrap_err();
        drop(borrowed);
        assert_eq!(lent.explain(error).to_string(), "disk", "the host's own error");
        drop(host);
        assert_eq!(view, tensor());
    }

    #[test]
    fn tensors_are_saved_through_the_border() {
        let mut kept = One(TensorView { shape: vec![0], bytes: Bytes::new(), ..tensor() });
        let mut lent = LentSink::new(&mut kept);
        let table = lent.table();
        // SAFETY: the table lives until the end of the test.
        let mut borrowed = unsafe { BorrowedSink::new(&raw const table) }.unwrap();
        borrowed.put("a", tensor()).unwrap();
        let short = TensorView { shape: vec![3, 5], ..tensor() };
        assert!(borrowed.put("a", short).is_err());
        let error = lent.failed().unwrap().to_string();
        assert!(error.contains("24 bytes, which is not what [3, 5] in BF16 takes"), "{error}");
        assert_eq!(kept.0, tensor());
    }
}
