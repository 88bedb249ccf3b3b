//! What formats say whose feature is off.

use crate::{DataError, Source};

#[cfg(not(feature = "parquet"))]
pub(super) fn parquet() -> Result<Box<dyn Source>, DataError> {
    Err(DataError::Disabled { format: "Parquet", feature: "parquet" })
}

#[cfg(not(feature = "excel"))]
pub(super) fn excel() -> Result<Box<dyn Source>, DataError> {
    Err(DataError::Disabled { format: "Excel", feature: "excel" })
}
