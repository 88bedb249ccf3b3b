//! Making a prompt fit: an error, a dropped row, or fewer tokens of the row's own text.

use crate::{Cut, Layout, Overflow, PromptError, Side};

use super::encode::Encoded;
use super::talk::Shown;
use super::{Body, Draft, Prepared, Prompt, Renderer, Source};

impl Renderer {
    pub(super) fn check_budget(&self) -> Result<(), PromptError> {
        let budget = &self.rules.budget;
        let rule = |rule, problem: String| Err(PromptError::Rule { rule, problem });
        if budget.context.is_some_and(|context| context <= budget.reserved) {
            return rule("reserved", "leaves nothing of the context for the prompt".to_owned());
        }
        if let Source::Layout(layout) = &self.source {
            let tokens = self.vocabulary.encode(&layout.literal())?.len();
            let limit = self.prompt_limit();
            if tokens > limit {
                let problem = format!("allows {limit} tokens, the template alone has {tokens}");
                return rule("context", problem);
            }
        }
        let cuttable = match &self.source {
            Source::Layout(layout) => layout.fields_of_rows(),
            Source::Messages { .. } | Source::Document { .. } => vec![],
        };
        let mut named: Vec<&String> = budget.fields.keys().collect();
        if let Overflow::Truncate { fields, .. } = &budget.overflow {
            if matches!(self.source, Source::Messages { .. }) {
                return rule("overflow", "cannot be `truncate` for a messages column".to_owned());
            }
            named.extend(fields.iter().flatten());
        }
        if let Overflow::Window { overlap } = budget.overflow {
            self.check_windows(overlap)?;
        }
        match named.into_iter().find(|name| !cuttable.contains(name)) {
            Some(name) => rule("budget", format!("names `{name}`, which the prompt does not show")),
            None => Ok(()),
        }
    }

    pub(super) fn prompt_limit(&self) -> usize {
        let budget = &self.rules.budget;
        budget.context.map_or(usize::MAX, |context| context - budget.reserved)
    }

    /// The prompt of a layout, cut where the rules say so.
    pub(super) fn fit_layout(
        &self,
        layout: &Layout,
        draft: Draft,
        row: usize,
    ) -> Result<Prepared, PromptError> {
        let tokens = draft.encoded.tokens.len();
        let limit = self.prompt_limit();
        let over_field = self.over_field(layout, &draft.content.values, row)?;
        let problem = match over_field {
            Some(problem) => problem,
            None if tokens > limit => PromptError::PromptTooLong { row, tokens, budget: limit },
            None => return Ok(Prepared::Ready(Box::new(draft.uncut()))),
        };
        match &self.rules.budget.overflow {
            Overflow::Error | Overflow::Window { .. } => Err(problem),
            Overflow::Drop => {
                Ok(Prepared::Dropped { tokens: draft.read, reason: problem.to_string() })
            }
            Overflow::Truncate { side, fields } => {
                let mut draft = draft;
                let mut cuts = Cuts { side: *side, made: vec![] };
                for (slot, field) in layout.slot_fields().enumerate() {
                    if let Some(&budget) = self.rules.budget.fields.get(&self.fields[field]) {
                        cuts.shorten(self, &mut draft.content.values[slot], field, budget)?;
                    }
                }
                self.cut_to(layout, draft, cuts, fields.as_deref(), row)
            }
        }
    }

    fn over_field(
        &self,
        layout: &Layout,
        values: &[String],
        row: usize,
    ) -> Result<Option<PromptError>, PromptError> {
        for (value, field) in values.iter().zip(layout.slot_fields()) {
            let name = &self.fields[field];
            let Some(&budget) = self.rules.budget.fields.get(name) else { continue };
            let tokens = self.vocabulary.encode_plain(value)?.len();
            if tokens > budget {
                let field = name.clone();
                return Ok(Some(PromptError::FieldTooLong { row, field, tokens, budget }));
            }
        }
        Ok(None)
    }

    /// Cuts the slots' values until the prompt fits.
    fn cut_to(
        &self,
        layout: &Layout,
        mut draft: Draft,
        mut cuts: Cuts,
        order: Option<&[String]>,
        row: usize,
    ) -> Result<Prepared, PromptError> {
        let slots: Vec<usize> = layout.slot_fields().collect();
        let limit = self.prompt_limit();
        loop {
            let (shown, body) = self.show_layout(layout, &draft.content)?;
            let encoded = self.encode(&shown, row)?;
            let tokens = encoded.tokens.len();
            if tokens <= limit {
                let prompt = Prompt { shown, encoded, body, cuts: cuts.made, ..draft.uncut() };
                return Ok(Prepared::Ready(Box::new(prompt)));
            }
            let mut lengths = vec![];
            for (slot, value) in draft.content.values.iter().enumerate() {
                // Of examples there are fewer, or all.
                let cuttable = layout.is_of_row(slot);
                let tokens = if cuttable { self.vocabulary.encode_plain(value)?.len() } else { 0 };
                lengths.push(tokens);
            }
            let next = match order {
                Some(names) => names.iter().find_map(|name| {
                    slots.iter().zip(&lengths).position(|(&f, &n)| self.fields[f] == *name && n > 0)
                }),
                None => {
                    (0..slots.len()).rev().max_by_key(|&i| lengths[i]).filter(|&i| lengths[i] > 0)
                }
            };
            let Some(slot) = next else {
                return Err(PromptError::TemplateTooLong { row, tokens, budget: limit });
            };
            // A value may stand in the template more than once; each pass cuts at least one token.
            let keep = lengths[slot].saturating_sub((tokens - limit).min(lengths[slot]));
            cuts.shorten(self, &mut draft.content.values[slot], slots[slot], keep)?;
        }
    }

    /// A conversation's prompt, if it fits.
    pub(super) fn fit_talk(
        &self,
        shown: Shown,
        encoded: Encoded,
        body: Body,
        row: usize,
    ) -> Result<Prepared, PromptError> {
        let (tokens, budget) = (encoded.tokens.len(), self.prompt_limit());
        if tokens <= budget {
            let prompt =
                Prompt { shown, encoded, body, cuts: vec![], examples: None, read: tokens };
            return Ok(Prepared::Ready(Box::new(prompt)));
        }
        let problem = PromptError::PromptTooLong { row, tokens, budget };
        match &self.rules.budget.overflow {
            Overflow::Drop => Ok(Prepared::Dropped { tokens, reason: problem.to_string() }),
            Overflow::Error | Overflow::Truncate { .. } | Overflow::Window { .. } => Err(problem),
        }
    }
}

struct Cuts {
    side: Side,
    made: Vec<Cut>,
}

impl Cuts {
    /// Keeps at most `keep` whole tokens of a value.
    fn shorten(
        &mut self,
        renderer: &Renderer,
        value: &mut String,
        field: usize,
        keep: usize,
    ) -> Result<(), PromptError> {
        let tokens = renderer.vocabulary.encode_plain(value)?;
        let before = tokens.len();
        if before <= keep {
            return Ok(());
        }
        let kept = match (self.side, keep) {
            (_, 0) => "",
            (Side::Right, _) => &value[..down(value, tokens[keep].range.start)],
            (Side::Left, _) => &value[up(value, tokens[before - keep].range.start)..],
        };
        let kept = kept.to_owned();
        // Where the tokens' places say nothing (several tokens of one character), fewer characters must do.
        *value = if kept.len() < value.len() { kept } else { String::new() };
        let tokens_after = renderer.vocabulary.encode_plain(value)?.len();
        let name = &renderer.fields[field];
        match self.made.iter_mut().find(|cut| cut.field == *name) {
            Some(cut) => cut.tokens_after = tokens_after,
            None => self.made.push(Cut {
                field: name.clone(),
                side: self.side,
                tokens_before: before,
                tokens_after,
            }),
        }
        Ok(())
    }
}

fn down(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at.min(text.len()))
}

fn up(text: &str, at: usize) -> usize {
    text.ceil_char_boundary(at.min(text.len()))
}
