//! Learning rates are those of PyTorch and transformers (`tests/make_schedules.py`).

use fidelio_trainer::{Goal, Plateau, PlateauState, Schedule};
use serde::Deserialize;

#[derive(Deserialize)]
struct Goldens {
    schedules: Vec<Case>,
    plateaus: Vec<PlateauCase>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    schedule: Schedule,
    updates: u64,
    learning_rate: f64,
    rates: Vec<f64>,
}

#[derive(Deserialize)]
struct PlateauCase {
    plateau: Plateau,
    goal: Goal,
    values: Vec<f64>,
    factors: Vec<f64>,
}

fn goldens() -> Goldens {
    serde_json::from_str(include_str!("../schedules.json")).unwrap()
}

#[test]
fn rates_are_those_of_others() {
    for Case { name, schedule, updates, learning_rate, rates } in goldens().schedules {
        assert!(rates.len() >= 10, "{name}");
        for (t, expected) in rates.into_iter().enumerate() {
            let rate = schedule.at(t as u64, updates, learning_rate);
            // They multiply step by step where we use the closed form.
            assert!((rate - expected).abs() < 1e-12, "{name} at {t}: {rate}, not {expected}");
        }
    }
}

#[test]
fn plateaus_are_those_of_others() {
    for PlateauCase { plateau, goal, values, factors } in goldens().plateaus {
        let mut state = PlateauState::default();
        for (i, (value, factor)) in values.into_iter().zip(factors).enumerate() {
            state.watch(value, goal, &plateau);
            let found = state.factor(&plateau);
            assert!((found - factor).abs() < 1e-12, "{plateau:?} at {i}: {found}, not {factor}");
        }
    }
}
