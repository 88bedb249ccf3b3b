//! Fidelio as a library: load a run file, resolve it into a plan, predict, evaluate, generate.
//!
//! The main type is [`Job`]: a run file with its model opened and its rows rendered, ready to run.
//!
//! ```no_run
//! use fidelio::{DataArgs, Job, Machine, Model, RunFile, Silent, weights};
//!
//! # fn main() -> Result<(), fidelio::Error> {
//! let machine = Machine::of_process(&[])?;
//! let run = RunFile::load("run.yaml".as_ref(), &[])?;
//! let data = DataArgs::of("reviews.csv");
//! let model = Model::find(&machine, &run.config().base_model, &weights::Silent)?;
//! let mut job = Job::prepare_to_measure(&machine, &run, model, &data)?;
//! let evaluation = job.evaluate(&mut Silent)?;
//! eprintln!("{}", evaluation.report);
//! # Ok(())
//! # }
//! ```
//!
//! The crates below are re-exported as modules. The facade adds no second way to do what they do;
//! it deliberately prints nothing and knows no command line.

mod adapters;
mod advise;
mod answer_form;
mod audit;
mod by_meaning;
mod choose;
mod compare;
mod corpus;
mod cost;
mod dataset;
mod drift;
mod embed_table;
mod embedder;
mod error;
mod evaluate;
mod examples;
mod export;
mod folds;
mod generator;
mod hashes;
mod init;
mod job;
mod learning;
mod machine;
mod memory;
mod model;
mod observe;
mod page;
mod passages;
mod pictures;
mod plan;
mod predict;
mod probes;
mod provenance;
mod report;
mod results;
mod row_answerer;
mod run_file;
mod runs;
mod seen;
mod serving;
mod survey;
mod train;
mod validation;
mod vector_cache;
mod whole_documents;

pub use fidelio_backend as backend;
pub use fidelio_charts as charts;
pub use fidelio_config as config;
pub use fidelio_data as data;
pub use fidelio_documents as documents;
pub use fidelio_eval as eval;
pub use fidelio_generate as generate;
#[cfg(feature = "burn")]
pub use fidelio_model as burn;
pub use fidelio_plugin as plugin;
pub use fidelio_probe as probe;
pub use fidelio_prompting as prompting;
pub use fidelio_retrieval as retrieval;
pub use fidelio_trainer as trainer;
pub use fidelio_weights as weights;

pub use adapters::{AdapterMerge, MergeSource, adapter_folder};
pub use advise::{
    Advice, AdviseOptions, Arm, ArmCost, ArmReport, Confirmed, Fork, LabelsInside, Leaks, LeftOut,
    MoreLabels, RowScore, Stopped, advise,
};
pub use answer_form::AnswerForm;
pub use audit::{Audit, Finding};
pub use compare::{AnswersCompared, Difference, FigureCompared, RunComparison, Which};
pub use corpus::{
    CorpusCard, CorpusPlan, Indexed, ShownPassage, Skipped, Staleness, TokensBy, search_corpus,
    update_corpus,
};
pub use cost::{Cost, Duration, Ledger, Remedy};
pub use dataset::{DataArgs, Fold, SplitChoice};
pub use embed_table::{EmbeddedTable, embed_table};
pub use embedder::{
    EmbedOptions, EmbedPlan, EmbedUsage, Embedded, Embedder, LongTexts, TextAt, TextFault,
    TextProblem,
};
pub use error::{Error, RowError, RowProblem};
pub use evaluate::Evaluation;
pub use examples::{ExamplePlan, ExampleSurvey};
pub use export::{Export, ExportPlan, Target, TensorGroup};
pub use folds::{Across, Spread};
pub use generator::{Generated, Generator};
pub use hashes::FileHash;
pub use init::{Draft, draft};
pub use job::Job;
pub use machine::{Device, Machine};
pub use memory::peak_memory;
pub use model::{Model, ModelCard, Opening};
pub use observe::{Event, Flow, Observer, Silent, Stage};
pub use pictures::{Picture, PictureFormat, PictureKind, pictures};
pub use plan::Plan;
pub use predict::{Prediction, Predictions, Usage};
pub use probes::{
    AnyRunFile, Encoders, FittedProbe, ProbeAnswer, ProbeEvaluation, ProbeFile, ProbePredictions,
    ProbeRows, ProbeSummary, ProbeTraining, RegularizedBy,
};
pub use provenance::{Hashed, Named, Provenance};
pub use report::report;
pub use results::{Results, next_run_folder};
pub use row_answerer::RowAnswerer;
pub use run_file::RunFile;
pub use runs::{
    Answer, Answers, Curves, EvaluationLine, Measured, RunRecord, StepLine, TrainingRecord,
};
pub use seen::{Asked, LogprobDifference, OtherToken, Parity, Seen};
pub use serving::{ServedAdapter, ServedBase, Serving};
pub use survey::{Lengths, Survey};
pub use train::{RowCounts, Training, TrainingEvent, TrainingPlan, merged_folder, model_folder};
