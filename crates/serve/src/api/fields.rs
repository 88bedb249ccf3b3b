//! A request's fields: each is understood, or the request is refused with its name.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::problem::Problem;

/// Fields of OpenAI's that are accepted and do nothing, since they tell a provider about the caller
/// and change no answer. The guide lists them.
pub(crate) const ACCEPTED: [&str; 4] =
    ["metadata", "prompt_cache_key", "safety_identifier", "user"];

/// Fields of OpenAI's that would change the answer, and what is to be said about each.
const LATER: [(&str, &str); 17] = [
    ("audio", "the model reads and writes text only"),
    ("conversation", "nothing is stored"),
    ("function_call", "say `tool_choice`"),
    ("functions", "say `tools`"),
    ("max_tool_calls", "how many calls come is the model's choice"),
    ("modalities", "the model reads and writes text only"),
    ("moderation", "there is no moderation"),
    ("prediction", "predicted outputs are not built"),
    ("previous_response_id", "nothing is stored: send the whole conversation"),
    ("prompt_cache_retention", "what prompts share is kept as long as it is wanted"),
    ("reasoning", "how long a model thinks cannot be set yet"),
    ("reasoning_effort", "how long a model thinks cannot be set yet"),
    ("service_tier", "there are no service tiers"),
    ("store", "nothing is stored"),
    ("suffix", "text cannot be inserted before a suffix yet"),
    ("verbosity", "how much a model says cannot be set yet"),
    ("web_search_options", "there is no search of the web"),
];

/// The fields of a JSON object, taken one by one; what is left over at the end is a mistake.
#[derive(Debug)]
pub(crate) struct Fields {
    map: Map<String, Value>,
    known: Vec<&'static str>,
    problems: Vec<(String, String)>,
}

impl Fields {
    pub(crate) fn new(map: Map<String, Value>) -> Self {
        Self { map, known: Vec::new(), problems: Vec::new() }
    }

    /// A field's value; one that is `null` is as one that is not there.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.map.shift_remove(name).filter(|value| !value.is_null())
    }

    /// Says what is wrong with a field, as the end of a sentence that begins with its name.
    pub(crate) fn wrong(&mut self, name: &str, problem: impl Into<String>) {
        self.problems.push((name.to_owned(), problem.into()));
    }

    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            other => self.not_a(name, "a text", &other),
        }
    }

    pub(crate) fn flag(&mut self, name: &'static str) -> Option<bool> {
        match self.take(name)? {
            Value::Bool(flag) => Some(flag),
            other => self.not_a(name, "true or false", &other),
        }
    }

    pub(crate) fn object(&mut self, name: &'static str) -> Option<Map<String, Value>> {
        match self.take(name)? {
            Value::Object(map) => Some(map),
            other => self.not_a(name, "an object", &other),
        }
    }

    pub(crate) fn whole(
        &mut self,
        name: &'static str,
        range: RangeInclusive<usize>,
    ) -> Option<usize> {
        let value = self.take(name)?;
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        if let Some(number) = number.filter(|number| range.contains(number)) {
            return Some(number);
        }
        let (least, most) = (range.start(), range.end());
        let wanted = if *most == usize::MAX {
            format!("a whole number of at least {least}")
        } else {
            format!("a whole number between {least} and {most}")
        };
        self.not_a(name, &wanted, &value)
    }

    pub(crate) fn number(&mut self, name: &'static str, range: RangeInclusive<f32>) -> Option<f32> {
        let value = self.take(name)?;
        let number = value.as_f64().map(|number| number as f32);
        if let Some(number) = number.filter(|number| range.contains(number)) {
            return Some(number);
        }
        let wanted = format!("a number between {} and {}", range.start(), range.end());
        self.not_a(name, &wanted, &value)
    }

    fn not_a<T>(&mut self, name: &str, wanted: &str, got: &Value) -> Option<T> {
        self.wrong(name, format!("must be {wanted}, got {}", shown(got)));
        None
    }

    /// Every mistake at once, unknown fields among them.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        if self.map.get("store") == Some(&Value::Bool(false)) {
            self.map.shift_remove("store");
        }
        let mut code = "invalid_value";
        for (name, value) in std::mem::take(&mut self.map) {
            if value.is_null() || ACCEPTED.contains(&name.as_str()) {
                continue;
            }
            if self.problems.is_empty() {
                code = "unsupported_field";
            }
            let problem = match LATER.iter().find(|(later, _)| *later == name) {
                Some((_, why)) => format!("is not supported: {why}"),
                None => format!("is unknown{}", self.meant(&name)),
            };
            self.problems.push((name, problem));
        }
        let Some((param, _)) = self.problems.first() else { return Ok(()) };
        let sentences: Vec<String> =
            self.problems.iter().map(|(name, problem)| format!("`{name}` {problem}")).collect();
        Err(Problem::invalid(code, sentences.join("; ")).about(param.clone()))
    }

    fn meant(&self, name: &str) -> String {
        let near = self.known.iter().map(|known| (strsim::jaro_winkler(known, name), known));
        match near.max_by(|a, b| a.0.total_cmp(&b.0)) {
            Some((likeness, known)) if likeness > 0.85 => format!("; did you mean `{known}`?"),
            _ => String::new(),
        }
    }
}

/// A value in a message: what is long is only named.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(text) if text.len() > 40 => "a text".to_owned(),
        short => format!("`{short}`"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        Fields::new(value.as_object().unwrap().clone())
    }

    fn message(fields: Fields) -> String {
        fields.finish().unwrap_err().json()["error"]["message"].as_str().unwrap().to_owned()
    }

    #[test]
    fn what_is_known_is_taken_and_null_is_nothing() {
        let mut it = fields(json!({ "n": 3, "top_p": 0.5, "stream": true, "model": null,
            "user": "someone", "store": false, "functions": null }));
        assert_eq!(it.whole("n", 1..=8), Some(3));
        assert_eq!(it.number("top_p", 0.0..=1.0), Some(0.5));
        assert_eq!(it.flag("stream"), Some(true));
        assert_eq!(it.text("model"), None);
        it.finish().unwrap();
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let mut it = fields(json!({ "n": 0, "top_p": "x", "strem": true, "functions": [] }));
        assert_eq!(it.whole("n", 1..=8), None);
        assert_eq!(it.number("top_p", 0.0..=1.0), None);
        assert_eq!(it.flag("stream"), None);
        assert_eq!(
            message(it),
            "`n` must be a whole number between 1 and 8, got `0`; \
             `top_p` must be a number between 0 and 1, got `\"x\"`; \
             `strem` is unknown; did you mean `stream`?; \
             `functions` is not supported: say `tools`"
        );
    }

    #[test]
    fn each_field_that_comes_later_is_refused_by_name() {
        for (name, why) in LATER {
            let it = fields(json!({ name: { "type": "something" } }));
            let said = message(it);
            assert_eq!(said, format!("`{name}` is not supported: {why}"));
        }
    }
}
