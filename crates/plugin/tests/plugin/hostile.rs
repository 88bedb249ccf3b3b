//! Plugins that are wrong, each in one way: one clear error, and the host lives on.

use std::time::{Duration, Instant};

use fidelio_backend::{
    Ask, Backend, BackendError, Batch, DeviceId, OpenSpec, Parent, Pooling, RowStep, RowTo,
    Session, Shape, Target, TensorView, Want, Wanted, Weights,
};
use fidelio_plugin::{PluginBackend, PluginError};
use serde_json::json;

use crate::c::{Compiled, compile};

struct Empty;

impl Weights for Empty {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn get(&self, name: &str) -> Result<TensorView, BackendError> {
        Err(BackendError::Engine(format!("`{name}` is not there")))
    }
}

fn faulty(fault: &str) -> Compiled {
    compile("tests/plugin/hostile.c", "hostile", &[&format!("-DFAULT={fault}")])
}

/// Why it is not loaded, without the path.
fn not_loaded(compiled: &Compiled, limit: Duration) -> String {
    let error = PluginBackend::load_within(&compiled.path, limit).unwrap_err();
    let path = format!("`{}`", compiled.path.display());
    let text = error.to_string();
    assert!(text.contains(&path), "{text} does not name the file");
    text.replace(&path, "it")
}

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_plugin_without_fault_loads() {
    let compiled = faulty("NONE");
    let plugin = PluginBackend::load(&compiled.path).unwrap();
    assert_eq!(plugin.describe().about, "wrong on purpose");
    let mut session = open(&plugin).unwrap();
    step(session.as_mut()).unwrap();
}

#[test]
fn what_is_wrong_with_a_file_is_said_when_it_is_loaded() {
    let cases = [
        ("WRONG_VERSION", "it was built for version 7 of the plugin interface, this host has 1"),
        ("SHORT_TABLE", "the table of it has 64 bytes, expected at least 152"),
        ("NO_FREE", "it has no function `free`"),
        ("CLAIMS_LEARN", "it has no function `learn`"),
        ("NOT_JSON", "it does not say what it is: expected ident at line 1 column 2"),
        ("NO_DEVICE", "it does not say what it is: it has no device"),
        ("NO_VERB", "it does not say what it is: it claims no verb"),
        ("REFUSES", "it does not say what it is: no license"),
    ];
    for (fault, expected) in cases {
        assert_eq!(not_loaded(&faulty(fault), PATIENCE), expected, "{fault}");
    }
}

#[test]
fn a_library_without_the_symbol_is_no_plugin() {
    let compiled = compile("tests/plugin/hostile.c", "other", &["-DNO_SYMBOL"]);
    let expected = "it is not a plugin: it has no `fidelio_plugin_v1`";
    assert_eq!(not_loaded(&compiled, PATIENCE), expected);
}

#[test]
fn a_file_that_is_no_library_is_not_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.so");
    let missing = PluginBackend::load(&path).unwrap_err();
    assert!(matches!(missing, PluginError::Missing { .. }), "{missing}");
    std::fs::write(&path, "no library").unwrap();
    let error = PluginBackend::load(&path).unwrap_err();
    assert!(matches!(error, PluginError::Load { .. }), "{error}");
}

#[test]
fn a_name_alone_is_looked_for_in_its_folder_only() {
    let compiled = faulty("NONE");
    let folder = compiled.path.parent().unwrap();
    assert_eq!(PluginBackend::find(folder, "hostile").unwrap().describe().name, "plugin:hostile");
    let error = PluginBackend::find(folder, "gpu").unwrap_err();
    assert!(matches!(&error, PluginError::Unknown { have, .. } if have == &["hostile"]), "{error}");
    // Not even a name that the system's loader would find somewhere.
    let error = PluginBackend::load("libc.so.6".as_ref()).unwrap_err();
    assert!(matches!(error, PluginError::Missing { .. }), "{error}");
}

#[test]
fn a_plugin_that_hangs_keeps_nobody_waiting() {
    let compiled = faulty("HANGS");
    let begun = Instant::now();
    let text = not_loaded(&compiled, Duration::from_millis(200));
    assert_eq!(text, "it did not say what it is within 0.2 s");
    assert!(begun.elapsed() < PATIENCE, "the limit holds");
}

fn open(plugin: &PluginBackend) -> Result<Box<dyn Session>, BackendError> {
    plugin.open(DeviceId(0), &OpenSpec::new(json!({})), &Empty)
}

fn step(session: &mut dyn Session) -> Result<(), BackendError> {
    let wanted = Wanted::Last(Shape::Full);
    let step = RowStep { row: RowTo::New, tokens: &[1, 2], adapter: None, wanted };
    session.extend(&[step, step]).map(drop)
}

fn score(session: &mut dyn Session) -> Result<(), BackendError> {
    let mut batch = Batch::default();
    batch.forest.push(Parent::Root, &[1, 2]);
    batch.targets.push(Target { at: 0, ask: Ask::Token(2), weight: 1.0, group: 0 });
    session.score(&batch, Want { logits: true }).map(drop)
}

fn embed(session: &mut dyn Session) -> Result<(), BackendError> {
    let mut batch = Batch::default();
    batch.forest.push(Parent::Root, &[1, 2]);
    session.embed(&batch.forest, Pooling::Mean).map(drop)
}

fn learn(session: &mut dyn Session) -> Result<(), BackendError> {
    let optimizer = json!({ "type": "sgd", "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0,
        "nesterov": false });
    let spec = json!({ "trains": "all", "optimizer": optimizer, "seed": 0 });
    session.learn(&serde_json::from_value(spec).unwrap()).map(drop)
}

#[test]
fn errors_are_read_whatever_they_are() {
    let cases = [
        ("TEXT_WITH_ZERO", "half\\u{0} \\u{1b}[31mred \u{fffd}"),
        ("TEXT_OF_NULL", "it says 1000 bytes and gives none"),
        ("LONG_TEXT", "it gives 1099511627776 bytes, more than 65536"),
        ("STRANGE_STATUS", "the plugin `hostile` failed with status -12345: it does not say why"),
    ];
    for (fault, expected) in cases {
        let compiled = faulty(fault);
        let Err(error) = open(&PluginBackend::load(&compiled.path).unwrap()) else {
            panic!("{fault}: it opened")
        };
        assert_eq!(error.to_string(), expected, "{fault}");
    }
}

#[test]
fn sessions_of_impossible_sizes_are_not_opened() {
    let cases = [
        ("NULL_SESSION", "in `open` it gave no session"),
        ("NO_VOCABULARY", "in `capacity` it has a vocabulary of 0"),
    ];
    for (fault, expected) in cases {
        let compiled = faulty(fault);
        let Err(error) = open(&PluginBackend::load(&compiled.path).unwrap()) else {
            panic!("{fault}: it opened")
        };
        let expected = format!("the plugin `hostile` is faulty: {expected}");
        assert_eq!(error.to_string(), expected, "{fault}");
    }
}

/// Calls a verb.
type Call = fn(&mut dyn Session) -> Result<(), BackendError>;

#[test]
fn sizes_that_come_back_wrong_are_found() {
    let fork: Call = |session| session.fork(fidelio_backend::RowId(0)).map(drop);
    let cases: [(&str, Call, &str); 12] = [
        ("NO_ROWS", step, "in `extend` it did not write the row of step 0"),
        ("SAME_ROW", step, "in `extend` it gave row 7 to two steps"),
        ("FEW_LOGITS", step, "in `extend` it wrote 7 logits at token 1 of step 0, 8 are wanted"),
        ("MANY_LOGITS", step, "in `extend` it wrote 9 logits at token 1 of step 0, 8 are wanted"),
        ("NO_FORK", fork, "in `fork` it did not write a row of its own"),
        ("FEW_SCORES", score, "in `score` it answered 0 targets of 1"),
        ("STRANGE_TOP", score, "in `score` it names token 1000, the vocabulary is 8"),
        ("FEW_SCORE_LOGITS", score, "in `score` it wrote 7 logits, 8 are wanted"),
        (
            "WIDE_VECTORS",
            embed,
            "in `embed` it gave 16 bytes for 1 vectors of 2305843009213693951 floats",
        ),
        ("SHORT_VECTORS", embed, "in `embed` it gave 15 bytes for 1 vectors of 4 floats"),
        ("NO_VECTORS", embed, "in `embed` it gives 16 bytes, more than 0"),
        (
            "PARAMETERS",
            learn,
            "in `learn` invalid type: integer `1`, expected a string at line 1 column 10",
        ),
    ];
    for (fault, call, expected) in cases {
        let compiled = faulty(fault);
        let mut session = open(&PluginBackend::load(&compiled.path).unwrap()).unwrap();
        let error = call(session.as_mut()).unwrap_err().to_string();
        assert_eq!(error, format!("the plugin `hostile` is faulty: {expected}"), "{fault}");
        assert!(call(session.as_mut()).is_err(), "{fault}: the session is still there to be asked");
    }
}
