//! Processes that are killed or stopped, and servers that end.

use std::time::Duration;

use rand::Rng as _;

use super::super::round::Round;
use super::first;
use crate::cluster::Cluster;
use crate::cluster::control::signal;
use crate::error::{Error, Result};

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Victim {
    /// A backend of the source that serves the controller.
    SourceBackend,
    /// What sends the stream.
    Walsender,
    /// What applies it.
    ApplyWorker,
    /// The source's postmaster.
    Source,
    /// The destination's postmaster.
    Destination,
}

/// Who they are, in SQL. Each name occurs once: one migration at a time runs in an arena.
const SOURCE_BACKENDS: &str =
    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name LIKE 'pg-migrator/%'";
const WALSENDER: &str = "SELECT active_pid FROM pg_replication_slots WHERE active AND NOT temporary";
const APPLY_WORKER: &str = "SELECT pid FROM pg_stat_subscription WHERE pid IS NOT NULL AND relid IS NULL";

impl Victim {
    async fn pid(self, round: &mut Round<'_>) -> Result<i32> {
        let (source, destination) = (&round.arena.source, &round.arena.destination);
        let sql = match self {
            Self::Source => return source.postmaster(),
            Self::Destination => return destination.postmaster(),
            Self::SourceBackend => format!("{SOURCE_BACKENDS} ORDER BY md5(pid || '{}') LIMIT 1", round.random.random::<u32>()),
            Self::Walsender => WALSENDER.to_owned(),
            Self::ApplyWorker => APPLY_WORKER.to_owned(),
        };
        let server = if self == Self::ApplyWorker { destination } else { source };
        let pid = first(server, "postgres", &sql, &format!("a {self:?} to strike")).await?;
        pid.parse().map_err(|_| Error::Broken(format!("{pid} is no process id")))
    }
}

/// A backend that is killed takes its server's memory with it: the server ends the others, and recovers.
pub(super) async fn kill(round: &mut Round<'_>, victim: Victim) -> Result<()> {
    let pid = victim.pid(round).await?;
    signal(pid, "KILL")?;
    let server = if victim == Victim::ApplyWorker { &round.arena.destination } else { &round.arena.source };
    // It may not yet have noticed.
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.wait_until_it_is_back().await
}

/// Stops a process for a while.
pub(super) async fn stop(round: &mut Round<'_>, victim: Victim) -> Result<()> {
    let pid = victim.pid(round).await?;
    signal(pid, "STOP")?;
    tokio::time::sleep(round.measures.stop).await;
    // It may have been ended meanwhile: by its server, which gave it up.
    if let Err(error) = signal(pid, "CONT") {
        eprintln!("process {pid} is gone: {error}");
    }
    Ok(())
}

pub(super) async fn kill_controller(round: &mut Round<'_>) -> Result<()> {
    round.controller.kill()?;
    let wait = round.random.random_range(0..500);
    tokio::time::sleep(Duration::from_millis(wait)).await;
    round.controller.start()
}

pub(super) async fn stop_controller(round: &mut Round<'_>) -> Result<()> {
    round.controller.signal("STOP")?;
    tokio::time::sleep(round.measures.stop).await;
    round.controller.signal("CONT")
}

/// Ends a server's postmaster, and starts it again.
pub(super) async fn end_server(server: &mut Cluster, name: &str) -> Result<()> {
    signal(server.postmaster()?, name)?;
    server.start_again().await
}
