//! Metrics, bootstrap intervals, reports.
