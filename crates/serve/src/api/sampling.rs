//! The fields that say how an answer is made, of both endpoints that make one.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fidelio_generate::{Decoding, Grammar, LogitRule, rules::LogitBias};
use serde_json::Value;

use super::{
    App,
    fields::Fields,
    forms::{self, Form},
    logprobs::Spelling,
};

/// The most choices for one prompt, as OpenAI has it.
const MAX_CHOICES: usize = 128;
/// The most stop texts: each is searched for in every piece of the answer.
const MAX_STOPS: usize = 16;

/// How answers are to be made.
#[derive(Debug)]
pub(crate) struct Sampling {
    /// Without the number of new tokens, which may depend on the prompt.
    pub(crate) decoding: Decoding,
    /// At most so many new tokens, if the request says so.
    pub(crate) max_tokens: Option<usize>,
    /// Choices for each prompt.
    pub(crate) n: usize,
    pub(crate) biases: Vec<(u32, f32)>,
    /// What the request wants answers held to.
    pub(crate) form: Option<Form>,
    /// What answers are held to, once it is made.
    pub(crate) grammar: Option<Grammar>,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    /// Whether the ids of prompt and answer are wanted back.
    pub(crate) token_ids: bool,
    /// How tokens are written beside log-probabilities.
    pub(crate) spelling: Spelling,
    pub(crate) time: Duration,
}

impl Sampling {
    /// Takes the fields. `least` is 0 where an answer of no tokens makes sense.
    pub(crate) fn take(fields: &mut Fields, app: &App, least: usize) -> Self {
        let mut decoding = Decoding { top_k: 0, ..app.served.decoding().clone() };
        take_temperature(fields, &mut decoding);
        decoding.presence_penalty =
            fields.number("presence_penalty", -2.0..=2.0).unwrap_or_default();
        decoding.frequency_penalty =
            fields.number("frequency_penalty", -2.0..=2.0).unwrap_or_default();
        decoding.repetition_penalty =
            fields.number("repetition_penalty", f32::MIN_POSITIVE..=100.0).unwrap_or(1.0);
        decoding.min_new_tokens = fields.whole("min_tokens", 0..=usize::MAX).unwrap_or_default();
        decoding.stop_strings = stops(fields);
        decoding.seed = seed(fields).unwrap_or_else(random);
        let max_tokens = max_tokens(fields, least);
        let n = fields.whole("n", 1..=MAX_CHOICES.min(app.inference.all_places()));
        let biases = biases(fields, app.inference.capacity().vocabulary);
        let form = forms::take(fields);
        let stream = fields.flag("stream").unwrap_or_default();
        let include_usage = include_usage(fields, stream);
        let token_ids = fields.flag("return_token_ids").unwrap_or_default();
        let spelling = match fields.flag("return_tokens_as_token_ids") {
            Some(true) => Spelling::Id,
            Some(false) | None => Spelling::Text,
        };
        let longest = app.options.deadline.as_secs_f32();
        let time = fields.number("timeout", 0.001..=longest);
        Self {
            decoding,
            max_tokens,
            n: n.unwrap_or(1),
            biases,
            form,
            grammar: None,
            stream,
            include_usage,
            token_ids,
            spelling,
            time: time.map_or(app.options.deadline, Duration::from_secs_f32),
        }
    }

    /// How choice `i` of a prompt is decoded: each has a seed of its own, the first the request's.
    pub(crate) fn of_choice(&self, i: usize, max_new_tokens: usize) -> Decoding {
        let seed = self.decoding.seed.wrapping_add(i as u64);
        Decoding { seed, max_new_tokens, ..self.decoding.clone() }
    }

    /// Rules beyond those of the decoding.
    pub(crate) fn rules(&self) -> Vec<Box<dyn LogitRule>> {
        let bias = (!self.biases.is_empty()).then(|| LogitBias::new(self.biases.clone()));
        bias.map(|bias| Box::new(bias) as Box<dyn LogitRule>).into_iter().collect()
    }
}

/// Without a temperature the answer is the likeliest one, as everywhere in Fidelio, unless the
/// request says among which tokens to draw.
fn take_temperature(fields: &mut Fields, decoding: &mut Decoding) {
    let temperature = fields.number("temperature", 0.0..=2.0);
    let top_p = fields.number("top_p", 0.0..=1.0);
    let top_k = fields.whole("top_k", 0..=usize::MAX);
    let min_p = fields.number("min_p", 0.0..=1.0);
    let draws = top_p.is_some_and(|p| p < 1.0)
        || top_k.is_some_and(|k| k > 0)
        || min_p.is_some_and(|p| p > 0.0);
    let usual = if decoding.do_sample { decoding.temperature } else { 0.0 };
    let temperature = temperature.unwrap_or(if draws && usual == 0.0 { 1.0 } else { usual });
    decoding.do_sample = temperature > 0.0;
    if decoding.do_sample {
        decoding.temperature = temperature;
        decoding.top_p = top_p.unwrap_or(1.0);
        decoding.top_k = top_k.unwrap_or_default();
        decoding.min_p = min_p.unwrap_or_default();
    }
}

fn stops(fields: &mut Fields) -> Vec<String> {
    let problem = format!("must be a text or a list of at most {MAX_STOPS}, none of them empty");
    let stops = match fields.take("stop") {
        None => return Vec::new(),
        Some(Value::String(stop)) => vec![Value::String(stop)],
        Some(Value::Array(stops)) => stops,
        Some(_) => {
            fields.wrong("stop", problem);
            return Vec::new();
        }
    };
    let texts = stops.iter().map(|stop| stop.as_str().filter(|text| !text.is_empty()));
    let texts: Option<Vec<String>> = texts.map(|text| text.map(str::to_owned)).collect();
    texts.filter(|texts| texts.len() <= MAX_STOPS).unwrap_or_else(|| {
        fields.wrong("stop", problem);
        Vec::new()
    })
}

fn seed(fields: &mut Fields) -> Option<u64> {
    let value = fields.take("seed")?;
    let seed = value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned));
    if seed.is_none() {
        fields.wrong("seed", "must be a whole number of 64 bits");
    }
    seed
}

/// A number that nobody can guess, from the keys that the standard library draws for its hashes.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn max_tokens(fields: &mut Fields, least: usize) -> Option<usize> {
    let old = fields.whole("max_tokens", least..=usize::MAX);
    let new = fields.whole("max_completion_tokens", least..=usize::MAX);
    if let (Some(old), Some(new)) = (old, new)
        && old != new
    {
        fields.wrong("max_tokens", format!("is {old}, and `max_completion_tokens` is {new}"));
    }
    new.or(old)
}

fn biases(fields: &mut Fields, vocabulary: usize) -> Vec<(u32, f32)> {
    let Some(map) = fields.object("logit_bias") else { return Vec::new() };
    let mut biases = Vec::with_capacity(map.len());
    for (key, value) in map {
        let token = key.parse::<u32>().ok().filter(|&id| (id as usize) < vocabulary);
        let Some(token) = token else {
            fields.wrong("logit_bias", format!("holds `{key}`, not an id below {vocabulary}"));
            return Vec::new();
        };
        let bias =
            value.as_f64().map(|bias| bias as f32).filter(|it| (-100.0..=100.0).contains(it));
        let Some(bias) = bias else {
            let problem = format!("of token {token} must be a number between -100 and 100");
            fields.wrong("logit_bias", problem);
            return Vec::new();
        };
        biases.push((token, bias));
    }
    biases
}

fn include_usage(fields: &mut Fields, stream: bool) -> bool {
    let Some(options) = fields.object("stream_options") else { return false };
    if !stream {
        fields.wrong("stream_options", "is of use only with `stream: true`");
    }
    let mut include = false;
    for (key, value) in options {
        match (key.as_str(), value) {
            ("include_usage", Value::Bool(yes)) => include = yes,
            ("include_usage", Value::Null) => {}
            ("include_usage", _) => {
                fields.wrong("stream_options", "has an `include_usage` that is not true or false");
            }
            (other, _) => fields.wrong("stream_options", format!("has an unknown key `{other}`")),
        }
    }
    include
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
