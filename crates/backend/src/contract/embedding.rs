//! What a session that embeds must keep.

use super::{close, ids, refused};
use crate::{BackendError, Forest, Parent, Pooling, RowId, Session};

/// Runs every check of [`EMBEDDING_CHECKS`] with each pooling that the model has.
///
/// Numbers that must be equal may differ by `tolerance`. The session needs a vocabulary of at least
/// 8 and a context of at least 32.
///
/// # Panics
/// When the engine breaks the contract; the message names the check and the place.
pub fn check_embedding(open: &dyn Fn() -> Box<dyn Session>, poolings: &[Pooling], tolerance: f32) {
    for (_, check) in EMBEDDING_CHECKS {
        for &pooling in poolings {
            check(open().as_mut(), pooling, tolerance);
        }
    }
}

/// One check. It panics when the session breaks the contract.
pub type EmbeddingCheck = fn(&mut dyn Session, Pooling, f32);

/// The checks, by name, for tests that run them one by one.
pub const EMBEDDING_CHECKS: &[(&str, EmbeddingCheck)] = &[
    ("a text in a batch equals the text alone", batch_equals_alone),
    ("every token counts", every_token_counts),
    ("no text is no vector", nothing_is_nothing),
    ("embed leaves nothing behind", leaves_nothing),
    ("what cannot be embedded is refused", refusals_change_nothing),
];

fn batch_equals_alone(session: &mut dyn Session, pooling: Pooling, tolerance: f32) {
    // Lengths that meet in one batch: equal ones apart and together, the longest, a single token.
    let lengths = [5, 12, 1, 5, 32, 12, 5, 7];
    let texts: Vec<Vec<u32>> =
        lengths.iter().zip(1..).map(|(&len, seed)| ids(session, seed, len)).collect();
    let together = embed(session, &texts, pooling);
    for (i, text) in texts.iter().enumerate() {
        let alone = embed(session, std::slice::from_ref(text), pooling);
        same(&format!("text {i} of {} tokens", text.len()), &together[i], &alone[0], tolerance);
    }
    let mut turned = texts;
    turned.reverse();
    let again = embed(session, &turned, pooling);
    for (i, (again, first)) in again.iter().rev().zip(&together).enumerate() {
        same(&format!("text {i} of the batch turned round"), again, first, tolerance);
    }
}

fn every_token_counts(session: &mut dyn Session, pooling: Pooling, tolerance: f32) {
    let vocabulary = session.capacity().vocabulary as u32;
    let text = ids(session, 9, 9);
    let first = embed(session, std::slice::from_ref(&text), pooling).remove(0);
    for at in 0..text.len() {
        let mut other = text.clone();
        other[at] = (other[at] + 1) % vocabulary;
        let other = embed(session, &[other], pooling).remove(0);
        let apart = first.iter().zip(&other).any(|(a, b)| (a - b).abs() > tolerance.max(1e-6));
        assert!(apart, "another token at {at} of {} changes nothing", text.len());
    }
}

fn nothing_is_nothing(session: &mut dyn Session, pooling: Pooling, _: f32) {
    let vectors = session.embed(&Forest::default(), pooling).expect("embed nothing");
    assert!(vectors.is_empty(), "vectors of no text");
}

fn leaves_nothing(session: &mut dyn Session, pooling: Pooling, _: f32) {
    let before = session.capacity();
    let text = ids(session, 3, 8);
    embed(session, &[text], pooling);
    assert_eq!(session.capacity(), before, "embed keeps nothing");
}

fn refusals_change_nothing(session: &mut dyn Session, pooling: Pooling, tolerance: f32) {
    let text = ids(session, 4, 6);
    let first = embed(session, std::slice::from_ref(&text), pooling);
    let before = session.capacity();
    let bad = before.vocabulary as u32;
    let endless = vec![text[0]; before.context + 1];
    let mut fails = |what: &str, nodes: &[(Parent, &[u32])], right: fn(&BackendError) -> bool| {
        let mut forest = Forest::default();
        for (parent, tokens) in nodes {
            forest.push(*parent, tokens);
        }
        refused(session.embed(&forest, pooling), what, right);
        assert_eq!(session.capacity(), before, "{what}: capacity");
    };
    let good = (Parent::Root, &text[..]);
    fails("a token outside the vocabulary", &[good, (Parent::Root, &[bad])], |e| {
        matches!(e, BackendError::NoToken { .. })
    });
    fails("a text beyond the context", &[good, (Parent::Root, &endless)], |e| {
        matches!(e, BackendError::Context { .. })
    });
    fails("a text without tokens", &[good, (Parent::Root, &[])], |e| {
        matches!(e, BackendError::Forest(_))
    });
    fails("a text below another", &[good, (Parent::Node(0), &text)], |e| {
        matches!(e, BackendError::Forest(_))
    });
    fails("a text below a row", &[(Parent::Cached(RowId(7)), &text)], |e| {
        matches!(e, BackendError::Forest(_))
    });
    let again = embed(session, &[text], pooling);
    same("after all failures", &again[0], &first[0], tolerance);
}

/// A vector for each text.
fn embed(session: &mut dyn Session, texts: &[Vec<u32>], pooling: Pooling) -> Vec<Vec<f32>> {
    let mut forest = Forest::default();
    for text in texts {
        forest.push(Parent::Root, text);
    }
    let vectors = session.embed(&forest, pooling).expect("embed");
    assert!(!vectors.is_empty() && vectors.len().is_multiple_of(texts.len()), "a vector per text");
    assert!(vectors.iter().all(|x| x.is_finite()), "numbers");
    vectors.chunks_exact(vectors.len() / texts.len()).map(<[f32]>::to_vec).collect()
}

fn same(what: &str, got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len(), "{what}: width");
    for (c, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        close(&format!("{what}: number {c}"), got, expected, tolerance);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::{Answers, Batch, Capacity, FakeLimits, FakeSession, RowStep, Scores, Want};

    /// A way to break the contract.
    #[derive(Debug, Clone, Copy)]
    enum Fault {
        /// Vectors come in the order of the texts' lengths.
        Sorts,
        /// Texts are filled up to the longest, and what fills them is averaged too.
        Pads,
        /// Only the first tokens are read.
        Cuts,
    }

    struct Broken(FakeSession, Fault);

    impl Session for Broken {
        fn capacity(&self) -> Capacity {
            self.0.capacity()
        }

        fn extend(&mut self, steps: &[RowStep<'_>]) -> Result<Answers, BackendError> {
            self.0.extend(steps)
        }

        fn fork(&mut self, row: RowId) -> Result<RowId, BackendError> {
            self.0.fork(row)
        }

        fn truncate(&mut self, row: RowId, keep: usize) -> Result<(), BackendError> {
            self.0.truncate(row, keep)
        }

        fn score(&mut self, batch: &Batch, want: Want) -> Result<Scores, BackendError> {
            self.0.score(batch, want)
        }

        fn embed(&mut self, forest: &Forest, pooling: Pooling) -> Result<Vec<f32>, BackendError> {
            let longest = forest.nodes.iter().map(|node| node.len).max().unwrap_or(0) as usize;
            let mut texts: Vec<Vec<u32>> = forest
                .nodes
                .iter()
                .map(|node| forest.tokens[node.start as usize..][..node.len as usize].to_vec())
                .collect();
            match self.1 {
                Fault::Sorts => texts.sort_by_key(Vec::len),
                Fault::Pads => texts.iter_mut().for_each(|text| text.resize(longest, 0)),
                Fault::Cuts => texts.iter_mut().for_each(|text| text.truncate(8)),
            }
            let mut other = Forest::default();
            for (text, node) in texts.iter().zip(&forest.nodes) {
                other.push(node.parent, text);
            }
            self.0.embed(&other, pooling)
        }
    }

    #[test]
    fn each_fault_is_found_by_the_check_that_is_about_it() {
        let cases = [
            (Fault::Sorts, "a text in a batch equals the text alone"),
            (Fault::Pads, "a text in a batch equals the text alone"),
            (Fault::Cuts, "every token counts"),
        ];
        for (fault, name) in cases {
            let (_, check) = EMBEDDING_CHECKS.iter().find(|(it, _)| *it == name).unwrap();
            let mut session = Broken(FakeSession::new(FakeLimits::default()), fault);
            let outcome =
                catch_unwind(AssertUnwindSafe(|| check(&mut session, Pooling::Mean, 0.0)));
            assert!(outcome.is_err(), "{fault:?} passes `{name}`");
        }
    }
}
