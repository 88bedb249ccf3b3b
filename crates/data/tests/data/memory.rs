//! A large file must not need its size in memory.

use std::io::Write;
use std::process::Command;

use fidelio_data::{ReadOptions, Source, Table};

/// Set for the process that measures: this same test binary, with this one test in it, since
/// other tests in a process would count too.
const MEASURING: &str = "FIDELIO_DATA_MEASURING";

#[test]
#[cfg(target_os = "linux")]
fn a_large_csv_needs_only_its_index() {
    let Some(path) = std::env::var_os(MEASURING) else {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large.csv");
        write_large(&path);
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "memory::a_large_csv_needs_only_its_index", "--nocapture"])
            .env(MEASURING, &path)
            .output()
            .unwrap();
        let said =
            String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
        return;
    };
    let before = peak();
    let table = Table::open(&[path], &ReadOptions::default()).unwrap();
    assert_eq!(table.len(), 160_000);
    for index in (0..table.len()).step_by(1601).rev() {
        assert_eq!(table.row(index).unwrap().fields["id"], index.to_string());
    }
    let grown = peak() - before;
    assert!(grown < 20_000, "64 MB of CSV took {grown} kB of memory");
}

fn write_large(path: &std::path::Path) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let text = "words and words and\n".repeat(20);
    writeln!(file, "id,text").unwrap();
    for i in 0..160_000 {
        writeln!(file, "{i},\"{text}\"").unwrap();
    }
    file.flush().unwrap();
    assert!(std::fs::metadata(path).unwrap().len() > 64_000_000);
}

/// The most memory this process ever had resident, in kB.
#[cfg(target_os = "linux")]
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
