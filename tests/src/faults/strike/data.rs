//! What people do to rows, tables and transactions.

use std::time::{Duration, Instant};

use rand::Rng as _;

use super::super::round::Round;
use super::NAMED_WITHIN;
use crate::controller::{CONTROL, literal};
use crate::error::{Doing, Error, Result};

/// Somebody writes a row on the destination that the source writes as well, a little later. The stream can't go on; it must say why, and a
/// fresh copy of the table is the cure.
pub(super) async fn plant_row(round: &mut Round<'_>) -> Result<()> {
    let writer = round.random.random_range(1..=2);
    let next = format!("SELECT n + 20 FROM ledger.counter WHERE writer = {writer}");
    let next = round.arena.source.value(&round.name, &next).await?;
    let plant = format!("INSERT INTO ledger.entry VALUES ({writer}, {next}, 'planted')");
    round.arena.destination.run(&round.name, &plant).await?;
    let said = format!(
        "(SELECT bool_or(detail ~ 'apply worker has failed|conflict|duplicate') FROM migrator.cutover_checks WHERE mapping = {} AND NOT ok)",
        literal(&round.name)
    );
    round.until(&said).await?;
    round.named = Some("apply conflict".to_owned());
    round.resync(Some("ledger.entry")).await
}

/// Schemas are compared at every fifteenth look; whoever is ready for longer than that has been compared.
const LOOKED_AFTER: Duration = Duration::from_secs(8);

/// What may be done to a schema.
const CHANGES: [(&str, &str); 5] = [
    ("column added", "ALTER TABLE bulk.altered ADD COLUMN extra integer DEFAULT 7"),
    ("table dropped", "DROP TABLE bulk.dropped"),
    ("table made", "CREATE TABLE bulk.fresh (id integer PRIMARY KEY); INSERT INTO bulk.fresh SELECT generate_series(1, 10)"),
    ("table emptied", "TRUNCATE bulk.emptied; INSERT INTO bulk.emptied VALUES (-1, 'after')"),
    ("table renamed", "ALTER TABLE bulk.renamed RENAME TO renamed_since"),
];

/// The source's schema changes. What the stream does not carry must be named; the same change on both sides is the cure.
pub(super) async fn change_schema(round: &mut Round<'_>) -> Result<()> {
    let (what, change) = CHANGES[round.random.random_range(0..CHANGES.len())];
    round.arena.source.run(&round.name, change).await?;
    if what == "table emptied" {
        // The stream carries that.
        return Ok(());
    }
    let name = literal(&round.name);
    let named = format!(
        "SELECT EXISTS (SELECT FROM migrator.cutover_checks WHERE mapping = {name} AND name = 'schemas_equal' AND NOT ok)"
    );
    let begun = Instant::now();
    let mut is_named = false;
    let mut ready_since = None;
    while !is_named {
        is_named = round.arena.destination.value(CONTROL, &named).await.is_ok_and(|named| named == "t");
        let ready = format!("SELECT migrator.cutover_ready({name})");
        let is_ready = round.arena.destination.value(CONTROL, &ready).await.is_ok_and(|ready| ready == "t");
        let since = *ready_since.get_or_insert_with(Instant::now);
        if !is_ready {
            ready_since = None;
        } else if since.elapsed() > LOOKED_AFTER {
            // The change came before the schema was read: then it is carried as a matter of course.
            return Ok(());
        }
        if begun.elapsed() > NAMED_WITHIN {
            let state = round.controller.report(&round.arena.destination).await;
            return Err(Error::Timeout { what: format!("{what} to be named"), waited: begun.elapsed(), state });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    round.named = Some(format!("drift: {what}"));
    match what {
        "table made" => round.arena.source.run(&round.name, "DROP TABLE bulk.fresh").await,
        "column added" => {
            round.arena.destination.run(&round.name, change).await?;
            round.resync(Some("bulk.altered")).await
        }
        _ => round.arena.destination.run(&round.name, change).await,
    }
}

/// A transaction that began earlier holds the slot up. While it waits, the migration must say for which session.
pub(super) async fn long_transaction(round: &mut Round<'_>) -> Result<()> {
    let client = round.arena.source.connect(&round.name).await?;
    client
        .batch_execute("BEGIN; UPDATE bulk.altered SET body = 'changed' WHERE id = 1")
        .await
        .doing(|| "beginning a transaction".to_owned())?;
    let pid = crate::cluster::rows(&client, "SELECT pg_backend_pid()").await?;
    round.controller.start()?;
    waits_for(round, &format!("pid {}", pid[0][0])).await?;
    client.batch_execute("COMMIT").await.doing(|| "ending the transaction".to_owned())
}

/// So does a prepared one.
pub(super) async fn prepared_transaction(round: &mut Round<'_>) -> Result<()> {
    let client = round.arena.source.connect(&round.name).await?;
    client
        .batch_execute("BEGIN; UPDATE bulk.altered SET body = 'changed' WHERE id = 2; PREPARE TRANSACTION 'in the way'")
        .await
        .doing(|| "preparing a transaction".to_owned())?;
    round.controller.start()?;
    waits_for(round, "in the way").await?;
    client.batch_execute("COMMIT PREPARED 'in the way'").await.doing(|| "ending the transaction".to_owned())
}

async fn waits_for(round: &mut Round<'_>, whom: &str) -> Result<()> {
    let (name, whom) = (literal(&round.name), literal(whom));
    let said = format!(
        "(SELECT coalesce(bool_or(waiting_for LIKE '%' || {whom} || '%'), false) FROM migrator.databases WHERE mapping = {name})"
    );
    round.until(&said).await
}

/// A transaction of very many rows is on its way.
pub(super) async fn huge_transaction(round: &mut Round<'_>) -> Result<()> {
    let (server, rows) = (&round.arena.source, round.measures.rows);
    let client = server.connect(&round.name).await?;
    let insert = format!("BEGIN; INSERT INTO bulk.huge SELECT i, 'row ' || i FROM generate_series(1, {rows}) i");
    client.batch_execute(&insert).await.doing(|| "inserting many rows".to_owned())?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    client
        .batch_execute("UPDATE bulk.huge SET body = body || '.' WHERE id % 10 = 0; COMMIT")
        .await
        .doing(|| "changing many rows".to_owned())
}
