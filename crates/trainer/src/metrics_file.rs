//! A run's updates and evaluations as lines of JSON.

use std::{
    error::Error,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::PathBuf,
};

use serde::Deserialize;

use crate::{Event, Flow, Observer};

/// Appends a line to a file for each update and each evaluation. When a run goes on from a
/// checkpoint, the lines of what came after it are dropped first: they will come again.
#[derive(Debug)]
pub struct MetricsFile {
    path: PathBuf,
    file: Option<File>,
}

/// What every line has.
#[derive(Deserialize)]
struct Line {
    event: String,
    update: u64,
}

impl MetricsFile {
    /// A file that is opened when the run begins; a new run empties it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), file: None }
    }

    fn open(&self, update: u64, evaluated: u64) -> io::Result<File> {
        let mut file =
            File::options().create(true).truncate(false).read(true).write(true).open(&self.path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let came_before = |line: &&str| {
            line.ends_with('\n')
                && serde_json::from_str::<Line>(line).is_ok_and(|line| {
                    line.update <= if line.event == "evaluated" { evaluated } else { update }
                })
        };
        let keep: usize = text.split_inclusive('\n').take_while(came_before).map(str::len).sum();
        file.set_len(keep as u64)?;
        file.seek(SeekFrom::End(0))?;
        Ok(file)
    }
}

impl Observer for MetricsFile {
    fn on(&mut self, event: &Event) -> Result<Flow, Box<dyn Error + Send + Sync>> {
        match event {
            Event::Began { update, evaluated, .. } => {
                self.file = Some(self.open(*update, *evaluated)?);
            }
            Event::Step(_) | Event::Evaluated(_) => {
                if let Some(file) = &mut self.file {
                    let mut line = serde_json::to_vec(event)?;
                    line.push(b'\n');
                    file.write_all(&line)?;
                }
            }
            Event::Checkpointed { .. } | Event::Finished(_) => {
                if let Some(file) = &self.file {
                    file.sync_data()?;
                }
            }
            Event::Skipped { .. } => {}
        }
        Ok(Flow::Continue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_after_the_checkpoint_are_dropped_and_so_is_half_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let step = |n: u64| format!("{{\"event\":\"step\",\"update\":{n}}}\n");
        let evaluated = |n: u64| format!("{{\"event\":\"evaluated\",\"update\":{n}}}\n");
        let text = [step(1), evaluated(1), step(2), evaluated(2), step(3)].concat();
        let kept = |written: &str, update, evaluated| {
            std::fs::write(&path, written).unwrap();
            MetricsFile::new(&path).open(update, evaluated).unwrap();
            std::fs::read_to_string(&path).unwrap()
        };
        assert_eq!(kept(&text, 2, 2), [step(1), evaluated(1), step(2), evaluated(2)].concat());
        assert_eq!(kept(&text, 2, 1), [step(1), evaluated(1), step(2)].concat());
        assert_eq!(kept(&text, 0, 0), "");
        assert_eq!(kept(&text[..text.len() - 1], 3, 2).lines().count(), 4);
    }
}
