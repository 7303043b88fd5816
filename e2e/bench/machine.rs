//! The machine's shape, without its name.

use crate::harness::{Context, Result};

pub struct Machine {
    pub cores: usize,
    pub memory_gib: f64,
    /// Running and waiting processes, averaged over the minute before the start.
    pub load: f64,
}

impl Machine {
    pub fn look() -> Result<Self> {
        let memory = std::fs::read_to_string("/proc/meminfo")?;
        let load = std::fs::read_to_string("/proc/loadavg")?;
        let memory_kib: f64 = memory.split_whitespace().nth(1).context("MemTotal")?.parse()?;
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            memory_gib: memory_kib / 1024.0 / 1024.0,
            load: load.split_whitespace().next().context("the load")?.parse()?,
        })
    }
}
