//! Documents as text with structure and places, and the passages that they are cut into.
//!
//! The main type is [`Document`]: [`Document::read`] makes one of a file's bytes, [`Cutting::cut`] makes
//! [`Passage`]s of it that no model has to cut again.
//!
//! ```
//! use fidelio_documents::{Cutting, Document, Format};
//!
//! let document = Document::read(b"# Tea\n\nBoil water.\n\n# Rice\n\nWash it.\n", Format::Markdown)?;
//! let words = |text: &str| Ok(text.split_whitespace().count());
//! let passages = Cutting { max_tokens: 100, overlap: 0 }.cut(&document, &words)?;
//! assert_eq!(passages.len(), 2);
//! assert_eq!(passages[1].text(), "Rice\nWash it.");
//! assert_eq!(passages[1].place.to_string(), "line 7");
//! # Ok::<(), fidelio_documents::DocumentError>(())
//! ```
//!
//! It deliberately opens no file, knows no tokenizer and no table, and finds nothing in what it cuts.

mod document;
mod format;

mod html;
mod markdown;
mod pdf;
mod plain;
mod restructured;

mod cut;
mod pieces;

mod error;

pub use cut::{Count, Cutting, Passage};
pub use document::{Block, Document, Kind, Place, Unit};
pub use error::DocumentError;
pub use format::Format;
pub use pdf::FOREIGN_FILE;
