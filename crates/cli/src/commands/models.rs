//! `fidelio models`: models that have a short name, and which of them are here.

use std::path::Path;

use fidelio::weights::{Alias, aliases};
use serde_json::{Value, json};

use crate::{
    args::Global,
    failure::Failure,
    ui::{Table, Ui},
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only those whose short name or hub id contains this.
    #[arg(value_name = "TEXT")]
    filter: Option<String>,
    /// Only those that are here.
    #[arg(long)]
    here: bool,
}

pub(crate) fn run(args: &Args, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let machine = super::machine(global)?;
    let settings = machine.settings();
    let own = settings.cache_dir.value.join("models");
    let hub = settings.hugging_face_dir.value.join("hub");
    let wanted = args.filter.as_deref().unwrap_or("").to_lowercase();
    let chosen: Vec<(&Alias, bool)> = aliases()
        .iter()
        .filter(|alias| {
            alias.name.to_lowercase().contains(&wanted)
                || alias.hub_id.to_lowercase().contains(&wanted)
        })
        .map(|alias| (alias, is_here(alias, &own, &hub)))
        .filter(|(_, here)| *here || !args.here)
        .collect();
    let value: Vec<Value> = chosen.iter().map(|(alias, here)| value(alias, *here)).collect();
    ui.result(&value, || table(&chosen))?;
    ui.note("models of the Llama family run today (Llama, Mistral, SmolLM, TinyLlama), and BERT encoders such as `minilm` make vectors; `base_model` also takes a folder, a GGUF file or a hub id");
    Ok(())
}

/// Whether the model's file, or a snapshot of it, lies in a cache.
fn is_here(alias: &Alias, own: &Path, hub: &Path) -> bool {
    let file = alias.cached_file.is_some_and(|file| own.join(file).exists());
    let folder = hub.join(format!("models--{}", alias.hub_id.replace('/', "--")));
    file || folder.join("snapshots").is_dir()
}

fn value(alias: &Alias, here: bool) -> Value {
    json!({
        "name": alias.name,
        "hub_id": alias.hub_id,
        "parameters": alias.parameters,
        "context": alias.context,
        "license": alias.license,
        "here": here,
    })
}

fn table(chosen: &[(&Alias, bool)]) -> String {
    let mut table = Table::new(["name", "parameters", "context", "here", "licence", "hub id"]);
    for (alias, here) in chosen {
        table.row([
            alias.name.to_owned(),
            alias.parameters.to_owned(),
            alias.context.to_string(),
            if *here { "yes" } else { "-" }.to_owned(),
            alias.license.to_owned(),
            alias.hub_id.to_owned(),
        ]);
    }
    table.render()
}
