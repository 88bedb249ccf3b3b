//! A row is never its own example, in any way of choosing.

use std::sync::Arc;

use fidelio_retrieval::{
    Bm25, Candidate, Candidates, Chooser, Duplicates, Embed, EmbedFault, Given, Hybrid, Order,
    Query, Random, Searcher, Selection, Semantic,
};
use proptest::prelude::*;

/// Few words, so that rows are often equal.
fn rows() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(("[ab]( [abc]){0,3}", "[xy]"), 2..12)
}

fn selection() -> impl Strategy<Value = Selection> {
    let diversity = prop::sample::select(vec![0.0_f32, 0.4, 1.0]);
    let order = prop::sample::select(vec![Order::BestLast, Order::BestFirst]);
    let duplicates = prop::sample::select(vec![Duplicates::Show, Duplicates::Skip]);
    (1_usize..12, any::<bool>(), diversity, duplicates, order, 0_u64..4).prop_map(
        |(k, balance, diversity, duplicates, order, seed)| Selection {
            k,
            balance,
            diversity,
            duplicates,
            order,
            seed,
        },
    )
}

/// How often each letter occurs: equal texts have equal vectors.
struct Letters;

impl Embed for Letters {
    fn vector(&self, text: &str) -> Result<Vec<f32>, EmbedFault> {
        Ok(['a', 'b', 'c'].map(|letter| text.matches(letter).count() as f32).to_vec())
    }
}

fn searchers(
    candidates: &Arc<Candidates>,
    rows: &[(String, String)],
    seed: u64,
) -> Vec<Box<dyn Searcher>> {
    let vectors: Vec<_> = rows.iter().map(|(text, _)| Letters.vector(text).unwrap()).collect();
    let semantic = Semantic::new(vectors, Arc::new(Letters)).unwrap();
    let lexical = || Box::new(Bm25::new(Arc::clone(candidates)));
    vec![
        Box::new(Random::new(Arc::clone(candidates), seed)),
        Box::new(Random::once(Arc::clone(candidates), seed)),
        lexical(),
        Box::new(Hybrid::new(vec![lexical()], Box::new(semantic.clone()))),
        Box::new(semantic),
        Box::new(Given::new(Arc::clone(candidates))),
    ]
}

proptest! {
    #[test]
    fn a_row_is_never_its_own_example(rows in rows(), how in selection()) {
        let how = Selection { k: how.k.min(rows.len()), ..how };
        let row = |(text, label): &(String, String)| Candidate {
            text: text.clone(),
            label: Some(label.clone()),
        };
        let candidates = Candidates::new(rows.iter().map(row)).shared();
        for searcher in searchers(&candidates, &rows, how.seed) {
            let chooser = Chooser::new(Arc::clone(&candidates), searcher, how).unwrap();
            for (itself, (text, _)) in rows.iter().enumerate() {
                let chosen = chooser.choose(&Query { text, itself: Some(itself) }).unwrap();
                let mut shown: Vec<usize> = chosen.candidates().collect();
                prop_assert!(!shown.contains(&itself), "{chosen:?}");
                prop_assert!(chosen.duplicates.iter().all(|it| it.candidate != itself));
                let count = shown.len();
                shown.sort_unstable();
                shown.dedup();
                prop_assert_eq!(shown.len(), count, "no example stands twice");
                let skipped = match how.duplicates {
                    Duplicates::Skip => chosen.duplicates.len(),
                    Duplicates::Show => 0,
                };
                prop_assert_eq!(count, how.k.min(rows.len() - 1 - skipped));
                let mut ranks: Vec<usize> = chosen.examples.iter().map(|it| it.rank).collect();
                ranks.sort_unstable();
                prop_assert_eq!(ranks, (0..count).collect::<Vec<_>>());
            }
        }
    }
}
