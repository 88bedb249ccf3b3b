//! A run that was interrupted goes on as if nothing had happened.

use std::{fs, path::Path};

use fidelio_trainer::{
    CheckpointError, Ended, Event, Flaw, MetricsFile, Soup, SoupKind, Summary, TensorBoard,
    TrainError, TrainPlan, TrainState, Trainer,
};

use crate::{Log, checkpoints, held_out, plan, rows, session};

/// Begins a run in a folder, which an observer may stop.
fn begin(plan: &TrainPlan, folder: &Path, log: &mut Log) -> Result<Summary, TrainError> {
    let (mut evaluator, mut session, rows) = (held_out(), session(), rows());
    let mut metrics = MetricsFile::new(folder.join("metrics.jsonl"));
    let kept = Some(checkpoints(folder));
    let mut board = TensorBoard::new(&folder.join("logs"));
    let mut all: [&mut dyn fidelio_trainer::Observer; 3] = [log, &mut metrics, &mut board];
    let evaluator = Some(&mut evaluator as &mut dyn fidelio_trainer::Evaluate);
    Trainer::new(plan.clone(), &mut session, &rows, evaluator, kept, &mut all)?.run()
}

/// Goes on, in another process as it were.
fn resume(plan: &TrainPlan, folder: &Path, log: &mut Log) -> Result<Summary, TrainError> {
    let (mut evaluator, mut session, rows) = (held_out(), session(), rows());
    let mut metrics = MetricsFile::new(folder.join("metrics.jsonl"));
    let kept = checkpoints(folder);
    let mut board = TensorBoard::new(&folder.join("logs"));
    let mut all: [&mut dyn fidelio_trainer::Observer; 3] = [log, &mut metrics, &mut board];
    let evaluator = Some(&mut evaluator as &mut dyn fidelio_trainer::Evaluate);
    Trainer::resume(plan.clone(), &mut session, &rows, evaluator, kept, &mut all)?.run()
}

/// What a run left, but for the time it took.
fn left(folder: &Path, update: u64) -> (Vec<Vec<u8>>, TrainState, Vec<serde_json::Value>) {
    let checkpoint = folder.join(format!("checkpoints/update-{update:08}"));
    let files = ["parameters.safetensors", "optimizer.safetensors", "run.json"];
    let files = files.iter().map(|file| fs::read(checkpoint.join(file)).unwrap()).collect();
    let mut state: TrainState =
        serde_json::from_slice(&fs::read(checkpoint.join("state.json")).unwrap()).unwrap();
    state.totals.seconds = 0.0;
    let metrics = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let lines = metrics.lines().map(|line| {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().shift_remove("seconds");
        line
    });
    let lines = lines.collect();
    (files, state, lines)
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn stopped_anywhere_and_resumed_it_ends_the_same() {
    let whole = folder();
    let summary = begin(&plan(), whole.path(), &mut Log::default()).unwrap();
    assert_eq!((summary.ended, summary.update), (Ended::Complete, 10));
    let expected = left(whole.path(), 10);
    assert_eq!(expected.2.len(), 15, "ten updates, five evaluations");
    // 1: within the warm-up. 3: within an epoch. 4: the end of one, evaluation due. 5: odd.
    for stop in [1, 3, 4, 5, 9] {
        let parts = folder();
        let stopped = begin(&plan(), parts.path(), &mut Log::stopping_at(stop)).unwrap();
        assert_eq!((stopped.ended, stopped.update), (Ended::Stopped, stop));
        let mut log = Log::default();
        let resumed = resume(&plan(), parts.path(), &mut log).unwrap();
        assert_eq!(log.steps()[0].update, stop + 1);
        assert_eq!(resumed.best, summary.best);
        assert_eq!(left(parts.path(), 10), expected, "stopped at {stop}");
    }
}

/// With `FIDELIO_TENSORBOARD_PYTHON`, a Python that has TensorBoard, its own reader compares the event
/// files with the lines of the metrics file.
#[test]
fn event_files_say_what_the_lines_say_and_a_resumed_run_writes_new_ones() {
    let (parts, plan) = (folder(), TrainPlan { checkpoint_every: 3, ..plan() });
    begin(&plan, parts.path(), &mut Log::default()).unwrap();
    fs::remove_dir_all(parts.path().join("checkpoints/update-00000010")).unwrap();
    resume(&plan, parts.path(), &mut Log::default()).unwrap();
    let files = |stream| fs::read_dir(parts.path().join("logs").join(stream)).unwrap().count();
    assert_eq!((files("training"), files("validation")), (2, 2));
    let Some(python) = std::env::var_os("FIDELIO_TENSORBOARD_PYTHON") else { return };
    let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tensorboard/read_events.py");
    let read = std::process::Command::new(python).arg(reader).arg(parts.path()).output().unwrap();
    let told = String::from_utf8_lossy(&read.stdout);
    let problem = String::from_utf8_lossy(&read.stderr);
    assert_eq!(told, "40 values of updates and 10 of evaluations agree\n", "{problem}");
}

#[test]
fn a_kill_loses_what_came_after_the_checkpoint_and_nothing_else() {
    let plan = TrainPlan { checkpoint_every: 3, ..plan() };
    let (whole, parts) = (folder(), folder());
    begin(&plan, whole.path(), &mut Log::default()).unwrap();
    begin(&plan, parts.path(), &mut Log::default()).unwrap();
    let kept = parts.path().join("checkpoints");
    fs::remove_dir_all(kept.join("update-00000010")).unwrap();
    let mut log = Log::default();
    resume(&plan, parts.path(), &mut log).unwrap();
    assert_eq!(log.steps()[0].update, 10);
    assert_eq!(left(parts.path(), 10), left(whole.path(), 10));
    assert!(!kept.join("update-00000006").exists(), "two are kept");
    assert!(kept.join("update-00000009").exists());
}

#[test]
fn a_run_that_is_over_hands_back_the_same_again() {
    let folder = folder();
    let first = begin(&plan(), folder.path(), &mut Log::default()).unwrap();
    let again = resume(&plan(), folder.path(), &mut Log::default()).unwrap();
    assert_eq!(first, again);
}

/// Damages the newest checkpoint of a run of two, and tells which flaw was found.
fn damage(with: impl FnOnce(&Path)) -> Flaw {
    let folder = folder();
    let plan = TrainPlan { checkpoint_every: 5, ..plan() };
    begin(&plan, folder.path(), &mut Log::default()).unwrap();
    let newest = folder.path().join("checkpoints/update-00000010");
    let parameters = fs::read(newest.join("parameters.safetensors")).unwrap();
    with(&newest);
    let mut log = Log::default();
    resume(&plan, folder.path(), &mut log).unwrap();
    assert_eq!(log.steps()[0].update, 6, "the older one is taken");
    assert_eq!(fs::read(newest.join("parameters.safetensors")).unwrap(), parameters);
    match &log.events[0] {
        Event::Skipped { path, flaw } if *path == newest => flaw.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_damaged_checkpoint_is_reported_and_an_older_one_taken() {
    let no_manifest = damage(|at| fs::remove_file(at.join("manifest.json")).unwrap());
    assert_eq!(no_manifest, Flaw::NoManifest);
    let truncated = damage(|at| {
        let file = fs::File::options().write(true).open(at.join("parameters.safetensors"));
        file.unwrap().set_len(100).unwrap();
    });
    assert!(matches!(truncated, Flaw::Size { found: 100, .. }), "{truncated:?}");
    let changed = damage(|at| {
        let path = at.join("optimizer.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
    });
    assert!(matches!(changed, Flaw::Changed { .. }), "{changed:?}");
}

#[test]
fn another_plan_or_other_rows_are_refused_by_name() {
    let folder = folder();
    begin(&plan(), folder.path(), &mut Log::stopping_at(5)).unwrap();
    let mut other = TrainPlan { seed: 8, ..plan() };
    other.schedule.warmup_updates = 3;
    let error = resume(&other, folder.path(), &mut Log::default()).unwrap_err();
    assert!(
        error.to_string().ends_with("another run: seed, schedule.warmup_updates differ"),
        "{error}"
    );
    let rows = &rows()[1..];
    let (mut session, mut log) = (session(), Log::default());
    let error =
        Trainer::resume(plan(), &mut session, rows, None, checkpoints(folder.path()), &mut log);
    let error = match error {
        Err(TrainError::Checkpoint(CheckpointError::OtherRun { differs, .. })) => differs,
        other => panic!("{other:?}"),
    };
    assert_eq!(error, ["rows"]);
}

#[test]
fn a_run_neither_overwrites_another_nor_begins_from_nothing() {
    let folder = folder();
    let nothing = resume(&plan(), folder.path(), &mut Log::default()).unwrap_err();
    assert!(matches!(nothing, TrainError::Checkpoint(CheckpointError::Nothing { .. })));
    begin(&plan(), folder.path(), &mut Log::stopping_at(5)).unwrap();
    let occupied = begin(&plan(), folder.path(), &mut Log::default()).unwrap_err();
    assert!(matches!(occupied, TrainError::Checkpoint(CheckpointError::Occupied { .. })));
    assert!(occupied.hint().is_some());
}

#[test]
fn an_evaluation_that_a_stop_left_out_is_caught_up_with_once() {
    let folder = folder();
    begin(&plan(), folder.path(), &mut Log::stopping_at(10)).unwrap();
    assert_eq!(left(folder.path(), 10).1.evaluated, 8);
    let mut logs = [Log::default(), Log::default()];
    for log in &mut logs {
        resume(&plan(), folder.path(), log).unwrap();
        assert_eq!(left(folder.path(), 10).1.evaluated, 10);
    }
    assert_eq!(logs.map(|log| log.metrics().len()), [1, 0]);
}

#[test]
fn a_damaged_checkpoint_takes_no_good_ones_place() {
    let folder = folder();
    let plan = TrainPlan { checkpoint_every: 2, ..plan() };
    begin(&plan, folder.path(), &mut Log::default()).unwrap();
    let at = |update: u64| folder.path().join(format!("checkpoints/update-{update:08}"));
    fs::write(at(10).join("parameters.safetensors"), "").unwrap();
    resume(&plan, folder.path(), &mut Log::stopping_at(9)).unwrap();
    assert!(at(8).exists() && at(9).exists() && at(10).exists());
    assert!(!at(6).exists());
}

#[test]
fn only_parameters_that_a_checkpoint_counts_on_are_kept() {
    let folder = folder();
    let soup = Some(Soup { kind: SoupKind::Uniform, top_k: 2 });
    let plan = TrainPlan { checkpoint_every: 1, model_soup: soup, ..plan() };
    begin(&plan, folder.path(), &mut Log::default()).unwrap();
    let best = fs::read_dir(folder.path().join("checkpoints/best")).unwrap();
    // The loss falls all the way: update 9 counts on 6 and 8, update 10 on 8 and 10.
    let mut best: Vec<_> = best.map(|entry| entry.unwrap().file_name()).collect();
    best.sort();
    assert_eq!(best, ["update-00000006", "update-00000008", "update-00000010"]);
}
