//! A backend may be made by a closure, and be any type behind it.

use fidelio_backend::{Backend, BackendError, BackendInfo, DeviceId, OpenSpec, Session, Weights};

struct Mine(u32);

impl Backend for Mine {
    fn describe(&self) -> BackendInfo {
        BackendInfo {
            name: format!("mine-{}", self.0),
            about: String::new(),
            devices: Vec::new(),
            precisions: Vec::new(),
            verbs: Vec::new(),
        }
    }

    fn open(
        &self,
        _: DeviceId,
        _: &OpenSpec,
        _: &dyn Weights,
    ) -> Result<Box<dyn Session>, BackendError> {
        Err(BackendError::Engine("nothing is here".to_owned()))
    }
}

fidelio_plugin::export!(|| Mine(3));

fn main() {}
