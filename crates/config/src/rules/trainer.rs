//! Rules of `trainer` with `type: finetune`.

mod batches;
mod optimizer;
mod schedule;

use serde_json::Value;

use super::Rules;
use crate::catalogue::OF_LOSS;
use crate::problem::Kind;

impl Rules<'_> {
    pub(super) fn trainer(&mut self) {
        if self.view.text("trainer.type") != Some("finetune") {
            return;
        }
        self.batches();
        self.checkpoints();
        self.answers();
        self.clipping();
        self.optimizer();
        self.schedule();
        if self.view.written("trainer.layers_to_freeze_regex").is_some() {
            self.regex("trainer.layers_to_freeze_regex");
        }
    }

    fn checkpoints(&mut self) {
        let (steps, times) = ("trainer.steps_per_checkpoint", "trainer.checkpoints_per_epoch");
        let given = |path: &str| self.view.number(path).is_some_and(|number| number > 0.0);
        if given(steps) && given(times) {
            let message = "two keys say when a checkpoint is made".to_owned();
            let problem = self.at(Kind::Contradiction, steps, message).hint("keep one of the two");
            let problem = self.also(problem, times, "the other");
            self.found.push(problem);
        }
        let stop = "trainer.early_stop";
        if self.view.written(stop) == Some(&Value::from(0)) {
            let problem = self
                .at(Kind::NotAllowed, stop, format!("`{stop}` is 0"))
                .because("training would end before its first evaluation")
                .hint("write -1 for never, or at least 1");
            self.found.push(problem);
        }
        let (most, rows) = ("trainer.eval_steps", "trainer.eval_batch_size");
        if self.view.written(most).is_some() && self.view.text(rows) == Some("auto") {
            let problem = self
                .at(Kind::Contradiction, most, format!("`{most}` needs a number in `{rows}`"))
                .because("with `auto`, how many rows are evaluated would depend on the machine")
                .hint("add `eval_batch_size: 8`");
            self.found.push(problem);
        }
    }

    fn answers(&mut self) {
        let asked = "trainer.predict_with_generate";
        let answers = self.view.written(asked) == Some(&Value::Bool(true));
        if answers && self.view.measured_as() == "document" {
            let problem = self
                .at(Kind::Contradiction, asked, "documents ask for no answer".to_owned())
                .hint("remove it: their loss is measured");
            let problem = self.also(problem, "prompt.document", "the documents");
            self.found.push(problem);
        }
        let plateau = "trainer.learning_rate_scheduler.reduce_eval_metric";
        let watched = self.view.text(plateau).filter(|metric| !OF_LOSS.contains(metric));
        if let (Some(metric), Some(Value::Bool(false))) = (watched, self.view.written(asked)) {
            let message =
                format!("`{metric}` is made from answers, and none are made while training");
            let problem = self
                .at(Kind::Contradiction, plateau, message)
                .hint("watch `loss`, or remove `predict_with_generate: false`");
            let problem = self.also(problem, asked, "decided here");
            self.found.push(problem);
        }
    }

    fn clipping(&mut self) {
        let keys = ["clipglobalnorm", "clipnorm", "clipvalue"]
            .map(|key| format!("trainer.gradient_clipping.{key}"));
        let written: Vec<&String> =
            keys.iter().filter(|key| self.view.written(key).is_some()).collect();
        if let [first, second, ..] = written.as_slice() {
            let message = "gradients are limited in two ways".to_owned();
            let problem = self.at(Kind::Contradiction, second, message).hint("keep one of the two");
            let problem = self.also(problem, first, "the other");
            self.found.push(problem);
        }
        // Elsewhere `null` means "not written"; a reader of Ludwig's pages means "no limit".
        let [global, ..] = &keys;
        let null = self.checked.places.contains_key(global) && written.is_empty();
        if null && !self.view.broken(global) {
            let problem = self
                .at(Kind::NotAllowed, global, format!("`{global}` has no value"))
                .because("left out, it is 0.5")
                .hint("write 0 for no limit, or remove the line");
            self.found.push(problem);
        }
    }
}
