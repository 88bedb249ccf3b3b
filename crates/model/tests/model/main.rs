//! Architectures against independent references, and every engine against the contract.

mod checkpoint;
mod contract;
mod golden;
mod refusals;
