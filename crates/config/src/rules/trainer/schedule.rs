//! Numbers of the learning-rate schedule that have to fit each other.

use serde_json::Value;

use crate::catalogue::metrics_of;
use crate::problem::Kind;
use crate::rules::Rules;
use crate::suggest::nearest;
use crate::view::join;

const AT: &str = "trainer.learning_rate_scheduler";

impl Rules<'_> {
    pub(super) fn schedule(&mut self) {
        self.shares();
        self.lowest_rate();
        self.plateau();
    }

    fn shares(&mut self) {
        let paths = ["wsd_warmup_fraction", "wsd_stable_fraction", "wsd_decay_fraction"]
            .map(|share| join(AT, share));
        if self.view.text(&join(AT, "decay")) != Some("wsd")
            || paths.iter().any(|path| self.view.broken(path))
        {
            return;
        }
        let sum: f64 = paths.iter().filter_map(|path| self.view.number(path)).sum();
        let Some(written) = paths.iter().rfind(|path| self.view.written(path).is_some()) else {
            return;
        };
        if (sum - 1.0).abs() > 1e-6 {
            let sum = (sum * 1e6).round() / 1e6;
            let message = format!("the shares of `wsd` add up to {sum}, not to 1");
            let problem = self
                .at(Kind::NotAllowed, written, message)
                .hint("leave one out: it is what the other two leave");
            self.found.push(problem);
        }
    }

    /// A rate that is to fall must not end higher than it begins.
    fn lowest_rate(&mut self) {
        let rate = "trainer.learning_rate";
        let Some(highest) = self.view.number(rate) else { return };
        for name in ["eta_min", "polynomial_end_lr"] {
            let path = join(AT, name);
            let Some(lowest) = self.view.number(&path).filter(|lowest| *lowest >= highest) else {
                continue;
            };
            let message = format!("`{path}` is {lowest}, and the learning rate is {highest}");
            let problem =
                self.at(Kind::Contradiction, &path, message).because("the rate would never fall");
            let problem = self.also(problem, rate, "the highest rate");
            self.found.push(problem);
        }
    }

    fn plateau(&mut self) {
        let (path, split) = (join(AT, "reduce_eval_metric"), join(AT, "reduce_eval_split"));
        let (Some(metric), Some(rows)) = (self.view.text(&path), self.view.text(&split)) else {
            return;
        };
        let (metric, rows) = (metric.to_owned(), rows.to_owned());
        if rows == "training" && metric != "loss" {
            let message = format!("`{metric}` is not measured on the training rows");
            let problem = self
                .at(Kind::Contradiction, &path, message)
                .hint("write `reduce_eval_split: validation`, or `reduce_eval_metric: loss`");
            self.found.push(problem);
            return;
        }
        let skip = "trainer.skip_all_evaluation";
        if rows == "validation" && self.view.get(skip) == Some(&Value::Bool(true)) {
            let message = "nothing is measured on the validation rows".to_owned();
            let problem = self.at(Kind::Contradiction, &split, message);
            let problem = self.also(problem, skip, "decided here");
            self.found.push(problem);
        }
        let kind = self.view.measured_as();
        let known: Vec<&str> = metrics_of(kind).iter().map(|metric| metric.name).collect();
        if !known.contains(&metric.as_str()) {
            let hint = nearest(&metric, known.iter().copied()).map_or_else(
                || format!("one of `{}`", known.join("`, `")),
                |near| format!("did you mean `{near}`?"),
            );
            let message = format!("a {kind} output has no metric `{metric}`");
            let problem = self.at(Kind::NotAllowed, &path, message).hint(hint);
            self.found.push(problem);
        }
    }
}
