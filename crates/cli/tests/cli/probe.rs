//! Run files of `model_type: ecd`, with the default embedder where the cache has it.

use crate::place::{Place, cache_of};

/// `MODEL` is a path.
const RUN: &str = "\
model_type: ecd
input_features:
  - name: text
    encoder: {type: auto_transformer, pretrained_model_name_or_path: MODEL}
output_features:
  - name: label
    type: category
";

fn table() -> String {
    let (food, film) = (["bread", "soup", "cheese", "fish"], ["film", "actor", "plot", "scene"]);
    let row = |i: usize| {
        let (words, label) = [(food, "food"), (film, "film")][i % 2];
        let word = words[i / 2 % 4];
        format!("The {word} was number {i} of all that we had.,{label}\n")
    };
    (0..60).fold("text,label\n".to_owned(), |table, i| table + &row(i))
}

#[test]
fn commands_for_language_models_say_that_it_is_none() {
    let place = Place::new().with("probe.yaml", RUN).with("t.csv", &table());
    let said = place.run(&["plan", "-c", "probe.yaml", "--dataset", "t.csv"]).expect(2);
    assert!(said.stderr.contains("is a head on vectors"), "{said}");
    assert!(said.stderr.contains("1│ model_type: ecd"), "{said}");
    let said =
        place.run(&["check", "-c", "probe.yaml", "--dataset", "t.csv", "--row", "1"]).expect(2);
    assert!(said.stderr.contains("`--row` shows a prompt"), "{said}");
    let rendered = place.run(&["render-config", "-c", "probe.yaml"]).expect(0);
    assert!(rendered.stdout.contains("regularization_lambda: auto"), "{rendered}");
    let said = place
        .run(&["train", "-c", "probe.yaml", "--dataset", "t.csv", "--set", "trainer.epochs=3"])
        .expect(2);
    assert!(said.stderr.contains("solved to its optimum"), "{said}");
}

#[test]
fn a_head_is_learnt_measured_and_used() {
    let Some(cache) = cache_of("models/all-MiniLM-L6-v2/model.safetensors") else { return };
    let model = format!("{cache}/models/all-MiniLM-L6-v2");
    let place =
        Place::new().with("probe.yaml", &RUN.replace("MODEL", &model)).with("t.csv", &table());
    let data = ["--dataset", "t.csv"];
    let run = |command: &[&str]| place.run(&[command, &data].concat());
    let said = run(&["check", "-c", "probe.yaml"]).expect(0);
    assert!(said.stdout.contains("film 2"), "{said}");

    let said = run(&["experiment", "--json", "-c", "probe.yaml", "-o", "out"]).expect(0);
    let measured = said.json();
    assert_eq!((&measured["rows"], &measured["accuracy"]["value"]), (&12.into(), &1.0.into()));
    assert_eq!(measured["headline"]["metric"], "accuracy");
    let statistics = place.read("out/test/statistics.json");
    assert!(statistics.contains("confusion_matrix"), "{statistics}");

    let again = run(&["evaluate", "--json", "-m", "out", "--split", "test", "-o", "again"]);
    let again = again.expect(0).json();
    assert_eq!(again["report"], measured["report"]);
    assert_eq!(again["usage"]["computed"], 0, "the vectors are on disk");

    let said = place.run(&["visualize", "out"]).expect(2);
    assert!(said.stderr.contains("is a head on vectors"), "{said}");
    run(&["predict", "-m", "out", "-o", "answers"]).expect(0);
    let answers = place.read("answers/predictions.csv");
    assert_eq!(answers.lines().count(), 61);
    assert!(
        answers.starts_with(
            "row,line,label_predictions,label_probabilities,label_probability,\
             label_probabilities_film,label_probabilities_food\n0,2,food,"
        ),
        "{answers}"
    );
    let said = run(&["experiment", "-c", "probe.yaml", "--k-fold", "3", "-o", "folds"]).expect(0);
    assert!(said.stdout.contains("3 folds"), "{said}");
    let said = run(&["evaluate", "-c", "probe.yaml"]).expect(2);
    assert!(said.stderr.contains("none has been learnt yet"), "{said}");
}
