//! A run's rows, answered by its server.

use fidelio::{
    Error, Event, Flow, Machine, Observer, RowAnswerer, RunFile,
    backend::{AdapterId, Session},
    weights::Progress,
};
use fidelio_serve::{AnswerRows, RowsError};
use serde_json::{Map, Value};

use crate::failure::Failure;

/// What the facade answers, as the server asks.
pub(super) struct Rows(RowAnswerer);

impl Rows {
    /// None where the run's prompts need a table.
    pub(super) fn of_run(
        machine: &Machine,
        run: &RunFile,
        progress: &dyn Progress,
    ) -> Result<Option<Self>, Error> {
        Ok(RowAnswerer::new(machine, run, progress)?.map(Self))
    }
}

impl AnswerRows for Rows {
    fn features(&self) -> &[String] {
        self.0.features()
    }

    fn answer(
        &mut self,
        rows: Vec<Map<String, Value>>,
        session: &mut dyn Session,
        adapter: Option<AdapterId>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<Option<Map<String, Value>>>, RowsError> {
        let count = rows.len();
        let answered = self.0.answer(rows, session, adapter, &mut WhileWanted(go_on));
        let predictions = answered.map_err(reason)?;
        if predictions.stopped {
            return Err(RowsError::Stopped);
        }
        Ok((0..count).map(|row| self.0.named(&predictions, row)).collect())
    }
}

/// Stops the work once nobody waits for it.
struct WhileWanted<'a>(&'a dyn Fn() -> bool);

impl Observer for WhileWanted<'_> {
    fn on(&mut self, _: &Event) -> Flow {
        if (self.0)() { Flow::Continue } else { Flow::Stop }
    }
}

/// Rows that cannot be asked are the client's to mend, all of them; the rest is not.
fn reason(error: Error) -> RowsError {
    match &error {
        Error::Rows { problems, .. } => {
            let all: Vec<String> = problems.iter().map(|row| row.error.to_string()).collect();
            RowsError::Refused(all.join("; "))
        }
        _ => match Failure::from(error) {
            failure if failure.code() == crate::failure::FAILED => {
                let all: Vec<String> =
                    [failure.message()].into_iter().chain(failure.causes()).collect();
                RowsError::Failed(all.join(": "))
            }
            failure => RowsError::Refused(failure.message()),
        },
    }
}
