//! What prompts share is computed once.

use fidelio_backend::{AdapterId, FakeLimits, FakeSession};
use fidelio_generate::{Decoding, Limits, Request};

use crate::{SIZES, engine, engine_on, ids, run};

/// Prompts with 40 tokens in common and 3 of their own.
fn prompts(n: u64) -> Vec<Vec<u32>> {
    (0..n).map(|i| [ids(77, 40), vec![10 + i as u32], ids(i, 2)].concat()).collect()
}

/// Tokens computed for `prompts` with 2 new tokens each, and the engine's own account of it.
fn computed(sizes: FakeLimits, limits: Limits, prompts: Vec<Vec<u32>>) -> (u64, u64, Vec<usize>) {
    let session = FakeSession::new(sizes);
    let probe = session.probe();
    let mut engine = engine_on(session, limits);
    for prompt in prompts {
        let decoding = Decoding { max_new_tokens: 2, ..Decoding::default() };
        engine.submit(Request::new(prompt, decoding)).unwrap();
    }
    let cached = run(&mut engine).into_values().map(|(end, _)| end.usage.cached_prompt_tokens);
    let cached = cached.collect();
    let stats = *engine.stats();
    assert_eq!(probe.tokens(), stats.prefill_tokens + stats.decode_tokens);
    assert_eq!(engine.session().capacity().tokens, sizes.tokens, "nothing stays behind");
    (probe.tokens(), stats.shared_tokens, cached)
}

#[test]
fn prompts_submitted_together_share_their_beginning() {
    for prefill_chunk in [5, 512] {
        let limits = Limits { prefill_chunk, ..Limits::default() };
        let (tokens, shared, cached) = computed(SIZES, limits, prompts(8));
        // 40 once, 3 of their own each, and one generated token fed back each.
        assert_eq!((tokens, shared), (40 + 8 * 3 + 8, 7 * 40), "chunks of {prefill_chunk}");
        assert_eq!(cached, [0, 40, 40, 40, 40, 40, 40, 40]);
    }
}

#[test]
fn one_row_after_another_shares_too() {
    for rows in [1, 2, 64] {
        let sizes = FakeLimits { rows, ..SIZES };
        let limits = Limits { max_rows: 1, ..Limits::default() };
        assert_eq!(computed(sizes, limits, prompts(5)).0, 40 + 5 * 3 + 5, "{rows} rows");
    }
}

#[test]
fn two_families_of_prompts_both_stay_while_they_are_needed() {
    let other: Vec<_> = (0..4).map(|i| [ids(55, 30), vec![20 + i]].concat()).collect();
    let mixed = prompts(4).into_iter().zip(other).flat_map(|(a, b)| [a, b]).collect();
    let limits = Limits { max_rows: 1, ..Limits::default() };
    assert_eq!(computed(SIZES, limits, mixed).0, 40 + 4 * 3 + 30 + 4 + 8);
}

#[test]
fn short_beginnings_are_not_worth_a_fork() {
    let prompts = (0..4).map(|i| vec![7, 8, 9, 30 + i]).collect();
    let (tokens, shared, _) = computed(SIZES, Limits::default(), prompts);
    assert_eq!((tokens, shared), (4 * 4 + 4, 0));
}

#[test]
fn equal_prompts_compute_their_last_token_only() {
    let (tokens, _, cached) = computed(SIZES, Limits::default(), vec![ids(1, 20); 3]);
    assert_eq!((tokens, cached), (20 + 2 + 3, vec![0, 19, 19]));
}

#[test]
fn a_kept_beginning_gives_way_when_room_is_needed() {
    // Room for one request and little more: the beginning of the first cannot stay for the third.
    let sizes = FakeLimits { tokens: 50, ..SIZES };
    let mut all = prompts(2);
    all.insert(1, ids(5, 45));
    let limits = Limits { max_rows: 1, ..Limits::default() };
    assert_eq!(computed(sizes, limits, all).0, 43 + 45 + 43 + 3);
}

/// What one adapter has computed is no beginning for another.
#[test]
fn prompts_share_their_beginning_only_where_they_are_computed_alike() {
    let prompt = ids(5, 40);
    let shared = |adapters: [Option<u32>; 3]| {
        let mut engine = engine(Limits { max_rows: 1, ..Limits::default() });
        for adapter in adapters {
            let decoding = Decoding { max_new_tokens: 3, ..Decoding::default() };
            let request = Request::new(prompt.clone(), decoding);
            engine.submit(request.with_adapter(adapter.map(AdapterId))).unwrap();
        }
        run(&mut engine);
        engine.stats().shared_tokens
    };
    assert_eq!(shared([None, None, None]), 2 * 39);
    assert_eq!(shared([Some(1), Some(1), Some(1)]), 2 * 39);
    assert_eq!(shared([None, Some(1), None]), 39);
    assert_eq!(shared([None, Some(1), Some(2)]), 0);
}

#[test]
fn an_adapter_stays_as_long_as_a_request_needs_it() {
    let mut engine = engine(Limits { max_rows: 1, ..Limits::default() });
    let decoding = Decoding { max_new_tokens: 3, ..Decoding::default() };
    for adapter in [None, Some(AdapterId(1))] {
        engine.submit(Request::new(ids(5, 40), decoding.clone()).with_adapter(adapter)).unwrap();
    }
    assert!(!engine.remove_adapter(AdapterId(1)).unwrap(), "one waits");
    engine.run_all(|_| ()).unwrap();
    // The session has no adapters, and says so now that it is asked.
    assert!(engine.remove_adapter(AdapterId(1)).is_err());
}

/// Who asks for much waits behind who asks for little.
#[test]
fn clients_take_turns() {
    let ends = |clients: &[u64]| {
        let mut engine = engine(Limits { max_rows: 1, ..Limits::default() });
        for (i, &client) in clients.iter().enumerate() {
            let decoding = Decoding { max_new_tokens: 2, ..Decoding::default() };
            let request = Request::new(ids(i as u64, 5), decoding);
            engine.submit(Request { client, ..request }).unwrap();
        }
        let mut ends = Vec::new();
        engine.run_all(|it| ends.extend(it.finish.map(|_| it.request.0))).unwrap();
        ends
    };
    assert_eq!(ends(&[7, 7, 7, 7]), [0, 1, 2, 3]);
    assert_eq!(ends(&[1, 1, 1, 1, 2, 3, 2]), [0, 4, 5, 1, 6, 2, 3]);
}
