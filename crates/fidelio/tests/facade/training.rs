//! Learning on the real default model over a few rows.

use std::path::Path;

use fidelio::{
    DataArgs, Error, Export, Job, Model, Provenance, Results, RunFile, Silent, SplitChoice, Target,
    Training,
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

pub(crate) const LORA: [&str; 2] = ["adapter={type: lora, r: 4}", "trainer.learning_rate=1e-2"];

pub(crate) struct Case {
    pub(crate) run: RunFile,
    pub(crate) data: DataArgs,
    folder: tempfile::TempDir,
}

/// A run over the rows; `how` are the keys that say what learns.
pub(crate) fn case(test: &str, how: &[&str]) -> Option<Case> {
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

#[test]
fn a_run_says_what_it_costs_and_nothing_is_learnt_by_that() {
    let test = "a_run_says_what_it_costs_and_nothing_is_learnt_by_that";
    let Some(case) = case(test, &LORA) else { return };
    let mut training =
        Training::prepare(&machine(), &case.run, model(&case.run), &case.data, &mut Silent)
            .unwrap();
    let cost = training.cost(true).unwrap();
    let (ledger, time) = (cost.memory.unwrap(), cost.time.unwrap());
    // r · (inputs + outputs) of 30 layers' q_proj and v_proj, 4 bytes each.
    assert_eq!(ledger.engine.parameters, 4 * 30 * 4 * (576 + 576 + 576 + 192));
    assert_eq!(ledger.engine.optimizer, 2 * ledger.engine.parameters);
    assert_eq!(ledger.file, 0);
    assert!(ledger.total > ledger.program + ledger.engine.weights);
    assert_eq!(time.tokens, 12 * time.largest_batch);
    assert!(time.seconds > time.seconds_per_batch);
    assert!(training.cost(false).unwrap().time.is_none());
}

#[test]
fn the_same_rows_cost_less_block_by_block() {
    let test = "the_same_rows_cost_less_block_by_block";
    let blocks = "trainer.enable_gradient_checkpointing=true";
    let activations = |how: &[&str]| {
        let case = case(test, how)?;
        let run = &case.run;
        let mut training =
            Training::prepare(&machine(), run, model(run), &case.data, &mut Silent).unwrap();
        Some(training.cost(false).unwrap().memory.unwrap().engine.activations)
    };
    let Some(at_once) = activations(&LORA) else { return };
    let by_block = activations(&[LORA[0], LORA[1], blocks]).unwrap();
    assert!(by_block * 5 < at_once, "{by_block} {at_once}");
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

    let stands_on = Provenance::read(&folder).unwrap();
    let place = &case.data.training_set[0];
    assert_eq!(stands_on.data.iter().map(|file| &file.path).collect::<Vec<_>>(), [place, place]);
    assert_eq!(stands_on.data[0].bytes, ROWS.len() as u64);
    assert_eq!(stands_on.base_weights.files.len(), 1);
    let read = |name| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
    };
    let (planned, described) = (read("plan.json"), read("description.json"));
    for key in ["plan", "training", "rows", "tokens"] {
        assert_eq!(planned[key], described[key], "{key}");
        assert!(!planned[key].is_null(), "{key}");
    }
    assert!(folder.join("logs/training").exists() && folder.join("logs/validation").exists());
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

/// What a run told of its updates and evaluations.
#[derive(Default)]
struct Told {
    losses: Vec<u64>,
    evaluations: Vec<trainer::Evaluated>,
}

impl trainer::Observer for Told {
    fn on(
        &mut self,
        event: &trainer::Event,
    ) -> Result<trainer::Flow, Box<dyn std::error::Error + Send + Sync>> {
        match event {
            trainer::Event::Step(step) => self.losses.push(step.loss.to_bits()),
            trainer::Event::Evaluated(found) => self.evaluations.push(found.clone()),
            _ => {}
        }
        Ok(trainer::Flow::Continue)
    }
}

/// What a run tells with these keys, and the line of its metrics file after its last update.
fn told(test: &str, how: &[&str]) -> Option<(Told, serde_json::Value)> {
    let case = case(test, &[&LORA[..], how].concat())?;
    let (folder, mut told) = (case.folder.path().join("run"), Told::default());
    train(&case, &folder, false, &mut told);
    let lines = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let last = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    Some((told, last))
}

#[test]
fn answers_choose_the_best_model_where_it_is_asked() {
    let test = "answers_choose_the_best_model_where_it_is_asked";
    let Some((told, last)) = told(test, &["trainer.predict_with_generate=true"]) else { return };
    let accuracy: Vec<f64> = told.evaluations.iter().map(|it| it.values["accuracy"]).collect();
    assert_eq!(accuracy, told.evaluations.iter().map(|it| it.metric).collect::<Vec<_>>());
    assert_eq!((accuracy.len(), accuracy[1].to_bits()), (2, 1.0_f64.to_bits()), "{accuracy:?}");
    assert!(told.evaluations[1].values["f1_macro"] > 0.99);
    assert_eq!(
        (&last["validation_metric"], &last["values"]["accuracy"]),
        (&"accuracy".into(), &1.0.into())
    );
}

#[test]
fn generating_between_updates_changes_no_update() {
    let test = "generating_between_updates_changes_no_update";
    let text = "output_features=[{name: label, type: text}]";
    let how = [
        text,
        "trainer.train_steps=4",
        "trainer.steps_per_checkpoint=2",
        "generation.max_new_tokens=3",
    ];
    let Some((silent, _)) = told(test, &how) else { return };
    let with = [&how[..], &["trainer.validation_metric=rougeL"]].concat();
    let (generated, last) = told(test, &with).unwrap();
    assert_eq!(silent.losses, generated.losses, "to the bit");
    assert_eq!(last["validation_metric"], "rougeL");
    assert_eq!(last["metric"], last["values"]["rougeL"]);
    assert_eq!(last["values"]["loss"], silent.evaluations[1].metric);
    assert!(!silent.evaluations[1].values.contains_key("rougeL"));
}

#[test]
fn an_evaluation_looks_at_as_many_rows_as_it_is_told() {
    let validated = |how: &[&str]| {
        let case =
            case("an_evaluation_looks_at_as_many_rows_as_it_is_told", &[&LORA[..], how].concat())?;
        let (run, data) = (&case.run, &case.data);
        let training = Training::prepare(&machine(), run, model(run), data, &mut Silent).unwrap();
        Some(training.rows().1)
    };
    let few = ["trainer.eval_steps=1", "trainer.eval_batch_size=3"];
    let Some(rows) = validated(&few) else { return };
    assert_eq!((rows, validated(&[])), (3, Some(4)));
    assert_eq!(validated(&["trainer.skip_all_evaluation=true"]), Some(0));
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
    let export = Export::of_adapter(&machine, &run, &weights::Silent).unwrap();
    let merged = folder.path().join("merged");
    let plan = export.plan(Target::Folder(weights::ExportOptions::default())).unwrap();
    let exact = plan.write(&merged, 1e-2, &mut Silent).unwrap();
    let rounded = export.drift_from_rounded(&merged).unwrap().unwrap();
    assert!(exact.mean_kl < rounded.mean_kl, "{exact:?} {rounded:?}");
}

/// The run's adapter stands over the weights as they are, though it began with a part of them.
#[test]
fn an_adapter_that_began_with_factors_of_the_weights_fits_the_weights() {
    let test = "an_adapter_that_began_with_factors_of_the_weights_fits_the_weights";
    for start in ["pissa", "olora"] {
        let start = format!("adapter={{type: lora, r: 4, init_lora_weights: {start}}}");
        let Some(case) = case(test, &[&start, "trainer.learning_rate=2e-3"]) else { return };
        let folder = case.folder.path().join("run");
        assert_eq!(train(&case, &folder, false, &mut trainer::Silent), Ended::Complete);
        let config = std::fs::read(model_folder(&folder).join("adapter_config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        assert_eq!((&config["r"], &config["init_lora_weights"]), (&8.into(), &true.into()));
        let run = RunFile::of_run(&folder, &[]).unwrap();
        let data = DataArgs { split: SplitChoice::Training, ..case.data.clone() };
        let mut job = Job::prepare_to_measure(&machine(), &run, model(&run), &data).unwrap();
        let headline = job.evaluate(&mut Silent).unwrap().headline.unwrap();
        assert!((headline.value - 1.0).abs() < 1e-9, "{start}: accuracy {}", headline.value);
    }
}

/// Layers that are used again are layers of their own once the adapter is merged.
#[test]
fn a_deeper_model_learns_and_merges() {
    let test = "a_deeper_model_learns_and_merges";
    let deeper = "adapter={type: lora, r: 4, layer_replication: [[0, 16], [14, 30]]}";
    let how = [deeper, "trainer.learning_rate=1e-2", "trainer.train_steps=4"];
    let Some(case) = case(test, &how) else { return };
    let folder = case.folder.path().join("run");
    assert_eq!(train(&case, &folder, false, &mut trainer::Silent), Ended::Complete);
    let adapter = weights::peft::open(&model_folder(&folder)).unwrap();
    let names: Vec<&str> = adapter.weights.iter().map(|(name, ..)| name).collect();
    assert_eq!(names.len(), 32 * 2 * 2);
    assert!(names.contains(&"model.layers.31.self_attn.v_proj.lora_B.weight"));

    let (machine, run) = (machine(), RunFile::of_run(&folder, &[]).unwrap());
    let export = Export::of_adapter(&machine, &run, &weights::Silent).unwrap();
    for (name, target, most) in [
        ("merged", Target::Folder(weights::ExportOptions::default()), 1e-2),
        ("merged.gguf", Target::Gguf(weights::gguf::Quantization::F16), 1e-2),
    ] {
        let merged = case.folder.path().join(name);
        export.plan(target).unwrap().write(&merged, most, &mut Silent).unwrap();
        let merged = weights::Checkpoint::open(&merged).unwrap();
        assert_eq!(merged.config()["num_hidden_layers"], 32, "{name}");
    }

    let beyond = "adapter={type: lora, layer_replication: [[0, 31]]}";
    let case = self::case(test, &[beyond]).unwrap();
    let (run, machine) = (&case.run, crate::machine());
    let error = Training::prepare(&machine, run, model(run), &case.data, &mut Silent).unwrap_err();
    assert!(
        error.to_string().contains("has [0, 31), and the model's layers are 0 to 29"),
        "{error}"
    );
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

fn refuses_to_go_on_with_other_rows(case: &Case, begun: &Path) {
    let rows = &case.data.training_set[0];
    std::fs::write(rows, ROWS.replace("wonderful", "marvellous")).unwrap();
    let (machine, model) = (machine(), model(&case.run));
    let mut training =
        Training::prepare(&machine, &case.run, model, &case.data, &mut Silent).unwrap();
    let results = Results::create(begun, true).unwrap();
    let error = training.run(&results, true, &mut trainer::Silent).unwrap_err();
    assert!(matches!(error, Error::OtherThanBegun { what: "another data file", .. }), "{error}");
    std::fs::write(rows, ROWS).unwrap();
}

#[test]
fn a_resumed_run_ends_as_an_uninterrupted_one() {
    let noisy = [LORA[0], LORA[1], "adapter.dropout=0.1"];
    let Some(case) = case("a_resumed_run_ends_as_an_uninterrupted_one", &noisy) else { return };
    let [whole, parts] = ["whole", "parts"].map(|name| case.folder.path().join(name));
    train(&case, &whole, false, &mut trainer::Silent);
    assert_eq!(train(&case, &parts, false, &mut After(3)), Ended::Stopped);
    assert!(matches!(RunFile::of_run(&parts, &[]), Err(Error::NoRun { .. })));
    refuses_to_go_on_with_other_rows(&case, &parts);
    assert_eq!(train(&case, &parts, true, &mut trainer::Silent), Ended::Complete);
    assert_eq!(adapter(&whole), adapter(&parts), "to the bit");
}
