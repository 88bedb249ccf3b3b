//! `POST /v1/embeddings`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Json, extract::State, http::StatusCode};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{App, answering::failed, fields::Fields, problem::Problem};
use crate::{
    EmbedError, Vectors,
    embedding::{Embedding, WAITING},
};

/// The most texts of a request, as OpenAI has it.
const MAX_TEXTS: usize = 2048;

/// How numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Float,
    /// Floats of 32 bits, the low byte first.
    Base64,
}

pub(crate) async fn answer(
    State(app): State<Arc<App>>,
    mut fields: Fields,
) -> Result<Json<Value>, Problem> {
    let Some(embedding) = app.served.embedding() else {
        let message = "this server makes no vectors; it must be started with a model that does";
        return Err(Problem::refused(StatusCode::NOT_FOUND, "not_found", message));
    };
    let name = fields.text("model");
    if let Some(name) = name.filter(|name| *name != embedding.name) {
        let name: String = name.chars().take(100).collect();
        let message = format!("`{name}` makes no vectors; `{}` does", embedding.name);
        let status = StatusCode::NOT_FOUND;
        return Err(Problem::refused(status, "model_not_found", message).about("model"));
    }
    let texts = texts(&mut fields);
    let encoding = match fields.text("encoding_format").as_deref() {
        None | Some("float") => Encoding::Float,
        Some("base64") => Encoding::Base64,
        Some(_) => {
            fields.wrong("encoding_format", "must be `float` or `base64`");
            Encoding::Float
        }
    };
    let dimensions = fields.whole("dimensions", 1..=usize::MAX);
    let longest = app.options.deadline.as_secs_f32();
    let time = fields.number("timeout", 0.001..=longest);
    fields.finish()?;
    let time = time.map_or(app.options.deadline, Duration::from_secs_f32);
    let Vectors { vectors, tokens } = vectors(embedding, texts, time).await?;
    let width = vectors.first().map_or(0, Vec::len);
    if let Some(wanted) = dimensions.filter(|&wanted| wanted != width) {
        let message = format!("`dimensions` is {wanted}, and vectors have {width}: none is cut");
        return Err(Problem::invalid("invalid_value", message).about("dimensions"));
    }
    app.metrics.embedded(tokens);
    let data: Vec<Value> = vectors
        .iter()
        .enumerate()
        .map(|(index, vector)| {
            json!({ "object": "embedding", "index": index, "embedding": encoding.write(vector) })
        })
        .collect();
    Ok(Json(json!({
        "object": "list",
        "data": data,
        "model": embedding.name,
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    })))
}

impl Encoding {
    fn write(self, vector: &[f32]) -> Value {
        match self {
            Self::Float => json!(vector),
            Self::Base64 => {
                let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                json!(BASE64_STANDARD.encode(bytes))
            }
        }
    }
}

fn texts(fields: &mut Fields) -> Vec<String> {
    let texts = match fields.take("input") {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) if (1..=MAX_TEXTS).contains(&items.len()) => {
            if items.iter().any(|item| item.is_number() || item.is_array()) {
                let problem = "holds token ids, which other tokenizers made; send texts";
                fields.wrong("input", problem);
                return Vec::new();
            }
            let texts: Option<Vec<String>> =
                items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
            texts.unwrap_or_default()
        }
        _ => Vec::new(),
    };
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        let problem = format!("must be a text or a list of 1 to {MAX_TEXTS}, none of them empty");
        fields.wrong("input", problem);
    }
    texts
}

/// Waits for its turn, and computes away from the threads that answer everybody.
async fn vectors(
    embedding: &Embedding,
    texts: Vec<String>,
    time: Duration,
) -> Result<Vectors, Problem> {
    let _place = embedding.places.try_acquire().map_err(|_| Problem::busy(WAITING))?;
    let until = Instant::now() + time;
    let turn = tokio::time::timeout(time, Arc::clone(&embedding.model).lock_owned()).await;
    let mut model = turn.map_err(|_| Problem::late())?;
    let wanted = Wanted(Arc::new(AtomicBool::new(true)));
    let flag = Arc::clone(&wanted.0);
    let made = tokio::task::spawn_blocking(move || {
        model.embed(&texts, &|| flag.load(Ordering::SeqCst) && Instant::now() < until)
    });
    let made = made.await.map_err(|_| failed("vectors could not be made: a panic"))?;
    made.map_err(|error| match error {
        EmbedError::Refused(why) => Problem::invalid("invalid_input", why).about("input"),
        EmbedError::Failed(why) => failed(&why),
        EmbedError::Stopped => Problem::late(),
    })
}

/// A client that goes takes its work along.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected text is that of Python's `base64.b64encode(struct.pack("<2f", 1.5, -2.0))`.
    #[test]
    fn base64_is_little_endian_floats() {
        assert_eq!(Encoding::Base64.write(&[1.5, -2.0]), json!("AADAPwAAAMA="));
        assert_eq!(Encoding::Float.write(&[1.5]), json!([1.5]));
    }
}
