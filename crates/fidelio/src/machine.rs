//! The machine: its settings, its caches, and what can run models on it.

use std::path::{Path, PathBuf};

use fidelio_backend::{Backend, BackendInfo, DeviceId};
use fidelio_config::{Settings, Surroundings};
use fidelio_plugin::{PluginBackend, PluginError, plugins_in};
use fidelio_weights::SourceOptions;

use crate::{Error, hashes::Hashes};

/// Features that bring an engine, and what each is for.
const ENGINES: [(&str, &str); 4] = [
    ("flex", "the CPU (the default)"),
    ("ndarray", "the CPU, through the ndarray crate"),
    ("wgpu", "GPUs through Vulkan"),
    ("cuda", "NVIDIA GPUs"),
];

/// What the devices of plugins begin with.
const PLUGIN: &str = "plugin:";

/// Settings and engines of this machine.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    home: Option<PathBuf>,
    /// Engines of the host, besides those that are compiled in.
    engines: Vec<fn() -> Box<dyn Backend>>,
    /// Plugins that were loaded by their path.
    plugins: Vec<PluginBackend>,
}

/// An engine with the number of one of its devices.
pub struct Device {
    /// The engine.
    pub backend: Box<dyn Backend>,
    /// Its device.
    pub id: DeviceId,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

impl Device {
    /// As a user would write it: `flex`, `cuda:1`, `plugin:mine#0`.
    pub fn name(&self) -> String {
        let name = self.backend.describe().name;
        if name.starts_with(PLUGIN) {
            return format!("{name}#{}", self.id.0);
        }
        if self.id.0 == 0 { name } else { format!("{name}:{}", self.id.0) }
    }
}

impl Machine {
    /// The settings of this process: defaults, files, environment, then `flags`.
    ///
    /// # Errors
    /// [`Error::Settings`].
    pub fn of_process(flags: &[(&'static str, String)]) -> Result<Self, Error> {
        Self::new(&Surroundings::of_process(), flags)
    }

    /// The settings of given surroundings, for tests and hosts with an environment of their own.
    ///
    /// # Errors
    /// [`Error::Settings`].
    pub fn new(around: &Surroundings, flags: &[(&'static str, String)]) -> Result<Self, Error> {
        let settings = Settings::load(around, flags)?;
        // The pool is the process's; a second call finds it built and changes nothing.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(settings.threads.value);
        drop(pool.build_global());
        let home = around.variables.get("HOME").map(PathBuf::from);
        Ok(Self { settings, home, engines: Vec::new(), plugins: Vec::new() })
    }

    /// The same with an engine of the host's own, before those that are compiled in: `device: auto`
    /// takes the first that has a device.
    #[must_use]
    pub fn with_engine(mut self, engine: fn() -> Box<dyn Backend>) -> Self {
        self.engines.push(engine);
        self
    }

    /// The same with the plugin at a path, which is loaded: its code runs. It takes the place of one
    /// of that name in the plugin folder.
    ///
    /// # Errors
    /// [`Error::Plugin`].
    pub fn with_plugin(mut self, path: &Path) -> Result<Self, Error> {
        self.plugins.push(PluginBackend::load(path)?);
        Ok(self)
    }

    /// The settings, each with where it came from.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where models come from.
    pub(crate) fn sources(&self) -> SourceOptions {
        let settings = &self.settings;
        let home = self.home.clone();
        let from_env = SourceOptions::from_env(settings.cache_dir.value.clone(), |name| {
            (name == "HOME").then(|| home.as_ref()?.to_str().map(str::to_owned)).flatten()
        });
        let token = settings.hub_token.as_ref().map(|token| token.value.clone());
        SourceOptions {
            hub_cache: settings.hugging_face_dir.value.join("hub"),
            endpoint: settings.hub_endpoint.value.clone(),
            token: token.or(from_env.token),
            offline: settings.offline.value,
            ..from_env
        }
    }

    /// The hashes of files, as far as they are known.
    pub(crate) fn hashes(&self) -> Hashes {
        Hashes::new(self.settings.cache_dir.value.join("hashes"))
    }

    /// Every engine of this build.
    pub fn backends(&self) -> Vec<BackendInfo> {
        self.engines().iter().map(|backend| backend.describe()).collect()
    }

    /// The plugins that were given by their path and those of the plugin folder, each of which is
    /// loaded: their code runs.
    ///
    /// # Errors
    /// Where the folder cannot be read; a plugin that cannot be loaded is an error of its own.
    pub fn plugins(&self) -> Result<Vec<Result<BackendInfo, PluginError>>, Error> {
        let mut found: Vec<_> = self.plugins.iter().map(|plugin| Ok(plugin.describe())).collect();
        for path in plugins_in(&self.settings.plugin_dir.value)? {
            let name = fidelio_plugin::plugin_name(&path);
            if !self.plugins.iter().any(|plugin| Some(plugin.name()) == name.as_deref()) {
                found.push(PluginBackend::load(&path).map(|plugin| plugin.describe()));
            }
        }
        Ok(found)
    }

    /// The engine and device that a run file or flag names; `auto` takes the machine's setting,
    /// and if that is `auto` too, the first engine that has a device. A plugin is taken only by its
    /// name.
    ///
    /// # Errors
    /// [`Error::Device`] with what is there and how to get the rest; [`Error::Plugin`].
    pub fn device(&self, asked: &str) -> Result<Device, Error> {
        let name = if asked == "auto" { self.settings.device.value.as_str() } else { asked };
        if let Some(named) = name.strip_prefix(PLUGIN) {
            return self.plugin(name, named);
        }
        let (engine, number) = name.split_once(':').unwrap_or((name, "0"));
        let engine = if engine == "vulkan" { "wgpu" } else { engine };
        let refuse = |help: String| Err(Error::Device { asked: name.into(), help });
        let Ok(number) = number.parse::<u32>() else {
            return refuse(format!(
                "`{number}` is not a device number; write for example `cuda:0`"
            ));
        };
        let candidates = self.engines();
        let names: Vec<String> = candidates.iter().map(|b| b.describe().name).collect();
        for backend in candidates {
            let info = backend.describe();
            if engine == "auto" && !info.devices.is_empty() {
                return Ok(Device { backend, id: DeviceId(0) });
            }
            if engine == info.name {
                return match info.devices.len() {
                    0 => refuse(format!("this machine has no device for `{engine}`")),
                    n if number as usize >= n => {
                        refuse(format!("`{engine}` has {n} device(s), counted from 0"))
                    }
                    _ => Ok(Device { backend, id: DeviceId(number) }),
                };
            }
        }
        refuse(not_compiled(engine, &names))
    }

    /// A device of a plugin: `named` is `mine#0`, or `mine` for its first one.
    fn plugin(&self, asked: &str, named: &str) -> Result<Device, Error> {
        let refuse = |help: String| Err(Error::Device { asked: asked.into(), help });
        let (name, number) = named.split_once('#').unwrap_or((named, "0"));
        let Ok(number) = number.parse::<u32>() else {
            return refuse(format!(
                "`{number}` is not a device number; write for example `{PLUGIN}{name}#1`"
            ));
        };
        let plugin = match self.plugins.iter().find(|plugin| plugin.name() == name) {
            Some(plugin) => plugin.clone(),
            None => PluginBackend::find(&self.settings.plugin_dir.value, name)?,
        };
        let devices = plugin.describe().devices;
        if devices.iter().any(|device| device.id.0 == number) {
            return Ok(Device { backend: Box::new(plugin), id: DeviceId(number) });
        }
        let have: Vec<String> = devices.iter().map(|device| device.id.0.to_string()).collect();
        refuse(format!("the plugin has device {}", have.join(", ")))
    }

    fn engines(&self) -> Vec<Box<dyn Backend>> {
        self.engines.iter().map(|engine| engine()).chain(backends()).collect()
    }
}

fn not_compiled(engine: &str, have: &[String]) -> String {
    let have = if have.is_empty() { "no engine".into() } else { have.join(", ") };
    match ENGINES.iter().find(|(name, _)| *name == engine) {
        Some((name, what)) => format!(
            "this build has {have}; for {what} build it with `cargo build --release --features {name}`"
        ),
        None => format!("no engine has that name; this build has {have}"),
    }
}

#[cfg(feature = "burn")]
fn backends() -> Vec<Box<dyn Backend>> {
    let boxed = |backend| Box::new(backend) as Box<dyn Backend>;
    fidelio_model::backends().into_iter().map(boxed).collect()
}

#[cfg(not(feature = "burn"))]
fn backends() -> Vec<Box<dyn Backend>> {
    Vec::new()
}
