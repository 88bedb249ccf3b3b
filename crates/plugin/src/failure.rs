//! Errors across the border: a status, a text and two numbers. Both ways stand here.

use fidelio_backend::{AdapterId, BackendError, Pooling, Precision, RowId, Verb};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::abi::{self, Status};

/// Verbs and their bits.
pub(crate) const VERBS: [(Verb, u64); 7] = [
    (Verb::Extend, abi::VERB_EXTEND),
    (Verb::Fork, abi::VERB_FORK),
    (Verb::Truncate, abi::VERB_TRUNCATE),
    (Verb::Score, abi::VERB_SCORE),
    (Verb::Embed, abi::VERB_EMBED),
    (Verb::Adapt, abi::VERB_ADAPT),
    (Verb::Learn, abi::VERB_LEARN),
];

/// Poolings and their numbers.
pub(crate) const POOLINGS: [(Pooling, u32); 3] = [
    (Pooling::Mean, abi::POOLING_MEAN),
    (Pooling::Cls, abi::POOLING_CLS),
    (Pooling::Last, abi::POOLING_LAST),
];

/// The bit of a verb; none of one that this version does not know.
pub(crate) fn bit(verb: Verb) -> u64 {
    VERBS.iter().find(|(it, _)| *it == verb).map_or(0, |(_, bit)| *bit)
}

/// The number of a pooling.
pub(crate) fn pooling_number(pooling: Pooling) -> u32 {
    let known = POOLINGS.iter().find(|(it, _)| *it == pooling);
    known.map_or(u32::MAX, |(_, number)| *number)
}

/// An error as it crosses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    pub(crate) text: String,
    pub(crate) first: u64,
    pub(crate) second: u64,
}

#[derive(Serialize, Deserialize)]
struct Architecture {
    model_type: String,
    supported: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct ModelConfig {
    key: String,
    problem: String,
}

#[derive(Serialize, Deserialize)]
struct Weights {
    problems: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct ReadTensor {
    name: String,
    reason: String,
}

#[derive(Serialize, Deserialize)]
struct Adapter {
    what: String,
    help: String,
}

#[derive(Serialize, Deserialize)]
struct Arithmetic {
    precision: Precision,
    known: Vec<Precision>,
}

#[derive(Serialize, Deserialize)]
struct NotOfModel {
    model_type: String,
    reason: String,
}

impl Failure {
    /// A failure that is only words.
    pub(crate) fn new(status: Status, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), first: 0, second: 0 }
    }

    fn numbers(status: Status, first: u64, second: u64) -> Self {
        Self { status, text: String::new(), first, second }
    }

    fn json(status: Status, detail: &impl Serialize) -> Self {
        let text = serde_json::to_string(detail).unwrap_or_default();
        Self::new(status, text)
    }

    /// What the host makes of it. `plugin` is who failed.
    pub(crate) fn error(self, plugin: &str) -> BackendError {
        self.known(plugin).unwrap_or_else(|| {
            let Self { status, text, .. } = &self;
            let said = if text.is_empty() { "it does not say why" } else { text };
            BackendError::Engine(match *status {
                abi::STATUS_FAILED => said.to_owned(),
                abi::STATUS_PANICKED => format!("the plugin `{plugin}` panicked: {said}"),
                abi::STATUS_POISONED => format!(
                    "the plugin `{plugin}` panicked before, and this session answers nothing more"
                ),
                abi::STATUS_CLOSED => format!("the session of `{plugin}` is closed"),
                abi::STATUS_MISUSE => format!("the plugin `{plugin}` refuses the call: {said}"),
                other => format!("the plugin `{plugin}` failed with status {other}: {said}"),
            })
        })
    }

    /// The errors that callers can tell apart; none where what it takes did not come.
    fn known(&self, plugin: &str) -> Option<BackendError> {
        let (first, second) = (self.first, self.second);
        Some(match self.status {
            abi::STATUS_NO_DEVICE => BackendError::NoDevice {
                backend: format!("plugin:{plugin}"),
                device: u32::try_from(first).ok()?,
                reason: self.text.clone(),
            },
            abi::STATUS_ARCHITECTURE => {
                let Architecture { model_type, supported } = self.detail()?;
                BackendError::Architecture { model_type, supported }
            }
            abi::STATUS_MODEL_CONFIG => {
                let ModelConfig { key, problem } = self.detail()?;
                BackendError::ModelConfig { key, problem }
            }
            abi::STATUS_WEIGHTS => {
                BackendError::Weights { problems: self.detail::<Weights>()?.problems }
            }
            abi::STATUS_READ_TENSOR => {
                let ReadTensor { name, reason } = self.detail()?;
                BackendError::ReadTensor { name, source: reason.into() }
            }
            abi::STATUS_NO_ROW => BackendError::NoRow(RowId(first)),
            abi::STATUS_NO_TOKEN => BackendError::NoToken {
                token: u32::try_from(first).ok()?,
                vocabulary: usize::try_from(second).ok()?,
            },
            abi::STATUS_FOREST => BackendError::Forest(self.text.clone()),
            abi::STATUS_CONTEXT => BackendError::Context {
                tokens: usize::try_from(first).ok()?,
                context: usize::try_from(second).ok()?,
            },
            abi::STATUS_CACHE_FULL => BackendError::CacheFull {
                needed: usize::try_from(first).ok()?,
                free: usize::try_from(second).ok()?,
            },
            abi::STATUS_ROWS_FULL => BackendError::RowsFull { rows: usize::try_from(first).ok()? },
            abi::STATUS_NO_ADAPTER => {
                BackendError::NoAdapter(AdapterId(u32::try_from(first).ok()?))
            }
            abi::STATUS_ADAPTER => {
                let Adapter { what, help } = self.detail()?;
                BackendError::Adapter { what, help }
            }
            abi::STATUS_PRECISION => {
                let Arithmetic { precision, known } = self.detail()?;
                BackendError::Precision { backend: format!("plugin:{plugin}"), precision, known }
            }
            abi::STATUS_VERB => BackendError::Verb(self.verb()?),
            abi::STATUS_NOT_OF_MODEL => {
                let NotOfModel { model_type, reason } = self.detail()?;
                BackendError::NotOfModel { model_type, verb: self.verb()?, reason: reason.into() }
            }
            abi::STATUS_POOLING => {
                let pooling = POOLINGS.iter().find(|(_, number)| u64::from(*number) == first)?.0;
                BackendError::Pooling { pooling, reason: self.text.clone().into() }
            }
            _ => return None,
        })
    }

    fn detail<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(&self.text).ok()
    }

    fn verb(&self) -> Option<Verb> {
        VERBS.iter().find(|(_, bit)| *bit == self.first).map(|(verb, _)| *verb)
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        use BackendError as E;
        match error {
            E::NoDevice { device, reason, .. } => {
                Self { first: device.into(), ..Self::new(abi::STATUS_NO_DEVICE, reason) }
            }
            E::Architecture { model_type, supported } => {
                Self::json(abi::STATUS_ARCHITECTURE, &Architecture { model_type, supported })
            }
            E::ModelConfig { key, problem } => {
                Self::json(abi::STATUS_MODEL_CONFIG, &ModelConfig { key, problem })
            }
            E::Weights { problems } => Self::json(abi::STATUS_WEIGHTS, &Weights { problems }),
            E::ReadTensor { name, source } => {
                let reason = chain(source.as_ref());
                Self::json(abi::STATUS_READ_TENSOR, &ReadTensor { name, reason })
            }
            E::NoRow(row) => Self::numbers(abi::STATUS_NO_ROW, row.0, 0),
            E::NoToken { token, vocabulary } => {
                Self::numbers(abi::STATUS_NO_TOKEN, token.into(), vocabulary as u64)
            }
            E::Forest(what) => Self::new(abi::STATUS_FOREST, what),
            E::Context { tokens, context } => {
                Self::numbers(abi::STATUS_CONTEXT, tokens as u64, context as u64)
            }
            E::CacheFull { needed, free } => {
                Self::numbers(abi::STATUS_CACHE_FULL, needed as u64, free as u64)
            }
            E::RowsFull { rows } => Self::numbers(abi::STATUS_ROWS_FULL, rows as u64, 0),
            E::NoAdapter(adapter) => Self::numbers(abi::STATUS_NO_ADAPTER, adapter.0.into(), 0),
            E::Adapter { what, help } => Self::json(abi::STATUS_ADAPTER, &Adapter { what, help }),
            E::Precision { precision, known, .. } => {
                Self::json(abi::STATUS_PRECISION, &Arithmetic { precision, known })
            }
            E::Verb(verb) => Self::numbers(abi::STATUS_VERB, bit(verb), 0),
            E::NotOfModel { model_type, verb, reason } => {
                let detail = NotOfModel { model_type, reason: reason.into_owned() };
                Self { first: bit(verb), ..Self::json(abi::STATUS_NOT_OF_MODEL, &detail) }
            }
            E::Pooling { pooling, reason } => Self {
                first: pooling_number(pooling).into(),
                ..Self::new(abi::STATUS_POOLING, reason)
            },
            E::Engine(what) => Self::new(abi::STATUS_FAILED, what),
            other => Self::new(abi::STATUS_FAILED, chain(&other)),
        }
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_comes_out_as_it_went_in() {
        let errors = || {
            use BackendError as E;
            vec![
                E::NoDevice { backend: "plugin:it".into(), device: 3, reason: "it has one".into() },
                E::Architecture { model_type: "rwkv".into(), supported: vec!["llama".into()] },
                E::ModelConfig { key: "vocab_size".into(), problem: "is missing".into() },
                E::Weights { problems: vec!["`a` is missing".into(), "`b` is extra".into()] },
                E::ReadTensor { name: "a".into(), source: "disk".into() },
                E::NoRow(RowId(u64::MAX)),
                E::NoToken { token: 9, vocabulary: 8 },
                E::Forest("node 0 is empty".into()),
                E::Context { tokens: 5, context: 4 },
                E::CacheFull { needed: 7, free: 6 },
                E::RowsFull { rows: 2 },
                E::NoAdapter(AdapterId(1)),
                E::Adapter { what: "no".into(), help: "do".into() },
                E::Precision {
                    backend: "plugin:it".into(),
                    precision: Precision::Int8Activations,
                    known: vec![Precision::F32],
                },
                E::Verb(Verb::Learn),
                E::NotOfModel { model_type: "bert".into(), verb: Verb::Fork, reason: "no".into() },
                E::Pooling { pooling: Pooling::Cls, reason: "no".into() },
                E::Engine("a \0 and \u{fffd}".into()),
            ]
        };
        for (sent, same) in errors().into_iter().zip(errors()) {
            let received = Failure::from(sent).error("it");
            assert_eq!(format!("{received:?}"), format!("{same:?}"));
        }
    }

    #[test]
    fn a_status_without_its_detail_is_still_an_error() {
        let failure = Failure::new(abi::STATUS_ARCHITECTURE, "only bigrams");
        let text = failure.error("it").to_string();
        assert_eq!(text, "the plugin `it` failed with status 3: only bigrams");
        let text = Failure::new(-7, "").error("it").to_string();
        assert_eq!(text, "the plugin `it` failed with status -7: it does not say why");
    }
}
