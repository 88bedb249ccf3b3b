//! What every engine must keep, as tests that know nothing of the engine.
//!
//! An engine's own tests call [`check_session`] with a way to open it, one that embeds
//! [`check_embedding`], and one that learns [`check_learning`]; a plugin's do the same.

mod embedding;
mod learning;

pub use embedding::{EMBEDDING_CHECKS, EmbeddingCheck, check_embedding};
pub use learning::{LEARNING_CHECKS, LearningCheck, Open, check_learning};

use crate::{
    Answers, Ask, BackendError, Batch, Logits, Parent, RowId, RowStep, RowTo, Scores, Session,
    Shape, Target, Want, Wanted,
};

/// Runs every check of [`CHECKS`], each on a session of its own.
///
/// Logits that must be equal may differ by `tolerance`. The session needs a vocabulary of at least
/// 8, a context of at least 32, and room for 6 rows and 160 tokens.
///
/// # Panics
/// When the engine breaks the contract; the message names the check and the place.
pub fn check_session(open: &dyn Fn() -> Box<dyn Session>, tolerance: f32) {
    for (_, check) in CHECKS {
        check(open().as_mut(), tolerance);
    }
}

/// One check. It panics when the session breaks the contract.
pub type Check = fn(&mut dyn Session, f32);

/// The checks, by name, for tests that run them one by one.
pub const CHECKS: &[(&str, Check)] = &[
    ("cached equals uncached", cached_equals_uncached),
    ("a row in a batch equals the row alone", batch_equals_alone),
    ("a fork shares, then diverges", forks_diverge),
    ("truncated and extended equals fresh", truncated_equals_fresh),
    ("truncating to 0 frees", truncating_frees),
    ("top agrees with full", top_agrees_with_full),
    ("scores agree with full logits", scores_agree_with_logits),
    ("a forest equals its paths", forest_equals_paths),
    ("a cached parent equals the whole row", cached_parent_equals_row),
    ("siblings do not leak", siblings_do_not_leak),
    ("several targets at one position", several_targets_at_one_position),
    ("score leaves nothing behind", score_leaves_nothing),
    ("failing calls change nothing", failures_change_nothing),
];

fn cached_equals_uncached(session: &mut dyn Session, tolerance: f32) {
    let ids = ids(session, 1, 18);
    let whole = full_logits(session, &ids);
    let mut got = Vec::new();
    let mut row = RowTo::New;
    // A long prefill, single tokens, a chunk in the middle, and single tokens again.
    for chunk in [&ids[..7], &ids[7..8], &ids[8..9], &ids[9..14], &ids[14..15], &ids[15..]] {
        let answers = extend(session, &[all(row, chunk)]);
        row = RowTo::Row(answers[0].row);
        got.extend(full(&answers, 0));
    }
    same_logits("chunk by chunk", &got, &whole, tolerance);

    let last =
        extend(session, &[RowStep { row: RowTo::New, tokens: &ids, adapter: None, wanted: LAST }]);
    same_logits("the last position only", &full(&last, 0), &whole[17..], tolerance);
    let nothing = extend(
        session,
        &[RowStep { row: RowTo::New, tokens: &ids[..17], adapter: None, wanted: Wanted::Nothing }],
    );
    assert!(nothing[0].logits.is_empty(), "logits that nobody wanted");
    let last = extend(session, &[all(RowTo::Row(nothing[0].row), &ids[17..])]);
    same_logits("after a silent prefill", &full(&last, 0), &whole[17..], tolerance);
}

fn batch_equals_alone(session: &mut dyn Session, tolerance: f32) {
    let [a, b, c] = [ids(session, 1, 12), ids(session, 2, 3), ids(session, 3, 8)];
    let alone = [&a, &b, &c].map(|ids| full_logits(session, ids));
    // One row is decoding while another is prefilled and a third begins, in no special order.
    let old = extend(session, &[all(RowTo::New, &a[..5]), all(RowTo::New, &b[..2])]);
    let steps = [
        all(RowTo::Row(old[1].row), &b[2..]),
        all(RowTo::New, &c),
        all(RowTo::Row(old[0].row), &a[5..]),
    ];
    let new = extend(session, &steps);
    assert_eq!((new[0].row, new[2].row), (old[1].row, old[0].row), "rows keep their ids");
    same_logits("the long row's beginning", &full(&old, 0), &alone[0][..5], tolerance);
    same_logits("the long row's rest", &full(&new, 2), &alone[0][5..], tolerance);
    same_logits("the short row's rest", &full(&new, 0), &alone[1][2..], tolerance);
    same_logits("the new row", &full(&new, 1), &alone[2], tolerance);
}

fn forks_diverge(session: &mut dyn Session, tolerance: f32) {
    let [common, left, right] = [ids(session, 1, 9), ids(session, 2, 4), ids(session, 3, 5)];
    let whole_left = full_logits(session, &[&common[..], &left].concat());
    let whole_right = full_logits(session, &[&common[..], &right].concat());

    let a = extend(session, &[all(RowTo::New, &common)])[0].row;
    let before = session.capacity().tokens;
    let b = session.fork(a).expect("fork");
    assert_ne!(a, b, "a fork is a row of its own");
    assert_eq!(session.capacity().tokens, before, "a fork copies nothing");
    let steps = [all(RowTo::Row(a), &left[..2]), all(RowTo::Row(b), &right[..2])];
    let both = extend(session, &steps);
    same_logits("the first branch", &full(&both, 0), &whole_left[9..11], tolerance);
    same_logits("the second branch", &full(&both, 1), &whole_right[9..11], tolerance);

    let rest = extend(session, &[all(RowTo::Row(a), &left[2..])]);
    same_logits("the first branch, later", &full(&rest, 0), &whole_left[11..], tolerance);
    free(session, a);
    let rest = extend(session, &[all(RowTo::Row(b), &right[2..])]);
    same_logits("the branch that is left", &full(&rest, 0), &whole_right[11..], tolerance);
}

fn truncated_equals_fresh(session: &mut dyn Session, tolerance: f32) {
    let [first, second] = [ids(session, 1, 12), ids(session, 2, 5)];
    let fresh = full_logits(session, &[&first[..6], &second].concat());
    let whole = full_logits(session, &first);
    let row = extend(session, &[all(RowTo::New, &first)])[0].row;
    let sibling = session.fork(row).expect("fork");
    session.truncate(row, 6).expect("truncate");
    let again = extend(session, &[all(RowTo::Row(row), &second)]);
    same_logits("another end", &full(&again, 0), &fresh[6..], tolerance);
    // The sibling still has what the row gave up.
    session.truncate(sibling, 11).expect("truncate the sibling");
    let again = extend(session, &[all(RowTo::Row(sibling), &first[11..])]);
    same_logits("the sibling", &full(&again, 0), &whole[11..], tolerance);
}

fn truncating_frees(session: &mut dyn Session, _tolerance: f32) {
    let ids = ids(session, 1, 12);
    let before = session.capacity();
    for _ in 0..3 {
        let a = extend(session, &[all(RowTo::New, &ids)])[0].row;
        let b = session.fork(a).expect("fork");
        extend(session, &[all(RowTo::Row(b), &ids[..3])]);
        assert!(session.capacity().tokens < before.tokens, "cached tokens take room");
        free(session, a);
        assert!(session.capacity().tokens < before.tokens, "the fork keeps what it shares");
        free(session, b);
        assert_eq!(session.capacity(), before, "all room is back");
        for row in [a, b] {
            refused(
                session.truncate(row, 0),
                "a freed row",
                |e| matches!(e, BackendError::NoRow(r) if *r == row),
            );
        }
    }
}

fn top_agrees_with_full(session: &mut dyn Session, tolerance: f32) {
    let ids = ids(session, 1, 6);
    let vocabulary = session.capacity().vocabulary;
    let whole = full_logits(session, &ids);
    let also = [ids[3], 0, vocabulary as u32 - 1];
    for k in [1, 5] {
        let shape = Shape::Top { k, also: &also };
        let step =
            RowStep { row: RowTo::New, tokens: &ids, adapter: None, wanted: Wanted::All(shape) };
        let answers = extend(session, &[step]);
        for (at, (top, full)) in answers[0].logits.iter().zip(&whole).enumerate() {
            let Logits::Top { entries, logsumexp } = top else {
                panic!("position {at}: full logits where the top {k} were wanted")
            };
            assert_eq!(entries.len(), k + also.len(), "position {at}: number of entries");
            for &(id, logit) in entries {
                close(&format!("position {at}: token {id}"), logit, full[id as usize], tolerance);
            }
            let last: Vec<u32> = entries[k..].iter().map(|entry| entry.0).collect();
            assert_eq!(last, also, "position {at}: named tokens in their order");
            for pair in entries[..k].windows(2) {
                let by_id = pair[0].0 < pair[1].0;
                let ordered = pair[0].1.partial_cmp(&pair[1].1);
                let ordered = ordered.is_some_and(|o| o.is_gt() || o.is_eq() && by_id);
                assert!(ordered, "position {at}: {pair:?} are out of order");
            }
            // Nothing outside is larger than the smallest inside.
            let inside: Vec<u32> = entries[..k].iter().map(|entry| entry.0).collect();
            let outside = full.iter().enumerate().filter(|(id, _)| !inside.contains(&(*id as u32)));
            let largest = outside.map(|(_, &logit)| logit).fold(f32::NEG_INFINITY, f32::max);
            assert!(
                entries[k - 1].1 >= largest - 2.0 * tolerance,
                "position {at}: not the top {k}"
            );
            close(
                &format!("position {at}: logsumexp"),
                *logsumexp,
                sum_exp(full),
                rounded(tolerance),
            );
        }
        free(session, answers[0].row);
    }
}

fn scores_agree_with_logits(session: &mut dyn Session, tolerance: f32) {
    let ids = ids(session, 1, 10);
    let whole = full_logits(session, &ids);
    let mut batch = Batch::default();
    batch.forest.push(Parent::Root, &ids);
    for at in (0..10).rev() {
        ask(&mut batch, at, ids[(at as usize + 1) % 10]);
    }
    let scores = session.score(&batch, Want { logits: true }).expect("score");
    assert_eq!((scores.scores.len(), scores.logits.len()), (10, 10), "an answer per target");
    for (i, target) in batch.targets.iter().enumerate() {
        let Ask::Token(asked) = target.ask;
        let logits = &scores.logits[i];
        let place = format!("target {i}");
        same_logits(
            &place,
            std::slice::from_ref(logits),
            &whole[target.at as usize..][..1],
            tolerance,
        );

        let it = logits[asked as usize];
        let score = scores.scores[i];
        close(&place, score.logprob, it - sum_exp(logits), rounded(tolerance));
        let larger = |than: f32| logits.iter().filter(|&&logit| logit > than).count() as u32;
        let ranks = larger(it + 2.0 * tolerance)..=larger(it - 2.0 * tolerance);
        assert!(ranks.contains(&score.rank), "{place}: rank {} is not in {ranks:?}", score.rank);
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert!(logits[score.top as usize] >= largest - 2.0 * tolerance, "{place}: top");
    }
    let terse = session.score(&batch, Want::default()).expect("score without logits");
    assert!(terse.logits.is_empty(), "logits that nobody wanted");
    same_scores("without logits", &terse, &scores, tolerance);
}

fn forest_equals_paths(session: &mut dyn Session, tolerance: f32) {
    let [stem, left, right, leaf] =
        [ids(session, 1, 6), ids(session, 2, 4), ids(session, 3, 3), ids(session, 4, 5)];
    let mut batch = Batch::default();
    let root = batch.forest.push(Parent::Root, &stem);
    let a = batch.forest.push(Parent::Node(root), &left);
    batch.forest.push(Parent::Node(root), &right);
    batch.forest.push(Parent::Node(a), &leaf);
    batch.forest.push(Parent::Root, &leaf);
    // Where each of the forest's tokens stands: which path, and how far down.
    let paths = [[&stem[..], &left, &leaf].concat(), [&stem[..], &right].concat(), leaf.clone()];
    let places: Vec<(usize, usize)> = (0..10)
        .map(|i| (0, i))
        .chain((6..9).map(|i| (1, i)))
        .chain((10..15).map(|i| (0, i)))
        .chain((0..5).map(|i| (2, i)))
        .collect();
    for at in 0..batch.forest.tokens.len() as u32 {
        ask(&mut batch, at, stem[at as usize % 6]);
    }
    let got = session.score(&batch, Want { logits: true }).expect("score the forest");

    let whole = paths.map(|path| full_logits(session, &path));
    let expected: Vec<Vec<f32>> =
        places.iter().map(|&(path, at)| whole[path][at].clone()).collect();
    same_logits("forest", &got.logits, &expected, tolerance);
}

fn cached_parent_equals_row(session: &mut dyn Session, tolerance: f32) {
    let [stem, left, right] = [ids(session, 1, 7), ids(session, 2, 4), ids(session, 3, 3)];
    let row = extend(session, &[all(RowTo::New, &stem)])[0].row;
    let other = extend(session, &[all(RowTo::New, &left)])[0].row;
    let mut below = Batch::default();
    let a = below.forest.push(Parent::Cached(row), &left[..2]);
    below.forest.push(Parent::Cached(row), &right);
    below.forest.push(Parent::Node(a), &left[2..]);
    below.forest.push(Parent::Cached(other), &right);
    for at in 0..below.forest.tokens.len() as u32 {
        ask(&mut below, at, left[at as usize % 4]);
    }
    let before = session.capacity();
    let got = session.score(&below, Want { logits: true }).expect("score below cached rows");
    assert_eq!(session.capacity(), before, "score keeps nothing");

    let stem_left = full_logits(session, &[&stem[..], &left].concat());
    let stem_right = full_logits(session, &[&stem[..], &right].concat());
    let left_right = full_logits(session, &[&left[..], &right].concat());
    let expected = [&stem_left[7..9], &stem_right[7..], &stem_left[9..], &left_right[4..]].concat();
    same_logits("below cached rows", &got.logits, &expected, tolerance);

    let rest = extend(session, &[all(RowTo::Row(row), &left)]);
    same_logits("the row afterwards", &full(&rest, 0), &stem_left[7..], tolerance);
}

fn siblings_do_not_leak(session: &mut dyn Session, tolerance: f32) {
    let [stem, kept] = [ids(session, 1, 5), ids(session, 2, 6)];
    let others = [ids(session, 3, 4), ids(session, 4, 4), ids(session, 5, 9)];
    let answers: Vec<Scores> = others
        .iter()
        .map(|other| {
            let mut batch = Batch::default();
            let root = batch.forest.push(Parent::Root, &stem);
            batch.forest.push(Parent::Node(root), &kept);
            batch.forest.push(Parent::Node(root), other);
            batch.forest.push(Parent::Root, other);
            (0..11).for_each(|at| ask(&mut batch, at, kept[at as usize % 6]));
            session.score(&batch, Want { logits: true }).expect("score")
        })
        .collect();
    for other in &answers[1..] {
        same_logits("beside another sibling", &other.logits, &answers[0].logits, tolerance);
        same_scores("beside another sibling", other, &answers[0], tolerance);
    }
}

fn several_targets_at_one_position(session: &mut dyn Session, tolerance: f32) {
    let ids = ids(session, 1, 6);
    let mut batch = Batch::default();
    batch.forest.push(Parent::Root, &ids);
    let asked = [3_u32, 0, 7, 3];
    for token in asked {
        ask(&mut batch, 5, token);
    }
    let together = session.score(&batch, Want::default()).expect("score");
    for (i, target) in batch.targets.iter().enumerate() {
        let alone = Batch { targets: vec![*target], ..batch.clone() };
        let alone = session.score(&alone, Want::default()).expect("score one target");
        close(
            &format!("target {i}"),
            together.scores[i].logprob,
            alone.scores[0].logprob,
            tolerance,
        );
    }
    let [first, .., again] = together.scores[..] else { panic!("four answers") };
    assert_eq!(first, again, "the same question has the same answer");
}

fn score_leaves_nothing(session: &mut dyn Session, tolerance: f32) {
    let ids = ids(session, 1, 8);
    let whole = full_logits(session, &ids);
    let row = extend(session, &[all(RowTo::New, &ids[..4])])[0].row;
    let before = session.capacity();
    let mut batch = Batch::default();
    batch.forest.push(Parent::Root, &ids);
    ask(&mut batch, 7, ids[0]);
    session.score(&batch, Want::default()).expect("score");
    session.score(&Batch::default(), Want::default()).expect("score nothing");
    assert_eq!(session.capacity(), before, "score keeps nothing");
    let rest = extend(session, &[all(RowTo::Row(row), &ids[4..])]);
    same_logits("a row afterwards", &full(&rest, 0), &whole[4..], tolerance);
}

fn failures_change_nothing(session: &mut dyn Session, tolerance: f32) {
    let ids = ids(session, 1, 10);
    let whole = full_logits(session, &ids);
    let a = extend(session, &[all(RowTo::New, &ids[..5])])[0].row;
    let b = extend(session, &[all(RowTo::New, &ids[..5])])[0].row;
    let gone = session.fork(a).expect("fork");
    free(session, gone);
    let before = session.capacity();
    let bad = before.vocabulary as u32;
    let endless = vec![ids[0]; before.context - 4];
    let good = all(RowTo::Row(b), &ids[5..6]);

    // Each call begins with a good step: nothing of it may happen either.
    let mut fails = |what: &str, step: RowStep<'_>, right: fn(&BackendError) -> bool| {
        refused(session.extend(&[good, step]), what, right);
        assert_eq!(session.capacity(), before, "{what}: capacity");
    };
    fails("an unknown row", all(RowTo::Row(gone), &ids[..1]), |e| {
        matches!(e, BackendError::NoRow(_))
    });
    fails("a token outside the vocabulary", all(RowTo::Row(a), &[bad]), |e| {
        matches!(e, BackendError::NoToken { .. })
    });
    fails(
        "a named token outside the vocabulary",
        RowStep {
            row: RowTo::Row(a),
            tokens: &ids[5..6],
            adapter: None,
            wanted: Wanted::Last(Shape::Top { k: 1, also: &[bad] }),
        },
        |e| matches!(e, BackendError::NoToken { .. }),
    );
    fails("a row beyond the context", all(RowTo::Row(a), &endless), |e| {
        matches!(e, BackendError::Context { .. } | BackendError::CacheFull { .. })
    });
    fails("a row twice", all(RowTo::Row(b), &ids[5..6]), |_| true);
    fails("a step without tokens", all(RowTo::Row(a), &[]), |_| true);

    let mut fails = |what: &str, batch: &Batch, right: fn(&BackendError) -> bool| {
        refused(session.score(batch, Want::default()), what, right);
        assert_eq!(session.capacity(), before, "{what}: capacity");
    };
    let batch = |parent, tokens: &[u32], asked| {
        let mut batch = Batch::default();
        batch.forest.push(parent, tokens);
        ask(&mut batch, 0, asked);
        batch
    };
    fails("score below an unknown row", &batch(Parent::Cached(gone), &ids, 0), |e| {
        matches!(e, BackendError::NoRow(_))
    });
    fails("score of an unknown token", &batch(Parent::Root, &[bad], 0), |e| {
        matches!(e, BackendError::NoToken { .. })
    });
    fails("score asking for an unknown token", &batch(Parent::Root, &ids, bad), |e| {
        matches!(e, BackendError::NoToken { .. })
    });
    fails("score of an empty node", &batch(Parent::Root, &[], 0), |e| {
        matches!(e, BackendError::Forest(_))
    });
    fails("score beyond the context", &batch(Parent::Cached(a), &endless, 0), |e| {
        matches!(e, BackendError::Context { .. } | BackendError::CacheFull { .. })
    });

    refused(session.fork(gone), "a fork of an unknown row", |e| {
        matches!(e, BackendError::NoRow(_))
    });
    refused(session.truncate(a, 6), "keeping more than there is", |_| true);
    assert_eq!(session.capacity(), before, "capacity in the end");
    let rest = extend(session, &[all(RowTo::Row(b), &ids[5..]), all(RowTo::Row(a), &ids[5..])]);
    for row in 0..2 {
        same_logits("after all failures", &full(&rest, row), &whole[5..], tolerance);
    }
}

const LAST: Wanted<'static> = Wanted::Last(Shape::Full);

/// Token ids that are all over the vocabulary.
fn ids(session: &dyn Session, seed: u64, len: usize) -> Vec<u32> {
    let vocabulary = session.capacity().vocabulary as u64;
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let draw = |_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % vocabulary) as u32
    };
    (0..len).map(draw).collect()
}

fn all(row: RowTo, tokens: &[u32]) -> RowStep<'_> {
    RowStep { row, tokens, adapter: None, wanted: Wanted::All(Shape::Full) }
}

fn ask(batch: &mut Batch, at: u32, token: u32) {
    batch.targets.push(Target { at, ask: Ask::Token(token), weight: 1.0, group: 0 });
}

fn extend(session: &mut dyn Session, steps: &[RowStep<'_>]) -> Answers {
    let answers = session.extend(steps).expect("extend");
    assert_eq!(answers.len(), steps.len(), "an answer per step");
    answers
}

fn free(session: &mut dyn Session, row: RowId) {
    session.truncate(row, 0).expect("free a row");
}

/// The full logits of one answer.
fn full(answers: &Answers, step: usize) -> Vec<Vec<f32>> {
    let unpack = |logits: &Logits| match logits {
        Logits::Full(logits) => logits.clone(),
        Logits::Top { .. } => panic!("the top where full logits were wanted"),
    };
    answers[step].logits.iter().map(unpack).collect()
}

/// The logits of every position of a row of its own, which is freed again.
fn full_logits(session: &mut dyn Session, ids: &[u32]) -> Vec<Vec<f32>> {
    let answers = extend(session, &[all(RowTo::New, ids)]);
    free(session, answers[0].row);
    let logits = full(&answers, 0);
    assert_eq!(logits.len(), ids.len(), "logits per position");
    let vocabulary = session.capacity().vocabulary;
    assert!(logits.iter().all(|l| l.len() == vocabulary), "logits per token of the vocabulary");
    logits
}

fn sum_exp(logits: &[f32]) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    (f64::from(largest) + sum.ln()) as f32
}

/// The tolerance of numbers that are computed from logits in another order than here.
fn rounded(tolerance: f32) -> f32 {
    tolerance.max(1e-5) * 4.0
}

fn close(what: &str, got: f32, expected: f32, tolerance: f32) {
    // Also false where one of them is not a number.
    assert!((got - expected).abs() <= tolerance, "{what}: got {got}, expected {expected}");
}

fn same_logits(what: &str, got: &[Vec<f32>], expected: &[Vec<f32>], tolerance: f32) {
    assert_eq!(got.len(), expected.len(), "{what}: positions");
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert_eq!(got.len(), expected.len(), "{what}: logits of position {at}");
        for (id, (&got, &expected)) in got.iter().zip(expected).enumerate() {
            // Infinities have no difference, so equality is asked first.
            let same = got.to_bits() == expected.to_bits() || (got - expected).abs() <= tolerance;
            assert!(same, "{what}: position {at}, token {id}: got {got}, expected {expected}");
        }
    }
}

fn same_scores(what: &str, got: &Scores, expected: &Scores, tolerance: f32) {
    assert_eq!(got.scores.len(), expected.scores.len(), "{what}: scores");
    for (i, (got, expected)) in got.scores.iter().zip(&expected.scores).enumerate() {
        close(&format!("{what}: target {i}"), got.logprob, expected.logprob, 2.0 * tolerance);
    }
}

fn refused<T>(outcome: Result<T, BackendError>, what: &str, right: impl Fn(&BackendError) -> bool) {
    match outcome {
        Ok(_) => panic!("{what} was not refused"),
        Err(error) => assert!(right(&error), "{what} was refused with {error:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::{Capacity, FakeLimits, FakeSession};

    /// A way to break the contract.
    #[derive(Debug, Clone, Copy)]
    enum Fault {
        /// Rows are never freed.
        Keeps,
        /// What stands before a failing step is computed.
        HalfDone,
        /// Nodes see the nodes before them.
        Leaks,
        /// Logits depend on how a prompt is cut.
        Chunks,
        /// The largest logits come in any order.
        Unsorted,
        /// Rows of a batch are mixed up.
        Mixes,
    }

    struct Broken(FakeSession, Fault);

    impl Session for Broken {
        fn capacity(&self) -> Capacity {
            self.0.capacity()
        }

        fn extend(&mut self, steps: &[RowStep<'_>]) -> Result<Answers, BackendError> {
            if matches!(self.1, Fault::HalfDone) && self.0.clone().extend(steps).is_err() {
                self.0.extend(&steps[..1])?;
            }
            let mut answers = self.0.extend(steps)?;
            for (answer, step) in answers.iter_mut().zip(steps) {
                for logits in &mut answer.logits {
                    match (logits, self.1) {
                        (Logits::Full(logits), Fault::Chunks) => {
                            logits[0] += step.tokens.len() as f32;
                        }
                        (Logits::Top { entries, .. }, Fault::Unsorted) => entries.reverse(),
                        _ => {}
                    }
                }
            }
            if let (Fault::Mixes, [first, .., last]) = (self.1, &mut answers[..]) {
                std::mem::swap(&mut first.logits, &mut last.logits);
            }
            Ok(answers)
        }

        fn fork(&mut self, row: RowId) -> Result<RowId, BackendError> {
            self.0.fork(row)
        }

        fn truncate(&mut self, row: RowId, keep: usize) -> Result<(), BackendError> {
            match self.1 {
                Fault::Keeps if keep == 0 => Ok(()),
                _ => self.0.truncate(row, keep),
            }
        }

        fn score(&mut self, batch: &Batch, want: Want) -> Result<Scores, BackendError> {
            let mut batch = batch.clone();
            if matches!(self.1, Fault::Leaks) {
                for (i, node) in batch.forest.nodes.iter_mut().enumerate().skip(1) {
                    node.parent = Parent::Node(i as u32 - 1);
                }
            }
            self.0.score(&batch, want)
        }
    }

    #[test]
    fn each_fault_is_found_by_the_checks_that_are_about_it() {
        let cases = [
            (Fault::Keeps, "truncating to 0 frees"),
            (Fault::HalfDone, "failing calls change nothing"),
            (Fault::Leaks, "a forest equals its paths"),
            (Fault::Leaks, "a cached parent equals the whole row"),
            (Fault::Chunks, "cached equals uncached"),
            (Fault::Chunks, "scores agree with full logits"),
            (Fault::Unsorted, "top agrees with full"),
            (Fault::Mixes, "a row in a batch equals the row alone"),
            (Fault::Mixes, "a fork shares, then diverges"),
        ];
        for (fault, name) in cases {
            let (_, check) = CHECKS.iter().find(|(it, _)| *it == name).unwrap();
            let mut session = Broken(FakeSession::new(FakeLimits::default()), fault);
            let outcome = catch_unwind(AssertUnwindSafe(|| check(&mut session, 0.0)));
            assert!(outcome.is_err(), "{fault:?} passes `{name}`");
        }
    }
}
