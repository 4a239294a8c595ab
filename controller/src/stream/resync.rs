//! Copying anew what is attached: the tables are taken out of the subscription, and the loop finds them not copied.

use std::collections::HashSet;

use tokio_postgres::Client;

use super::Names;
use super::publication;
use super::slot::{self, Slot};
use super::subscription;
use crate::ledger;
use crate::postgres::retry;

/// Why nothing is copied anew.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The destination refused.
    #[error("detaching tables: {}", retry::message(.0))]
    Statement(#[source] tokio_postgres::Error),
    /// The subscription could not be disabled.
    #[error(transparent)]
    Subscription(#[from] subscription::Error),
    /// The tables could not be published again.
    #[error(transparent)]
    Publication(#[from] publication::Error),
    /// There is no such table in the stream.
    #[error("the table {0:?} is not part of the migration: give it as schema.table, as migrator.tables shows it")]
    NoTable(String),
    /// There is no stream that could carry a single table on.
    #[error("the slot of the stream is gone or lost: copy the whole database again instead of a single table")]
    NoSlot,
    /// The source can't be asked.
    #[error("looking at the slots: {}", retry::message(.0))]
    Slots(#[source] tokio_postgres::Error),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
}

/// The streams whose slots are gone or have lost log: they can't go on, only begin anew with all their tables.
pub async fn lost_slots<'n>(source: &Client, streams: &'n [Names]) -> Result<Vec<&'n Names>, Error> {
    let slots = slot::observe_all(source, streams).await.map_err(Error::Slots)?;
    Ok(streams.iter().zip(slots).filter(|(_, slot)| matches!(slot, Slot::Missing | Slot::Lost)).map(|(names, _)| names).collect())
}

/// Takes tables (or the one named `schema.table`) out of the subscriptions of the database that `destination` is connected
/// to, with their streams stopped. Gives which; the streams are started again by the loop, when they have been copied.
pub async fn detach(
    destination: &mut Client,
    streams: &[Names],
    table: Option<&str>,
) -> Result<HashSet<(String, String)>, Error> {
    let mut chosen = Vec::new();
    let mut subscribed = false;
    for names in streams {
        let Some(found) = subscription::observe(destination, names).await.map_err(Error::Statement)? else { continue };
        subscribed = true;
        let attached = subscription::tables(destination, found.oid).await.map_err(Error::Statement)?;
        let mut of_stream: Vec<(String, String)> =
            attached.into_keys().filter(|(schema, name)| table.is_none_or(|t| *t == format!("{schema}.{name}"))).collect();
        of_stream.sort();
        if !of_stream.is_empty() {
            chosen.push((names, found.oid, of_stream));
        }
    }
    if let Some(table) = table
        && subscribed
        && chosen.is_empty()
    {
        return Err(Error::NoTable(table.to_owned()));
    }
    for (names, subscription, _) in &chosen {
        subscription::disable(destination, names.subscription()).await?;
        subscription::await_stopped(destination, *subscription).await.map_err(Error::Statement)?;
    }
    destination
        .batch_execute(
            "CREATE OR REPLACE FUNCTION pg_temp.detach(oid, oid) RETURNS void
                 LANGUAGE c STRICT AS '$libdir/migrator', 'detach_wrapper'",
        )
        .await
        .map_err(Error::Statement)?;
    // All or none: a controller that is killed in between leaves the request to be done again.
    let transaction = destination.transaction().await.map_err(Error::Statement)?;
    for (_, subscription, tables) in &chosen {
        for (schema, name) in tables {
            transaction
                .execute(
                    "SELECT pg_temp.detach($1, c.oid) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                     WHERE n.nspname = $2 AND c.relname = $3",
                    &[subscription, schema, name],
                )
                .await
                .map_err(Error::Statement)?;
        }
    }
    transaction.commit().await.map_err(Error::Statement)?;
    Ok(chosen.into_iter().flat_map(|(_, _, tables)| tables).collect())
}

/// Begins counting anew what the streams fail at and which rows they miss: that is over with a fresh copy.
pub async fn forget_failures(destination: &Client, streams: &[Names]) -> Result<(), Error> {
    let names: Vec<&str> = streams.iter().map(Names::subscription).collect();
    destination
        .execute(
            "SELECT pg_catalog.pg_stat_reset_subscription_stats(s.oid) FROM pg_catalog.pg_subscription s
             JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
             WHERE d.datname = current_database() AND s.subname = ANY ($1)",
            &[&names],
        )
        .await
        .map(drop)
        .map_err(Error::Statement)
}
