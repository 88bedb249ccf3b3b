//! The command line: what stands before and after a command's name.

mod run;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use run::{
    BaseFlags, DataFlags, ModelFlags, PredictionsFormat, ResultFlags, RunFlags, read_options,
};

use crate::commands::{
    adapters, advise, backends, chat, check, compare, completions, datasets, doctor, embed,
    evaluate, experiment, export, generate, index, init, merge, models, plan, plugin, predict,
    render_config, schema, serve, train, verify, visualize,
};

/// Customise a large language model for your task, from one YAML file and one binary.
#[derive(Debug, Parser)]
#[command(
    name = "fidelio",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done; 1 the work failed; 2 it could not be done as asked."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a run file for a table and a target column.
    #[command(alias = "init-config", alias = "init_config")]
    Init(init::Args),
    /// Report every problem of a run file and of all rows; show what the model will read.
    Check(check::Args),
    /// Print everything a run decides before its first row.
    Plan(plan::Args),
    /// Print the run file with every default filled in.
    #[command(alias = "render_config")]
    RenderConfig(render_config::Args),
    /// Print a JSON Schema of run files, for editors.
    #[command(alias = "export-schema", alias = "export_schema")]
    Schema(schema::Args),
    /// Learn the answers of a table's rows.
    Train(train::Args),
    /// Answer every row of a table.
    Predict(predict::Args),
    /// Answer every row of a table and measure the answers.
    Evaluate(evaluate::Args),
    /// Learn from the training rows, then measure on the test rows.
    Experiment(experiment::Args),
    /// Measure prompting, examples and fine-tuning on your rows, and recommend one.
    Advise(advise::Args),
    /// Continue one prompt.
    Generate(generate::Args),
    /// Make vectors of a table's texts.
    Embed(embed::Args),
    /// Talk with a model.
    Chat(chat::Args),
    /// Answer over HTTP, as OpenAI's clients ask.
    Serve(serve::Args),
    /// Hold a run that is served against what its training saw.
    Verify(verify::Args),
    /// Cut documents into passages that prompts can show, and search them.
    Index(index::Args),
    /// Say what two runs have set otherwise, and which one answers better beyond chance.
    Compare(compare::Args),
    /// Draw pictures of runs, and write a page about each.
    Visualize(visualize::Args),
    /// Work a training run's adapter into its model, and measure what that changes.
    Merge(merge::Args),
    /// Make one adapter of several.
    Adapters(adapters::Args),
    /// Write a model for llama.cpp or transformers, and measure what that changes.
    #[command(alias = "export-model", alias = "export_model")]
    Export(export::Args),
    /// List the models that have a short name, and which of them are here.
    Models(models::Args),
    /// List, describe or write out data sets.
    Datasets(datasets::Args),
    /// List what can run models on this machine.
    Backends(backends::Args),
    /// Test a backend plugin.
    Plugin(plugin::Args),
    /// Show settings with where they come from, caches, devices, memory and disk.
    Doctor(doctor::Args),
    /// Print completions for a shell.
    Completions(completions::Args),
    /// Print this command line as a page of the documentation.
    #[command(hide = true)]
    Reference,
}

/// Flags of every command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Everywhere")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Global {
    /// Print results, and problems, as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing but results and problems.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// No colours and no moving progress bars.
    #[arg(long, global = true)]
    pub(crate) plain: bool,
    /// Keep downloaded models here.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Load this backend plugin, for `--device plugin:NAME`; its code runs.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) plugin: Vec<PathBuf>,
    /// Leave the network alone.
    #[arg(long, global = true)]
    pub(crate) offline: bool,
    /// Compute with so many threads; 0 is one for each core.
    #[arg(long, global = true, value_name = "N")]
    pub(crate) threads: Option<usize>,
}

impl Global {
    /// The machine settings among them, for the layer above files and environment.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = Vec::new();
        if let Some(folder) = &self.cache_dir {
            settings.push(("cache_dir", folder.display().to_string()));
        }
        if self.offline {
            settings.push(("offline", "true".to_owned()));
        }
        if let Some(threads) = self.threads {
            settings.push(("threads", threads.to_string()));
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn flags_do_not_clash() {
        super::Cli::command().debug_assert();
    }
}
