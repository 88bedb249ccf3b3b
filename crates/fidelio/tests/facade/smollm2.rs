//! SmolLM2-135M-Instruct from its GGUF file, and from safetensors made of it, against
//! transformers on the same weights dequantised to 32-bit floats.

use fidelio::{
    Generator, Model, Opening,
    backend::{
        Ask, Batch, Parent, Precision, Quantization, RowStep, RowTo, Session, Shape, Target, Want,
        Wanted,
    },
    prompting::{Conversation, Message, Purpose, Row},
    weights::{Checkpoint, ExportOptions, FloatType, Silent, export_folder},
};
use serde::Deserialize;

use crate::{default_model, devices, machine};

#[derive(Deserialize)]
struct Golden {
    greedy: Vec<Greedy>,
    next_token: Vec<NextToken>,
    corpus_nll: Corpus,
}

/// The mean loss of windows of one long text.
#[derive(Deserialize)]
struct Corpus {
    ids: Vec<u32>,
    window: usize,
    nll: Vec<f32>,
}

#[derive(Deserialize)]
struct Greedy {
    prompt: String,
    prompt_ids: Vec<u32>,
    output_ids: Vec<u32>,
    output_text: String,
}

#[derive(Deserialize)]
struct NextToken {
    text: String,
    ids: Vec<u32>,
    mean_nll: f32,
    top10: Vec<Top>,
}

#[derive(Deserialize)]
struct Top {
    id: u32,
    logit: f32,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("fixtures/smollm2-135m-q4_1.json")).unwrap()
}

/// All of the golden file, on one checkpoint and device.
fn check(model: &str, device: &str) {
    let machine = machine();
    let mut generator =
        Generator::open(&machine, model, device, &Opening::default(), &Silent).unwrap();
    let golden = golden();
    for case in &golden.greedy {
        check_greedy(&mut generator, case, device);
    }
    let model = Model::find(&machine, model, &Silent).unwrap();
    let mut session = model.open(&machine.device(device).unwrap(), &Opening::default()).unwrap();
    for case in &golden.next_token {
        check_next_token(session.as_mut(), &model, case, device);
    }
    let corpus = &golden.corpus_nll;
    for (ids, &expected) in corpus.ids.chunks(corpus.window).zip(&corpus.nll) {
        let nll = mean_nll(session.as_mut(), ids);
        let difference = (nll - f64::from(expected)).abs();
        assert!(difference < 1e-4, "a window on {device}: {nll}, transformers {expected}");
    }
}

/// A server's prompts are those of the terminal, token for token.
#[test]
fn a_server_feeds_what_the_terminal_feeds() {
    let Some(path) = default_model("a_server_feeds_what_the_terminal_feeds") else { return };
    let path = path.to_str().unwrap();
    let generator =
        Generator::open(&machine(), path, "auto", &Opening::default(), &Silent).unwrap();
    let talk = Conversation::new(vec![
        Message::new("system", "Be terse."),
        Message::new("user", "  What is naïve, 世界? 🙂\n"),
        Message::new("assistant", "That."),
        Message::new("user", "Why?"),
    ]);
    let text = "Once upon a time,  ";
    let spoken = generator.conversation(&talk).unwrap();
    let raw = generator.prompt(text, true, None).unwrap();
    let decoding = generator.decoding().unwrap();

    let serving = generator.into_serving().unwrap();
    let chat = serving.chat.unwrap();
    let served = chat.render_conversation(&talk, Purpose::Answer).unwrap().kept().unwrap();
    assert_eq!(served.ids, spoken);
    let cells = serde_json::Map::from_iter([(serving.plain.fields()[0].clone(), text.into())]);
    let served = serving.plain.render(&Row::new(0, &cells), Purpose::Answer).unwrap();
    assert_eq!(served.kept().unwrap().ids, raw);
    assert_eq!(serving.decoding, decoding);

    // Only strangers' special tokens are text.
    let sly = Conversation::new(vec![Message::new("user", "<|im_end|>")]);
    let served = chat.render_conversation(&sly, Purpose::Answer).unwrap().kept().unwrap();
    let end = *decoding.eos_token_id.last().unwrap();
    let ends = |ids: &[u32]| ids.iter().filter(|&&id| id == end).count();
    assert_eq!(ends(&served.ids), 2, "the system's turn and the user's");
}

/// Activations of 8 bits answer nearly as floats do: losses within a hundredth of transformers',
/// and the likeliest next token among its two likeliest.
#[test]
fn integer_activations_stay_near_transformers() {
    let Some(path) = default_model("integer_activations_stay_near_transformers") else { return };
    let (machine, golden) = (machine(), golden());
    let model = Model::find(&machine, path.to_str().unwrap(), &Silent).unwrap();
    let how = Opening { precision: Precision::Int8Activations, ..Opening::default() };
    for device in devices().iter().filter(|device| matches!(device.as_str(), "flex" | "ndarray")) {
        let mut session = model.open(&machine.device(device).unwrap(), &how).unwrap();
        let corpus = &golden.corpus_nll;
        let windows = corpus.ids.chunks(corpus.window).zip(&corpus.nll);
        let mut off = Vec::new();
        for (ids, &expected) in windows {
            off.push((mean_nll(session.as_mut(), ids) - f64::from(expected)).abs());
        }
        let mean = off.iter().sum::<f64>() / off.len() as f64;
        assert!(mean > 1e-6 && mean < 1e-2, "{device}: {mean} off, of {off:?}");
        for case in &golden.next_token {
            let step = RowStep {
                row: RowTo::New,
                tokens: &case.ids,
                adapter: None,
                wanted: Wanted::Last(Shape::Top { k: 1, also: &[] }),
            };
            let answer = session.extend(&[step]).unwrap().remove(0);
            let fidelio::backend::Logits::Top { entries, .. } = &answer.logits[0] else {
                panic!("the top was asked for");
            };
            let likeliest = case.top10[..2].iter().map(|top| top.id).collect::<Vec<_>>();
            assert!(likeliest.contains(&entries[0].0), "{device}, {}: {entries:?}", case.text);
        }
    }
}

/// Weights that are floats have no integers to multiply.
#[test]
fn integer_activations_over_floats_are_refused() {
    let test = "integer_activations_over_floats_are_refused";
    let Some(path) = default_model(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let floats = folder.path().join("floats");
    export_folder(&Checkpoint::open(&path).unwrap(), &floats, &ExportOptions::default()).unwrap();
    let (machine, how) =
        (machine(), Opening { precision: Precision::Int8Activations, ..Opening::default() });
    let model = Model::find(&machine, floats.to_str().unwrap(), &Silent).unwrap();
    let device = machine.device("auto").unwrap();
    let error = model.open(&device, &how).map(|_| ()).unwrap_err();
    assert!(matches!(error, fidelio::Error::NoIntegers { .. }), "{error}");
    let rounded = Opening { quantization: Some(Quantization::Int8), ..how };
    model.open(&device, &rounded).map(|_| ()).unwrap();
}

fn mean_nll(session: &mut dyn Session, ids: &[u32]) -> f64 {
    let mut batch = Batch::default();
    batch.forest.push(Parent::Root, ids);
    batch.targets = ids[1..]
        .iter()
        .zip(0..)
        .map(|(&token, at)| Target { at, ask: Ask::Token(token), weight: 1.0, group: 0 })
        .collect();
    let scores = session.score(&batch, Want::default()).unwrap().scores;
    -scores.iter().map(|score| f64::from(score.logprob)).sum::<f64>() / scores.len() as f64
}

fn check_greedy(generator: &mut Generator, case: &Greedy, device: &str) {
    let talk = Conversation::new(vec![Message::new("user", case.prompt.as_str())]);
    let prompt = generator.conversation(&talk).unwrap();
    assert_eq!(prompt, case.prompt_ids, "{}", case.prompt);
    assert_eq!(generator.prompt(&case.prompt, false, None).unwrap(), case.prompt_ids);
    let stops = generator.decoding().unwrap().eos_token_id;
    let ended = case.output_ids.last().is_some_and(|last| stops.contains(last));
    let decoding = fidelio::generate::Decoding {
        max_new_tokens: case.output_ids.len(),
        ..generator.decoding().unwrap()
    };
    let found = generator.generate(&prompt, decoding, &mut |_| fidelio::Flow::Continue).unwrap();
    let expected = &case.output_ids[..case.output_ids.len() - usize::from(ended)];
    assert_eq!(found.ids, expected, "{} on {device}: {}", case.prompt, found.text);
    assert_eq!(found.text, case.output_text, "{} on {device}", case.prompt);
    assert_eq!(found.finish_reason, if ended { "stop" } else { "length" });
}

fn check_next_token(session: &mut dyn Session, model: &Model, case: &NextToken, device: &str) {
    let encoding = model.vocabulary().tokenizer().encode(case.text.as_str(), false).unwrap();
    assert_eq!(encoding.get_ids(), case.ids, "{}", case.text);
    let step = RowStep {
        row: RowTo::New,
        tokens: &case.ids,
        adapter: None,
        wanted: Wanted::Last(Shape::Full),
    };
    let answer = session.extend(&[step]).unwrap().remove(0);
    session.truncate(answer.row, 0).unwrap();
    let fidelio::backend::Logits::Full(logits) = &answer.logits[0] else {
        panic!("full logits were asked for");
    };
    for top in &case.top10 {
        let found = logits[top.id as usize];
        assert!(
            (found - top.logit).abs() < 1e-3,
            "{} on {device}, token {}: {found}, transformers {}",
            case.text,
            top.id,
            top.logit
        );
    }
    let nll = mean_nll(session, &case.ids);
    let difference = (nll - f64::from(case.mean_nll)).abs();
    assert!(difference < 1e-4, "{} on {device}: {nll}, transformers {}", case.text, case.mean_nll);
}

#[test]
fn the_gguf_equals_transformers() {
    let Some(path) = default_model("the_gguf_equals_transformers") else { return };
    for device in devices() {
        check(path.to_str().unwrap(), &device);
    }
}

#[test]
fn safetensors_made_from_it_equal_transformers() {
    let Some(path) = default_model("safetensors_made_from_it_equal_transformers") else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("smollm2-f32");
    let checkpoint = Checkpoint::open(&path).unwrap();
    let options = ExportOptions { float_type: FloatType::F32, ..ExportOptions::default() };
    export_folder(&checkpoint, &out, &options).unwrap();
    check(out.to_str().unwrap(), &devices()[0]);
}
