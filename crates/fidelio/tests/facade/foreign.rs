//! What Fidelio writes, read by other software (`check_foreign.py`): PEFT, transformers, llama.cpp.
//!
//! `FIDELIO_FOREIGN_PYTHON` is an interpreter that has them; `cargo xtask check --full` makes it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use fidelio::{
    Generator, Model, Opening, Results, RunFile, Silent, Target, Training,
    backend::{AdapterId, Logits, RowStep, RowTo, Session, Shape, Wanted},
    generate::Decoding,
    model_folder, trainer,
    weights::{self, ExportOptions, FloatType, gguf::Quantization},
};
use serde::{Deserialize, Serialize};

use crate::{machine, training::case};

const PROMPT: &str = "The capital of France is";
const TOKENS: usize = 24;

/// What the script is given: files, and what the model answers here.
#[derive(Serialize)]
struct Asked<'a> {
    base: &'a Path,
    /// PEFT folders by name, with the logits of every token of `ids` beside the base.
    adapters: BTreeMap<String, Adapted>,
    /// The first adapter, merged.
    merged: &'a Path,
    gguf: Vec<&'a Path>,
    ids: &'a [u32],
    /// How many greedy tokens are wanted after `ids`.
    tokens: usize,
}

#[derive(Serialize)]
struct Adapted {
    folder: PathBuf,
    logits: Vec<Vec<f32>>,
}

/// What it found: the largest differences of logits, and greedy text.
#[derive(Debug, Deserialize)]
struct Found {
    adapters: BTreeMap<String, f32>,
    merged: f32,
    greedy: Vec<String>,
}

#[test]
fn what_is_written_loads_elsewhere() {
    let test = "what_is_written_loads_elsewhere";
    let Some(python) = std::env::var_os("FIDELIO_FOREIGN_PYTHON") else {
        eprintln!("{test} was skipped: it needs `cargo xtask check --full`");
        return;
    };
    let (machine, kept) = (machine(), tempfile::tempdir().unwrap());
    let mut adapters = BTreeMap::new();
    let mut ids = Vec::new();
    let names = ["plain", "rslora", "dora", "patterns", "all_linear", "pissa"];
    for (name, keys) in names.into_iter().zip([
        "{type: lora, r: 4}",
        "{type: lora, r: 4, use_rslora: true}",
        "{type: lora, r: 4, use_dora: true}",
        "{type: lora, r: 4, rank_pattern: {q_proj: 2}, alpha_pattern: {v_proj: 3}}",
        "{type: lora, r: 4, target_modules: all-linear}",
        "{type: lora, r: 4, init_lora_weights: pissa}",
    ]) {
        let adapter = format!("adapter={keys}");
        let how = [adapter.as_str(), "trainer.learning_rate=1e-2"];
        let case = case(test, &how).expect("`check --full` fetches the model");
        let folder = kept.path().join(name);
        let found = |run: &RunFile| {
            Model::find(&machine, &run.config().base_model, &weights::Silent).unwrap()
        };
        let mut training =
            Training::prepare(&machine, &case.run, found(&case.run), &case.data, &mut Silent)
                .unwrap();
        let results = Results::create(&folder, true).unwrap();
        training.run(&results, false, &mut trainer::Silent).unwrap();

        let generator = Generator::open(
            &machine,
            &case.run.config().base_model,
            "flex",
            &Opening::default(),
            &weights::Silent,
        )
        .unwrap();
        ids = generator.prompt(PROMPT, false, None).unwrap();
        let (device, opening) = (machine.device("flex").unwrap(), Opening::default());
        let peft = model_folder(&folder);
        let (mut session, id) = generator
            .model()
            .open_adapted(&device, &opening, &fidelio_weights::peft::open(&peft).unwrap())
            .unwrap();
        let logits = logits(session.as_mut(), id, &ids);
        adapters.insert(name.to_owned(), Adapted { folder: peft, logits });
    }

    let run = RunFile::of_run(&kept.path().join("plain"), &[]).unwrap();
    let export = fidelio::Export::of_adapter(&machine, &run, &weights::Silent).unwrap();
    let options = ExportOptions { float_type: FloatType::F32, ..ExportOptions::default() };
    let targets = [
        ("merged", Target::Folder(options)),
        ("merged-f32.gguf", Target::Gguf(Quantization::F32)),
        ("merged-f16.gguf", Target::Gguf(Quantization::F16)),
    ];
    let written = targets.map(|(name, target)| {
        let to = kept.path().join(name);
        export.plan(target).unwrap().write(&to, 1e-3, &mut Silent).unwrap();
        to
    });
    let [merged, gguf @ ..] = &written;
    let mut generator = Generator::open(
        &machine,
        merged.to_str().unwrap(),
        "flex",
        &Opening::default(),
        &weights::Silent,
    )
    .unwrap();
    let decoding = Decoding { max_new_tokens: TOKENS, ..generator.decoding().unwrap() };
    let greedy = generator.generate(&ids, decoding, &mut |_| fidelio::Flow::Continue).unwrap().text;

    let base = run.base_model();
    let found = ask(
        Path::new(&python),
        kept.path(),
        &Asked {
            base: Path::new(&base),
            adapters,
            merged,
            gguf: gguf.iter().map(PathBuf::as_path).collect(),
            ids: &ids,
            tokens: TOKENS,
        },
    );
    eprintln!("{found:?}");
    assert_eq!(found.adapters.len(), names.len(), "PEFT answered for each");
    for (name, difference) in &found.adapters {
        assert!(*difference < 1e-3, "PEFT's logits of `{name}` differ by {difference}");
    }
    assert!(found.merged < 1e-3, "transformers' logits differ by {}", found.merged);
    assert_eq!(found.greedy, [greedy.clone(), greedy], "llama.cpp's text");
}

fn logits(session: &mut dyn Session, adapter: AdapterId, ids: &[u32]) -> Vec<Vec<f32>> {
    let wanted = Wanted::All(Shape::Full);
    let step = RowStep { row: RowTo::New, tokens: ids, adapter: Some(adapter), wanted };
    let answer = session.extend(&[step]).unwrap().remove(0);
    let full = |logits| match logits {
        Logits::Full(logits) => logits,
        Logits::Top { .. } => panic!("full logits were asked for"),
    };
    answer.logits.into_iter().map(full).collect()
}

fn ask(python: &Path, folder: &Path, asked: &Asked<'_>) -> Found {
    let file = folder.join("asked.json");
    std::fs::write(&file, serde_json::to_vec(asked).unwrap()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check_foreign.py");
    let output = Command::new(python).arg(script).arg(&file).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{told}"))
}
