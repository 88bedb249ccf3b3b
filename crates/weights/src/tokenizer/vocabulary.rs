//! The vocabulary of a GGUF file.

use std::{collections::HashSet, path::Path};

use ahash::AHashMap;

use super::{Special, broken};
use crate::{
    WeightsError,
    gguf::{Metadata, Scalar},
};

/// Tokens by id, with what kind each is.
#[derive(Debug)]
pub(super) struct Vocabulary<'a> {
    pub(super) tokens: Vec<&'a str>,
    pub(super) kinds: Vec<TokenKind>,
    pub(super) metadata: &'a Metadata,
    pub(super) path: &'a Path,
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    Normal,
    Unknown,
    /// Written by the program, never by the text.
    Control,
    /// Taken whole out of the text before anything else.
    UserDefined,
    /// Only there to fill up the table.
    Unused,
    /// `<0x0A>` and its like.
    Byte,
}

impl<'a> Vocabulary<'a> {
    pub(super) fn read(metadata: &'a Metadata, path: &'a Path) -> Result<Self, WeightsError> {
        let fault =
            |fault| WeightsError::Malformed { path: path.to_owned(), format: "GGUF", fault };
        let tokens = metadata.require_texts("tokenizer.ggml.tokens").map_err(fault)?;
        let kinds = match metadata.array("tokenizer.ggml.token_type").map_err(fault)? {
            None => vec![TokenKind::Normal; tokens.len()],
            Some(array) => array
                .scalars("tokenizer.ggml.token_type")
                .map_err(fault)?
                .map(TokenKind::from_number)
                .collect(),
        };
        if kinds.len() != tokens.len() {
            let problem = format!("{} tokens have {} types", tokens.len(), kinds.len());
            return Err(broken(path, problem));
        }
        let mut seen = HashSet::with_capacity(tokens.len());
        if let Some(twice) = tokens.iter().find(|token| !seen.insert(**token)) {
            return Err(broken(path, format!("the token `{twice}` appears twice")));
        }
        Ok(Self { tokens, kinds, metadata, path })
    }

    /// Ids by token, each token as `spell` writes it.
    pub(super) fn ids(&self, spell: impl Fn(usize, &str) -> String) -> AHashMap<String, u32> {
        let mut ids = AHashMap::with_capacity(self.tokens.len());
        ids.extend(self.tokens.iter().enumerate().map(|(id, token)| (spell(id, token), id as u32)));
        ids
    }

    /// The token that a metadata key names by its id.
    pub(super) fn special(&self, key: &str) -> Result<Option<Special>, WeightsError> {
        let key = format!("tokenizer.ggml.{key}_token_id");
        let Some(id) = self.metadata.unsigned(&key).map_err(|fault| self.fault(fault))? else {
            return Ok(None);
        };
        match usize::try_from(id).ok().and_then(|at| self.tokens.get(at)) {
            Some(text) => Ok(Some(Special { id: id as u32, text: (*text).to_owned() })),
            None => Err(WeightsError::SpecialToken {
                file: self.path.to_owned(),
                role: key,
                token: id.to_string(),
            }),
        }
    }

    /// A truth value of the tokenizer.
    pub(super) fn truth(&self, key: &str) -> Result<Option<bool>, WeightsError> {
        self.metadata.boolean(&format!("tokenizer.ggml.{key}")).map_err(|fault| self.fault(fault))
    }

    pub(super) fn fault(&self, fault: crate::Fault) -> WeightsError {
        WeightsError::Malformed { path: self.path.to_owned(), format: "GGUF", fault }
    }

    pub(super) fn of_kind(&self, kind: TokenKind) -> impl Iterator<Item = (u32, &'a str)> {
        let pairs = self.tokens.iter().zip(&self.kinds).enumerate();
        pairs.filter(move |(_, (_, k))| **k == kind).map(|(id, (token, _))| (id as u32, *token))
    }
}

impl TokenKind {
    /// Its number in a file.
    pub(super) fn number(self) -> i32 {
        match self {
            Self::Normal => 1,
            Self::Unknown => 2,
            Self::Control => 3,
            Self::UserDefined => 4,
            Self::Unused => 5,
            Self::Byte => 6,
        }
    }

    fn from_number(number: Scalar) -> Self {
        match number.unsigned() {
            Some(2) => Self::Unknown,
            Some(3) => Self::Control,
            Some(4) => Self::UserDefined,
            Some(5) => Self::Unused,
            Some(6) => Self::Byte,
            _ => Self::Normal,
        }
    }
}
