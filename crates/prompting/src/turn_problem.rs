//! Why one turn of a conversation cannot be learnt.

/// What a chat template or a conversation does to a turn of the assistant, so that learning it from the
/// whole conversation would teach something else than the model is asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TurnProblem {
    /// The conversation before the turn is written otherwise once there is more of it.
    #[error(
        "after `{common_end}` the conversation has `{has}`, and the prompt of this turn alone has `{prompt_has}`"
    )]
    PromptChanges {
        /// The last characters that agree.
        common_end: String,
        /// What follows in the conversation.
        has: String,
        /// What follows in the prompt of the turn.
        prompt_has: String,
    },
    /// The turn itself is written otherwise once something follows it.
    #[error(
        "after `{common_end}` the conversation has `{has}`, and the turn as the last one has `{turn_has}`"
    )]
    AnswerChanges {
        /// The last characters that agree.
        common_end: String,
        /// What follows in the conversation.
        has: String,
        /// What follows where the turn is the last.
        turn_has: String,
    },
    /// The tokenizer joins the end of the turn's prompt and the beginning of the turn into one token.
    #[error(
        "the tokenizer merges the end of its prompt `{prompt_end}` with its beginning `{start}`"
    )]
    Merged {
        /// The prompt's last characters.
        prompt_end: String,
        /// The turn's first characters.
        start: String,
    },
    /// No stop follows the turn: learning it would teach the model not to stop.
    #[error("no token that generation stops at follows it, but `{followed_by}`")]
    NoStop {
        /// What follows instead.
        followed_by: String,
    },
    /// The template's `{% generation %}` blocks leave out what the model would have to write.
    #[error(
        "the chat template's generation block leaves out `{text}`, which the model has to write"
    )]
    NotGenerated {
        /// What is left out.
        text: String,
    },
    /// The assistant says nothing.
    #[error("it is empty")]
    Empty,
    /// The chat template writes nothing of what the assistant says.
    #[error("the chat template writes nothing of it")]
    Dropped,
    /// The conversation up to the turn gives no prompt: the chat template refuses it, say.
    #[error("the conversation up to it gives no prompt: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
}

impl TurnProblem {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::PromptChanges { .. } | Self::AnswerChanges { .. } => {
                "learn the last turn only (`learn: last`), or use a chat template that writes every turn the same whatever follows"
            }
            Self::Merged { .. } => {
                "learn the last turn only (`learn: last`), or end the template's opening of a turn with a line break"
            }
            Self::NoStop { .. } => {
                "learn the last turn only (`learn: last`), or check that the template's end of turn is a token of this model"
            }
            Self::NotGenerated { .. } => {
                "put it inside the template's `{% generation %}` block, or into its generation prompt"
            }
            Self::Dropped => {
                "use a chat template that writes such messages (tool calls, say), or take the row out"
            }
            Self::Empty => "take the row out, or the empty message",
            Self::Refused { .. } => "learn the last turn only (`learn: last`)",
        }
    }
}
