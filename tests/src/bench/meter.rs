//! Processor time and memory, as the kernel counts them.

use std::fs;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::error::{Doing as _, Error, Result};

/// The kernel's clock ticks a second: 100 on every platform that PostgreSQL has packages for.
const TICKS: u64 = 100;

/// A process's counters.
#[derive(Debug, Clone, Copy, Default)]
struct Stat {
    parent: u32,
    /// Its own time, and that of its children that have ended, in ticks.
    own: u64,
    reaped: u64,
}

fn stat(pid: u32) -> Result<Stat> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).doing(|| format!("reading {path}"))?;
    // The name, in parentheses, may hold anything.
    let fields: Vec<&str> = text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let field = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    Ok(Stat { parent: field(1) as u32, own: field(11) + field(12), reaped: field(13) + field(14) })
}

/// Processor time of a process itself.
pub fn process(pid: u32) -> Result<Duration> {
    Ok(Duration::from_millis(stat(pid)?.own * 1000 / TICKS))
}

/// Processor time of the programs that this process has started and seen the end of.
pub fn ended_children() -> Result<Duration> {
    Ok(Duration::from_millis(stat(std::process::id())?.reaped * 1000 / TICKS))
}

/// Processor time of a server: its postmaster, what it started and what has ended since.
pub async fn server(cluster: &Cluster) -> Result<Duration> {
    let file = cluster.value("postgres", "SELECT pg_read_file('postmaster.pid')").await?;
    let postmaster: u32 = file
        .lines()
        .next()
        .and_then(|line| line.trim().parse().ok())
        .ok_or_else(|| Error::Broken("postmaster.pid has no number in its first line".to_owned()))?;
    let main = stat(postmaster)?;
    let mut ticks = main.own + main.reaped;
    for entry in fs::read_dir("/proc").doing(|| "reading /proc".to_owned())? {
        let entry = entry.doing(|| "reading /proc".to_owned())?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process may end between the listing and the look.
        if let Ok(child) = stat(pid)
            && child.parent == postmaster
        {
            ticks += child.own + child.reaped;
        }
    }
    Ok(Duration::from_millis(ticks * 1000 / TICKS))
}

/// The most memory that a process ever had resident, bytes.
pub fn peak_memory(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).doing(|| format!("reading {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    Ok(kilobytes.unwrap_or(0) * 1024)
}
