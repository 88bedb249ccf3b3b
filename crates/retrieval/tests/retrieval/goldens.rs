//! Scores, likenesses and diverse choices are those of bm25s, scikit-learn and a few lines of numpy
//! (`make_goldens.py`).

use std::sync::Arc;

use fidelio_retrieval::{
    Bm25, Candidate, Candidates, Chooser, Order, Query, Random, Searcher, Selection,
};
use serde_json::Value;

fn goldens() -> (Value, Arc<Candidates>) {
    let goldens: Value = serde_json::from_str(include_str!("goldens.json")).unwrap();
    let row = |text: String| Candidate { text, label: None };
    let candidates = Candidates::new(texts(&goldens["candidates"]).into_iter().map(row));
    (goldens, candidates.shared())
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect()
}

#[test]
fn scores_are_those_of_bm25s() {
    let (goldens, candidates) = goldens();
    let searcher = Bm25::new(Arc::clone(&candidates));
    for (text, expected) in
        texts(&goldens["queries"]).iter().zip(goldens["scores"].as_array().unwrap())
    {
        let expected = numbers(expected);
        let mut got = vec![0.0; candidates.len()];
        let query = Query { text, itself: None };
        let hits = searcher.search(&query, &|_| true, candidates.len()).unwrap();
        assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
        for hit in hits {
            got[hit.candidate] = f64::from(hit.score);
        }
        for (candidate, (got, expected)) in got.iter().zip(&expected).enumerate() {
            assert!((got - expected).abs() < 1e-5, "`{text}` {candidate}: {got} {expected}");
        }
    }
}

#[test]
fn likenesses_are_those_of_scikit_learn() {
    let (goldens, candidates) = goldens();
    for searcher in [
        Box::new(Bm25::new(Arc::clone(&candidates))) as Box<dyn Searcher>,
        Box::new(Random::new(Arc::clone(&candidates), 1)),
    ] {
        for (a, row) in goldens["likeness"].as_array().unwrap().iter().enumerate() {
            for (b, expected) in numbers(row).into_iter().enumerate() {
                let got = f64::from(searcher.similarity(a, b));
                assert!((got - expected).abs() < 1e-5, "{a} {b}: {got} {expected}");
            }
        }
    }
}

#[test]
fn diverse_choices_are_those_of_the_formula() {
    let (goldens, candidates) = goldens();
    let queries = texts(&goldens["queries"]);
    for case in goldens["diverse"].as_array().unwrap() {
        let text = &queries[case["query"].as_u64().unwrap() as usize];
        let how = Selection {
            k: case["k"].as_u64().unwrap() as usize,
            diversity: case["diversity"].as_f64().unwrap() as f32,
            order: Order::BestFirst,
            ..Selection::default()
        };
        let searcher = Box::new(Bm25::new(Arc::clone(&candidates)));
        let chooser = Chooser::new(Arc::clone(&candidates), searcher, how).unwrap();
        let mut examples = chooser.choose(&Query { text, itself: None }).unwrap().examples;
        examples.sort_by_key(|picked| picked.rank);
        let got: Vec<f64> = examples.iter().map(|picked| picked.candidate as f64).collect();
        assert_eq!(got, numbers(&case["chosen"]), "{case}");
    }
}
