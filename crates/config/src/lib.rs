//! Run files: parse with positions, check, fill defaults; JSON Schema and reference pages.
//!
//! A run file is YAML with the keys of Ludwig's `model_type: llm`; [`load_any`] reads those of heads
//! on vectors (`model_type: ecd`) too. [`load`] reads one and either
//! returns a [`Document`], whose [`RunConfig`] has every default filled, or [`Problems`]: all of
//! them at once, each with its line, what is wrong, why, and what was probably meant. No key is
//! ever ignored.
//!
//! ```
//! let text = "
//! model_type: llm
//! base_model: HuggingFaceTB/SmolLM2-135M-Instruct
//! input_features: [{name: question, type: text}]
//! output_features: [{name: answer, type: text}]
//! generation: {max_new_tokens: 64}
//! ";
//! let document = fidelio_config::parse("run.yaml", text, &[])?;
//! assert_eq!(document.config.max_new_tokens(2048), 64);
//!
//! let wrong = text.replace("max_new_tokens", "max_tokens");
//! let problems = fidelio_config::parse("run.yaml", &wrong, &[]).unwrap_err();
//! assert!(problems.to_string().contains("did you mean `max_new_tokens`?"));
//! # Ok::<(), fidelio_config::Problems>(())
//! ```
//!
//! The keys are data ([`catalogue`]); checks, defaults, [`json_schema`] and [`reference_page`] are
//! derived from them. [`Settings`] are the machine's: where the cache is, which device is usual.
//!
//! This crate opens no model and no table: what needs those is decided in `fidelio`, which reports
//! its own problems through [`Document::problem`].

pub mod catalogue;
mod check;
mod document;
mod overrides;
mod problem;
mod reference;
mod render;
mod rules;
mod run;
mod schema;
mod settings;
mod settle;
mod source;
mod suggest;
mod view;
mod yaml;

pub use check::Place;
pub use document::{AnyDocument, Document, load, load_any, parse, parse_any};
pub use overrides::Override;
pub use problem::{Kind, Label, Problem, Problems};
pub use reference::{built_paths, reference_page};
pub use run::*;
pub use schema::json_schema;
pub use settings::{Origin, Setting, Settings, SettingsError, Surroundings};
pub use source::{Source, Span};
pub use view::View;
