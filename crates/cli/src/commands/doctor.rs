//! `fidelio doctor`: the machine as Fidelio sees it, for people and for bug reports.

mod resources;

use std::path::Path;

use fidelio::{Machine, backend::BackendInfo, config::Surroundings};
use serde::Serialize;

use self::resources::Memory;
use super::backends;
use crate::{
    args::Global,
    failure::Failure,
    ui::{self, Table, Ui},
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// What the doctor finds.
#[derive(Debug, Serialize)]
struct Findings {
    version: &'static str,
    build: String,
    cpu: Cpu,
    settings: Vec<Setting>,
    settings_files: Vec<SettingsFile>,
    caches: Vec<Cache>,
    backends: Vec<BackendInfo>,
    memory: Option<Memory>,
    /// Free bytes where the cache is.
    disk_free: Option<u64>,
    offline: bool,
}

#[derive(Debug, Serialize)]
struct Cpu {
    architecture: &'static str,
    cores: Option<usize>,
    /// Instruction sets that our kernels can use.
    instructions: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Setting {
    name: &'static str,
    value: String,
    from: String,
}

#[derive(Debug, Serialize)]
struct SettingsFile {
    path: String,
    exists: bool,
}

#[derive(Debug, Serialize)]
struct Cache {
    what: &'static str,
    path: String,
    /// None where it does not exist.
    files: Option<usize>,
    bytes: u64,
}

pub(crate) fn run(_: &Args, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let machine = super::machine(global)?;
    let findings = examine(&machine);
    ui.result(&findings, || text(&findings))
}

fn examine(machine: &Machine) -> Findings {
    let settings = machine.settings();
    let around = Surroundings::of_process();
    let files = [around.user_file(), around.project_file()];
    let models = settings.cache_dir.value.join("models");
    let hub = settings.hugging_face_dir.value.join("hub");
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    Findings {
        version: env!("CARGO_PKG_VERSION"),
        build: format!("{profile}, {} on {}", std::env::consts::ARCH, std::env::consts::OS),
        cpu: Cpu {
            architecture: std::env::consts::ARCH,
            cores: std::thread::available_parallelism().ok().map(std::num::NonZero::get),
            instructions: resources::instructions(),
        },
        settings: settings
            .table()
            .into_iter()
            .map(|(name, value, from)| Setting { name, value, from })
            .collect(),
        settings_files: files
            .iter()
            .map(|path| SettingsFile { path: path.display().to_string(), exists: path.exists() })
            .collect(),
        caches: vec![cache("models", &models), cache("hub", &hub)],
        backends: machine.backends(),
        memory: resources::memory(),
        disk_free: resources::disk_free(&settings.cache_dir.value),
        offline: settings.offline.value,
    }
}

fn cache(what: &'static str, path: &Path) -> Cache {
    let sum = path.is_dir().then(|| resources::folder(path));
    Cache {
        what,
        path: path.display().to_string(),
        files: sum.map(|(files, _)| files),
        bytes: sum.map_or(0, |(_, bytes)| bytes),
    }
}

fn text(findings: &Findings) -> String {
    let mut about = Table::bare();
    let mut line = |name: &str, text: String| about.row([name.to_owned(), text]);
    line("fidelio", format!("{} ({})", findings.version, findings.build));
    let cpu = &findings.cpu;
    let cores = cpu.cores.map_or_else(|| "?".to_owned(), |cores| cores.to_string());
    let instructions = if cpu.instructions.is_empty() {
        "portable kernels".to_owned()
    } else {
        cpu.instructions.join(", ")
    };
    line("cpu", format!("{}, {cores} cores, {instructions}", cpu.architecture));
    if let Some(memory) = findings.memory {
        let (free, total) = (ui::bytes(memory.available), ui::bytes(memory.total));
        line("memory", format!("{free} free of {total}"));
    }
    if let Some(free) = findings.disk_free {
        line("disk", format!("{} free where the cache is", ui::bytes(free)));
    }
    let network = if findings.offline { "left alone" } else { "used when a model is not here" };
    line("network", network.to_owned());

    let mut settings = Table::new(["setting", "value", "from"]);
    for it in &findings.settings {
        settings.row([it.name.to_owned(), it.value.clone(), it.from.clone()]);
    }
    let mut places = Table::new(["place", "what is there", "path"]);
    for file in &findings.settings_files {
        let what = if file.exists { "read" } else { "not there" };
        places.row(["settings file".to_owned(), what.to_owned(), file.path.clone()]);
    }
    for cache in &findings.caches {
        let what = match cache.files {
            Some(files) => format!("{}, {}", ui::count(files, "file"), ui::bytes(cache.bytes)),
            None => "not there".to_owned(),
        };
        places.row([format!("{} cache", cache.what), what, cache.path.clone()]);
    }
    [about.render(), settings.render(), places.render(), backends::table(&findings.backends)]
        .join("\n")
}
