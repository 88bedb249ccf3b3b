//! How much regularization: tried from much to little, judged on rows that were not fitted.

use serde::Serialize;

use crate::{
    Fit, Probe, ProbeError, Rows, Targets,
    loss::{log_1p_exp, log_sum_exp},
    probe::Path,
};

/// Half decades, from much to little.
const CANDIDATES: [f64; 15] =
    [1.0, 3e-1, 1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 3e-7, 1e-7];
/// After so many that are worse than the best, less will not be better.
const WORSE: usize = 2;

/// What judges a regularization.
#[derive(Debug, Clone, Copy)]
pub enum Judge<'a> {
    /// Rows kept aside.
    HeldOut(&'a Rows, Targets<'a>),
    /// The fitted rows themselves, each by a head that was fitted on other parts of them.
    Folds(usize),
}

/// A regularization and how well it did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tried {
    /// What the sum of the squared weights was multiplied with.
    pub regularization: f64,
    /// The mean loss of the rows that judged it.
    pub loss: f64,
}

/// The regularization that did best.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// It.
    pub regularization: f64,
    /// All that were tried, in order.
    pub tried: Vec<Tried>,
}

/// Chooses the regularization with the least mean loss on rows that were not fitted. `fit` says the
/// rest; its own regularization does not count.
///
/// # Errors
/// As [`Probe::fit`], and when the rows that judge do not fit, or there are none.
pub fn choose(
    rows: &Rows,
    targets: &Targets<'_>,
    fit: &Fit,
    judge: Judge<'_>,
) -> Result<Choice, ProbeError> {
    targets.check(rows)?;
    let mut trials = match judge {
        Judge::HeldOut(held_out, expected) => {
            expected.fit(held_out)?;
            vec![Trial::new(
                rows.clone(),
                Owned::of(targets),
                held_out.clone(),
                Owned::of(&expected),
                fit,
            )]
        }
        Judge::Folds(folds) => folded(rows, targets, folds, fit),
    };
    if trials.is_empty() {
        return Err(ProbeError::NothingJudges);
    }
    let mut tried: Vec<Tried> = Vec::new();
    let mut best = 0;
    for regularization in CANDIDATES {
        let fit = Fit { regularization, ..fit.clone() };
        fit.check(targets)?;
        let (mut sum, mut count) = (0.0, 0);
        for trial in &mut trials {
            sum += trial.loss(&fit)?;
            count += trial.held_out.len();
        }
        tried.push(Tried { regularization, loss: sum / count as f64 });
        let last = tried.len() - 1;
        if tried[last].loss < tried[best].loss {
            best = last;
        }
        if last - best >= WORSE {
            break;
        }
    }
    Ok(Choice { regularization: tried[best].regularization, tried })
}

/// Targets that stand for themselves.
#[derive(Debug)]
enum Owned {
    Labels { labels: Vec<String>, of: Vec<usize> },
    Numbers(Vec<f64>),
}

impl Owned {
    fn of(targets: &Targets<'_>) -> Self {
        match targets {
            Targets::Labels { labels, of } => {
                Self::Labels { labels: labels.to_vec(), of: of.to_vec() }
            }
            Targets::Numbers(of) => Self::Numbers(of.to_vec()),
        }
    }

    fn chosen(targets: &Targets<'_>, numbers: &[usize]) -> Self {
        match targets {
            Targets::Labels { labels, of } => Self::Labels {
                labels: labels.to_vec(),
                of: numbers.iter().map(|&number| of[number]).collect(),
            },
            Targets::Numbers(of) => Self::Numbers(numbers.iter().map(|&n| of[n]).collect()),
        }
    }

    fn view(&self) -> Targets<'_> {
        match self {
            Self::Labels { labels, of } => Targets::Labels { labels, of },
            Self::Numbers(of) => Targets::Numbers(of),
        }
    }
}

/// Rows that are fitted, and rows that judge.
#[derive(Debug)]
struct Trial {
    path: Path,
    targets: Owned,
    held_out: Rows,
    expected: Owned,
    /// Where the fit before ended.
    begun: Option<Vec<f64>>,
}

impl Trial {
    fn new(rows: Rows, targets: Owned, held_out: Rows, expected: Owned, fit: &Fit) -> Self {
        let path = Path::new(&rows, fit.standardize);
        Self { path, targets, held_out, expected, begun: None }
    }

    /// The sum of the losses of the rows that judge.
    fn loss(&mut self, fit: &Fit) -> Result<f64, ProbeError> {
        let probe = self.path.fit(&self.targets.view(), fit, &mut self.begun)?;
        let mut sum = 0.0;
        for (number, vector) in self.held_out.iter().enumerate() {
            sum += loss_of(&probe, vector, number, &self.expected.view())?;
        }
        Ok(sum)
    }
}

fn loss_of(
    probe: &Probe,
    vector: &[f32],
    number: usize,
    expected: &Targets<'_>,
) -> Result<f64, ProbeError> {
    let outputs = probe.outputs(vector)?;
    Ok(match expected {
        Targets::Numbers(of) => (outputs[0] - of[number]).powi(2),
        Targets::Labels { of, .. } => match outputs[..] {
            [second] => log_1p_exp(if of[number] == 1 { -second } else { second }),
            _ => log_sum_exp(&outputs) - outputs[of[number]],
        },
    })
}

/// Each part is judged once, by a head fitted on the others. Every label is spread over the parts; a
/// label's only row is always fitted.
fn folded(rows: &Rows, targets: &Targets<'_>, folds: usize, fit: &Fit) -> Vec<Trial> {
    let mut groups: Vec<Vec<usize>> = match targets {
        Targets::Numbers(of) => vec![(0..of.len()).collect()],
        Targets::Labels { labels, of } => {
            let mut groups = vec![Vec::new(); labels.len()];
            of.iter().enumerate().for_each(|(row, &label)| groups[label].push(row));
            groups
        }
    };
    groups.retain(|group| group.len() > 1);
    let judged = |fold: usize| {
        let mut judged: Vec<usize> = groups
            .iter()
            .flat_map(|group| group.iter().skip(fold).step_by(folds.max(2)).copied())
            .collect();
        judged.sort_unstable();
        judged
    };
    (0..folds.max(2))
        .map(judged)
        .filter(|judged| !judged.is_empty())
        .map(|judged| {
            let fitted: Vec<usize> =
                (0..rows.len()).filter(|row| judged.binary_search(row).is_err()).collect();
            Trial::new(
                rows.chosen(&fitted),
                Owned::chosen(targets, &fitted),
                rows.chosen(&judged),
                Owned::chosen(targets, &judged),
                fit,
            )
        })
        .collect()
}
