//! The one road from a row to its tokens; training, evaluation, prediction and the server all take it.

mod answer;
mod budget;
mod document;
mod encode;
mod examples;
mod question;
mod talk;
mod turns;

use serde::Serialize;
use serde_json::Value;

use crate::layout::Content;
use crate::marks::Marked;
use crate::{
    Bos, ChatTemplate, ChatUse, Conversation, ExamplesShown, ExplainedToken, Explanation, Layout,
    Message, Outcome, PromptError, Purpose, Rendered, Row, Rules, Vocabulary, hash,
};
use answer::Reply;
use encode::Encoded;
use talk::{Shown, Talk};

pub use question::Question;

/// Where a row's prompt comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A layout over its columns.
    Layout(Layout),
    /// A column of messages. The last one is the answer, unless there is an output column.
    Messages {
        /// The column with the messages.
        column: String,
        /// The column with the answer, if it stands apart.
        output: Option<String>,
    },
    /// A column of plain documents: nothing is asked, and every token is learnt.
    Document {
        /// The column.
        column: String,
    },
}

/// Turns rows into tokens.
///
/// The prompt's ids are always the encoding of the prompt alone. An answer's ids are what the encoding of
/// prompt and answer together adds to them; where it does not begin with them, a rule decides.
#[derive(Debug, Clone)]
pub struct Renderer {
    source: Source,
    rules: Rules,
    vocabulary: Vocabulary,
    chat: Option<ChatTemplate>,
    fields: Vec<String>,
    stops: Vec<u32>,
    /// How the vocabulary spells the stops.
    stop_texts: Vec<String>,
    turn_end: Option<u32>,
}

/// Hashes of what decides a prompt, for run folders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fingerprint {
    /// The layout, or the messages column.
    pub source: String,
    /// The chat template, if it is used.
    pub chat_template: Option<String>,
    /// The rules.
    pub rules: String,
    /// The BOS id.
    pub bos: Option<u32>,
    /// The ids at which an answer stops.
    pub stops: Vec<u32>,
}

/// A prompt and the answers to choose among.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The prompt.
    pub prompt: Rendered,
    /// Each label's tokens behind the prompt, its stop included.
    pub answers: Vec<Vec<u32>>,
}

/// A prompt that fits, before it is answered.
struct Prompt {
    shown: Shown,
    encoded: Encoded,
    body: Body,
    cuts: Vec<crate::Cut>,
    examples: Option<ExamplesShown>,
    /// Its tokens before anything was cut or left out.
    read: usize,
}

/// The prompt of a layout before anything is cut.
struct Draft {
    content: Content,
    shown: Shown,
    encoded: Encoded,
    body: Body,
    examples: Option<ExamplesShown>,
    /// The tokens with all examples that were chosen.
    read: usize,
}

/// What the answer is appended to.
enum Body {
    Plain,
    Chat(Box<Talk>),
}

/// A row on its way: a prompt, or the news that it was dropped.
enum Prepared {
    Ready(Box<Prompt>),
    Dropped { tokens: usize, reason: String },
}

impl Renderer {
    /// A renderer.
    ///
    /// # Errors
    /// When rules contradict each other or the model: a chat template that is asked for and missing, a
    /// system text that the template ignores or refuses, a field rule for a field that does not exist.
    pub fn new(
        source: Source,
        rules: Rules,
        vocabulary: Vocabulary,
        chat: Option<ChatTemplate>,
    ) -> Result<Self, PromptError> {
        let needed_by = match (&source, rules.chat) {
            (Source::Messages { .. }, ChatUse::Never) => {
                let problem =
                    "is `never`, but a messages column needs the chat template".to_owned();
                return Err(PromptError::Rule { rule: "chat", problem });
            }
            (Source::Messages { .. }, _) => Some("a messages column"),
            (Source::Document { .. }, ChatUse::Always) => {
                let problem = "is `always`, but documents are read as they are".to_owned();
                return Err(PromptError::Rule { rule: "chat", problem });
            }
            (Source::Layout(layout), ChatUse::Never) if layout.has_turns() => {
                let problem = "is `never`, but examples as turns need the chat template".to_owned();
                return Err(PromptError::Rule { rule: "chat", problem });
            }
            (Source::Layout(layout), _) if layout.has_turns() => Some("examples as turns"),
            (_, ChatUse::Always) => Some("`chat: always`"),
            _ => None,
        };
        let chat = match (&source, rules.chat) {
            (Source::Document { .. }, _) | (_, ChatUse::Never) => None,
            (_, ChatUse::Auto | ChatUse::Always) => chat,
        };
        if let (None, Some(needed_by)) = (&chat, needed_by) {
            return Err(PromptError::NoChatTemplate { needed_by });
        }
        if chat.is_none() && rules.system.is_some() {
            return Err(PromptError::SystemUnused);
        }
        let (mut fields, output) = match &source {
            Source::Layout(layout) => (layout.fields().to_vec(), layout.spec().output.clone()),
            Source::Messages { column, output } => (vec![column.clone()], output.clone()),
            Source::Document { column } => (vec![column.clone()], None),
        };
        // The answer's field is the last one. A column of messages holds its answer itself.
        match (output, &source) {
            (Some(output), _) => fields.push(output),
            (None, Source::Layout(_)) => fields.push("answer".to_owned()),
            (None, Source::Messages { column, .. } | Source::Document { column }) => {
                fields.push(column.clone());
            }
        }
        let turn_end = match &chat {
            Some(chat) => talk::turn_end(chat, &vocabulary),
            None => None,
        };
        let mut stops = vocabulary.eos().to_vec();
        stops.extend(turn_end.filter(|id| !stops.contains(id)));
        let stop_texts = stops.iter().map(|id| vocabulary.piece(*id)).collect();
        let renderer =
            Self { source, rules, vocabulary, chat, fields, stops, stop_texts, turn_end };
        renderer.check_rules()?;
        Ok(renderer)
    }

    fn check_rules(&self) -> Result<(), PromptError> {
        self.check_budget()?;
        if self.rules.bos == Bos::Always && self.vocabulary.bos().is_none() {
            let problem = "is `always`, but the model has no BOS token".to_owned();
            return Err(PromptError::Rule { rule: "bos", problem });
        }
        if let (Some(chat), Some(system)) = (&self.chat, &self.rules.system) {
            let mut talk = Conversation::new(vec![
                Message::new("system", system.as_str()),
                Message::new("user", "?"),
            ]);
            talk.extra.clone_from(&self.rules.template_variables);
            if !chat.render(&talk, true)?.contains(system.trim()) {
                return Err(PromptError::SystemIgnored);
            }
        }
        Ok(())
    }

    /// The fields that tokens can come from; the answer's is the last.
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// The ids at which an answer ends: the model's EOS set and the token that ends a turn of its chat
    /// template.
    pub fn stop_ids(&self) -> &[u32] {
        &self.stops
    }

    /// The chat template, if it is used.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.chat.as_ref()
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The vocabulary.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Hashes and ids for the run folder.
    pub fn fingerprint(&self) -> Fingerprint {
        let source = match &self.source {
            Source::Layout(layout) => layout.sha256(),
            Source::Messages { column, output } => {
                hash::sha256(serde_json::json!([column, output]).to_string().as_bytes())
            }
            Source::Document { column } => {
                hash::sha256(serde_json::json!({ "document": column }).to_string().as_bytes())
            }
        };
        let rules = serde_json::to_string(&self.rules).unwrap_or_default();
        Fingerprint {
            source,
            chat_template: self.chat.as_ref().map(ChatTemplate::sha256),
            rules: hash::sha256(rules.as_bytes()),
            bos: self.vocabulary.bos(),
            stops: self.stops.clone(),
        }
    }

    /// The tokens of a row. A document's are the same for every purpose.
    ///
    /// # Errors
    /// Everything that would make the row other than what the run file says; see [`PromptError`].
    pub fn render(&self, row: &Row<'_>, purpose: Purpose) -> Result<Outcome, PromptError> {
        if let Source::Document { column } = &self.source {
            return self.document(column, row);
        }
        let (prepared, reply) = self.prepare(row, purpose)?;
        let prompt = match prepared {
            Prepared::Ready(prompt) => prompt,
            Prepared::Dropped { tokens, reason } => return Ok(Outcome::Dropped { tokens, reason }),
        };
        match (purpose, reply) {
            (Purpose::Train, Some(reply)) => self.answered(&prompt, &reply, row.number),
            _ => Ok(Outcome::Kept(Self::unanswered(*prompt))),
        }
    }

    /// A row's prompt and, for each label, the tokens that would answer it, the stop included; none if the
    /// row is dropped.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn render_labels(
        &self,
        row: &Row<'_>,
        labels: &[&str],
    ) -> Result<Option<Choice>, PromptError> {
        let (prepared, _) = self.prepare(row, Purpose::Answer)?;
        let Prepared::Ready(prompt) = prepared else { return Ok(None) };
        let mut answers = vec![];
        for label in labels {
            let reply = Reply::text((*label).to_owned());
            let whole = self.complete(&prompt, &reply, row.number)?;
            answers.push(whole.ids[whole.prompt_len..].to_vec());
        }
        Ok(Some(Choice { prompt: Self::unanswered(*prompt), answers }))
    }

    /// The tokens of a row whose answer is a label, as [`render_labels`](Self::render_labels) would have
    /// them scored: prompt, label and stop, the last two to be learnt.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn render_labeled(&self, row: &Row<'_>, label: &str) -> Result<Outcome, PromptError> {
        let (prepared, _) = self.prepare(row, Purpose::Answer)?;
        match prepared {
            Prepared::Ready(prompt) => {
                self.answered(&prompt, &Reply::text(label.to_owned()), row.number)
            }
            Prepared::Dropped { tokens, reason } => Ok(Outcome::Dropped { tokens, reason }),
        }
    }

    /// The tokens of a conversation that does not come from a table, for the server and the terminal.
    /// To answer, it is rendered as it is; to train, its last message is the answer.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn render_conversation(
        &self,
        talk: &Conversation,
        purpose: Purpose,
    ) -> Result<Outcome, PromptError> {
        let mut talk = talk.clone();
        let reply = match purpose {
            Purpose::Answer => None,
            Purpose::Train => Some(Reply::last_of(&mut talk, 0)?),
        };
        let prompt = match self.prepare_talk(talk, reply.as_ref(), 0)? {
            Prepared::Ready(prompt) => prompt,
            Prepared::Dropped { tokens, reason } => return Ok(Outcome::Dropped { tokens, reason }),
        };
        match reply {
            Some(reply) => self.answered(&prompt, &reply, 0),
            None => Ok(Outcome::Kept(Self::unanswered(*prompt))),
        }
    }

    /// A rendering, token by token.
    pub fn explain_rendered(&self, rendered: &Rendered) -> Explanation {
        let tokens = rendered.ids.iter().enumerate().map(|(i, &id)| ExplainedToken {
            id,
            piece: self.vocabulary.piece(id),
            field: rendered.field_of[i].and_then(|f| self.fields.get(f).cloned()),
            learnt: rendered.learn[i],
            special: self.vocabulary.is_special(id),
        });
        Explanation {
            text: rendered.text.clone(),
            tokens: tokens.collect(),
            prompt_len: rendered.prompt_len,
            fields_known: rendered.fields_known,
            cuts: rendered.cuts.clone(),
            examples: rendered.examples.clone(),
        }
    }

    fn prepare(
        &self,
        row: &Row<'_>,
        purpose: Purpose,
    ) -> Result<(Prepared, Option<Reply>), PromptError> {
        let (column, output) = match &self.source {
            Source::Layout(layout) => {
                let reply = match purpose {
                    Purpose::Train => Some(self.reply(row, layout.spec().output.as_deref())?),
                    Purpose::Answer => None,
                };
                return Ok((self.prepare_layout(layout, row)?, reply));
            }
            Source::Messages { column, output } => (column, output),
            Source::Document { column } => {
                let needed = format!("`{column}` holds documents, which ask for no answer");
                return Err(PromptError::Rule { rule: "document", problem: needed });
            }
        };
        let mut talk = Conversation::from_cell(row.cell(column)?)
            .map_err(|source| in_cell(row.number, column, source))?;
        let reply = match (purpose, output) {
            (Purpose::Train, Some(_)) => Some(self.reply(row, output.as_deref())?),
            (Purpose::Train, None) => Some(Reply::last_of(&mut talk, row.number)?),
            (Purpose::Answer, Some(_)) => None,
            (Purpose::Answer, None) => {
                // The last message is what the model is asked for.
                if talk.messages.last().is_some_and(|m| m.role() == "assistant") {
                    talk.messages.pop();
                }
                None
            }
        };
        Ok((self.prepare_talk(talk, reply.as_ref(), row.number)?, reply))
    }

    fn reply(&self, row: &Row<'_>, output: Option<&str>) -> Result<Reply, PromptError> {
        let column = output.unwrap_or("answer");
        let text = if let Some(text) = row.answer {
            text.to_owned()
        } else {
            let cell = row.cell(column)?;
            crate::layout::cell_text(cell, false).ok_or_else(|| PromptError::NullCell {
                row: row.number,
                column: column.to_owned(),
            })?
        };
        if text.trim().is_empty() {
            let column = column.to_owned();
            return Err(PromptError::EmptyAnswer { row: row.number, column });
        }
        self.check_text(&text, self.answer_field(), row.number)?;
        Ok(Reply::text(text))
    }

    fn answer_field(&self) -> usize {
        self.fields.len() - 1
    }

    fn prepare_layout(&self, layout: &Layout, row: &Row<'_>) -> Result<Prepared, PromptError> {
        let draft = if layout.shows_examples() {
            self.with_examples(layout, row)?
        } else {
            self.draft(layout, layout.content(row, &[])?, row.number)?
        };
        self.fit_layout(layout, draft, row.number)
    }

    /// The prompt of a layout as it would be sent if it fits.
    fn draft(&self, layout: &Layout, content: Content, row: usize) -> Result<Draft, PromptError> {
        for (field, value) in layout.slot_fields().zip(&content.values) {
            self.check_text(value, field, row)?;
        }
        for text in content.turns.iter().flatten() {
            self.check_text(text, layout.example_field().unwrap_or(0), row)?;
        }
        let (shown, body) = self.show_layout(layout, &content)?;
        let encoded = self.encode(&shown, row)?;
        let read = encoded.tokens.len();
        Ok(Draft { content, shown, encoded, body, examples: None, read })
    }

    /// The prompt with this content, as it would be sent.
    fn show_layout(
        &self,
        layout: &Layout,
        content: &Content,
    ) -> Result<(Shown, Body), PromptError> {
        let marked: Marked = layout.fill(&content.values);
        let Some(chat) = &self.chat else {
            return Ok((Shown::plain(marked), Body::Plain));
        };
        let of_examples = layout.example_field().unwrap_or(0);
        let talk = Talk::of_user(&self.rules, &content.turns, of_examples, &marked);
        Ok((talk.show(chat, true)?, Body::Chat(Box::new(talk))))
    }

    fn prepare_talk(
        &self,
        mut talk: Conversation,
        reply: Option<&Reply>,
        row: usize,
    ) -> Result<Prepared, PromptError> {
        let Some(chat) = &self.chat else {
            return Err(PromptError::NoChatTemplate { needed_by: "a conversation" });
        };
        if let Some(system) = &self.rules.system
            && talk.messages.first().is_none_or(|m| m.role() != "system")
        {
            talk.messages.insert(0, Message::new("system", system.as_str()));
        }
        for (name, value) in &self.rules.template_variables {
            talk.extra.entry(name.as_str()).or_insert_with(|| value.clone());
        }
        for message in &talk.messages {
            self.check_message(message, row)?;
        }
        if let Some(Reply { message: Some(message), .. }) = reply {
            self.check_message(message, row)?;
        }
        self.check_unplaced(&talk, row)?;
        let talk = Talk::of_messages(talk, 0);
        let shown = talk.show(chat, true)?;
        let encoded = self.encode(&shown, row)?;
        self.fit_talk(shown, encoded, Body::Chat(Box::new(talk)), row)
    }

    /// Refuses special tokens where nobody follows the text through the template: in tools, documents,
    /// and all of a message but what it says.
    fn check_unplaced(&self, talk: &Conversation, row: usize) -> Result<(), PromptError> {
        if self.rules.special_tokens_in_data == crate::SpecialTokens::Allow {
            return Ok(());
        }
        let keys = talk.messages.iter().flat_map(Message::keys);
        let others = keys.filter(|(key, _)| *key != "content").map(|(_, value)| value);
        let beside = talk.tools.iter().chain(&talk.documents).chain(talk.extra.values());
        others.chain(beside).try_for_each(|it| self.no_special(it, row))
    }

    fn no_special(&self, value: &Value, row: usize) -> Result<(), PromptError> {
        let special = |text: &str| match self.vocabulary.special_in(text) {
            None => Ok(()),
            Some((_, token)) => Err(PromptError::CannotEscape {
                row,
                field: self.fields[0].clone(),
                token: token.to_owned(),
                reason: "it stands in no message's text",
            }),
        };
        match value {
            Value::String(text) => special(text),
            Value::Array(items) => items.iter().try_for_each(|it| self.no_special(it, row)),
            Value::Object(map) => map.iter().try_for_each(|(key, it)| {
                special(key)?;
                self.no_special(it, row)
            }),
            _ => Ok(()),
        }
    }

    fn check_message(&self, message: &Message, row: usize) -> Result<(), PromptError> {
        message.keys().values().try_for_each(|value| self.check_json(value, row))
    }

    fn check_json(&self, value: &Value, row: usize) -> Result<(), PromptError> {
        match value {
            Value::String(text) => self.check_text(text, 0, row),
            Value::Array(items) => items.iter().try_for_each(|v| self.check_json(v, row)),
            Value::Object(map) => map.iter().try_for_each(|(key, v)| {
                self.check_text(key, 0, row)?;
                self.check_json(v, row)
            }),
            _ => Ok(()),
        }
    }

    fn unanswered(prompt: Prompt) -> Rendered {
        let n = prompt.encoded.tokens.len();
        let field_of = prompt.encoded.fields(&prompt.shown);
        Rendered {
            ids: prompt.encoded.tokens.iter().map(|t| t.id).collect(),
            learn: vec![false; n],
            field_of,
            fields_known: prompt.shown.spans.is_some(),
            text: prompt.shown.text,
            ranges: prompt.encoded.tokens.into_iter().map(|t| t.range).collect(),
            prompt_len: n,
            cuts: prompt.cuts,
            examples: prompt.examples,
            read: prompt.read,
        }
    }
}

fn in_cell(row: usize, column: &str, source: PromptError) -> PromptError {
    PromptError::Cell { row, column: column.to_owned(), source: Box::new(source) }
}
