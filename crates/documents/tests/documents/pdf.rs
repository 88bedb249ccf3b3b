//! PDFs hold the words that pypdf reads from them (`make_pdfs.py`), page by page.

use std::collections::BTreeMap;

use fidelio_documents::{Document, DocumentError, Format, Unit};

const GUIDE: &[u8] = include_bytes!("fixtures/guide.pdf");
const PICTURES: &[u8] = include_bytes!("fixtures/pictures.pdf");

#[test]
fn pages_have_the_words_that_pypdf_reads() {
    let expected: BTreeMap<String, Vec<String>> =
        serde_json::from_str(include_str!("fixtures/pages.json")).unwrap();
    let document = Document::read(GUIDE, Format::Pdf).unwrap();
    assert_eq!(document.unit, Unit::Page);
    for (page, expected) in (1..).zip(&expected["guide"]) {
        let blocks = document.blocks.iter().filter(|block| block.at == page);
        let text: Vec<&str> = blocks.flat_map(|block| block.text.split_whitespace()).collect();
        assert_eq!(text, expected.split_whitespace().collect::<Vec<_>>(), "page {page}");
    }
    // The paragraphs of a page are blocks of their own.
    assert_eq!(document.blocks.iter().map(|block| block.at).collect::<Vec<_>>(), [1, 1, 2, 2]);
}

#[test]
fn pages_without_text_are_an_error() {
    let error = Document::read(PICTURES, Format::Pdf).unwrap_err();
    assert!(matches!(error, DocumentError::NoText { pages: 1 }), "{error}");
    assert!(error.hint().unwrap().contains("text recognition"));
}

#[test]
fn broken_files_are_errors() {
    let half = &GUIDE[..GUIDE.len() / 2];
    for bytes in [b"%PDF-1.4 and nothing".as_slice(), b"", half] {
        let error = Document::read(bytes, Format::Pdf).unwrap_err();
        assert!(
            matches!(error, DocumentError::Pdf { .. } | DocumentError::NoText { .. }),
            "{error}"
        );
    }
}

/// Whatever stands in a file, reading it ends with a document or an error.
#[test]
fn changed_bytes_neither_panic_nor_hang() {
    for at in (0..GUIDE.len()).step_by(97) {
        let mut bytes = GUIDE.to_vec();
        bytes[at] ^= 0x55;
        drop(Document::read(&bytes, Format::Pdf));
    }
}
