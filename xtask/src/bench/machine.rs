//! The machine, described without naming it.

use serde::{Deserialize, Serialize};

/// Instruction sets that decide how fast models run, as Linux calls them.
const INSTRUCTION_SETS: [&str; 16] = [
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "asimd",
    "asimddp",
    "bf16",
    "i8mm",
];

/// What decides how fast it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) instruction_sets: Vec<String>,
    /// Bytes.
    pub(super) memory: u64,
    /// `x86_64 on linux`.
    pub(super) system: String,
}

impl Machine {
    pub(super) fn this() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::of(&read("/proc/cpuinfo"), &read("/proc/meminfo"), cores)
    }

    fn of(cpuinfo: &str, meminfo: &str, cores: usize) -> Self {
        let said = |text: &str, key: &str| {
            let line =
                text.lines().find(|line| line.split(':').next().is_some_and(|it| it.trim() == key));
            line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
        };
        let number = |key| said(cpuinfo, key).unwrap_or_default();
        let name = said(cpuinfo, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        // Behind a hypervisor the name may be that of a whole series.
        let cpu = match (number("cpu family"), number("model")) {
            (family, model) if family.is_empty() || model.is_empty() => name,
            (family, model) => format!("{name} (family {family}, model {model})"),
        };
        let flags =
            said(cpuinfo, "flags").or_else(|| said(cpuinfo, "Features")).unwrap_or_default();
        let flags: Vec<&str> = flags.split(' ').collect();
        let known = INSTRUCTION_SETS.iter().filter(|name| flags.contains(name));
        let memory = said(meminfo, "MemTotal").unwrap_or_default();
        let kilobytes: u64 = memory.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0);
        Self {
            cpu,
            cores,
            instruction_sets: known.map(|name| (*name).to_owned()).collect(),
            memory: kilobytes * 1024,
            system: format!("{} on {}", std::env::consts::ARCH, std::env::consts::OS),
        }
    }

    /// For a file's name.
    pub(super) fn slug(&self) -> String {
        let text = format!("{} {} cores", self.cpu, self.cores).to_lowercase();
        let words =
            text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("-")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_its_processor_and_not_its_name() {
        let cpuinfo = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\
                       flags\t\t: fpu avx2 fma avx512f pni\n\nprocessor\t: 1\n";
        let machine = Machine::of(cpuinfo, "MemTotal:       2048 kB\nMemFree: 1 kB\n", 2);
        assert_eq!(machine.cpu, "AMD EPYC (family 25, model 17)");
        assert_eq!(machine.instruction_sets, ["avx2", "fma", "avx512f"]);
        assert_eq!(machine.memory, 2 << 20);
        assert_eq!(machine.slug(), "amd-epyc-family-25-model-17-2-cores");
        assert_eq!(Machine::of("", "", 4).cpu, std::env::consts::ARCH);
    }
}
