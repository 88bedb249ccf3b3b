//! The inference thread: batching, leaving, deadlines, places, failures.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fidelio_backend::{
    FakeLimits, FakeProbe, FakeSession, Logits, RowStep, RowTo, Session, Shape, Wanted,
};
use fidelio_generate::{Decoding, FinishReason, GenerateError, Limits, Request};
use fidelio_serve::{Event, Inference, InferenceLimits, Listener, Metrics, Scoring};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::speaker::{Gated, SIZES, ids, speaker, tokenizer};

/// Long enough never to be over by itself.
const LONG: Duration = Duration::from_mins(10);

struct Thread {
    inference: Inference,
    metrics: Arc<Metrics>,
}

type Heard = UnboundedReceiver<(usize, Event)>;

impl Thread {
    fn on(session: impl Session + 'static, limits: InferenceLimits) -> Self {
        let metrics = Arc::new(Metrics::new());
        let inference =
            Inference::start(Box::new(session), tokenizer(), limits, Arc::clone(&metrics));
        Self { inference: inference.unwrap(), metrics }
    }

    fn ask(&self, prompt: &[u32], decoding: Decoding, time: Duration) -> Heard {
        let (events, heard) = unbounded_channel();
        let place = self.inference.places(1).unwrap().pop().unwrap();
        let listener = Listener { number: 7, events };
        let request = Request::new(prompt, decoding);
        self.inference.generate(request, listener, place, Instant::now() + time);
        heard
    }

    /// A number of the metrics' text.
    fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.text();
        let line = text.lines().find(|line| line.split(' ').next() == Some(name));
        line.and_then(|line| line.split(' ').nth(1)).map_or(0, |number| number.parse().unwrap())
    }
}

fn greedy(max_new_tokens: usize) -> Decoding {
    Decoding { max_new_tokens, eos_token_id: vec![3], ..Decoding::default() }
}

/// Everything until the channel closes.
fn all(mut heard: Heard) -> Vec<Event> {
    std::iter::from_fn(|| heard.blocking_recv()).map(|(_, event)| event).collect()
}

/// The text that came, and why it ended.
fn text(events: &[Event]) -> (String, Option<FinishReason>) {
    let mut emitted = events.iter().filter_map(|event| match event {
        Event::Emitted(emitted) => Some(emitted),
        _ => None,
    });
    let text = emitted.clone().map(|it| it.text.as_str()).collect();
    (
        text,
        emitted.next_back().and_then(|it| it.finish.as_ref()).map(|finish| finish.reason.clone()),
    )
}

fn wait_for(probe: &FakeProbe, extends: u64) {
    while probe.extends() < extends {
        std::thread::yield_now();
    }
}

#[test]
fn a_request_is_accepted_and_answered() {
    let thread = Thread::on(speaker(&[("hello", " you there")]), InferenceLimits::default());
    let events = all(thread.ask(&ids("hello"), greedy(50), LONG));
    assert!(matches!(events[0], Event::Accepted), "{events:?}");
    assert_eq!(text(&events), (" you there".to_owned(), Some(FinishReason::Eos(3))));
    assert_eq!(thread.metric("fidelio_requests_finished_total{reason=\"stop\"}"), 1);
    assert_eq!(thread.metric("fidelio_first_token_seconds_count"), 1);
    assert!(thread.metric("fidelio_inter_token_seconds_count") >= 2);
}

#[test]
fn requests_that_come_while_others_run_join_them() {
    let (session, gate) = Gated::new(FakeSession::new(SIZES));
    let thread = Thread::on(session, InferenceLimits::default());
    let shut = gate.shut();
    let heard: Vec<_> = (0..8u32).map(|i| thread.ask(&[50 + i, 60], greedy(4), LONG)).collect();
    drop(shut);
    for heard in heard {
        let events = all(heard);
        assert!(text(&events).1.is_some(), "{events:?}");
    }
    // Eight requests of four tokens, the first of which may have begun alone.
    assert!(thread.metric("fidelio_rounds_total") <= 9, "{}", thread.metrics.text());
}

#[test]
fn who_leaves_is_cancelled_and_the_others_go_on() {
    let session = FakeSession::new(SIZES);
    let probe = session.probe();
    let (session, gate) = Gated::new(session);
    let thread = Thread::on(session, InferenceLimits::default());
    let forever = Decoding { eos_token_id: vec![], ..greedy(250) };
    let mut gone = thread.ask(&[50, 60], forever, LONG);
    assert!(matches!(gone.blocking_recv(), Some((7, Event::Accepted))));
    wait_for(&probe, 1);
    let shut = gate.shut();
    drop(gone);
    let stays = thread.ask(&[70], greedy(2), LONG);
    drop(shut);
    assert!(text(&all(stays)).1.is_some());
    assert_eq!(thread.metric("fidelio_requests_finished_total{reason=\"cancelled\"}"), 1);
    assert!(probe.extends() < 250);
    drop(thread);
}

#[test]
fn a_request_ends_when_its_time_is_over_be_it_waiting_or_running() {
    let limits = Limits { max_rows: 1, ..Limits::default() };
    let (session, gate) = Gated::new(FakeSession::new(SIZES));
    let thread = Thread::on(session, InferenceLimits { engine: limits, max_waiting: 4 });
    let shut = gate.shut();
    let forever = Decoding { eos_token_id: vec![], ..greedy(250) };
    let runs = thread.ask(&[50, 60], forever, Duration::ZERO);
    let waits = thread.ask(&[51, 61], greedy(5), Duration::ZERO);
    drop(shut);
    for heard in [runs, waits] {
        let events = all(heard);
        assert!(matches!(events.last(), Some(Event::Late)), "{events:?}");
    }
}

#[test]
fn places_are_bounded_and_come_back() {
    let limits = Limits { max_rows: 2, ..Limits::default() };
    let thread =
        Thread::on(FakeSession::new(SIZES), InferenceLimits { engine: limits, max_waiting: 1 });
    assert_eq!(thread.inference.all_places(), 3);
    let two = thread.inference.places(2).unwrap();
    assert!(thread.inference.places(2).is_none(), "only one is left");
    assert!(thread.inference.places(1).is_some(), "a refusal takes nothing");
    drop(two);
    let events = all(thread.ask(&[50], greedy(1), LONG));
    assert!(text(&events).1.is_some());
    assert!(thread.inference.places(3).is_some(), "an answered request gives its place back");
}

#[test]
fn what_the_engine_refuses_is_told_and_takes_no_place() {
    let thread = Thread::on(FakeSession::new(SIZES), InferenceLimits::default());
    let events = all(thread.ask(&[50; 250], greedy(10), LONG));
    let [Event::Refused(GenerateError::TooLong { prompt: 250, max_new_tokens: 10, context: 256 })] =
        &events[..]
    else {
        panic!("{events:?}")
    };
}

#[test]
fn a_round_that_fails_once_is_tried_again() {
    let session = FakeSession::new(SIZES);
    let probe = session.probe();
    let thread = Thread::on(session, InferenceLimits::default());
    probe.fail_next();
    let events = all(thread.ask(&[50], greedy(3), LONG));
    assert!(text(&events).1.is_some(), "{events:?}");
    assert!(thread.inference.is_well());
}

#[test]
fn a_model_that_cannot_be_run_fails_its_requests_and_is_said_to_be_ill() {
    let (session, gate) = Gated::new(FakeSession::new(SIZES));
    let thread = Thread::on(session, InferenceLimits::default());
    gate.fail();
    assert!(thread.inference.is_well());
    for _ in 0..2 {
        let events = all(thread.ask(&[50], greedy(3), LONG));
        let Some(Event::Failed(why)) = events.last() else { panic!("{events:?}") };
        assert!(why.contains("the test asked for a failure"), "{why}");
    }
    assert!(thread.inference.is_alive());
    assert!(!thread.inference.is_well());
}

#[test]
fn a_panic_below_closes_every_channel() {
    let (session, gate) = Gated::new(FakeSession::new(SIZES));
    let thread = Thread::on(session, InferenceLimits::default());
    gate.panic();
    let events = all(thread.ask(&[50], greedy(3), LONG));
    assert!(text(&events).1.is_none(), "{events:?}");
    while thread.inference.is_alive() {
        std::thread::yield_now();
    }
    assert!(all(thread.ask(&[50], greedy(3), LONG)).is_empty());
}

#[test]
fn a_prompt_is_scored_as_its_logits_say() {
    let mut alone = FakeSession::new(SIZES);
    let prompt: Vec<u32> = (0..150).map(|i| 20 + i * 13 % 300).collect();
    let (events, heard) = unbounded_channel();
    let thread = Thread::on(FakeSession::new(SIZES), InferenceLimits::default());
    let place = thread.inference.places(1).unwrap().pop().unwrap();
    let listener = Listener { number: 0, events };
    let scoring = Scoring { ids: prompt.clone(), top: 2, adapter: None };
    thread.inference.score(scoring, listener, place, Instant::now() + LONG);
    let events = all(heard);
    let Some(Event::Scored(scored)) = events.last() else { panic!("{events:?}") };
    assert_eq!(scored.len(), prompt.len() - 1);

    let wanted = Wanted::All(Shape::Full);
    let step = RowStep { row: RowTo::New, tokens: &prompt, adapter: None, wanted };
    let answers = alone.extend(&[step]).unwrap();
    for ((logits, scored), &token) in answers[0].logits.iter().zip(scored).zip(&prompt[1..]) {
        let Logits::Full(logits) = logits else { panic!("full logits were asked for") };
        let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
        let logprob = |id: u32| f64::from(logits[id as usize]) - sum.ln();
        assert_eq!(scored.token, token);
        assert!((f64::from(scored.logprob) - logprob(token)).abs() < 1e-5);
        assert_eq!(scored.top.len(), 2);
        for &(id, got) in &scored.top {
            assert!((f64::from(got) - logprob(id)).abs() < 1e-5);
            assert!(got >= scored.logprob || scored.top.iter().any(|it| it.0 == token));
        }
    }
    assert_eq!(thread.metric("fidelio_scored_tokens_total"), 150);
}

#[test]
fn a_prompt_is_scored_once_others_have_made_room() {
    let limits = FakeLimits { tokens: 100, ..SIZES };
    let (session, gate) = Gated::new(FakeSession::new(limits));
    let thread = Thread::on(session, InferenceLimits::default());
    let shut = gate.shut();
    let forever = Decoding { eos_token_id: vec![], ..greedy(30) };
    let runs = thread.ask(&[50; 40], forever, LONG);
    let (events, heard) = unbounded_channel();
    let place = thread.inference.places(1).unwrap().pop().unwrap();
    let listener = Listener { number: 0, events };
    let scoring = Scoring { ids: vec![60; 80], top: 0, adapter: None };
    thread.inference.score(scoring, listener, place, Instant::now() + LONG);
    drop(shut);
    assert_eq!(text(&all(runs)).1, Some(FinishReason::Length));
    assert!(matches!(all(heard).last(), Some(Event::Scored(scored)) if scored.len() == 79));
}
