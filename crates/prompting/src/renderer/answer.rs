//! Putting the answer behind the prompt, with its stop, and marking both as learnt.

use crate::vocabulary::Token;
use crate::{
    Boundary, Conversation, Message, Outcome, Overflow, PromptError, Rendered, TurnProblem, Turns,
};

use super::encode::Encoded;
use super::talk::Shown;
use super::{Body, Prompt, Renderer};

/// What the model shall answer.
pub(super) struct Reply {
    pub(super) text: String,
    /// The whole message, where it is more than a text of ours.
    pub(super) message: Option<Message>,
}

impl Reply {
    pub(super) fn text(text: String) -> Self {
        Self { text, message: None }
    }

    /// The last message of a conversation, taken off it.
    pub(super) fn last_of(talk: &mut Conversation, row: usize) -> Result<Self, PromptError> {
        match talk.messages.pop() {
            Some(message) if message.role() == "assistant" => {
                if message.says_nothing() {
                    let turn = 1 + talk.messages.iter().filter(|m| m.role() == "assistant").count();
                    return Err(PromptError::Turn { row, turn, problem: TurnProblem::Empty });
                }
                let text = message.text().unwrap_or_default().to_owned();
                Ok(Self { text, message: Some(message) })
            }
            last => Err(PromptError::LastMessage {
                row,
                role: last.map(|m| m.role().to_owned()).unwrap_or_default(),
                wanted: "learn",
            }),
        }
    }
}

impl Renderer {
    pub(super) fn answered(
        &self,
        prompt: &Prompt,
        reply: &Reply,
        row: usize,
    ) -> Result<Outcome, PromptError> {
        let rendered = self.complete(prompt, reply, row)?;
        let tokens = rendered.ids.len();
        if !rendered.learn.contains(&true) {
            return Err(PromptError::NothingToLearn { row, tokens });
        }
        let context = self.rules.budget.context.unwrap_or(usize::MAX);
        if tokens <= context {
            return Ok(Outcome::Kept(rendered));
        }
        let problem = PromptError::AnswerTooLong { row, tokens, context };
        match &self.rules.budget.overflow {
            Overflow::Drop => {
                Ok(Outcome::Dropped { tokens: rendered.read, reason: problem.to_string() })
            }
            Overflow::Error | Overflow::Truncate { .. } | Overflow::Window { .. } => Err(problem),
        }
    }

    /// Prompt, answer and stop.
    pub(super) fn complete(
        &self,
        prompt: &Prompt,
        reply: &Reply,
        row: usize,
    ) -> Result<Rendered, PromptError> {
        let shown = self.show_answered(prompt, reply)?;
        let n = prompt.encoded.tokens.len();
        let prefix = |tokens: &[Token]| {
            tokens.len() > n && tokens.iter().zip(&prompt.encoded.tokens).all(|(a, b)| a.id == b.id)
        };
        if !shown.text.starts_with(&prompt.shown.text) {
            return match self.rules.boundary {
                Boundary::Separate => self.separate(prompt, reply, row),
                Boundary::Error => Err(prompt_changes(&prompt.shown.text, &shown.text, row)),
            };
        }
        let added = &shown.text[prompt.shown.text.len()..];
        if !added.contains(reply.text.trim()) || self.says_nothing(added) {
            return Err(PromptError::AnswerLost { row });
        }
        let encoded = self.encode(&shown, row)?;
        if !prefix(&encoded.tokens) {
            return match self.rules.boundary {
                Boundary::Separate => self.separate(prompt, reply, row),
                Boundary::Error => Err(PromptError::Boundary {
                    row,
                    prompt_end: last(&prompt.shown.text),
                    answer_start: first(&shown.text[prompt.shown.text.len()..]),
                }),
            };
        }
        self.stopped(prompt, shown, encoded, row)
    }

    /// Whether a text is blank up to its first stop.
    fn says_nothing(&self, text: &str) -> bool {
        let text = text.trim_start();
        text.is_empty() || self.stop_texts.iter().any(|stop| text.starts_with(stop.as_str()))
    }

    fn show_answered(&self, prompt: &Prompt, reply: &Reply) -> Result<Shown, PromptError> {
        let field = self.answer_field();
        let (Body::Chat(talk), Some(chat)) = (&prompt.body, &self.chat) else {
            let mut shown = prompt.shown.clone();
            let start = shown.text.len();
            shown.text.push_str(&reply.text);
            if let Some(spans) = &mut shown.spans {
                let range = start..shown.text.len();
                spans.push(crate::marks::Span { range, field, spoken: true });
            }
            return Ok(shown);
        };
        let message =
            reply.message.clone().unwrap_or_else(|| Message::new("assistant", reply.text.as_str()));
        talk.with(&message, field).show(chat, false)
    }

    /// Ends the tokens at the stop, which is added where the template has none.
    fn stopped(
        &self,
        prompt: &Prompt,
        mut shown: Shown,
        mut encoded: Encoded,
        row: usize,
    ) -> Result<Rendered, PromptError> {
        let n = prompt.encoded.tokens.len();
        let answer_ends = shown
            .spans
            .as_deref()
            .and_then(|spans| spans.iter().rfind(|s| s.spoken))
            .map_or(0, |span| span.range.end);
        let stop = encoded.tokens[n..]
            .iter()
            .position(|t| self.stops.contains(&t.id) && t.range.start >= answer_ends);
        if let Some(at) = stop {
            // What a template writes after the stop is never generated, so it is not part of the row.
            encoded.tokens.truncate(n + at + 1);
            if let Some(end) = encoded.tokens.last().map(|t| t.range.end) {
                shown.text.truncate(end);
            }
        } else {
            let id = self.stop_to_add()?;
            let end = shown.text.len();
            encoded.tokens.push(Token { id, range: end..end });
        }
        self.rendered(prompt, shown, encoded, row)
    }

    /// The answer encoded alone, behind the prompt that serving would use.
    fn separate(
        &self,
        prompt: &Prompt,
        reply: &Reply,
        row: usize,
    ) -> Result<Rendered, PromptError> {
        let mut shown = prompt.shown.clone();
        let mut encoded = prompt.encoded.clone();
        let start = shown.text.len();
        let answer = match self.rules.special_tokens_in_data {
            crate::SpecialTokens::Escape => self.vocabulary.encode_plain(&reply.text)?,
            _ => self.vocabulary.encode(&reply.text)?,
        };
        encoded.tokens.extend(
            answer
                .into_iter()
                .map(|t| Token { id: t.id, range: t.range.start + start..t.range.end + start }),
        );
        shown.text.push_str(&reply.text);
        let end = shown.text.len();
        if let Some(spans) = &mut shown.spans {
            let field = self.answer_field();
            spans.push(crate::marks::Span { range: start..end, field, spoken: true });
        }
        encoded.tokens.push(Token { id: self.stop_to_add()?, range: end..end });
        self.rendered(prompt, shown, encoded, row)
    }

    fn stop_to_add(&self) -> Result<u32, PromptError> {
        let stop = self.turn_end.or_else(|| self.vocabulary.eos().first().copied());
        stop.ok_or(PromptError::NoStop)
    }

    fn rendered(
        &self,
        prompt: &Prompt,
        shown: Shown,
        encoded: Encoded,
        row: usize,
    ) -> Result<Rendered, PromptError> {
        let n = prompt.encoded.tokens.len();
        let mut learn: Vec<bool> = (0..encoded.tokens.len()).map(|i| i >= n).collect();
        if let (Turns::All, Body::Chat(talk)) = (self.rules.turns, &prompt.body) {
            self.learn_earlier_turns(talk, prompt, (&shown, &encoded), &mut learn, row)?;
        }
        let grown = encoded.tokens.len() - n;
        Ok(Rendered {
            ids: encoded.tokens.iter().map(|t| t.id).collect(),
            learn,
            field_of: encoded.fields(&shown),
            fields_known: shown.spans.is_some(),
            text: shown.text,
            ranges: encoded.tokens.into_iter().map(|t| t.range).collect(),
            prompt_len: n,
            cuts: prompt.cuts.clone(),
            examples: prompt.examples.clone(),
            read: prompt.read + grown,
        })
    }
}

fn prompt_changes(prompt: &str, answered: &str, row: usize) -> PromptError {
    let Parting { common_end, has, other } = Parting::of(answered, prompt);
    PromptError::PromptChanges { row, common_end, has, prompt_has: other }
}

/// Where one text leaves another, in a few characters of each.
pub(super) struct Parting {
    pub(super) common_end: String,
    pub(super) has: String,
    pub(super) other: String,
}

impl Parting {
    pub(super) fn of(text: &str, other: &str) -> Self {
        let same: usize = text
            .chars()
            .zip(other.chars())
            .take_while(|(a, b)| a == b)
            .map(|(c, _)| c.len_utf8())
            .sum();
        Self {
            common_end: last(&text[..same]),
            has: first(&text[same..]),
            other: first(&other[same..]),
        }
    }
}

const SHOWN: usize = 24;

pub(super) fn first(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

pub(super) fn last(text: &str) -> String {
    let skip = text.chars().count().saturating_sub(SHOWN);
    text.chars().skip(skip).collect()
}
