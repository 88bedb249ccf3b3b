//! As many examples as there is room for.

use crate::{Example, ExamplesShown, Layout, PromptError, Row};

use super::{Draft, Prompt, Renderer};

impl Renderer {
    /// The prompt of a row with its examples, the last-ranked left out where there is no room and the
    /// rules say so.
    pub(super) fn with_examples(
        &self,
        layout: &Layout,
        row: &Row<'_>,
    ) -> Result<Draft, PromptError> {
        let Some(all) = row.examples else {
            return Err(PromptError::MissingExamples { row: row.number });
        };
        let budget = self.rules.budget.examples;
        let most = budget.most.unwrap_or(usize::MAX);
        let bare = self.draft_with(layout, row, &[])?.encoded.tokens.len();
        let mut kept: Vec<usize> = (0..all.len()).collect();
        let mut read = None;
        loop {
            let shown: Vec<&Example<'_>> = kept.iter().map(|&at| &all[at]).collect();
            let draft = self.draft_with(layout, row, &shown)?;
            let whole = draft.encoded.tokens.len();
            let tokens = whole.saturating_sub(bare);
            let read = *read.get_or_insert(whole);
            let fits = tokens <= most && (!budget.fewer || whole <= self.prompt_limit());
            if fits || kept.is_empty() {
                let left_out = all.len() - kept.len();
                let tokens_left_out = read.saturating_sub(whole);
                let examples = ExamplesShown { shown: kept, left_out, tokens, tokens_left_out };
                return Ok(Draft { examples: Some(examples), read, ..draft });
            }
            if !budget.fewer {
                return Err(PromptError::ExamplesTooLong { row: row.number, tokens, budget: most });
            }
            let last = kept.iter().enumerate().max_by_key(|(_, at)| all[**at].rank);
            kept.remove(last.map_or(0, |(place, _)| place));
        }
    }

    fn draft_with(
        &self,
        layout: &Layout,
        row: &Row<'_>,
        shown: &[&Example<'_>],
    ) -> Result<Draft, PromptError> {
        self.draft(layout, layout.content(row, shown)?, row.number)
    }
}

impl Draft {
    /// As it is.
    pub(super) fn uncut(self) -> Prompt {
        let Self { shown, encoded, body, examples, read, content: _ } = self;
        Prompt { shown, encoded, body, cuts: vec![], examples, read }
    }
}
