//! Measurements of Fidelio, and of its peers beside it.
