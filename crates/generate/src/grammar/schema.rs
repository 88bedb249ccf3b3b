//! JSON schemas: which keywords are kept, and where one is wrong.
//!
//! `llguidance` ignores keywords that it does not know, which would make a grammar weaker than its
//! schema. So every keyword is looked at before, wherever it stands.

use serde_json::{Map, Value, json};

use super::{Grammar, GrammarError, SchemaPath, error::Problem, formats, writing};

/// Keywords that say something about a value and are kept.
const KEPT: [&str; 27] = [
    "$ref",
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "required",
    "type",
];

/// Keywords that say nothing about a value.
const NOTES: [&str; 11] = [
    "$comment",
    "$defs",
    "$schema",
    "default",
    "definitions",
    "deprecated",
    "description",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
];

/// Keywords of JSON Schema that no grammar keeps.
const LOST: [&str; 22] = [
    "$anchor",
    "$dynamicAnchor",
    "$dynamicRef",
    "$recursiveAnchor",
    "$recursiveRef",
    "contains",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "if",
    "maxContains",
    "minContains",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
];

/// Formats of strings that are kept.
const FORMATS: [&str; 10] =
    ["date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid"];

const DRAFTS: [&str; 4] = [
    "https://json-schema.org/draft/2020-12/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema",
    "http://json-schema.org/draft-06/schema",
];

/// Numbers are doubles in the grammar: from 2^53 on they are no longer told apart.
const LARGEST: f64 = 9_007_199_254_740_992.0;

/// Checks that a grammar keeps every keyword of a schema.
pub(super) fn check(schema: &Value) -> Result<(), GrammarError> {
    Checker { root: schema, seen: Vec::new() }.check(schema, &SchemaPath::default())
}

struct Checker<'a> {
    root: &'a Value,
    /// References that were followed.
    seen: Vec<String>,
}

impl Checker<'_> {
    fn check(&mut self, schema: &Value, path: &SchemaPath) -> Result<(), GrammarError> {
        let keywords = match schema {
            Value::Bool(_) => return Ok(()),
            Value::Object(keywords) => keywords,
            _ => {
                let problem = "must be an object, `true` or `false`".to_owned();
                return Err(GrammarError::Schema { path: path.clone(), problem });
            }
        };
        for (keyword, value) in keywords {
            self.keyword(keywords, keyword, value, path).map_err(|problem| {
                GrammarError::Keyword { path: path.clone(), keyword: keyword.clone(), problem }
            })?;
        }
        if let Some(Value::String(reference)) = keywords.get("$ref") {
            self.follow(reference, path)?;
        }
        for (part, at) in parts(keywords, path) {
            self.check(part, &at)?;
        }
        Ok(())
    }

    /// What is wrong with one keyword, as the end of a sentence.
    fn keyword(
        &self,
        beside: &Map<String, Value>,
        keyword: &str,
        value: &Value,
        path: &SchemaPath,
    ) -> Result<(), String> {
        if LOST.contains(&keyword) {
            return Err("cannot be kept while a text is generated".to_owned());
        }
        match keyword {
            "$schema" => known_draft(value),
            "$id" if path.0.is_empty() => Ok(()),
            "$id" => Err("can only stand at the root".to_owned()),
            "$ref" => local(value),
            "format" => known_format(value),
            "const" => exact(value),
            "enum" => match value {
                Value::Array(values) => values.iter().try_for_each(exact),
                _ => Err("must be an array".to_owned()),
            },
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => bound(value),
            "multipleOf" => match value.as_f64() {
                Some(step) if step > 0.0 && step < LARGEST => Ok(()),
                _ => Err("must be a number above 0 and below 2^53".to_owned()),
            },
            "properties" | "patternProperties" | "$defs" | "definitions" => {
                value.is_object().then_some(()).ok_or("must be an object".to_owned())
            }
            "prefixItems" if self.is_older() => {
                Err("is not a keyword of this draft: write `items` as an array".to_owned())
            }
            "anyOf" | "oneOf" | "allOf" | "prefixItems" => {
                value.is_array().then_some(()).ok_or("must be an array".to_owned())
            }
            "required" => match value.as_array() {
                Some(names) if names.iter().all(Value::is_string) => Ok(()),
                _ => Err("must be an array of texts".to_owned()),
            },
            "items" if value.is_array() && beside.contains_key("prefixItems") => {
                Err("must be one schema beside `prefixItems`".to_owned())
            }
            "additionalItems" if !beside.get("items").is_some_and(Value::is_array) => {
                Err("has no effect unless `items` is an array".to_owned())
            }
            "minProperties" => countable(beside, value),
            _ if KEPT.contains(&keyword) || NOTES.contains(&keyword) => Ok(()),
            _ => Err("is not a keyword of JSON Schema".to_owned()),
        }
    }

    /// Whether the schema is of a draft before 2020-12.
    fn is_older(&self) -> bool {
        let draft = self.root.get("$schema").and_then(Value::as_str);
        draft.is_some_and(|draft| draft.trim_end_matches('#') != DRAFTS[0])
    }

    /// Checks what a reference leads to, which may stand outside of the usual places.
    fn follow(&mut self, reference: &str, path: &SchemaPath) -> Result<(), GrammarError> {
        if self.seen.iter().any(|seen| seen == reference) {
            return Ok(());
        }
        self.seen.push(reference.to_owned());
        let pointer = reference.trim_start_matches('#');
        let Some(target) = self.root.pointer(pointer) else {
            return Err(GrammarError::Keyword {
                path: path.clone(),
                keyword: "$ref".to_owned(),
                problem: format!("leads to `{reference}`, which is not in the schema"),
            });
        };
        let steps = pointer.split('/').skip(1).map(str::to_owned).collect();
        self.check(target, &SchemaPath(steps))
    }
}

/// The schemas that stand directly in a schema, with their places.
fn parts<'a>(keywords: &'a Map<String, Value>, path: &SchemaPath) -> Vec<(&'a Value, SchemaPath)> {
    let mut parts = Vec::new();
    for (keyword, value) in keywords {
        let at = path.join(keyword);
        match (keyword.as_str(), value) {
            (
                "properties" | "patternProperties" | "$defs" | "definitions",
                Value::Object(named),
            ) => {
                parts.extend(named.iter().map(|(name, part)| (part, at.join(name))));
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems" | "items", Value::Array(several)) => {
                parts.extend(several.iter().enumerate().map(|(i, part)| (part, at.join(i))));
            }
            ("items" | "additionalItems" | "additionalProperties", part) => parts.push((part, at)),
            _ => {}
        }
    }
    parts
}

fn known_draft(value: &Value) -> Result<(), String> {
    let draft = value.as_str().map(|draft| draft.trim_end_matches('#'));
    if draft.is_some_and(|draft| DRAFTS.contains(&draft)) {
        return Ok(());
    }
    Err(format!("must be one of {}", DRAFTS.map(|draft| format!("`{draft}`")).join(", ")))
}

fn known_format(value: &Value) -> Result<(), String> {
    if value.as_str().is_some_and(|format| FORMATS.contains(&format)) {
        return Ok(());
    }
    Err(format!("must be one of {}", FORMATS.map(|format| format!("`{format}`")).join(", ")))
}

/// References within the schema, as plain pointers.
fn local(value: &Value) -> Result<(), String> {
    let Some(reference) = value.as_str() else { return Err("must be a text".to_owned()) };
    if reference == "#" {
        return Ok(());
    }
    match reference.strip_prefix("#/") {
        Some(pointer) if !pointer.is_empty() && !pointer.contains(['%', '~']) => Ok(()),
        _ => Err("must lead to a place in the same schema, such as `#/$defs/name`".to_owned()),
    }
}

fn bound(value: &Value) -> Result<(), String> {
    match value.as_f64() {
        Some(bound) if bound.abs() < LARGEST => Ok(()),
        Some(_) => Err("is not below 2^53, where numbers are not told apart".to_owned()),
        None => Err("must be a number".to_owned()),
    }
}

/// Values that a grammar writes exactly.
fn exact(value: &Value) -> Result<(), String> {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(value) if value.abs() < LARGEST => Ok(()),
            _ => Err(format!("holds {number}, not below 2^53, where numbers are not told apart")),
        },
        Value::String(text) if text.chars().any(is_unwritable) => {
            Err("holds a text with a control character, which is never written".to_owned())
        }
        Value::Array(values) => values.iter().try_for_each(exact),
        Value::Object(values) => values.values().try_for_each(exact),
        _ => Ok(()),
    }
}

/// Characters that JSON could only write as `\u….`.
fn is_unwritable(c: char) -> bool {
    c == '\u{7f}' || (c < ' ' && !"\n\r\t\u{8}\u{c}".contains(c))
}

/// Whether a least number of properties is one that a grammar counts: properties without a name
/// of their own might come twice under one name.
fn countable(beside: &Map<String, Value>, least: &Value) -> Result<(), String> {
    let Some(least) = least.as_u64() else { return Err("must be a count".to_owned()) };
    let is_closed = beside.get("additionalProperties") == Some(&Value::Bool(false))
        && !beside.contains_key("patternProperties");
    let required = beside.get("required").and_then(Value::as_array).map_or(0, Vec::len) as u64;
    if is_closed || least <= required + 1 {
        return Ok(());
    }
    Err(format!(
        "is {least}, but at most {} can be counted: those `required` and one more",
        required + 1
    ))
}

/// The schema as `llguidance` is given it: with the writing of ours, with what its own formats leave
/// out, and with bounds on numbers.
pub(super) fn prepared(schema: &Value) -> Value {
    let mut schema = match schema {
        Value::Bool(true) => json!({}),
        other => other.clone(),
    };
    tighten(&mut schema);
    if let Value::Object(_) = &schema {
        writing().apply_to(&mut schema);
    }
    schema
}

/// Adds to a schema, and to all that it holds, what makes its texts readable for everyone.
fn tighten(schema: &mut Value) {
    let Value::Object(keywords) = schema else { return };
    for (keyword, value) in keywords.iter_mut() {
        match (keyword.as_str(), value) {
            (
                "properties" | "patternProperties" | "$defs" | "definitions",
                Value::Object(named),
            ) => {
                named.values_mut().for_each(tighten);
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems" | "items", Value::Array(several)) => {
                several.iter_mut().for_each(tighten);
            }
            ("items" | "additionalItems" | "additionalProperties", part) => tighten(part),
            _ => {}
        }
    }
    let is_number = |kind: &Value| kind == "number" || kind == "integer";
    let numeric = match keywords.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(is_number),
        kind => kind.is_some_and(is_number),
    };
    if numeric {
        bind(keywords);
    }
    formats::tighten(keywords);
}

/// Bounds a number that its schema does not bound: RFC 8259, section 6, says which numbers all
/// parsers read alike, and many fail on 1e999.
fn bind(keywords: &mut Map<String, Value>) {
    let largest = LARGEST - 1.0;
    if !keywords.contains_key("exclusiveMinimum") {
        keywords.entry("minimum").or_insert_with(|| json!(-largest));
    }
    if !keywords.contains_key("exclusiveMaximum") {
        keywords.entry("maximum").or_insert_with(|| json!(largest));
    }
}

/// Finds the smallest part of a schema that is refused, so that the error names its place.
pub(super) fn blame(
    root: &Value,
    problem: Problem,
    refused: &dyn Fn(&Value) -> Option<Problem>,
) -> GrammarError {
    let (mut part, mut path, mut problem) = (root, SchemaPath::default(), problem);
    'deeper: while let Value::Object(keywords) = part {
        for (inner, at) in parts(keywords, &path) {
            if let Some(found) = refused(&with_definitions(root, inner)) {
                (part, path, problem) = (inner, at, found);
                continue 'deeper;
            }
        }
        break;
    }
    GrammarError::Schema { path, problem: problem.sentence() }
}

/// A part of a schema with the definitions of the whole, so that its references lead somewhere.
fn with_definitions(root: &Value, part: &Value) -> Value {
    let mut part = part.clone();
    if let (Value::Object(part), Value::Object(root)) = (&mut part, root) {
        for name in ["$defs", "definitions", "$schema"] {
            if let Some(value) = root.get(name) {
                part.entry(name).or_insert_with(|| value.clone());
            }
        }
    }
    part
}

impl Grammar {
    /// What went wrong when the grammar was made ready for a model.
    pub(super) fn error(&self, problem: Problem) -> GrammarError {
        match self.0.kind {
            super::Kind::JsonSchema => {
                GrammarError::Schema { path: SchemaPath::default(), problem: problem.sentence() }
            }
            super::Kind::Regex => GrammarError::Regex { problem: problem.sentence() },
            super::Kind::Grammar => problem.in_grammar(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The path and keyword of what is wrong with a schema.
    fn wrong(schema: &Value) -> (String, String) {
        match Grammar::json_schema(schema).unwrap_err() {
            GrammarError::Keyword { path, keyword, .. } => (path.to_string(), keyword),
            GrammarError::Schema { path, .. } => (path.to_string(), String::new()),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn no_keyword_is_ignored() {
        for keyword in LOST {
            let schema = json!({"type": "object", "properties": {"a": {keyword: true}}});
            assert_eq!(wrong(&schema), ("#/properties/a".to_owned(), keyword.to_owned()));
        }
        for keyword in ["minLenght", "x-guidance", "nullable", "id"] {
            let schema = json!({"anyOf": [{"type": "null"}, {"type": "string", keyword: 1}]});
            assert_eq!(wrong(&schema), ("#/anyOf/1".to_owned(), keyword.to_owned()));
        }
    }

    #[test]
    fn wrong_values_name_their_keyword_and_place() {
        let cases = [
            (json!({"format": "regex"}), "#", "format"),
            (json!({"items": {"format": "unknown"}}), "#/items", "format"),
            (json!({"$ref": "https://example.com/a"}), "#", "$ref"),
            (json!({"$ref": "#/$defs/a"}), "#", "$ref"),
            (
                json!({"$defs": {"a": {"contains": {}}}, "$ref": "#/$defs/a"}),
                "#/$defs/a",
                "contains",
            ),
            (json!({"x": 1, "enum": [1]}), "#", "x"),
            (json!({"const": 9_007_199_254_740_993_u64}), "#", "const"),
            (json!({"enum": ["a\u{1}"]}), "#", "enum"),
            (json!({"maximum": 1e30}), "#", "maximum"),
            (json!({"multipleOf": 0}), "#", "multipleOf"),
            (json!({"items": {"$id": "a"}}), "#/items", "$id"),
            (json!({"$schema": "http://json-schema.org/draft-04/schema#"}), "#", "$schema"),
            (json!({"additionalItems": false}), "#", "additionalItems"),
            (json!({"minProperties": 3, "required": ["a"]}), "#", "minProperties"),
            (json!({"properties": {"a": 3}}), "#/properties/a", ""),
            (json!({"properties": []}), "#", "properties"),
            // What `llguidance` refuses is traced to its place.
            (
                json!({"properties": {"a": {"type": "text"}}, "required": ["a"]}),
                "#/properties/a",
                "",
            ),
            (json!({"items": {"pattern": "(?=a)"}}), "#/items", ""),
            (
                json!({"properties": {"a": {"oneOf": [{"minimum": 1}, {"maximum": 2}]}}}),
                "#/properties/a",
                "",
            ),
        ];
        for (schema, path, keyword) in cases {
            assert_eq!(wrong(&schema), (path.to_owned(), keyword.to_owned()), "{schema}");
        }
    }

    #[test]
    fn what_is_right_is_taken() {
        for schema in [
            json!(true),
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "$id": "a", "title": "t",
                "items": [{"type": "null"}], "additionalItems": false, "type": "array"}),
            json!({"$defs": {"node": {"type": "object", "properties": {
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}},
                "$ref": "#/$defs/node"}),
            json!({"minProperties": 1, "properties": {"a": {}, "b": {}},
                "additionalProperties": false, "type": "object"}),
        ] {
            Grammar::json_schema(&schema).unwrap();
        }
    }
}
