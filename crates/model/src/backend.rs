//! Burn's devices as places where models can run.

use burn::tensor::{Device, DeviceType};
use fidelio_backend::{
    Backend, BackendError, BackendInfo, DeviceId, DeviceInfo, OpenSpec, Precision, Session, Verb,
    Weights,
};

use crate::{
    arch,
    session::{BurnSession, EncoderSession},
};

/// One of Burn's engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Engine {
    /// Burn's own CPU backend; the default.
    #[cfg(feature = "flex")]
    Flex,
    /// The CPU backend on the `ndarray` crate.
    #[cfg(feature = "ndarray")]
    NdArray,
    /// Vulkan, Metal or DirectX 12 through WGPU.
    #[cfg(feature = "wgpu")]
    Wgpu,
    /// NVIDIA's CUDA.
    #[cfg(feature = "cuda")]
    Cuda,
}

/// A place where models can run: one of Burn's engines.
#[derive(Debug, Clone, Copy)]
pub struct BurnBackend {
    engine: Engine,
}

/// Every engine that this build has, the default first.
pub fn backends() -> Vec<BurnBackend> {
    let engines: &[Engine] = &[
        #[cfg(feature = "cuda")]
        Engine::Cuda,
        #[cfg(feature = "flex")]
        Engine::Flex,
        #[cfg(feature = "ndarray")]
        Engine::NdArray,
        #[cfg(feature = "wgpu")]
        Engine::Wgpu,
    ];
    engines.iter().map(|&engine| BurnBackend { engine }).collect()
}

impl BurnBackend {
    /// A backend on one engine.
    pub fn new(engine: Engine) -> Self {
        Self { engine }
    }

    /// As a user writes it in `device:`.
    pub fn name(&self) -> &'static str {
        match self.engine {
            #[cfg(feature = "flex")]
            Engine::Flex => "flex",
            #[cfg(feature = "ndarray")]
            Engine::NdArray => "ndarray",
            #[cfg(feature = "wgpu")]
            Engine::Wgpu => "wgpu",
            #[cfg(feature = "cuda")]
            Engine::Cuda => "cuda",
        }
    }

    fn about(&self) -> &'static str {
        match self.engine {
            #[cfg(feature = "flex")]
            Engine::Flex => "the CPU, through Burn's flex backend and Fidelio's kernels",
            #[cfg(feature = "ndarray")]
            Engine::NdArray => "the CPU, through Burn's ndarray backend and Fidelio's kernels",
            #[cfg(feature = "wgpu")]
            Engine::Wgpu => "GPUs through Vulkan, Metal or DirectX 12, by Burn's WGPU backend",
            #[cfg(feature = "cuda")]
            Engine::Cuda => "NVIDIA GPUs, through Burn's CUDA backend",
        }
    }

    fn devices(&self) -> Vec<Device> {
        let kind = match self.engine {
            #[cfg(feature = "flex")]
            Engine::Flex => DeviceType::Flex,
            #[cfg(feature = "ndarray")]
            Engine::NdArray => DeviceType::NdArray,
            #[cfg(feature = "wgpu")]
            Engine::Wgpu => DeviceType::Wgpu,
            #[cfg(feature = "cuda")]
            Engine::Cuda => DeviceType::Cuda,
        };
        Device::enumerate(kind).into_vec()
    }

    fn precisions(&self) -> &'static [Precision] {
        if self.runs_on_cpu() {
            &[Precision::F32, Precision::Bf16, Precision::Int8Activations]
        } else {
            &[Precision::F32]
        }
    }

    /// On GPUs gradients are not yet those of the CPU (seen on software Vulkan: the order of rows
    /// changes them), so nothing learns there.
    fn verbs(&self) -> Vec<Verb> {
        use Verb::{Adapt, Embed, Extend, Fork, Learn, Score, Truncate};
        let mut verbs = vec![Extend, Fork, Truncate, Score, Embed, Adapt];
        if self.runs_on_cpu() {
            verbs.push(Learn);
        }
        verbs
    }

    fn runs_on_cpu(&self) -> bool {
        matches!(self.name(), "flex" | "ndarray")
    }
}

impl Backend for BurnBackend {
    fn describe(&self) -> BackendInfo {
        let devices = self.devices();
        let devices = devices
            .iter()
            .zip(0..)
            .map(|(device, id)| DeviceInfo {
                id: DeviceId(id),
                name: if self.runs_on_cpu() { "cpu".into() } else { format!("{device:?}") },
                memory: if self.runs_on_cpu() { available_memory() } else { None },
            })
            .collect();
        BackendInfo {
            name: self.name().into(),
            about: self.about().into(),
            devices,
            precisions: self.precisions().to_vec(),
            verbs: self.verbs(),
        }
    }

    fn open(
        &self,
        device: DeviceId,
        spec: &OpenSpec,
        weights: &dyn Weights,
    ) -> Result<Box<dyn Session>, BackendError> {
        let devices = self.devices();
        let found = devices.get(device.0 as usize).ok_or_else(|| BackendError::NoDevice {
            backend: self.name().into(),
            device: device.0,
            reason: format!("it has {} devices, counted from 0", devices.len()),
        })?;
        if !self.precisions().contains(&spec.precision) {
            return Err(BackendError::Precision {
                backend: self.name().into(),
                precision: spec.precision,
                known: self.precisions().to_vec(),
            });
        }
        if arch::is_encoder(spec) {
            return Ok(Box::new(EncoderSession::open(spec, weights, found)?));
        }
        let memory = if self.runs_on_cpu() { available_memory() } else { None };
        let learns = self.verbs().contains(&Verb::Learn);
        Ok(Box::new(BurnSession::open(spec, weights, found, memory, learns)?))
    }
}

/// Bytes of memory that programs may still take, where the system says so.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    kilobytes.checked_mul(1024)
}
