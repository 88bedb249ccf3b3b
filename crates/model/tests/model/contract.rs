//! Every engine that is compiled in keeps the contract of the seam, on every architecture.

use fidelio_backend::{
    AdapterSpec, LoraSpec, Trains,
    contract::{check_learning, check_session},
};

use crate::checkpoint::{Golden, NAMES, engines};

#[test]
fn sessions_keep_the_contract() {
    for backend in engines() {
        for name in NAMES {
            let golden = Golden::read(name);
            check_session(&|| golden.open(&backend), 2e-4);
        }
    }
}

#[test]
fn sessions_that_learn_keep_the_contract() {
    let lora = r#"{ "r": 4, "lora_alpha": 8.0, "target_modules": "all-linear", "seed": 3 }"#;
    let lora: LoraSpec = serde_json::from_str(lora).unwrap();
    for backend in engines() {
        for name in NAMES {
            let golden = Golden::read(name);
            check_learning(&|| (golden.open(&backend), Trains::All), 1e-4);
            let adapted = || {
                let mut session = golden.open(&backend);
                let spec = AdapterSpec::Lora(lora.clone());
                let adapter = session.add_adapter(&spec, None).unwrap();
                (session, Trains::Adapter(adapter))
            };
            check_learning(&adapted, 1e-4);
        }
    }
}
