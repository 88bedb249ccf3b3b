//! `fidelio embed`, with the default embedder where the cache has it.

use crate::place::{Place, cache_of};

const TABLE: &str = "\
id,text
7,A man is eating food.
8,A man eats a piece of bread.
9,
10,A man is eating food.
";

#[test]
fn what_cannot_be_meant_is_refused_before_a_model_is_looked_for() {
    let place = Place::new().with("t.csv", TABLE).with("there.csv", "");
    let run =
        |more: &[&str]| place.run(&[&["embed", "--dataset", "t.csv"], more].concat()).expect(2);
    let said = run(&["--column", "text", "--output", "there.csv"]);
    assert!(said.stderr.contains("`there.csv` is there already"), "{said}");
    let said = run(&["--column", "text", "--output", "out.xyz"]);
    assert!(said.stderr.contains("out.xyz"), "{said}");
    let said = run(&["--column", "text"]);
    assert!(said.stderr.contains("--output"), "{said}");
}

#[test]
fn vectors_stand_beside_their_texts_and_a_second_run_computes_nothing() {
    let Some(cache) = cache_of("models/all-MiniLM-L6-v2/model.safetensors") else { return };
    let place = Place::new().with("t.csv", TABLE);
    // A cache of its own, so that nothing is in it; the model is that of the user's.
    let model = format!("{cache}/models/all-MiniLM-L6-v2");
    let embed = |output: &str, more: &[&str]| {
        let arguments =
            ["embed", "--json", "--dataset", "t.csv", "--column", "text", "--model", &model];
        place.run(&[&arguments[..], &["--output", output], more].concat())
    };
    let said = embed("out.jsonl", &[]).expect(0);
    let table = said.json()["table"].clone();
    assert_eq!(
        (&table["rows"], &table["width"], &table["without_text"]),
        (&4.into(), &384.into(), &1.into())
    );
    assert_eq!((&table["usage"]["texts"], &table["usage"]["computed"]), (&3.into(), &2.into()));
    let text = place.read("out.jsonl");
    let rows: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows.len(), &rows[0]["id"]), (4, &"7".into()));
    let first = rows[0]["text_embedding"][0].as_f64().unwrap();
    assert!((first - 0.03324).abs() < 1e-4, "{first}");
    assert!(rows[2]["text_embedding"].is_null(), "a cell without a text");
    assert_eq!(rows[3]["text_embedding"], rows[0]["text_embedding"]);

    let again = embed("out.parquet", &[]).expect(0).json()["table"]["usage"].clone();
    assert_eq!((&again["computed"], &again["from_cache"]), (&0.into(), &2.into()));
    assert!(place.path("out.parquet").metadata().unwrap().len() > 1000);
    let said = embed("out.csv", &["--normalize=false", "--pooling", "cls"]).expect(0);
    assert_eq!(said.json()["table"]["usage"]["computed"], 2, "other settings, other vectors");
    assert!(
        place.read("out.csv").starts_with("id,text,text_embedding\n7,A man is eating food.,\"[")
    );
}

#[test]
fn a_text_that_is_too_long_names_its_row_or_is_cut_and_counted() {
    let Some(cache) = cache_of("models/all-MiniLM-L6-v2/model.safetensors") else { return };
    let place = Place::new().with("t.csv", &format!("text\nshort\n{}\n", "long ".repeat(300)));
    let model = format!("{cache}/models/all-MiniLM-L6-v2");
    let embed = |more: &[&str]| {
        let arguments = ["embed", "--dataset", "t.csv", "--column", "text", "--model", &model];
        place.run(&[&arguments[..], &["--output", "out.jsonl"], more].concat())
    };
    let said = embed(&[]).expect(2);
    assert!(said.stderr.contains("`t.csv` line 3 has 302 tokens, at most 256 fit"), "{said}");
    assert!(said.stderr.contains("--long-texts truncate"), "{said}");
    assert!(!place.path("out.jsonl").exists());
    let said = embed(&["--long-texts", "truncate"]).expect(0);
    assert!(said.stderr.contains("1 text cut: 46 tokens are in no vector"), "{said}");
}
