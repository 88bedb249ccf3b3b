//! A request on its way: what it has so far, and how its next token is chosen.

use std::{sync::Arc, time::Duration};

use fidelio_backend::{AdapterId, Logits, Shape};
use tokenizers::Tokenizer;

use crate::{
    Decoding, Emitted, Finish, FinishReason, Request, RequestId, RowView, Rules, TextStream,
    TokenLogprobs, Usage, Verdict,
    sample::{self, by_logit},
    stop::{Passed, StopStrings},
};

/// All that a request is, apart from its place in the cache: it can lose that and go on.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: RequestId,
    /// When it is its turn, among those that wait.
    pub(crate) turn: u64,
    /// What it is computed with.
    pub(crate) adapter: Option<AdapterId>,
    /// Prompt and answer.
    pub(crate) ids: Vec<u32>,
    prompt: usize,
    decoding: Decoding,
    rules: Rules,
    stream: TextStream,
    stops: StopStrings,
    text: String,
    /// Tokens of the answer so far, the end-of-sequence token included.
    taken: usize,
    /// How many of them were forced.
    pub(crate) forced: usize,
    /// How many tokens were taken together last: sampled, and forced behind it.
    pub(crate) fresh: usize,
    /// Prompt tokens that another row had computed when this one first got its place.
    pub(crate) cached_prompt: Option<usize>,
    /// When it first got its place.
    pub(crate) began: Option<Duration>,
}

impl Job {
    pub(crate) fn new(
        id: RequestId,
        turn: u64,
        request: Request,
        tokenizer: &Arc<Tokenizer>,
    ) -> Self {
        let Request {
            prompt,
            decoding,
            adapter,
            client: _,
            keep_special_tokens,
            grammar: _,
            rules,
        } = request;
        Self {
            id,
            turn,
            adapter,
            prompt: prompt.len(),
            ids: prompt,
            rules: Rules::new(&decoding, rules),
            stream: TextStream::new(Arc::clone(tokenizer)).with_special(keep_special_tokens),
            stops: StopStrings::new(&decoding.stop_strings),
            decoding,
            text: String::new(),
            taken: 0,
            forced: 0,
            fresh: 0,
            cached_prompt: None,
            began: None,
        }
    }

    pub(crate) fn is_late(&self, now: Duration) -> bool {
        self.began
            .zip(self.decoding.max_time)
            .is_some_and(|(began, max_time)| now.saturating_sub(began).as_secs_f64() >= max_time)
    }

    fn row(&self) -> RowView<'_> {
        RowView { ids: &self.ids, prompt: self.prompt }
    }

    /// The part of the logits that the next choice needs.
    pub(crate) fn shape(&self) -> Shape<'static> {
        let enough = if self.decoding.do_sample { self.decoding.top_k } else { 1 };
        if enough == 0 || self.rules.need_ids(&self.row()) {
            return Shape::Full;
        }
        Shape::Top { k: enough.max(self.decoding.logprobs.unwrap_or(0)), also: &[] }
    }

    /// Chooses the next token and says what that gives to the outside.
    pub(crate) fn take(&mut self, logits: Logits) -> Emitted {
        let (token, logprobs) = match self.choose(logits) {
            Ok(choice) => choice,
            Err(why) => return self.finish(FinishReason::Failed(why)),
        };
        self.taken += 1;
        self.fresh = 1;
        self.rules.accept(token);
        let mut emitted = if self.decoding.eos_token_id.contains(&token) {
            self.finish(FinishReason::Eos(token))
        } else {
            self.append(token)
        };
        emitted.logprobs.extend(logprobs);
        self.follow(emitted)
    }

    /// What is certain before the model was asked: text that the answer must begin with. None where
    /// it may begin in more than one way.
    pub(crate) fn begin(&mut self) -> Option<Emitted> {
        let emitted = self.follow(self.emit(String::new()));
        (!emitted.tokens.is_empty() || emitted.finish.is_some()).then_some(emitted)
    }

    /// Adds what must follow: forced tokens, or the end.
    fn follow(&mut self, mut emitted: Emitted) -> Emitted {
        while emitted.finish.is_none() {
            match self.rules.verdict() {
                Verdict::Open => {}
                Verdict::Over => return emitted.then(self.finish(FinishReason::Grammar)),
                Verdict::Failed(why) => {
                    return emitted.then(self.finish(FinishReason::Failed(why)));
                }
            }
            if !self.decoding.takes_forced_tokens() {
                break;
            }
            let forced = self.rules.forced();
            if forced.is_empty() {
                break;
            }
            for token in forced {
                if emitted.finish.is_none() {
                    self.taken += 1;
                    self.fresh += 1;
                    self.forced += 1;
                    self.rules.accept(token);
                    emitted = emitted.then(self.append(token));
                }
            }
        }
        emitted
    }

    fn append(&mut self, token: u32) -> Emitted {
        self.ids.push(token);
        let text = match self.stream.push(token) {
            Ok(text) => text,
            Err(error) => return self.finish(FinishReason::Failed(error.to_string())),
        };
        // Text that is held, but whole, may complete a stop string: ending here makes it certain.
        let held = self.stream.held();
        let ahead = if held.ends_with(char::REPLACEMENT_CHARACTER) { "" } else { held };
        let mut emitted = match self.stops.push(&text, ahead) {
            Passed::Stop { text, stop } => {
                let reason = FinishReason::Stop(self.decoding.stop_strings[stop].clone());
                self.end(text, reason)
            }
            Passed::On(text) => {
                self.text.push_str(&text);
                if self.ids.len() - self.prompt < self.decoding.max_new_tokens {
                    self.emit(text)
                } else {
                    let mut last = self.finish(FinishReason::Length);
                    last.text.insert_str(0, &text);
                    last
                }
            }
        };
        emitted.tokens.push(token);
        emitted
    }

    /// Ends the request and hands out the text that was held back.
    pub(crate) fn finish(&mut self, reason: FinishReason) -> Emitted {
        let held = self.stream.finish();
        match self.stops.push(&held, "") {
            Passed::Stop { text, stop } => {
                let reason = FinishReason::Stop(self.decoding.stop_strings[stop].clone());
                self.end(text, reason)
            }
            Passed::On(text) => {
                let text = text + &self.stops.finish();
                self.end(text, reason)
            }
        }
    }

    fn end(&mut self, text: String, reason: FinishReason) -> Emitted {
        self.text.push_str(&text);
        let finish = Finish {
            reason,
            usage: Usage {
                prompt_tokens: self.prompt,
                cached_prompt_tokens: self.cached_prompt.unwrap_or(0).min(self.prompt),
                completion_tokens: self.taken,
            },
            text: self.text.clone(),
            ids: self.row().generated().to_vec(),
        };
        Emitted { finish: Some(finish), ..self.emit(text) }
    }

    fn emit(&self, text: String) -> Emitted {
        Emitted { request: self.id, text, tokens: Vec::new(), logprobs: Vec::new(), finish: None }
    }

    /// The next token, or why there is none.
    fn choose(&mut self, logits: Logits) -> Result<(u32, Option<TokenLogprobs>), String> {
        let (ids, mut logits, logsumexp) = match logits {
            Logits::Full(logits) => (None, logits, None),
            Logits::Top { entries, logsumexp } => {
                // In the order of ids, as full logits are, so that both give the same draw.
                let mut entries = entries;
                entries.sort_unstable_by_key(|entry| entry.0);
                let (ids, logits) = entries.into_iter().unzip();
                (Some::<Vec<u32>>(ids), logits, Some(f64::from(logsumexp)))
            }
        };
        if logits.iter().any(|logit| logit.is_nan() || *logit == f32::INFINITY) {
            return Err("the model's logits are not numbers".to_owned());
        }
        let id = |at: usize| ids.as_ref().map_or(at as u32, |ids| ids[at]);
        let raw = self.decoding.logprobs.map(|_| logits.clone());

        let row = RowView { ids: &self.ids, prompt: self.prompt };
        self.rules.apply(&row, &mut logits);
        let chosen = if self.decoding.do_sample {
            let step = (self.ids.len() - self.prompt) as u64;
            sample::draw(&logits, sample::uniform(self.decoding.seed, step))
        } else {
            sample::greedy(&logits)
        };
        let Some(chosen) = chosen else {
            return Err(match self.rules.verdict() {
                Verdict::Failed(why) => why,
                _ => "the rules exclude every token".to_owned(),
            });
        };

        let logprobs = raw.map(|raw| {
            let logsumexp = logsumexp.unwrap_or_else(|| sample::logsumexp(&raw));
            let logprob = |at: usize| (f64::from(raw[at]) - logsumexp) as f32;
            let top = largest(&raw, self.decoding.logprobs.unwrap_or(0));
            TokenLogprobs {
                token: id(chosen),
                logprob: logprob(chosen),
                top: top.into_iter().map(|at| (id(at), logprob(at))).collect(),
            }
        });
        Ok((id(chosen), logprobs))
    }
}

impl Emitted {
    /// This, and what came right after it.
    fn then(mut self, next: Self) -> Self {
        self.text += &next.text;
        self.tokens.extend(next.tokens);
        self.logprobs.extend(next.logprobs);
        self.finish = next.finish;
        self
    }
}

/// The places of the `n` largest logits, descending.
fn largest(logits: &[f32], n: usize) -> Vec<usize> {
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    if n == 0 {
        return Vec::new();
    }
    if n < order.len() {
        order.select_nth_unstable_by(n - 1, |&a, &b| by_logit(logits, a, b));
        order.truncate(n);
    }
    order.sort_unstable_by(|&a, &b| by_logit(logits, a, b));
    order.into_iter().map(|at| at as usize).collect()
}
