//! What can go wrong between a run file and its results.

use std::{borrow::Cow, path::PathBuf};

use fidelio_backend::BackendError;
use fidelio_config::{Problems, SettingsError};
use fidelio_data::{DataError, Place};
use fidelio_documents::DocumentError;
use fidelio_eval::EvalError;
use fidelio_generate::GenerateError;
use fidelio_plugin::PluginError;
use fidelio_prompting::PromptError;
use fidelio_retrieval::RetrievalError;
use fidelio_weights::WeightsError;

use crate::{Named, TextFault, TextProblem};

/// Why a run cannot be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Mistakes in the run file, all of them.
    #[error("the run file has {} problem(s)", .0.iter().count())]
    RunFile(Problems),
    /// Mistakes in the machine's settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The model cannot be found or read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The prompt cannot be made.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// No examples can be chosen.
    #[error(transparent)]
    Retrieval(#[from] RetrievalError),
    /// A document of which no passages can be made.
    #[error("cannot index `{path}`")]
    Document {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: DocumentError,
    },
    /// Limits of passages that contradict each other.
    #[error(transparent)]
    Cutting(DocumentError),
    /// Sources that hold no document.
    #[error("there is nothing to index{}", .passed_over.checked_sub(1).map(|more| format!(": {} files are no documents", more + 1)).unwrap_or_default())]
    NothingToIndex {
        /// Files that were passed over.
        passed_over: usize,
    },
    /// A table without a word of which columns hold text.
    #[error("`{path}` is a table, and nothing says which of its columns hold text")]
    NoTextColumn {
        /// The table.
        path: PathBuf,
    },
    /// Columns of text, and no table that could have them.
    #[error("`--text-column` names columns of tables, and there is no table among the sources")]
    NoTable,
    /// A pattern of file names that is none.
    #[error("`{pattern}` is no pattern of file names: {reason}")]
    Glob {
        /// As it was written.
        pattern: String,
        /// What is wrong.
        reason: String,
    },
    /// Examples are to be chosen among rows that are not there.
    #[error("`prompt.retrieval` shows training rows, and there are none")]
    NoCandidates,
    /// Examples with their answers would be rows that are measured.
    #[error(
        "{} of the rows that are measured are training rows, which `prompt.retrieval` shows with \
         their answers",
        .rows
    )]
    CandidatesMeasured {
        /// Rows that are both.
        rows: usize,
    },
    /// The data cannot be read or divided.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Rows that cannot become prompts, all of them.
    #[error("{} of {rows} rows cannot be used", .problems.len())]
    Rows {
        /// One per row.
        problems: Vec<RowProblem>,
        /// Rows looked at.
        rows: usize,
    },
    /// Texts of which no vector can be made, all of them.
    #[error(
        "{} of {texts} texts cannot become vectors: {}",
        .problems.len(),
        first_of(.problems)
    )]
    Texts {
        /// One per text.
        problems: Vec<TextProblem>,
        /// Texts looked at.
        texts: usize,
    },
    /// A head cannot be fitted, read or used.
    #[error(transparent)]
    Probe(#[from] fidelio_probe::ProbeError),
    /// A cell that should hold a number.
    #[error("{place}: column `{column}` holds `{found}`, which is no number")]
    NotANumber {
        /// Its row.
        place: Place,
        /// Its column.
        column: String,
        /// What it holds.
        found: String,
    },
    /// A column that should hold two values.
    #[error("column `{column}` of a binary output holds {} values: {}", .found.len(), named(.found))]
    NotBinary {
        /// The column.
        column: String,
        /// What it holds.
        found: Vec<String>,
    },
    /// Two values of which none is known to be the true one.
    #[error("column `{column}` holds `{}` and `{}`, and which of them is the true one is not known", .found[0], .found[1])]
    WhichIsTrue {
        /// The column.
        column: String,
        /// What it holds.
        found: [String; 2],
    },
    /// A run file of a head that has not been learnt yet.
    #[error("`model_type: ecd` learns a head, and none has been learnt yet")]
    NoHead,
    /// The engine failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Generation failed.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] fidelio_trainer::TrainError),
    /// The run file does not say that anything is learnt.
    #[error("`trainer.type` is `none`: nothing would be learnt")]
    NothingLearns,
    /// Learning needs more memory than there is.
    #[error("learning needs {} MB of memory, and {} MB are free", .needed / 1_000_000, .have / 1_000_000)]
    NoMemory {
        /// Bytes.
        needed: u64,
        /// Bytes.
        have: u64,
    },
    /// The results cannot be measured.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// A device that is not compiled in or not present.
    #[error("device `{asked}` is not available")]
    Device {
        /// As the user wrote it.
        asked: String,
        /// What is there, and what to do.
        help: String,
    },
    /// A plugin that cannot be used.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// A split without rows.
    #[error("the {split} split has no rows")]
    EmptySplit {
        /// Its name.
        split: &'static str,
    },
    /// A run that measures needs expected answers.
    #[error("column `{column}` with the expected answers is not in the data")]
    NoAnswers {
        /// The output feature's column.
        column: String,
        /// The columns there are.
        have: Vec<String>,
    },
    /// The run file forbids what was asked for.
    #[error("`trainer.skip_all_evaluation: true` says that nothing is measured")]
    NotMeasured,
    /// Labels cannot be scored under an empty input.
    #[error("`label_score: calibrated` needs the prompt of an empty input, which cannot be made")]
    Neutral {
        /// Why.
        #[source]
        source: Box<PromptError>,
    },
    /// A file of an earlier run cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A folder or file of results cannot be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A folder that no run wrote.
    #[error("`{path}` holds no run")]
    NotARun {
        /// The folder.
        path: PathBuf,
    },
    /// A file of a run that is not as a run writes it.
    #[error("`{path}`{} is not what a run writes: {reason}", .line.map(|it| format!(" line {it}")).unwrap_or_default())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where it is known.
        line: Option<usize>,
        /// What is wrong.
        reason: String,
    },
    /// A picture that cannot be drawn.
    #[error(transparent)]
    Chart(#[from] fidelio_charts::ChartError),
    /// Runs that hold nothing to draw.
    #[error("there is nothing to draw: no run was finished, and none was measured")]
    NothingToDraw,
    /// A folder without a finished training run.
    #[error("`{path}` holds no finished training run")]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// A training run that kept nothing of what it saw.
    #[error("`{path}` kept nothing of what its training saw")]
    NothingSeen {
        /// The folder.
        path: PathBuf,
    },
    /// A run file that learns, asked for answers before it has learnt.
    #[error("`trainer.type: finetune` learns, and nothing has been learnt yet")]
    NotTrained,
    /// A metric that chooses the best model, and that some validation rows do not define.
    #[error("`{metric}` is not defined for the validation rows, so no model is the best")]
    Undefined {
        /// The metric.
        metric: String,
    },
    /// A run over plain documents, asked for answers.
    #[error("`prompt.document` holds plain documents, which ask for no answer")]
    NothingAsked,
    /// A training run's prompts or tokens were others than they would be now.
    #[error("`{path}` was trained with another {what}")]
    OtherThanTrained {
        /// The run's folder.
        path: PathBuf,
        /// What differs.
        what: &'static str,
    },
    /// A training run's base weights were others than they would be now.
    #[error("`{path}` learnt on other base weights: on {then}, now they are {now}")]
    OtherWeights {
        /// The run's folder.
        path: PathBuf,
        /// What it learnt on.
        then: Box<Named>,
        /// What is there.
        now: Box<Named>,
    },
    /// An adapter learnt on weights that were put on their device otherwise than those that are
    /// served.
    #[error("`{path}` learnt with another `{key}` than the model is served with")]
    OtherThanServed {
        /// The run's folder.
        path: PathBuf,
        /// Where its run file says so.
        key: &'static str,
    },
    /// An interrupted run began with something else than it would go on with.
    #[error("`{path}` cannot go on with {what}: it began with {then}, now it is {now}")]
    OtherThanBegun {
        /// The run's folder.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What it began with.
        then: Box<Named>,
        /// What is there.
        now: Box<Named>,
    },
    /// A written model that answers otherwise than its original.
    #[error("the written model drifts: mean KL {:.2e}, allowed {allowed:.2e}", .drift.mean_kl)]
    Drift {
        /// By how much.
        drift: fidelio_eval::Drift,
        /// The most that is allowed.
        allowed: f64,
    },
    /// A written model whose tokenizer or chat template does otherwise than its original's.
    #[error("the written model makes other tokens of the prompt `{prompt}`")]
    OtherTokens {
        /// The prompt.
        prompt: String,
    },
    /// `quantization` over weights that are quantised already.
    #[error("the weights of `{base_model}` are quantised already, as {encoding}")]
    Quantized {
        /// As the user wrote it.
        base_model: String,
        /// How they are stored.
        encoding: String,
    },
    /// `precision: int8-activations` over weights without integers.
    #[error(
        "`precision: int8-activations` does nothing: no weight of `{base_model}` is an integer"
    )]
    NoIntegers {
        /// As the user wrote it.
        base_model: String,
    },
    /// A run or run file without an adapter to merge.
    #[error("there is no adapter to merge")]
    NoAdapter,
    /// A folder that holds results already.
    #[error("`{path}` holds results already")]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// The observer stopped the run before anything was done.
    #[error("stopped")]
    Stopped,
}

/// A row that cannot become a prompt.
#[derive(Debug)]
pub struct RowProblem {
    /// Where the row stands.
    pub place: Place,
    /// What is wrong with it.
    pub error: RowError,
}

/// What is wrong with a row.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// It cannot become a prompt.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// Its answer is none that the run's answers may be.
    #[error("`{column}` {problem}")]
    Answer {
        /// The column of the answer.
        column: String,
        /// What is wrong with it, as the end of a sentence.
        problem: String,
    },
}

impl RowError {
    /// What the user may do about it.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Prompt(error) => error.hint(),
            Self::Answer { .. } => Some(Cow::Borrowed(
                "correct the row, or the form of answers in the decoder of the output",
            )),
        }
    }
}

/// The first of some problems, in words.
fn first_of(problems: &[TextProblem]) -> String {
    const MOST: usize = 5;
    let mut said: Vec<String> = problems.iter().take(MOST).map(ToString::to_string).collect();
    if problems.len() > MOST {
        said.push("…".to_owned());
    }
    said.join("; ")
}

/// Some values, in words.
fn named(values: &[String]) -> String {
    const MOST: usize = 5;
    let mut said: Vec<String> = values.iter().take(MOST).map(|it| format!("`{it}`")).collect();
    if values.len() > MOST {
        said.push("…".to_owned());
    }
    said.join(", ")
}

impl Error {
    /// What the user may do about it.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Settings(error) => error.hint(),
            Self::Weights(error) => error.hint(),
            Self::Prompt(error) => error.hint(),
            Self::Data(error) => error.hint(),
            Self::Retrieval(error) => error.hint(),
            Self::Document { source, .. } => {
                let skip = "`--skip-unreadable` passes over such files";
                source.hint().map(|hint| format!("{hint}; {skip}").into())
            }
            Self::Cutting(error) => error.hint(),
            Self::NothingToIndex { .. } => Some(
                "documents end in .txt, .md, .html, .rst or .pdf; `--glob` takes other files as plain \
                 text, `--text-column` takes tables"
                    .into(),
            ),
            Self::NoTextColumn { .. } => Some("name them with `--text-column COLUMN`".into()),
            Self::NoTable => Some("leave it out, or name a table".into()),
            Self::Glob { .. } => {
                Some("`*` stands for any part of a name, `**` for any folders, `?` for one character".into())
            }
            Self::NoCandidates => Some(
                "give the whole table with `--dataset FILE`, or the rows to show with \
                 `--training-set FILE`"
                    .into(),
            ),
            Self::CandidatesMeasured { .. } => Some(
                "measure other rows: add `--split test`, or `--split validation`; a table that is \
                 measured as a whole is given as `--test-set FILE --split test` beside a \
                 `--training-set FILE`"
                    .into(),
            ),
            Self::Generate(error) => error.hint(),
            Self::Train(error) => error.hint(),
            Self::Drift { .. } => {
                Some("choose a type of more bits, or allow more with `--max-mean-kl`; nothing was kept".into())
            }
            Self::OtherTokens { .. } => Some("nothing was kept".into()),
            Self::NoAdapter => {
                Some("name a run that learnt an adapter with `-m RUN`; `fidelio export` writes others".into())
            }
            Self::Quantized { .. } => Some(
                "remove `quantization`: adapters learn beside the file's own blocks as they are; \
                 or name the unquantised model"
                    .into(),
            ),
            Self::NoIntegers { .. } => Some(
                "name a quantised GGUF file, add `quantization: {bits: 8}`, or leave `precision` out"
                    .into(),
            ),
            Self::NoRun { .. } => {
                Some("name the folder that `fidelio train` said its results are in".into())
            }
            Self::NothingSeen { .. } => Some(
                "runs over documents ask nothing, and those of older versions kept nothing: train \
                 again"
                    .into(),
            ),
            Self::NotARun { .. } => Some(
                "a run holds `run.yaml`, with `description.json` and `metrics.jsonl` where it \
                 learnt, `run.json` and `statistics.json` where it was measured; name the folder \
                 that `fidelio train`, `evaluate` or `experiment` said its results are in"
                    .into(),
            ),
            Self::Damaged { .. } => Some("the file was changed or cut; run it again".into()),
            Self::NothingToDraw => {
                Some("let `fidelio train` learn, or let `fidelio evaluate` measure first".into())
            }
            Self::NotTrained => Some(
                "run `fidelio train`, then use the folder with `-m`; or write `trainer: {type: none}`"
                    .into(),
            ),
            Self::Undefined { .. } => {
                Some("choose another `trainer.validation_metric`, or other validation rows".into())
            }
            Self::NothingAsked => {
                Some("use `fidelio evaluate` for their perplexity, `fidelio generate` for text".into())
            }
            Self::OtherThanTrained { .. } => {
                Some("use the model and the prompt of the training run, or train anew".into())
            }
            Self::OtherThanServed { .. } => {
                Some("serve it by itself with `fidelio serve -m RUN`".into())
            }
            Self::OtherWeights { .. } => Some(
                "put back the weights that it learnt on, or name their place as `base_model`; to use \
                 what it learnt on other weights on purpose, add `--allow-other-weights`"
                    .into(),
            ),
            Self::OtherThanBegun { .. } => Some(
                "put back what it began with, or train anew into another folder".into(),
            ),
            Self::NoMemory { .. } => {
                Some("`fidelio plan` says what takes it, and what would make it fit".into())
            }
            Self::NoHead => Some(
                "run `fidelio train`, then use the folder with `-m`; `fidelio experiment` does both".into(),
            ),
            Self::NotANumber { .. } => {
                Some("correct it, or write `type: category` for an output of labels".into())
            }
            Self::NotBinary { .. } => Some("write `type: category` for an output of labels".into()),
            Self::WhichIsTrue { found, .. } => Some(
                format!("add `preprocessing: {{fallback_true_label: {}}}` to the output", found[1]).into(),
            ),
            Self::Probe(error) => error.hint().map(Into::into),
            Self::NothingLearns => Some("write `trainer: {type: finetune}`".into()),
            Self::Eval(error) => error.hint(),
            Self::Plugin(error) => error.hint(),
            Self::Rows { problems, .. } => problems.first().and_then(|row| row.error.hint()),
            Self::Device { help, .. } | Self::Backend(BackendError::Adapter { help, .. }) => {
                Some(help.as_str().into())
            }
            Self::EmptySplit { .. } => {
                Some("use `--split full`, or another `preprocessing.split`".into())
            }
            Self::NoAnswers { have, .. } => Some(
                format!("its columns are {}; `fidelio predict` needs no answers", have.join(", "))
                    .into(),
            ),
            Self::Texts { problems, .. } => Some(match problems.first().map(|it| it.fault) {
                Some(TextFault::NoToken) => "leave empty texts out".into(),
                _ => "shorten them, name a model of a longer context, or have their ends cut off \
                      (`--long-texts truncate`; in a run file `long_texts: truncate` of \
                      `prompt.retrieval`, or of `preprocessing` of an input)"
                    .into(),
            }),
            Self::NotMeasured => {
                Some("use `fidelio predict`, or set `skip_all_evaluation: false`".into())
            }
            Self::Neutral { .. } => Some("use `label_score: sum` or `mean`".into()),
            Self::Occupied { .. } => {
                Some("name another `--output-directory`, or add `--overwrite`".into())
            }
            Self::Backend(BackendError::CacheFull { .. }) => {
                Some("lower `trainer.eval_batch_size`, or free memory".into())
            }
            _ => None,
        }
    }
}
