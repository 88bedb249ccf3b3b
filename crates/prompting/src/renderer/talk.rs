//! Conversations with the places of the row's text.

use std::ops::Range;

use serde_json::Value;

use crate::marks::{self, Marked, Span};
use crate::{ChatTemplate, Conversation, Message, PromptError, Rules, Vocabulary};

/// A conversation as it is, and with marks around the row's text where that is possible.
pub(super) struct Talk {
    plain: Conversation,
    marked: Option<Conversation>,
    /// How many of its first messages are given: what the system says, and examples.
    given: usize,
}

/// A text that the model reads, and the places of the row's text in it where they are known.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) text: String,
    pub(super) spans: Option<Vec<Span>>,
    /// What the chat template's generation blocks wrote.
    pub(super) generated: Vec<Range<usize>>,
}

impl Shown {
    pub(super) fn plain(marked: Marked) -> Self {
        Self { text: marked.text, spans: Some(marked.spans), generated: vec![] }
    }
}

impl Talk {
    /// One user's turn, after what the system says and after examples, which are field `of_examples`.
    pub(super) fn of_user(
        rules: &Rules,
        examples: &[[String; 2]],
        of_examples: usize,
        marked: &Marked,
    ) -> Self {
        let talk = |show: &dyn Fn(&Marked) -> Option<String>| {
            let system = rules.system.iter().map(|s| Message::new("system", s.as_str()));
            let mut talk = Conversation::new(system.collect());
            for [asked, answered] in examples {
                let asked = show(&Marked::whole(asked, of_examples, false))?;
                let answered = show(&Marked::whole(answered, of_examples, true))?;
                talk.messages.push(Message::new("user", asked));
                talk.messages.push(Message::new("assistant", answered));
            }
            talk.messages.push(Message::new("user", show(marked)?));
            talk.extra.clone_from(&rules.template_variables);
            Some(talk)
        };
        let plain = talk(&|marked| Some(marked.text.clone())).unwrap_or_default();
        let given = plain.messages.len().saturating_sub(1);
        Self { plain, marked: talk(&Marked::with_marks), given }
    }

    /// Messages that are all one field.
    pub(super) fn of_messages(plain: Conversation, field: usize) -> Self {
        let mut marked = plain.clone();
        let all = marked.messages.iter_mut().all(|message| {
            let spoken = message.role() == "assistant";
            message.content_mut().is_none_or(|content| mark(content, field, spoken))
        });
        Self { plain, marked: all.then_some(marked), given: 0 }
    }

    /// The same with one more message.
    pub(super) fn with(&self, message: &Message, field: usize) -> Self {
        let mut plain = self.plain.clone();
        plain.messages.push(message.clone());
        let marked = self.marked.clone().and_then(|mut talk| {
            let mut message = message.clone();
            let fine = message.content_mut().is_none_or(|content| mark(content, field, true));
            talk.messages.push(message);
            fine.then_some(talk)
        });
        Self { plain, marked, given: self.given }
    }

    /// How many of its first messages teach nothing.
    pub(super) fn given(&self) -> usize {
        self.given
    }

    /// All that a chat template is given.
    pub(super) fn conversation(&self) -> &Conversation {
        &self.plain
    }

    /// Its messages.
    pub(super) fn messages(&self) -> &[Message] {
        &self.plain.messages
    }

    /// Its first so many messages.
    pub(super) fn first(&self, messages: usize) -> Self {
        let cut = |talk: &Conversation| {
            let mut talk = talk.clone();
            talk.messages.truncate(messages);
            talk
        };
        Self { plain: cut(&self.plain), marked: self.marked.as_ref().map(cut), given: self.given }
    }

    /// What it reads like.
    pub(super) fn text(&self, chat: &ChatTemplate, prompt: bool) -> Result<String, PromptError> {
        chat.render(&self.plain, prompt)
    }

    pub(super) fn show(&self, chat: &ChatTemplate, prompt: bool) -> Result<Shown, PromptError> {
        let text = self.text(chat, prompt)?;
        let tracked = |talk: &Conversation| {
            let rendering = chat.render_tracked(talk, prompt).ok()?;
            marks::without_marks(&rendering).filter(|u| u.marked.text == text)
        };
        if let Some(unmarked) = self.marked.as_ref().and_then(tracked) {
            let spans = Some(unmarked.marked.spans);
            return Ok(Shown { text, spans, generated: unmarked.generated });
        }
        let generated = tracked(&self.plain).map(|u| u.generated).unwrap_or_default();
        Ok(Shown { text, spans: None, generated })
    }
}

fn mark(content: &mut Value, field: usize, spoken: bool) -> bool {
    match content {
        Value::String(text) => match Marked::whole(text, field, spoken).with_marks() {
            Some(marked) => {
                *text = marked;
                true
            }
            None => false,
        },
        Value::Array(parts) => parts
            .iter_mut()
            .filter_map(|part| part.get_mut("text"))
            .all(|text| mark(text, field, spoken)),
        _ => true,
    }
}

/// The token that ends an assistant's turn: the first special token after what it says.
pub(super) fn turn_end(chat: &ChatTemplate, vocabulary: &Vocabulary) -> Option<u32> {
    const SAID: &str = "Fidelio-said-this.";
    let talk = Conversation::new(vec![Message::new("user", "?"), Message::new("assistant", SAID)]);
    let text = chat.render(&talk, false).ok()?;
    let tail = &text[text.rfind(SAID)? + SAID.len()..];
    let tokens = vocabulary.encode(tail).ok()?;
    // A special token of the next turn is no end of this one: only white space may stand before it.
    let (at, token) = tokens
        .iter()
        .enumerate()
        .find(|(_, t)| vocabulary.is_special(t.id) || vocabulary.eos().contains(&t.id))?;
    let before = tokens
        .first()
        .filter(|_| at > 0)
        .map_or("", |first| tail.get(first.range.start..token.range.start).unwrap_or("?"));
    before.trim().is_empty().then_some(token.id)
}
