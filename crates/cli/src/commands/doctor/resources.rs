//! Memory, disk and instruction sets, as far as the system tells.

use std::path::Path;

use serde::Serialize;

/// Bytes of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Memory {
    pub(super) total: u64,
    pub(super) available: u64,
}

/// The machine's memory, where `/proc` tells.
pub(super) fn memory() -> Option<Memory> {
    parse(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn parse(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kilobytes.checked_mul(1024)
    };
    Some(Memory { total: field("MemTotal:")?, available: field("MemAvailable:")? })
}

/// Free bytes on the disk of a path, or of its nearest parent that exists.
#[cfg(unix)]
pub(super) fn disk_free(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|path| path.exists())?;
    let disk = rustix::fs::statvfs(there).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

/// Not known here.
#[cfg(not(unix))]
pub(super) fn disk_free(_: &Path) -> Option<u64> {
    None
}

/// How many files a folder holds, and their bytes. Links count as nothing, so that the hub's
/// snapshots, which are links, are not counted twice.
pub(super) fn folder(path: &Path) -> (usize, u64) {
    let Ok(entries) = std::fs::read_dir(path) else { return (0, 0) };
    entries.flatten().fold((0, 0), |(files, bytes), entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => {
            let (more, size) = folder(&entry.path());
            (files + more, bytes + size)
        }
        Ok(kind) if kind.is_file() => {
            (files + 1, bytes + entry.metadata().map_or(0, |data| data.len()))
        }
        _ => (files, bytes),
    })
}

/// Instruction sets beyond the architecture's own that kernels may use.
pub(super) fn instructions() -> Vec<&'static str> {
    let mut found = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        for (name, present) in [
            ("avx2", std::arch::is_x86_feature_detected!("avx2")),
            ("fma", std::arch::is_x86_feature_detected!("fma")),
            ("f16c", std::arch::is_x86_feature_detected!("f16c")),
            ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
            ("avx512bw", std::arch::is_x86_feature_detected!("avx512bw")),
            ("avx512vl", std::arch::is_x86_feature_detected!("avx512vl")),
            ("avx512vnni", std::arch::is_x86_feature_detected!("avx512vnni")),
            ("avx512bf16", std::arch::is_x86_feature_detected!("avx512bf16")),
        ] {
            if present {
                found.push(name);
            }
        }
    }
    #[cfg(target_arch = "aarch64")]
    found.push("neon");
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_where_it_stands() {
        let text = "MemTotal:       16 kB\nMemFree:  1 kB\nMemAvailable:    8 kB\n";
        assert_eq!(parse(text), Some(Memory { total: 16384, available: 8192 }));
        assert_eq!(parse("nothing"), None);
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_on_its_parents_disk() {
        let there = tempfile::tempdir().unwrap();
        #[cfg(unix)]
        assert!(disk_free(&there.path().join("a/b")).unwrap() > 0);
        std::fs::write(there.path().join("x"), b"12345").unwrap();
        assert_eq!(folder(there.path()), (1, 5));
    }
}
