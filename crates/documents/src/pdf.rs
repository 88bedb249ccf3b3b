//! PDF: the text of each page.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use crate::{Document, DocumentError, Unit, plain};

/// Stack for documents that nest deeply.
const STACK: usize = 64 << 20;
/// The name of the thread that reads PDFs: a panic on it is a mistake of the file and becomes an error,
/// so a program's panic hook may pass over it.
pub const FOREIGN_FILE: &str = "foreign-file";

/// The pages of a file.
pub(crate) fn read(bytes: &[u8]) -> Result<Document, DocumentError> {
    let pages = pages(bytes)?;
    let blocks: Vec<_> =
        (1..).zip(&pages).flat_map(|(at, page)| plain::blocks(page, at, false)).collect();
    if blocks.is_empty() {
        return Err(DocumentError::NoText { pages: pages.len() });
    }
    Ok(Document { blocks, unit: Unit::Page })
}

/// The crate that reads panics on files that are not as it expects.
fn pages(bytes: &[u8]) -> Result<Vec<String>, DocumentError> {
    let wrong = |reason: String| DocumentError::Pdf { reason };
    let read =
        || catch_unwind(AssertUnwindSafe(|| pdf_extract::extract_text_from_mem_by_pages(bytes)));
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(FOREIGN_FILE.to_owned()).stack_size(STACK);
        let thread = thread.spawn_scoped(scope, read).map_err(|error| wrong(error.to_string()))?;
        match thread.join() {
            Ok(Ok(Ok(pages))) => Ok(pages),
            Ok(Ok(Err(error))) => Err(wrong(error.to_string())),
            Ok(Err(panic)) | Err(panic) => Err(wrong(said(panic.as_ref()))),
        }
    })
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    let text = text.as_deref().and_then(|text| text.lines().next());
    text.unwrap_or("it is broken").to_owned()
}
