//! `cargo xtask new-arch NAME`: a decoder's file to start from, and its name wherever decoders are
//! listed.
//!
//! The file is that of Llama under another name, so that what authors start from is what the tests of
//! this workspace hold. `docs/guide/architectures.md` says what comes next.

use crate::places;
use anyhow::{Context, Result, bail};
use std::path::Path;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its `model_type`, as in a checkpoint's `config.json`: letters, digits and underscores.
    name: String,
}

const ARCH: &str = "crates/model/src/arch.rs";
const NAMES: &str = "crates/model/tests/model/checkpoint.rs";
const EXAMPLE: &str = "crates/model/src/arch/llama.rs";

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let name = &args.name;
    check(name)?;
    let root = places::root();
    let file = root.join(format!("crates/model/src/arch/{name}.rs"));
    if file.exists() {
        bail!("`{}` exists", file.display());
    }
    let edited = [
        (file, skeleton(&read(&root.join(EXAMPLE))?, name)?),
        (root.join(ARCH), registered(&read(&root.join(ARCH))?, name)?),
        (root.join(NAMES), tested(&read(&root.join(NAMES))?, name)?),
    ];
    for (path, text) in edited {
        std::fs::write(&path, text)
            .with_context(|| format!("cannot write `{}`", path.display()))?;
        println!("{}", path.strip_prefix(root).unwrap_or(&path).display());
    }
    eprintln!("next: docs/guide/architectures.md");
    Ok(())
}

fn check(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(fits) {
        bail!("`{name}` is no `model_type`; use lower-case letters, digits and underscores");
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
}

/// Llama's file under another name, its first lines to be written anew.
fn skeleton(example: &str, name: &str) -> Result<String> {
    let code = example.find("\nuse ").context("Llama's file does not begin as it did")?;
    let head = format!(
        "//! {name}: what it is, and in what it differs from Llama.\n\
         //! Paper: its address. Golden logits: tests/golden/{name}.\n"
    );
    Ok(head + &example[code..].replace("LlamaConfig", &format!("{}Config", camel(name))))
}

/// `model_type` as the first part of a type's name.
fn camel(name: &str) -> String {
    let upper = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>())
    };
    name.split('_').filter_map(upper).collect()
}

/// The list of architectures with one more.
fn registered(text: &str, name: &str) -> Result<String> {
    let text = inserted(text, "mod llama;", &format!("mod {name};"))?;
    let text = inserted(&text, "    \"llama\",", &format!("    \"{name}\","))?;
    let llama = "        \"llama\" => llama::build,";
    inserted(&text, llama, &format!("        \"{name}\" => {name}::build,"))
}

/// The list of reference checkpoints with one more.
fn tested(text: &str, name: &str) -> Result<String> {
    inserted(text, "    \"mistral\",", &format!("    \"{name}\","))
}

/// A text with `line` behind the last line that begins with as many spaces as `beside` and stands in
/// the same stretch of lines and before it in the alphabet, or before that stretch.
fn inserted(text: &str, beside: &str, line: &str) -> Result<String> {
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|it| *it == beside);
    let at = at.with_context(|| format!("there is no line `{}` any more", beside.trim()))?;
    if lines.contains(&line) {
        bail!("`{}` is there already", line.trim());
    }
    let kind = |it: &str| it.split_whitespace().next().map(|word| word.chars().next());
    let same = |it: &&&str| kind(it) == kind(beside) && !it.is_empty();
    let first = at - lines[..at].iter().rev().take_while(same).count();
    let end = at + lines[at..].iter().take_while(same).count();
    let place = lines[first..end].iter().position(|it| *it > line).map_or(end, |n| first + n);
    let mut all = lines;
    all.insert(place, line);
    Ok(all.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_listed_in_their_order() {
        let before = "mod config;\n\nmod bert;\nmod llama;\n\nx(&[\n    \"llama\",\n]);\n\
                      match it {\n        \"llama\" => llama::build,\n        other => no,\n}\n";
        let after = registered(before, "granite").unwrap();
        assert_eq!(
            after,
            "mod config;\n\nmod bert;\nmod granite;\nmod llama;\n\nx(&[\n    \"granite\",\n    \
             \"llama\",\n]);\nmatch it {\n        \"granite\" => granite::build,\n        \
             \"llama\" => llama::build,\n        other => no,\n}\n"
        );
        assert!(registered(&after, "granite").is_err(), "twice");
    }

    #[test]
    fn every_place_is_still_there() {
        let root = places::root();
        let file = skeleton(&read(&root.join(EXAMPLE)).unwrap(), "star_coder2").unwrap();
        assert!(file.contains("struct StarCoder2Config") && !file.contains("Llama "), "{file}");
        let arch = registered(&read(&root.join(ARCH)).unwrap(), "star_coder2").unwrap();
        for part in ["\nmod star_coder2;\n", "\n    \"star_coder2\",\n", "=> star_coder2::build,\n"]
        {
            assert!(arch.contains(part), "{part}");
        }
        let names = tested(&read(&root.join(NAMES)).unwrap(), "star_coder2").unwrap();
        assert!(names.contains("\n    \"star_coder2\",\n"));
    }

    #[test]
    fn a_name_must_be_one() {
        for name in ["", "Llama", "2b", "a-b", "../x"] {
            assert!(check(name).is_err(), "{name}");
        }
        check("gemma3_text").unwrap();
    }
}
