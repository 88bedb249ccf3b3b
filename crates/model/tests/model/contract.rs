//! Every engine that is compiled in keeps the contract of the seam, on every architecture.

use crate::checkpoint::{Golden, NAMES, engines};

#[test]
fn sessions_keep_the_contract() {
    for backend in engines() {
        for name in NAMES {
            let golden = Golden::read(name);
            fidelio_backend::contract::check_session(&|| golden.open(&backend), 2e-4);
        }
    }
}
