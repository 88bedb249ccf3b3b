//! The seam across a C ABI: engines that are loaded at run time.
//!
//! An author implements [`fidelio_backend::Backend`], writes [`export!`] and builds a `cdylib`; who
//! writes C fills an [`abi::PluginTable`] with the help of `include/fidelio_plugin.h`. A program
//! loads either with [`PluginBackend::load`], and has a `Backend` like any other.
//!
//! ```no_run
//! use fidelio_backend::Backend;
//! use fidelio_plugin::PluginBackend;
//!
//! # #[cfg(feature = "host")]
//! # fn main() -> Result<(), fidelio_plugin::PluginError> {
//! let engine = PluginBackend::load("plugins/libexample.so".as_ref())?;
//! println!("{}", engine.describe().about);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "host"))]
//! # fn main() {}
//! ```
//!
//! Loading a plugin runs its code with all rights of the process. So it is only ever loaded from a
//! path that somebody gave or from a folder that somebody named, and never looked for elsewhere.
//!
//! This crate deliberately holds no engine, and knows of no file format and no user's configuration.
#![allow(unsafe_code, reason = "a C border is made of pointers; every block says why it is sound")]
#![cfg_attr(
    not(feature = "host"),
    allow(
        dead_code,
        reason = "what crosses is written and read in one place; a plugin needs a half"
    )
)]

pub mod abi;
#[cfg(feature = "conformance")]
pub mod conformance;
mod description;
#[cfg(feature = "host")]
mod error;
#[doc(hidden)]
pub mod export;
mod failure;
mod forest;
#[cfg(feature = "host")]
mod host;
mod reading;
mod steps;
mod tensors;

#[cfg(feature = "host")]
pub use error::PluginError;
#[cfg(feature = "host")]
pub use host::{PluginBackend, plugin_name, plugins_in};

#[doc(hidden)]
pub use fidelio_backend as backend;
