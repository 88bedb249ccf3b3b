//! Reading what the other side sent, and not more than it says that it sent.

use crate::abi::{Bytes, Head, Text, VERSION};

/// A rule of the border that the other side broke, as a sentence.
pub(crate) type Broken = String;

/// The head of a struct of ours.
pub(crate) const fn head<T>() -> Head {
    Head { size: size_of::<T>() as u32, version: VERSION }
}

/// No bytes.
pub(crate) const NONE: Bytes = Bytes { data: std::ptr::null_mut(), len: 0 };

/// Text that is borrowed for a call.
pub(crate) fn lend(text: &str) -> Text {
    Text { data: text.as_ptr(), len: text.len() }
}

/// A struct that was sent.
///
/// # Safety
/// - `pointer` is null, or points to a struct that begins with a [`Head`] and is readable for as
///   many bytes as that says, as long as `'a`.
/// - `T` is `repr(C)`, begins with a [`Head`], and holds no type with invalid bits.
pub(crate) unsafe fn sent<'a, T>(pointer: *const T, what: &str) -> Result<&'a T, Broken> {
    // SAFETY: the caller's promise is the one that `check_head` asks for.
    unsafe { check_head(pointer, what)? };
    // SAFETY: not null, aligned, and at least as large as `T`, as was just checked; the rest is the
    // caller's promise.
    Ok(unsafe { &*pointer })
}

/// A struct that is to be filled.
///
/// # Safety
/// As [`sent`], writable too, and nobody else uses it as long as `'a`.
pub(crate) unsafe fn filled<'a, T>(pointer: *mut T, what: &str) -> Result<&'a mut T, Broken> {
    // SAFETY: the caller's promise is the one that `check_head` asks for.
    unsafe { check_head(pointer, what)? };
    // SAFETY: not null, aligned, and at least as large as `T`, as was just checked; the rest is the
    // caller's promise.
    Ok(unsafe { &mut *pointer })
}

/// # Safety
/// As [`sent`].
unsafe fn check_head<T>(pointer: *const T, what: &str) -> Result<(), Broken> {
    if pointer.is_null() {
        return Err(format!("{what} is a null pointer"));
    }
    if !pointer.is_aligned() {
        return Err(format!("{what} is not aligned"));
    }
    // SAFETY: not null and aligned; that a head stands there is the caller's promise.
    let head = unsafe { *pointer.cast::<Head>() };
    if head.version != VERSION {
        return Err(format!("{what} is of version {}, expected {VERSION}", head.version));
    }
    if (head.size as usize) < size_of::<T>() {
        return Err(format!("{what} has {} bytes, expected {}", head.size, size_of::<T>()));
    }
    Ok(())
}

/// A place for one plain value.
///
/// # Safety
/// `pointer` is null or points to a `T` that is writable and nobody else's as long as `'a`.
pub(crate) unsafe fn place<'a, T>(pointer: *mut T, what: &str) -> Result<&'a mut T, Broken> {
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(format!("{what} is null or not aligned"));
    }
    // SAFETY: not null and aligned; the rest is the caller's promise.
    Ok(unsafe { &mut *pointer })
}

/// Elements that were sent.
///
/// # Safety
/// `data` is null, or `len` elements are readable there as long as `'a`; `T` has no invalid bits.
pub(crate) unsafe fn slice<'a, T>(
    data: *const T,
    len: usize,
    what: &str,
) -> Result<&'a [T], Broken> {
    if len == 0 {
        return Ok(&[]);
    }
    check_elements(data, len, what)?;
    // SAFETY: not null, aligned, and no longer than memory; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(data, len) })
}

/// Elements that are to be filled.
///
/// # Safety
/// As [`slice`], writable too, and nobody else uses them as long as `'a`.
pub(crate) unsafe fn room<'a, T>(
    data: *mut T,
    len: usize,
    what: &str,
) -> Result<&'a mut [T], Broken> {
    if len == 0 {
        return Ok(&mut []);
    }
    check_elements(data, len, what)?;
    // SAFETY: not null, aligned, and no longer than memory; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts_mut(data, len) })
}

fn check_elements<T>(data: *const T, len: usize, what: &str) -> Result<(), Broken> {
    let bytes = len.checked_mul(size_of::<T>());
    if data.is_null() {
        return Err(format!("{what} has {len} elements at a null pointer"));
    }
    if !data.is_aligned() {
        return Err(format!("{what} is not aligned"));
    }
    match bytes {
        Some(bytes) if isize::try_from(bytes).is_ok() => Ok(()),
        _ => Err(format!("{what} cannot have {len} elements")),
    }
}

/// Text that was sent.
///
/// # Safety
/// As [`slice`] for the text's bytes.
pub(crate) unsafe fn text<'a>(text: Text, what: &str) -> Result<&'a str, Broken> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { slice(text.data, text.len, what)? };
    std::str::from_utf8(bytes).map_err(|_| format!("{what} is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::LossSum;

    #[test]
    fn what_is_too_short_or_of_another_version_is_refused() {
        let good = LossSum { head: head::<LossSum>(), sum: 1.0, weight: 2.0 };
        let short = LossSum { head: Head { size: 8, version: VERSION }, ..good };
        let newer = LossSum { head: Head { version: VERSION + 1, ..good.head }, ..good };
        // SAFETY: all three are whole structs that live until the end of the test.
        let read = |it: &LossSum| unsafe { sent(it, "the loss") }.map(|it| it.sum);
        assert_eq!(read(&good), Ok(1.0));
        assert_eq!(read(&short).unwrap_err(), "the loss has 8 bytes, expected 24");
        assert_eq!(read(&newer).unwrap_err(), "the loss is of version 2, expected 1");
        // SAFETY: a null pointer is refused before it is read.
        assert!(unsafe { sent::<LossSum>(std::ptr::null(), "the loss") }.is_err());
    }

    #[test]
    fn impossible_slices_are_refused() {
        let one = [1_u32];
        // SAFETY: lengths that do not fit memory and null pointers are refused before they are read.
        let read = |data, len| unsafe { slice::<u32>(data, len, "tokens") };
        assert!(read(one.as_ptr(), usize::MAX).is_err());
        assert!(read(std::ptr::null(), 1).is_err());
        assert_eq!(read(std::ptr::null(), 0), Ok(&[][..]));
    }
}
