//! Scheduling never changes what a request says.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fidelio_backend::{
    Answers, BackendError, Batch, Capacity, FakeLimits, FakeSession, RowId, RowStep, RowTo, Scores,
    Session, Shape, Verb, Want, Wanted,
};
use fidelio_generate::{Decoding, FinishReason, GenerateError, Limits, Request};

use crate::{SIZES, alone, engine, engine_on, ids, run};

/// Requests of every kind, some with common beginnings.
fn requests() -> Vec<Request> {
    let common = ids(99, 20);
    let kinds: [fn(&mut Decoding); 6] = [
        |_| (),
        |d| d.do_sample = true,
        |d| (d.do_sample, d.top_k, d.temperature) = (true, 0, 1.4),
        |d| (d.do_sample, d.repetition_penalty, d.top_p) = (true, 1.3, 0.9),
        |d| (d.frequency_penalty, d.no_repeat_ngram_size) = (0.5, 2),
        |d| (d.logprobs, d.begin_suppress_tokens) = (Some(3), vec![5]),
    ];
    let request = |i: usize| {
        let mut decoding = Decoding {
            max_new_tokens: 5 + i % 9,
            seed: i as u64 / 2,
            eos_token_id: vec![0, 1],
            ..Decoding::default()
        };
        kinds[i % kinds.len()](&mut decoding);
        let own = ids(i as u64, 1 + i * 7 % 23);
        let prompt =
            if i.is_multiple_of(3) { own } else { [&common[..10 + i % 11], &own].concat() };
        Request::new(prompt, decoding)
    };
    (0..32).map(request).collect()
}

#[test]
fn a_request_says_the_same_in_any_company() {
    let expected: Vec<_> =
        requests().into_iter().map(|request| alone(FakeSession::new(SIZES), request)).collect();
    let small = FakeLimits { tokens: 150, ..SIZES };
    let few_rows = FakeLimits { rows: 3, ..SIZES };
    let cases = [
        (SIZES, Limits::default()),
        (SIZES, Limits { prefill_chunk: 1, ..Limits::default() }),
        (SIZES, Limits { prefill_chunk: 7, max_rows: 5, ..Limits::default() }),
        (SIZES, Limits { min_shared_prefix: 1, max_rows: 3, ..Limits::default() }),
        (SIZES, Limits { max_rows: 1, kept_prefixes: 1, ..Limits::default() }),
        (SIZES, Limits { min_shared_prefix: 1000, kept_prefixes: 0, ..Limits::default() }),
        (small, Limits { prefill_chunk: 16, ..Limits::default() }),
        (small, Limits { min_shared_prefix: 1, ..Limits::default() }),
        (few_rows, Limits::default()),
    ];
    for (sizes, limits) in cases {
        let mut engine = engine_on(FakeSession::new(sizes), limits);
        let submitted: Vec<_> =
            requests().into_iter().map(|request| engine.submit(request).unwrap()).collect();
        let mut got = run(&mut engine);
        for (id, (finish, emitted)) in submitted.iter().zip(&expected) {
            let (got, got_emitted) = got.remove(id).unwrap();
            assert_eq!(got.ids, finish.ids, "{limits:?} {id:?}");
            assert_eq!((&got.text, &got.reason), (&finish.text, &finish.reason));
            let logprobs = |all: &[fidelio_generate::Emitted]| -> Vec<_> {
                all.iter().flat_map(|it| it.logprobs.clone()).collect()
            };
            assert_eq!(logprobs(&got_emitted), logprobs(emitted), "{limits:?} {id:?}");
        }
        assert_eq!(engine.session().capacity().tokens, sizes.tokens, "{limits:?}: all is freed");
    }
}

#[test]
fn greedy_takes_the_largest_logit_each_time() {
    let prompt = ids(3, 6);
    let decoding = Decoding { max_new_tokens: 12, ..Decoding::default() };
    let (finish, _) = alone(FakeSession::new(SIZES), Request::new(prompt.clone(), decoding));

    let mut session = FakeSession::new(SIZES);
    let mut path = prompt.clone();
    for _ in 0..12 {
        let wanted = Wanted::Last(Shape::Top { k: 1, also: &[] });
        let step = RowStep { row: RowTo::New, tokens: &path, adapter: None, wanted };
        let answers = session.extend(&[step]).unwrap();
        let fidelio_backend::Logits::Top { entries, .. } = &answers[0].logits[0] else { panic!() };
        path.push(entries[0].0);
    }
    assert_eq!(finish.ids, path[6..]);
    assert_eq!(finish.reason, FinishReason::Length);
}

#[test]
fn seeds_differ_and_repeat() {
    let sampled = |seed| {
        let decoding = Decoding { do_sample: true, seed, ..Decoding::default() };
        alone(FakeSession::new(SIZES), Request::new(ids(1, 5), decoding)).0.ids
    };
    assert_eq!(sampled(1), sampled(1));
    assert_ne!(sampled(1), sampled(2));
}

#[test]
fn full_logits_are_fetched_only_where_a_rule_needs_them() {
    let fetched = |decoding: Decoding| {
        let session = FakeSession::new(SIZES);
        let probe = session.probe();
        alone(session, Request::new(ids(1, 5), decoding));
        probe.full_logits()
    };
    let base = Decoding { max_new_tokens: 10, eos_token_id: vec![0], ..Decoding::default() };
    assert_eq!(fetched(base.clone()), 0);
    assert_eq!(fetched(Decoding { logprobs: Some(5), ..base.clone() }), 0);
    assert_eq!(fetched(Decoding { do_sample: true, top_p: 0.9, ..base.clone() }), 0);
    assert_eq!(fetched(Decoding { begin_suppress_tokens: vec![4], ..base.clone() }), 1);
    assert_eq!(fetched(Decoding { min_new_tokens: 3, ..base.clone() }), 3);
    assert_eq!(fetched(Decoding { repetition_penalty: 1.1, ..base.clone() }), 10);
    assert_eq!(fetched(Decoding { do_sample: true, top_k: 0, ..base }), 10);
}

#[test]
fn a_part_of_the_logits_gives_the_same_draws_as_all() {
    // A rule that does nothing, but wants to see the whole vocabulary.
    struct Idle;
    impl fidelio_generate::LogitRule for Idle {
        fn name(&self) -> &'static str {
            "idle"
        }
        fn apply(&mut self, _row: &fidelio_generate::RowView<'_>, _logits: &mut [f32]) {}
    }
    let decoding =
        Decoding { do_sample: true, temperature: 1.5, top_p: 0.95, ..Decoding::default() };
    let mut request = Request::new(ids(1, 5), decoding);
    let part = alone(FakeSession::new(SIZES), Request::new(ids(1, 5), request.decoding.clone()));
    request.rules.push(Box::new(Idle));
    assert_eq!(alone(FakeSession::new(SIZES), request).0.ids, part.0.ids);
}

#[test]
fn prefill_and_decoding_share_a_call() {
    let session = FakeSession::new(SIZES);
    let probe = session.probe();
    let mut engine = engine_on(session, Limits { prefill_chunk: 4, ..Limits::default() });
    let long = Decoding { max_new_tokens: 20, ..Decoding::default() };
    engine.submit(Request::new(ids(1, 3), long.clone())).unwrap();
    engine.step().unwrap();
    engine.submit(Request::new(ids(2, 12), long)).unwrap();
    let before = (probe.extends(), probe.tokens());
    let emitted = engine.step().unwrap();
    assert_eq!(emitted.len(), 1, "the first goes on while the second is read");
    assert_eq!((probe.extends(), probe.tokens()), (before.0 + 1, before.1 + 5));
    engine.step().unwrap();
    assert_eq!(engine.step().unwrap().len(), 2, "the second's last chunk gives its first token");
    assert_eq!(probe.widest(), 2);
}

#[test]
fn rows_make_room_when_the_cache_is_full_and_come_back() {
    let sizes = FakeLimits { tokens: 60, ..SIZES };
    let requests = || {
        let decoding = Decoding { max_new_tokens: 30, do_sample: true, ..Decoding::default() };
        (0..6).map(move |i| Request::new(ids(i, 8), Decoding { seed: i, ..decoding.clone() }))
    };
    let mut engine = engine_on(FakeSession::new(sizes), Limits::default());
    for request in requests() {
        engine.submit(request).unwrap();
    }
    let got: Vec<_> = run(&mut engine).into_values().map(|(finish, _)| finish).collect();
    assert!(engine.stats().preemptions > 0, "{:?}", engine.stats());
    for (got, request) in got.iter().zip(requests()) {
        let (expected, _) = alone(FakeSession::new(SIZES), request);
        assert_eq!((&got.ids, &got.reason), (&expected.ids, &FinishReason::Length));
        assert_eq!(got.usage, expected.usage);
    }
}

#[test]
fn a_failed_round_can_be_tried_again() {
    let session = FakeSession::new(SIZES);
    let probe = session.probe();
    let mut engine = engine_on(session, Limits { prefill_chunk: 5, ..Limits::default() });
    let submitted: Vec<_> =
        requests().into_iter().map(|request| engine.submit(request).unwrap()).collect();
    let mut finished = std::collections::BTreeMap::new();
    let mut failures = 0;
    while !engine.is_idle() {
        if probe.extends().is_multiple_of(3) && failures < 10 {
            probe.fail_next();
        }
        match engine.step() {
            Ok(all) => {
                finished.extend(all.into_iter().filter_map(|e| Some((e.request, e.finish?))));
            }
            Err(GenerateError::Backend(BackendError::Engine(_))) => failures += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(failures, 10);
    for (id, request) in submitted.iter().zip(requests()) {
        assert_eq!(finished[id].ids, alone(FakeSession::new(SIZES), request).0.ids);
    }
}

/// A session that cannot fork, and whose cache is filled in blocks of 16 tokens.
struct Coarse(FakeSession);

impl Session for Coarse {
    fn capacity(&self) -> Capacity {
        self.0.capacity()
    }
    fn extend(&mut self, steps: &[RowStep<'_>]) -> Result<Answers, BackendError> {
        let needed = steps.iter().map(|step| step.tokens.len()).sum();
        let free = self.0.capacity().tokens / 16 * 16;
        if needed > free {
            return Err(BackendError::CacheFull { needed, free });
        }
        self.0.extend(steps)
    }
    fn fork(&mut self, _row: RowId) -> Result<RowId, BackendError> {
        Err(BackendError::Verb(Verb::Fork))
    }
    fn truncate(&mut self, row: RowId, keep: usize) -> Result<(), BackendError> {
        self.0.truncate(row, keep)
    }
    fn score(&mut self, batch: &Batch, want: Want) -> Result<Scores, BackendError> {
        self.0.score(batch, want)
    }
}

#[test]
fn a_session_that_shares_nothing_and_fills_early_works_too() {
    let session = Coarse(FakeSession::new(FakeLimits { tokens: 120, ..SIZES }));
    let mut engine = engine_on(session, Limits::default());
    for request in requests() {
        engine.submit(request).unwrap();
    }
    let got = run(&mut engine);
    for ((finish, _), request) in got.into_values().zip(requests()) {
        assert_eq!(finish.ids, alone(FakeSession::new(SIZES), request).0.ids);
    }
}

#[test]
fn a_lone_row_without_room_ends_and_says_so() {
    let session = Coarse(FakeSession::new(FakeLimits { tokens: 40, ..SIZES }));
    let decoding = Decoding { max_new_tokens: 30, ..Decoding::default() };
    let (finish, _) = alone(session, Request::new(ids(1, 8), decoding));
    assert_eq!(finish.reason, FinishReason::CacheFull);
    assert!(finish.ids.len() > 10);
}

#[test]
fn cancelling_frees_rows() {
    let mut engine = engine(Limits { max_rows: 2, ..Limits::default() });
    let room = engine.session().capacity();
    let request = |i| Request::new(ids(i, 8), Decoding::default());
    let all = [0, 1, 2].map(|i| engine.submit(request(i)).unwrap());
    engine.step().unwrap();
    engine.step().unwrap();
    assert!(engine.cancel(all[0]).unwrap());
    assert!(engine.cancel(all[2]).unwrap());
    assert!(!engine.cancel(all[0]).unwrap(), "it has ended");
    assert_eq!(engine.session().capacity().rows, room.rows - 1);
    let ends: Vec<_> = engine.step().unwrap().into_iter().filter_map(|e| e.finish).collect();
    assert!(ends.iter().all(|end| end.reason == FinishReason::Cancelled));
    assert_eq!(ends.iter().map(|end| end.ids.len()).collect::<Vec<_>>(), [2, 0]);
    assert!(engine.cancel(all[1]).unwrap());
    engine.step().unwrap();
    assert!(engine.is_idle());
    assert_eq!(engine.session().capacity(), room);
}

#[test]
fn the_session_comes_back_empty() {
    let mut engine = engine(Limits::default());
    engine.submit(Request::new(ids(1, 8), Decoding::default())).unwrap();
    engine.step().unwrap();
    let session = engine.into_session().unwrap();
    assert_eq!(session.capacity().tokens, SIZES.tokens);
}

#[test]
fn time_is_limited_and_counted() {
    let ticks = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&ticks);
    // Every look at the clock is a second later.
    let mut engine = engine(Limits::default())
        .with_clock(move || Duration::from_secs(clock.fetch_add(1, Ordering::Relaxed)));
    let decoding = Decoding { max_time: Some(20.0), ..Decoding::default() };
    engine.submit(Request::new(ids(1, 8), decoding)).unwrap();
    let (finish, _) = run(&mut engine).into_values().next().unwrap();
    assert_eq!(finish.reason, FinishReason::Time);
    assert!((1..32).contains(&finish.ids.len()));
    let stats = engine.stats();
    assert_eq!((stats.prefill_tokens, stats.prefill_time), (8, Duration::from_secs(1)));
    assert_eq!(stats.decode_tokens as usize, finish.ids.len() - 1);
    assert_eq!(stats.decode_tokens_per_second(), Some(1.0));
}

#[test]
fn requests_that_can_never_run_are_refused_with_numbers() {
    let mut engine =
        engine_on(FakeSession::new(FakeLimits { tokens: 100, ..SIZES }), Limits::default());
    let mut refused = |prompt: Vec<u32>, decoding: Decoding| {
        engine.submit(Request::new(prompt, decoding)).unwrap_err()
    };
    let with = |max_new_tokens| Decoding { max_new_tokens, ..Decoding::default() };
    let error = refused(ids(1, 250), with(10));
    assert!(matches!(
        error,
        GenerateError::TooLong { prompt: 250, max_new_tokens: 10, context: 256 }
    ));
    assert_eq!(error.hint().unwrap(), "shorten the prompt to 246 tokens or lower `max_new_tokens`");
    assert!(matches!(
        refused(ids(1, 90), with(12)),
        GenerateError::CacheTooSmall { cache: 100, .. }
    ));
    assert!(matches!(refused(vec![], with(1)), GenerateError::EmptyPrompt));
    assert!(matches!(
        refused(vec![3, 340], with(1)),
        GenerateError::PromptToken { token: 340, position: 1, vocabulary: 340 }
    ));
    assert!(matches!(
        refused(vec![3], with(0)),
        GenerateError::Decoding { field: "max_new_tokens", .. }
    ));
    let suppress = Decoding { suppress_tokens: vec![999], ..Decoding::default() };
    assert!(matches!(
        refused(vec![3], suppress),
        GenerateError::Decoding { field: "suppress_tokens", .. }
    ));
    engine.submit(Request::new(ids(1, 89), with(12))).unwrap();
    let (finish, _) = run(&mut engine).into_values().next().unwrap();
    assert_eq!(finish.ids.len(), 12, "the largest that fits does fit");
}
