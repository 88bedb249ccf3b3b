//! Plain documents to tokens.

use fidelio_prompting::{
    Bos, Budget, Ledger, Outcome, Overflow, PromptError, Purpose, Rendered, Renderer, Rules, Side,
    Source,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::renderer::{decode, id, learnt, render, vocabulary};

const TEXT: &str = "The capital of France is Paris. The bridge was built in 1871, and it is about 153.5 \
    years old.";

fn documents(context: usize, overflow: Overflow, bos: Bos) -> Result<Renderer, PromptError> {
    let budget = Budget { context: Some(context), overflow, ..Budget::default() };
    let source = Source::Document { column: "text".to_owned() };
    Renderer::new(source, Rules { budget, bos, ..Rules::default() }, vocabulary(), None)
}

fn read(renderer: &Renderer, text: &Value) -> Result<Outcome, PromptError> {
    render(renderer, &json!({ "text": text }), Purpose::Train)
}

fn window(overlap: usize) -> Overflow {
    Overflow::Window { overlap }
}

#[test]
fn every_token_but_the_first_is_learnt_and_the_document_ends() {
    let whole = |bos| {
        read(&documents(512, Overflow::Error, bos).unwrap(), &json!(TEXT)).unwrap().kept().unwrap()
    };
    let with = whole(Bos::Auto);
    assert_eq!(with.ids[0], id("<s>"));
    assert_eq!(learnt(&with), format!("{TEXT}</s>"));
    let without = whole(Bos::Never);
    assert_eq!(without.ids, with.ids[1..]);
    assert_eq!(without.learn.iter().filter(|learnt| !**learnt).count(), 1);
}

#[test]
fn a_document_that_is_too_long_is_an_error_unless_a_rule_says_otherwise() {
    let error =
        read(&documents(20, Overflow::Error, Bos::Auto).unwrap(), &json!(TEXT)).unwrap_err();
    assert!(matches!(error, PromptError::DocumentTooLong { row: 3, context: 20, .. }), "{error}");
    assert!(error.hint().unwrap().contains("overflow: window"), "{:?}", error.hint());
    let mut ledger = Ledger::default();
    ledger.count(&read(&documents(20, Overflow::Drop, Bos::Auto).unwrap(), &json!(TEXT)).unwrap());
    assert!(ledger.balances() && ledger.dropped > 20 && ledger.learnt == 0, "{ledger:?}");
}

#[test]
fn what_is_cut_off_is_counted_and_has_no_end() {
    for (side, ends) in [(Side::Right, false), (Side::Left, true)] {
        let overflow = Overflow::Truncate { side, fields: None };
        let outcome = read(&documents(20, overflow, Bos::Auto).unwrap(), &json!(TEXT)).unwrap();
        let mut ledger = Ledger::default();
        ledger.count(&outcome);
        let row = outcome.kept().unwrap();
        assert_eq!((row.ids.len(), row.ids[0]), (20, id("<s>")));
        assert_eq!(row.ids.last() == Some(&id("</s>")), ends, "{side:?}");
        assert!(ledger.balances() && ledger.cut > 0 && ledger.rows_cut == 1, "{ledger:?}");
    }
}

#[test]
fn documents_without_text_are_errors() {
    let renderer = documents(20, window(1), Bos::Auto).unwrap();
    let error = read(&renderer, &json!(" \n")).unwrap_err();
    assert!(matches!(error, PromptError::EmptyDocument { row: 3, .. }), "{error}");
    assert!(matches!(read(&renderer, &json!(null)), Err(PromptError::NullCell { .. })));
    let error = read(&renderer, &json!("a </s> b")).unwrap_err();
    assert!(matches!(error, PromptError::SpecialTokenInData { .. }), "{error}");
}

#[test]
fn windows_that_cannot_work_are_refused() {
    for (context, overlap) in [(20, 0), (20, 19)] {
        let error = documents(context, window(overlap), Bos::Auto).unwrap_err();
        assert!(matches!(error, PromptError::Rule { rule: "overflow", .. }), "{error}");
    }
}

proptest! {
    #[test]
    fn windows_learn_each_token_once_and_lose_none(
        words in prop::collection::vec("[a-z]{1,9}|\\.|漢字|1871", 1..60),
        context in 8_usize..40,
        overlap in 1_usize..6,
        bos in prop::sample::select(vec![Bos::Auto, Bos::Never]),
    ) {
        let text = words.join(" ");
        let whole = documents(4096, Overflow::Error, bos).unwrap();
        let whole = read(&whole, &json!(text)).unwrap().kept().unwrap();
        let outcome = read(&documents(context, window(overlap), bos).unwrap(), &json!(text)).unwrap();
        let mut ledger = Ledger::default();
        ledger.count(&outcome);
        prop_assert!(ledger.balances());
        prop_assert_eq!((ledger.read, ledger.learnt), (whole.ids.len(), whole.ids.len() - 1));
        let windows = outcome.windows();
        let learnt = |window: &Rendered| {
            let ids = window.ids.iter().zip(&window.learn).filter(|it| *it.1).map(|it| *it.0);
            ids.collect::<Vec<u32>>()
        };
        prop_assert_eq!(windows.iter().flat_map(learnt).collect::<Vec<_>>(), &whole.ids[1..]);
        for window in &windows {
            prop_assert!(window.ids.len() <= context && !window.learn[0]);
            prop_assert!(bos == Bos::Never || window.ids[0] == whole.ids[0]);
        }
        prop_assert!(decode(&whole.ids).ends_with("</s>"));
    }
}
