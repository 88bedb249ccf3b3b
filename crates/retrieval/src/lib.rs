//! Finding what is shown in a prompt: rows as examples (drawn, by common words, by meaning, diverse,
//! balanced), and passages of documents.
//!
//! The main type is [`Chooser`]: it chooses examples for a query among [`Candidates`], by what a
//! [`Searcher`] finds. [`Random`] draws, [`Bm25`] counts common words, [`Semantic`] compares vectors,
//! [`Hybrid`] fuses what others find, [`Given`] takes them as they are.
//!
//! ```
//! use fidelio_retrieval::{Bm25, Candidate, Candidates, Chooser, Query, Selection};
//!
//! let of = |text: &str, label: &str| Candidate { text: text.into(), label: Some(label.into()) };
//! let candidates = Candidates::new([
//!     of("a lovely little film", "good"),
//!     of("the film drags on", "bad"),
//!     of("lovely food, lovely staff", "good"),
//! ])
//! .shared();
//! let searcher = Box::new(Bm25::new(candidates.clone()));
//! let chooser = Chooser::new(candidates, searcher, Selection { k: 2, ..Selection::default() })?;
//! // The first candidate asks for examples, and is none for itself. The most similar comes last.
//! let chosen = chooser.choose(&Query { text: "a lovely little film", itself: Some(0) })?;
//! assert_eq!(chosen.candidates().collect::<Vec<_>>(), [1, 2]);
//! # Ok::<(), fidelio_retrieval::RetrievalError>(())
//! ```
//!
//! With the feature `corpus` there is also [`Corpus`]: passages of documents on disk, found by common
//! words. Engines over vectors are further [`PassageSearcher`]s.
//!
//! It deliberately runs no model (whoever has one implements [`Embed`]), reads no file but a corpus,
//! knows no run file and no tokenizer, and writes no prompt.

mod candidates;
mod chooser;
mod searcher;

mod bm25;
#[cfg(feature = "corpus")]
mod corpus;
mod given;
mod hybrid;
mod random;
mod semantic;

mod error;
mod words;

pub use bm25::Bm25;
pub use candidates::{Candidate, Candidates, Duplicate};
pub use chooser::{Chooser, Chosen, Duplicates, Order, Picked, Selection};
#[cfg(feature = "corpus")]
pub use corpus::{Corpus, CorpusUpdate, Found, Passage, PassageSearcher, SourceRecord};
pub use error::RetrievalError;
pub use given::Given;
pub use hybrid::Hybrid;
pub use random::Random;
pub use searcher::{Hit, Query, Searcher};
pub use semantic::{Embed, EmbedFault, Semantic};
