//! `cargo xtask bench e2e`: whole runs, repetition by repetition beside each other.

use super::case::{Case, Peer, Suite};
use super::data::Texts;
use super::fidelio::Binary;
use super::machine::Machine;
use super::peers::Peers;
use super::results::{Measured, Results, Sample, Side};
use super::{models, page};
use crate::places;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A file under `benchmarks/suites/`, without its ending.
    #[arg(default_value = "cpu")]
    suite: String,
    /// Only the cases whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Run each case's peers between Fidelio's repetitions: all of them, or these.
    #[arg(long, value_enum, value_name = "PEER", num_args = 0.., value_delimiter = ',')]
    against: Option<Vec<Peer>>,
    /// A few seconds for each case: whether all works, not how fast it is. Nothing is stored.
    #[arg(long)]
    quick: bool,
    /// This binary instead of a release build of the sources.
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// A Python with the packages of `benchmarks/peers/requirements.txt`, instead of installing them.
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// How often a repetition is made again when something else was at work on the machine.
    #[arg(long, value_name = "N", default_value_t = 3)]
    retries: usize,
    /// Where results are stored, instead of `benchmarks/runs/DATE-MACHINE.json`.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// List the cases and run none.
    #[arg(long)]
    list: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<()> {
    let mut cases = Suite::load(&args.suite)?.cases;
    cases.retain(|case| args.only.as_ref().is_none_or(|only| case.name.contains(only.as_str())));
    if cases.is_empty() {
        bail!("no case of `{}` has such a name (`--list` shows them)", args.suite);
    }
    for case in &mut cases {
        case.against.retain(|it| wanted(args.against.as_deref(), it.peer));
    }
    if args.list {
        for case in cases {
            println!("{}", case.name);
        }
        return Ok(());
    }

    let texts = Texts::load()?;
    models::fetch(&cases)?;
    let binary = Binary::find(args.binary.as_deref())?;
    if !binary.built.build.starts_with("release") {
        eprintln!("bench: this is no release build: its figures show only that it works");
    }
    let peers = if cases.iter().all(|case| case.against.is_empty()) {
        None
    } else {
        Some(Peers::find(args.python.as_deref())?)
    };
    let sides =
        Sides { binary: &binary, peers: peers.as_ref(), texts: &texts, retries: args.retries };
    let (mut measured, mut failures) = (Vec::new(), Vec::new());
    for case in cases {
        let case = if args.quick { case.quick() } else { case };
        let name = case.name.clone();
        match sides.measure(case, args) {
            Ok(case) => {
                print!("{}", page::shown(&case));
                measured.push(case);
                // What is measured is kept at once: the next case may take an hour.
                if !args.quick || args.output.is_some() {
                    store(args, measured.split_off(0))?;
                }
            }
            Err(error) => {
                eprintln!("bench: `{name}`: {error:#}");
                failures.push(name);
            }
        }
    }
    if !failures.is_empty() {
        bail!("{} cases could not be measured: {}", failures.len(), failures.join(", "));
    }
    Ok(())
}

fn wanted(against: Option<&[Peer]>, peer: Peer) -> bool {
    against.is_some_and(|peers| peers.is_empty() || peers.contains(&peer))
}

/// How far apart first losses may be, for the precisions they are computed in.
const LOSS: f64 = 0.01;

/// Before the first update all sides have the same weights and rows, and so the same loss.
fn same_first_loss(sides: &[Side]) -> Result<()> {
    let loss = |side: &Side| side.spread("first_loss").map(|it| it.median);
    let Some(ours) = sides.first().and_then(loss) else { return Ok(()) };
    for side in &sides[1..] {
        let theirs = loss(side).context("a peer has no first loss")?;
        if (ours - theirs).abs() > LOSS * theirs {
            bail!(
                "the first loss is {ours:.4}, and {}'s is {theirs:.4}: not the same work",
                side.name
            );
        }
    }
    Ok(())
}

fn store(args: &Args, cases: Vec<Measured>) -> Result<()> {
    let results = Results::new(Machine::this(), cases);
    let path = args.output.clone().unwrap_or_else(|| results.path());
    results.save(&path)
}

/// What takes turns.
struct Sides<'a> {
    binary: &'a Binary,
    peers: Option<&'a Peers>,
    texts: &'a Texts,
    retries: usize,
}

impl Sides<'_> {
    /// All sides of a case: A B C, A B C, ...
    fn measure(&self, case: Case, args: &Args) -> Result<Measured> {
        let model = models::file(self.binary, &case, case.weights)?;
        let mut sides = vec![Side { name: "Fidelio".to_owned(), ..Side::default() }];
        let mut files = vec![model.clone()];
        for against in &case.against {
            files.push(match against.peer {
                Peer::LlamaCpp => {
                    models::file(self.binary, &case, against.weights.unwrap_or(case.weights))?
                }
                Peer::Transformers | Peer::Peft => models::folder(self.binary, &case)?,
            });
            sides.push(Side {
                name: against.name(),
                peer: Some(against.clone()),
                ..Side::default()
            });
        }
        for repetition in 1..=case.repetitions {
            for (side, file) in sides.iter_mut().zip(&files) {
                let of = case.repetitions;
                eprintln!("bench: {}: {} {repetition}/{of}", case.name, side.name);
                let sample = self.undisturbed(|| self.once(&case, side, file))?;
                side.samples.push(sample);
            }
        }
        same_first_loss(&sides)?;
        Ok(Measured {
            suite: args.suite.clone(),
            quick: args.quick,
            config: case.hash(&self.texts.bytes)?,
            threads: case.threads(),
            fidelio: self.binary.built.clone(),
            case: Case { model: models::shown(&case.model), ..case },
            sides,
        })
    }

    /// One repetition of one side.
    fn once(&self, case: &Case, side: &mut Side, model: &Path) -> Result<Sample> {
        let folder = Folder::make()?;
        let Some(against) = &side.peer else {
            return self.binary.measure(case, self.texts, model, &folder.0);
        };
        let peers = self.peers.context("there is no environment of peers")?;
        let done = peers.measure(case, against, self.texts, model, &folder.0)?;
        side.packages = done.packages;
        side.note = done.note;
        Ok(done.sample)
    }

    /// Again while something else was at work, and then the one that was disturbed least.
    fn undisturbed(&self, mut once: impl FnMut() -> Result<Sample>) -> Result<Sample> {
        let mut best = once()?;
        let mut thrown_away = 0;
        while best.is_disturbed() && thrown_away < self.retries {
            let share = best.disturbance().unwrap_or_default() * 100.0;
            eprintln!("bench: again, since others took {share:.0} % of its processor time");
            let next = once()?;
            thrown_away += 1;
            if next.disturbance() < best.disturbance() {
                best = next;
            }
        }
        Ok(Sample { thrown_away, ..best })
    }
}

/// An empty folder that goes when it is done with.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self> {
        let folder = places::target()?.join("bench").join(std::process::id().to_string());
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make `{}`", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left there is thrown away with the build.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::sample;
    use super::*;

    #[test]
    fn peers_run_only_where_they_are_asked_for() {
        assert!(!wanted(None, Peer::Peft));
        assert!(wanted(Some(&[]), Peer::Peft));
        assert!(!wanted(Some(&[Peer::LlamaCpp]), Peer::Peft));
    }

    #[test]
    fn sides_that_begin_with_another_loss_do_other_work() {
        let sides = |losses: [f64; 2]| {
            losses.map(|loss| {
                let mut sample = sample(1.0, 1.0, 0.0);
                sample.figures.insert("first_loss".to_owned(), loss);
                Side { name: "PEFT".to_owned(), samples: vec![sample], ..Side::default() }
            })
        };
        assert!(same_first_loss(&sides([2.86, 2.87])).is_ok());
        let error = same_first_loss(&sides([2.86, 2.95])).unwrap_err().to_string();
        assert!(error.contains("PEFT's is 2.9500"), "{error}");
        assert!(same_first_loss(&super::super::results::tests::measured().sides).is_ok());
    }

    #[test]
    fn a_disturbed_repetition_is_made_again_and_the_calmest_counts() {
        let texts = Texts::load().unwrap();
        let binary = Binary::stub();
        let sides = Sides { binary: &binary, peers: None, texts: &texts, retries: 2 };
        let kept = |foreign: &[f64]| {
            let mut foreign = foreign.iter();
            let sample = sides.undisturbed(|| Ok(sample(1.0, 1.0, *foreign.next().unwrap())));
            let sample = sample.unwrap();
            (sample.foreign_cpu_seconds.unwrap(), sample.thrown_away)
        };
        assert_eq!(kept(&[0.0]), (0.0, 0));
        assert_eq!(kept(&[1.0, 0.01]), (0.01, 1));
        assert_eq!(kept(&[1.0, 0.5, 0.8]), (0.5, 2));
    }
}
