//! Heads on vectors: whole runs on an engine without a model.

use std::{fmt::Write as _, path::PathBuf};

use fidelio::{
    AnyRunFile, DataArgs, Error, FittedProbe, Machine, ProbeEvaluation, ProbeFile, ProbeRows,
    ProbeSummary, ProbeTraining, RegularizedBy, Results, Silent, SplitChoice, backend::FakeBackend,
    config::Override, eval::FeatureStatistics, weights,
};

use crate::{examples, machine_at};

/// A folder that is home, cache and model at once, with a table.
struct Case {
    folder: tempfile::TempDir,
    machine: Machine,
}

const WORDS: [&str; 6] = ["food", "staff", "film", "room", "music", "wine"];

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        examples::model(folder.path());
        let mut rows = String::from("text,other,label,spam,stars\n");
        for i in 0..120_usize {
            let (a, b) = (WORDS[i % 6], WORDS[i / 6 % 6]);
            let (label, spam) = (["one", "two", "three"][i % 3], ["no", "yes"][i % 2]);
            let stars = (i % 6) as f64 + 0.25;
            writeln!(rows, "{a},the {a} and the {b},{label},{spam},{stars}").unwrap();
        }
        std::fs::write(folder.path().join("rows.csv"), rows).unwrap();
        let machine = machine_at(folder.path()).with_engine(|| Box::new(FakeBackend::default()));
        Self { folder, machine }
    }

    fn run(&self, output: &str, more: &str) -> ProbeFile {
        let model = self.folder.path().to_str().unwrap();
        let encoder = format!("{{type: auto_transformer, pretrained_model_name_or_path: {model}}}");
        let text = format!(
            "model_type: ecd\n\
             input_features: [{{name: text, encoder: {encoder}}}, {{name: other, encoder: {encoder}}}]\n\
             output_features: [{output}]\n{more}\n"
        );
        ProbeFile::parse("probe.yaml", &text, &[]).unwrap_or_else(|error| match error {
            Error::RunFile(problems) => panic!("{problems}"),
            error => panic!("{error}"),
        })
    }

    fn data(&self, split: SplitChoice) -> DataArgs {
        DataArgs { split, ..DataArgs::of(self.folder.path().join("rows.csv")) }
    }

    fn training(&self, run: &ProbeFile) -> Result<ProbeTraining, Error> {
        let data = self.data(SplitChoice::Full);
        ProbeTraining::prepare(&self.machine, run, &data, &weights::Silent)
    }

    /// Fits a head into a folder, finds it again there and measures it on the test rows.
    fn experiment(&self, run: &ProbeFile) -> (ProbeSummary, ProbeEvaluation, PathBuf) {
        let place = self.folder.path().join("run");
        let results = Results::create(&place, true).unwrap();
        let training = self.training(run).unwrap();
        let (mut here, summary) = training.run(&results, &mut Silent).unwrap();
        let AnyRunFile::Probe(run) = AnyRunFile::of_run(&place, &[], false).unwrap() else {
            panic!("the run file is a head's");
        };
        let mut again = FittedProbe::of_run(&self.machine, &run, &weights::Silent).unwrap();
        let rows = ProbeRows::read(&run, &self.data(SplitChoice::Test), true).unwrap();
        let evaluation = again.evaluate(&rows, &mut Silent).unwrap();
        assert_eq!(
            here.evaluate(&rows, &mut Silent).unwrap().predictions.rows,
            evaluation.predictions.rows
        );
        (summary, evaluation, place)
    }
}

#[test]
fn labels_are_learnt_and_found_again() {
    let case = Case::new();
    let run = case.run("{name: label, type: category}", "");
    let (summary, evaluation, place) = case.experiment(&run);
    assert_eq!(summary.regularized_by, RegularizedBy::ValidationRows);
    assert_eq!(summary.labels.unwrap(), ["one", "three", "two"]);
    assert_eq!(summary.encoders.len(), 1, "equal encoders are one");
    // Every text stands in the table several times, so a head that reads them is always right.
    let FeatureStatistics::Category(statistics) = &evaluation.report.features["label"] else {
        panic!("{:?}", evaluation.report);
    };
    assert!(statistics.accuracy.value > 0.99, "{}", evaluation.report);
    assert_eq!(evaluation.headline.unwrap().metric, "accuracy");
    for file in ["run.yaml", "description.json", "provenance.json", "model/head.safetensors"] {
        assert!(place.join(file).exists(), "{file}");
    }
}

#[test]
fn vectors_are_computed_once() {
    let case = Case::new();
    let run = case.run("{name: label, type: category}", "");
    let first = case.training(&run).unwrap().fit(&mut Silent).unwrap().1.vectors;
    assert!(first.computed > 0 && first.from_cache == 0, "{first:?}");
    let other = case.run("{name: spam, type: binary}", "trainer: {regularization_lambda: 0.1}");
    let second = case.training(&other).unwrap().fit(&mut Silent).unwrap().1.vectors;
    assert_eq!((second.computed, second.from_cache), (0, first.computed));
    let anew = "input_features.0.preprocessing.cache_encoder_embeddings=false";
    let anew = other.changed([Override::new(anew)]).unwrap();
    let third = case.training(&anew).unwrap().fit(&mut Silent).unwrap().1.vectors;
    assert!(third.computed > 0, "{third:?}");
}

#[test]
fn of_two_values_the_threshold_decides() {
    let case = Case::new();
    let run = case.run("{name: spam, type: binary}", "");
    let (summary, evaluation, _) = case.experiment(&run);
    assert_eq!(summary.labels.unwrap(), ["no", "yes"], "the true one is the second");
    let answers = &evaluation.predictions.rows;
    assert!(answers.iter().any(|it| it.label.as_deref() == Some("no")));
    let never = run.changed([Override::new("output_features.0.threshold=1")]).unwrap();
    let (_, evaluation, _) = case.experiment(&never);
    let answers = &evaluation.predictions.rows;
    assert!(answers.iter().all(|it| it.label.as_deref() == Some("no")));
}

#[test]
fn numbers_are_learnt() {
    let case = Case::new();
    let run = case.run("{name: stars, type: number}", "");
    let (_, evaluation, _) = case.experiment(&run);
    let FeatureStatistics::Number(statistics) = &evaluation.report.features["stars"] else {
        panic!("{:?}", evaluation.report);
    };
    assert!(statistics.beats_baseline(), "{}", evaluation.report);
    assert_eq!(evaluation.headline.unwrap().metric, "root_mean_squared_error");
    let columns = evaluation.predictions.columns();
    assert_eq!(columns, ["row", "line", "stars_predictions"]);
    let words = case.run("{name: words, type: number, column: label}", "");
    assert!(matches!(case.training(&words), Err(Error::NotANumber { .. })));
}

#[test]
fn without_validation_rows_the_training_rows_judge_each_other() {
    let case = Case::new();
    let split = "preprocessing: {split: {type: random, probabilities: [0.8, 0, 0.2]}}";
    let run = case.run("{name: label, type: category}", split);
    let (_, summary) = case.training(&run).unwrap().fit(&mut Silent).unwrap();
    assert_eq!(summary.regularized_by, RegularizedBy::CrossValidation);
    let more = "trainer: {regularization_lambda: 0.01}";
    let run = case.run("{name: label, type: category}", more);
    let (_, summary) = case.training(&run).unwrap().fit(&mut Silent).unwrap();
    assert_eq!((summary.regularized_by, summary.tried), (RegularizedBy::RunFile, None));
}

#[test]
fn labels_that_weigh_more_are_answered_more() {
    let case = Case::new();
    let answered = |more: &str| {
        let output = format!("{{name: label, type: category, column: spam{more}}}");
        let run = case.run(&output, "trainer: {regularization_lambda: 1}");
        let mut fitted = case.training(&run).unwrap().fit(&mut Silent).unwrap().0;
        let rows = ProbeRows::read(&run, &case.data(SplitChoice::Full), false).unwrap();
        let answers = fitted.predict(&rows, &mut Silent).unwrap().rows;
        answers.iter().map(|it| it.probabilities.as_ref().unwrap()[1]).sum::<f64>()
    };
    assert!(answered(", loss: {class_weights: {yes: 9}}") > answered("") + 10.0);
    let run = case.run("{name: label, type: category, loss: {class_weights: {fuor: 2}}}", "");
    let Err(Error::RunFile(problems)) = case.training(&run) else { panic!("it has no such label") };
    assert!(problems.to_string().contains("`fuor` has a weight, and no row"), "{problems}");
}

#[test]
fn labels_without_training_rows_are_said_and_never_answered() {
    let case = Case::new();
    let vocab = "{name: label, type: category, preprocessing: {vocab: [one, two, three, four]}}";
    let run = case.run(vocab, "");
    let training = case.training(&run).unwrap();
    assert!(training.notes().iter().any(|note| note.contains("`four`")), "{:?}", training.notes());
    let (_, evaluation, _) = case.experiment(&run);
    let FeatureStatistics::Category(statistics) = &evaluation.report.features["label"] else {
        panic!("{:?}", evaluation.report);
    };
    assert_eq!(statistics.per_class["four"].support, 0);
    assert!(statistics.accuracy.value > 0.99);
}

#[test]
fn a_head_is_used_on_its_own_encoder_alone() {
    let case = Case::new();
    let run = case.run("{name: label, type: category}", "");
    assert!(matches!(
        FittedProbe::of_run(&case.machine, &run, &weights::Silent),
        Err(Error::NoHead)
    ));
    let (.., place) = case.experiment(&run);
    let provenance = place.join("provenance.json");
    let text = std::fs::read_to_string(&provenance).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["encoders"][0]["weights_sha256"] = "00".into();
    std::fs::write(&provenance, value.to_string()).unwrap();
    let open = |allowed| {
        let AnyRunFile::Probe(run) = AnyRunFile::of_run(&place, &[], allowed).unwrap() else {
            panic!("the run file is a head's");
        };
        FittedProbe::of_run(&case.machine, &run, &weights::Silent)
    };
    assert!(matches!(open(false), Err(Error::OtherWeights { .. })));
    open(true).unwrap();
}

#[test]
fn an_encoder_is_of_the_kind_that_the_run_file_says() {
    let case = Case::new();
    let model = case.folder.path().to_str().unwrap();
    let text = format!(
        "model_type: ecd\n\
         input_features: [{{name: text, encoder: {{type: bert, pretrained_model_name_or_path: {model}}}}}]\n\
         output_features: [{{name: label, type: category}}]\n"
    );
    let run = ProbeFile::parse("probe.yaml", &text, &[]).unwrap();
    let Err(Error::RunFile(problems)) = case.training(&run) else { panic!("it is no BERT") };
    let said = problems.to_string();
    assert!(said.contains("is of the architecture `llama`"), "{said}");
}

#[test]
fn a_head_stands_beside_a_language_model() {
    let case = Case::new();
    let run = fidelio::RunFile::parse(
        "run.yaml",
        "model_type: llm\nbase_model: m\ninput_features: [{name: text}]\n\
         output_features: [{name: label, type: category}]\n\
         preprocessing: {split: {type: stratify, column: label}, global_max_sequence_length: 99}\n\
         random_seed: 7\n",
        &[],
    )
    .unwrap();
    let model = case.folder.path().to_str().unwrap();
    let beside = ProbeFile::beside(&run, &["text", "other"], model).unwrap();
    let config = beside.config();
    assert_eq!(config.random_seed, 7);
    assert_eq!(config.preprocessing.split, run.config().preprocessing.split);
    assert_eq!(config.input_features.len(), 2);
    let (_, summary) = case.training(&beside).unwrap().fit(&mut Silent).unwrap();
    assert_eq!(summary.labels.unwrap(), ["one", "three", "two"]);
}
