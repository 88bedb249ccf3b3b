//! A loaded plugin that panics: an error, a session that answers nothing more, a host that lives on.

use std::{env::consts::DLL_EXTENSION, env::consts::DLL_PREFIX, path::PathBuf};

use fidelio_backend::{
    AdapterSpec, Backend, BackendError, Batch, Capacity, DeviceId, LearnSpec, OpenSpec, Parent,
    Part, Pooling, RowId, RowStep, RowTo, Session, Shape, TensorSink, TensorView, Want, Wanted,
    Weights,
    contract::{check_embedding, check_session},
};
use fidelio_plugin::PluginBackend;
use serde_json::json;

struct Empty;

impl Weights for Empty {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn get(&self, name: &str) -> Result<TensorView, BackendError> {
        Err(BackendError::Engine(format!("`{name}` is not there")))
    }
}

struct Nowhere;

impl TensorSink for Nowhere {
    fn put(&mut self, _: &str, _: TensorView) -> Result<(), BackendError> {
        Ok(())
    }
}

/// The example that cargo built beside this test.
fn plugin() -> PluginBackend {
    let test = std::env::current_exe().unwrap();
    let folder: PathBuf = test.ancestors().nth(2).unwrap().join("examples");
    let path = folder.join(format!("{DLL_PREFIX}panics.{DLL_EXTENSION}"));
    assert!(path.is_file(), "the examples are not built: run the tests without `--test`");
    PluginBackend::load(&path).unwrap()
}

fn open(plugin: &PluginBackend, panics_in: &str) -> Result<Box<dyn Session>, BackendError> {
    plugin.open(DeviceId(0), &OpenSpec::new(json!({ "panics_in": panics_in })), &Empty)
}

fn batch() -> Batch {
    let mut batch = Batch::default();
    batch.forest.push(Parent::Root, &[1, 2, 3]);
    batch
}

fn lora() -> AdapterSpec {
    let lora = json!({ "type": "lora", "r": 1, "lora_alpha": 1.0, "target_modules": "all-linear" });
    serde_json::from_value(lora).unwrap()
}

fn sgd() -> LearnSpec {
    let optimizer = json!({ "type": "sgd", "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0,
        "nesterov": false });
    let spec = json!({ "trains": "all", "optimizer": optimizer, "seed": 0 });
    serde_json::from_value(spec).unwrap()
}

fn feed(session: &mut dyn Session) -> Result<RowId, BackendError> {
    let wanted = Wanted::Last(Shape::Full);
    let step = RowStep { row: RowTo::New, tokens: &[1, 2], adapter: None, wanted };
    session.extend(&[step]).map(|answers| answers[0].row)
}

/// Calls a verb that panics.
type Call = fn(&mut dyn Session, RowId) -> Result<(), BackendError>;

const VERBS: [(&str, Call); 13] = [
    ("extend", |s, _| feed(s).map(drop)),
    ("fork", |s, row| s.fork(row).map(drop)),
    ("truncate", |s, row| s.truncate(row, 1)),
    ("score", |s, _| s.score(&batch(), Want::default()).map(drop)),
    ("embed", |s, _| s.embed(&batch().forest, Pooling::Mean).map(drop)),
    ("add_adapter", |s, _| s.add_adapter(&lora(), None).map(drop)),
    ("remove_adapter", |s, _| {
        let adapter = s.add_adapter(&lora(), None)?;
        s.remove_adapter(adapter)
    }),
    ("learn", |s, _| s.learn(&sgd()).map(drop)),
    ("footprint", |s, _| s.footprint(&sgd(), &batch(), 1).map(drop)),
    ("accumulate", |s, _| s.learn(&sgd())?.accumulate(&batch()).map(drop)),
    ("update", |s, _| s.learn(&sgd())?.update(0.1, 1.0).map(drop)),
    ("save", |s, _| s.learn(&sgd())?.save(Part::Parameters, &mut Nowhere)),
    ("restore", |s, _| s.learn(&sgd())?.restore(Part::Parameters, &Empty)),
];

#[test]
fn a_panic_in_any_verb_is_an_error_that_ends_the_session_only() {
    let plugin = plugin();
    for (verb, call) in VERBS {
        let mut session = open(&plugin, verb).unwrap();
        let row = if verb == "extend" { RowId(0) } else { feed(session.as_mut()).unwrap() };
        let error = call(session.as_mut(), row).unwrap_err().to_string();
        let said = error.starts_with("the plugin `panics` panicked: ") && error.contains("told to");
        assert!(said, "{verb}: {error}");
        let after = session.fork(row).unwrap_err().to_string();
        let expected = format!(
            "the plugin `panics` panicked before, in `{verb}`, and this session answers nothing more"
        );
        assert_eq!(after, expected);
        assert_eq!(session.capacity().rows, 0, "{verb}: no room in a session that panicked");
        drop(session);
        feed(open(&plugin, "").unwrap().as_mut()).expect("another session works");
    }
}

#[test]
fn a_panic_while_opening_closing_or_counting_is_survived() {
    let plugin = plugin();
    let Err(error) = open(&plugin, "open") else { panic!("it opened") };
    assert!(error.to_string().starts_with("the plugin `panics` panicked"), "{error}");
    drop(open(&plugin, "close").unwrap());
    let mut session = open(&plugin, "capacity").unwrap();
    feed(session.as_mut()).unwrap();
    let Capacity { vocabulary, rows, tokens, .. } = session.capacity();
    assert!(vocabulary > 0 && rows == 0 && tokens == 0, "sizes stay, room does not");
}

#[test]
fn a_loaded_plugin_keeps_the_contract() {
    let plugin = plugin();
    check_session(&|| open(&plugin, "").unwrap(), 0.0);
    check_embedding(&|| open(&plugin, "").unwrap(), &[Pooling::Mean], 1e-5);
}
