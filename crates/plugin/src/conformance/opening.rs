//! What only opening shows: nothing that does not fit is opened.

use fidelio_backend::{
    Backend, BackendError, DeviceId, Encoding, OpenSpec, Session, TensorView, Weights,
};

use super::{Model, open};

/// A check. It panics when the engine breaks the rule.
type Check = fn(&dyn Backend, &Model<'_>);

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("an unknown architecture is refused", unknown_architecture),
    ("a device that is not there is refused", absent_device),
    ("a missing tensor is refused", missing_tensor),
    ("a strange tensor is refused", strange_tensor),
    ("a misshapen tensor is refused", misshapen_tensor),
];

fn unknown_architecture(backend: &dyn Backend, model: &Model<'_>) {
    let config = serde_json::json!({ "model_type": "no-architecture-has-this-name" });
    let error = refusal(open(backend, &Model { config: &config, ..*model }));
    let right = matches!(error, BackendError::Architecture { .. });
    assert!(right, "it was refused with another error: {error}");
}

fn absent_device(backend: &dyn Backend, model: &Model<'_>) {
    let absent = backend.describe().devices.iter().map(|device| device.id.0).max().unwrap_or(0) + 1;
    let spec = OpenSpec::new(model.config.clone());
    refusal(backend.open(DeviceId(absent), &spec, model.weights));
}

fn missing_tensor(backend: &dyn Backend, model: &Model<'_>) {
    refusal(open(backend, &Model { weights: &Changed(model.weights, Change::Missing), ..*model }));
}

fn strange_tensor(backend: &dyn Backend, model: &Model<'_>) {
    refusal(open(backend, &Model { weights: &Changed(model.weights, Change::Strange), ..*model }));
}

fn misshapen_tensor(backend: &dyn Backend, model: &Model<'_>) {
    let changed = Changed(model.weights, Change::Misshapen);
    refusal(open(backend, &Model { weights: &changed, ..*model }));
}

fn refusal(opened: Result<Box<dyn Session>, BackendError>) -> BackendError {
    match opened {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

enum Change {
    Missing,
    Strange,
    Misshapen,
}

/// Weights with one change.
struct Changed<'a>(&'a dyn Weights, Change);

const STRANGE: &str = "nobody.has.this.weight";

impl Weights for Changed<'_> {
    fn names(&self) -> Vec<String> {
        let mut names = self.0.names();
        match self.1 {
            Change::Missing => drop(names.pop()),
            Change::Strange => names.push(STRANGE.to_owned()),
            Change::Misshapen => {}
        }
        names
    }

    fn get(&self, name: &str) -> Result<TensorView, BackendError> {
        if !self.names().iter().any(|it| it == name) {
            return Err(BackendError::Weights { problems: vec![format!("`{name}` is missing")] });
        }
        if name == STRANGE {
            let bytes = vec![0; 4].into();
            return Ok(TensorView { encoding: Encoding::F32, shape: vec![1], bytes });
        }
        let mut view = self.0.get(name)?;
        if matches!(self.1, Change::Misshapen)
            && self.0.names().first().is_some_and(|it| it == name)
        {
            // As many elements, in another shape.
            view.shape.insert(0, 1);
        }
        Ok(view)
    }
}
