//! How much memory this process has used.

/// The most memory that this process has had resident, in bytes, where the system says so.
pub fn peak_memory() -> Option<u64> {
    kilobytes("/proc/self/status", "VmHWM:")
}

/// The memory that this process has resident now, in bytes, where the system says so.
pub(crate) fn resident_memory() -> Option<u64> {
    kilobytes("/proc/self/status", "VmRSS:")
}

/// Lets [`peak_memory`] begin anew, where the system allows it.
pub(crate) fn reset_peak_memory() {
    // Where it fails, the peak stays that of the whole process: larger, never smaller.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The memory that new work can have, in bytes, where the system says so: what the machine has
/// left, or what a container's limit leaves.
pub(crate) fn available_memory() -> Option<u64> {
    let machine = kilobytes("/proc/meminfo", "MemAvailable:");
    let bytes = |name: &str| -> Option<u64> {
        std::fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse().ok()
    };
    let container =
        bytes("memory.max").map(|most| most.saturating_sub(bytes("memory.current").unwrap_or(0)));
    machine.into_iter().chain(container).min()
}

/// A line of a file of the system's that counts in units of 1024 bytes.
fn kilobytes(file: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn a_running_test_has_used_memory() {
        let resident = super::resident_memory().unwrap();
        let used = super::peak_memory().unwrap();
        assert!((1 << 20..1 << 40).contains(&used), "{used}");
        assert!(resident <= used, "{resident} {used}");
        assert!(super::available_memory().unwrap() > 1 << 20);
    }
}
