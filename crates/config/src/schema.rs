//! The catalogue as JSON Schema (draft 7, which editors' YAML servers read best).

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::catalogue::{
    Bound, Choice, Fill, Key, PROBE_FILE, RUN_FILE, Section, Status, Type, Union, Variant,
};
use crate::view::join;

/// A JSON Schema of run files, for completion and checks while typing. Rules across keys are not
/// in it; [`parse`](crate::parse) knows them.
pub fn json_schema() -> Value {
    let mut definitions = Definitions::default();
    let mut schema = Map::new();
    schema.insert("$schema".into(), json!("http://json-schema.org/draft-07/schema#"));
    schema.insert("title".into(), json!("Fidelio run file"));
    let of_llm = definitions.section(&RUN_FILE, "");
    let of_ecd = definitions.section(&PROBE_FILE, "");
    let ecd = json!({"properties": {"model_type": {"const": "ecd"}}, "required": ["model_type"]});
    schema.insert("if".into(), ecd);
    schema.insert("then".into(), Value::Object(of_ecd));
    schema.insert("else".into(), Value::Object(of_llm));
    schema.insert("definitions".into(), Value::Object(definitions.found));
    Value::Object(schema)
}

/// Unions, each written once however often it occurs.
#[derive(Default)]
struct Definitions {
    /// Name by address: the catalogue is static, so an address is an identity.
    names: HashMap<*const Union, String>,
    found: Map<String, Value>,
}

impl Definitions {
    fn section(&mut self, section: &'static Section, path: &str) -> Map<String, Value> {
        let keys: Vec<&'static Key> = section.keys().collect();
        self.object(section.doc, Map::new(), &keys, None, path)
    }

    fn object(
        &mut self,
        doc: &str,
        first: Map<String, Value>,
        keys: &[&'static Key],
        required: Option<&str>,
        path: &str,
    ) -> Map<String, Value> {
        let mut properties = first;
        let mut needed: Vec<&str> = required.into_iter().collect();
        for key in keys {
            properties.insert(key.name.into(), self.key(key, path));
            if matches!(key.fill, Fill::Required) {
                needed.push(key.name);
            }
        }
        let mut map = Map::new();
        if !doc.is_empty() {
            map.insert("description".into(), json!(doc));
        }
        map.insert("type".into(), json!("object"));
        map.insert("properties".into(), Value::Object(properties));
        if !needed.is_empty() {
            map.insert("required".into(), json!(needed));
        }
        map.insert("additionalProperties".into(), json!(false));
        map
    }

    fn key(&mut self, key: &'static Key, path: &str) -> Value {
        let mut map = match self.of_type(&key.takes, &join(path, key.name)) {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        if key.takes_null() {
            map = nullable(map);
        } else if map.contains_key("$ref") {
            // Readers of draft 7 ignore whatever stands beside a reference.
            map = Map::from_iter([("allOf".to_owned(), json!([map]))]);
        }
        let mut doc = describe(key.status);
        doc.push_str(key.doc);
        if !key.differs.is_empty() {
            doc = format!("{doc} (Difference: {}.)", key.differs);
        }
        map.insert("description".into(), json!(doc));
        let default = key.default_value();
        if !default.is_null() {
            map.insert("default".into(), default);
        }
        Value::Object(map)
    }

    fn of_type(&mut self, takes: &'static Type, path: &str) -> Value {
        match takes {
            Type::List(of, least) => {
                json!({"type": "array", "items": self.of_type(of, path), "minItems": least})
            }
            Type::Map(of, least) => {
                let item = self.of_type(of, path);
                json!({"type": "object", "additionalProperties": item, "minProperties": least})
            }
            Type::Section(of) => Value::Object(self.section(of, path)),
            Type::Union(of) => self.union(of, path),
            Type::Either(options) => {
                let options: Vec<Value> =
                    options.iter().map(|option| self.of_type(option, path)).collect();
                json!({"anyOf": options})
            }
            scalar => of_scalar(scalar),
        }
    }

    fn union(&mut self, of: &'static Union, path: &str) -> Value {
        let address = std::ptr::from_ref(of);
        if let Some(name) = self.names.get(&address) {
            return json!({"$ref": format!("#/definitions/{name}")});
        }
        // Variants may have different unions at the same path.
        let same = self.names.values().filter(|name| name.split('-').next() == Some(path)).count();
        let name = if same == 0 { path.to_owned() } else { format!("{path}-{same}") };
        self.names.insert(address, name.clone());
        let mut options = Vec::new();
        if of.shorthand {
            let names: Vec<&str> = of.variants.iter().map(|variant| variant.name).collect();
            options.push(json!({"enum": names, "description": of.doc}));
        }
        for variant in of.variants {
            let Variant { name, doc, status, .. } = variant;
            let doc = format!("{}{doc}", describe(*status));
            let tag =
                Map::from_iter([(of.tag.to_owned(), json!({"const": name, "description": doc}))]);
            let keys: Vec<&'static Key> = variant.keys().collect();
            let required = (of.fallback != Some(*name)).then_some(of.tag);
            options.push(Value::Object(self.object(doc.trim(), tag, &keys, required, path)));
        }
        let reference = json!({"$ref": format!("#/definitions/{name}")});
        self.found.insert(name, json!({"anyOf": options}));
        reference
    }
}

fn describe(status: Status) -> String {
    match status {
        Status::Built => String::new(),
        Status::NotBuilt(feature) => format!("NOT BUILT YET ({feature}). "),
        Status::NoEffect(why) => format!("NO EFFECT ({why}). "),
    }
}

fn nullable(map: Map<String, Value>) -> Map<String, Value> {
    let null = json!({"type": "null"});
    match map.get("anyOf") {
        Some(Value::Array(options)) => {
            let mut options = options.clone();
            options.push(null);
            Map::from_iter([("anyOf".to_owned(), Value::Array(options))])
        }
        _ if map.is_empty() => map,
        _ => Map::from_iter([("anyOf".to_owned(), json!([Value::Object(map), {"type": "null"}]))]),
    }
}

fn of_scalar(takes: &'static Type) -> Value {
    match takes {
        Type::Bool => json!({"type": "boolean"}),
        Type::Int(from, to) => {
            let mut map = Map::from_iter([("type".to_owned(), json!("integer"))]);
            if *from > i64::MIN {
                map.insert("minimum".into(), json!(from));
            }
            if *to < i64::MAX {
                map.insert("maximum".into(), json!(to));
            }
            Value::Object(map)
        }
        Type::Float(from, to) => {
            let mut map = Map::from_iter([("type".to_owned(), json!("number"))]);
            for (bound, with, without) in
                [(from, "minimum", "exclusiveMinimum"), (to, "maximum", "exclusiveMaximum")]
            {
                match bound {
                    Bound::Open => {}
                    Bound::With(value) => drop(map.insert(with.into(), json!(value))),
                    Bound::Without(value) => drop(map.insert(without.into(), json!(value))),
                }
            }
            Value::Object(map)
        }
        Type::Text => json!({"type": "string"}),
        Type::Words => json!({"type": "string", "minLength": 1}),
        Type::Label => json!({"type": ["string", "number", "boolean"]}),
        Type::Form(form) => {
            json!({"type": "string", "pattern": form.pattern, "description": form.words})
        }
        Type::Choice(choices) => choice(choices),
        _ => json!({}),
    }
}

fn choice(choices: &'static [Choice]) -> Value {
    let documented =
        choices.iter().any(|choice| !choice.doc.is_empty() || choice.status != Status::Built);
    if !documented || choices.len() == 1 {
        return json!({"enum": choices.iter().map(|choice| choice.name).collect::<Vec<_>>()});
    }
    let options: Vec<Value> = choices
        .iter()
        .map(|choice| {
            let doc = format!("{}{}", describe(choice.status), choice.doc);
            json!({"const": choice.name, "description": doc.trim()})
        })
        .collect();
    json!({"anyOf": options})
}
