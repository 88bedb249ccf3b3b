//! Facade for embedding: load a run file, resolve it into a plan, predict, evaluate.
