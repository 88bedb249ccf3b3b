//! `fidelio backends`: what can run models on this machine.

use fidelio::backend::BackendInfo;

use crate::{
    args::Global,
    failure::Failure,
    ui::{self, Table, Ui},
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let machine = super::machine(global)?;
    let mut backends = machine.backends();
    let mut broken = Vec::new();
    for plugin in machine.plugins()? {
        match plugin {
            Ok(info) => backends.push(info),
            Err(error) => broken.push(fidelio::Error::from(error)),
        }
    }
    ui.result(&backends, || table(&backends))?;
    for error in broken {
        ui.note(format!("note: {}", ui::errors::chain(&error)));
    }
    if backends.is_empty() {
        ui.note("this build has no engine; build it with `--features flex` for the CPU");
    }
    Ok(())
}

/// One line for each device of each backend.
pub(super) fn table(backends: &[BackendInfo]) -> String {
    let mut table = Table::new(["device", "memory", "what it is"]);
    for backend in backends {
        if backend.devices.is_empty() {
            let none = "no device here".to_owned();
            table.row([backend.name.clone(), none, backend.about.clone()]);
        }
        for device in &backend.devices {
            let name = match device.id.0 {
                number if backend.name.starts_with("plugin:") => {
                    format!("{}#{number}", backend.name)
                }
                0 => backend.name.clone(),
                number => format!("{}:{number}", backend.name),
            };
            let memory = device.memory.map_or_else(|| "-".to_owned(), ui::bytes);
            table.row([name, memory, format!("{} ({})", backend.about, device.name)]);
        }
    }
    table.render()
}
