//! Several adapters of one run, by their names.

use std::{collections::BTreeMap, path::Path};

use fidelio::{
    AdapterMerge, DataArgs, Job, MergeSource, Model, Results, RunFile, Silent, SplitChoice,
    Training, adapter_folder,
    config::Override,
    model_folder, trainer, weights,
    weights::peft::{self, Combination, PeftAdapter},
};
use fidelio_backend::Weights;

use crate::{
    machine,
    training::{Case, LORA, case},
};

fn model(run: &RunFile) -> Model {
    Model::find(&machine(), &run.config().base_model, &weights::Silent).unwrap()
}

/// Trains, and returns what the user was told.
fn train(case: &Case, into: &Path) -> Vec<String> {
    let mut told = Told::default();
    let (machine, run) = (machine(), &case.run);
    let mut training = Training::prepare(&machine, run, model(run), &case.data, &mut told).unwrap();
    let results = Results::create(into, true).unwrap();
    training.run(&results, false, &mut trainer::Silent).unwrap();
    told.0
}

#[derive(Default)]
struct Told(Vec<String>);

impl fidelio::Observer for Told {
    fn on(&mut self, event: &fidelio::Event) -> fidelio::Flow {
        if let fidelio::Event::Note(note) = event {
            self.0.push(note.clone());
        }
        fidelio::Flow::Continue
    }
}

fn tensors(adapter: &PeftAdapter) -> BTreeMap<String, Vec<f32>> {
    let values = |name: &String| {
        let bytes = adapter.weights.get(name).unwrap().bytes;
        bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    adapter.weights.names().into_iter().map(|name| (name.clone(), values(&name))).collect()
}

fn largest_difference(a: &PeftAdapter, b: &PeftAdapter) -> f32 {
    let (a, b) = (tensors(a), tensors(b));
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    let pairs = a.values().flatten().zip(b.values().flatten());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Accuracy of a run's model, with the adapter that `active` says.
fn accuracy(run: &Path, active: Option<&str>, data: &DataArgs) -> f64 {
    let active = active.map(|name| Override::new(format!("adapters.active={name}")));
    let run = RunFile::of_run(run, active.as_slice()).unwrap();
    let data = DataArgs { split: SplitChoice::Training, ..data.clone() };
    let mut job = Job::prepare_to_measure(&machine(), &run, model(&run), &data).unwrap();
    job.evaluate(&mut Silent).unwrap().headline.unwrap().value
}

#[test]
fn the_merged_adapter_learns_on_and_the_others_are_kept() {
    let test = "the_merged_adapter_learns_on_and_the_others_are_kept";
    let Some(taught) = case(test, &LORA) else { return };
    let folder = tempfile::tempdir().unwrap();
    let [a, b, both] = ["a", "b", "both"].map(|name| folder.path().join(name));
    train(&taught, &a);
    let begun = case(test, &[LORA[0], LORA[1], "trainer.train_steps=1", "random_seed=7"]).unwrap();
    train(&begun, &b);

    // The run's folder and that of the adapter mean the same.
    let adapters = format!(
        "adapters={{adapters: {{new: {{type: lora}}, \
         a: {{type: lora, pretrained_adapter_weights: {}}}, \
         b: {{type: lora, pretrained_adapter_weights: {}}}}}, active: merged, \
         merge: {{sources: [a, b], weights: [0.7, 0.3], combination_type: svd}}}}",
        a.display(),
        model_folder(&b).display()
    );
    let rate = "trainer.learning_rate=1e-5";
    let run = case(test, &[&adapters, "trainer.train_steps=3", rate]).unwrap();
    let told = train(&run, &both);
    assert!(
        told.iter().any(|note| note.contains("`new` is neither trained nor in use")),
        "{told:?}"
    );

    let kept = model_folder(&both);
    assert!(!kept.join("new").exists());
    for (name, of) in [("a", &a), ("b", &b)] {
        let (kept, of) = (peft::open(&kept.join(name)), peft::open(&model_folder(of)));
        let difference = largest_difference(&kept.unwrap(), &of.unwrap());
        assert!(difference.abs() < f32::MIN_POSITIVE, "{name}: {difference}");
    }
    let source = |(path, weight): (&std::path::PathBuf, f64)| MergeSource {
        name: path.display().to_string(),
        path: path.clone(),
        weight,
    };
    let merge = AdapterMerge {
        sources: [(&a, 0.7), (&b, 0.3)].map(source).into(),
        how: Combination::Svd,
        base_model: None,
    };
    let merged = peft::open(&adapter_folder(&both).unwrap()).unwrap();
    let difference = largest_difference(&merged, &merge.merge().unwrap().adapter);
    assert!(difference > 0.0 && difference < 1e-4, "small steps: {difference}");

    let data = &taught.data;
    assert!((accuracy(&both, Some("a"), data) - 1.0).abs() < 1e-9);
    assert!(accuracy(&both, Some("b"), data) < 1.0);
    assert!(accuracy(&both, None, data) > accuracy(&both, Some("b"), data));
}
