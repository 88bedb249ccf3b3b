//! Checkpoints as named tensor views, with the tokenizer and chat template that belong to them.
//!
//! The main type is [`Checkpoint`]: a Hugging Face folder or a GGUF file, opened without copying
//! a weight. [`Source`] turns what a user writes as `base_model` into such a path, downloading
//! from the hub if need be.
//!
//! ```no_run
//! use fidelio_backend::Weights;
//! use fidelio_weights::Checkpoint;
//!
//! let checkpoint = Checkpoint::open("SmolLM2-135M-Instruct.Q4_1.gguf".as_ref())?;
//! assert_eq!(checkpoint.config()["model_type"], "llama");
//! for name in checkpoint.weights().names() {
//!     let tensor = checkpoint.weights().get(&name)?;
//!     eprintln!("{name}: {:?} {:?}", tensor.encoding, tensor.shape);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`peft`] reads and writes adapters, and [`TensorBuffer`] turns what an engine learnt into a file.
//! [`export_folder`] and [`gguf::GgufPlan`] write whole models for other programs.
//!
//! It deliberately runs no model, renders no template and reads no pickles.

mod buffer;
mod chat_template;
mod checkpoint;
mod error;
mod export;
mod folder;
pub mod gguf;
mod merge;
mod mmap;
mod overlay;
pub mod peft;
mod quantize;
mod replicated;
pub mod safetensors;
mod sentence;
mod source;
mod tensors;
mod tokenizer;

mod atomic;
mod json;

pub use atomic::Staged;
pub use buffer::TensorBuffer;
pub use chat_template::ChatTemplateSource;
pub use checkpoint::{Checkpoint, Description, FileFormat};
pub use error::{Fault, HubFault, WeightsError};
pub use export::{ExportOptions, FloatType, export_folder, export_folder_of, unwatched};
pub use merge::Merged;
pub use overlay::Overlay;
pub use sentence::SentenceSettings;
pub use source::{Alias, Origin, Progress, Resolved, Silent, Source, SourceOptions, aliases};
pub use tensors::Tensors;
pub use tokenizer::{Special, Specials, Tokenizer};
