//! Runs that show examples, on an engine without a model and a tokenizer of a few hundred tokens.

use std::{collections::BTreeSet, path::Path};

use fidelio::{
    DataArgs, Error, Event, Flow, Job, Machine, Model, Observer, Results, RunFile, Silent,
    SplitChoice, Training, backend::FakeBackend, config::Override, data::Format,
    prompting::Explanation, weights,
};
use serde_json::json;

use crate::machine_at;

const TOKENIZER: &str = include_str!("../../../prompting/tests/prompting/fixtures/tokenizer.json");
const CHATML: &str = include_str!("../../../prompting/tests/prompting/fixtures/chatml.jinja");

const RUN: &str = "\
model_type: llm
base_model: MODEL
prompt:
  task: good or bad?
  retrieval: {type: bm25, k: 3}
input_features: [{name: text, type: text}]
output_features: [{name: label, type: category}]
preprocessing: {split: fixed}
trainer: {type: none}
";

/// The kinds and what else says which rows are shown.
const KINDS: [&str; 9] = [
    "{type: random, k: 3}",
    "{type: random, k: 4, balance: true, show: turns}",
    "{type: bm25, k: 3}",
    "{type: bm25, k: 4, balance: true, diversity: 0.5, duplicates: skip, order: similar_first}",
    "{type: fixed, k: 3}",
    "{type: fixed, k: 2, balance: true, show: turns}",
    "{type: semantic, k: 3, model_name: MODEL}",
    "{type: semantic, k: 4, model_name: MODEL, balance: true, diversity: 0.5, show: turns}",
    "{type: hybrid, k: 3, model_name: MODEL, duplicates: skip, order: similar_first}",
];

/// Each row names itself, so that it is known wherever it turns up. Lines 2 to 19 are training rows,
/// then come two validation and four test rows.
fn table() -> String {
    let words = ["film", "food", "staff", "story"];
    let rows = (0..24).map(|row| {
        let (word, label) = (words[row % 4], ["good", "bad"][row % 2]);
        let split = [0, 1, 2][usize::from(row >= 18) + usize::from(row >= 20)];
        format!("row<{row}> the {word} is a {word},{label},{split}")
    });
    let lines: Vec<String> = ["text,label,split".to_owned()].into_iter().chain(rows).collect();
    lines.join("\n") + "\n"
}

fn named(row: usize) -> String {
    format!("row<{row}>")
}

/// A folder that opens as a model, with a chat template.
pub(crate) fn model(folder: &Path) {
    let config = json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 422,
        "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1,
        "num_attention_heads": 1, "num_key_value_heads": 1, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 4096, "bos_token_id": 0, "eos_token_id": 1,
    });
    let tokens = json!({ "bos_token": "<s>", "eos_token": "</s>", "chat_template": CHATML });
    let header = r#"{"model.norm.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let mut tensors = (header.len() as u64).to_le_bytes().to_vec();
    tensors.extend(header.bytes());
    tensors.extend([0; 4]);
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    write("config.json", config.to_string().as_bytes());
    write("tokenizer_config.json", tokens.to_string().as_bytes());
    write("tokenizer.json", TOKENIZER.as_bytes());
    write("model.safetensors", &tensors);
}

pub(crate) struct Case {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) machine: Machine,
}

impl Case {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        model(folder.path());
        let machine = machine_at(folder.path()).with_engine(|| Box::new(FakeBackend::default()));
        Self { folder, machine }
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> std::path::PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn run(&self, overrides: &[&str]) -> Result<RunFile, Error> {
        let text = RUN.replace("MODEL", self.folder.path().to_str().unwrap());
        let overrides: Vec<Override> = overrides.iter().map(|text| Override::new(*text)).collect();
        RunFile::parse("run.yaml", &text, &overrides)
    }

    fn with_kind(&self, kind: &str, overrides: &[&str]) -> RunFile {
        let kind = kind.replace("MODEL", self.folder.path().to_str().unwrap());
        let kind = format!("prompt.retrieval={kind}");
        self.run(&[&[kind.as_str()], overrides].concat()).unwrap()
    }

    pub(crate) fn model(&self) -> Model {
        let folder = self.folder.path().to_str().unwrap();
        Model::find(&self.machine, folder, &weights::Silent).unwrap()
    }

    fn data(&self, split: SplitChoice) -> DataArgs {
        DataArgs { split, ..DataArgs::of(self.write("table.csv", &table())) }
    }

    fn job(&self, run: &RunFile, split: SplitChoice) -> Job {
        let job = Job::prepare(&self.machine, run, self.model(), &self.data(split));
        job.unwrap_or_else(|error| panic!("{error}"))
    }
}

fn explained(job: &Job, row: usize) -> Explanation {
    job.explain(row).unwrap().remove(0)
}

/// What an observer was told.
#[derive(Default)]
pub(crate) struct Heard(pub(crate) Vec<String>);

impl Observer for Heard {
    fn on(&mut self, event: &Event) -> Flow {
        if let Event::Note(note) = event {
            self.0.push(note.clone());
        }
        Flow::Continue
    }
}

#[test]
fn no_row_is_its_own_example_and_none_of_the_other_splits_is_shown() {
    let case = Case::new();
    for kind in KINDS {
        for learns in [&[][..], &["trainer=finetune", "adapter=lora"]] {
            let run = case.with_kind(kind, learns);
            let job = case.job(&run, SplitChoice::Full);
            for row in 0..24 {
                let text = explained(&job, row).text;
                let shown: Vec<usize> = (0..24).filter(|it| text.contains(&named(*it))).collect();
                assert_eq!(text.matches(&named(row)).count(), 1, "{kind}: {text}");
                let others = shown.iter().filter(|it| **it != row);
                assert!(others.clone().all(|it| *it < 18), "{kind}: row {row} shows {shown:?}");
                let places = job.shown_examples(row).unwrap();
                let lines: BTreeSet<usize> = places.iter().map(|place| place.line).collect();
                assert_eq!(lines, others.map(|it| it + 2).collect(), "{kind}: row {row}");
                assert!(lines.len() >= 2 && lines.len() == places.len(), "{kind}: row {row}");
            }
        }
    }
}

#[test]
fn examples_are_the_same_whatever_else_is_asked() {
    let case = Case::new();
    for kind in KINDS {
        let run = case.with_kind(kind, &[]);
        let (full, test) = (case.job(&run, SplitChoice::Full), case.job(&run, SplitChoice::Test));
        for row in 0..4 {
            let [all, alone] = [(&full, 20 + row), (&test, row)]
                .map(|(job, row)| (job.shown_examples(row).unwrap(), explained(job, row)));
            assert_eq!(all, alone, "{kind}");
        }
        let other = case.with_kind(kind, &["random_seed=7"]);
        let other = case.job(&other, SplitChoice::Test);
        let differs = (0..4).any(|row| explained(&other, row) != explained(&test, row));
        // All texts share words with many rows: only those kinds draw that say so.
        assert_eq!(differs, kind.contains("random") || kind.contains("fixed"), "{kind}");
    }
}

#[test]
fn an_example_looks_like_the_prompt() {
    let case = Case::new();
    let job = case.job(&case.run(&["prompt.chat_template=false"]).unwrap(), SplitChoice::Test);
    let text = explained(&job, 0).text;
    assert!(text.starts_with("Task: good or bad?\n\n"), "{text}");
    assert!(text.ends_with("\n\nInput: row<20> the film is a film\n\nAnswer:\n"), "{text}");
    // The three most similar rows are about films, which are good.
    assert_eq!(
        text.matches(" the film is a film\n\nAnswer:\ngood\n\nInput: ").count(),
        3,
        "{text}"
    );

    let turns = case.with_kind("{type: bm25, k: 2, show: turns}", &[]);
    let text = explained(&case.job(&turns, SplitChoice::Test), 0).text;
    assert_eq!(text.matches("<|im_start|>user\n").count(), 3, "{text}");
    assert_eq!(text.matches("<|im_start|>assistant\ngood<|im_end|>").count(), 2, "{text}");
}

#[test]
fn a_measured_run_says_which_rows_it_showed() {
    let case = Case::new();
    for kind in KINDS {
        let run = case.with_kind(kind, &[]);
        let data = case.data(SplitChoice::Test);
        let mut job = Job::prepare_to_measure(&case.machine, &run, case.model(), &data).unwrap();
        let evaluation = job.evaluate(&mut Silent).unwrap();
        assert_eq!(evaluation.predictions.rows.len(), 4);
        for row in &evaluation.predictions.rows {
            let places = job.shown_examples(row.row).unwrap();
            let lines: Vec<usize> = places.iter().map(|place| place.line).collect();
            assert_eq!(row.examples, Some(lines), "{kind}");
        }
        let results = Results::create(&case.folder.path().join("out"), true).unwrap();
        let expected = Some(&evaluation.expected[..]);
        let file = results
            .write_predictions(&job, &evaluation.predictions, expected, Format::Jsonl)
            .unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["label_examples"], json!(evaluation.predictions.rows[0].examples));
        assert_eq!(first["label"], "good");
    }
}

/// The engine is exact: what a row gets must not depend on its batch, nor on its neighbours'
/// examples.
#[test]
fn labels_are_calibrated_behind_each_rows_own_examples() {
    let case = Case::new();
    for kind in KINDS {
        let probabilities = |batch: &str| -> Vec<Vec<f32>> {
            let run =
                case.with_kind(kind, &[batch, "output_features.0.decoder.label_score=calibrated"]);
            let rows = case.job(&run, SplitChoice::Test).predict(&mut Silent).unwrap().rows;
            rows.into_iter().map(|row| row.probabilities.unwrap()).collect()
        };
        let alone = probabilities("trainer.eval_batch_size=1");
        assert_eq!(probabilities("trainer.eval_batch_size=8"), alone, "{kind}");
        let run = case.with_kind(kind, &["output_features.0.decoder.label_score=sum"]);
        let rows = case.job(&run, SplitChoice::Test).predict(&mut Silent).unwrap().rows;
        assert_ne!(rows[0].probabilities.as_ref(), alone.first(), "{kind}");
    }
}

#[test]
fn training_rows_are_not_measured_with_one_another_as_examples() {
    let case = Case::new();
    let measure = |split, kind| {
        let run = case.with_kind(kind, &[]);
        Job::prepare_to_measure(&case.machine, &run, case.model(), &case.data(split)).map(drop)
    };
    for kind in KINDS {
        for split in [SplitChoice::Full, SplitChoice::Training] {
            let refused = measure(split, kind).unwrap_err();
            assert!(matches!(refused, Error::CandidatesMeasured { rows: 18 }), "{refused}");
            assert!(refused.hint().unwrap().contains("--split test"));
        }
        measure(SplitChoice::Validation, kind).unwrap();
    }
    measure(SplitChoice::Full, "{type: fixed, examples: [{text: a, label: good}]}").unwrap();
    let notes = case.job(&case.run(&[]).unwrap(), SplitChoice::Full).plan().data.notes.clone();
    assert!(notes.iter().any(|note| note.starts_with("18 of 24 rows")), "{notes:?}");
}

#[test]
fn rows_to_show_may_have_a_file_of_their_own_and_must_be_there() {
    let case = Case::new();
    let train = case.write("train.csv", "text,label\nrow<90> a film,good\nrow<91> a play,bad\n");
    let test = case.write("test.csv", "text\nrow<92> the film\n");
    let data = DataArgs {
        training_set: vec![train],
        test_set: vec![test.clone()],
        split: SplitChoice::Test,
        ..DataArgs::default()
    };
    let sets = ["preprocessing.split=random", "output_features.0.preprocessing.vocab=[good, bad]"];
    let run = case.with_kind("{type: bm25, k: 1}", &sets);
    let job = Job::prepare(&case.machine, &run, case.model(), &data).unwrap();
    let places = job.shown_examples(0).unwrap();
    assert!(places.len() == 1 && places[0].file.ends_with("train.csv") && places[0].line == 2);
    assert!(explained(&job, 0).text.contains("row<90>"));

    let alone = DataArgs { test_set: vec![test], split: SplitChoice::Test, ..DataArgs::default() };
    let refused = Job::prepare(&case.machine, &run, case.model(), &alone).unwrap_err();
    assert!(matches!(refused, Error::NoCandidates), "{refused}");
    let many = case.with_kind("{type: bm25, k: 19}", &[]);
    let data = case.data(SplitChoice::Test);
    let refused = Job::prepare(&case.machine, &many, case.model(), &data).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "19 examples are asked for, and there are 18 rows to choose from"
    );
}

#[test]
fn where_there_is_no_room_there_are_fewer_examples_and_that_is_said() {
    let case = Case::new();
    let run = case.with_kind("{type: bm25, k: 6, max_tokens: 150}", &[]);
    let mut job = case.job(&run, SplitChoice::Test);
    let survey = job.survey(&mut Silent).unwrap();
    let examples = survey.examples.unwrap();
    assert_eq!(examples.rows_with_fewer, 4);
    assert!(examples.tokens.max <= 150 && examples.tokens.p50 > 50, "{examples:?}");
    assert_eq!(survey.ledger.rows_with_fewer_examples, 4);
    assert!(survey.ledger.balances() && survey.ledger.cut > 0);
    let mut heard = Heard::default();
    let rows = job.predict(&mut heard).unwrap().rows;
    assert!(rows.iter().all(|row| (1..6).contains(&row.examples.as_ref().unwrap().len())));
    assert!(heard.0.iter().any(|note| note.contains("show fewer examples")), "{:?}", heard.0);

    let strict = case.with_kind("{type: bm25, k: 6, max_tokens: 150, over_budget: error}", &[]);
    let refused = case.job(&strict, SplitChoice::Test).predict(&mut Silent).unwrap_err();
    assert!(matches!(&refused, Error::Rows { problems, .. } if problems.len() == 4), "{refused}");
}

#[test]
fn rows_that_stand_among_the_examples_are_reported_or_passed_over() {
    let case = Case::new();
    let rows = "text,label,split\nA lovely FILM,good,0\nthe end,bad,0\nno more,bad,0\n\
                a  lovely film,good,2\nsomething else,bad,2\n";
    let data =
        DataArgs { split: SplitChoice::Test, ..DataArgs::of(case.write("copies.csv", rows)) };
    for (kind, shown) in [
        ("{type: bm25, k: 1}", true),
        ("{type: bm25, k: 1, duplicates: skip}", false),
        ("{type: semantic, k: 1, model_name: MODEL}", true),
        ("{type: semantic, k: 1, model_name: MODEL, duplicates: skip}", false),
        ("{type: hybrid, k: 1, model_name: MODEL}", true),
        ("{type: hybrid, k: 1, model_name: MODEL, duplicates: skip}", false),
    ] {
        let run = case.with_kind(kind, &[]);
        let mut job = Job::prepare(&case.machine, &run, case.model(), &data).unwrap();
        let found = job.survey(&mut Silent).unwrap().examples.unwrap();
        assert_eq!(found.duplicates.rows, 1);
        let pair = &found.duplicates.first[0];
        assert!(pair.contains("line 5 as ") && pair.ends_with("line 2"), "{pair}");
        let drawn = match kind.contains("bm25") {
            true if shown => 1,
            true => 2,
            false => 0,
        };
        assert_eq!(found.rows_with_drawn, drawn, "{kind}");
        assert_eq!(job.shown_examples(0).unwrap()[0].line == 2, shown);
        let mut heard = Heard::default();
        job.predict(&mut heard).unwrap();
        let said = if shown { "gives the answer away" } else { "passed over" };
        assert!(heard.0.iter().any(|note| note.contains(said)), "{:?}", heard.0);
    }
}

#[test]
fn rows_are_compared_by_their_vectors() {
    let case = Case::new();
    let rows = "text,label,split\nfood food food,good,0\nfilm film film,good,0\n\
                staff staff staff,bad,0\nfilm film food,good,2\n";
    let data = DataArgs { split: SplitChoice::Test, ..DataArgs::of(case.write("means.csv", rows)) };
    let sure = "output_features.0.preprocessing.vocab=[good, bad]";
    for kind in ["semantic", "hybrid"] {
        let kind = format!("{{type: {kind}, k: 3, model_name: MODEL, order: similar_first}}");
        let run = case.with_kind(&kind, &[sure]);
        let job = Job::prepare(&case.machine, &run, case.model(), &data).unwrap();
        let lines: Vec<usize> =
            job.shown_examples(0).unwrap().iter().map(|place| place.line).collect();
        assert_eq!(lines, [3, 2, 4], "{kind}");
        let found = job.survey(&mut Silent).unwrap().examples.unwrap();
        assert_eq!(found.rows_with_drawn, 0, "{kind}: everything is compared");
        let plan = job.plan().prompt.examples.clone().unwrap().vectors.unwrap();
        assert_eq!((plan.max_tokens, plan.normalize), (4096, false));
    }
}

#[test]
fn rows_that_are_too_long_to_compare_are_listed_or_cut() {
    let case = Case::new();
    let rows = format!(
        "text,label,split\na film,good,0\n{},bad,0\nstaff,bad,0\n\
                 food,good,2\n",
        "film ".repeat(5000)
    );
    let data = DataArgs { split: SplitChoice::Test, ..DataArgs::of(case.write("long.csv", &rows)) };
    let start = |rule: &str| {
        let kind = format!("{{type: semantic, k: 1, model_name: MODEL, long_texts: {rule}}}");
        let run = case.with_kind(&kind, &["output_features.0.preprocessing.vocab=[good, bad]"]);
        let job = Job::prepare(&case.machine, &run, case.model(), &data).unwrap();
        let mut heard = Heard::default();
        job.survey(&mut heard).map(|_| heard.0)
    };
    let refused = start("error").unwrap_err();
    let Error::Texts { problems, .. } = &refused else { panic!("{refused}") };
    assert_eq!((problems.len(), problems[0].place.as_ref().unwrap().line), (1, 3));
    assert!(refused.hint().unwrap().contains("long_texts: truncate"), "{refused:?}");
    let notes = start("truncate").unwrap();
    assert!(notes.iter().any(|note| note.starts_with("1 rows are compared by")), "{notes:?}");
}

#[test]
fn where_there_are_no_others_to_show_that_is_said() {
    let case = Case::new();
    let few = |kind, split| {
        let job = case.job(&case.with_kind(kind, &[]), split);
        job.survey(&mut Silent).unwrap().examples.unwrap().rows_with_too_few
    };
    // A training row has 17 others, a test row 18.
    assert_eq!(few("{type: random, k: 18}", SplitChoice::Full), 18);
    assert_eq!(few("{type: random, k: 18}", SplitChoice::Test), 0);
    assert_eq!(few("{type: random, k: 17}", SplitChoice::Full), 0);
}

#[test]
fn examples_of_the_run_file_are_shown_as_they_are() {
    let case = Case::new();
    let kind =
        "{type: fixed, examples: [{text: lovely, label: good}, {text: dreadful, label: bad}]}";
    let mut job = case.job(&case.with_kind(kind, &[]), SplitChoice::Full);
    for row in [0, 23] {
        let text = explained(&job, row).text;
        let places = ["lovely", "good", "dreadful", "bad", named(row).as_str()].map(|said| {
            let from = text.find("Input: ").unwrap();
            text[from..].find(said).unwrap_or_else(|| panic!("{said}: {text}"))
        });
        assert!(places.is_sorted(), "{text}");
    }
    assert_eq!(job.plan().prompt.examples.as_ref().unwrap().candidates, 2);
    let predictions = job.predict(&mut Silent).unwrap();
    assert!(
        predictions.rows.iter().all(|row| row.examples.is_none()),
        "they are no rows of a file"
    );
    assert!(!predictions.columns().contains(&"label_examples".to_owned()));

    let template = "prompt.template='{__task__} {__context__} {text} {split}:'";
    let run = case.with_kind(kind, &[template]);
    let refused = Job::prepare(&case.machine, &run, case.model(), &case.data(SplitChoice::Full));
    let Err(Error::RunFile(problems)) = refused else { panic!("a column is missing") };
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["prompt.retrieval.examples.0", "prompt.retrieval.examples.1"]);
    assert!(problems.to_string().contains("split"), "{problems}");
}

#[test]
fn a_format_that_names_no_column_points_into_the_run_file() {
    let case = Case::new();
    let kind = "{type: random, format: '{txt} is {label}'}";
    let run = case.with_kind(kind, &[]);
    let refused = Job::prepare(&case.machine, &run, case.model(), &case.data(SplitChoice::Test));
    let Err(Error::RunFile(problems)) = refused else { panic!("there is no such column") };
    let problem = problems.iter().next().unwrap();
    assert_eq!(problem.path, "prompt.retrieval.format");
    assert_eq!(problem.hint.as_deref(), Some("did you mean `text`?"));
}

#[test]
fn the_run_file_of_the_guide_works() {
    let case = Case::new();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text =
        std::fs::read_to_string(repository.join("docs/examples/sentiment-few-shot.yaml")).unwrap();
    let model = format!("base_model={}", json!(case.folder.path()));
    let sets = [&model, "preprocessing.sample_size=400"].map(Override::new);
    let run = RunFile::parse("few-shot.yaml", &text, &sets).unwrap();
    let data = DataArgs {
        split: SplitChoice::Test,
        ..DataArgs::of(repository.join("datasets/sentiment.csv.gz"))
    };
    let job = Job::prepare_to_measure(&case.machine, &run, case.model(), &data).unwrap();
    let survey = job.survey(&mut Silent).unwrap();
    assert!(survey.problems.is_empty() && survey.rows == 80, "{} rows", survey.rows);
    assert_eq!(survey.examples.unwrap().rows_with_fewer, 0);
    for row in 0..10 {
        let text = explained(&job, row).text;
        let said = |label: &str| text.matches(&format!("assistant\n{label}<|im_end|>")).count();
        assert_eq!((said("negative"), said("positive")), (2, 2), "{text}");
    }
}

#[test]
fn rows_are_learnt_behind_their_examples() {
    let case = Case::new();
    for kind in KINDS {
        let run = case.with_kind(kind, &["trainer=finetune", "adapter=lora"]);
        let data = case.data(SplitChoice::Full);
        let training =
            Training::prepare(&case.machine, &run, case.model(), &data, &mut Silent).unwrap();
        assert_eq!(training.rows(), (18, 2), "{kind}");
        let job = case.job(&run, SplitChoice::Training);
        for row in 0..18 {
            let tokens = explained(&job, row).tokens;
            let learnt: String =
                tokens.iter().filter(|it| it.learnt).map(|it| &*it.piece).collect();
            let label = ["good", "bad"][row % 2];
            assert!(learnt.starts_with(label) && learnt.len() < label.len() + 12, "{learnt}");
        }
    }
}
