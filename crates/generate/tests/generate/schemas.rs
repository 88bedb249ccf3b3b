//! Schemas of many shapes, and values to hold against them.

use std::collections::BTreeMap;

use fidelio_generate::sample::uniform;
use serde_json::{Map, Value, json};

/// The keywords that [`drawn`] uses.
pub(crate) const KEYWORDS: [&str; 22] = [
    "$ref",
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
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "multipleOf",
    "oneOf",
    "pattern",
    "prefixItems",
    "properties",
    "required",
];

/// Schemas as people write them, and corners.
pub(crate) fn written() -> Vec<Value> {
    let closed = |properties: Value| {
        let names: Vec<String> = properties.as_object().unwrap().keys().cloned().collect();
        json!({"type": "object", "properties": properties, "required": names,
            "additionalProperties": false})
    };
    vec![
        closed(json!({"sender": {"type": "string", "maxLength": 20}, "kind": {"enum": ["invoice",
            "offer", "other"]}, "amount": {"type": "number", "minimum": 0, "maximum": 10000},
            "urgent": {"type": "boolean"}})),
        closed(json!({"a": {"type": ["string", "null"]}, "b": {"type": ["integer", "boolean"]}})),
        json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "null"}}}),
        json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a", "x"],
            "additionalProperties": {"type": "boolean"}}),
        json!({"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}},
            "additionalProperties": false, "minProperties": 1}),
        json!({"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}},
            "additionalProperties": false, "maxProperties": 1}),
        json!({"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1,
            "maxProperties": 3}),
        json!({"type": "object", "patternProperties": {"^n_[a-z]{1,3}$": {"type": "integer"}},
            "additionalProperties": false}),
        json!({"type": "object", "properties": {"n_a": {"maximum": 5}},
            "patternProperties": {"^n_": {"type": "integer"}}, "additionalProperties": {"type": "null"}}),
        json!({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 4}),
        json!({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}],
            "items": false}),
        json!({"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "null"},
            "minItems": 3, "maxItems": 3}),
        json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "array",
            "items": [{"const": 1}, {"const": 2}], "additionalItems": {"type": "boolean"}}),
        json!({"type": "array", "items": {"type": "array", "items": {"type": "boolean"}}}),
        json!({"type": "array", "maxItems": 0}),
        json!({"type": "string", "minLength": 3, "maxLength": 5}),
        json!({"type": "string", "pattern": "^[A-Z]{2}-\\d+$"}),
        json!({"type": "string", "pattern": "b", "maxLength": 4}),
        json!({"type": "string", "pattern": "^\\w+@\\S+$", "minLength": 6, "maxLength": 9}),
        json!({"enum": ["quote \" and \\", "line\nbreak", "tab\t", "é 東京 🙂", ""]}),
        json!({"enum": [1, -2.5, true, null, "x", [1, 2], {"a": 1}]}),
        json!({"const": 0.1}),
        json!({"const": -7}),
        json!({"const": {"b": [], "a": {}}}),
        json!({"type": "integer", "minimum": -3, "maximum": 12}),
        json!({"type": "integer", "exclusiveMinimum": 99, "exclusiveMaximum": 1001}),
        json!({"type": "integer", "multipleOf": 7, "minimum": 0, "maximum": 100}),
        json!({"type": "integer", "minimum": 18}),
        json!({"type": "integer", "maximum": -5}),
        json!({"type": "number", "minimum": 0.25, "maximum": 0.75}),
        json!({"type": "number", "exclusiveMinimum": -1.5, "exclusiveMaximum": 1.5}),
        json!({"type": "number", "multipleOf": 0.25, "minimum": 0, "maximum": 3}),
        json!({"type": "number", "minimum": 3}),
        json!({"type": "string", "format": "date"}),
        json!({"type": "string", "format": "date-time"}),
        json!({"type": "string", "format": "time"}),
        json!({"type": "string", "format": "duration"}),
        json!({"type": "string", "format": "email"}),
        json!({"type": "string", "format": "hostname", "maxLength": 60}),
        json!({"type": "string", "format": "ipv4"}),
        json!({"type": "string", "format": "ipv6"}),
        json!({"type": "string", "format": "uuid"}),
        json!({"type": "string", "format": "uri", "maxLength": 40}),
        json!({"anyOf": [{"type": "string", "maxLength": 3}, {"type": "integer", "minimum": 10}]}),
        json!({"oneOf": [{"type": "string", "maxLength": 2}, {"type": "null"}]}),
        json!({"oneOf": [
            {"type": "object", "properties": {"kind": {"const": "a"}, "x": {"type": "integer"}},
                "required": ["kind", "x"], "additionalProperties": false},
            {"type": "object", "properties": {"kind": {"const": "b"}, "y": {"type": "null"}},
                "required": ["kind", "y"], "additionalProperties": false}]}),
        json!({"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 7}]}),
        json!({"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}},
            "required": ["a"]}, {"properties": {"a": {"minimum": 5}, "b": {"type": "boolean"}},
            "required": ["b"], "additionalProperties": {"type": ["integer", "boolean"]}}]}),
        json!({"type": "string", "anyOf": [{"minLength": 4}, {"pattern": "^a"}], "maxLength": 6}),
        json!({"$defs": {"list": {"type": ["object", "null"], "properties": {"value": {"type":
            "integer"}, "next": {"$ref": "#/$defs/list"}}, "required": ["value", "next"],
            "additionalProperties": false}}, "$ref": "#/$defs/list"}),
        json!({"type": "object", "properties": {"children": {"type": "array", "items":
            {"$ref": "#"}, "maxItems": 2}}, "additionalProperties": false}),
        json!({"definitions": {"money": {"type": "object", "properties": {"amount": {"type":
            "number"}, "currency": {"enum": ["EUR", "USD"]}}, "required": ["amount", "currency"],
            "additionalProperties": false}}, "type": "array", "items": {"$ref":
            "#/definitions/money"}, "minItems": 1, "maxItems": 3}),
        json!({"type": "object", "properties": {"a\"b": {"type": "null"}, "é\n": {"type": "null"}},
            "required": ["a\"b", "é\n"], "additionalProperties": false}),
        json!({"title": "T", "description": "D", "default": {}, "examples": [{}], "$comment": "c",
            "deprecated": true, "type": "object", "properties": {"a": {"readOnly": true, "type":
            "boolean"}}, "required": ["a"], "additionalProperties": false}),
        json!({"properties": {"const": {"format": "date", "type": "string"}}, "type": "object",
            "required": ["const"], "additionalProperties": false}),
    ]
}

/// Values of every kind, many of them just beside what a schema allows.
pub(crate) fn values() -> Vec<Value> {
    let mut values: Vec<Value> = written().iter().flat_map(literals).collect();
    for number in
        [-8, -7, -6, -5, -4, -3, -1, 0, 1, 2, 3, 5, 7, 8, 12, 13, 14, 98, 99, 100, 1000, 1001]
    {
        values.push(json!(number));
    }
    for number in [-1.5, -1.4, 0.1, 0.2, 0.25, 0.3, 0.5, 0.75, 0.8, 1.5, 2.75, 3.25, 1e3] {
        values.push(json!(number));
    }
    for text in
        ["", "a", "ab", "abc", "abcd", "abcdef", "b", "AB-1", "AB-", "x@y", "ab@cdef", "東京é"]
    {
        values.push(json!(text));
    }
    for text in [
        "2024-02-29",
        "2023-02-29",
        "2024-13-01",
        "2024-02-29T10:00:00Z",
        "10:00:60Z",
        "P1D",
        "P",
        "a@b.c",
        "-a.b",
        "256.1.1.1",
        "127.0.0.1",
        "::1",
        "1::2::3",
        "http://a/b?c",
        "a b:c",
        "123e4567-e89b-12d3-a456-426614174000",
    ] {
        values.push(json!(text));
    }
    for list in [
        json!([]),
        json!([1]),
        json!([1, 2]),
        json!([1, 2, true]),
        json!([1, 2, 3, 4, 5]),
        json!(["a"]),
        json!(["a", 1]),
        json!(["a", 1, 2]),
        json!(["a", null, null]),
        json!([[true], []]),
    ] {
        values.push(list);
    }
    for object in [
        json!({}),
        json!({"a": 1}),
        json!({"a": "x"}),
        json!({"a": 1, "b": null}),
        json!({"a": 1, "b": 2}),
        json!({"b": 2}),
        json!({"a": 1, "x": true}),
        json!({"a": 1, "x": 3}),
        json!({"a": null, "b": true}),
        json!({"x": 1, "y": 2, "z": 3, "w": 4}),
        json!({"n_a": 5}),
        json!({"n_a": 6}),
        json!({"n_b": "x"}),
        json!({"a": 5, "b": true}),
        json!({"a": 4, "b": true}),
        json!({"a": 5, "b": true, "c": null}),
        json!({"kind": "a", "x": 1}),
        json!({"kind": "b", "x": 1}),
        json!({"kind": "b", "y": null}),
        json!({"value": 1, "next": null}),
        json!({"value": 1, "next": {"value": 2, "next": null}}),
        json!({"value": 1}),
        json!({"children": [{"children": []}, {}]}),
        json!({"children": [1]}),
        json!({"const": "2023-02-29"}),
        json!({"const": "2024-02-29"}),
    ] {
        values.push(object);
    }
    values
}

/// The literal values that a schema names.
fn literals(schema: &Value) -> Vec<Value> {
    let mut found: Vec<Value> = schema.get("const").into_iter().cloned().collect();
    found.extend(schema.get("enum").and_then(Value::as_array).cloned().unwrap_or_default());
    found
}

/// A schema that depends on the seed alone; counts its keywords.
pub(crate) fn drawn(seed: u64, kinds: &mut BTreeMap<String, usize>) -> Value {
    let mut draw = Draw { seed, at: 0 };
    let mut schema = draw.schema(3);
    if draw.one_in(3) {
        let node = draw.schema(1);
        let definitions = json!({"node": node});
        schema = json!({"$defs": definitions, "type": "object", "required": ["it"],
            "properties": {"it": schema, "other": {"$ref": "#/$defs/node"}},
            "additionalProperties": false});
    }
    count(&schema, kinds);
    schema
}

fn count(schema: &Value, kinds: &mut BTreeMap<String, usize>) {
    match schema {
        Value::Object(fields) => {
            for (name, value) in fields {
                *kinds.entry(name.clone()).or_default() += 1;
                count(value, kinds);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| count(value, kinds)),
        _ => {}
    }
}

struct Draw {
    seed: u64,
    at: u64,
}

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.at += 1;
        (uniform(self.seed, self.at) * n as f64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn schema(&mut self, depth: usize) -> Value {
        let kinds = if depth == 0 { 6 } else { 11 };
        match self.below(kinds) {
            0 => self.integer(),
            1 => self.number(),
            2 => self.text(),
            3 => json!({"type": ["boolean", "null"]}),
            4 => self.choice(),
            5 => self.formatted(),
            6 | 7 => self.object(depth - 1),
            8 => self.array(depth - 1),
            9 => {
                let options = [self.schema(depth - 1), self.schema(depth - 1)];
                json!({"anyOf": options})
            }
            _ => self.combined(depth - 1),
        }
    }

    fn integer(&mut self) -> Value {
        let low = self.below(2000) as i64 - 1000;
        let mut schema = json!({"type": "integer", "minimum": low, "maximum": low + 300});
        if self.one_in(3) {
            schema["multipleOf"] = json!(1 + self.below(9));
        }
        schema
    }

    fn number(&mut self) -> Value {
        let low = self.below(200) as f64 / 8.0 - 10.0;
        json!({"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": low + 3.5})
    }

    fn text(&mut self) -> Value {
        if self.one_in(3) {
            let patterns = ["^[a-z]{2,5}$", "^(?:ab|cd)+$", "[0-9]x", "^\\d{1,3}\\.\\d$"];
            return json!({"type": "string", "pattern": patterns[self.below(4)], "maxLength": 12});
        }
        let least = self.below(4);
        json!({"type": "string", "minLength": least, "maxLength": least + self.below(8)})
    }

    fn formatted(&mut self) -> Value {
        let formats = ["date", "date-time", "time", "uuid", "ipv4", "duration"];
        json!({"type": "string", "format": formats[self.below(formats.len())]})
    }

    fn choice(&mut self) -> Value {
        if self.one_in(4) {
            let text = ["a", "b\"c", "é"][self.below(3)];
            return json!({"const": text});
        }
        json!({"enum": [self.below(9), "x y", null, {"k": self.below(5)}]})
    }

    fn object(&mut self, depth: usize) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for i in 0..self.below(5) {
            let name = format!("{}{i}", ["a", "name ", "é", "x_"][self.below(4)]);
            properties.insert(name.clone(), self.schema(depth));
            if !self.one_in(3) {
                required.push(name);
            }
        }
        let rest = if self.one_in(4) { self.integer() } else { json!(false) };
        json!({"type": "object", "properties": properties, "required": required,
            "additionalProperties": rest})
    }

    fn array(&mut self, depth: usize) -> Value {
        let least = self.below(3);
        let mut schema = json!({"type": "array", "items": self.schema(depth), "minItems": least,
            "maxItems": least + 1 + self.below(3)});
        if self.one_in(3) {
            schema["prefixItems"] = json!([self.schema(depth), self.schema(0)]);
        }
        schema
    }

    fn combined(&mut self, depth: usize) -> Value {
        if self.one_in(2) {
            let (inner, other) = (self.object(depth), self.integer());
            return json!({"oneOf": [inner, other, {"type": "string", "maxLength": 3}]});
        }
        let low = self.below(50);
        json!({"allOf": [{"type": "integer", "minimum": low}, {"maximum": low + 20}]})
    }
}
