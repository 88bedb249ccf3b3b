//! `tools`: what a request lets the model call, and the calls that it writes.

use fidelio_prompting::{Said, ToolCall, ToolFormat, ToolListener};
use serde_json::{Map, Value, json};

use super::{fields::Fields, sampling};

/// The most tools of a request, as OpenAI has it.
const MAX_TOOLS: usize = 128;
/// OpenAI's limit for names of functions.
const MAX_NAME: usize = 64;

/// Where a tool's keys stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// In an object `function`, as in chats.
    Nested,
    /// Beside its `type`, as in responses.
    Flat,
}

/// Takes the fields. The tools come as chat templates read them; none where there are none, or the
/// model shall call none.
pub(crate) fn take(fields: &mut Fields, shape: Shape) -> Option<Value> {
    let tools = match fields.take("tools") {
        None => Vec::new(),
        Some(Value::Array(tools)) if tools.len() <= MAX_TOOLS => tools,
        Some(_) => {
            fields.wrong("tools", format!("must be a list of at most {MAX_TOOLS}"));
            Vec::new()
        }
    };
    let mut shown: Vec<Value> = Vec::with_capacity(tools.len());
    for (i, value) in tools.into_iter().enumerate() {
        match tool(value, shape) {
            Ok(tool)
                if shown.iter().any(|it| it["function"]["name"] == tool["function"]["name"]) =>
            {
                fields.wrong(&format!("tools[{i}]"), "has the name of an earlier one");
            }
            Ok(tool) => shown.push(tool),
            Err(problem) => fields.wrong(&format!("tools[{i}]"), problem),
        }
    }
    if fields.flag("parallel_tool_calls") == Some(false) {
        fields.wrong(
            "parallel_tool_calls",
            "cannot be false: how many calls come is the model's choice",
        );
    }
    let wanted = match fields.take("tool_choice") {
        None => true,
        Some(Value::String(choice)) if choice == "auto" => true,
        Some(Value::String(choice)) if choice == "none" => false,
        Some(_) => {
            fields.wrong("tool_choice", "must be `auto` or `none`: a call cannot be forced yet");
            false
        }
    };
    (wanted && !shown.is_empty()).then_some(Value::Array(shown))
}

fn tool(value: Value, shape: Shape) -> Result<Value, String> {
    let Value::Object(mut map) = value else { return Err("must be an object".to_owned()) };
    if map.shift_remove("type") != Some(json!("function")) {
        return Err("must have `type: function`; there are no other tools".to_owned());
    }
    let mut function = match shape {
        Shape::Flat => std::mem::take(&mut map),
        Shape::Nested => match map.shift_remove("function") {
            Some(Value::Object(function)) => function,
            _ => return Err("must have an object `function`".to_owned()),
        },
    };
    let mut shown = Map::new();
    let name = match function.shift_remove("name") {
        Some(Value::String(name)) if is_name(&name) => name,
        _ => {
            return Err(format!(
                "must have a `name` of up to {MAX_NAME} letters, digits, `_` and `-`"
            ));
        }
    };
    shown.insert("name".to_owned(), name.into());
    match function.shift_remove("description") {
        None | Some(Value::Null) => {}
        Some(text @ Value::String(_)) => {
            shown.insert("description".to_owned(), text);
        }
        Some(_) => return Err("has a `description` that is not a text".to_owned()),
    }
    let parameters = match function.shift_remove("parameters") {
        None | Some(Value::Null) => json!({ "type": "object", "properties": {} }),
        Some(schema @ Value::Object(_)) => schema,
        Some(_) => return Err("has `parameters` that are not an object".to_owned()),
    };
    shown.insert("parameters".to_owned(), parameters);
    match function.shift_remove("strict") {
        None | Some(Value::Null | Value::Bool(false)) => {}
        _ => return Err("is `strict`: arguments are not held to a schema yet".to_owned()),
    }
    match function.keys().chain(map.keys()).next() {
        Some(key) => Err(format!("has an unknown key `{key}`")),
        None => Ok(json!({ "type": "function", "function": shown })),
    }
}

fn is_name(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (1..=MAX_NAME).contains(&name.len()) && name.chars().all(fine)
}

/// Tells the calls of an answer from its text; without tools everything is text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ear(Option<ToolListener>);

impl Ear {
    pub(crate) fn new(format: Option<ToolFormat>) -> Self {
        Self(format.map(ToolFormat::listen))
    }

    /// What a piece of the answer says; `last` is the answer's end.
    pub(crate) fn hear(&mut self, text: &str, last: bool) -> Vec<Said> {
        let Some(listener) = &mut self.0 else {
            return if text.is_empty() { Vec::new() } else { vec![Said::Text(text.to_owned())] };
        };
        let mut said = listener.push(text);
        if last && let Some(listener) = self.0.take() {
            said.extend(listener.finish());
        }
        said
    }
}

/// A call with the number that its answer will name, of nine letters and digits: some templates take
/// no other.
#[derive(Debug, Clone)]
pub(crate) struct NumberedCall {
    pub(crate) id: String,
    pub(crate) name: String,
    /// JSON.
    pub(crate) arguments: String,
}

impl NumberedCall {
    pub(crate) fn new(call: ToolCall) -> Self {
        const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let mut number = sampling::random();
        let id = (0..9).map(|_| {
            let letter = LETTERS[(number % 36) as usize];
            number /= 36;
            char::from(letter)
        });
        Self {
            id: id.collect(),
            name: call.name,
            arguments: Value::Object(call.arguments).to_string(),
        }
    }

    /// As chats have it.
    pub(crate) fn json(&self) -> Value {
        json!({
            "id": self.id,
            "type": "function",
            "function": { "name": self.name, "arguments": self.arguments },
        })
    }
}
