//! `cargo xtask check`: everything a submission must pass, cheapest first.
//!
//! The build machine runs this and nothing else, so that it and a laptop cannot differ.

use crate::pins::What;
use crate::{docs, fetch, places, programs, python, test, tidy};
use anyhow::{Context, Result};
use std::cell::RefCell;
use std::process::Command;
use std::time::{Duration, Instant};

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also what is slow or needs foreign software.
    #[arg(long)]
    full: bool,
}

const TYPOS: &str = "1.52.0";

/// A step's name and what it does.
type Step<'a> = (&'static str, Box<dyn Fn() -> Result<()> + 'a>);

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let summary = RefCell::new(String::new());
    let mut steps: Vec<Step<'_>> = vec![
        ("fmt", Box::new(|| cargo(&["fmt", "--all", "--check"]))),
        ("tidy", Box::new(tidy::run)),
        ("typos", Box::new(typos)),
        ("clippy", Box::new(clippy)),
        ("fetch", Box::new(|| fetch::fetch(&[What::Models, What::Fixtures]))),
        (
            "tests",
            Box::new(|| {
                summary.replace(test::tests(test::FEATURES, "flex", &[])?);
                Ok(())
            }),
        ),
        ("doctests", Box::new(|| test::doctests(test::FEATURES))),
        ("rustdoc", Box::new(rustdoc)),
        ("docs", Box::new(|| docs::run(&docs::Args { check: true }))),
    ];
    if args.full {
        steps.push(("fifty kills", Box::new(fifty_kills)));
        steps.push(("wgpu compiles", Box::new(wgpu_compiles)));
    }

    let mut times = Vec::new();
    for (name, step) in &steps {
        eprintln!("\n== {name}");
        let begun = Instant::now();
        let result = step();
        times.push((*name, begun.elapsed()));
        if result.is_err() {
            report(&times);
            return result.with_context(|| format!("check stopped at `{name}`"));
        }
    }
    report(&times);
    println!("{}", summary.borrow());
    println!("check: all {} steps passed", steps.len());
    Ok(())
}

fn report(times: &[(&str, Duration)]) {
    eprintln!();
    for (name, time) in times {
        eprintln!("{:>8.1} s  {name}", time.as_secs_f64());
    }
    let total: Duration = times.iter().map(|(_, time)| time).sum();
    eprintln!("{:>8.1} s  in all", total.as_secs_f64());
}

fn clippy() -> Result<()> {
    let lint = ["clippy", "--workspace", "--all-targets", "--features", test::FEATURES];
    cargo(&[&lint[..], &["--", "--deny", "warnings"]].concat())
}

fn rustdoc() -> Result<()> {
    // Only libraries: the binary `fidelio` and the library `fidelio` would write the same page.
    let arguments = ["doc", "--workspace", "--no-deps", "--lib", "--features", test::FEATURES];
    programs::run(programs::cargo(&arguments).env("RUSTDOCFLAGS", "--deny warnings"))
}

/// A training run that is killed at any of fifty moments ends as an uninterrupted one.
fn fifty_kills() -> Result<()> {
    let test = ["nextest", "run", "--workspace", "--features", test::FEATURES];
    let wanted = ["-E", "test(kills::)", "--no-fail-fast", "--profile", "full"];
    programs::run(programs::cargo(&[&test[..], &wanted].concat()).env("FIDELIO_FULL", "1"))
}

fn wgpu_compiles() -> Result<()> {
    cargo(&["check", "--workspace", "--all-targets", "--features", "flex,wgpu"])
}

fn typos() -> Result<()> {
    if let Err(reason) = python::interpreter()
        && !places::on_ci()
    {
        eprintln!("typos: skipped: {reason}");
        return Ok(());
    }
    programs::run(Command::new(python::tool("typos", TYPOS)?).current_dir(places::root()))
}

fn cargo(arguments: &[&str]) -> Result<()> {
    programs::run(&mut programs::cargo(arguments))
}
