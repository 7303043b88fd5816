//! What a process used, from /proc.

use std::path::Path;

use crate::harness::{Context, Result};

/// Linux counts CPU time in these, on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;
/// Fields of /proc/PID/stat after the program's name: user time and system time.
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;
/// Written to /proc/PID/clear_refs, it makes the peak begin anew.
const RESET_PEAK: &str = "5";

/// The process id of a role of the cluster, from the file in which it describes itself.
pub fn of_role(cluster_dir: &Path, role: &str) -> Result<u32> {
    let cluster: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(cluster_dir.join("cluster.json"))?)?;
    let pid = cluster["pids"][role].as_u64().context(format!("the process id of {role}"))?;
    Ok(u32::try_from(pid)?)
}

/// CPU seconds that all roles of the cluster have used, the fake kubelets among them.
pub fn cluster_cpu_seconds(cluster_dir: &Path) -> Result<f64> {
    let cluster: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(cluster_dir.join("cluster.json"))?)?;
    let roles = cluster["pids"].as_object().context("the cluster's process ids")?;
    let mut seconds = 0.0;
    for role in roles.keys() {
        seconds += cpu_seconds(of_role(cluster_dir, role)?)?;
    }
    Ok(seconds)
}

/// CPU seconds since the process began, in user and system mode.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("the fields of stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |index: usize| -> Result<f64> { Ok(fields.get(index).context("a time in stat")?.parse()?) };
    Ok((ticks(USER_TIME)? + ticks(SYSTEM_TIME)?) / TICKS_PER_SECOND)
}

/// Lets the peak begin at what is resident now. Needs to be the process's user.
pub fn reset_peak(pid: u32) -> Result {
    Ok(std::fs::write(format!("/proc/{pid}/clear_refs"), RESET_PEAK)?)
}

/// The most that was resident since the last reset, in MiB.
pub fn peak_mib(pid: u32) -> Result<f64> {
    memory_mib(pid, "VmHWM:")
}

/// What is resident now, in MiB.
pub fn resident_mib(pid: u32) -> Result<f64> {
    memory_mib(pid, "VmRSS:")
}

fn memory_mib(pid: u32, field: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with(field)).context(field)?;
    let kib: f64 = line.split_whitespace().nth(1).context(field)?.parse()?;
    Ok(kib / 1024.0)
}
