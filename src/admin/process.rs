//! What the operating system says of this process.

use procfs::process::{LimitValue, Process};

/// Memory, processor time and descriptors; zero where there is no `/proc`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ProcessFigures {
    /// User and system time, in seconds.
    pub(super) cpu_seconds: f64,
    /// Memory that is really there, in bytes.
    pub(super) resident_bytes: u64,
    /// Memory that was mapped, in bytes.
    pub(super) virtual_bytes: u64,
    /// Open descriptors.
    pub(super) open_fds: u64,
    /// Descriptors there may be; zero without a limit.
    pub(super) max_fds: u64,
    /// Threads.
    pub(super) threads: u64,
}

impl ProcessFigures {
    /// Reads them now.
    #[expect(clippy::cast_precision_loss, reason = "ticks of a process are far below 2^53")]
    pub(super) fn read() -> Self {
        let Ok(process) = Process::myself() else { return Self::default() };
        let Ok(stat) = process.stat() else { return Self::default() };
        let max_fds = process.limits().map(|limits| limits.max_open_files.soft_limit);
        Self {
            cpu_seconds: (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64,
            resident_bytes: stat.rss * procfs::page_size(),
            virtual_bytes: stat.vsize,
            open_fds: process.fd_count().map_or(0, |count| count as u64),
            max_fds: max_fds.map_or(0, |limit| match limit {
                LimitValue::Value(limit) => limit,
                LimitValue::Unlimited => 0,
            }),
            threads: u64::try_from(stat.num_threads).unwrap_or_default(),
        }
    }
}
