//! How much memory this process has used.

/// The most memory that this process has had resident, in bytes, where the system says so.
pub fn peak_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn a_running_test_has_used_memory() {
        let used = super::peak_memory().unwrap();
        assert!((1 << 20..1 << 40).contains(&used), "{used}");
    }
}
