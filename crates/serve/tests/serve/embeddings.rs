//! `/v1/embeddings`.

use std::sync::{Arc, Mutex};

use fidelio_backend::FakeSession;
use fidelio_serve::{EmbedError, EmbedTexts, InferenceLimits, ServeOptions, Vectors};
use serde_json::{Value, json};

use crate::{
    place::{NAME, Place, served, voice},
    speaker::SIZES,
};

const EMBEDDINGS: &str = "/v1/embeddings";

/// Vectors of a text's length and its first byte; waits at `wait` until nobody does, and breaks at
/// `broken`.
struct Lengths {
    waits: Waits,
}

/// Waits that have begun, and that have ended.
type Waits = Arc<Mutex<(usize, usize)>>;

impl EmbedTexts for Lengths {
    fn embed(
        &mut self,
        texts: &[String],
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vectors, EmbedError> {
        let mut made = Vectors::default();
        for text in texts {
            match text.as_str() {
                "long" => return Err(EmbedError::Refused("text 1 is too long".to_owned())),
                "broken" => return Err(EmbedError::Failed("/secret/path".to_owned())),
                "wait" => {
                    self.waits.lock().unwrap().0 += 1;
                    while go_on() {
                        std::thread::yield_now();
                    }
                    self.waits.lock().unwrap().1 += 1;
                    return Err(EmbedError::Stopped);
                }
                text => made.vectors.push(vec![text.len() as f32, f32::from(text.as_bytes()[0])]),
            }
            made.tokens += text.len() as u64;
        }
        Ok(made)
    }
}

fn place() -> (Place, Waits) {
    let waits = Waits::default();
    let lengths = Lengths { waits: Arc::clone(&waits) };
    let served = served(voice(NAME, None)).with_embedding("lengths", Box::new(lengths));
    let (limits, options) = (InferenceLimits::default(), ServeOptions::default());
    (Place::start(FakeSession::new(SIZES), limits, options, served), waits)
}

#[test]
fn texts_become_vectors_in_their_order() {
    let (place, _) = place();
    let body = json!({ "model": "lengths", "input": ["abc", "z"], "user": "someone" });
    let reply = place.post(EMBEDDINGS, &body).json(200);
    assert_eq!(
        reply,
        json!({
            "object": "list",
            "model": "lengths",
            "data": [
                { "object": "embedding", "index": 0, "embedding": [3.0, 97.0] },
                { "object": "embedding", "index": 1, "embedding": [1.0, 122.0] },
            ],
            "usage": { "prompt_tokens": 4, "total_tokens": 4 },
        })
    );
    let body = json!({ "input": "z", "encoding_format": "base64", "dimensions": 2 });
    let reply = place.post(EMBEDDINGS, &body).json(200);
    // Python: base64.b64encode(struct.pack("<2f", 1, 122))
    assert_eq!(reply["data"][0]["embedding"], "AACAPwAA9EI=");
    assert_eq!(place.metric("fidelio_embedded_tokens_total"), 5);
    let models = place.get("/v1/models").json(200);
    assert_eq!(models["data"][1]["id"], "lengths");
    assert_eq!(place.get("/v1/models/lengths").json(200)["id"], "lengths");
}

#[test]
fn what_cannot_become_a_vector_is_refused_by_name() {
    let (place, _) = place();
    for (body, said) in [
        (json!({}), "`input` must be a text or a list of 1 to 2048"),
        (json!({ "input": "" }), "`input` must be a text"),
        (json!({ "input": [] }), "`input` must be a text"),
        (json!({ "input": ["a", ""] }), "none of them empty"),
        (json!({ "input": [1, 2] }), "`input` holds token ids, which other tokenizers made"),
        (json!({ "input": [[1], [2]] }), "`input` holds token ids"),
        (json!({ "input": "a", "encoding_format": "int8" }), "`float` or `base64`"),
        (json!({ "input": "a", "dimensions": 5 }), "`dimensions` is 5, and vectors have 2"),
        (json!({ "input": "a", "inputs": 1 }), "`inputs` is unknown; did you mean `input`?"),
        (json!({ "input": "long" }), "text 1 is too long"),
    ] {
        let (message, ..) = place.post(EMBEDDINGS, &body).error(400);
        assert!(message.contains(said), "{message}");
    }
    let reply = place.post(EMBEDDINGS, &json!({ "input": "a", "model": NAME }));
    assert_eq!(reply.error(404).0, format!("`{NAME}` makes no vectors; `lengths` does"));
    let (message, ..) = place.post(EMBEDDINGS, &json!({ "input": "broken" })).error(500);
    assert!(!message.contains("secret"), "{message}");
    let without = Place::on(FakeSession::new(SIZES));
    assert_eq!(without.post(EMBEDDINGS, &json!({ "input": "a" })).error(404).1, "not_found");
}

#[test]
fn a_late_vector_is_an_error_and_its_work_ends() {
    let (place, waits) = place();
    let late = |body: Value| place.post(EMBEDDINGS, &body).error(504).1;
    std::thread::scope(|scope| {
        let working = scope.spawn(|| late(json!({ "input": "wait", "timeout": 1.0 })));
        while waits.lock().unwrap().0 == 0 {
            std::thread::yield_now();
        }
        // Whoever waits behind it is late too, and takes no turn.
        assert_eq!(late(json!({ "input": "wait", "timeout": 0.2 })), "deadline_exceeded");
        assert_eq!(working.join().unwrap(), "deadline_exceeded");
    });
    assert_eq!(*waits.lock().unwrap(), (1, 1));
    place.post(EMBEDDINGS, &json!({ "input": "a" })).json(200);
}
