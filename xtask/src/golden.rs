//! `cargo xtask golden`: regenerates the reference values that tests compare with.
//!
//! A script named `make_*.py` in a crate's `tests` folder, or beside the benchmarks' texts, writes its
//! values below its own folder.
//! Comments in its head say how it is run:
//!
//! ```text
//! # pins: jinja2==3.1.6           what it imports; its environment holds just that
//! # pins: {torch}                 PyTorch and what goes with it, see `TORCH`: one environment for all
//! # fetch: fixtures               optional; what is brought into the cache before
//! # args: {cache}/fixtures/chat   optional; its folder is the current one
//! # stdout: goldens.json          optional; the file that holds what it prints
//! # rounding: 1e-3                optional; instead of `ROUNDING`
//! ```
//!
//! Another machine adds floats in another order: `--check` lets numbers differ by [`ROUNDING`], or
//! by what the script says of itself.

use crate::{fetch, pins, places, programs, python};
use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How far a number may be from the committed one, as a share of the largest beside it.
const ROUNDING: f64 = 1e-5;

/// What `{torch}` stands for. An environment with PyTorch takes 5 GB, so its scripts share one.
const TORCH: &str = "torch==2.15.0 transformers==5.23.0 peft==0.21.2 accelerate==1.15.0 \
    safetensors==0.8.0 bitsandbytes==0.50.2 sentence-transformers==6.2.0 timm==1.0.31 \
    torchvision==0.29.2 lion-pytorch==0.2.5 schedulefree==1.4.1 gguf==0.19.0 numpy==2.4.6";

/// Options of the command.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Leave the files as they are and fail if the scripts would change one.
    #[arg(long)]
    check: bool,
    /// Only the scripts whose path contains this.
    #[arg(long)]
    only: Option<String>,
    /// List the scripts and their pins, and run none.
    #[arg(long)]
    list: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut changed = Vec::new();
    for script in scripts()? {
        let shown = script.strip_prefix(places::root()).unwrap_or(&script).display().to_string();
        if args.only.as_ref().is_some_and(|only| !shown.contains(only.as_str())) {
            continue;
        }
        let text =
            std::fs::read_to_string(&script).with_context(|| format!("cannot read `{shown}`"))?;
        let head = Head::read(&text);
        if args.list {
            let pins = head.packages().map(|pins| pins.join(" "));
            println!("{shown}: {}", pins.as_deref().unwrap_or("(no line `# pins: ...`)"));
            continue;
        }
        eprintln!("golden: {shown}");
        changed.extend(regenerate(&script, &head, args.check)?);
    }
    if args.check && !changed.is_empty() {
        bail!("reference values are not what their scripts make: {}", changed.join(", "));
    }
    for path in changed {
        println!("changed: {path}");
    }
    Ok(())
}

/// Every reference value is what its script makes today.
pub(crate) fn check() -> Result<()> {
    run(&Args { check: true, ..Args::default() })
}

/// Every script of every crate, in order, and that of the benchmarks' texts.
fn scripts() -> Result<Vec<PathBuf>> {
    let mut scripts = Vec::new();
    let mut folders = vec![places::root().join("benchmarks/texts")];
    for folder in std::fs::read_dir(places::root().join("crates"))? {
        folders.push(folder?.path().join("tests"));
    }
    for folder in folders {
        collect(&folder, &mut |path| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            if name.starts_with("make_") && path.extension().is_some_and(|end| end == "py") {
                scripts.push(path.to_owned());
            }
        })?;
    }
    scripts.sort();
    Ok(scripts)
}

/// What the head of a script says about running it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Head<'a> {
    pins: Option<&'a str>,
    fetch: Option<&'a str>,
    args: Option<&'a str>,
    stdout: Option<&'a str>,
    rounding: Option<&'a str>,
}

impl<'a> Head<'a> {
    fn read(text: &'a str) -> Self {
        let said = |key: &str| {
            let line = text.lines().take(40).find_map(|line| line.trim().strip_prefix(key));
            line.map(str::trim)
        };
        Self {
            pins: said("# pins:"),
            fetch: said("# fetch:"),
            args: said("# args:"),
            stdout: said("# stdout:"),
            rounding: said("# rounding:"),
        }
    }

    fn packages(&self) -> Option<Vec<&'a str>> {
        let words = self.pins?.split_whitespace();
        let packages = words.flat_map(|word| {
            let word = if word == "{torch}" { TORCH } else { word };
            word.split_whitespace()
        });
        Some(packages.collect())
    }
}

/// Runs one script and returns what it changed; `check` puts the old values back.
fn regenerate(script: &Path, head: &Head<'_>, check: bool) -> Result<Vec<String>> {
    let shown = script.display();
    let packages =
        head.packages().with_context(|| format!("`{shown}` has no line `# pins: ...`"))?;
    let rounding = match head.rounding {
        None => ROUNDING,
        Some(said) => said.parse().with_context(|| format!("`{shown}`: `# rounding: {said}`"))?,
    };
    let folder = script.parent().expect("a script lies in a folder");
    let before = contents(folder)?;
    if let Some(kind) = head.fetch {
        let kind = <pins::What as clap::ValueEnum>::from_str(kind, false);
        fetch::fetch(&[kind.map_err(|problem| anyhow!("`{shown}`: {problem}"))?])?;
    }

    let cache = places::cache()?;
    let mut command = Command::new(python::environment(&packages)?);
    command.arg(script).current_dir(folder);
    for argument in head.args.unwrap_or_default().split_whitespace() {
        command.arg(argument.replace("{cache}", &cache.to_string_lossy()));
    }
    command.env("FIDELIO_CACHE_DIR", &cache).env("PYTHONDONTWRITEBYTECODE", "1");
    match head.stdout {
        None => programs::run(&mut command)?,
        Some(file) => std::fs::write(folder.join(file), programs::output(&mut command)?)
            .with_context(|| format!("cannot write `{file}`"))?,
    }

    let after = contents(folder)?;
    let mut changed = Vec::new();
    for path in before.keys().chain(after.keys().filter(|path| !before.contains_key(*path))) {
        let (old, new) = (before.get(path), after.get(path));
        let rounded = |(old, new): (&Vec<u8>, &Vec<u8>)| check && same(path, old, new, rounding);
        let equal = old == new || old.zip(new).is_some_and(rounded);
        if !equal {
            changed.push(path.strip_prefix(places::root()).unwrap_or(path).display().to_string());
        }
        match (check, old) {
            (true, Some(old)) => std::fs::write(path, old)?,
            (true, None) => std::fs::remove_file(path)?,
            (false, _) => {}
        }
    }
    Ok(changed)
}

/// Whether two files hold the same but for the rounding of floats.
fn same(path: &Path, old: &[u8], new: &[u8], rounding: f64) -> bool {
    match path.extension().and_then(|end| end.to_str()) {
        Some("json") => {
            let read = |bytes| serde_json::from_slice::<Value>(bytes).ok();
            read(old).zip(read(new)).is_some_and(|(old, new)| same_values(&old, &new, rounding))
        }
        Some("safetensors") => {
            let read = |bytes| tensors(bytes).filter(|tensors| !tensors.is_empty());
            read(old).zip(read(new)).is_some_and(|(old, new)| {
                old.len() == new.len()
                    && old.iter().zip(&new).all(|((name, old), (other, new))| {
                        name == other && same_numbers(old, new, rounding)
                    })
            })
        }
        _ => false,
    }
}

fn same_values(old: &Value, new: &Value, rounding: f64) -> bool {
    match (old, new) {
        (Value::Number(old), Value::Number(new)) if old.is_f64() || new.is_f64() => {
            same_numbers(&[old.as_f64()], &[new.as_f64()], rounding)
        }
        (Value::Array(old), Value::Array(new)) if !old.is_empty() => {
            let numbers = |values: &[Value]| -> Option<Vec<Option<f64>>> {
                let floats = values.iter().any(Value::is_f64);
                let number = |value: &Value| value.is_number().then(|| value.as_f64());
                floats.then(|| values.iter().map(number).collect()).flatten()
            };
            match (numbers(old), numbers(new)) {
                (Some(old), Some(new)) => same_numbers(&old, &new, rounding),
                _ => {
                    old.len() == new.len()
                        && old.iter().zip(new).all(|(a, b)| same_values(a, b, rounding))
                }
            }
        }
        (Value::Object(old), Value::Object(new)) => {
            old.len() == new.len()
                && old
                    .iter()
                    .all(|(key, old)| new.get(key).is_some_and(|it| same_values(old, it, rounding)))
        }
        _ => old == new,
    }
}

fn same_numbers(old: &[Option<f64>], new: &[Option<f64>], rounding: f64) -> bool {
    let largest = old.iter().flatten().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    old.len() == new.len()
        && old.iter().zip(new).all(|pair| match pair {
            (Some(old), Some(new)) => (old - new).abs() <= rounding * largest,
            pair => pair.0 == pair.1,
        })
}

/// The tensors of a safetensors file by name, if all of them hold 32-bit floats.
fn tensors(bytes: &[u8]) -> Option<BTreeMap<String, Vec<Option<f64>>>> {
    let length = u64::from_le_bytes(*bytes.first_chunk()?);
    let (header, data) = bytes.get(8..)?.split_at_checked(usize::try_from(length).ok()?)?;
    let header: BTreeMap<String, Value> = serde_json::from_slice(header).ok()?;
    let tensor = |(name, about): (String, Value)| {
        let at = |i: usize| usize::try_from(about["data_offsets"][i].as_u64()?).ok();
        let (floats, rest) = data.get(at(0)?..at(1)?)?.as_chunks();
        let known = about["dtype"] == "F32" && rest.is_empty();
        let number = |bytes: &[u8; 4]| Some(f64::from(f32::from_le_bytes(*bytes)));
        known.then(|| (name, floats.iter().map(number).collect()))
    };
    header.into_iter().filter(|(name, _)| name != "__metadata__").map(tensor).collect()
}

fn contents(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut paths = Vec::new();
    collect(folder, &mut |path| paths.push(path.to_owned()))?;
    paths.into_iter().map(|path| Ok((path.clone(), std::fs::read(&path)?))).collect()
}

/// Calls `found` with every file below a folder that may be absent.
fn collect(folder: &Path, found: &mut impl FnMut(&Path)) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else {
            found(&path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn same_json(old: &Value, new: &Value) -> bool {
        let bytes = |value: &Value| serde_json::to_vec(value).unwrap();
        same(Path::new("values.json"), &bytes(old), &bytes(new), ROUNDING)
    }

    #[test]
    fn rounding_is_no_change_and_anything_else_is() {
        let old = json!({"ids": [7, 8], "logits": [12.5, 1e-9], "loss": 2.0});
        for new in [
            json!({"ids": [7, 8], "logits": [12.500_001, -1e-9], "loss": 2.000_01}),
            json!({"ids": [7, 8], "logits": [12.5, 1e-9], "loss": 2.0}),
        ] {
            assert!(same_json(&old, &new), "{new}");
        }
        for new in [
            json!({"ids": [7, 9], "logits": [12.5, 1e-9], "loss": 2.0}),
            json!({"ids": [7, 8], "logits": [12.51, 1e-9], "loss": 2.0}),
            json!({"ids": [7, 8], "logits": [12.5], "loss": 2.0}),
            json!({"ids": [7, 8], "logits": [12.5, 1e-9], "loss": 2.001}),
            json!({"ids": [7, 8], "logits": [12.5, 1e-9]}),
        ] {
            assert!(!same_json(&old, &new), "{new}");
        }
    }

    #[test]
    fn tensors_are_compared_as_floats() {
        let file = |values: [f32; 2], name: &str| {
            let about = json!({name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}});
            let header = about.to_string();
            let values = values.iter().flat_map(|value| value.to_le_bytes());
            let bytes = (header.len() as u64).to_le_bytes().into_iter().chain(header.bytes());
            bytes.chain(values).collect::<Vec<u8>>()
        };
        let old = file([1.0, 2.0], "a");
        let same = |new: &[u8]| same(Path::new("x.safetensors"), &old, new, ROUNDING);
        assert!(same(&file([1.000_001, 2.0], "a")));
        assert!(!same(&file([1.001, 2.0], "a")));
        assert!(!same(&file([1.0, 2.0], "b")));
        assert!(!same(b"no tensors"));
    }

    #[test]
    fn the_head_of_a_script_says_how_it_is_run() {
        let text = "\"\"\"Makes values.\"\"\"\n# pins: a==1 b==2\n# stdout: out.json\nimport a\n";
        let stdout = Some("out.json");
        let head = Head { pins: Some("a==1 b==2"), stdout, ..Head::default() };
        assert_eq!(Head::read(text), head);
        assert_eq!(Head::read("import a\n"), Head::default());
        assert_eq!(Head::read(text).packages().unwrap(), ["a==1", "b==2"]);
        let shared = Head::read("# pins: {torch} c==3\n").packages().unwrap();
        assert!(shared[0].starts_with("torch==") && shared.ends_with(&["c==3"]), "{shared:?}");
    }
}
