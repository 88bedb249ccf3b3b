//! Prints a page with every file of `tests/wrong/` and what Fidelio says about it.

use std::io::Write as _;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrong");
    let mut files: Vec<_> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let mut out = std::io::stdout().lock();
    writeln!(out, "# Wrong run files, and what Fidelio says\n")?;
    writeln!(
        out,
        "Each of these is a mistake that people make, or one that other tools let pass."
    )?;
    writeln!(out, "`fidelio check` prints the second block for the first.\n")?;
    for path in files {
        let text = std::fs::read_to_string(&path)?;
        let overrides: Vec<fidelio_config::Override> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# set: "))
            .map(fidelio_config::Override::new)
            .collect();
        let title = text
            .lines()
            .find_map(|line| line.strip_prefix("# ").filter(|line| !line.starts_with("set: ")))
            .unwrap_or("");
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let said = match fidelio_config::parse_any("run.yaml", &text, &overrides) {
            Ok(_) => "nothing is wrong".to_owned(),
            Err(problems) => problems.to_string(),
        };
        writeln!(out, "## {}\n\n{title}\n", name.replace('-', " "))?;
        writeln!(out, "```yaml\n{text}```\n\n```text\n{said}\n```\n")?;
    }
    Ok(())
}
