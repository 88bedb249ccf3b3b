//! Learning what the assistant said earlier in a conversation.
//!
//! A turn teaches what the model would be asked for: its prompt is the conversation before it, rendered
//! and encoded as for an answer, and what is learnt is all from there to the stop. Both must stand in the
//! whole conversation as they would stand alone. Templates that drop earlier reasoning, or end the last
//! turn otherwise than the others, do not keep to that; then there is no right mask, and the row is an
//! error that names the turn.

use std::ops::Range;

use crate::vocabulary::Token;
use crate::{ChatTemplate, PromptError, TurnProblem};

use super::answer::{Parting, first, last};
use super::encode::Encoded;
use super::talk::{Shown, Talk};
use super::{Prompt, Renderer};

/// A turn in the tokens of the conversation it stands in.
struct Turn {
    tokens: Range<usize>,
    /// The bytes that the model has to write, the stop left out.
    said: Range<usize>,
}

impl Renderer {
    /// Marks the turns before the last one as learnt. `whole` is the conversation with its last turn,
    /// which begins with `prompt`.
    pub(super) fn learn_earlier_turns(
        &self,
        talk: &Talk,
        prompt: &Prompt,
        whole: (&Shown, &Encoded),
        learn: &mut [bool],
        row: usize,
    ) -> Result<(), PromptError> {
        let (Some(chat), (shown, encoded)) = (&self.chat, whole) else { return Ok(()) };
        let mut turns = vec![];
        for (at, message) in talk.messages().iter().enumerate() {
            if message.role() != "assistant" || at < talk.given() {
                continue;
            }
            let turn = turns.len() + 1;
            let fail = |problem| PromptError::Turn { row, turn, problem };
            if message.says_nothing() {
                return Err(fail(TurnProblem::Empty));
            }
            let found = self.earlier_turn(chat, talk, at, prompt, row).map_err(fail)?;
            learn[found.tokens.clone()].fill(true);
            turns.push(found);
        }
        if turns.is_empty() {
            return Ok(());
        }
        turns.push(Turn::last(prompt, encoded));
        if chat.has_generation_blocks() && (shown.spans.is_some() || !shown.generated.is_empty()) {
            for (i, turn) in turns.iter().enumerate() {
                let fail = |problem| PromptError::Turn { row, turn: i + 1, problem };
                check_generated(shown, turn).map_err(fail)?;
            }
        }
        Ok(())
    }

    /// Where message `at` of a conversation stands in its tokens, or why it cannot be learnt there.
    fn earlier_turn(
        &self,
        chat: &ChatTemplate,
        talk: &Talk,
        at: usize,
        prompt: &Prompt,
        row: usize,
    ) -> Result<Turn, TurnProblem> {
        let (text, tokens) = (&prompt.shown.text, &prompt.encoded.tokens);
        let refused = |error: PromptError| TurnProblem::Refused { reason: error.to_string() };
        let own_prompt = talk.first(at).show(chat, true).map_err(refused)?;
        let answered = talk.first(at + 1).text(chat, false).map_err(refused)?;
        if !text.starts_with(&own_prompt.text) {
            let Parting { common_end, has, other } = Parting::of(text, &own_prompt.text);
            return Err(TurnProblem::PromptChanges { common_end, has, prompt_has: other });
        }
        let answered = self.until_first_stop(&answered);
        if !text.starts_with(answered) || answered.len() <= own_prompt.text.len() {
            let Parting { common_end, has, other } = Parting::of(text, answered);
            return Err(TurnProblem::AnswerChanges { common_end, has, turn_has: other });
        }
        let start = own_prompt.text.len();
        let own = self.encode(&own_prompt, row).map_err(refused)?.tokens;
        let is_prefix =
            own.len() < tokens.len() && own.iter().zip(tokens).all(|(a, b)| a.id == b.id);
        if !is_prefix {
            let (prompt_end, start) = (last(&own_prompt.text), first(&text[start..]));
            return Err(TurnProblem::Merged { prompt_end, start });
        }
        let Some(stop) = self.stop_of_turn(text, tokens, own.len(), answered.len()) else {
            let followed_by = first(text[answered.len()..].trim_start());
            return Err(TurnProblem::NoStop { followed_by });
        };
        let said = start..tokens[stop].range.start;
        if text[said.clone()].trim().is_empty() {
            return Err(TurnProblem::Dropped);
        }
        Ok(Turn { tokens: own.len()..stop + 1, said })
    }

    /// A conversation without what follows the first of the stops at its end: white space on the way to
    /// the next turn, or a second stop that only the end of a conversation has.
    fn until_first_stop<'a>(&self, text: &'a str) -> &'a str {
        let without =
            |text: &'a str, stop: &String| Some(text.strip_suffix(stop.as_str())?.trim_end());
        let mut text = text.trim_end();
        while let Some(rest) = self.stop_texts.iter().find_map(|stop| without(text, stop))
            && self.stop_texts.iter().any(|stop| rest.ends_with(stop.as_str()))
        {
            text = rest;
        }
        text
    }

    /// The stop of a turn that begins at token `from` and ends at byte `end`: the last one within it, or
    /// the first one behind it, with only white space in between.
    fn stop_of_turn(&self, text: &str, tokens: &[Token], from: usize, end: usize) -> Option<usize> {
        let is_stop = |i: &usize| self.stops.contains(&tokens[*i].id);
        let behind = from + tokens[from..].partition_point(|token| token.range.start < end);
        let blank = |range: Range<usize>| text.get(range).is_some_and(|s| s.trim().is_empty());
        let within = (from..behind).rev().find(is_stop);
        within.filter(|i| blank(tokens[*i].range.end..end)).or_else(|| {
            let next = (behind..tokens.len()).find(is_stop);
            next.filter(|i| blank(end..tokens[*i].range.start))
        })
    }
}

impl Turn {
    /// The turn that the prompt asks for.
    fn last(prompt: &Prompt, whole: &Encoded) -> Self {
        let tokens = prompt.encoded.tokens.len()..whole.tokens.len();
        let end = whole.tokens.last().map_or(0, |stop| stop.range.start);
        Self { tokens, said: prompt.shown.text.len()..end }
    }
}

/// What the model has to write must stand in generation blocks, if the template has them.
fn check_generated(shown: &Shown, turn: &Turn) -> Result<(), TurnProblem> {
    let mut at = turn.said.start;
    let left_out = |range: Range<usize>| {
        let text = shown.text.get(range).unwrap_or_default().trim();
        if text.is_empty() { Ok(()) } else { Err(TurnProblem::NotGenerated { text: first(text) }) }
    };
    for block in &shown.generated {
        if block.end <= at || block.start >= turn.said.end {
            continue;
        }
        left_out(at..block.start.max(at))?;
        at = block.end;
    }
    left_out(at..turn.said.end.max(at))
}
