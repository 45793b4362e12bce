//! The memory of a process, from `/proc`. The functions return `None` on systems without it.

use std::fs;

/// The memory of a process, in MiB.
pub fn now_mib(pid: u32) -> Option<f64> {
    of_status(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:")
}

/// The peak memory of a process, in MiB.
pub fn peak_mib(pid: u32) -> Option<f64> {
    of_status(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmHWM:")
}

fn of_status(status: &str, key: &str) -> Option<f64> {
    let value = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: f64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    Some((kib / 102.4).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_mib() {
        let status = "Name:\ta\nVmHWM:\t    2048 kB\nVmRSS:\t    1075 kB\n";
        assert_eq!(of_status(status, "VmHWM:"), Some(2.0));
        assert_eq!(of_status(status, "VmRSS:"), Some(1.0));
        assert_eq!(of_status(status, "VmSwap:"), None);
    }
}
