//! Text to tokens: templates, chat templates, token budget, what is learnt.
//!
//! [`Renderer`] is the one road from a row to its tokens. It stands on a [`Layout`] (what the prompt says),
//! a [`ChatTemplate`] (how the model was taught to be spoken to), a [`Vocabulary`] and [`Rules`].
//!
//! ```
//! use fidelio_prompting::{Layout, LayoutSpec, Row};
//! let spec = LayoutSpec {
//!     template: Some("{__task__}\n\n{subject}: {body}\n".to_owned()),
//!     task: Some("Is this mail spam?".to_owned()),
//!     input: "body".to_owned(),
//!     ..LayoutSpec::default()
//! };
//! let columns = ["subject", "body", "label"].map(String::from);
//! let layout = Layout::new(&spec, &columns).unwrap();
//! let cells = serde_json::json!({"subject": "Hi", "body": "Lunch?", "label": "ham"});
//! let row = Row::new(0, cells.as_object().unwrap());
//! assert_eq!(layout.render(&row)?, "Is this mail spam?\n\nHi: Lunch?\n");
//! # Ok::<(), fidelio_prompting::PromptError>(())
//! ```
//!
//! It does not read files, download tokenizers, choose examples or run models.

mod rendered;
mod renderer;
mod rules;

mod examples;
mod format;
mod layout;
mod template;
mod tools;

mod chat;
mod conversation;
mod marks;

mod error;
mod hash;
mod nearest;
mod turn_problem;
mod vocabulary;

pub use chat::{ChatTemplate, Clock, SpecialTexts};
pub use conversation::{Conversation, Message};
pub use error::PromptError;
pub use examples::{Example, ExamplesShown, PASSAGE, SOURCE, ShowExamples};
pub use format::FormatSpec;
pub use layout::{Layout, LayoutSpec, Row};
pub use rendered::{Cut, ExplainedToken, Explanation, Ledger, Outcome, Purpose, Rendered};
pub use renderer::{Choice, Fingerprint, Question, Renderer, Source};
pub use rules::{
    Bos, Boundary, Budget, ChatUse, ExampleBudget, Overflow, Rules, Side, SpecialTokens, Turns,
};
pub use template::{Field, SPECIALS, Template, TemplateError, TemplateProblem};
pub use tools::{Said, ToolCall, ToolFormat, ToolListener};
pub use turn_problem::TurnProblem;
pub use vocabulary::Vocabulary;
