//! Plain documents: measured as transformers measures them (`make_document_goldens.py`), and learnt.

use fidelio::{
    DataArgs, Error, Job, Model, Results, RunFile, Silent, SplitChoice, Training, config::Override,
    eval::FeatureStatistics, trainer, weights,
};
use serde::Deserialize;

use crate::{default_model, machine};

#[derive(Deserialize)]
struct Golden {
    context: usize,
    overlap: usize,
    documents: Vec<Document>,
}

#[derive(Deserialize)]
struct Document {
    text: String,
    tokens: usize,
    nll: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("fixtures/documents.json")).unwrap()
}

struct Case {
    run: RunFile,
    data: DataArgs,
    folder: tempfile::TempDir,
}

/// A run over the golden documents.
fn case(test: &str, how: &[&str]) -> Option<Case> {
    let (model, golden) = (default_model(test)?, golden());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("documents.jsonl");
    let line =
        |document: &Document| serde_json::json!({ "text": document.text }).to_string() + "\n";
    std::fs::write(&file, golden.documents.iter().map(line).collect::<String>()).unwrap();
    let text = format!(
        "model_type: llm\nbase_model: {}\ninput_features: [{{name: document}}]\n\
         output_features: [{{name: text, type: text}}]\n\
         prompt: {{document: text, overflow: {{rule: window, overlap: {}}}}}\n\
         preprocessing: {{global_max_sequence_length: {}}}\n",
        model.display(),
        golden.overlap,
        golden.context
    );
    let how: Vec<Override> = how.iter().map(|key| Override::new(*key)).collect();
    let run = RunFile::parse("run.yaml", &text, &how).unwrap();
    Some(Case { run, data: DataArgs::of(file), folder })
}

fn model(run: &RunFile) -> Model {
    Model::find(&machine(), &run.base_model(), &weights::Silent).unwrap()
}

/// Mean loss, and how many tokens it is of.
fn loss(run: &RunFile, data: &DataArgs) -> (f64, u64) {
    let mut job = Job::prepare_to_measure(&machine(), run, model(run), data).unwrap();
    let evaluation = job.evaluate(&mut Silent).unwrap();
    let FeatureStatistics::Document(read) = &evaluation.report.features[0] else {
        panic!("{:?}", evaluation.report)
    };
    assert!((read.perplexity.value - read.loss.value.exp()).abs() < 1e-9);
    assert_eq!(evaluation.headline.unwrap().metric, "loss");
    (read.loss.value, read.tokens)
}

#[test]
fn perplexity_in_windows_is_that_of_transformers() {
    let Some(case) = case("perplexity_in_windows_is_that_of_transformers", &[]) else { return };
    let golden = golden();
    let nll: f64 = golden.documents.iter().map(|document| document.nll).sum();
    let tokens: usize = golden.documents.iter().map(|document| document.tokens - 1).sum();
    let (loss, read) = loss(&case.run, &case.data);
    assert_eq!(read, tokens as u64);
    assert!(
        (loss - nll / tokens as f64).abs() < 1e-4,
        "{loss}, transformers {}",
        nll / tokens as f64
    );
}

#[test]
fn documents_are_learnt_and_become_likelier() {
    let how = [
        "trainer={type: finetune, train_steps: 6, batch_size: 4, learning_rate: 5e-3}",
        "adapter=lora",
    ];
    let Some(case) = case("documents_are_learnt_and_become_likelier", &how) else { return };
    let data = DataArgs { training_set: case.data.dataset.clone(), ..DataArgs::default() };
    let mut training =
        Training::prepare(&machine(), &case.run, model(&case.run), &data, &mut Silent).unwrap();
    let (ledger, golden) = (training.ledger(), golden());
    let tokens: usize = golden.documents.iter().map(|document| document.tokens).sum();
    assert_eq!((ledger.read, ledger.learnt, ledger.masked), (tokens, tokens - 2, 2));
    assert!(ledger.balances() && ledger.repeated > 0, "{ledger:?}");

    let folder = case.folder.path().join("run");
    let results = Results::create(&folder, false).unwrap();
    training.run(&results, false, &mut trainer::Silent).unwrap();
    let before = [Override::new("trainer=none"), Override::new("adapter=")];
    let untuned = RunFile::parse("run.yaml", &case.run.document().render(), &before).unwrap();
    let tuned = RunFile::of_run(&folder, &[]).unwrap();
    let (before, after) = (loss(&untuned, &case.data).0, loss(&tuned, &case.data).0);
    assert!(after < before - 0.3, "{before} before, {after} after");
}

#[test]
fn documents_are_audited_and_ask_for_no_answer() {
    let how = ["trainer=finetune", "adapter=lora"];
    let Some(case) = case("documents_are_audited_and_ask_for_no_answer", &how) else { return };
    let job = Job::prepare(&machine(), &case.run, model(&case.run), &case.data).unwrap();
    let survey = job.survey(&mut Silent).unwrap();
    let audit = survey.audit.unwrap();
    assert_eq!((audit.without_stop.rows, audit.contradicting.rows), (0, 0));
    assert!(audit.share_learnt > 0.7, "{}", audit.share_learnt);
    assert!(job.explain(0).unwrap().len() > 1, "the first document has several windows");

    let none = [Override::new("trainer=none"), Override::new("adapter=")];
    let run = RunFile::parse("run.yaml", &case.run.document().render(), &none).unwrap();
    let data = DataArgs { split: SplitChoice::Full, ..case.data };
    let mut job = Job::prepare(&machine(), &run, model(&run), &data).unwrap();
    assert!(matches!(job.predict(&mut Silent), Err(Error::NothingAsked)));
}
