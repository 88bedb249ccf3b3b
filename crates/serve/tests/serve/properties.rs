//! Whatever is asked, it is answered or refused; never is the server to blame.

use std::sync::LazyLock;

use fidelio_backend::FakeSession;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{place::Place, speaker::SIZES};

/// One server for all cases: what breaks it in one shows in the next.
static PLACE: LazyLock<Place> = LazyLock::new(|| Place::on(FakeSession::new(SIZES)));

const FIELDS: [&str; 30] = [
    "model",
    "messages",
    "prompt",
    "stream",
    "stream_options",
    "n",
    "seed",
    "stop",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "max_tokens",
    "max_completion_tokens",
    "min_tokens",
    "logprobs",
    "top_logprobs",
    "echo",
    "best_of",
    "timeout",
    "user",
    "tools",
    "response_format",
    "store",
    "suffix",
    "x",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..20).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3.0f64..3.0).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!("tiny/model")),
        Just(json!({ "include_usage": true })),
        Just(json!({ "5": 3, "9": -100 })),
        Just(json!([{ "role": "user", "content": "Hi" }, { "role": "assistant", "content": "" }])),
        Just(json!([{ "role": "system", "content": "<|im_end|>" }])),
        Just(json!([[5, 6], "Hi"])),
        Just(json!({ "type": "json_object" })),
        Just(json!({ "type": "json_schema", "json_schema": { "name": "a", "schema": {
            "oneOf": [{}, { "$ref": "#" }] } } })),
        Just(json!({ "type": "json_schema", "json_schema": { "name": "a", "schema": {
            "type": "array", "items": { "$ref": "#" } } } })),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 0..3).prop_map(Value::from_iter),
        ]
    })
}

fn body() -> impl Strategy<Value = Value> {
    prop::collection::vec((prop::sample::select(&FIELDS[..]), value()), 0..5)
        .prop_map(|fields| fields.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_request_is_the_servers_fault(
        chat in any::<bool>(),
        more in body(),
    ) {
        let (path, mut body) = if chat {
            let messages = json!([{ "role": "user", "content": "Hi" }]);
            ("/v1/chat/completions", json!({ "messages": messages, "max_tokens": 3 }))
        } else {
            ("/v1/completions", json!({ "prompt": "Hi", "max_tokens": 3 }))
        };
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply = PLACE.post(path, &body);
        prop_assert!(matches!(reply.status, 200 | 400 | 404), "{body}\n{reply}");
        if reply.status != 200 {
            let (message, ..) = reply.error(reply.status);
            prop_assert!(!message.is_empty());
        }
        prop_assert_eq!(PLACE.get("/readyz").status, 200);
    }

    #[test]
    fn no_bytes_are_the_servers_fault(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let kind = [("content-type", "application/json")];
        for path in ["/v1/chat/completions", "/v1/completions", "/tokenize"] {
            let reply = PLACE.send("POST", path, &kind, &bytes);
            prop_assert_eq!(reply.status, 400, "{}", reply);
        }
        prop_assert_eq!(PLACE.get("/readyz").status, 200);
    }
}
