//! Grammars made ready for a model's tokens.

use std::{collections::BTreeMap, sync::Arc};

use llguidance::{Matcher, ParserFactory};
use tokenizers::Tokenizer;

use super::{Grammar, GrammarError, GrammarRule, GrammarTokens, factory, matcher};

/// So many grammars stay ready, those that were used last.
const KEPT: usize = 32;

/// The grammars in use on one model, made ready once each.
pub struct Grammars {
    tokenizer: Arc<Tokenizer>,
    /// For each set of end-of-sequence tokens.
    factories: BTreeMap<Vec<u32>, ParserFactory>,
    /// The last used one last.
    ready: Vec<Ready>,
}

struct Ready {
    grammar: Grammar,
    eos: Vec<u32>,
    /// At the beginning of a text.
    matcher: Matcher,
}

impl Grammars {
    /// None yet.
    pub fn new(tokenizer: Arc<Tokenizer>) -> Self {
        Self { tokenizer, factories: BTreeMap::new(), ready: Vec::new() }
    }

    /// The rule that holds one answer to `grammar`; `eos` end an answer where the grammar may end.
    ///
    /// # Errors
    /// When the tokenizer's tokens are no pieces of text, or the grammar is too large.
    pub fn rule(&mut self, grammar: &Grammar, eos: &[u32]) -> Result<GrammarRule, GrammarError> {
        let same = |it: &Ready| it.eos == eos && it.grammar.is(grammar);
        let ready = match self.ready.iter().position(same) {
            Some(at) => self.ready.remove(at),
            None => self.prepare(grammar, eos)?,
        };
        // A deep copy: what one answer teaches the lexer must not count for another.
        let rule = GrammarRule::new(ready.matcher.deep_clone());
        if self.ready.len() == KEPT {
            self.ready.remove(0);
        }
        self.ready.push(ready);
        Ok(rule)
    }

    fn prepare(&mut self, grammar: &Grammar, eos: &[u32]) -> Result<Ready, GrammarError> {
        if !self.factories.contains_key(eos) {
            let tokens = GrammarTokens::new(&self.tokenizer, eos)?;
            let made = factory(&tokens.into_env()).map_err(|problem| grammar.error(problem))?;
            self.factories.insert(eos.to_vec(), made);
        }
        let factory = &self.factories[eos];
        let matcher =
            matcher(factory, &grammar.0.source).map_err(|problem| grammar.error(problem))?;
        Ok(Ready { grammar: grammar.clone(), eos: eos.to_vec(), matcher })
    }
}

impl std::fmt::Debug for Grammars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ready: Vec<_> = self.ready.iter().map(|it| &it.grammar).collect();
        f.debug_struct("Grammars").field("ready", &ready).finish_non_exhaustive()
    }
}
