//! One file for each command; each has its `Args` and a `run`.

pub(crate) mod adapters;
pub(crate) mod advise;
pub(crate) mod backends;
pub(crate) mod chat;
pub(crate) mod check;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod datasets;
pub(crate) mod doctor;
pub(crate) mod embed;
pub(crate) mod evaluate;
pub(crate) mod experiment;
pub(crate) mod export;
pub(crate) mod generate;
pub(crate) mod index;
pub(crate) mod init;
pub(crate) mod merge;
pub(crate) mod models;
pub(crate) mod plan;
pub(crate) mod plugin;
pub(crate) mod predict;
pub(crate) mod probe;
pub(crate) mod reference;
pub(crate) mod render_config;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod train;
pub(crate) mod verify;
pub(crate) mod visualize;

mod output_file;
mod run_folder;

use fidelio::{Job, Machine, Model, RunFile};

use crate::{
    args::{Cli, Command, Global},
    failure::Failure,
    ui::{Ui, progress::Downloads},
};

/// Does what the command line asks.
pub(crate) fn run(cli: Cli, ui: &Ui) -> Result<(), Failure> {
    let Cli { command, global } = cli;
    match command {
        Command::Init(args) => init::run(&args, ui),
        Command::Check(args) => check::run(&args, &global, ui),
        Command::Plan(args) => plan::run(&args, &global, ui),
        Command::RenderConfig(args) => render_config::run(&args, ui),
        Command::Schema(args) => schema::run(&args, ui),
        Command::Train(args) => train::run(&args, &global, ui),
        Command::Predict(args) => predict::run(&args, &global, ui),
        Command::Evaluate(args) => evaluate::run(&args, &global, ui),
        Command::Experiment(args) => experiment::run(&args, &global, ui),
        Command::Advise(args) => advise::run(&args, &global, ui),
        Command::Generate(args) => generate::run(&args, &global, ui),
        Command::Embed(args) => embed::run(&args, &global, ui),
        Command::Chat(args) => chat::run(&args, &global, ui),
        Command::Serve(args) => serve::run(&args, &global, ui),
        Command::Verify(args) => verify::run(&args, &global, ui),
        Command::Index(args) => index::run(&args, &global, ui),
        Command::Compare(args) => compare::run(&args, ui),
        Command::Visualize(args) => visualize::run(&args, ui),
        Command::Merge(args) => merge::run(&args, &global, ui),
        Command::Adapters(args) => adapters::run(&args, ui),
        Command::Export(args) => export::run(&args, &global, ui),
        Command::Models(args) => models::run(&args, &global, ui),
        Command::Datasets(args) => datasets::run(&args, ui),
        Command::Backends(args) => backends::run(&args, &global, ui),
        Command::Plugin(args) => plugin::run(&args, ui),
        Command::Doctor(args) => doctor::run(&args, &global, ui),
        Command::Completions(args) => completions::run(&args, ui),
        Command::Reference => reference::run(ui),
    }
}

/// The machine, with the settings and plugins among the flags.
fn machine(global: &Global) -> Result<Machine, Failure> {
    let machine = Machine::of_process(&global.settings())?;
    Ok(global.plugin.iter().try_fold(machine, |machine, path| machine.with_plugin(path))?)
}

/// What was done to the rows that the run file does not say in so many words.
fn say_notes(ui: &Ui, job: &Job) {
    for note in &job.plan().data.notes {
        ui.note(format!("note: {note}"));
    }
}

/// The model of a run file, downloaded if need be.
fn model(machine: &Machine, run: &RunFile, ui: &Ui) -> Result<Model, Failure> {
    Ok(Model::find(machine, &run.base_model(), &Downloads::new(ui))?)
}
