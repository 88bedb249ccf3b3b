//! What keeps a server from starting or going on.

use std::{borrow::Cow, io, net::SocketAddr, path::PathBuf};

use fidelio_generate::GenerateError;
use fidelio_prompting::PromptError;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of API keys that cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line of a file of API keys that is none.
    #[error("`{path}` line {line} {problem}")]
    Keys {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The end of the sentence.
        problem: String,
    },
    /// A certificate or key that cannot be used.
    #[error("`{path}` cannot be used for TLS: {problem}")]
    Tls {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// An origin that no browser sends.
    #[error("`{origin}` is no origin")]
    Origin {
        /// As it was given.
        origin: String,
    },
    /// A thread cannot be started.
    #[error("a thread cannot be started")]
    Thread {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The engine's limits cannot be.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// The model's way of being asked cannot be used.
    #[error(transparent)]
    Prompt(#[from] PromptError),
}

impl ServeError {
    /// What the caller may do about it.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Some("another program listens there; take another port".into())
            }
            Self::Keys { .. } => Some(
                "a line is a name and the SHA-256 of a key in hexadecimal digits, as \
                 `printf %s KEY | sha256sum` prints it"
                    .into(),
            ),
            Self::Tls { .. } => Some(
                "give PEM files: the certificate with its chain, and its private key without a password"
                    .into(),
            ),
            Self::Origin { .. } => {
                Some("write it as `https://example.org`, with a port where it has one".into())
            }
            Self::Prompt(error) => error.hint(),
            Self::Generate(error) => error.hint(),
            _ => None,
        }
    }
}
