//! Run files: parse with positions, check, fill defaults; JSON Schema and reference pages.
