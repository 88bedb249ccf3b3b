//! What `fidelio check` says about a run's rows, without computing anything.

use fidelio_prompting::Ledger;
use serde::Serialize;

use crate::{Audit, Error, Event, ExampleSurvey, Job, Observer, RowProblem, plan::AnswerPlan};

/// A run's rows, looked at one by one.
#[derive(Debug, Serialize)]
pub struct Survey {
    /// Rows looked at.
    pub rows: usize,
    /// Everything that is wrong with them.
    #[serde(serialize_with = "as_text")]
    pub problems: Vec<RowProblem>,
    /// Tokens of the prompts.
    pub prompt_tokens: Option<Lengths>,
    /// In a run that learns: what is learnt, and what looks like a mistake.
    pub audit: Option<Audit>,
    /// What became of every token.
    pub ledger: Ledger,
    /// What the prompts show as examples, where they show some.
    pub examples: Option<ExampleSurvey>,
    /// How often each label occurs, where the output is a category and the data has answers.
    pub labels: Vec<(String, usize)>,
    /// What was done that the run file does not say in so many words.
    pub notes: Vec<String>,
}

/// The spread of some lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Lengths {
    /// Half are at most so long.
    pub p50: usize,
    /// 95 of 100 are at most so long.
    pub p95: usize,
    /// The longest.
    pub max: usize,
}

impl Lengths {
    /// Of some lengths; none for none. The percentiles are lengths that occur (nearest rank).
    pub fn of(mut lengths: Vec<usize>) -> Option<Self> {
        lengths.sort_unstable();
        let rank = |share: f64| {
            let at = (share * lengths.len() as f64).ceil() as usize;
            lengths.get(at.max(1) - 1).copied()
        };
        Some(Self { p50: rank(0.5)?, p95: rank(0.95)?, max: *lengths.last()? })
    }
}

impl Job {
    /// Renders every row and reports what it finds.
    ///
    /// # Errors
    /// When the data cannot be read, or the observer stops it.
    pub fn survey(&self, observer: &mut dyn Observer) -> Result<Survey, Error> {
        let tried = self.try_rows(observer)?;
        if tried.stopped {
            return Err(Error::Stopped);
        }
        for note in &self.plan.data.notes {
            observer.on(&Event::Note(note.clone()));
        }
        let labels = self.labels.as_ref().map_or_else(Vec::new, |labels| {
            labels.labels().iter().cloned().zip(labels.counts().iter().copied()).collect()
        });
        let audit = || match self.plan.answer {
            AnswerPlan::Documents => Audit::of_documents(&tried.prepared),
            _ => Audit::of(&tried.prepared, self.renderer.stop_ids()),
        };
        let audit = self.learns.then(audit);
        Ok(Survey {
            rows: self.source.len(),
            audit,
            problems: tried.problems,
            examples: ExampleSurvey::of(&tried.prepared),
            prompt_tokens: Lengths::of(tried.prepared.iter().map(|row| row.prompt.len()).collect()),
            ledger: tried.ledger,
            labels,
            notes: self.plan.data.notes.clone(),
        })
    }
}

fn as_text<S: serde::Serializer>(problems: &[RowProblem], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(problems.iter().map(|problem| {
        serde_json::json!({
            "file": problem.place.file.display().to_string(),
            "line": problem.place.line,
            "message": problem.error.to_string(),
            "hint": problem.error.hint(),
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::Lengths;

    #[test]
    fn percentiles_are_lengths_that_occur() {
        let lengths = Lengths::of((1..=100).rev().collect()).unwrap();
        assert_eq!(lengths, Lengths { p50: 50, p95: 95, max: 100 });
        assert_eq!(Lengths::of(vec![7]), Some(Lengths { p50: 7, p95: 7, max: 7 }));
        assert_eq!(Lengths::of(Vec::new()), None);
    }
}
