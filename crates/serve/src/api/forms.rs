//! `response_format`: what an answer is held to.

use fidelio_generate::{Grammar, GrammarError, SchemaPath};
use serde_json::{Map, Value};

use super::{App, fields::Fields, problem::Problem};
use crate::Voice;

/// The field.
const FIELD: &str = "response_format";
/// OpenAI's limit for names of schemas.
const MAX_NAME: usize = 64;

/// The form that a request asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Form {
    /// Any text.
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON under a schema; a strict one leaves nothing open, as OpenAI wants it.
    JsonSchema { schema: Value, strict: bool },
}

/// Takes the field; none where the request does not have it, or it is wrong.
pub(crate) fn take(fields: &mut Fields) -> Option<Form> {
    let format = fields.object(FIELD)?;
    match form(format) {
        Ok(form) => Some(form),
        Err(problem) => {
            fields.wrong(FIELD, problem);
            None
        }
    }
}

/// What a format means, or what is wrong with it.
pub(super) fn form(mut format: Map<String, Value>) -> Result<Form, String> {
    let kind = format.shift_remove("type");
    let form = match kind.as_ref().and_then(Value::as_str) {
        Some("text") => Form::Text,
        Some("json_object") => Form::JsonObject,
        Some("json_schema") => schema(format.shift_remove("json_schema"))?,
        _ => return Err("must have a `type`: `text`, `json_object` or `json_schema`".to_owned()),
    };
    match format.keys().next() {
        Some(key) => Err(format!("has an unknown key `{key}`")),
        None => Ok(form),
    }
}

fn schema(value: Option<Value>) -> Result<Form, String> {
    let Some(Value::Object(mut said)) = value else {
        return Err("must have an object `json_schema`".to_owned());
    };
    let mut take = |key: &str| said.shift_remove(key).filter(|value| !value.is_null());
    let is_name_character = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match take("name") {
        Some(Value::String(name))
            if (1..=MAX_NAME).contains(&name.len()) && name.chars().all(is_name_character) => {}
        _ => {
            return Err(format!(
                "must have a `json_schema.name` of up to {MAX_NAME} letters, digits, `_` and `-`"
            ));
        }
    }
    if !matches!(take("description"), None | Some(Value::String(_))) {
        return Err("has a `json_schema.description` that is not a text".to_owned());
    }
    let strict = match take("strict") {
        None => false,
        Some(Value::Bool(strict)) => strict,
        Some(_) => return Err("has a `json_schema.strict` that is not true or false".to_owned()),
    };
    let schema = take("schema").ok_or("must have a `json_schema.schema`")?;
    match said.keys().next() {
        Some(key) => Err(format!("has an unknown key `json_schema.{key}`")),
        None => Ok(Form::JsonSchema { schema, strict }),
    }
}

impl App {
    /// The grammar of a form; that of the voice where a request asks for none.
    pub(crate) async fn grammar(
        &self,
        voice: &Voice,
        form: Option<Form>,
    ) -> Result<Option<Grammar>, Problem> {
        let Some(form) = form else { return Ok(voice.grammar().cloned()) };
        // A large schema takes its time, and others are answered on this thread.
        let made = tokio::task::spawn_blocking(move || match form {
            Form::Text => Ok(None),
            Form::JsonObject => Grammar::json_object().map(Some),
            Form::JsonSchema { schema, strict } => {
                if strict {
                    check_strict(&schema, &SchemaPath::default())?;
                }
                Grammar::json_schema(&schema).map(Some)
            }
        });
        let made = made.await.map_err(|_| Problem::dead())?;
        made.map_err(|error| unusable(&error))
    }
}

/// A form that no answer can be held to.
pub(crate) fn unusable(error: &GrammarError) -> Problem {
    Problem::invalid("invalid_schema", format!("`{FIELD}`: {error}")).about(FIELD)
}

/// What OpenAI asks of strict schemas: objects are closed, and all their properties are required.
fn check_strict(schema: &Value, path: &SchemaPath) -> Result<(), GrammarError> {
    let Value::Object(keywords) = schema else { return Ok(()) };
    let wrong = |keyword: &str, problem: &str| {
        let (keyword, problem) = (keyword.to_owned(), problem.to_owned());
        Err(GrammarError::Keyword { path: path.clone(), keyword, problem })
    };
    let is_object = |kind: &Value| kind == "object";
    let typed = match keywords.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(is_object),
        kind => kind.is_some_and(is_object),
    };
    let properties = keywords.get("properties").and_then(Value::as_object);
    if typed || properties.is_some() {
        if keywords.get("additionalProperties") != Some(&Value::Bool(false)) {
            return wrong("additionalProperties", "must be false in a strict schema");
        }
        let required = keywords.get("required").and_then(Value::as_array);
        let is_required =
            |name: &String| required.is_some_and(|all| all.iter().any(|it| it == name));
        if let Some(name) =
            properties.iter().flat_map(|them| them.keys()).find(|it| !is_required(it))
        {
            return wrong("required", &format!("must have `{name}` too in a strict schema"));
        }
    }
    for (keyword, value) in keywords {
        let at = path.join(keyword);
        match (keyword.as_str(), value) {
            (
                "properties" | "patternProperties" | "$defs" | "definitions",
                Value::Object(named),
            ) => {
                for (name, part) in named {
                    check_strict(part, &at.join(name))?;
                }
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems" | "items", Value::Array(several)) => {
                for (i, part) in several.iter().enumerate() {
                    check_strict(part, &at.join(i))?;
                }
            }
            ("items" | "additionalItems", part) => check_strict(part, &at)?,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(format: Value) -> Result<Form, String> {
        form(format.as_object().unwrap().clone())
    }

    #[test]
    fn formats_are_read_and_nothing_in_them_is_ignored() {
        assert_eq!(said(json!({"type": "text"})), Ok(Form::Text));
        assert_eq!(said(json!({"type": "json_object"})), Ok(Form::JsonObject));
        let schema = json!({"type": "json_schema", "json_schema": {"name": "a-1", "strict": true,
            "description": "what", "schema": {"type": "null"}}});
        let expected = Form::JsonSchema { schema: json!({"type": "null"}), strict: true };
        assert_eq!(said(schema), Ok(expected));
        for wrong in [
            json!({}),
            json!({"type": "regex"}),
            json!({"type": "json_object", "schema": {}}),
            json!({"type": "json_schema"}),
            json!({"type": "json_schema", "json_schema": {"schema": {}}}),
            json!({"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}),
            json!({"type": "json_schema", "json_schema": {"name": "a"}}),
            json!({"type": "json_schema", "json_schema": {"name": "a", "schema": {}, "strict": 1}}),
            json!({"type": "json_schema", "json_schema": {"name": "a", "schema": {}, "x": 1}}),
        ] {
            said(wrong.clone()).expect_err(&wrong.to_string());
        }
    }

    #[test]
    fn strict_schemas_leave_nothing_open() {
        let strict = |schema: Value| {
            check_strict(&schema, &SchemaPath::default()).map_err(|error| error.to_string())
        };
        let closed = json!({"type": "object", "properties": {"a": {"type": "null"}},
            "required": ["a"], "additionalProperties": false});
        assert_eq!(strict(closed.clone()), Ok(()));
        assert_eq!(strict(json!({"type": "array", "items": closed})), Ok(()));
        assert_eq!(
            strict(json!({"items": {"type": ["object", "null"]}})),
            Err("`additionalProperties` at `#/items` of the schema must be false in a strict schema"
                .to_owned())
        );
        assert_eq!(
            strict(
                json!({"$defs": {"b": {"properties": {"a": {}}, "additionalProperties": false}}})
            ),
            Err("`required` at `#/$defs/b` of the schema must have `a` too in a strict schema"
                .to_owned())
        );
    }
}
