//! How much there is to compute in a run.

use fidelio_backend::Batch;

use crate::{Cursor, Example, Order, TrainPlan, batches::Planting};

/// What a run computes.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// The first epoch's micro-batch with the most tokens.
    pub largest: Batch,
    /// Micro-batches of an update at most.
    pub micro_batches: usize,
    /// Tokens that go through the model in all updates, as far as the first epoch tells.
    pub tokens: u64,
    /// Updates in all.
    pub updates: u64,
}

impl Workload {
    /// The workload of a plan over these rows, none of which is computed.
    pub fn of(plan: &TrainPlan, rows: &[Example]) -> Self {
        let mut order = Order::new(rows.len(), plan.shuffle.then_some(plan.seed));
        let planting = Planting::of(plan.share_beginnings);
        let mut workload =
            Self { largest: Batch::default(), micro_batches: 0, tokens: 0, updates: plan.updates };
        let (mut cursor, mut updates) = (Cursor::default(), 0);
        while cursor.epoch == 0 && updates < plan.updates {
            let (window, next) = order.window(cursor, plan.rows_per_update());
            let window: Vec<&Example> = window.iter().map(|&row| &rows[row as usize]).collect();
            let micro_batches = window.chunks(plan.batch_size.max(1));
            workload.micro_batches = workload.micro_batches.max(micro_batches.len());
            for (i, rows) in micro_batches.enumerate() {
                let batch = planting.batch(rows, i * plan.batch_size, plan.adapter());
                workload.tokens += batch.forest.tokens.len() as u64;
                if batch.forest.tokens.len() > workload.largest.forest.tokens.len() {
                    workload.largest = batch;
                }
            }
            cursor = next;
            updates += 1;
        }
        let share = plan.updates as f64 / f64::from(updates.max(1) as u32);
        workload.tokens = (workload.tokens as f64 * share).round() as u64;
        workload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(batch_size: usize, gradient_accumulation_steps: usize, updates: u64) -> TrainPlan {
        serde_json::from_value(serde_json::json!({
            "updates": updates, "batch_size": batch_size,
            "gradient_accumulation_steps": gradient_accumulation_steps,
            "shuffle": false, "seed": 7, "learning_rate": 1.0,
            "schedule": { "warmup_updates": 0, "decay": { "type": "linear" } }, "plateau": null,
            "learn": { "trains": "all", "seed": 7, "optimizer": { "type": "sgd", "momentum": 0.0,
                "dampening": 0.0, "weight_decay": 0.0, "nesterov": false } },
            "share_beginnings": null, "evaluate_every": 10, "checkpoint_every": 10,
            "early_stop": null, "validation_metric": "loss", "goal": "minimize",
            "model_soup": null
        }))
        .unwrap()
    }

    /// Rows that feed 1, 2, 3, 4 and 5 tokens.
    fn rows() -> Vec<Example> {
        let row = |len: u32| Example {
            ids: (0..=len).collect(),
            learn: (0..=len).map(|i| i == len).collect(),
        };
        (1..=5).map(row).collect()
    }

    #[test]
    fn the_largest_micro_batch_is_found_and_every_epoch_counted() {
        let workload = Workload::of(&plan(2, 1, 9), &rows());
        assert_eq!(workload.largest.forest.tokens.len(), 3 + 4);
        assert_eq!((workload.tokens, workload.updates, workload.micro_batches), (45, 9, 1));
    }

    #[test]
    fn a_run_shorter_than_an_epoch_counts_what_it_computes() {
        let workload = Workload::of(&plan(1, 2, 2), &rows());
        assert_eq!(workload.largest.forest.tokens.len(), 4);
        assert_eq!((workload.tokens, workload.micro_batches), (1 + 2 + 3 + 4, 2));
    }
}
