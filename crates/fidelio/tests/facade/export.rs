//! Models as other formats: tiny ones with random weights, and the real default model.

use std::path::{Path, PathBuf};

use fidelio::{
    Error, Event, Export, Flow, Generator, Machine, Observer, Opening, RunFile, Stage, Target,
    backend::{Logits, RowStep, RowTo, Shape, Wanted},
    eval::Drift,
    weights::{
        Checkpoint, ExportOptions, FloatType, Silent, WeightsError, export_folder,
        gguf::{Gguf, GgufPlan, Quantization},
        unwatched,
    },
};

use crate::{default_model, machine};

const TOKENIZER: &str = include_str!("../../../weights/tests/weights/fixtures/tiny_tokenizer.json");
const FOLDER: Target =
    Target::Folder(ExportOptions { float_type: FloatType::F32, shard_bytes: u64::MAX });
const FLOATS: Target = Target::Gguf(Quantization::F32);

/// A tiny checkpoint of fidelio-model, with a tokenizer and room for a prompt.
struct Tiny {
    kept: tempfile::TempDir,
    model: PathBuf,
}

impl Tiny {
    fn new(name: &str) -> Self {
        let golden = golden(name);
        let kept = tempfile::tempdir().unwrap();
        let model = kept.path().join("tiny");
        std::fs::create_dir(&model).unwrap();
        let config = std::fs::read_to_string(golden.join("config.json")).unwrap();
        let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
        config["max_position_embeddings"] = 512.into();
        std::fs::write(model.join("config.json"), config.to_string()).unwrap();
        std::fs::write(model.join("tokenizer.json"), TOKENIZER).unwrap();
        std::fs::copy(golden.join("model.safetensors"), model.join("model.safetensors")).unwrap();
        Self { kept, model }
    }

    /// Everything that stands beside it.
    fn beside(&self) -> usize {
        std::fs::read_dir(self.kept.path()).unwrap().count() - 1
    }

    fn export<'a>(&self, machine: &'a Machine) -> Export<'a> {
        Export::of_model(machine, self.model.to_str().unwrap(), "flex", &Silent).unwrap()
    }

    fn write(&self, target: Target, name: &str, allowed: f64) -> Result<Drift, Error> {
        let machine = machine();
        let export = self.export(&machine);
        export.plan(target)?.write(&self.kept.path().join(name), allowed, &mut fidelio::Silent)
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/golden").join(name)
}

/// Grouped heads, tied embeddings, biases, both rotary scalings: the engine that answers is compared
/// with transformers elsewhere.
#[test]
fn floats_answer_the_same_in_both_formats() {
    for name in ["llama", "llama-linear", "llama-bias-llama3"] {
        let tiny = Tiny::new(name);
        for (target, file) in [(FOLDER, "folder"), (FLOATS, "file.gguf")] {
            let drift = tiny.write(target, file, 1e-9).unwrap();
            assert!(drift.largest_logit_difference < 1e-5, "{name} {drift:?}");
            assert!(drift.positions > 200 && drift.greedy_match > 0.999, "{name} {drift:?}");
        }
        assert_eq!(tiny.beside(), 2);
    }
}

#[test]
fn a_file_is_named_after_its_model() {
    let (tiny, machine) = (Tiny::new("llama"), machine());
    let named = tiny.kept.path().join("Llama-3.2-1B");
    std::fs::rename(&tiny.model, &named).unwrap();
    let export = Export::of_model(&machine, named.to_str().unwrap(), "flex", &Silent).unwrap();
    let to = tiny.kept.path().join("x.gguf");
    export.plan(FLOATS).unwrap().write(&to, 1.0, &mut fidelio::Silent).unwrap();
    let gguf = Gguf::open(&to).unwrap();
    assert_eq!(gguf.metadata().text("general.name").unwrap(), Some("Llama-3.2-1B"));
}

#[test]
fn fewer_bits_drift_further() {
    use Quantization::*;
    let tiny = Tiny::new("llama");
    let drift = |kind: Quantization| {
        tiny.write(Target::Gguf(kind), kind.name(), f64::INFINITY).unwrap().mean_kl
    };
    let drifts = [F32, F16, BF16, Q8_0, Q5_0, Q4_0].map(drift);
    assert!(drifts.is_sorted() && drifts[5] > 100.0 * drifts[3], "{drifts:?}");
}

#[test]
fn what_drifts_too_far_is_not_there() {
    let tiny = Tiny::new("llama");
    let error = tiny.write(Target::Gguf(Quantization::Q4_0), "small.gguf", 1e-9).unwrap_err();
    assert!(matches!(error, Error::Drift { allowed, .. } if allowed < 1e-8), "{error}");
    assert_eq!(tiny.beside(), 0);
}

/// Stops as soon as tensors are written.
struct Impatient;

impl Observer for Impatient {
    fn on(&mut self, event: &Event) -> Flow {
        match event {
            Event::Progress { stage: Stage::Writing, done: 2, .. } => Flow::Stop,
            _ => Flow::Continue,
        }
    }
}

#[test]
fn what_is_stopped_is_not_there() {
    let (tiny, machine) = (Tiny::new("llama"), machine());
    let export = tiny.export(&machine);
    for target in [FOLDER, FLOATS] {
        let to = tiny.kept.path().join("stopped");
        let error = export.plan(target).unwrap().write(&to, 1.0, &mut Impatient).unwrap_err();
        assert!(matches!(error, Error::Stopped), "{error}");
        assert_eq!(tiny.beside(), 0);
    }
}

#[test]
fn nothing_is_written_over() {
    let tiny = Tiny::new("llama");
    std::fs::write(tiny.kept.path().join("mine.gguf"), "mine").unwrap();
    for target in [FOLDER, FLOATS] {
        let error = tiny.write(target, "mine.gguf", 1.0).unwrap_err();
        assert!(matches!(error, Error::Weights(WeightsError::Exists { .. })), "{error}");
    }
    assert_eq!(std::fs::read(tiny.kept.path().join("mine.gguf")).unwrap(), b"mine");
}

#[test]
fn a_plan_says_what_becomes_of_every_tensor() {
    let (tiny, machine) = (Tiny::new("llama"), machine());
    let export = tiny.export(&machine);
    let plan = export.plan(Target::Gguf(Quantization::Q4_K_M)).unwrap();
    let groups: Vec<_> = plan
        .groups()
        .into_iter()
        .map(|group| (group.encoding, group.tensors, group.reason))
        .collect();
    let group =
        |encoding: &str, tensors, reason: &str| (encoding.to_owned(), tensors, reason.to_owned());
    assert_eq!(groups.iter().map(|(_, tensors, _)| tensors).sum::<usize>(), 20);
    assert!(groups.contains(&group("F32", 5, "norms and biases")), "{groups:?}");
}

/// A run file over a tiny model, with the adapter of a folder if there is one.
fn run_file(tiny: &Tiny, adapter: Option<&str>) -> RunFile {
    let adapter = adapter.map(|name| {
        let folder = golden("llama").join(name);
        format!("adapter: {{type: lora, pretrained_adapter_weights: {}}}\n", folder.display())
    });
    let text = format!(
        "model_type: llm\nbase_model: {}\ndevice: flex\ntrainer: {{type: finetune}}\n\
         input_features: [{{name: q, type: text}}]\noutput_features: [{{name: a, type: text}}]\n{}",
        tiny.model.display(),
        adapter.unwrap_or_default()
    );
    RunFile::parse("run.yaml", &text, &[]).unwrap_or_else(|error| match error {
        Error::RunFile(problems) => panic!("{problems}"),
        other => panic!("{other}"),
    })
}

#[test]
fn adapters_are_merged_before_they_leave() {
    let (tiny, machine) = (Tiny::new("llama"), machine());
    for adapter in ["lora-plain", "lora-rslora", "lora-dora", "lora-patterns"] {
        let run = run_file(&tiny, Some(adapter));
        let export = Export::of_adapter(&machine, &run, &Silent).unwrap();
        for (target, name) in [(FOLDER, adapter.to_owned()), (FLOATS, format!("{adapter}.gguf"))] {
            let to = tiny.kept.path().join(name);
            let drift =
                export.plan(target).unwrap().write(&to, 1e-6, &mut fidelio::Silent).unwrap();
            assert!(drift.largest_logit_difference < 1e-3, "{adapter} {drift:?}");
        }
        // The adapter is no small thing: without it the answers are others.
        let base = logits(&machine, &tiny.model);
        let merged = logits(&machine, &tiny.kept.path().join(adapter));
        let difference = |(a, b): (&f32, &f32)| (a - b).abs() > 1e-2;
        assert!(base.iter().zip(&merged).any(difference), "{adapter}");
    }
}

#[test]
fn a_run_without_an_adapter_has_nothing_to_merge() {
    let tiny = Tiny::new("llama");
    let error = Export::of_adapter(&machine(), &run_file(&tiny, None), &Silent).unwrap_err();
    assert!(matches!(error, Error::NoAdapter), "{error}");
}

/// The logits of the last token of a prompt.
fn logits(machine: &Machine, model: &Path) -> Vec<f32> {
    let generator =
        Generator::open(machine, model.to_str().unwrap(), "flex", &Opening::default(), &Silent)
            .unwrap();
    let ids = generator.prompt("the capital of france", false, None).unwrap();
    let device = machine.device("flex").unwrap();
    let mut session = generator.model().open(&device, &Opening::default()).unwrap();
    let wanted = Wanted::Last(Shape::Full);
    let step = RowStep { row: RowTo::New, tokens: &ids, adapter: None, wanted };
    let answer = session.extend(&[step]).unwrap().remove(0);
    match answer.logits.into_iter().next() {
        Some(Logits::Full(logits)) => logits,
        other => panic!("full logits were asked for: {other:?}"),
    }
}

/// From a folder of halves to a file of halves: the same numbers, so the same logits to the bit.
#[test]
fn the_default_model_keeps_tokens_and_logits() {
    let Some(path) = default_model("the_default_model_keeps_tokens_and_logits") else { return };
    let (kept, machine) = (tempfile::tempdir().unwrap(), machine());
    let [folder, file] = ["halves", "halves.gguf"].map(|name| kept.path().join(name));
    let options = ExportOptions { float_type: FloatType::F16, ..ExportOptions::default() };
    export_folder(&Checkpoint::open(&path).unwrap(), &folder, &options).unwrap();
    let from = Checkpoint::open(&folder).unwrap();
    let plan = GgufPlan::new(&from, "halves", Quantization::F16).unwrap();
    plan.write(from.weights(), &file, &mut unwatched).unwrap();
    let [one, two] = [&path, &file].map(|model| {
        Generator::open(&machine, model.to_str().unwrap(), "flex", &Opening::default(), &Silent)
            .unwrap()
    });
    let prompt =
        |it: &Generator| it.prompt("12 apples & 3 pears, 苹果", false, Some("Hi")).unwrap();
    assert_eq!(prompt(&one), prompt(&two));
    assert_eq!(logits(&machine, &folder), logits(&machine, &file));
}
