//! Plain documents, measured: the loss of every token that something comes before.

use std::{collections::BTreeMap, time::Instant};

use fidelio_eval::{DocumentStatistics, LossSum, Report};

use crate::{Error, Evaluation, Job, Observer, Predictions, Usage, job::Prepared};

impl Job {
    /// The perplexity of every document, windows of one added up.
    pub(crate) fn measure_documents(
        &mut self,
        observer: &mut dyn Observer,
    ) -> Result<Evaluation, Error> {
        let windows: Vec<Prepared> =
            self.prepared(observer)?.prepared.into_iter().map(asked).collect();
        // Opened before the clock starts.
        self.session = Some(self.open()?);
        let started = Instant::now();
        let scored = self.score_answers(&windows, observer)?;
        if scored.stopped {
            return Err(Error::Stopped);
        }
        let mut documents: BTreeMap<usize, (LossSum, usize)> = BTreeMap::new();
        for (window, logprobs) in windows.iter().zip(&scored.rows) {
            let (loss, bytes) = documents.entry(window.number).or_default();
            *loss += LossSum::of_logprobs(logprobs.iter().flatten().copied());
            *bytes += window.learnt_bytes;
        }
        let (losses, bytes): (Vec<LossSum>, Vec<usize>) = documents.into_values().unzip();
        let statistics = DocumentStatistics::measure(&losses, &bytes, &self.bootstrap())?;
        let given = windows.iter().map(|window| window.prompt.len() as u64).sum();
        let usage =
            Usage::new(started, given, statistics.tokens, scored.computed, statistics.documents);
        let feature = self.output.0.clone();
        let report = Report::of(feature.clone(), statistics);
        let headline = report.features[0].figure(&self.plan.validation_metric);
        let predictions = Predictions {
            feature,
            labels: None,
            fields: Vec::new(),
            rows: Vec::new(),
            usage,
            stopped: false,
        };
        Ok(Evaluation { report, headline, predictions, expected: Vec::new(), usage })
    }
}

/// A window as a question: what it only reads, then what it is asked for.
fn asked(window: Prepared) -> Prepared {
    let masked = window.learn.iter().take_while(|learnt| !**learnt).count();
    let (prompt, answer) = window.prompt.split_at(masked);
    Prepared { prompt: prompt.to_vec(), answers: vec![answer.to_vec()], ..window }
}
