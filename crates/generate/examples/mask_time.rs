//! How long a grammar thinks about a token, on a real vocabulary.
//!
//! `cargo run --release -p fidelio-generate --example mask_time TOKENIZER_JSON` draws answers in
//! JSON schemas at random and prints the times of masks, of forced tokens and of making a schema
//! ready.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "it is a program that measures")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fidelio_generate::{Grammar, Grammars, LogitRule, RowView, Verdict, sample::uniform};
use serde_json::{Value, json};
use tokenizers::Tokenizer;

fn main() {
    let path = std::env::args().nth(1).expect("the path of a tokenizer.json");
    let tokenizer = Arc::new(Tokenizer::from_file(path).unwrap());
    let vocabulary = tokenizer.get_vocab_size(true);
    let eos = tokenizer.get_added_tokens_decoder().keys().copied().min().unwrap_or(0);
    let mut grammars = Grammars::new(tokenizer);

    let (mut masks, mut forcing, mut ready) = (Vec::new(), Vec::new(), Vec::new());
    let (mut sampled, mut forced) = (0, 0);
    for (i, schema) in schemas().iter().enumerate() {
        let start = Instant::now();
        let grammar = Grammar::json_schema(schema).unwrap();
        grammars.rule(&grammar, &[eos]).unwrap();
        ready.push(start.elapsed());
        for draw in 0..20 {
            let mut rule = grammars.rule(&grammar, &[eos]).unwrap();
            for step in 0..300_u64 {
                let start = Instant::now();
                let tokens = rule.forced();
                forcing.push(start.elapsed());
                forced += tokens.len();
                for token in tokens {
                    rule.accept(token);
                }
                if rule.verdict() != Verdict::Open {
                    break;
                }
                let mut logits = vec![0.0; vocabulary];
                let start = Instant::now();
                rule.apply(&RowView { ids: &[], prompt: 0 }, &mut logits);
                masks.push(start.elapsed());
                let allowed: Vec<usize> =
                    (0..vocabulary).filter(|&id| logits[id].is_finite()).collect();
                let seed = (i * 100 + draw) as u64;
                let token = allowed[(uniform(seed, step) * allowed.len() as f64) as usize] as u32;
                sampled += 1;
                if token == eos {
                    break;
                }
                rule.accept(token);
            }
        }
    }
    println!("{vocabulary} tokens, {} schemas: {sampled} sampled, {forced} forced", ready.len());
    report("mask", masks);
    report("forced tokens", forcing);
    report("making ready", ready);
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{what}: median {:?}, p99 {:?}, largest {:?}", at(0.5), at(0.99), at(1.0));
}

fn schemas() -> Vec<Value> {
    let closed = |properties: Value| {
        let names: Vec<String> = properties.as_object().unwrap().keys().cloned().collect();
        json!({"type": "object", "properties": properties, "required": names,
            "additionalProperties": false})
    };
    vec![
        closed(
            json!({"sender": {"type": "string"}, "subject": {"type": "string", "maxLength": 80},
            "kind": {"enum": ["invoice", "offer", "complaint", "other"]}, "urgent": {"type":
            "boolean"}, "amount": {"type": "number"}, "due": {"type": "string", "format": "date"}}),
        ),
        closed(
            json!({"items": {"type": "array", "items": closed(json!({"name": {"type": "string"},
            "count": {"type": "integer", "minimum": 1, "maximum": 999}}))}}),
        ),
        json!({"type": "object"}),
        json!({"$defs": {"node": closed(json!({"text": {"type": "string"}, "children": {"type":
            "array", "items": {"$ref": "#/$defs/node"}}}))}, "$ref": "#/$defs/node"}),
        closed(json!({"id": {"type": "string", "format": "uuid"}, "mail": {"type": "string",
            "format": "email"}, "at": {"type": "string", "format": "date-time"}, "code": {"type":
            "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"}})),
        json!({"anyOf": [closed(json!({"yes": {"type": "string"}})), closed(json!({"no": {"type":
            "integer"}})), {"type": "array", "items": {"type": "string"}, "maxItems": 5}]}),
    ]
}
