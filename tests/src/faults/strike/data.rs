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

/// The tables that changes are made to, with their columns: as either side's catalogs have them.
const COLUMNS: &str = "
    SELECT coalesce(string_agg(format('%s.%s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod)), ', '
                               ORDER BY c.relname, a.attname), 'none')
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'bulk'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped";

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
        return empty_is_carried(round).await;
    }
    let name = literal(&round.name);
    let named = format!(
        "SELECT EXISTS (SELECT FROM migrator.cutover_checks WHERE mapping = {name} AND name = 'schemas_equal' AND NOT ok)"
    );
    let begun = Instant::now();
    loop {
        if round.arena.destination.value(CONTROL, &named).await.is_ok_and(|named| named == "t") {
            break;
        }
        let ready = format!("SELECT migrator.cutover_ready({name})");
        let is_ready = round.arena.destination.value(CONTROL, &ready).await.is_ok_and(|ready| ready == "t");
        if is_ready && is_alike(round).await? {
            // The change came before the schema was read: then it is carried as a matter of course.
            return Ok(());
        }
        if begun.elapsed() > NAMED_WITHIN {
            let state = round.controller.report(&round.arena.destination).await;
            return Err(Error::Timeout { what: format!("{what} to be named"), waited: begun.elapsed(), state });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    if is_alike(round).await? {
        // It came with the schema, and what is named is the table that is copied anew for it: that needs nobody.
        return Ok(());
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

/// A stream carries that a table was emptied, but from PostgreSQL 10: there it must be named, unless the copy came after it.
async fn empty_is_carried(round: &mut Round<'_>) -> Result<()> {
    if round.arena.source.major() > 10 {
        return Ok(());
    }
    let name = literal(&round.name);
    let named = format!(
        "SELECT EXISTS (SELECT FROM migrator.cutover_checks WHERE mapping = {name} AND name = 'proved_equal' AND NOT ok)"
    );
    let ready = format!("SELECT migrator.cutover_ready({name})");
    let begun = Instant::now();
    loop {
        let (source, destination) = (&round.arena.source, &round.arena.destination);
        if destination.value(CONTROL, &named).await.is_ok_and(|named| named == "t") {
            round.named = Some("not equal: table emptied".to_owned());
            return round.resync(Some("bulk.emptied")).await;
        }
        let count = "SELECT count(*) FROM bulk.emptied";
        if destination.value(CONTROL, &ready).await.is_ok_and(|ready| ready == "t")
            && source.value(&round.name, count).await? == destination.value(&round.name, count).await?
        {
            return Ok(());
        }
        if begun.elapsed() > NAMED_WITHIN {
            let state = round.controller.report(destination).await;
            return Err(Error::Timeout { what: "the emptied table to be named".to_owned(), waited: begun.elapsed(), state });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether both sides have the same columns.
async fn is_alike(round: &Round<'_>) -> Result<bool> {
    let (source, destination) = (&round.arena.source, &round.arena.destination);
    Ok(source.value(&round.name, COLUMNS).await? == destination.value(&round.name, COLUMNS).await?)
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
