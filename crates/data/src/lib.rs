//! Rows to forests: readers, splits, sampling, ledger.
