//! How answers end, and what is reported of them.

use fidelio_backend::{FakeLimits, FakeSession};
use fidelio_generate::{Decoding, Finish, FinishReason, Request, Usage};
use proptest::prelude::*;

use crate::{SIZES, alone, ids, speaker, tokenizer};

fn says(answer: &str, decoding: Decoding) -> Finish {
    alone(speaker(5, answer), Request::new(ids(1, 5), decoding)).0
}

fn until(stop_strings: &[&str]) -> Decoding {
    Decoding {
        eos_token_id: vec![0],
        max_new_tokens: 60,
        stop_strings: stop_strings.iter().map(|&stop| stop.to_owned()).collect(),
        ..Decoding::default()
    }
}

#[test]
fn the_model_ends_by_itself() {
    let finish = says("yes, 東京 🙂", until(&[]));
    assert_eq!((finish.text.as_str(), &finish.reason), ("yes, 東京 🙂", &FinishReason::Eos(0)));
    let ids = tokenizer("byte_level.json").encode("yes, 東京 🙂", false).unwrap();
    assert_eq!(finish.ids, ids.get_ids(), "without the end token");
    let completion_tokens = ids.len() + 1;
    let usage = Usage { prompt_tokens: 5, cached_prompt_tokens: 0, completion_tokens };
    assert_eq!(finish.usage, usage);
    assert_eq!(finish.reason.name(), "stop");
}

#[test]
fn a_stop_string_is_cut_off_wherever_tokens_end() {
    let finish = says("the answer is yes.\n\nQuestion: what?", until(&["?!", "\n\nQ"]));
    assert_eq!(finish.text, "the answer is yes.");
    assert_eq!(finish.reason, FinishReason::Stop("\n\nQ".to_owned()));
    let finish = says("no.\n\nA", until(&["\n\nQ"]));
    assert_eq!((finish.text.as_str(), finish.reason), ("no.\n\nA", FinishReason::Eos(0)));
}

#[test]
fn the_length_is_exact_and_cut_characters_come_as_the_decoder_writes_them() {
    let decoding = Decoding { max_new_tokens: 2, ..until(&[]) };
    let finish = says("🦀 and more", decoding);
    assert_eq!((finish.ids.len(), &finish.reason), (2, &FinishReason::Length));
    let expected = tokenizer("byte_level.json").decode(&finish.ids, true).unwrap();
    assert_eq!(finish.text, expected);
}

#[test]
fn the_end_token_waits_for_the_least_length() {
    let finish = says("", until(&[]));
    assert_eq!((finish.ids.len(), finish.reason), (0, FinishReason::Eos(0)));
    let finish = says("", Decoding { min_new_tokens: 3, ..until(&[]) });
    assert_eq!((finish.ids.len(), finish.reason), (3, FinishReason::Eos(0)));
}

#[test]
fn logprobs_are_those_of_the_model_before_any_rule() {
    let limits = FakeLimits { vocabulary: 4, ..SIZES };
    let script = |_: &[u32]| vec![0.0, 0.4_f32.ln(), 0.1_f32.ln(), 0.5_f32.ln()];
    for suppress_tokens in [vec![], vec![0]] {
        let decoding = Decoding {
            logprobs: Some(2),
            max_new_tokens: 1,
            suppress_tokens: suppress_tokens.clone(),
            ..Decoding::default()
        };
        let session = FakeSession::scripted(limits, script);
        let (_, emitted) = alone(session, Request::new([1], decoding));
        let logprobs = &emitted[0].logprobs[0];
        // The exponentials are 1, 0.4, 0.1 and 0.5: they sum to 2.
        let (token, probability) = if suppress_tokens.is_empty() { (0, 0.5) } else { (3, 0.25) };
        assert_eq!(logprobs.token, token);
        assert!((logprobs.logprob.exp() - probability).abs() < 1e-6);
        assert_eq!(logprobs.top.iter().map(|it| it.0).collect::<Vec<_>>(), [0, 3]);
        assert!((logprobs.top[1].1.exp() - 0.25).abs() < 1e-6);
    }
}

#[test]
fn broken_logits_and_rules_that_leave_nothing_end_a_request_with_the_reason() {
    let limits = FakeLimits { vocabulary: 4, ..SIZES };
    let broken = FakeSession::scripted(limits, |path| vec![path.len() as f32, 0.0, f32::NAN, 0.0]);
    let decoding = Decoding { do_sample: true, ..Decoding::default() };
    let (finish, _) = alone(broken, Request::new([1], decoding));
    assert_eq!(
        finish.reason,
        FinishReason::Failed("the model's logits are not numbers".to_owned())
    );

    let decoding = Decoding { suppress_tokens: vec![0, 1, 2, 3], ..Decoding::default() };
    let (finish, _) = alone(FakeSession::new(limits), Request::new([1], decoding));
    assert_eq!(finish.reason, FinishReason::Failed("the rules exclude every token".to_owned()));
    assert_eq!(finish.reason.name(), "failed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn stop_strings_work_on_any_answer(text in "[the answrQ:.\n東é]{1,24}", from in 0_usize..24, len in 1_usize..4) {
        // The stop string is a piece of the answer itself, so tokens cut it anywhere.
        let chars: Vec<char> = text.chars().collect();
        let from = from % chars.len();
        let stop: String = chars[from..].iter().take(len).collect();
        let decoding = Decoding { max_new_tokens: 100, ..until(&[&stop]) };
        let finish = says(&text, decoding);
        prop_assert_eq!(&finish.text, text.split(&stop).next().unwrap());
        prop_assert_eq!(finish.reason, FinishReason::Stop(stop));
    }
}
