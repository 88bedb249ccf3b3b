//! What was measured, as `benchmarks/runs/` keeps it.

use super::case::{Against, Case};
use super::machine::Machine;
use super::statistics::{self, Spread};
use crate::places;
use crate::watch::Watched;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// All cases of one day on one machine.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Results {
    /// As `2026-11-26`, in UTC.
    pub(super) date: String,
    pub(super) machine: Machine,
    pub(super) cases: Vec<Measured>,
}

/// A case with what every side reached.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Measured {
    pub(super) suite: String,
    pub(super) quick: bool,
    /// A hash of what was asked for, texts included.
    pub(super) config: String,
    /// Threads that both sides were given.
    pub(super) threads: usize,
    pub(super) case: Case,
    pub(super) fidelio: Built,
    /// Fidelio first.
    pub(super) sides: Vec<Side>,
}

/// What a binary says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Built {
    pub(super) version: String,
    /// `release, x86_64 on linux`.
    pub(super) build: String,
    /// Where it was built from sources; none for one that was given.
    pub(super) commit: Option<String>,
}

/// One side of a comparison.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Side {
    pub(super) name: String,
    /// None for Fidelio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) peer: Option<Against>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) packages: BTreeMap<String, String>,
    /// What the peer says of its build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
    pub(super) samples: Vec<Sample>,
}

/// One repetition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Sample {
    pub(super) figures: BTreeMap<String, f64>,
    pub(super) wall_seconds: f64,
    /// Processor time of the process.
    pub(super) own_cpu_seconds: Option<f64>,
    /// Processor time of everything else on the machine meanwhile.
    pub(super) foreign_cpu_seconds: Option<f64>,
    /// Repetitions that were thrown away because something else was at work.
    #[serde(default)]
    pub(super) thrown_away: usize,
    /// For each row that was held out, `1` where the answer was right and `0` where not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) right: String,
}

/// The share of its own processor time that others may take from a repetition.
const DISTURBED: f64 = 0.03;

/// What a machine does by itself is no disturbance, in seconds for each second.
const IDLE: f64 = 0.02;

impl Sample {
    pub(super) fn of<const N: usize>(seen: &Watched, figures: [(&str, f64); N]) -> Self {
        let figures = figures.map(|(name, value)| (name.to_owned(), value));
        let mut figures = BTreeMap::from(figures);
        if let Some(peak) = seen.peak {
            figures.insert("peak_bytes".to_owned(), peak as f64);
        }
        Self {
            figures,
            wall_seconds: seen.wall,
            own_cpu_seconds: seen.processor.map(|it| it.own),
            foreign_cpu_seconds: seen.processor.map(|it| it.foreign),
            thrown_away: 0,
            right: String::new(),
        }
    }

    /// Processor time of others, as a share of its own, where that is known.
    pub(super) fn disturbance(&self) -> Option<f64> {
        let (own, foreign) = (self.own_cpu_seconds?, self.foreign_cpu_seconds?);
        Some((foreign - IDLE * self.wall_seconds).max(0.0) / own.max(0.01))
    }

    pub(super) fn is_disturbed(&self) -> bool {
        self.disturbance().is_some_and(|share| share > DISTURBED)
    }
}

impl Side {
    /// All values of a figure.
    pub(super) fn values(&self, figure: &str) -> Vec<f64> {
        let values = self.samples.iter().filter_map(|sample| sample.figures.get(figure).copied());
        values.filter(|value| value.is_finite()).collect()
    }

    pub(super) fn spread(&self, figure: &str) -> Option<Spread> {
        statistics::spread(&self.values(figure))
    }

    /// For each row that was held out, the share of repetitions that answered it right.
    fn right(&self) -> Vec<f64> {
        let rows = self.samples.first().map_or(0, |sample| sample.right.len());
        let right = |row| self.samples.iter().filter(|it| it.right.as_bytes()[row] == b'1').count();
        (0..rows).map(|row| right(row) as f64 / self.samples.len() as f64).collect()
    }
}

impl Measured {
    /// How many times as fast Fidelio is as one of its peers.
    pub(super) fn speed(&self, peer: &Side) -> Option<Spread> {
        let (figure, more_is_better) = self.case.work.figure();
        let (ours, theirs) = (self.sides.first()?.values(figure), peer.values(figure));
        if more_is_better {
            statistics::ratio(&ours, &theirs)
        } else {
            statistics::ratio(&theirs, &ours)
        }
    }

    /// How much more accurate Fidelio is than one of its peers, on the same rows.
    pub(super) fn gain(&self, peer: &Side) -> Option<Spread> {
        statistics::difference(&self.sides.first()?.right(), &peer.right())
    }

    /// Fidelio's peak memory as a share of a peer's.
    pub(super) fn memory(&self, peer: &Side) -> Option<f64> {
        let ours = self.sides.first()?.spread("peak_bytes")?.median;
        Some(ours / peer.spread("peak_bytes")?.median)
    }
}

impl Results {
    pub(super) fn new(machine: Machine, cases: Vec<Measured>) -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs());
        Self { date: date(seconds / 86_400), machine, cases }
    }

    /// Where they are kept.
    pub(super) fn path(&self) -> PathBuf {
        folder().join(format!("{}-{}.json", self.date, self.machine.slug()))
    }

    /// Writes them; cases of a file that is there stay unless they were measured again.
    pub(super) fn save(mut self, path: &Path) -> Result<()> {
        if path.exists() {
            let before = Self::load(path)?;
            let again = |old: &Measured| {
                self.cases
                    .iter()
                    .any(|new| (&new.suite, &new.case.name) == (&old.suite, &old.case.name))
            };
            let mut cases: Vec<Measured> =
                before.cases.into_iter().filter(|case| !again(case)).collect();
            cases.append(&mut self.cases);
            self.cases = cases;
        }
        let mut text = serde_json::to_string_pretty(&self)?;
        text.push('\n');
        let partial = path.with_extension("json.tmp");
        std::fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
        std::fs::write(&partial, text)
            .and_then(|()| std::fs::File::open(&partial)?.sync_all())
            .and_then(|()| std::fs::rename(&partial, path))
            .with_context(|| format!("cannot write `{}`", path.display()))
    }

    fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("`{}` holds no results of this version", path.display()))
    }

    /// All that are kept, the newest first.
    pub(super) fn all() -> Result<Vec<Self>> {
        let mut paths: Vec<PathBuf> = match std::fs::read_dir(folder()) {
            Ok(entries) => entries.map(|it| Ok(it?.path())).collect::<Result<_>>()?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).context("cannot read `benchmarks/runs`"),
        };
        paths.retain(|path| path.extension().is_some_and(|end| end == "json"));
        // Their names begin with the date.
        paths.sort();
        paths.iter().rev().map(|path| Self::load(path)).collect()
    }
}

fn folder() -> PathBuf {
    places::root().join("benchmarks/runs")
}

/// The day so many days after 1970 began, in the civil calendar.
fn date(days: u64) -> String {
    let (mut year, mut left) = (1970, days);
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while left >= 365 + u64::from(is_leap(year)) {
        left -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < days {
            break;
        }
        left -= days;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", left + 1)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::case::{Peer, Weights, Work};
    use super::*;

    pub(in super::super) fn sample(rate: f64, peak: f64, foreign: f64) -> Sample {
        Sample {
            figures: BTreeMap::from([
                ("tokens_per_second".to_owned(), rate),
                ("peak_bytes".to_owned(), peak),
            ]),
            wall_seconds: 1.0,
            own_cpu_seconds: Some(2.0),
            foreign_cpu_seconds: Some(foreign),
            thrown_away: 0,
            right: String::new(),
        }
    }

    pub(in super::super) fn measured() -> Measured {
        let against = Against { peer: Peer::LlamaCpp, weights: None, precision: None };
        let side = |name: &str, rates: [f64; 3], peak| Side {
            name: name.to_owned(),
            samples: rates.map(|rate| sample(rate, peak, 0.0)).to_vec(),
            ..Side::default()
        };
        Measured {
            suite: "cpu".to_owned(),
            quick: false,
            config: "0123456789abcdef".to_owned(),
            threads: 2,
            case: Case {
                name: "decode".to_owned(),
                model: "smollm2-135m".to_owned(),
                weights: Weights::Shipped,
                arithmetic: None,
                threads: 2,
                repetitions: 3,
                work: Work::Decode { prompt_tokens: 64, new_tokens: 128 },
                against: vec![against.clone()],
                goal: None,
            },
            fidelio: Built { version: "0.1.0".into(), build: "release".into(), commit: None },
            sides: vec![
                side("Fidelio", [90.0, 100.0, 110.0], 1e8),
                Side { peer: Some(against), ..side("llama.cpp", [50.0, 40.0, 60.0], 2e8) },
            ],
        }
    }

    #[test]
    fn speed_is_ours_over_theirs_and_of_seconds_theirs_over_ours() {
        let mut measured = measured();
        let times = |measured: &Measured| measured.speed(&measured.sides[1]).map(|it| it.median);
        assert_eq!(times(&measured), Some(2.0));
        assert_eq!(measured.memory(&measured.sides[1]), Some(0.5));
        measured.case.work = Work::Start { prompt_tokens: 16 };
        for (side, seconds) in measured.sides.iter_mut().zip([0.25, 1.0]) {
            for sample in &mut side.samples {
                sample.figures.insert("seconds".to_owned(), seconds);
            }
        }
        assert_eq!(times(&measured), Some(4.0));
    }

    #[test]
    fn a_repetition_is_disturbed_by_what_others_take() {
        assert!(!sample(1.0, 1.0, 0.05).is_disturbed());
        assert!(sample(1.0, 1.0, 0.2).is_disturbed());
        let unknown = Sample { foreign_cpu_seconds: None, ..sample(1.0, 1.0, 9.0) };
        assert!(!unknown.is_disturbed());
    }

    #[test]
    fn a_case_that_is_measured_again_takes_its_place_and_others_stay() {
        let folder = std::env::temp_dir().join(format!("fidelio-results-{}", std::process::id()));
        let path = folder.join("day.json");
        let results = |names: &[&str], version: &str| {
            let case = |name: &&str| {
                let mut measured = measured();
                measured.case.name = (*name).to_owned();
                measured.fidelio.version = version.to_owned();
                measured
            };
            Results::new(Machine::this(), names.iter().map(case).collect())
        };
        results(&["a", "b"], "1").save(&path).unwrap();
        results(&["b", "c"], "2").save(&path).unwrap();
        let kept = Results::load(&path).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        let kept: Vec<_> = kept
            .cases
            .iter()
            .map(|it| (it.case.name.as_str(), it.fidelio.version.as_str()))
            .collect();
        assert_eq!(kept, [("a", "1"), ("b", "2"), ("c", "2")]);
    }

    #[test]
    fn a_gain_is_counted_row_by_row_over_repetitions() {
        let mut measured = measured();
        assert_eq!(measured.gain(&measured.sides[1]), None);
        for (side, rights) in
            measured.sides.iter_mut().zip([["1101", "1101", "1101"], ["1001", "1000", "1001"]])
        {
            for (sample, right) in side.samples.iter_mut().zip(rights) {
                sample.right = right.to_owned();
            }
        }
        let gain = measured.gain(&measured.sides[1]).unwrap();
        assert!((gain.median - 1.0 / 3.0).abs() < 1e-12, "{gain:?}");
        assert!(gain.low <= gain.median && gain.high >= gain.median && gain.high <= 1.0);
    }

    #[test]
    fn days_become_dates() {
        for (days, expected) in
            [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29"), (20_783, "2026-11-26")]
        {
            assert_eq!(date(days), expected);
        }
    }
}
