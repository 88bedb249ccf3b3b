//! What ends a command early, and the exit code it ends with.

use std::{borrow::Cow, io, path::PathBuf};

use fidelio::{Error, generate::GenerateError, retrieval::RetrievalError, weights::WeightsError};
use fidelio_serve::ServeError;

/// The work failed.
pub(crate) const FAILED: u8 = 1;
/// It could not be done as asked.
pub(crate) const IMPOSSIBLE: u8 = 2;

/// Why a command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The library's reasons.
    Library(Error),
    /// Flags that cannot be meant so.
    Usage { message: String, hint: Option<String> },
    /// A file that the command itself reads.
    Read { path: PathBuf, source: io::Error },
    /// A file that the command itself writes.
    Write { path: PathBuf, source: io::Error },
    /// The server's reasons.
    Server(ServeError),
    /// The command's own answer is bad news, told already.
    Found,
    /// The user stopped it; `kept` says what became of the work.
    Interrupted { kept: String },
    /// The reader of stdout went away.
    BrokenPipe,
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: None }
    }

    pub(crate) fn usage_with(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: Some(hint.into()) }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::BrokenPipe => 0,
            Self::Found | Self::Interrupted { .. } | Self::Server(ServeError::Thread { .. }) => {
                FAILED
            }
            Self::Library(error) => match error {
                // What a request asks for in vain is the user's; what breaks on the way is not.
                Error::Generate(GenerateError::Backend(_) | GenerateError::Decode(_))
                | Error::Backend(_)
                | Error::Write { .. }
                | Error::Retrieval(RetrievalError::CorpusWrite { .. })
                | Error::Stopped
                | Error::Drift { .. }
                | Error::OtherTokens { .. }
                | Error::Weights(WeightsError::Write { .. }) => FAILED,
                _ => IMPOSSIBLE,
            },
            Self::Usage { .. } | Self::Read { .. } | Self::Write { .. } | Self::Server(_) => {
                IMPOSSIBLE
            }
        }
    }

    /// The one-line message; for a run file's problems only their number.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Library(error) => error.to_string(),
            Self::Server(error) => error.to_string(),
            Self::Usage { message, .. } => message.clone(),
            Self::Read { path, .. } => format!("cannot read `{}`", path.display()),
            Self::Write { path, .. } => format!("cannot write `{}`", path.display()),
            Self::Found => String::new(),
            Self::Interrupted { kept } => format!("stopped: {kept}"),
            Self::BrokenPipe => "nobody reads the output".to_owned(),
        }
    }

    /// What lies behind it, nearest first.
    pub(crate) fn causes(&self) -> Vec<String> {
        let first: Option<&(dyn std::error::Error + 'static)> = match self {
            Self::Library(error) => std::error::Error::source(error),
            Self::Server(error) => std::error::Error::source(error),
            Self::Read { source, .. } | Self::Write { source, .. } => Some(source),
            _ => None,
        };
        std::iter::successors(first, |error| error.source()).map(ToString::to_string).collect()
    }

    /// What the user may do.
    pub(crate) fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Library(error) => error.hint(),
            Self::Server(error) => error.hint(),
            Self::Usage { hint, .. } => hint.as_deref().map(Cow::Borrowed),
            _ => None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        Self::Server(error)
    }
}

impl From<fidelio::data::DataError> for Failure {
    fn from(error: fidelio::data::DataError) -> Self {
        Self::Library(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_wrongly_is_2_and_what_went_wrong_is_1() {
        let cases = [
            (Failure::usage("x"), 2),
            (Failure::Library(Error::EmptySplit { split: "test" }), 2),
            (Failure::Library(Error::Stopped), 1),
            (Failure::Found, 1),
            (Failure::BrokenPipe, 0),
        ];
        for (failure, code) in cases {
            assert_eq!(failure.code(), code, "{failure:?}");
        }
    }

    #[test]
    fn causes_are_not_pasted_into_the_message() {
        let source = io::Error::from(io::ErrorKind::NotFound);
        let failure = Failure::Read { path: "a.yaml".into(), source };
        assert_eq!(failure.message(), "cannot read `a.yaml`");
        assert_eq!(failure.causes(), ["entity not found"]);
    }
}
