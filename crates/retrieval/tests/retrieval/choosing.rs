//! What a choice looks like: its number, its order, its labels, its duplicates.

use std::sync::Arc;

use fidelio_retrieval::{
    Bm25, Candidate, Candidates, Chooser, Chosen, Duplicates, Given, Hit, Order, Query, Random,
    RetrievalError, Searcher, Selection,
};

const REVIEWS: [(&str, &str); 7] = [
    ("the film was lovely", "good"),
    ("the film was lovely and long", "good"),
    ("the film was long", "good"),
    ("a lovely film", "good"),
    ("the film was awful", "bad"),
    ("awful staff", "bad"),
    ("the end", "unsure"),
];

fn reviews() -> Arc<Candidates> {
    let row =
        |(text, label): (&str, &str)| Candidate { text: text.into(), label: Some(label.into()) };
    Candidates::new(REVIEWS.map(row)).shared()
}

fn choose(text: &str, how: Selection) -> Chosen {
    let searcher = Box::new(Bm25::new(reviews()));
    let chooser = Chooser::new(reviews(), searcher, how).unwrap();
    chooser.choose(&Query { text, itself: None }).unwrap()
}

fn candidates(chosen: &Chosen) -> Vec<usize> {
    chosen.candidates().collect()
}

#[test]
fn the_most_similar_example_is_the_last_or_the_first() {
    let how = Selection { k: 3, ..Selection::default() };
    let last = choose("lovely film", how);
    assert_eq!(last.examples.last().unwrap().candidate, 3);
    assert!(last.examples.is_sorted_by(|a, b| a.score <= b.score), "{last:?}");
    let mut first = choose("lovely film", Selection { order: Order::BestFirst, ..how });
    first.examples.reverse();
    assert_eq!(first.examples, last.examples);
}

#[test]
fn labels_are_shown_equally_often_as_far_as_there_are_rows() {
    let labels = |k| {
        let how = Selection { k, balance: true, ..Selection::default() };
        let chosen = choose("the film was lovely", how);
        let mut counts = [("bad", 0), ("good", 0), ("unsure", 0)];
        for candidate in chosen.candidates() {
            counts.iter_mut().find(|it| it.0 == REVIEWS[candidate].1).unwrap().1 += 1;
        }
        counts.map(|it| it.1)
    };
    assert_eq!(labels(1), [0, 1, 0], "one example is the best of all");
    assert_eq!(labels(2), [1, 1, 0]);
    assert_eq!(labels(3), [1, 1, 1]);
    assert_eq!(labels(5), [2, 2, 1]);
    assert_eq!(labels(7), [2, 4, 1], "where a label has no more rows, others take its place");
    let unbalanced = choose("the film was lovely", Selection { k: 4, ..Selection::default() });
    assert!(unbalanced.candidates().filter(|&it| REVIEWS[it].1 == "good").count() >= 3);
}

#[test]
fn a_diverse_choice_leaves_out_what_says_the_same() {
    let near = choose("the film was lovely", Selection { k: 2, ..Selection::default() });
    let how = Selection { k: 2, diversity: 0.8, ..Selection::default() };
    let diverse = choose("the film was lovely", how);
    let searcher = Bm25::new(reviews());
    let likeness = |chosen: &Chosen| {
        let [a, b] = candidates(chosen)[..] else { panic!("{chosen:?}") };
        searcher.similarity(a, b)
    };
    assert!(likeness(&diverse) < likeness(&near), "{diverse:?} {near:?}");
}

#[test]
fn duplicates_of_the_query_are_reported_and_skipped_if_that_is_wanted() {
    let how = Selection { k: 2, ..Selection::default() };
    let shown = choose("The film  was LOVELY", how);
    assert!(candidates(&shown).contains(&0));
    assert_eq!(shown.duplicates.len(), 1, "{shown:?}");
    assert!(shown.duplicates[0].candidate == 0 && shown.duplicates[0].equal);
    let skipped = choose("The film  was LOVELY", Selection { duplicates: Duplicates::Skip, ..how });
    assert!(!candidates(&skipped).contains(&0), "{skipped:?}");
    assert_eq!(skipped.duplicates, shown.duplicates);
    assert_eq!(skipped.examples.len(), 2);
    let none = choose("awful staff indeed, and awful food", how);
    assert_eq!(none.duplicates, []);
}

#[test]
fn rows_without_a_common_word_are_drawn_and_counted() {
    let how = Selection { k: 3, ..Selection::default() };
    let chosen = choose("unrelated", how);
    assert_eq!((chosen.examples.len(), chosen.drawn), (3, 3));
    assert_eq!(choose("staff", how).drawn, 2);
    assert_eq!(choose("the film", how).drawn, 0);
    assert_ne!(candidates(&choose("also unrelated", how)), candidates(&chosen));
}

#[test]
fn fewer_examples_are_the_first_of_more() {
    let chosen = |k| {
        let how = Selection { k, balance: true, diversity: 0.5, ..Selection::default() };
        let mut examples = choose("the lovely film", how).examples;
        examples.sort_by_key(|picked| picked.rank);
        examples.iter().map(|picked| picked.candidate).collect::<Vec<_>>()
    };
    assert_eq!(chosen(3)[..], chosen(5)[..3]);
}

#[test]
fn what_cannot_be_chosen_is_refused() {
    let searcher = || Box::new(Random::new(reviews(), 1));
    let refused = Chooser::new(reviews(), searcher(), Selection { k: 8, ..Selection::default() })
        .unwrap_err();
    assert!(matches!(refused, RetrievalError::TooFew { asked: 8, have: 7 }));
    let nameless = Candidates::new([Candidate { text: "a".into(), label: None }]).shared();
    let how = Selection { balance: true, ..Selection::default() };
    let refused = Chooser::new(nameless, searcher(), how).unwrap_err();
    assert!(matches!(refused, RetrievalError::NoLabels { without: 1, have: 1 }));
}

#[test]
fn given_examples_keep_their_order() {
    let how = Selection { k: 7, order: Order::BestFirst, ..Selection::default() };
    let choose = |how, text| {
        let searcher = Box::new(Given::new(reviews()));
        Chooser::new(reviews(), searcher, how).unwrap().choose(&Query { text, itself: None })
    };
    let all = choose(how, "awful staff").unwrap();
    assert_eq!(candidates(&all), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(all.duplicates.len(), 1);
    let others = Selection { duplicates: Duplicates::Skip, ..how };
    let others = choose(others, "awful staff").unwrap();
    assert_eq!((candidates(&others), others.drawn), (vec![0, 1, 2, 3, 4, 6], 0));
}

/// A searcher that does not listen.
struct Deaf;

impl Searcher for Deaf {
    fn search(
        &self,
        _: &Query<'_>,
        _: &dyn Fn(usize) -> bool,
        _: usize,
    ) -> Result<Vec<Hit>, RetrievalError> {
        Ok((0..REVIEWS.len()).map(|candidate| Hit { candidate, score: 1.0 }).collect())
    }

    fn similarity(&self, _: usize, _: usize) -> f32 {
        0.0
    }
}

#[test]
fn no_searcher_makes_a_row_its_own_example() {
    for balance in [false, true] {
        let how = Selection { k: 6, balance, ..Selection::default() };
        let chooser = Chooser::new(reviews(), Box::new(Deaf), how).unwrap();
        for (row, (text, _)) in REVIEWS.into_iter().enumerate() {
            let chosen = chooser.choose(&Query { text, itself: Some(row) }).unwrap();
            assert_eq!(chosen.examples.len(), 6);
            assert!(chosen.candidates().all(|candidate| candidate != row));
        }
    }
}
