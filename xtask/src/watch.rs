//! Running a program and seeing what it takes: time, memory, and what else the machine did meanwhile.

use anyhow::{Context, Result, bail};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ticks of a second in which Linux counts processor time for programs, on every machine of today.
const TICKS: f64 = 100.0;

/// What a program said and took.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) stdout: String,
    /// Seconds from its start to its end.
    pub(crate) wall: f64,
    /// The most bytes it had resident at a time, where the system tells.
    pub(crate) peak: Option<u64>,
    pub(crate) processor: Option<Processor>,
}

/// Seconds of processor time while a program ran.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Processor {
    pub(crate) own: f64,
    /// Of everything else on the machine, and what its host took away.
    pub(crate) foreign: f64,
}

/// Where a program's complaints go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stderr {
    /// To ours.
    Shown,
    /// Nowhere, unless it fails: then their end is part of the error.
    Kept,
}

/// Runs a program to its end; its failure is an error.
pub(crate) fn watch(command: &mut Command, stderr: Stderr) -> Result<Watched> {
    let name = command.get_program().to_string_lossy().into_owned();
    let busy = busy();
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(if stderr == Stderr::Shown { Stdio::inherit() } else { Stdio::piped() })
        .spawn()
        .with_context(|| format!("cannot start `{name}`"))?;
    let said = reader(child.stdout.take());
    let complaints = reader(child.stderr.take());
    let (peak, own) = follow(&child, || said.is_finished());
    let status = child.wait()?;
    let (stdout, ended) = said.join().expect("reading does not panic")?;
    let (complaints, _) = complaints.join().expect("reading does not panic")?;
    let meanwhile = busy.zip(self::busy()).map(|(before, after)| after - before);
    if !status.success() {
        let lines: Vec<&str> = complaints.lines().collect();
        bail!("`{name}` failed ({status})\n{}", lines[lines.len().saturating_sub(15)..].join("\n"));
    }
    let processor =
        own.zip(meanwhile).map(|(own, all)| Processor { own, foreign: (all - own).max(0.0) });
    Ok(Watched { stdout, wall: (ended - begun).as_secs_f64(), peak, processor })
}

type Reader = std::thread::JoinHandle<std::io::Result<(String, Instant)>>;

/// Reads to the end of a stream, which is when the program ends.
fn reader(stream: Option<impl Read + Send + 'static>) -> Reader {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            stream.read_to_end(&mut bytes)?;
        }
        Ok((String::from_utf8_lossy(&bytes).into_owned(), Instant::now()))
    })
}

/// Looks at a program until it has ended but is not forgotten, and says what it took at most.
fn follow(child: &Child, closed: impl Fn() -> bool) -> (Option<u64>, Option<f64>) {
    let folder = PathBuf::from(format!("/proc/{}", child.id()));
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).ok();
    let mut peak = None;
    loop {
        // The kernel keeps the peak itself, so looking seldom misses only the very end.
        peak = read("status").as_deref().and_then(peak_of).max(peak);
        let stat = read("stat");
        match stat.as_deref().and_then(times_of) {
            Some((true, seconds)) => return (peak, Some(seconds)),
            None if closed() => return (peak, None),
            Some(_) | None => {}
        }
        std::thread::sleep(Duration::from_millis(if closed() { 1 } else { 10 }));
    }
}

fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// Whether a process has ended, and the processor time of it and of its children.
fn times_of(stat: &str) -> Option<(bool, f64)> {
    // The name in parentheses may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<f64>().unwrap_or(0.0));
    Some((fields[0] == "Z", ticks.sum::<f64>() / TICKS))
}

/// Seconds that all processors were not idle, since the machine began.
fn busy() -> Option<f64> {
    busy_of(&std::fs::read_to_string("/proc/stat").ok()?)
}

fn busy_of(stat: &str) -> Option<f64> {
    let fields: Vec<f64> =
        stat.lines().next()?.split_whitespace().skip(1).map_while(|it| it.parse().ok()).collect();
    let [user, nice, system, _idle, _waiting, irq, softirq, steal] = *fields.first_chunk()?;
    Some((user + nice + system + irq + softirq + steal) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_understood() {
        assert_eq!(peak_of("Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t 1 kB\n"), Some(2 << 20));
        assert_eq!(peak_of("Name:\tx\n"), None);
        let stat = "7 (a (b) c) Z 1 1 1 0 -1 4 9 0 0 0 150 50 20 5 20 0 3 0 9 0 0";
        assert_eq!(times_of(stat), Some((true, 2.25)));
        assert!(!times_of(&stat.replace(" Z ", " S ")).unwrap().0);
        let stat = "cpu  100 20 30 9999 777 1 2 3 0 0\ncpu0 1 1 1\n";
        assert_eq!(busy_of(stat), Some(1.56));
    }

    #[test]
    fn a_program_is_timed_and_its_words_are_kept() {
        let seen = watch(Command::new("echo").arg("word"), Stderr::Kept).unwrap();
        assert_eq!(seen.stdout, "word\n");
        assert!(seen.wall > 0.0);
        assert_eq!(seen.processor.is_some(), cfg!(target_os = "linux"));
    }

    #[test]
    fn a_failure_carries_the_end_of_the_complaints() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo cause >&2; exit 3"]);
        let error = watch(&mut command, Stderr::Kept).unwrap_err().to_string();
        assert!(error.contains("cause") && error.contains('3'), "{error}");
    }
}
