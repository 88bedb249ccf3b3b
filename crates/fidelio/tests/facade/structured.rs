//! Answers with a form, on the real default model over real mails.

use std::path::{Path, PathBuf};

use fidelio::{
    AnswerForm, DataArgs, Error, Generator, Job, Model, Opening, Results, RunFile, Silent,
    SplitChoice,
    config::Override,
    data::Format,
    generate::{Decoding, FinishReason, Grammar, write_json},
    weights,
};
use serde_json::{Value, json};

use crate::{default_model, machine};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn parse(text: &str, sets: &[&str]) -> RunFile {
    let sets: Vec<Override> = sets.iter().map(|set| Override::new(*set)).collect();
    RunFile::parse("run.yaml", text, &sets).unwrap_or_else(|error| match error {
        Error::RunFile(problems) => panic!("{problems}"),
        other => panic!("{other}"),
    })
}

fn example(model: &Path, more: &[&str]) -> RunFile {
    let text = std::fs::read_to_string(repository().join("docs/examples/extraction.yaml")).unwrap();
    let model = format!("base_model={}", model.display());
    parse(&text, &[&[&*model], more].concat())
}

fn mails() -> DataArgs {
    let file = repository().join("datasets/spam.csv.gz");
    DataArgs { split: SplitChoice::Full, ..DataArgs::of(file) }
}

fn job(run: &RunFile, data: &DataArgs) -> Job {
    let model = Model::find(&machine(), &run.config().base_model, &weights::Silent).unwrap();
    Job::prepare(&machine(), run, model, data).unwrap()
}

#[test]
fn every_answer_about_a_mail_is_json_of_the_schema_and_becomes_a_row() {
    let test = "every_answer_about_a_mail_is_json_of_the_schema_and_becomes_a_row";
    let Some(model) = default_model(test) else { return };
    let sampled = ["generation.do_sample=true", "generation.temperature=1.5"];
    for more in [&[][..], &sampled] {
        let run = example(&model, &[&["preprocessing.sample_size=6"], more].concat());
        let mut job = job(&run, &mails());
        let predictions = job.predict(&mut Silent).unwrap();
        assert_eq!(predictions.rows.len(), 6);
        for row in &predictions.rows {
            let text = row.response.as_deref().unwrap();
            assert_eq!(row.finish_reason, Some(FinishReason::Grammar), "{text}");
            let value: Value = serde_json::from_str(text).unwrap();
            let kinds = ["advertisement", "newsletter", "personal mail", "discussion"];
            assert!(kinds.contains(&value["kind"].as_str().unwrap()), "{text}");
            assert!(value["asks_for_money"].is_boolean(), "{text}");
            assert!(value["links"].as_u64().unwrap() < 100, "{text}");
            assert!(value["subject"].as_str().unwrap().chars().count() <= 60, "{text}");
            assert_eq!(value.as_object().unwrap().len(), 4, "{text}");
        }
        let folder = tempfile::tempdir().unwrap();
        let results = Results::create(&folder.path().join("out"), false).unwrap();
        let file = results.write_predictions(&job, &predictions, None, Format::Jsonl).unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        for (line, row) in text.lines().zip(&predictions.rows) {
            let written: Value = serde_json::from_str(line).unwrap();
            let value: Value = serde_json::from_str(row.response.as_deref().unwrap()).unwrap();
            for field in ["kind", "asks_for_money", "links", "subject"] {
                assert_eq!(written[format!("facts_{field}")], value[field], "{line}");
            }
            assert!(written.get("facts_probability").is_none(), "{line}");
        }
    }
}

#[test]
fn an_answer_that_is_cut_has_no_fields_and_says_so() {
    let test = "an_answer_that_is_cut_has_no_fields_and_says_so";
    let Some(model) = default_model(test) else { return };
    let sets = ["preprocessing.sample_size=2", "generation.max_new_tokens=12"];
    let mut job = job(&example(&model, &sets), &mails());
    let predictions = job.predict(&mut Silent).unwrap();
    let columns = predictions.columns();
    let kind = columns.iter().position(|column| column == "facts_kind").unwrap();
    for row in &predictions.rows {
        assert_eq!(row.finish_reason, Some(FinishReason::Length));
        let cells = predictions.cells(row, &|_| String::new());
        assert_eq!((cells.len(), &cells[kind]), (columns.len(), &Value::Null));
    }
}

#[test]
fn the_model_says_the_same_alone_as_among_others_and_is_asked_less_often() {
    let test = "the_model_says_the_same_alone_as_among_others_and_is_asked_less_often";
    let Some(model) = default_model(test) else { return };
    let said = |sets: &[&str]| {
        let run = example(&model, &[&["preprocessing.sample_size=4"], sets].concat());
        let predictions = job(&run, &mails()).predict(&mut Silent).unwrap();
        predictions.rows.into_iter().map(|row| row.response.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(said(&[]), said(&["trainer.eval_batch_size=1"]));

    let mut generator = Generator::open(
        &machine(),
        model.to_str().unwrap(),
        "auto",
        &Opening::default(),
        &weights::Silent,
    )
    .unwrap();
    let value = json!({"name": "Ada", "born": 1815, "fields": ["mathematics", "machines"]});
    let grammar = Grammar::json_schema(&json!({"const": value})).unwrap();
    generator.hold_to(Some(grammar));
    let prompt = generator.prompt("Who was Ada Lovelace?", false, None).unwrap();
    let decoding = Decoding { max_new_tokens: 100, ..generator.decoding().unwrap() };
    let mut pieces = 0;
    let count = &mut |_: &str| {
        pieces += 1;
        fidelio::Flow::Continue
    };
    let generated = generator.generate(&prompt, decoding, count).unwrap();
    assert_eq!(generated.text, write_json(&value));
    assert_eq!((generated.finish_reason, pieces), ("stop", 1), "nothing had to be computed");
}

#[test]
fn the_blocks_of_the_guide_are_fine() {
    let guide =
        std::fs::read_to_string(repository().join("docs/guide/structured-output.md")).unwrap();
    let blocks: Vec<&str> =
        guide.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let keys: Vec<&str> = blocks
        .iter()
        .map(|block| {
            let run = "model_type: llm\nbase_model: m\ninput_features: [{name: text}]\n";
            parse(&format!("{run}{block}"), &[]).answer_form().unwrap().key()
        })
        .collect();
    assert_eq!(keys, ["json_schema", "regex", "grammar"]);
    let sum = parse(
        &format!("model_type: llm\nbase_model: m\ninput_features: [{{name: text}}]\n{}", blocks[2]),
        &[],
    );
    let grammar = sum.answer_form().unwrap().grammar();
    assert!(grammar.accepts("1 + 20 * (3 + 4)") && !grammar.accepts("1 +"));
}

#[test]
fn labels_that_do_not_fit_are_errors_with_their_row() {
    let test = "labels_that_do_not_fit_are_errors_with_their_row";
    let Some(model) = default_model(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("mails.jsonl");
    let rows = [
        r#"{"kind": "offer", "amount": 3}"#,
        r#"{"kind":"offer","amount":3}"#,
        r#"{"kind": "order", "amount": 3}"#,
        "offer",
    ];
    let lines: Vec<String> =
        rows.iter().map(|label| json!({"mail": "Hello", "facts": label}).to_string()).collect();
    std::fs::write(&table, lines.join("\n")).unwrap();
    let text = "\
model_type: llm
base_model: MODEL
input_features: [{name: mail, type: text}]
output_features:
  - name: facts
    type: text
    decoder:
      type: text_parser
      json_schema:
        type: object
        properties: {kind: {enum: [invoice, offer]}, amount: {type: integer}}
        required: [kind, amount]
        additionalProperties: false
adapter: lora
trainer: {type: finetune}
";
    let run = parse(&text.replace("MODEL", model.to_str().unwrap()), &[]);
    assert_eq!(
        run.answer_form().map(AnswerForm::fields),
        Some(&["kind".into(), "amount".into()][..])
    );
    let data = DataArgs { split: SplitChoice::Full, ..DataArgs::of(table) };
    let survey = job(&run, &data).survey(&mut Silent).unwrap();
    let found: Vec<(usize, String)> =
        survey.problems.iter().map(|it| (it.place.line, it.error.to_string())).collect();
    let expected = [
        (2, "`facts` is not written as answers are: `{\"kind\": \"offer\", \"amount\": 3}`"),
        (3, "`facts` does not fit `json_schema`: it departs from it behind `{\"kind\": \"o`"),
        (4, "`facts` does not fit `json_schema`: it departs from it behind ``"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((line, message), (at, text)) in found.iter().zip(expected) {
        assert_eq!((*line, message.as_str()), (at, text));
    }
}
