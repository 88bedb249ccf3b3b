//! Long work: a moving bar in a terminal, a line now and then elsewhere.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use fidelio::{Event, Flow, Observer, Stage, TrainingEvent, weights};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Ui, bytes, seconds};
use crate::interrupt;

/// How often a line is written where no bar can move.
const PAUSE: Duration = Duration::from_secs(5);

/// Watches a run: shows how far it is, passes notes on, and stops it when the user asks.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    ui: &'a Ui,
    at: Option<At>,
}

/// One stage under way.
#[derive(Debug)]
struct At {
    stage: Stage,
    meter: Meter,
    done: usize,
    total: usize,
    tokens: u64,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(ui: &'a Ui) -> Self {
        Self { ui, at: None }
    }

    /// Ends the stage under way and says what it took.
    pub(crate) fn finish(&mut self) {
        let Some(At { stage, meter, done, total, tokens }) = self.at.take() else { return };
        let took = meter.clear();
        // Rendering takes a blink; only what takes time is worth a line.
        if took >= Duration::from_secs(1) {
            let rate = rate(tokens, took.as_secs_f64());
            let took = seconds(took.as_secs_f64());
            let (name, unit) = (stage.name(), stage.unit());
            self.ui.note(format!("{name}: {done} of {total} {unit} in {took}{rate}"));
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Observer for Watch<'_> {
    fn on(&mut self, event: &Event) -> Flow {
        match event {
            Event::Progress { stage, done, total, tokens } => {
                if self.at.as_ref().is_none_or(|at| at.stage != *stage) {
                    self.finish();
                }
                let ui = self.ui;
                let at = self.at.get_or_insert_with(|| At {
                    stage: *stage,
                    meter: Meter::new(ui, stage.name(), *total as u64, &counting(stage.unit())),
                    done: 0,
                    total: 0,
                    tokens: 0,
                });
                (at.done, at.total, at.tokens) = (*done, *total, *tokens);
                let rate = rate(*tokens, at.meter.begun.elapsed().as_secs_f64());
                let line = || format!("{done} of {total} {}", stage.unit());
                at.meter.set(ui, *done as u64, &rate, line);
            }
            Event::Note(text) => match &self.at {
                Some(At { meter: Meter { bar: Some(bar), .. }, .. }) => {
                    bar.suspend(|| self.ui.note(format!("note: {text}")));
                }
                _ => self.ui.note(format!("note: {text}")),
            },
            _ => {}
        }
        if interrupt::asked() { Flow::Stop } else { Flow::Continue }
    }
}

fn rate(tokens: u64, seconds: f64) -> String {
    if tokens == 0 || seconds <= 0.0 {
        return String::new();
    }
    format!(", {:.0} tokens/s", tokens as f64 / seconds)
}

/// Watches downloads.
#[derive(Debug)]
pub(crate) struct Downloads<'a> {
    ui: &'a Ui,
    at: Mutex<Option<(String, Meter, u64, u64)>>,
}

impl<'a> Downloads<'a> {
    pub(crate) fn new(ui: &'a Ui) -> Self {
        Self { ui, at: Mutex::new(None) }
    }
}

impl weights::Progress for Downloads<'_> {
    fn begin(&self, file: &str, have: u64, total: u64) {
        let meter = Meter::new(self.ui, file, total, BYTES_BAR);
        if let Ok(mut at) = self.at.lock() {
            *at = Some((file.to_owned(), meter, have, total));
        }
    }

    fn advance(&self, more: u64) {
        if let Ok(mut at) = self.at.lock()
            && let Some((_, meter, have, total)) = at.as_mut()
        {
            *have += more;
            let (have, total) = (*have, *total);
            meter.set(self.ui, have, "", || format!("{} of {}", bytes(have), bytes(total)));
        }
    }

    fn end(&self) {
        if let Ok(mut at) = self.at.lock()
            && let Some((file, meter, have, _)) = at.take()
        {
            let took = seconds(meter.clear().as_secs_f64());
            self.ui.note(format!("downloaded {file}: {} in {took}", bytes(have)));
        }
    }
}

/// Watches training: how far it is, each evaluation, and the user's wish to stop.
#[derive(Debug)]
pub(crate) struct Lessons<'a> {
    ui: &'a Ui,
    meter: Option<Meter>,
    tokens: u64,
}

impl<'a> Lessons<'a> {
    pub(crate) fn new(ui: &'a Ui) -> Self {
        Self { ui, meter: None, tokens: 0 }
    }

    fn step(&mut self, step: &fidelio::trainer::Step) {
        let ui = self.ui;
        let meter = self
            .meter
            .get_or_insert_with(|| Meter::new(ui, "training", step.of, &counting("updates")));
        self.tokens += step.tokens_computed;
        let rate = rate(self.tokens, meter.begun.elapsed().as_secs_f64());
        let beside = format!(", loss {:.4}{rate}", step.loss);
        meter.set(ui, step.update, &beside, || format!("{} of {} updates", step.update, step.of));
    }

    fn say(&self, text: &str) {
        match self.meter.as_ref().and_then(|meter| meter.bar.as_ref()) {
            Some(bar) => bar.suspend(|| self.ui.note(text)),
            None => self.ui.note(text),
        }
    }
}

impl fidelio::trainer::Observer for Lessons<'_> {
    fn on(
        &mut self,
        event: &TrainingEvent,
    ) -> Result<fidelio::trainer::Flow, Box<dyn std::error::Error + Send + Sync>> {
        match event {
            TrainingEvent::Skipped { path, flaw } => {
                self.say(&format!("note: `{}` is passed over: {flaw}", path.display()));
            }
            TrainingEvent::Began { update, of, rows, parameters, .. } => self.say(&format!(
                "learning {parameters} parameters from {rows} rows, updates {update} to {of}"
            )),
            TrainingEvent::Step(step) => self.step(step),
            TrainingEvent::Evaluated(found) => self.say(&evaluated(found)),
            TrainingEvent::Finished(_) => {
                if let Some(meter) = self.meter.take() {
                    let took = meter.clear();
                    let rate = rate(self.tokens, took.as_secs_f64());
                    self.ui.note(format!("trained in {}{rate}", seconds(took.as_secs_f64())));
                }
            }
            _ => {}
        }
        let stop = interrupt::asked();
        Ok(if stop { fidelio::trainer::Flow::Stop } else { fidelio::trainer::Flow::Continue })
    }
}

/// A bar that counts something.
fn counting(unit: &str) -> String {
    format!("{{prefix}} {{bar:24}} {{pos}}/{{len}} {unit}{{msg}}, {{eta}} left")
}

/// An evaluation on one line: the loss, and what it is judged by if that is something else.
fn evaluated(found: &fidelio::trainer::Evaluated) -> String {
    let update = found.update;
    let loss = found.values.get("loss").copied().unwrap_or(found.metric);
    let judged = match found.validation_metric.as_str() {
        "loss" => String::new(),
        name => format!(", {name} {:.4}", found.metric),
    };
    let best = if found.improved { ", the best so far" } else { "" };
    let learnt = found.training_loss;
    format!(
        "after update {update}: loss {loss:.4} on held-out rows, {learnt:.4} on learnt ones{judged}{best}"
    )
}

const BYTES_BAR: &str = "{prefix} {bar:24} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left";

/// Something that counts up to a total.
#[derive(Debug)]
struct Meter {
    name: String,
    total: u64,
    begun: Instant,
    said: Instant,
    bar: Option<ProgressBar>,
}

impl Meter {
    fn new(ui: &Ui, name: &str, total: u64, bar: &str) -> Self {
        let bar = ui.moving.then(|| {
            let style = ProgressStyle::with_template(bar)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("━╸ ");
            let target = ProgressDrawTarget::stderr_with_hz(10);
            ProgressBar::with_draw_target(Some(total), target)
                .with_style(style)
                .with_prefix(name.to_owned())
        });
        let now = Instant::now();
        Self { name: name.to_owned(), total, begun: now, said: now, bar }
    }

    fn set(&mut self, ui: &Ui, done: u64, beside: &str, line: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_message(beside.to_owned());
            bar.set_position(done);
        } else if self.said.elapsed() >= PAUSE {
            self.said = Instant::now();
            let left = left(self.begun.elapsed(), done, self.total);
            ui.note(format!("{}: {}{beside}{left}", self.name, line()));
        }
    }

    /// Takes the bar away and says how long it was there.
    fn clear(&self) -> Duration {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.begun.elapsed()
    }
}

/// The time that is left if it goes on as it went so far.
fn left(elapsed: Duration, done: u64, total: u64) -> String {
    if done == 0 || total <= done {
        return String::new();
    }
    let each = elapsed.as_secs_f64() / done as f64;
    format!(", {} left", seconds(each * (total - done) as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_said_once_something_is_done() {
        let minute = Duration::from_mins(1);
        assert_eq!(left(minute, 0, 10), "");
        assert_eq!(left(minute, 5, 10), ", 1 min 00 s left");
        assert_eq!(left(minute, 10, 10), "");
        assert_eq!(rate(0, 1.0), "");
        assert_eq!(rate(500, 2.0), ", 250 tokens/s");
    }
}
