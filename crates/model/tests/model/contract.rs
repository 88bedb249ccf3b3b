//! Every engine that is compiled in keeps the contract of the seam, on every architecture.

use crate::checkpoint::{Golden, NAMES};

#[test]
fn sessions_keep_the_contract() {
    assert!(!fidelio_model::backends().is_empty(), "the tests need an engine");
    for backend in fidelio_model::backends() {
        for name in NAMES {
            let golden = Golden::read(name);
            fidelio_backend::contract::check_session(&|| golden.open(&backend), 2e-4);
        }
    }
}
