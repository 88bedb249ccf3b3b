//! Settings of an optimizer that need each other.

use serde_json::Value;

use crate::problem::Kind;
use crate::rules::Rules;

const MOMENTUM: &str = "trainer.optimizer.momentum";
const DAMPENING: &str = "trainer.optimizer.dampening";
const NESTEROV: &str = "trainer.optimizer.nesterov";
const RELATIVE: &str = "trainer.optimizer.relative_step";
const RATE: &str = "trainer.learning_rate";
const SCHEDULER: &str = "trainer.learning_rate_scheduler";

impl Rules<'_> {
    pub(super) fn optimizer(&mut self) {
        self.betas();
        match self.view.text("trainer.optimizer.type") {
            Some("sgd") => self.momentum(),
            Some("adafactor") => self.relative_step(),
            Some("schedule_free_adamw") => self.schedule_free(),
            _ => {}
        }
    }

    fn betas(&mut self) {
        let path = "trainer.optimizer.betas";
        let count = self.view.written(path).and_then(Value::as_array).map_or(2, Vec::len);
        if count != 2 {
            let message = format!("`{path}` has {count} numbers");
            let problem =
                self.at(Kind::NotAllowed, path, message).hint("write two: `[0.9, 0.999]`");
            self.found.push(problem);
        }
    }

    fn momentum(&mut self) {
        let moves = self.view.number(MOMENTUM).is_some_and(|momentum| momentum > 0.0);
        let dampens = self.view.number(DAMPENING).is_some_and(|dampening| dampening != 0.0);
        let looks_ahead = self.view.get(NESTEROV) == Some(&Value::Bool(true));
        for (path, on) in [(DAMPENING, dampens), (NESTEROV, looks_ahead)] {
            if on && !moves && !self.view.broken(MOMENTUM) {
                let problem = self
                    .at_key(Kind::Useless, path, format!("`{path}` has no effect here"))
                    .because("it needs a `momentum` above 0")
                    .hint("add `momentum: 0.9`, or remove it");
                self.found.push(problem);
            }
        }
        if dampens && looks_ahead && moves {
            let message = "Nesterov's momentum cannot be dampened".to_owned();
            let problem =
                self.at(Kind::Contradiction, NESTEROV, message).hint("remove one of the two");
            let problem = self.also(problem, DAMPENING, "dampened here");
            self.found.push(problem);
        }
    }

    fn relative_step(&mut self) {
        if self.view.broken(RELATIVE) {
            return;
        }
        if self.view.get(RELATIVE) == Some(&Value::Bool(true)) {
            for path in [RATE, SCHEDULER] {
                if self.view.written(path).is_some() {
                    let problem = self
                        .at_key(Kind::Useless, path, format!("`{path}` has no effect here"))
                        .because("`adafactor` takes a rate of its own unless `relative_step: false`")
                        .hint("write `optimizer: {type: adafactor, relative_step: false}`, or remove it");
                    let problem = self.also(problem, "trainer.optimizer.type", "chosen here");
                    self.found.push(problem);
                }
            }
        } else if self.view.get("trainer.optimizer.warmup_init") == Some(&Value::Bool(true)) {
            let path = "trainer.optimizer.warmup_init";
            let problem = self
                .at_key(Kind::Useless, path, format!("`{path}` has no effect here"))
                .because("it needs `relative_step: true`")
                .hint("remove it; `warmup_fraction` of the schedule is a warm-up");
            let problem = self.also(problem, RELATIVE, "decided here");
            self.found.push(problem);
        }
    }

    fn schedule_free(&mut self) {
        let decay = "trainer.learning_rate_scheduler.decay";
        let falls = self.view.text(decay).is_some_and(|decay| decay != "constant");
        if self.view.written(SCHEDULER).is_some() && falls {
            let message = "`schedule_free_adamw` takes the place of a falling learning rate";
            let at = if self.view.written(decay).is_some() { decay } else { SCHEDULER };
            let problem = self
                .at(Kind::Contradiction, at, message.to_owned())
                .hint("write `decay: constant`, or choose `adamw`");
            let problem = self.also(problem, "trainer.optimizer.type", "chosen here");
            self.found.push(problem);
        }
    }
}
