//! `fidelio verify`: what a served run reads and says, beside what its training read and learnt.

mod client;

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

use fidelio::{Opening, Parity, RunFile, Seen, backend::Precision};
use fidelio_serve::InferenceLimits;
use serde::Serialize;

use super::serve::{self, Local, Voices};
use crate::{
    args::{Global, ModelFlags},
    failure::Failure,
    ui::{Table, Ui, count},
};
use client::Client;

/// Requests that are sent at one time, so that they are computed together as those of users are.
const AT_ONCE: usize = 4;
/// Differences of log-probabilities that rounding explains where both sides compute alike.
const ALIKE: f32 = 0.01;
/// The same where answers are computed in coarser arithmetic than was learnt in.
const COARSER: f32 = 0.5;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelFlags,
    /// So many prompts of the training rows, of the 32 that a run keeps.
    #[arg(long, value_name = "N", default_value_t = 16)]
    rows: usize,
    /// The difference that log-probabilities of the first token may have
    /// [default: 0.01, or 0.5 where answers are computed in other arithmetic than was learnt in].
    #[arg(long, value_name = "X")]
    tolerance: Option<f32>,
    /// Ask this server, which runs already, instead of one that is started for it.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// What that server calls the run [default: what it serves].
    #[arg(long, value_name = "NAME", requires = "url")]
    served_name: Option<String>,
    /// A file with the key that it wants.
    #[arg(long, value_name = "FILE", requires = "url")]
    api_key: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Verdict {
    same: usize,
    tolerance: f32,
    rows: Vec<Verified>,
}

/// What came of one prompt.
#[derive(Debug, Serialize)]
struct Verified {
    #[serde(flatten)]
    outcome: Outcome,
    same: bool,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Served(Parity),
    /// The server did not take it.
    Refused {
        row: String,
        tokens: usize,
        refused: String,
    },
}

pub(crate) fn run(args: &Args, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let (Some(run), Some(folder)) = (args.model.run()?, args.model.folder()) else {
        return Err(Failure::usage_with(
            "no training run is named, and nothing else remembers what it saw",
            "name one with `-m RUN`",
        ));
    };
    if args.rows == 0 {
        return Err(Failure::usage("`--rows` must be at least 1"));
    }
    let mut seen = Seen::read(folder)?;
    seen.truncate(args.rows);
    let tolerance = args.tolerance.map_or_else(|| usual_tolerance(args, &run, folder, ui), Ok)?;
    let verdict = if let Some(url) = &args.url {
        let client = Client::new(url, args.served_name.clone(), args.api_key.as_deref())?;
        verify(&client, seen, tolerance)?
    } else {
        let machine = super::machine(global)?;
        let (voices, limits) = (Voices::one("run"), InferenceLimits::default());
        let parts = serve::open(&args.model, &voices, limits, machine, ui)?;
        let server = Local::start(parts)?;
        let client = Client::new(&server.url(), None, None)?;
        verify(&client, seen, tolerance)?
    };
    ui.result(&verdict, || said(&verdict))?;
    if verdict.same < verdict.rows.len() { Err(Failure::Found) } else { Ok(()) }
}

/// What rounding explains.
fn usual_tolerance(args: &Args, run: &RunFile, folder: &Path, ui: &Ui) -> Result<f32, Failure> {
    let learnt = RunFile::of_run(folder, &[])?;
    let learnt = match Opening::of(learnt.config()).precision {
        Precision::Int8Activations => Precision::F32,
        other => other,
    };
    let served = Opening::of(run.config()).precision;
    if args.url.is_some() || served == learnt {
        return Ok(ALIKE);
    }
    ui.note(format!(
        "note: the run learnt in {} and answers in {}, so log-probabilities may differ by {COARSER}",
        learnt.name(),
        served.name()
    ));
    Ok(COARSER)
}

/// Asks the server for every prompt, several at a time.
fn verify(client: &Client, seen: Vec<Seen>, tolerance: f32) -> Result<Verdict, Failure> {
    let next = Mutex::new(seen.iter().enumerate());
    let found = Mutex::new(Vec::with_capacity(seen.len()));
    let work = || -> Result<(), Failure> {
        loop {
            let taken = next.lock().expect("no holder panics").next();
            let Some((at, seen)) = taken else { return Ok(()) };
            let verified = verify_one(client, seen, tolerance)?;
            found.lock().expect("no holder panics").push((at, verified));
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|it| it.join().expect("the work does not panic"));
        joined.collect::<Result<Vec<()>, Failure>>()
    })?;
    let mut rows = found.into_inner().expect("no holder panics");
    rows.sort_by_key(|(at, _)| *at);
    let rows: Vec<Verified> = rows.into_iter().map(|(_, verified)| verified).collect();
    let same = rows.iter().filter(|row| row.same).count();
    Ok(Verdict { same, tolerance, rows })
}

fn verify_one(client: &Client, seen: &Seen, tolerance: f32) -> Result<Verified, Failure> {
    Ok(match client.ask(&seen.asked)? {
        Ok(first) => {
            let parity = seen.compare(&first.prompt, &first.likeliest);
            let same = parity.holds(tolerance);
            Verified { outcome: Outcome::Served(parity), same }
        }
        Err(refused) => {
            let (row, tokens) = (seen.row.clone(), seen.ids.len());
            Verified { outcome: Outcome::Refused { row, tokens, refused }, same: false }
        }
    })
}

fn said(verdict: &Verdict) -> String {
    let mut table = Table::new(["row", "prompt tokens", "first token", ""]);
    for Verified { outcome, same } in &verdict.rows {
        let (row, tokens) = match outcome {
            Outcome::Served(parity) => (&parity.row, parity.tokens),
            Outcome::Refused { row, tokens, .. } => (row, *tokens),
        };
        let difference = match outcome {
            Outcome::Served(Parity { difference: Some(it), .. }) => format!("{:.4}", it.size()),
            _ => "-".to_owned(),
        };
        let word = if *same { "same" } else { "differs" };
        table.row([row.clone(), tokens.to_string(), difference, word.to_owned()]);
    }
    let first = verdict.rows.iter().find(|row| !row.same).map(|row| first(&row.outcome));
    let all = count(verdict.rows.len(), "prompt");
    let close = format!("{} of {all} are served as they were learnt\n", verdict.same);
    [table.render(), first.unwrap_or_default(), close].concat()
}

/// The first difference, in words.
fn first(outcome: &Outcome) -> String {
    let token = |token: Option<u32>| token.map_or("nothing".to_owned(), |it| format!("token {it}"));
    match outcome {
        Outcome::Refused { row, refused, .. } => {
            format!("{row}: the server refused it: {refused}\n")
        }
        Outcome::Served(Parity { row, token: Some(other), .. }) => format!(
            "{row}: at {} of the prompt training read {}, and the server {}\n",
            other.at,
            token(other.trained),
            token(other.served)
        ),
        Outcome::Served(Parity { row, difference: Some(it), .. }) => format!(
            "{row}: token {} had the log-probability {:.4} in training, and has {} in the server\n",
            it.token,
            it.trained,
            it.served.map_or("less than the 20 likeliest".to_owned(), |it| format!("{it:.4}"))
        ),
        Outcome::Served(Parity { row, .. }) => {
            format!("{row}: training kept no log-probabilities of it\n")
        }
    }
}
