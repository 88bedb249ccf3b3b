//! What a model answers to a few prompts, so that another can be compared with it.

use fidelio_backend::{AdapterId, Logits, RowStep, RowTo, Session, Shape, Wanted};
use fidelio_eval::{Drift, DriftMeter};
use fidelio_generate::Decoding;

use crate::{Error, Event, Flow, Generator, Observer, Stage};

/// Tokens of each greedy continuation that is compared.
const CONTINUED: usize = 24;
/// Tokens of a prompt whose logits are compared.
const COMPARED: usize = 64;

/// Prompts on which models are compared where the user gives none.
const CALIBRATION: [&str; 8] = [
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "Is this review positive or negative? The food was cold and the waiter was rude.",
    "Translate to French: Good morning, how are you?",
    "List three uses of a paper clip.",
    "def fibonacci(n):",
    "Summarize: The committee met on Tuesday and agreed to postpone the vote until spring.",
    "12 + 30 =",
];

/// What a model makes of one prompt.
pub(crate) struct Answer {
    /// The prompt, as the model's own template and tokenizer have it.
    ids: Vec<u32>,
    /// At the prompt's last tokens.
    logits: Vec<Vec<f32>>,
    /// The greedy continuation.
    continued: Vec<u32>,
}

/// The answers to all prompts.
///
/// # Errors
/// [`Error::Stopped`] where the observer wants that, and when the model cannot answer.
pub(crate) fn answers(
    generator: &mut Generator,
    observer: &mut dyn Observer,
) -> Result<Vec<Answer>, Error> {
    let total = CALIBRATION.len();
    let mut answers = Vec::with_capacity(total);
    for prompt in CALIBRATION {
        answers.push(answer(generator, prompt)?);
        let (stage, done) = (Stage::Comparing, answers.len());
        let event = Event::Progress { stage, done, total, tokens: 0 };
        if observer.on(&event) == Flow::Stop {
            return Err(Error::Stopped);
        }
    }
    Ok(answers)
}

fn answer(generator: &mut Generator, prompt: &str) -> Result<Answer, Error> {
    let ids = generator.prompt(prompt, false, None)?;
    let (session, adapter) = generator.session();
    let logits = last_logits(session, adapter, &ids)?;
    let decoding = Decoding { max_new_tokens: CONTINUED, ..generator.decoding()? };
    let continued = generator.generate(&ids, decoding, &mut |_| Flow::Continue)?.ids;
    Ok(Answer { ids, logits, continued })
}

/// How far the answers of `other` are from those of `original`.
///
/// # Errors
/// [`Error::OtherTokens`] where a prompt becomes other tokens.
pub(crate) fn drift(original: &[Answer], other: &[Answer]) -> Result<Drift, Error> {
    let mut meter = DriftMeter::default();
    for ((one, two), prompt) in original.iter().zip(other).zip(CALIBRATION) {
        if one.ids != two.ids {
            return Err(Error::OtherTokens { prompt: prompt.to_owned() });
        }
        for (one, two) in one.logits.iter().zip(&two.logits) {
            meter.position(one, two);
        }
        meter.continuation(&one.continued, &two.continued);
    }
    Ok(meter.finish())
}

fn last_logits(
    session: &mut dyn Session,
    adapter: Option<AdapterId>,
    ids: &[u32],
) -> Result<Vec<Vec<f32>>, Error> {
    let (before, compared) = ids.split_at(ids.len().saturating_sub(COMPARED));
    let mut row = RowTo::New;
    for (tokens, wanted) in [(before, Wanted::Nothing), (compared, Wanted::All(Shape::Full))] {
        if tokens.is_empty() {
            continue;
        }
        let answers = session.extend(&[RowStep { row, tokens, adapter, wanted }])?;
        let Some(answer) = answers.into_iter().next() else { continue };
        row = RowTo::Row(answer.row);
        if wanted != Wanted::Nothing {
            session.truncate(answer.row, 0)?;
            let full = answer.logits.into_iter().filter_map(|logits| match logits {
                Logits::Full(logits) => Some(logits),
                Logits::Top { .. } => None,
            });
            return Ok(full.collect());
        }
    }
    Ok(Vec::new())
}
