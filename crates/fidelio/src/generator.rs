//! Text from a model, without a table: for `generate`, `chat`, and programs.

use std::time::Instant;

use fidelio_backend::{AdapterId, Session};
use fidelio_generate::{Decoding, Engine, FinishReason, Grammar, Limits, Request};
use fidelio_prompting::{
    ChatUse, Conversation, Layout, LayoutSpec, Outcome, Purpose, Renderer, Row, Rules,
    Source as PromptSource, SpecialTokens,
};
use fidelio_weights::Progress;
use serde::Serialize;

use crate::{
    Error, Flow, Machine, Model, Opening, RunFile, ServedBase, Serving, adapters::Trained,
    provenance::check_base, train::check_same,
};

/// The field that a prompt from the outside fills.
const PROMPT: &str = "prompt";

/// A model on a device, ready to continue prompts.
pub struct Generator {
    model: Model,
    session: Option<Box<dyn Session>>,
    adapter: Option<AdapterId>,
    /// What continuations are held to.
    grammar: Option<Grammar>,
    /// What the system says where nobody says otherwise: what it said in training.
    system: Option<String>,
    how: Opening,
    opened_in: f64,
    note: Option<String>,
}

/// A continuation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Generated {
    /// The text.
    pub text: String,
    /// `stop`, `length`, `cancelled`, …
    pub finish_reason: &'static str,
    /// Its tokens, without the end.
    pub ids: Vec<u32>,
    /// What it took.
    pub usage: GeneratedUsage,
}

/// What a continuation took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GeneratedUsage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens generated, the end included.
    pub completion_tokens: usize,
    /// Prompt tokens per second; none for an empty measurement.
    pub prefill_tokens_per_second: Option<f64>,
    /// Tokens per second after the first; none with fewer than two tokens.
    pub decode_tokens_per_second: Option<f64>,
    /// Seconds from the call to the first token.
    pub first_token_seconds: Option<f64>,
    /// Of 100 waits for a next token 95 take no more seconds than this; none with fewer than two
    /// tokens.
    pub next_token_p95_seconds: Option<f64>,
}

impl std::fmt::Debug for Generator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generator").field("model", &self.model).finish_non_exhaustive()
    }
}

impl Generator {
    /// Finds a model and puts it on a device (`auto`, `flex`, `cuda:0`, …).
    ///
    /// # Errors
    /// When the model or the device cannot be used.
    pub fn open(
        machine: &Machine,
        base_model: &str,
        device: &str,
        how: &Opening,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let device = machine.device(device)?;
        let model = Model::find(machine, base_model, progress)?;
        let started = Instant::now();
        let session = Some(model.open(&device, how)?);
        let opened_in = started.elapsed().as_secs_f64();
        let (adapter, grammar, system, note) = (None, None, None, None);
        Ok(Self { model, session, adapter, grammar, system, how: *how, opened_in, note })
    }

    /// The model of a run file, with the adapter that its run left behind or that it names; what it
    /// says is held to the form of the run's answers, and conversations begin with the run's system
    /// message where they have none.
    ///
    /// # Errors
    /// As [`Self::open`], and when the adapter does not fit the model.
    pub fn of_run(
        machine: &Machine,
        run: &RunFile,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        Self::of_run_as(machine, run, &Opening::of(run.config()), progress)
    }

    /// As [`Self::of_run`], opened in a way of its own.
    pub(crate) fn of_run_as(
        machine: &Machine,
        run: &RunFile,
        how: &Opening,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let config = run.config();
        let grammar = run.answer_form().map(|form| form.grammar().clone());
        let system = config.prompt.system.clone();
        let Some(trained) = Trained::in_use(machine, run)? else {
            let opened = Self::open(machine, &run.base_model(), &config.device, how, progress)?;
            return Ok(Self { grammar, system, ..opened });
        };
        let device = machine.device(&config.device)?;
        let model = Model::find(machine, &run.base_model(), progress)?;
        let model = model.under(Some(&trained.adapter.spec))?;
        if let Some(run) = run.trained() {
            check_same(run, &serde_json::json!({ "model": model.card() }))?;
        }
        let note = check_base(machine, run, &model)?;
        let started = Instant::now();
        let (session, adapter) = model.open_adapted(&device, how, &trained.adapter)?;
        let opened_in = started.elapsed().as_secs_f64();
        let (session, adapter) = (Some(session), Some(adapter));
        Ok(Self { model, session, adapter, grammar, system, how: *how, opened_in, note })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Holds what it says from now on to a grammar, or to none.
    pub fn hold_to(&mut self, grammar: Option<Grammar>) {
        self.grammar = grammar;
    }

    /// What the user should know about it, where there is something.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Seconds that putting the model on its device took.
    pub fn opened_in(&self) -> f64 {
        self.opened_in
    }

    /// Whether prompts are wrapped in a chat template.
    pub fn has_chat_template(&self) -> bool {
        self.model.checkpoint().chat_template().is_some()
    }

    /// Greedy decoding until the model's own end.
    ///
    /// # Errors
    /// When the model's chat template is broken.
    pub fn decoding(&self) -> Result<Decoding, Error> {
        let eos_token_id = self.renderer(false, None)?.stop_ids().to_vec();
        Ok(Decoding { eos_token_id, ..Decoding::default() })
    }

    /// The tokens of a prompt: wrapped in the chat template where the model has one, unless `raw`.
    ///
    /// # Errors
    /// When it cannot be rendered.
    pub fn prompt(&self, text: &str, raw: bool, system: Option<&str>) -> Result<Vec<u32>, Error> {
        let usual = self.system.clone().filter(|_| !raw);
        let renderer = self.renderer(raw, system.map(str::to_owned).or(usual))?;
        let cells = serde_json::Map::from_iter([(PROMPT.to_owned(), text.into())]);
        Ok(tokens(renderer.render(&Row::new(0, &cells), Purpose::Answer)?))
    }

    /// The tokens of a conversation that the assistant is to continue.
    ///
    /// # Errors
    /// When it cannot be rendered.
    pub fn conversation(&self, talk: &Conversation) -> Result<Vec<u32>, Error> {
        let renderer = chat_renderer(&self.model, rules(ChatUse::Always, self.system.clone()))?;
        Ok(tokens(renderer.render_conversation(talk, Purpose::Answer)?))
    }

    /// Takes it apart for a server, which batches requests as they come.
    ///
    /// # Errors
    /// When the model's chat template is broken.
    pub fn into_serving(mut self) -> Result<Serving, Error> {
        Ok(Serving {
            chat: strangers_chat(&self.model, self.system.clone())?,
            plain: self.renderer(true, None)?,
            decoding: self.decoding()?,
            tokenizer: self.model.vocabulary().shared_tokenizer(),
            adapter: self.adapter,
            grammar: self.grammar,
            session: self.session.take().expect("the session comes back after every call"),
            base: ServedBase::new(self.model, self.how),
        })
    }

    /// Continues a prompt; `on` gets the text as it comes and says whether to go on.
    ///
    /// # Errors
    /// When the request cannot be, or the engine fails.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        decoding: Decoding,
        on: &mut dyn FnMut(&str) -> Flow,
    ) -> Result<Generated, Error> {
        let session = self.session.take().expect("the session comes back after every call");
        let text = self.model.vocabulary().shared_tokenizer();
        let mut engine = Engine::new(session, text, Limits::default())?;
        let request = Request::new(prompt, decoding)
            .with_adapter(self.adapter)
            .with_grammar(self.grammar.clone());
        let result = continue_prompt(&mut engine, request, on);
        self.session = Some(engine.into_session()?);
        result
    }

    /// What computes, for measurements that want logits.
    pub(crate) fn session(&mut self) -> (&mut dyn Session, Option<AdapterId>) {
        let session = self.session.as_mut().expect("the session comes back after every call");
        (session.as_mut(), self.adapter)
    }

    fn renderer(&self, raw: bool, system: Option<String>) -> Result<Renderer, Error> {
        let spec = LayoutSpec { input: PROMPT.into(), ..LayoutSpec::default() };
        let layout = Layout::new(&spec, &[PROMPT.to_owned()])
            .expect("a layout of its one column has no mistake");
        let chat = if raw { ChatUse::Never } else { ChatUse::Auto };
        self.model.renderer(PromptSource::Layout(layout), rules(chat, system))
    }
}

fn chat_renderer(model: &Model, rules: Rules) -> Result<Renderer, Error> {
    let column = PromptSource::Messages { column: "messages".into(), output: None };
    model.renderer(column, rules)
}

/// What renders the conversations of clients, whose messages are text whatever they spell; none where
/// the model was taught no way to talk. `system` stands before conversations that bring none.
pub(crate) fn strangers_chat(
    model: &Model,
    system: Option<String>,
) -> Result<Option<Renderer>, Error> {
    if model.checkpoint().chat_template().is_none() {
        return Ok(None);
    }
    let special_tokens_in_data = SpecialTokens::Escape;
    let rules = Rules { special_tokens_in_data, ..rules(ChatUse::Always, system) };
    chat_renderer(model, rules).map(Some)
}

/// A person at a terminal may well want to write special tokens.
fn rules(chat: ChatUse, system: Option<String>) -> Rules {
    let special_tokens_in_data = SpecialTokens::Allow;
    Rules { chat, system, special_tokens_in_data, ..Rules::default() }
}

fn tokens(outcome: Outcome) -> Vec<u32> {
    match outcome {
        Outcome::Kept(rendered) => rendered.ids,
        Outcome::Windows { .. } => unreachable!("a prompt is no document"),
        Outcome::Dropped { reason, .. } => unreachable!("no rule drops rows here: {reason}"),
    }
}

fn continue_prompt(
    engine: &mut Engine<'_>,
    request: Request,
    on: &mut dyn FnMut(&str) -> Flow,
) -> Result<Generated, Error> {
    let started = Instant::now();
    // Seconds from the call at which tokens came, and how many together.
    let mut came: Vec<(f64, usize)> = Vec::new();
    let request = engine.submit(request)?;
    loop {
        for emitted in engine.step()? {
            if !emitted.tokens.is_empty() {
                came.push((started.elapsed().as_secs_f64(), emitted.tokens.len()));
            }
            let flow = if emitted.text.is_empty() { Flow::Continue } else { on(&emitted.text) };
            if let Some(finish) = emitted.finish {
                let stats = engine.stats();
                return Ok(Generated {
                    text: finish.text,
                    finish_reason: FinishReason::name(&finish.reason),
                    ids: finish.ids,
                    usage: GeneratedUsage {
                        prompt_tokens: finish.usage.prompt_tokens,
                        completion_tokens: finish.usage.completion_tokens,
                        prefill_tokens_per_second: stats.prefill_tokens_per_second(),
                        decode_tokens_per_second: rate_after_first(&came),
                        first_token_seconds: came.first().map(|(moment, _)| *moment),
                        next_token_p95_seconds: p95_of_waits(&came),
                    },
                });
            }
            if flow == Flow::Stop {
                engine.cancel(request)?;
            }
        }
    }
}

/// Tokens per second after the first, choosing among logits included.
fn rate_after_first(came: &[(f64, usize)]) -> Option<f64> {
    let ((first, _), rest) = came.split_first()?;
    let (last, _) = rest.last()?;
    let after: usize = rest.iter().map(|(_, tokens)| tokens).sum();
    (last > first).then(|| after as f64 / (last - first))
}

/// The wait that 95 of 100 waits between these moments do not exceed.
fn p95_of_waits(came: &[(f64, usize)]) -> Option<f64> {
    let mut waits: Vec<f64> = came.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    waits.sort_by(f64::total_cmp);
    waits.get((waits.len() * 95).div_ceil(100).checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fidelio_backend::{FakeLimits, FakeSession};

    use super::*;

    fn generated(decoding: Decoding) -> Generated {
        // Its logits always favour token 2, the end.
        let session = FakeSession::scripted(FakeLimits::default(), |path| {
            (0..FakeLimits::default().vocabulary)
                .map(|id| f32::from(id == 2) + path.len() as f32)
                .collect()
        });
        let text = tokenizers::Tokenizer::new(tokenizers::models::bpe::BPE::default());
        let mut engine = Engine::new(Box::new(session), Arc::new(text), Limits::default()).unwrap();
        let decoding = Decoding { eos_token_id: vec![2], max_new_tokens: 9, ..decoding };
        let request = Request::new([5, 6, 7], decoding);
        continue_prompt(&mut engine, request, &mut |_| Flow::Continue).unwrap()
    }

    #[test]
    fn latencies_are_those_of_the_tokens_that_came() {
        let one = generated(Decoding::default()).usage;
        assert_eq!((one.completion_tokens, one.next_token_p95_seconds), (1, None));
        let usage = generated(Decoding { min_new_tokens: 9, ..Decoding::default() }).usage;
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (3, 9));
        assert!(usage.first_token_seconds.unwrap() > 0.0);
        assert!(usage.next_token_p95_seconds.unwrap() > 0.0);
        assert!(usage.decode_tokens_per_second.unwrap() > 0.0);
    }

    #[test]
    fn the_95th_percentile_is_a_wait_that_was() {
        assert_eq!(p95_of_waits(&[]), None);
        assert_eq!(p95_of_waits(&[(1.0, 1)]), None);
        assert_eq!(p95_of_waits(&[(1.0, 1), (1.5, 1)]), Some(0.5));
        // Waits of 1 to 100, in another order.
        let mut came = vec![(0.0, 1)];
        for wait in (1..=100).rev() {
            came.push((came.last().unwrap().0 + f64::from(wait), 1));
        }
        assert_eq!(p95_of_waits(&came), Some(95.0));
        assert_eq!(rate_after_first(&came), Some(100.0 / 5050.0));
        assert_eq!(rate_after_first(&[(1.0, 1)]), None);
        assert_eq!(rate_after_first(&[(1.0, 5), (2.0, 3), (3.0, 1)]), Some(2.0));
    }
}
