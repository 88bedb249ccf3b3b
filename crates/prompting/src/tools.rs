//! Tool calls, as chat templates teach models to write them.

use serde_json::{Map, Value, json};

use crate::{ChatTemplate, Conversation, Message, PromptError};

/// How a model writes that it calls a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolFormat {
    /// `<tool_call>{"name": …, "arguments": …}</tool_call>`, or a list of such objects in there: Hermes,
    /// Qwen, SmolLM.
    Tagged,
    /// `[TOOL_CALLS]` and a list of such objects: Mistral.
    Listed,
    /// Nothing but `{"name": …, "parameters": …}`: Llama 3.
    Bare,
}

/// A tool that a model calls.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// Its name.
    pub name: String,
    /// What it is given.
    pub arguments: Map<String, Value>,
}

/// A piece of what a model says.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// Text.
    Text(String),
    /// A call.
    Call(ToolCall),
}

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";
const LIST: &str = "[TOOL_CALLS]";
const PYTHON: &str = "<|python_tag|>";
/// Calls that are no JSON.
const CODE: &str = "<function=";
/// The variable in which some templates (SmolLM 3) want tools that are called by JSON.
const OTHER_VARIABLE: &str = "xml_tools";

impl Conversation {
    /// Offers tools, as JSON Schemas, where a template looks for them.
    pub fn offer(&mut self, tools: Value, template: &ChatTemplate) {
        if template.source().contains(OTHER_VARIABLE) {
            self.extra.insert(OTHER_VARIABLE.to_owned(), tools);
        } else {
            self.tools = Some(tools);
        }
    }
}

impl ToolFormat {
    /// The one that a chat template teaches: what it makes of a call must be read back as that call.
    ///
    /// # Errors
    /// [`PromptError::ToolsIgnored`] where it writes no tools, [`PromptError::ToolFormat`] where it has
    /// calls written in a way that is not known.
    pub fn of(template: &ChatTemplate) -> Result<Self, PromptError> {
        const NAME: &str = "fidelio_probe";
        let tools = json!([{ "type": "function", "function": { "name": NAME, "description": "Probes.",
            "parameters": { "type": "object", "properties": {}, "required": [] } } }]);
        let mut talk = Conversation::new(vec![Message::new("user", "?")]);
        talk.offer(tools, template);
        let asked = template.render(&talk, true)?;
        if !asked.contains(NAME) {
            return Err(PromptError::ToolsIgnored);
        }
        let call = json!({ "role": "assistant", "content": "", "tool_calls": [{ "id": "abcdefghi",
            "type": "function", "function": { "name": NAME, "arguments": { "x": 1 } } }] });
        talk.messages.push(Message::from_json(call, 1)?);
        let called = template.render(&talk, false).unwrap_or_default();
        let answer = called.strip_prefix(asked.as_str()).unwrap_or_default();
        if !answer.contains(NAME) {
            // Some templates only say how calls are written.
            let says = asked.contains(OPEN) && asked.contains("arguments") && !asked.contains(CODE);
            return says.then_some(Self::Tagged).ok_or(PromptError::ToolFormat);
        }
        // Behind the call stands the end of the turn.
        let end = answer.rfind(['}', ']', '>']).map_or(answer.len(), |at| at + 1);
        let formats = [Self::Tagged, Self::Listed, Self::Bare];
        let mut ends = answer.match_indices(['}', ']']).map(|(at, _)| at + 1).chain([end]);
        let reads = |format: &Self, end: usize| {
            let mut listener = format.listen();
            let mut said = listener.push(&answer[..end]);
            said.extend(listener.finish());
            let x = Map::from_iter([("x".to_owned(), json!(1))]);
            said.contains(&Said::Call(ToolCall { name: NAME.to_owned(), arguments: x }))
        };
        let found = ends.find_map(|end| formats.into_iter().find(|format| reads(format, end)));
        found.ok_or(PromptError::ToolFormat)
    }

    /// Whether calls are told from text by special tokens, which must be kept then.
    pub fn needs_special_tokens(self) -> bool {
        self != Self::Tagged
    }

    /// Reads what a model says, from its beginning.
    pub fn listen(self) -> ToolListener {
        ToolListener {
            format: self,
            begun: false,
            inside: false,
            held: String::new(),
            gap: String::new(),
            calls: false,
            behind_call: false,
        }
    }
}

/// Tells calls from text while a model speaks. Nothing that was said is lost: what looks like a call and
/// is none comes as text.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "what was heard in each format, side by side")]
pub struct ToolListener {
    format: ToolFormat,
    /// Something other than white space has come.
    begun: bool,
    /// A call has begun.
    inside: bool,
    /// What may belong to a call.
    held: String,
    /// White space before what may be a call.
    gap: String,
    /// A call was whole.
    calls: bool,
    /// Only white space has come since.
    behind_call: bool,
}

impl ToolListener {
    /// Takes what came next.
    pub fn push(&mut self, text: &str) -> Vec<Said> {
        self.held.push_str(text);
        let mut said = Vec::new();
        match self.format {
            ToolFormat::Tagged => while self.step_tagged(&mut said) {},
            ToolFormat::Listed => self.wait_for(&[LIST], &mut said),
            ToolFormat::Bare => self.wait_for_bare(&mut said),
        }
        said
    }

    /// What is left at the end.
    pub fn finish(mut self) -> Vec<Said> {
        let held = std::mem::take(&mut self.held);
        if !self.inside {
            // White space before or behind a call belongs to nobody.
            return if held.is_empty() || self.calls && held.trim().is_empty() {
                Vec::new()
            } else {
                vec![Said::Text(held)]
            };
        }
        let calls = match self.format {
            ToolFormat::Tagged => tagged(held.strip_prefix(OPEN).unwrap_or(&held)),
            ToolFormat::Listed => listed(held.strip_prefix(LIST).unwrap_or(&held)),
            ToolFormat::Bare => bare(held.trim().strip_prefix(PYTHON).unwrap_or(held.trim())),
        };
        match calls {
            Some(calls) => calls.into_iter().map(Said::Call).collect(),
            None => vec![Said::Text(self.gap + &held)],
        }
    }

    /// Whether there may be more to find in what is held.
    fn step_tagged(&mut self, said: &mut Vec<Said>) -> bool {
        if !self.inside {
            self.wait_for(&[OPEN], said);
            return self.inside;
        }
        let Some(end) = self.held.find(CLOSE) else { return false };
        let rest = self.held.split_off(end + CLOSE.len());
        let whole = std::mem::replace(&mut self.held, rest);
        self.inside = false;
        match tagged(&whole[OPEN.len()..end]) {
            Some(calls) => {
                self.calls = true;
                said.extend(calls.into_iter().map(Said::Call));
                self.behind_call = true;
            }
            None => said.push(Said::Text(std::mem::take(&mut self.gap) + &whole)),
        }
        true
    }

    /// Lets text pass up to a mark, or to what may become one, and the white space before it.
    fn wait_for(&mut self, marks: &[&str], said: &mut Vec<Said>) {
        if self.inside {
            return;
        }
        if self.behind_call {
            self.held = self.held.trim_start().to_owned();
            self.behind_call = self.held.is_empty();
        }
        let found = marks.iter().filter_map(|mark| self.held.find(mark)).min();
        let end = found.unwrap_or_else(|| {
            let may = |at: usize| marks.iter().any(|mark| mark.starts_with(&self.held[at..]));
            let mut starts = self.held.char_indices().map(|(at, _)| at);
            starts.find(|&at| may(at)).unwrap_or(self.held.len())
        });
        let text = self.held[..end].trim_end().len();
        if text > 0 {
            said.push(Said::Text(self.held[..text].to_owned()));
            self.begun = true;
        }
        match found {
            Some(at) => {
                self.inside = true;
                self.gap = self.held[text..at].to_owned();
                self.held.drain(..at);
            }
            None => {
                self.held.drain(..text);
            }
        }
    }

    /// A call is all that is said, so the first character tells.
    fn wait_for_bare(&mut self, said: &mut Vec<Said>) {
        if self.inside {
            return;
        }
        if !self.begun {
            let start = self.held.trim_start();
            if start.is_empty() || (PYTHON.starts_with(start) && start.len() < PYTHON.len()) {
                return;
            }
            if start.starts_with('{') || start.starts_with(PYTHON) {
                self.inside = true;
                return;
            }
        }
        self.begun = true;
        if !self.held.is_empty() {
            said.push(Said::Text(std::mem::take(&mut self.held)));
        }
    }
}

/// The calls between two tags.
fn tagged(text: &str) -> Option<Vec<ToolCall>> {
    match serde_json::from_str(text.trim()).ok()? {
        Value::Array(all) if !all.is_empty() => all.into_iter().map(call).collect(),
        one => Some(vec![call(one)?]),
    }
}

/// The calls behind a mark: a list, or names with objects behind them, each with a mark of its own.
fn listed(text: &str) -> Option<Vec<ToolCall>> {
    let text = text.trim();
    if text.starts_with('[') {
        return tagged(text);
    }
    let named = |part: &str| {
        let (name, arguments) = part.split_at(part.find('{')?);
        let name = name.trim().trim_end_matches("[ARGS]").trim();
        let arguments = serde_json::from_str(arguments.trim()).ok()?;
        is_name(name).then(|| ToolCall { name: name.to_owned(), arguments })
    };
    text.split(LIST).map(named).collect()
}

/// Objects, one behind the other.
fn bare(text: &str) -> Option<Vec<ToolCall>> {
    let mut calls = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let mut objects = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        calls.push(call(objects.next()?.ok()?)?);
        rest = rest[objects.byte_offset()..].trim_start_matches([';', '\n', ' ', ',']);
    }
    (!calls.is_empty()).then_some(calls)
}

/// An object with a name and arguments, which some models write as a text.
fn call(value: Value) -> Option<ToolCall> {
    let Value::Object(mut map) = value else { return None };
    let name = map.get("name")?.as_str().filter(|name| is_name(name))?.to_owned();
    let arguments = match map.remove("arguments").or_else(|| map.remove("parameters")) {
        Some(Value::Object(arguments)) => arguments,
        Some(Value::String(text)) => serde_json::from_str(&text).ok()?,
        None | Some(Value::Null) => Map::new(),
        Some(_) => return None,
    };
    Some(ToolCall { name, arguments })
}

fn is_name(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    !name.is_empty() && name.chars().all(fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(format: ToolFormat, text: &str, pieces: usize) -> Vec<Said> {
        let mut listener = format.listen();
        let chars: Vec<char> = text.chars().collect();
        let mut all = Vec::new();
        for piece in chars.chunks(pieces) {
            all.extend(listener.push(&piece.iter().collect::<String>()));
        }
        all.extend(listener.finish());
        // Text that came in pieces is one text.
        let mut joined: Vec<Said> = Vec::new();
        for said in all {
            match (joined.last_mut(), said) {
                (Some(Said::Text(before)), Said::Text(more)) => before.push_str(&more),
                (_, said) => joined.push(said),
            }
        }
        joined
    }

    fn text(text: &str) -> Said {
        Said::Text(text.to_owned())
    }

    fn calls(name: &str, arguments: Value) -> Said {
        let Value::Object(arguments) = arguments else { panic!() };
        Said::Call(ToolCall { name: name.to_owned(), arguments })
    }

    /// However the text is cut into pieces.
    fn check(format: ToolFormat, said: &str, expected: &[Said]) {
        for pieces in [1, 2, 3, 7, 1000] {
            assert_eq!(heard(format, said, pieces), expected, "{format:?} {said:?} by {pieces}");
        }
    }

    #[test]
    fn tagged_calls_are_told_from_text() {
        use ToolFormat::Tagged;
        let paris = || calls("weather", json!({ "city": "Paris" }));
        let one = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Paris\"}}\n</tool_call>";
        check(Tagged, one, &[paris()]);
        check(
            Tagged,
            &format!("Let me see.\n\n{one}\n{one}\n"),
            &[text("Let me see."), paris(), paris()],
        );
        check(Tagged, &format!("{one} Done."), &[paris(), text("Done.")]);
        let list = "<tool_call>[{\"name\": \"weather\", \"arguments\": {\"city\": \"Paris\"}}, \
                    {\"name\": \"now\"}]</tool_call>";
        check(Tagged, list, &[paris(), calls("now", json!({}))]);
        // The model's end may come before the closing tag.
        check(Tagged, one.trim_end_matches("</tool_call>"), &[paris()]);
        let quoted = "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"x\\\": 1}\"}</tool_call>";
        check(Tagged, quoted, &[calls("f", json!({ "x": 1 }))]);
    }

    #[test]
    fn what_is_no_call_stays_text() {
        for said in [
            "a < b <tool",
            "<tool_call>nonsense</tool_call>",
            "<tool_call>{\"name\": \"a b\"}</tool_call> and more",
            "<tool_call>{\"name\": \"f\", \"arguments\": [1]}",
            "  spaces stay  ",
            "a \n<tool_call>nonsense</tool_call>",
            "",
        ] {
            let expected: &[Said] = if said.is_empty() { &[] } else { &[text(said)] };
            check(ToolFormat::Tagged, said, expected);
        }
        check(ToolFormat::Bare, "{\"x\": 1}", &[text("{\"x\": 1}")]);
        check(
            ToolFormat::Bare,
            "{\"name\": \"f\", \"parameters\": {}} and so",
            &[text("{\"name\": \"f\", \"parameters\": {}} and so")],
        );
        check(ToolFormat::Listed, "[TOOL_CALLS] none", &[text("[TOOL_CALLS] none")]);
        check(ToolFormat::Listed, "[1, 2]", &[text("[1, 2]")]);
    }

    #[test]
    fn bare_calls_are_all_that_is_said() {
        use ToolFormat::Bare;
        let one = "{\"name\": \"weather\", \"parameters\": {\"city\": \"Paris\"}}";
        let paris = || calls("weather", json!({ "city": "Paris" }));
        check(Bare, one, &[paris()]);
        check(Bare, &format!("<|python_tag|>{one}; {one}"), &[paris(), paris()]);
        check(Bare, "It rains: {\"name\": \"f\"}", &[text("It rains: {\"name\": \"f\"}")]);
    }

    #[test]
    fn listed_calls_stand_behind_a_mark() {
        use ToolFormat::Listed;
        let paris = || calls("weather", json!({ "city": "Paris" }));
        let old = "[TOOL_CALLS] [{\"name\": \"weather\", \"arguments\": {\"city\": \"Paris\"}}]";
        check(Listed, old, &[paris()]);
        let new = "[TOOL_CALLS]weather[ARGS]{\"city\": \"Paris\"}[TOOL_CALLS]now{}";
        check(Listed, new, &[paris(), calls("now", json!({}))]);
        check(Listed, "It rains.", &[text("It rains.")]);
    }
}
