//! Text to tokens: templates, chat templates, token budget, what is learnt.
