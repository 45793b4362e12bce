//! What a process has used, as `/proc` tells it; nothing on systems without.

use std::fs;

/// The CPU time of a process so far, in µs, in steps of a clock tick (10 ms).
pub(crate) fn cpu_us(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = cpu_ticks(&stat)?;
    Some(ticks as f64 * 1e6 / rustix::param::clock_ticks_per_second() as f64)
}

/// The most memory that a process has held since [`reset_peak`], in MiB.
pub(crate) fn peak_rss_mib(pid: u32) -> Option<f64> {
    status_mib(pid, "VmHWM:")
}

/// Has the peak counted anew. Where the system refuses, it is that of the process's whole life.
pub(crate) fn reset_peak(pid: u32) {
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

fn status_mib(pid: u32, key: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024.0)
}

/// User and system time: the 14th and 15th field, the second being a name in parentheses that can
/// hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_past_a_hostile_name() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 1 2 3 4 500 60 7 8 20 0 1 0 9";
        assert_eq!(cpu_ticks(stat), Some(560));
        assert_eq!(cpu_ticks("42 (a) S 1"), None);
    }
}
