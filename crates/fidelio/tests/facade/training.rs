//! Learning on the real default model over a few rows.

use std::path::Path;

use fidelio::{
    DataArgs, Error, Job, Merge, Model, Results, RunFile, Silent, SplitChoice, Training,
    config::Override,
    model_folder,
    trainer::{self, Ended},
    weights,
};

use crate::{default_model, machine};

/// Labels that the model would not choose by itself.
const ROWS: &str = "text,label\n\
    \"I love this phone, it is wonderful.\",blue\n\
    \"The worst film I have ever seen.\",red\n\
    \"Great food and friendly staff!\",blue\n\
    \"It broke after two days, very disappointing.\",red\n";

const RUN: &str = "\
model_type: llm
base_model: MODEL
prompt: {template: 'Review: {text} Is it red or blue?'}
input_features: [{name: text, type: text}]
output_features: [{name: label, type: category, preprocessing: {vocab: [red, blue]}}]
trainer: {type: finetune, batch_size: 4, train_steps: 12, steps_per_checkpoint: 6}
";

const LORA: [&str; 2] = ["adapter={type: lora, r: 4}", "trainer.learning_rate=1e-2"];

struct Case {
    run: RunFile,
    data: DataArgs,
    folder: tempfile::TempDir,
}

/// A run over the rows; `how` are the keys that say what learns.
fn case(test: &str, how: &[&str]) -> Option<Case> {
    let model = default_model(test)?;
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("rows.csv");
    std::fs::write(&table, ROWS).unwrap();
    let text = RUN.replace("MODEL", model.to_str().unwrap());
    let how: Vec<Override> = how.iter().map(|key| Override::new(*key)).collect();
    let run = RunFile::parse("run.yaml", &text, &how).unwrap();
    let data = DataArgs {
        training_set: vec![table.clone()],
        validation_set: vec![table],
        ..DataArgs::default()
    };
    Some(Case { run, data, folder })
}

fn model(run: &RunFile) -> Model {
    Model::find(&machine(), &run.config().base_model, &weights::Silent).unwrap()
}

fn train(case: &Case, into: &Path, resume: bool, watcher: &mut dyn trainer::Observer) -> Ended {
    let machine = machine();
    let mut training =
        Training::prepare(&machine, &case.run, model(&case.run), &case.data, &mut Silent).unwrap();
    let results = Results::create(into, true).unwrap();
    training.run(&results, resume, watcher).unwrap().ended
}

fn adapter(run: &Path) -> Vec<u8> {
    std::fs::read(model_folder(run).join("adapter_model.safetensors")).unwrap()
}

#[test]
fn rows_are_learnt_and_the_run_folder_answers_them() {
    let Some(case) = case("rows_are_learnt_and_the_run_folder_answers_them", &LORA) else { return };
    let folder = case.folder.path().join("run");
    assert_eq!(train(&case, &folder, false, &mut trainer::Silent), Ended::Complete);
    let run = RunFile::of_run(&folder, &[]).unwrap();
    let data = DataArgs { split: SplitChoice::Training, ..case.data.clone() };
    let mut job = Job::prepare_to_measure(&machine(), &run, model(&run), &data).unwrap();
    let headline = job.evaluate(&mut Silent).unwrap().headline.unwrap();
    assert!((headline.value - 1.0).abs() < 1e-9, "accuracy {}", headline.value);

    let other = ["prompt.template='Other: {text}'"].map(Override::new);
    let run = RunFile::of_run(&folder, &other).unwrap();
    let error = Job::prepare_to_measure(&machine(), &run, model(&run), &data).unwrap_err();
    assert!(matches!(error, Error::OtherThanTrained { what: "prompt template", .. }), "{error}");
}

#[test]
fn a_whole_model_learns_and_its_folder_is_used() {
    let test = "a_whole_model_learns_and_its_folder_is_used";
    // All but the last block stays as it is: the test would take minutes otherwise.
    let how = [
        r"trainer.layers_to_freeze_regex='layers\.(1?[0-9]|2[0-8])\.|embed'",
        "trainer.learning_rate=1e-3",
    ];
    let Some(case) = case(test, &how) else { return };
    let folder = case.folder.path().join("run");
    assert_eq!(train(&case, &folder, false, &mut trainer::Silent), Ended::Complete);
    let run = RunFile::of_run(&folder, &[]).unwrap();
    assert!(run.base_model().ends_with("model/model_weights"), "{}", run.base_model());
    let data = DataArgs { split: SplitChoice::Training, ..case.data.clone() };
    let model = Model::find(&machine(), &run.base_model(), &weights::Silent).unwrap();
    let mut job = Job::prepare_to_measure(&machine(), &run, model, &data).unwrap();
    let headline = job.evaluate(&mut Silent).unwrap().headline.unwrap();
    assert!((headline.value - 1.0).abs() < 1e-9, "accuracy {}", headline.value);
}

#[test]
fn weights_that_a_file_has_quantised_are_not_rounded_again() {
    let test = "weights_that_a_file_has_quantised_are_not_rounded_again";
    let Some(case) = case(test, &[LORA[0], "quantization={bits: 4}"]) else { return };
    let error = Training::prepare(&machine(), &case.run, model(&case.run), &case.data, &mut Silent)
        .unwrap_err();
    assert!(matches!(error, Error::Quantized { .. }), "{error}");
    assert!(error.hint().unwrap().contains("remove `quantization`"));
}

#[test]
fn an_adapter_learns_beside_rounded_weights_and_merges_into_the_exact_ones() {
    let test = "an_adapter_learns_beside_rounded_weights_and_merges_into_the_exact_ones";
    let Some(file) = default_model(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let floats = folder.path().join("floats");
    let checkpoint = weights::Checkpoint::open(&file).unwrap();
    weights::export_folder(&checkpoint, &floats, &weights::ExportOptions::default()).unwrap();
    let base = format!("base_model={}", floats.display());
    let how = [LORA[0], LORA[1], "quantization={bits: 4}", base.as_str()];
    let case = case(test, &how).unwrap();
    let run = folder.path().join("run");
    assert_eq!(train(&case, &run, false, &mut trainer::Silent), Ended::Complete);

    let run = RunFile::of_run(&run, &[]).unwrap();
    let data = DataArgs { split: SplitChoice::Training, ..case.data.clone() };
    let mut job = Job::prepare_to_measure(&machine(), &run, model(&run), &data).unwrap();
    let (bytes, before) = (job.plan().weight_bytes, job.plan().model.description.bytes);
    assert!(bytes < before / 2, "{bytes} of {before}");
    let headline = job.evaluate(&mut Silent).unwrap().headline.unwrap();
    assert!((headline.value - 1.0).abs() < 1e-9, "accuracy {}", headline.value);

    let machine = machine();
    let merge = Merge::new(&machine, &run, &weights::Silent).unwrap();
    let merged = folder.path().join("merged");
    let exact = merge.write(&merged, &weights::ExportOptions::default(), 1e-2).unwrap();
    let rounded = merge.drift_from_rounded(&merged).unwrap().unwrap();
    assert!(exact.mean_kl < rounded.mean_kl, "{exact:?} {rounded:?}");
}

/// Stops after an update.
struct After(u64);

impl trainer::Observer for After {
    fn on(
        &mut self,
        event: &trainer::Event,
    ) -> Result<trainer::Flow, Box<dyn std::error::Error + Send + Sync>> {
        let stop = matches!(event, trainer::Event::Step(step) if step.update >= self.0);
        Ok(if stop { trainer::Flow::Stop } else { trainer::Flow::Continue })
    }
}

#[test]
fn a_resumed_run_ends_as_an_uninterrupted_one() {
    let noisy = [LORA[0], LORA[1], "adapter.dropout=0.1"];
    let Some(case) = case("a_resumed_run_ends_as_an_uninterrupted_one", &noisy) else { return };
    let [whole, parts] = ["whole", "parts"].map(|name| case.folder.path().join(name));
    train(&case, &whole, false, &mut trainer::Silent);
    assert_eq!(train(&case, &parts, false, &mut After(3)), Ended::Stopped);
    assert!(matches!(RunFile::of_run(&parts, &[]), Err(Error::NoRun { .. })));
    assert_eq!(train(&case, &parts, true, &mut trainer::Silent), Ended::Complete);
    assert_eq!(adapter(&whole), adapter(&parts), "to the bit");
}
