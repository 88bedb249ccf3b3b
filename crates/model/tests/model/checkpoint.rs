//! The tiny reference checkpoints of `tests/golden`, as named tensors.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use fidelio_backend::{
    Backend as _, BackendError, DeviceId, Encoding, OpenSpec, Session, TensorView, Weights,
};
use fidelio_model::BurnBackend;

/// Every reference checkpoint.
pub(crate) const NAMES: &[&str] = &[
    "llama",
    "llama-bias-llama3",
    "llama-linear",
    "mistral",
    "qwen2",
    "qwen2-window",
    "qwen3",
    "gemma2",
    "gemma3",
    "gemma3-variant",
    "phi3",
    "phi3-longrope",
    "qwen3-yarn",
    "smollm3",
    "olmo2",
    "gpt2",
    "gpt2-variant",
    "gpt-neox",
    "gpt-neox-serial",
];

/// The engines that tests run on, the default first: all that are compiled in, or the one that
/// `FIDELIO_TEST_DEVICE` names (`cargo xtask test --device`).
pub(crate) fn engines() -> Vec<BurnBackend> {
    let wanted = std::env::var("FIDELIO_TEST_DEVICE").ok();
    let mut engines = fidelio_model::backends();
    engines.retain(|engine| wanted.as_ref().is_none_or(|wanted| wanted == engine.name()));
    assert!(!engines.is_empty(), "this build has no engine for {wanted:?}");
    engines
}

/// Tensors in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tensors(pub(crate) BTreeMap<String, TensorView>);

impl Weights for Tensors {
    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn get(&self, name: &str) -> Result<TensorView, BackendError> {
        self.0.get(name).cloned().ok_or_else(|| BackendError::Engine(format!("no tensor `{name}`")))
    }
}

/// A reference checkpoint: its `config.json`, tensors, and folder.
pub(crate) struct Golden {
    pub(crate) config: serde_json::Value,
    pub(crate) tensors: Tensors,
    pub(crate) folder: PathBuf,
}

impl Golden {
    pub(crate) fn read(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        let config = std::fs::read(folder.join("config.json")).unwrap();
        let tensors = tensors_of(&folder.join("model.safetensors"));
        let config = serde_json::from_slice(&config).unwrap();
        Self { config, tensors, folder }
    }

    pub(crate) fn open(&self, backend: &BurnBackend) -> Box<dyn Session> {
        backend
            .open(DeviceId(0), &OpenSpec::new(self.config.clone()), &self.tensors)
            .unwrap_or_else(|error| panic!("{}: {error}", backend.name()))
    }
}

/// A safetensors file of 32-bit floats.
pub(crate) fn tensors_of(path: &Path) -> Tensors {
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        assert_eq!(view.dtype(), safetensors::Dtype::F32);
        let tensor = TensorView {
            encoding: Encoding::F32,
            shape: view.shape().to_vec(),
            bytes: bytes::Bytes::copy_from_slice(view.data()),
        };
        (name, tensor)
    });
    Tensors(tensors.collect())
}
