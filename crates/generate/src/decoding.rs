//! How a request is to be decoded.

use serde::{Deserialize, Deserializer, Serialize};

use crate::GenerateError;

/// How tokens are chosen and when to stop. Names and meanings are those of Hugging Face's
/// `GenerationConfig` where it has them; decoding is greedy unless `do_sample` is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decoding {
    /// At most so many tokens are generated.
    pub max_new_tokens: usize,
    /// No end-of-sequence token is chosen before so many tokens.
    pub min_new_tokens: usize,
    /// Draw tokens at random instead of taking the likeliest.
    pub do_sample: bool,
    /// Logits are divided by it before sampling.
    pub temperature: f32,
    /// Sample among the so many likeliest tokens only; 0 for all.
    ///
    /// Exactly so many: of equal logits at the border the smaller ids stay.
    pub top_k: usize,
    /// Sample among the fewest tokens that have this probability together; 1 for all.
    pub top_p: f32,
    /// Sample among the tokens at least this many times as likely as the likeliest; 0 for all.
    pub min_p: f32,
    /// Sample among the tokens whose surprise is nearest to the expected one, that have this
    /// probability together; 1 for all.
    pub typical_p: f32,
    /// Logits of tokens that stand in the prompt or the answer are divided by it (multiplied where
    /// negative); 1 for none.
    pub repetition_penalty: f32,
    /// Taken from the logits of tokens that stand in the answer, as OpenAI's does: the prompt does
    /// not count.
    pub presence_penalty: f32,
    /// Taken from a token's logit for each time it stands in the answer; the prompt does not count.
    pub frequency_penalty: f32,
    /// No run of so many tokens occurs twice in prompt and answer; 0 allows all.
    pub no_repeat_ngram_size: usize,
    /// Token sequences that never occur in the answer.
    pub bad_words_ids: Vec<Vec<u32>>,
    /// Tokens that are never chosen.
    pub suppress_tokens: Vec<u32>,
    /// Tokens that are not chosen first.
    pub begin_suppress_tokens: Vec<u32>,
    /// Texts that end the answer. They are not part of it.
    pub stop_strings: Vec<String>,
    /// Tokens that end the answer. They are not part of it.
    #[serde(deserialize_with = "one_or_many")]
    pub eos_token_id: Vec<u32>,
    /// The draw of every token is a function of this and the token's number in the answer.
    pub seed: u64,
    /// Report each token's log-probability and those of so many likeliest tokens, as the model gave
    /// them, before any rule.
    pub logprobs: Option<usize>,
    /// Stop after so many seconds of computing.
    pub max_time: Option<f64>,
}

impl Default for Decoding {
    fn default() -> Self {
        Self {
            max_new_tokens: 32,
            min_new_tokens: 0,
            do_sample: false,
            temperature: 1.0,
            top_k: 50,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            no_repeat_ngram_size: 0,
            bad_words_ids: Vec::new(),
            suppress_tokens: Vec::new(),
            begin_suppress_tokens: Vec::new(),
            stop_strings: Vec::new(),
            eos_token_id: Vec::new(),
            seed: 0,
            logprobs: None,
            max_time: None,
        }
    }
}

impl Decoding {
    /// Checks ranges and contradictions.
    ///
    /// # Errors
    /// [`GenerateError::Decoding`] names the first field that cannot be.
    pub fn check(&self) -> Result<(), GenerateError> {
        let wrong = |field, problem: String| Err(GenerateError::Decoding { field, problem });
        let bad = |value: f32, allowed: bool| !(value.is_finite() && allowed);
        if self.max_new_tokens == 0 {
            return wrong("max_new_tokens", "must be at least 1".to_owned());
        }
        if self.min_new_tokens > self.max_new_tokens {
            let problem = format!(
                "is {}, above `max_new_tokens` {}",
                self.min_new_tokens, self.max_new_tokens
            );
            return wrong("min_new_tokens", problem);
        }
        if bad(self.temperature, self.temperature > 0.0) {
            let greedy =
                if self.temperature == 0.0 { "; set `do_sample: false` for greedy" } else { "" };
            return wrong(
                "temperature",
                format!("must be above 0, got {}{greedy}", self.temperature),
            );
        }
        if bad(self.repetition_penalty, self.repetition_penalty > 0.0) {
            let problem = format!("must be above 0, got {}", self.repetition_penalty);
            return wrong("repetition_penalty", problem);
        }
        for (field, value) in
            [("top_p", self.top_p), ("min_p", self.min_p), ("typical_p", self.typical_p)]
        {
            if bad(value, (0.0..=1.0).contains(&value)) {
                return wrong(field, format!("must be between 0 and 1, got {value}"));
            }
        }
        if self.typical_p == 0.0 {
            return wrong("typical_p", "must be above 0".to_owned());
        }
        for (field, value) in [
            ("presence_penalty", self.presence_penalty),
            ("frequency_penalty", self.frequency_penalty),
        ] {
            if bad(value, true) {
                return wrong(field, format!("must be a number, got {value}"));
            }
        }
        if let Some(i) = self.bad_words_ids.iter().position(Vec::is_empty) {
            return wrong("bad_words_ids", format!("holds an empty sequence at {i}"));
        }
        if let Some(i) = self.stop_strings.iter().position(String::is_empty) {
            return wrong("stop_strings", format!("holds an empty text at {i}"));
        }
        if self.max_time.is_some_and(|time| !(time.is_finite() && time > 0.0)) {
            return wrong("max_time", "must be above 0 seconds".to_owned());
        }
        Ok(())
    }

    /// Checks that every token id named is one of the model's.
    pub(crate) fn check_tokens(&self, vocabulary: usize) -> Result<(), GenerateError> {
        let bad_words: Vec<u32> = self.bad_words_ids.concat();
        for (field, ids) in [
            ("bad_words_ids", &bad_words),
            ("suppress_tokens", &self.suppress_tokens),
            ("begin_suppress_tokens", &self.begin_suppress_tokens),
            ("eos_token_id", &self.eos_token_id),
        ] {
            if let Some(id) = ids.iter().find(|id| **id as usize >= vocabulary) {
                let problem = format!("holds {id}, outside the vocabulary of {vocabulary}");
                return Err(GenerateError::Decoding { field, problem });
            }
        }
        if self.logprobs.is_some_and(|n| n > vocabulary) {
            let problem = format!("is above the vocabulary of {vocabulary}");
            return Err(GenerateError::Decoding { field: "logprobs", problem });
        }
        Ok(())
    }

    /// Whether tokens that only one text allows may be taken without asking the model: not where
    /// their log-probabilities are wanted, or where a setting may exclude one of them.
    pub(crate) fn takes_forced_tokens(&self) -> bool {
        self.logprobs.is_none()
            && self.no_repeat_ngram_size == 0
            && self.bad_words_ids.is_empty()
            && self.suppress_tokens.is_empty()
            && self.begin_suppress_tokens.is_empty()
    }

    /// Settings that differ from their defaults but change nothing, for the caller to report.
    #[expect(clippy::float_cmp, reason = "a setting is off at exactly its default")]
    pub fn useless(&self) -> Vec<&'static str> {
        let default = Self::default();
        let mut useless = Vec::new();
        if !self.do_sample {
            let differs = [
                ("temperature", self.temperature != default.temperature),
                ("top_k", self.top_k != default.top_k),
                ("top_p", self.top_p != default.top_p),
                ("min_p", self.min_p != default.min_p),
                ("typical_p", self.typical_p != default.typical_p),
                ("seed", self.seed != default.seed),
            ];
            useless.extend(differs.iter().filter(|it| it.1).map(|it| it.0));
        }
        if self.min_new_tokens > 0 && self.eos_token_id.is_empty() {
            useless.push("min_new_tokens");
        }
        useless
    }
}

/// Hugging Face writes one id as a number, several as a list.
fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Ids {
        One(u32),
        Many(Vec<u32>),
    }
    Ok(match Option::<Ids>::deserialize(from)? {
        None => Vec::new(),
        Some(Ids::One(id)) => vec![id],
        Some(Ids::Many(ids)) => ids,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field's name, and a change that makes it wrong.
    type Wrong = (&'static str, fn(&mut Decoding));

    #[test]
    fn defaults_are_right() {
        Decoding::default().check().unwrap();
        assert!(Decoding::default().useless().is_empty());
    }

    #[test]
    fn each_wrong_value_names_its_field() {
        let cases: [Wrong; 16] = [
            ("max_new_tokens", |d| d.max_new_tokens = 0),
            ("min_new_tokens", |d| d.min_new_tokens = 33),
            ("temperature", |d| d.temperature = 0.0),
            ("temperature", |d| d.temperature = f32::NAN),
            ("top_p", |d| d.top_p = 1.5),
            ("min_p", |d| d.min_p = -0.1),
            ("typical_p", |d| d.typical_p = 0.0),
            ("typical_p", |d| d.typical_p = f32::NAN),
            ("repetition_penalty", |d| d.repetition_penalty = 0.0),
            ("presence_penalty", |d| d.presence_penalty = f32::INFINITY),
            ("frequency_penalty", |d| d.frequency_penalty = f32::NAN),
            ("bad_words_ids", |d| d.bad_words_ids = vec![vec![1], vec![]]),
            ("stop_strings", |d| d.stop_strings = vec![String::new()]),
            ("max_time", |d| d.max_time = Some(0.0)),
            ("max_time", |d| d.max_time = Some(f64::NAN)),
            ("repetition_penalty", |d| d.repetition_penalty = f32::INFINITY),
        ];
        for (field, change) in cases {
            let mut decoding = Decoding::default();
            change(&mut decoding);
            match decoding.check() {
                Err(GenerateError::Decoding { field: named, .. }) => assert_eq!(named, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }

    #[test]
    fn ids_outside_the_vocabulary_name_their_field() {
        let cases: [Wrong; 5] = [
            ("bad_words_ids", |d| d.bad_words_ids = vec![vec![1, 10]]),
            ("suppress_tokens", |d| d.suppress_tokens = vec![10]),
            ("begin_suppress_tokens", |d| d.begin_suppress_tokens = vec![10]),
            ("eos_token_id", |d| d.eos_token_id = vec![9, 10]),
            ("logprobs", |d| d.logprobs = Some(11)),
        ];
        for (field, change) in cases {
            let mut decoding = Decoding::default();
            change(&mut decoding);
            let error = decoding.check_tokens(10).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{field}`")), "{error}");
        }
    }

    #[test]
    fn settings_without_effect_are_listed() {
        let greedy = Decoding { temperature: 0.5, min_new_tokens: 2, ..Decoding::default() };
        assert_eq!(greedy.useless(), ["temperature", "min_new_tokens"]);
        let sampled = Decoding { do_sample: true, eos_token_id: vec![2], ..greedy };
        assert!(sampled.useless().is_empty());
    }

    #[test]
    fn eos_is_one_id_or_several() {
        for (text, ids) in [("2", vec![2]), ("[2, 7]", vec![2, 7]), ("null", vec![])] {
            let json = format!("{{\"eos_token_id\": {text}}}");
            let decoding: Decoding = serde_json::from_str(&json).unwrap();
            assert_eq!(decoding.eos_token_id, ids);
        }
        assert!(serde_json::from_str::<Decoding>("{\"top_q\": 1}").is_err());
    }
}
