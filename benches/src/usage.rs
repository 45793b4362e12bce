//! CPU time and memory of processes, from `/proc`. Every function returns `None` on systems without it.

use std::fs;

/// The CPU time of a process so far, in µs, in steps of a clock tick (10 ms).
pub(crate) fn cpu_us(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(ticks_us(cpu_ticks(&stat)?))
}

/// The CPU time of all processes so far, and the time that a hypervisor took away, in µs.
pub(crate) fn machine_cpu_us() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    Some(ticks_us(busy_ticks(&stat)?))
}

/// The peak memory of a process since [`reset_peak`], in MiB.
pub(crate) fn peak_rss_mib(pid: u32) -> Option<f64> {
    status_mib(pid, "VmHWM:")
}

/// The memory that a process holds, in MiB.
pub(crate) fn rss_mib(pid: u32) -> Option<f64> {
    status_mib(pid, "VmRSS:")
}

/// Resets the peak memory. If the system refuses, the peak stays that of the process's whole life.
pub(crate) fn reset_peak(pid: u32) {
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

fn status_mib(pid: u32, key: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024.0)
}

/// User and system time: the 14th and 15th field. The second field is a name in parentheses that can
/// contain anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// All but idle and waiting, the 4th and 5th field.
fn busy_ticks(stat: &str) -> Option<u64> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Option<Vec<u64>> =
        fields.split_whitespace().take(8).map(|field| field.parse().ok()).collect();
    let fields = fields?;
    Some(fields.iter().sum::<u64>() - fields.get(3..5)?.iter().sum::<u64>())
}

fn ticks_us(ticks: u64) -> f64 {
    ticks as f64 * 1e6 / rustix::param::clock_ticks_per_second() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_process_name_is_skipped() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 1 2 3 4 500 60 7 8 20 0 1 0 9";
        assert_eq!(cpu_ticks(stat), Some(560));
        assert_eq!(cpu_ticks("42 (a) S 1"), None);
    }

    #[test]
    fn idle_time_is_not_busy() {
        let stat = "cpu  10 1 20 1000 500 2 3 4 70 0\ncpu0 5 0 10 500 250 1 1 2 35 0";
        assert_eq!(busy_ticks(stat), Some(40));
        assert_eq!(busy_ticks("cpu  10 1"), None);
    }
}
