//! Rows at once, batches per update, rows per update: the third follows from two.

use serde_json::Value;

use crate::problem::Kind;
use crate::rules::Rules;

const ROWS: &str = "trainer.batch_size";
const BATCHES: &str = "trainer.gradient_accumulation_steps";
const ALL: &str = "trainer.effective_batch_size";
const MOST: &str = "trainer.max_batch_size";

impl Rules<'_> {
    pub(super) fn batches(&mut self) {
        let number = |path: &str| self.view.get(path).and_then(Value::as_u64);
        let (rows, batches, all) = (number(ROWS), number(BATCHES), number(ALL));
        if let (Some(all), Some(batches), Some(most)) = (all, batches, number(MOST))
            && all / batches > most
        {
            self.more_than(all / batches, most);
        }
        let Some(all) = all else { return };
        // The product says more than either factor alone.
        if let (Some(rows), Some(batches)) = (self.written_number(ROWS), batches) {
            if rows.checked_mul(batches) != Some(all) {
                let message = format!("{rows} rows times {batches} batches are not {all} rows");
                let problem = self
                    .at(Kind::Contradiction, ALL, message)
                    .hint("remove one of the three: it follows from the other two");
                let problem = self.also(problem, ROWS, "rows at once");
                let problem = self.also(problem, BATCHES, "batches per update");
                self.found.push(problem);
            }
            return;
        }
        for (path, part) in [(BATCHES, batches), (ROWS, rows)] {
            if let Some(part) = part.filter(|part| !all.is_multiple_of(*part)) {
                self.does_not_divide(path, part, all);
                return;
            }
        }
    }

    fn written_number(&self, path: &str) -> Option<u64> {
        self.view.written(path).and_then(Value::as_u64)
    }

    fn does_not_divide(&mut self, path: &str, part: u64, all: u64) {
        let name = path.strip_prefix("trainer.").unwrap_or(path);
        let message = format!("`effective_batch_size` is {all}, no multiple of `{name}` {part}");
        let problem = self
            .at(Kind::Contradiction, ALL, message)
            .because("every update has the same number of full batches");
        let problem = self.also(problem, path, "given here");
        self.found.push(problem);
    }

    fn more_than(&mut self, rows: u64, most: u64) {
        let message = format!("a batch would have {rows} rows, and `max_batch_size` is {most}");
        let problem = self.at(Kind::Contradiction, MOST, message);
        let problem = self.also(problem, ALL, "rows per update");
        let problem = self.also(problem, BATCHES, "in so many batches");
        self.found.push(problem);
    }
}
