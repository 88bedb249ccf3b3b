//! Corpora on disk: found as bm25s finds, the same however they came to be, and whole or refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fidelio_retrieval::{
    Bm25, Candidate, Candidates, Corpus, CorpusUpdate, Found, PassageSearcher, Query,
    RetrievalError, Searcher,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

type Documents = BTreeMap<String, Vec<String>>;

fn put(update: &mut CorpusUpdate, name: &str, texts: &[String]) {
    let passages = texts.iter().map(|text| (text.clone(), Map::new()));
    update.put(name, &texts.join("\n"), json!(null), passages).unwrap();
}

fn build(folder: &Path, documents: &Documents) -> Corpus {
    let mut update = CorpusUpdate::begin(folder).unwrap();
    for (name, texts) in documents {
        put(&mut update, name, texts);
    }
    update.finish(json!({"by": "test"}), json!(null)).unwrap()
}

fn small() -> (TempDir, std::path::PathBuf, Corpus) {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("corpus");
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let documents = Documents::from([
        ("a".to_owned(), texts(&["the red fox", "the dog sleeps"])),
        ("b".to_owned(), texts(&["a red red rose"])),
    ]);
    let corpus = build(&folder, &documents);
    (place, folder, corpus)
}

fn named(found: &[Found]) -> Vec<(String, usize)> {
    found.iter().map(|it| (it.passage.source.clone(), it.passage.number)).collect()
}

#[test]
fn scores_are_those_of_bm25s() {
    let goldens: Value = serde_json::from_str(include_str!("goldens.json")).unwrap();
    let texts = |list: &Value| -> Vec<String> { serde_json::from_value(list.clone()).unwrap() };
    let place = tempfile::tempdir().unwrap();
    let candidates = Documents::from([("all".to_owned(), texts(&goldens["candidates"]))]);
    let corpus = build(&place.path().join("c"), &candidates);
    let scores: Vec<Vec<f64>> = serde_json::from_value(goldens["scores"].clone()).unwrap();
    for (query, expected) in texts(&goldens["queries"]).iter().zip(scores) {
        let mut got = vec![0.0; expected.len()];
        let found = corpus.search(query, expected.len()).unwrap();
        assert!(found.is_sorted_by(|a, b| a.score >= b.score));
        for it in found {
            got[it.passage.number] = f64::from(it.score);
        }
        for (got, expected) in got.iter().zip(&expected) {
            assert!((got - expected).abs() < 1e-5, "`{query}`: {got} {expected}");
        }
    }
}

fn documents() -> impl Strategy<Value = Documents> {
    let text = proptest::collection::vec("[a-f]{1,2}", 0..9).prop_map(|words| words.join(" "));
    let texts = proptest::collection::vec(text, 0..4);
    proptest::collection::btree_map("[p-t]", texts, 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// However it came to be, a corpus answers as one that is built anew, and as examples are ranked.
    #[test]
    fn an_updated_corpus_answers_as_a_new_one(before in documents(), after in documents()) {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("updated");
        build(&folder, &before);
        let mut update = CorpusUpdate::begin(&folder).unwrap();
        for (name, texts) in &after {
            if before.get(name) != Some(texts) {
                put(&mut update, name, texts);
            }
        }
        for name in before.keys().filter(|name| !after.contains_key(*name)) {
            update.remove(name);
        }
        let updated = update.finish(json!({"by": "test"}), json!(null)).unwrap();
        let anew = build(&place.path().join("new"), &after);
        prop_assert_eq!(updated.sha256(), anew.sha256());
        prop_assert_eq!(updated.len(), anew.len());
        let texts: Vec<&String> = after.values().flatten().collect();
        let row = |text: &&String| Candidate { text: (*text).clone(), label: None };
        let examples = Bm25::new(Candidates::new(texts.iter().map(row)).shared());
        for query in ["a b c", "aa a a f", "dd"] {
            let found = updated.search(query, 9).unwrap();
            prop_assert_eq!(&found, &anew.search(query, 9).unwrap());
            let asked = Query { text: query, itself: None };
            let hits = examples.search(&asked, &|_| true, 9).unwrap();
            prop_assert_eq!(found.len(), hits.len());
            for (found, hit) in found.iter().zip(&hits) {
                prop_assert!((found.score - hit.score).abs() < 1e-5);
            }
        }
    }
}

#[test]
fn passages_come_back_as_they_were_put_in() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("corpus");
    let mut update = CorpusUpdate::begin(&folder).unwrap();
    let fields = Map::from_iter([("page".to_owned(), json!(7))]);
    let passages = vec![("Ça, c'est\n  du thé.".to_owned(), fields.clone())];
    update.put("x/y.pdf", "abc", json!({"bytes": 5}), passages).unwrap();
    let corpus = update.finish(json!({"max_tokens": 9}), json!("here")).unwrap();
    let found = corpus.search("THÉ", 3).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].passage.text, "Ça, c'est\n  du thé.");
    assert_eq!((found[0].passage.fields.clone(), found[0].passage.number), (fields, 0));
    let all: Vec<_> = corpus.passages().collect::<Result<_, _>>().unwrap();
    assert_eq!(all, [found[0].passage.clone()]);
    assert_eq!((corpus.how(), corpus.place()), (&json!({"max_tokens": 9}), &json!("here")));
    let (name, source) = corpus.sources().next().unwrap();
    assert_eq!((name, source.sha256.as_str(), source.words), ("x/y.pdf", "abc", 4));
    assert!(corpus.search("nothing of this", 3).unwrap().is_empty());
}

#[test]
fn an_update_that_is_not_finished_changes_nothing() {
    let (place, folder, before) = small();
    let mut update = CorpusUpdate::begin(&folder).unwrap();
    put(&mut update, "b", &["a blue rose".to_owned()]);
    update.remove("a");
    drop(update);
    let after = Corpus::open(&folder).unwrap();
    assert_eq!(after.sha256(), before.sha256());
    assert_eq!(named(&after.search("red", 9).unwrap()), [("b".to_owned(), 0), ("a".to_owned(), 0)]);
    drop(CorpusUpdate::begin(&place.path().join("new")).unwrap());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing is left behind");
}

#[test]
fn an_open_corpus_stays_what_it_was() {
    let (_place, folder, before) = small();
    let mut update = CorpusUpdate::begin(&folder).unwrap();
    update.remove("a");
    let after = update.finish(json!({"by": "test"}), json!(null)).unwrap();
    assert_eq!(before.search("fox", 9).unwrap().len(), 1);
    assert_eq!((after.search("fox", 9).unwrap().len(), after.len()), (0, 1));
}

#[test]
fn two_cannot_write_at_once() {
    let (_place, folder, _) = small();
    let _first = CorpusUpdate::begin(&folder).unwrap();
    let second = CorpusUpdate::begin(&folder).unwrap_err();
    assert!(matches!(second, RetrievalError::CorpusBusy { .. }), "{second}");
}

#[test]
fn what_is_no_corpus_is_refused_and_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let error = Corpus::open(&place.path().join("nowhere")).unwrap_err();
    assert!(matches!(error, RetrievalError::NoCorpus { .. }));
    fs::write(place.path().join("letter.txt"), "Dear").unwrap();
    let error = CorpusUpdate::begin(place.path()).unwrap_err();
    assert!(matches!(error, RetrievalError::NoCorpus { .. }) && error.hint().is_some());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn every_changed_file_is_found() {
    let (_place, folder, corpus) = small();
    drop(corpus);
    let files = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    let index: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|it| it != "json" && it != "lock"))
        .collect();
    assert!(index.len() >= 5, "{index:?}");
    for file in index {
        let whole = fs::read(&file).unwrap();
        let mut changed = whole.clone();
        changed[0] ^= 4;
        for broken in [changed, whole[..whole.len() - 1].to_vec(), vec![]] {
            fs::write(&file, broken).unwrap();
            let error = Corpus::open(&folder).expect_err(&file.display().to_string());
            assert!(matches!(error, RetrievalError::DamagedCorpus { .. }), "{error}");
        }
        fs::remove_file(&file).unwrap();
        // Places of words within texts are not kept: their file is empty and never read.
        let unread = file.extension().is_some_and(|it| it == "pos");
        assert!(Corpus::open(&folder).is_err() || unread, "{file:?}");
        fs::write(&file, whole).unwrap();
    }
    Corpus::open(&folder).unwrap();
}

#[test]
fn another_version_and_one_that_was_never_finished_say_what_to_do() {
    let (_place, folder, _) = small();
    let meta = folder.join("meta.json");
    let mut value: Value = serde_json::from_slice(&fs::read(&meta).unwrap()).unwrap();
    let payload = value["payload"].as_str().unwrap().to_owned();
    let mut write = |payload: Value| {
        value["payload"] = payload;
        fs::write(&meta, value.to_string()).unwrap();
        Corpus::open(&folder).unwrap_err()
    };
    let older = write(json!(payload.replacen("\"version\":1", "\"version\":0", 1)));
    assert!(
        matches!(&older, RetrievalError::CorpusVersion { found, .. } if found == "0"),
        "{older}"
    );
    let cut = write(json!(payload[..payload.len() / 2]));
    assert!(matches!(cut, RetrievalError::DamagedCorpus { .. }), "{cut}");
    let other = write(json!(payload.replace("\"passages\":2", "\"passages\":3")));
    assert!(matches!(other, RetrievalError::DamagedCorpus { .. }), "{other}");
    let never = write(Value::Null);
    assert!(matches!(never, RetrievalError::UnfinishedCorpus { .. }), "{never}");
    for error in [older, cut, other, never] {
        assert!(error.hint().is_some_and(|hint| hint.contains("fidelio index")));
    }
}
