//! From how often each pair of true and predicted label occurs to the averaged figures.

/// Figures over all classes. A class without a true and without a predicted row takes no part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Averages {
    pub(crate) accuracy: f64,
    /// Recall averaged over classes that occur at all, as true or as predicted label.
    pub(crate) recall_macro: f64,
    /// Recall averaged over classes that have a true row.
    pub(crate) balanced_accuracy: f64,
    pub(crate) precision_macro: f64,
    pub(crate) f1_macro: f64,
    pub(crate) precision_weighted: f64,
    pub(crate) f1_weighted: f64,
    /// Not a number where chance alone would always agree.
    pub(crate) kappa: f64,
}

/// One class's rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Rows of this class that were recognized.
    pub(crate) hits: u64,
    /// Rows of this class.
    pub(crate) support: u64,
    /// Rows taken for this class.
    pub(crate) predicted: u64,
}

impl Tally {
    pub(crate) fn precision(self) -> f64 {
        share(self.hits, self.predicted)
    }

    pub(crate) fn recall(self) -> f64 {
        share(self.hits, self.support)
    }

    pub(crate) fn f1(self) -> f64 {
        share(2 * self.hits, self.support + self.predicted)
    }
}

/// 0 of 0 counts as 0, as in scikit-learn.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Each class's tally; `cells` are pairs of true and predicted label, each found `counts` times.
pub(crate) fn tallies(cells: &[(usize, usize)], counts: &[u32], labels: usize) -> Vec<Tally> {
    let mut tallies = vec![Tally::default(); labels];
    for (&(truth, predicted), &count) in cells.iter().zip(counts) {
        let count = u64::from(count);
        tallies[truth].support += count;
        tallies[predicted].predicted += count;
        if truth == predicted {
            tallies[truth].hits += count;
        }
    }
    tallies
}

/// The averaged figures of the same cells.
pub(crate) fn averages(cells: &[(usize, usize)], counts: &[u32], labels: usize) -> Averages {
    let tallies = tallies(cells, counts, labels);
    let (mut hits, mut rows, mut chance) = (0, 0, 0.0);
    let (mut present, mut with_truth) = (0_u64, 0_u64);
    let (mut recall, mut precision, mut f1) = (0.0, 0.0, 0.0);
    let (mut precision_weighted, mut f1_weighted) = (0.0, 0.0);
    for tally in tallies {
        hits += tally.hits;
        rows += tally.support;
        chance += tally.support as f64 * tally.predicted as f64;
        present += u64::from(tally.support + tally.predicted > 0);
        with_truth += u64::from(tally.support > 0);
        recall += tally.recall();
        precision += tally.precision();
        f1 += tally.f1();
        precision_weighted += tally.precision() * tally.support as f64;
        f1_weighted += tally.f1() * tally.support as f64;
    }
    let n = rows as f64;
    let accuracy = hits as f64 / n;
    let chance = chance / (n * n);
    Averages {
        accuracy,
        recall_macro: recall / present as f64,
        balanced_accuracy: recall / with_truth as f64,
        precision_macro: precision / present as f64,
        f1_macro: f1 / present as f64,
        precision_weighted: precision_weighted / n,
        f1_weighted: f1_weighted / n,
        kappa: if chance < 1.0 { (accuracy - chance) / (1.0 - chance) } else { f64::NAN },
    }
}
