//! What servers run out of, and what their administrators change.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;

use super::super::arena::{MOVER, PASSWORD};
use super::super::round::Round;
use crate::cluster::{Cluster, output_of};
use crate::controller::literal;
use crate::error::{Doing, Error, Result};

/// Ends every session of pg-migrator's role, so that new ones have to begin under what was changed.
const END: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'mover'";

/// The password is another one for a while. What can't connect must say so.
pub(super) async fn change_password(round: &mut Round<'_>) -> Result<()> {
    let set = |password: &str| format!("ALTER ROLE {MOVER} PASSWORD {}", literal(password));
    round.arena.source.run("postgres", &set("another one")).await?;
    round.arena.source.run("postgres", END).await?;
    tokio::time::sleep(round.measures.stop).await;
    round.arena.source.run("postgres", &set(PASSWORD)).await
}

/// Timeouts shorter than anything a migration does, on both sides, until the end of the round.
pub(super) async fn set_timeouts(round: &mut Round<'_>) -> Result<()> {
    for server in [&round.arena.source, &round.arena.destination] {
        let mut names = vec!["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];
        if server.major() >= 14 {
            names.push("idle_session_timeout");
        }
        if server.major() >= 17 {
            names.push("transaction_timeout");
        }
        for name in names {
            server.run("postgres", &format!("ALTER ROLE {MOVER} SET {name} = '150ms'")).await?;
        }
        server.run("postgres", END).await?;
    }
    Ok(())
}

/// A server's connections are used up in this time, however busy the machine.
const FULL_WITHIN: Duration = Duration::from_secs(30);

/// One of the servers takes no connection any more, for a while.
pub(super) async fn use_up_connections(round: &mut Round<'_>) -> Result<()> {
    let at_source = round.coin();
    let server: &Cluster = if at_source { &round.arena.source } else { &round.arena.destination };
    let mut held = vec![server.connect("postgres").await?];
    let end = END.to_owned();
    held[0].batch_execute(&end).await.doing(|| "ending sessions".to_owned())?;
    let begun = Instant::now();
    let mut full_since: Option<Instant> = None;
    while full_since.is_none_or(|since| since.elapsed() < round.measures.stop) {
        if full_since.is_none() && begun.elapsed() > FULL_WITHIN {
            return Err(Error::Broken(format!("{} connections were not all there are", held.len())));
        }
        match server.connect("postgres").await {
            Ok(client) => held.push(client),
            Err(Error::Server { source, .. }) if source.code() == Some(&SqlState::TOO_MANY_CONNECTIONS) => {
                full_since.get_or_insert_with(Instant::now);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The source throws away log that the stream needs. That is refused by name; a fresh copy is the cure.
pub(super) async fn invalidate_slot(round: &mut Round<'_>) -> Result<()> {
    round.arena.between.refuse();
    let source = &round.arena.source;
    source.run("postgres", "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'").await?;
    source.run("postgres", "SELECT pg_reload_conf()").await?;
    let lost = "SELECT coalesce(bool_and(wal_status = 'lost'), false) FROM pg_replication_slots WHERE NOT temporary";
    let mut tries = 0;
    while source.value("postgres", lost).await? != "t" {
        tries += 1;
        if tries > 40 {
            return Err(Error::Broken("the slot was not invalidated".to_owned()));
        }
        source.run("postgres", "SELECT pg_switch_wal(); SELECT txid_current(); CHECKPOINT").await?;
    }
    source.run("postgres", "ALTER SYSTEM RESET max_slot_wal_keep_size").await?;
    source.run("postgres", "SELECT pg_reload_conf()").await?;
    round.arena.between.let_through();
    round.until_found("code IN ('slot_lost', 'slot_gone')").await?;
    round.resync(None).await
}

/// No byte is free on the destination's disk, for a while. A server that can't write its log ends by itself, and is started again.
pub(super) async fn fill_disk(round: &mut Round<'_>) -> Result<Option<String>> {
    let data = round.arena.destination.data();
    let disk = data.parent().and_then(std::path::Path::parent).map(std::path::Path::to_owned).unwrap_or_default();
    let mounts = fs::read_to_string("/proc/mounts").doing(|| "reading /proc/mounts".to_owned())?;
    let is_small = mounts.lines().any(|line| line.split(' ').take(3).eq(["tmpfs", &disk.display().to_string(), "tmpfs"]));
    if !is_small {
        return Ok(Some("the destination has no small disk of its own: only root may mount one".to_owned()));
    }
    let filler = disk.join("filler");
    let mut fill = Command::new("dd");
    fill.env("LC_ALL", "C").args(["if=/dev/zero", "bs=64k"]).arg(format!("of={}", filler.display()));
    match output_of(fill) {
        // As it is meant to be.
        Err(Error::Program { output, .. }) if output.contains("No space left") => {}
        Err(error) => return Err(error),
        Ok(_) => return Err(Error::Broken(format!("{} did not become full", disk.display()))),
    }
    tokio::time::sleep(round.measures.stop).await;
    fs::remove_file(&filler).doing(|| format!("removing {}", filler.display()))?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    if !round.arena.destination.is_alive() {
        round.arena.destination.start_again().await?;
    }
    round.arena.destination.wait_until_it_is_back().await?;
    Ok(None)
}
