//! What this machine has: processors and memory. For grants and for `doctor`; never part of a key.

use crate::manifest::RunOptions;
use crate::node::{Device, Grant};

/// Returns the number of processors that this process may use.
pub(super) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Returns the architecture and the vector instructions that matter to float kernels.
pub(super) fn instruction_set() -> String {
    let mut parts = vec![std::env::consts::ARCH];
    #[cfg(target_arch = "x86_64")]
    {
        let has = [
            ("avx2", std::is_x86_feature_detected!("avx2")),
            ("fma", std::is_x86_feature_detected!("fma")),
            ("f16c", std::is_x86_feature_detected!("f16c")),
            ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ];
        parts.extend(has.into_iter().filter(|(_, has)| *has).map(|(name, _)| name));
    }
    #[cfg(target_arch = "aarch64")]
    parts.push("neon");
    parts.join(" ")
}

/// Returns the machine's memory in bytes: all of it and what is available; `None` where the system does not say.
pub(super) fn memory() -> Option<(u64, u64)> {
    let text = fs_err::read_to_string("/proc/meminfo").ok()?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().ok()?;
        Some(kibibytes * 1024)
    };
    Some((field("MemTotal")?, field("MemAvailable")?))
}

/// Returns the bytes of memory that this process and its children may still take: what the machine has available, within
/// the limit of its control group; `None` where the system does not say.
pub(super) fn usable_memory() -> Option<u64> {
    let text = |name: &str| fs_err::read_to_string(format!("/sys/fs/cgroup/{name}")).ok();
    let number = |name: &str| -> Option<u64> { text(name)?.trim().parse().ok() };
    // Pages of files that nobody uses are given back when memory is needed.
    let cached = text("memory.stat")
        .and_then(|stat| stat.lines().find_map(|line| line.strip_prefix("inactive_file "))?.trim().parse::<u64>().ok());
    let used = number("memory.current").unwrap_or(0).saturating_sub(cached.unwrap_or(0));
    let limit = number("memory.max").map(|most| most.saturating_sub(used));
    let available = memory().map(|(_, available)| available);
    limit.into_iter().chain(available).min()
}

/// Returns what runs get of this machine: what the manifest says, else all of it.
pub(super) fn grant(options: &RunOptions) -> Grant {
    let threads = options.threads.map_or_else(processors, |threads| threads as usize);
    Grant { threads, memory: options.memory.or_else(usable_memory), device: Device::Cpu }
}
