//! `cargo xtask check`: everything a submission must pass, cheapest first.
//!
//! The build machine runs this and nothing else, so that it and a laptop cannot differ.

use crate::pins::What;
use crate::{docs, fetch, golden, places, programs, python, test, tidy};
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
    /// Begin at this step, where an earlier run stopped.
    #[arg(long, value_name = "STEP")]
    from: Option<String>,
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
        ("fetch", Box::new(|| fetch::fetch(&[What::Models, What::Embedders, What::Fixtures]))),
        (
            "tests",
            Box::new(|| {
                summary.replace(test::tests(None, &[])?);
                Ok(())
            }),
        ),
        ("speed", Box::new(speed)),
        ("doctests", Box::new(|| test::doctests(test::FEATURES))),
        ("rustdoc", Box::new(rustdoc)),
        ("docs", Box::new(|| docs::run(&docs::Args { check: true }))),
    ];
    if args.full {
        steps.push(("kills and load", Box::new(kills_and_load)));
        steps.push(("foreign software", Box::new(foreign_software)));
        steps.push(("references", Box::new(golden::check)));
        steps.push(("software Vulkan", Box::new(software_vulkan)));
        steps.push(("fuzzing", Box::new(fuzzing)));
    }

    let first = match &args.from {
        None => 0,
        Some(from) => steps.iter().position(|(name, _)| name == from).with_context(|| {
            let names: Vec<&str> = steps.iter().map(|(name, _)| *name).collect();
            format!("there is no step `{from}`; the steps are {}", names.join(", "))
        })?,
    };
    let steps = steps.split_off(first);
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

/// No kernel has fallen far below the share of the machine's limits that it had.
fn speed() -> Result<()> {
    cargo(&[
        "run",
        "--release",
        "--package",
        "fidelio-kernels",
        "--example",
        "speed",
        "--",
        "--check",
    ])
}

fn rustdoc() -> Result<()> {
    // Only libraries: the binary `fidelio` and the library `fidelio` would write the same page.
    let arguments = ["doc", "--workspace", "--no-deps", "--lib", "--features", test::FEATURES];
    programs::run(programs::cargo(&arguments).env("RUSTDOCFLAGS", "--deny warnings"))
}

/// A training run that is killed at any of fifty moments ends as an uninterrupted one; a table of
/// five gigabytes is read without them.
fn kills_and_load() -> Result<()> {
    full_tests("test(/^(kills|load)::/)", &[("FIDELIO_FULL", "1")])
}

/// What reads the files that Fidelio writes, and asks its server.
const READERS: [&str; 8] = [
    "torch==2.15.0",
    "transformers==5.23.0",
    "peft==0.21.2",
    "safetensors==0.8.0",
    "numpy==2.4.6",
    "gguf==0.19.0",
    "xllamacpp==2026.10.11549",
    "openai==3.57.0",
];

/// Adapters and exports, loaded by PEFT, transformers and llama.cpp; a server, asked by OpenAI's
/// client.
fn foreign_software() -> Result<()> {
    let python = python::environment(&READERS)?;
    full_tests("test(foreign::)", &[("FIDELIO_FOREIGN_PYTHON", &python.to_string_lossy())])
}

fn full_tests(wanted: &str, variables: &[(&str, &str)]) -> Result<()> {
    let test = ["nextest", "run", "--workspace", "--features", test::FEATURES];
    let wanted = ["-E", wanted, "--no-fail-fast", "--profile", "full"];
    let mut command = programs::cargo(&[&test[..], &wanted].concat());
    programs::run(command.envs(variables.iter().copied()))
}

/// The default model and the tiny ones on Vulkan; without a GPU on Mesa's software renderer
/// (Debian: `apt-get install mesa-vulkan-drivers`).
fn software_vulkan() -> Result<()> {
    // Nothing learns on GPUs yet.
    let learning = "test(/^(learning|batches)::|that_learn|adapters_beside/)";
    let wanted = format!("(package(fidelio-model) & binary(model) - {learning}) | test(smollm2::)");
    test::tests(Some(test::Device::Wgpu), &["-E".to_owned(), wanted]).map(drop)
}

/// Ten minutes for every target.
fn fuzzing() -> Result<()> {
    if !programs::is_installed("cargo", &["fuzz", "--version"]) {
        cargo(&["install", "--locked", "cargo-fuzz"])?;
    }
    for target in ["gguf", "safetensors", "run_file"] {
        let found = places::cache()?.join("fuzz").join(target);
        std::fs::create_dir_all(&found)?;
        let mut command = programs::cargo(&["fuzz", "run", target]);
        command.arg(found).arg(format!("fuzz/seeds/{target}")).current_dir(places::root());
        command.args(["--", "-max_total_time=600", "-max_len=16384"]);
        // The targets are instrumented with flags that a stable compiler keeps to itself.
        programs::run(command.env("RUSTC_BOOTSTRAP", "1"))?;
    }
    Ok(())
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
