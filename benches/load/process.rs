//! What the kernel says about a process and about the host. Linux only.

use std::fs;

/// Ticks of `/proc`'s CPU times per second: `USER_HZ`, 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time used so far.
#[derive(Clone, Copy, Default)]
pub(crate) struct CpuTime {
    pub(crate) user_seconds: f64,
    pub(crate) system_seconds: f64,
}

/// User and system time of a process with all its threads, dead ones included.
pub(crate) fn cpu_time(pid: &str) -> Option<CpuTime> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses and may itself hold spaces.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut seconds = || {
        fields
            .next()?
            .parse::<f64>()
            .ok()
            .map(|ticks| ticks / TICKS_PER_SECOND)
    };
    Some(CpuTime {
        user_seconds: seconds()?,
        system_seconds: seconds()?,
    })
}

/// Resident and peak resident memory of a process, in KiB.
pub(crate) fn resident_kib(pid: &str) -> Option<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    Some((field("VmRSS:")?, field("VmHWM:")?))
}

/// Ticks of all CPUs and the share of them that other guests of the host took.
#[derive(Clone, Copy, Default)]
pub(crate) struct HostTicks {
    all: f64,
    stolen: f64,
}

/// The host's ticks so far.
pub(crate) fn host_ticks() -> HostTicks {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks: Vec<f64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .take(8) // user nice system idle iowait irq softirq steal; guest time is in user
        .filter_map(|tick| tick.parse().ok())
        .collect();
    HostTicks {
        all: ticks.iter().sum(),
        stolen: ticks.get(7).copied().unwrap_or_default(),
    }
}

/// Percent of the time between two samples that other guests took.
pub(crate) fn steal_percent(before: HostTicks, after: HostTicks) -> f64 {
    100.0 * (after.stolen - before.stolen) / (after.all - before.all).max(1.0)
}

/// Bytes a process has sent to storage. Direct writes count when they are submitted.
pub(crate) fn written_bytes(pid: &str) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "))?;
    line.parse().ok()
}
