//! What a plugin says of itself. Both ways stand here.

use fidelio_backend::{BackendInfo, DeviceInfo, Precision};
use serde::{Deserialize, Serialize};

use crate::failure::VERBS;

/// The JSON of an [`abi::Description`](crate::abi::Description): `BackendInfo` without the verbs,
/// which are bits beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    name: String,
    about: String,
    devices: Vec<DeviceInfo>,
    precisions: Vec<Precision>,
}

impl Description {
    pub(crate) fn of(info: BackendInfo) -> Self {
        let BackendInfo { name, about, devices, precisions, verbs: _ } = info;
        Self { name, about, devices, precisions }
    }

    /// What the backend has, called `name` by the host.
    pub(crate) fn info(self, name: String, verbs: u64) -> BackendInfo {
        let Self { about, devices, precisions, name: _ } = self;
        let verbs = VERBS.iter().filter(|(_, bit)| verbs & bit != 0).map(|(verb, _)| *verb);
        BackendInfo { name, about, devices, precisions, verbs: verbs.collect() }
    }
}
