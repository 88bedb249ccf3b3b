//! A run's updates and evaluations as event files, which TensorBoard shows while the run goes on.
//!
//! ```text
//! logs/training/events.out.tfevents.1700000000.fidelio     loss, learning rate, ... of updates
//! logs/validation/events.out.tfevents.1700000000.fidelio   what evaluations measured
//! ```

mod record;

use std::{
    error::Error,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use record::What;

use crate::{Evaluated, Event, Flow, Observer, Step};

/// What the names of event files begin with; the seconds since 1970 and the writer follow.
const NAME: &str = "events.out.tfevents.";

/// Appends a record to an event file for each update and to another for each evaluation. A run that
/// goes on from a checkpoint begins new files, which say that what came after the checkpoint is
/// superseded: it will come again.
#[derive(Debug)]
pub struct TensorBoard {
    training: Stream,
    validation: Stream,
    clock: fn() -> f64,
}

/// One folder of event files: a run in TensorBoard's list.
#[derive(Debug)]
struct Stream {
    folder: PathBuf,
    /// The last step that stays of what is there.
    last: u64,
    file: Option<File>,
}

impl TensorBoard {
    /// Event files in the folders `training` and `validation` of a folder.
    pub fn new(folder: &Path) -> Self {
        let stream = |name| Stream { folder: folder.join(name), last: 0, file: None };
        Self { training: stream("training"), validation: stream("validation"), clock: now }
    }
}

impl Observer for TensorBoard {
    fn on(&mut self, event: &Event) -> Result<Flow, Box<dyn Error + Send + Sync>> {
        let at = (self.clock)();
        match event {
            Event::Began { update, evaluated, .. } => {
                self.training.begin(at, *update)?;
                self.validation.begin(at, *evaluated)?;
            }
            Event::Step(step) => self.training.append(at, step.update, &of_step(step))?,
            Event::Evaluated(evaluated) => {
                self.validation.append(at, evaluated.update, &of_evaluation(evaluated))?;
            }
            Event::Checkpointed { .. } | Event::Finished(_) => {
                self.training.sync()?;
                self.validation.sync()?;
            }
            Event::Skipped { .. } => {}
        }
        Ok(Flow::Continue)
    }
}

fn of_step(step: &Step) -> Vec<(&'static str, f64)> {
    let mut values = vec![
        ("loss", step.loss),
        ("learning_rate", step.learning_rate),
        ("gradient_norm", step.gradient_norm),
    ];
    if step.seconds > 0.0 {
        values.push(("tokens_per_second", step.tokens_computed as f64 / step.seconds));
    }
    values
}

fn of_evaluation(evaluated: &Evaluated) -> Vec<(&str, f64)> {
    let Evaluated { validation_metric, metric, values, .. } = evaluated;
    let mut named: Vec<(&str, f64)> =
        values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    if !values.contains_key(validation_metric) {
        named.insert(0, (validation_metric, *metric));
    }
    named
}

impl Stream {
    /// Steps up to `last` stay. Where there is nothing yet, nothing is made before the first record.
    fn begin(&mut self, at: f64, last: u64) -> io::Result<()> {
        (self.last, self.file) = (last, None);
        if self.folder.exists() {
            self.file = Some(self.open(at)?);
        }
        Ok(())
    }

    fn append(&mut self, at: f64, step: u64, values: &[(&str, f64)]) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(self.open(at)?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        record::write(file, at, step, What::Scalars(values))
    }

    fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }

    fn open(&self, at: f64) -> io::Result<File> {
        fs::create_dir_all(&self.folder)?;
        let mut file = File::create_new(self.folder.join(self.next_name(at as u64)?))?;
        record::write(&mut file, at, 0, What::Version)?;
        record::write(&mut file, at, self.last + 1, What::Start)?;
        Ok(file)
    }

    /// Readers take files by name, so a file that goes on from others stands behind them all, also
    /// where the clock was set back.
    fn next_name(&self, seconds: u64) -> io::Result<String> {
        let mut seconds = seconds;
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let began = name.to_str().and_then(|name| name.strip_prefix(NAME)?.split('.').next());
            if let Some(began) = began.and_then(|began| began.parse::<u64>().ok()) {
                seconds = seconds.max(began.saturating_add(1));
            }
        }
        Ok(format!("{NAME}{seconds:010}.fidelio"))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn began(update: u64, evaluated: u64) -> Event {
        Event::Began { update, evaluated, of: 4, rows: 3, parameters: 2 }
    }

    fn step(update: u64, loss: f64) -> Event {
        Event::Step(Step {
            update,
            of: 4,
            epoch: 0.5,
            loss,
            learning_rate: 2e-4 * update as f64,
            gradient_norm: 0.75,
            clipped: false,
            applied: true,
            tokens_learnt: 100,
            tokens_computed: 300,
            seconds: 0.25,
        })
    }

    fn evaluated(update: u64, loss: f64) -> Event {
        Event::Evaluated(Evaluated {
            update,
            validation_metric: "accuracy".into(),
            metric: 0.5,
            improved: true,
            training_loss: 1.0,
            values: BTreeMap::from([("accuracy".into(), 0.5), ("loss".into(), loss)]),
        })
    }

    fn tell(folder: &Path, events: &[Event]) {
        let clock = || 1_700_000_000.25;
        let mut board = TensorBoard { clock, ..TensorBoard::new(folder) };
        for event in events {
            assert_eq!(board.on(event).unwrap(), Flow::Continue);
        }
    }

    /// Path within the folder, and contents.
    fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        for stream in ["training", "validation"] {
            let Ok(entries) = fs::read_dir(folder.join(stream)) else { continue };
            for entry in entries {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(folder).unwrap().to_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
        found
    }

    /// A run that was killed in the middle of its fourth record and went on from its second update.
    /// The fixture is written by TensorBoard's own code, and read by it: `make_events.py`.
    #[test]
    fn the_bytes_are_those_that_tensorboard_itself_writes() {
        let folder = tempfile::tempdir().unwrap();
        let begun = [step(1, 3.0), step(2, 2.5), evaluated(2, 2.75), step(3, 9.0), step(4, 8.0)];
        tell(folder.path(), &[&[began(0, 0)], &begun[..]].concat());
        let first = folder.path().join("training").join(format!("{NAME}1700000000.fidelio"));
        let file = File::options().write(true).open(&first).unwrap();
        file.set_len(file.metadata().unwrap().len() - 9).unwrap();
        let rest = [began(2, 2), step(3, 2.0), step(4, 1.5), evaluated(4, f64::NAN)];
        tell(folder.path(), &rest);

        let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tensorboard/logs");
        assert_eq!(files(&expected).len(), 4);
        assert_eq!(files(folder.path()), files(&expected));
    }

    #[test]
    fn a_record_is_on_disk_when_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut board = TensorBoard::new(folder.path());
        let mut sizes = Vec::new();
        for event in [began(0, 0), step(1, 3.0), step(2, 2.0)] {
            board.on(&event).unwrap();
            sizes.push(files(folder.path()).values().map(Vec::len).sum::<usize>());
        }
        assert_eq!(sizes[0], 0, "a run that could not begin leaves no file");
        assert!(sizes[0] < sizes[1] && sizes[1] < sizes[2]);
        assert!(!folder.path().join("validation").exists(), "nothing was evaluated");
    }

    #[test]
    fn a_file_that_goes_on_comes_last_whatever_the_clock_says() {
        let folder = tempfile::tempdir().unwrap();
        let training = folder.path().join("training");
        fs::create_dir(&training).unwrap();
        File::create(training.join(format!("{NAME}1800000000.other"))).unwrap();
        tell(folder.path(), &[began(2, 2)]);
        assert!(training.join(format!("{NAME}1800000001.fidelio")).exists());
    }

    #[test]
    fn a_metric_that_decides_is_shown_where_it_is_not_among_the_values() {
        let Event::Evaluated(mut told) = evaluated(2, 1.0) else { unreachable!() };
        assert_eq!(of_evaluation(&told), [("accuracy", 0.5), ("loss", 1.0)]);
        told.validation_metric = "bleu".into();
        assert_eq!(of_evaluation(&told), [("bleu", 0.5), ("accuracy", 0.5), ("loss", 1.0)]);
    }
}
