//! The training loop: accumulate, update, evaluate, checkpoint, resume.
//!
//! The main type is [`Trainer`]: rows and a [`TrainPlan`] go in, a session that has learnt comes
//! out. A run that was interrupted goes on from its last checkpoint as if nothing had happened,
//! to the bit where the engine is deterministic to the bit.
//!
//! ```
//! use fidelio_backend::{BigramSession, FakeLimits};
//! use fidelio_trainer::{Ended, Example, Silent, TrainPlan, Trainer};
//!
//! let plan: TrainPlan = serde_json::from_str(r#"{
//!     "updates": 30, "batch_size": 1, "gradient_accumulation_steps": 2,
//!     "shuffle": true, "seed": 7, "learning_rate": 4.0,
//!     "schedule": { "warmup_updates": 0, "decay": { "type": "linear" } }, "plateau": null,
//!     "learn": { "trains": "all", "seed": 7, "optimizer": { "type": "sgd", "momentum": 0.0,
//!         "dampening": 0.0, "weight_decay": 0.0, "nesterov": false } },
//!     "share_beginnings": 1, "evaluate_every": 10, "checkpoint_every": 10, "early_stop": null,
//!     "validation_metric": "loss", "goal": "minimize", "model_soup": null
//! }"#)?;
//! let rows = [
//!     Example { ids: vec![1, 2, 3], learn: vec![false, false, true] },
//!     Example { ids: vec![1, 4, 5], learn: vec![false, false, true] },
//! ];
//! let (mut session, mut silent) = (BigramSession::new(FakeLimits::default()), Silent);
//! let trainer = Trainer::new(plan, &mut session, &rows, None, None, &mut silent)?;
//! assert_eq!(trainer.run()?.ended, Ended::Complete);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It deliberately knows no tensor, no tokenizer, no run file and no terminal.

mod batches;
mod checkpoint;
mod error;
mod evaluate;
mod event;
mod example;
mod finish;
mod metrics_file;
mod order;
mod plan;
mod plateau;
mod schedule;
mod soup;
mod state;
mod tensorboard;
mod trainer;
mod workload;

mod digest;
mod folder;
mod tensors;

pub use checkpoint::Checkpoints;
pub use error::{CheckpointError, Flaw, TrainError};
pub use evaluate::{Evaluate, HeldOut, Measured};
pub use event::{Evaluated, Event, Flow, Observer, Silent, Step};
pub use example::{Example, Unfit};
pub use finish::{Ended, HandedBack, Summary};
pub use metrics_file::MetricsFile;
pub use order::{Cursor, Order};
pub use plan::{Goal, Soup, SoupKind, TrainPlan};
pub use plateau::{Plateau, PlateauState, Watch};
pub use schedule::{Decay, Schedule, warmup_updates};
pub use state::{Candidate, Totals, TrainState};
pub use tensorboard::TensorBoard;
pub use trainer::Trainer;
pub use workload::Workload;
