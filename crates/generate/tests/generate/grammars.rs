//! Answers that are held to a grammar are what it allows, whatever the model says.

use std::{collections::BTreeMap, sync::Arc};

use boon::{Compiler, Schemas};
use fidelio_backend::{FakeLimits, FakeSession};
use fidelio_generate::{
    Decoding, Finish, FinishReason, GenerateError, Grammar, GrammarError, GrammarTokens, Limits,
    Request, sample::uniform, write_json,
};
use regex::Regex;
use serde_json::{Value, json};

use crate::{SIZES, alone, engine_on, ids, run, schemas, tokenizer};

const LONG: FakeLimits = FakeLimits { context: 8192, tokens: 65536, ..SIZES };

/// A session that babbles: its logits are noise, with more weight on what ends texts and lists, so
/// that answers come to an end.
fn babbler() -> FakeSession {
    let tokenizer = tokenizer("byte_level.json");
    let ends = |token: String| token.contains(['"', '}', ']']);
    let closing: Vec<bool> =
        (0..340).map(|id| tokenizer.id_to_token(id).is_some_and(ends)).collect();
    FakeSession::scripted(LONG, move |path| {
        let last = path.iter().rev().take(3).fold(7_u64, |h, &id| h * 1_000_003 + u64::from(id));
        let seed = last ^ (path.len() as u64) << 40;
        let noise = |id: usize| uniform(seed, id as u64) as f32 * 4.0;
        (0..340).map(|id| noise(id) + if closing[id] { 3.0 } else { 0.0 }).collect()
    })
}

fn sampled(seed: u64) -> Decoding {
    Decoding {
        do_sample: true,
        top_k: 0,
        seed,
        max_new_tokens: 4000,
        eos_token_id: vec![0],
        ..Decoding::default()
    }
}

fn says(grammar: &Grammar, seed: u64) -> Finish {
    let request = Request::new(ids(seed, 5), sampled(seed)).with_grammar(Some(grammar.clone()));
    alone(babbler(), request).0
}

/// Checks an answer with a validator that shares no code with the grammar.
fn check_json(schema: &Value, finish: &Finish) {
    let value: Value = serde_json::from_str(&finish.text)
        .unwrap_or_else(|error| panic!("{error}: {:?} of {schema}", finish.text));
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    compiler.enable_format_assertions();
    compiler.add_resource("schema.json", schema.clone()).unwrap();
    let index = compiler.compile("schema.json", &mut schemas).unwrap();
    if let Err(error) = schemas.validate(&value, index) {
        panic!("{error:#}\n{} of {schema}", finish.text);
    }
}

#[test]
fn answers_are_valid_under_schemas_of_every_shape() {
    for (i, schema) in schemas::written().iter().enumerate() {
        let grammar =
            Grammar::json_schema(schema).unwrap_or_else(|error| panic!("{error}: {schema}"));
        for seed in 0..6 {
            let finish = says(&grammar, 100 * i as u64 + seed);
            assert!(
                matches!(finish.reason, FinishReason::Grammar | FinishReason::Eos(0)),
                "{:?} {} of {schema}",
                finish.reason,
                finish.text
            );
            check_json(schema, &finish);
        }
    }
}

#[test]
fn answers_are_valid_under_schemas_that_are_drawn() {
    let mut kinds = BTreeMap::new();
    for seed in 0..200 {
        let schema = schemas::drawn(seed, &mut kinds);
        let grammar = Grammar::json_schema(&schema)
            .unwrap_or_else(|error| panic!("schema {seed}: {error}: {schema}"));
        for draw in 0..2 {
            let finish = says(&grammar, 1000 + 2 * seed + draw);
            assert_ne!(finish.reason, FinishReason::Length, "{} of {schema}", finish.text);
            check_json(&schema, &finish);
        }
    }
    // Every keyword that is kept was drawn.
    for keyword in schemas::KEYWORDS {
        assert!(kinds.get(keyword).is_some_and(|&n| n > 3), "{keyword}: {kinds:?}");
    }
}

#[test]
fn what_a_grammar_accepts_is_what_the_validator_accepts() {
    // Values of every kind, right and wrong, against each schema: the grammar may be stricter only
    // in how a value is written.
    for schema in schemas::written() {
        let mut validators = Schemas::new();
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        compiler.add_resource("schema.json", schema.clone()).unwrap();
        let index = compiler.compile("schema.json", &mut validators).unwrap();
        let grammar = Grammar::json_schema(&schema).unwrap();
        for value in schemas::values() {
            let text = write_json(&value);
            if grammar.accepts(&text) {
                let valid = validators.validate(&value, index).is_ok();
                assert!(valid, "{text} is accepted under {schema}");
            }
        }
    }
}

#[test]
fn answers_match_their_regular_expression() {
    for pattern in [
        "yes|no",
        "[0-9]{4}-[0-9]{2}",
        "^(?:ham|spam): [a-z ]{3,20}$",
        r"\+?\d{2,5}( \d{2,4}){1,3}",
        "(?i)invoice no\\. [a-f]{2,8}",
        "[^a-z\\n]{1,5}/[東京é]+",
        "a*b?",
        "(?s).{3}",
    ] {
        let grammar = Grammar::regex(pattern).unwrap();
        let expected = Regex::new(&format!("^(?:{pattern})$")).unwrap();
        for seed in 0..20 {
            let finish = says(&grammar, seed);
            assert!(expected.is_match(&finish.text), "{:?} of {pattern}", finish.text);
            assert_ne!(finish.reason, FinishReason::Length, "{pattern}");
        }
    }
}

#[test]
fn answers_follow_a_lark_grammar() {
    let text = r#"
start: sum
sum: product ("+" product)*
product: NUMBER | "(" sum ")"
NUMBER: /[1-9][0-9]?/
"#;
    let grammar = Grammar::parse(text).unwrap();
    for seed in 0..30 {
        let finish = says(&grammar, seed);
        if finish.reason == FinishReason::Length {
            continue; // brackets without end
        }
        let mut depth = 0;
        for c in finish.text.chars() {
            depth += i32::from(c == '(') - i32::from(c == ')');
            assert!(depth >= 0 && "0123456789+()".contains(c), "{}", finish.text);
        }
        assert_eq!(depth, 0, "{}", finish.text);
        assert!(!finish.text.contains("++") && !finish.text.ends_with('+'), "{}", finish.text);
    }
    let error = Grammar::parse("start: \"a\"\nstart: b").unwrap_err();
    assert!(matches!(error, GrammarError::Grammar { line: 2, .. }), "{error}");
}

#[test]
fn sentence_piece_vocabularies_work_too() {
    let schema = json!({"type": "object", "properties": {
        "answer": {"enum": ["the answer is yes", "no é 日本"]}, "n": {"type": "integer", "maximum": 99,
        "minimum": 0}}, "required": ["answer", "n"], "additionalProperties": false});
    let grammar = Grammar::json_schema(&schema).unwrap();
    for seed in 0..10 {
        let session = FakeSession::new(FakeLimits { vocabulary: 281, ..LONG });
        let tokenizer = tokenizer("sentence_piece.json");
        let mut engine =
            fidelio_generate::Engine::new(Box::new(session), tokenizer, Limits::default()).unwrap();
        let decoding = Decoding { eos_token_id: vec![2], ..sampled(seed) };
        let request = Request::new([5, 6], decoding).with_grammar(Some(grammar.clone()));
        let id = engine.submit(request).unwrap();
        let (finish, _) = run(&mut engine).remove(&id).unwrap();
        assert_eq!(finish.reason, FinishReason::Grammar);
        check_json(&schema, &finish);
    }
}

#[test]
fn a_tokenizer_without_pieces_of_text_is_refused() {
    let error = GrammarTokens::new(&tokenizer("word_piece.json"), &[]).unwrap_err();
    assert!(matches!(error, GrammarError::Tokenizer { .. }), "{error}");
}

#[test]
fn text_without_a_choice_is_not_sampled() {
    let schema = json!({"type": "object", "properties": {
        "the answer is": {"enum": ["yes", "no"]}, "what is it": {"type": "boolean"}},
        "required": ["the answer is", "what is it"], "additionalProperties": false});
    let grammar = Grammar::json_schema(&schema).unwrap();
    let (forced, sampled) = counted(&grammar, Decoding::default());
    let free = Decoding { logprobs: Some(0), ..Decoding::default() };
    let (none, all) = counted(&grammar, free);
    assert_eq!(none, 0, "where log-probabilities are wanted, every token is the model's");
    assert!(sampled <= 4, "{sampled} tokens were sampled, {forced} forced");
    assert!(all >= 20, "{all} tokens were sampled one by one");

    let whole = Grammar::json_schema(&json!({"const": {"a": [1, "b"]}})).unwrap();
    let (forced, sampled) = counted(&whole, Decoding::default());
    assert_eq!(sampled, 0, "of {forced}");
}

/// Tokens that were forced, and tokens for which the session was asked.
fn counted(grammar: &Grammar, decoding: Decoding) -> (u64, u64) {
    let session = FakeSession::new(LONG);
    let probe = session.probe();
    let mut engine = engine_on(session, Limits::default());
    let decoding = Decoding { eos_token_id: vec![0], max_new_tokens: 200, ..decoding };
    let request = Request::new(ids(1, 5), decoding).with_grammar(Some(grammar.clone()));
    let id = engine.submit(request).unwrap();
    let (finish, _) = run(&mut engine).remove(&id).unwrap();
    assert_eq!(finish.reason, FinishReason::Grammar);
    let forced = engine.stats().forced_tokens;
    let asked = probe.full_logits();
    assert_eq!(finish.usage.completion_tokens as u64, forced + asked);
    (forced, asked)
}

#[test]
fn an_answer_in_a_grammar_says_the_same_in_any_company() {
    let grammars = [
        Grammar::json_schema(&schemas::written()[0]).unwrap(),
        Grammar::regex("(?:[a-z]{1,9} ){2,9}").unwrap(),
        Grammar::json_object().unwrap(),
    ];
    let request = |i: usize| {
        let decoding = Decoding { max_new_tokens: 60, ..sampled(i as u64) };
        let grammar = (i % 4 != 3).then(|| grammars[i % 4].clone());
        let prompt = [ids(9, 20), ids(i as u64 % 5, 1 + i % 7)].concat();
        Request::new(prompt, decoding).with_grammar(grammar)
    };
    let expected: Vec<_> = (0..24).map(|i| alone(babbler(), request(i)).0).collect();
    for limits in [
        Limits::default(),
        Limits { prefill_chunk: 7, max_rows: 5, ..Limits::default() },
        Limits { min_shared_prefix: 1, max_rows: 3, ..Limits::default() },
    ] {
        let mut engine = engine_on(babbler(), limits);
        let room = engine.session().capacity().tokens;
        let submitted: Vec<_> = (0..24).map(|i| engine.submit(request(i)).unwrap()).collect();
        let mut got = run(&mut engine);
        for (id, expected) in submitted.iter().zip(&expected) {
            let (got, _) = got.remove(id).unwrap();
            assert_eq!((&got.text, &got.ids), (&expected.text, &expected.ids), "{limits:?}");
            assert_eq!(got.reason, expected.reason);
        }
        assert_eq!(engine.session().capacity().tokens, room);
    }
}

#[test]
fn a_small_cache_makes_rows_wait_and_changes_nothing() {
    let grammar = Grammar::json_schema(&schemas::written()[0]).unwrap();
    let request = |i: u64| {
        let decoding = Decoding { max_new_tokens: 60, ..sampled(i) };
        Request::new(ids(i, 10), decoding).with_grammar(Some(grammar.clone()))
    };
    let small = FakeLimits { tokens: 150, ..SIZES };
    let mut engine = engine_on(FakeSession::new(small), Limits::default());
    let submitted: Vec<_> = (0..8).map(|i| engine.submit(request(i)).unwrap()).collect();
    let mut got = run(&mut engine);
    assert!(engine.stats().preemptions > 0);
    for (i, id) in submitted.iter().enumerate() {
        let expected = alone(FakeSession::new(LONG), request(i as u64)).0;
        assert_eq!(got.remove(id).unwrap().0.ids, expected.ids);
    }
}

#[test]
fn a_cut_answer_says_so_and_stop_strings_hold() {
    let schema = json!({"const": {"the answer": "is yes", "b": [1, 2, 3]}});
    let grammar = Grammar::json_schema(&schema).unwrap();
    let says = |decoding: Decoding| {
        let request = Request::new(ids(1, 5), decoding).with_grammar(Some(grammar.clone()));
        alone(FakeSession::new(LONG), request).0
    };
    let finish = says(Decoding { max_new_tokens: 4, ..Decoding::default() });
    assert_eq!((finish.reason.name(), finish.ids.len()), ("length", 4));
    let finish = says(Decoding { stop_strings: vec!["\"b\"".to_owned()], ..sampled(1) });
    assert_eq!(finish.text, "{\"the answer\": \"is yes\", ");
    assert_eq!(finish.reason, FinishReason::Stop("\"b\"".to_owned()));
    let finish = says(sampled(1));
    assert_eq!(serde_json::from_str::<Value>(&finish.text).unwrap(), schema["const"]);
    assert_eq!(finish.reason.name(), "stop");
}

#[test]
fn other_rules_work_beside_a_grammar() {
    let grammar = Grammar::regex("[a-z]{40}").unwrap();
    let tokenizer = tokenizer("byte_level.json");
    let e = tokenizer.token_to_id("e").unwrap();
    let says = |decoding: Decoding| {
        let request = Request::new(ids(1, 5), decoding).with_grammar(Some(grammar.clone()));
        alone(FakeSession::new(LONG), request).0
    };
    let finish = says(Decoding { suppress_tokens: vec![e], ..sampled(3) });
    assert!(!finish.ids.contains(&e));
    assert_eq!(finish.text.len(), 40);
    let finish = says(Decoding { no_repeat_ngram_size: 1, ..sampled(3) });
    let mut seen = finish.ids.clone();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), finish.ids.len());
    let penalties = Decoding { repetition_penalty: 1.5, frequency_penalty: 0.5, ..sampled(3) };
    assert_ne!(says(penalties).ids, says(sampled(3)).ids);

    // What is forced and excluded at once ends the answer with the reason.
    let forced = Grammar::regex("e{3}").unwrap();
    let decoding = Decoding { suppress_tokens: (1..340).collect(), ..sampled(3) };
    let request = Request::new(ids(1, 5), decoding).with_grammar(Some(forced));
    let finish = alone(FakeSession::new(LONG), request).0;
    assert_eq!(finish.reason, FinishReason::Failed("the rules exclude every token".to_owned()));
}

#[test]
fn the_model_may_end_where_the_grammar_may() {
    let grammar = Grammar::regex("a+").unwrap();
    let ends = FakeSession::scripted(LONG, |path| {
        let mut logits = vec![0.0; LONG.vocabulary];
        (logits[0], logits[1]) = if path.len() < 8 { (-9.0, -9.0) } else { (9.0, 0.0) };
        logits
    });
    let decoding = Decoding { eos_token_id: vec![0, 1], ..Decoding::default() };
    let request = Request::new(ids(1, 5), decoding).with_grammar(Some(grammar));
    let (finish, _) = alone(ends, request);
    assert!(finish.text.chars().all(|c| c == 'a') && finish.text.len() >= 3, "{}", finish.text);
    assert_eq!(finish.reason, FinishReason::Eos(0));
}

#[test]
fn a_model_with_another_kind_of_tokenizer_refuses_the_request() {
    let session = Box::new(FakeSession::new(LONG));
    let words = Arc::clone(&tokenizer("word_piece.json"));
    let mut engine = fidelio_generate::Engine::new(session, words, Limits::default()).unwrap();
    let request =
        Request::new([5], Decoding::default()).with_grammar(Some(Grammar::json_object().unwrap()));
    let error = engine.submit(request).unwrap_err();
    assert!(matches!(error, GenerateError::Grammar(GrammarError::Tokenizer { .. })), "{error}");
}

#[test]
fn hostile_forms_are_refused_or_taken_and_nothing_breaks() {
    let deep = (0..100).fold(json!({"type": "null"}), |inner, _| json!({"anyOf": [inner, {}]}));
    let wide: Value = (0..3000).map(|i| (format!("p{i}"), json!({"type": "string"}))).collect();
    let endless = json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
        "$ref": "#/$defs/a"});
    for schema in [
        json!({"$ref": "#"}),
        endless,
        json!({"type": "array", "items": {"$ref": "#"}, "minItems": 1}),
        json!({"type": "string", "minLength": 100_000_000}),
        json!({"type": "array", "items": {}, "minItems": 1_000_000_000}),
        json!({"type": "string", "pattern": "(a{1000}){1000}"}),
        json!({"type": "string", "pattern": "(.*a.*){20}", "maxLength": 500}),
        json!({"type": "object", "properties": wide}),
        deep,
    ] {
        if let Ok(grammar) = Grammar::json_schema(&schema) {
            let decoding = Decoding { max_new_tokens: 40, ..sampled(1) };
            let request = Request::new([5, 6], decoding).with_grammar(Some(grammar));
            let mut engine = engine_on(babbler(), Limits::default());
            if engine.submit(request).is_ok() {
                run(&mut engine);
            }
        }
    }
    for text in ["start: start", "start: start \"a\" |", "start: /(a{1000}){1000}/", "", "::="] {
        let _ = Grammar::parse(text).map(|grammar| grammar.accepts("aaaa"));
    }
    let _ = Grammar::regex("(?:a{1000}){1000}");
}
