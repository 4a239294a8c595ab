//! Copying anew what is attached: the tables are taken out of the subscription, and the loop finds them not copied.

use std::collections::HashSet;

use tokio_postgres::Client;

use super::Names;
use super::publication;
use super::subscription::{self, Subscription};
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
}

/// Takes tables (or the one named `schema.table`) out of the subscription of the database that `destination` is connected
/// to, with the stream stopped. Gives which; the stream is started again by the loop, when they have been copied.
pub async fn detach(
    destination: &mut Client,
    names: &Names,
    subscription: Subscription,
    table: Option<&str>,
) -> Result<HashSet<(String, String)>, Error> {
    let attached = subscription::tables(destination, subscription.oid).await.map_err(Error::Statement)?;
    let mut chosen: Vec<&(String, String)> =
        attached.keys().filter(|(schema, name)| table.is_none_or(|t| *t == format!("{schema}.{name}"))).collect();
    if let Some(table) = table
        && chosen.is_empty()
    {
        return Err(Error::NoTable(table.to_owned()));
    }
    chosen.sort();
    subscription::disable(destination, names.subscription()).await?;
    subscription::await_stopped(destination, subscription.oid).await.map_err(Error::Statement)?;
    destination
        .batch_execute(
            "CREATE OR REPLACE FUNCTION pg_temp.detach(oid, oid) RETURNS void
                 LANGUAGE c STRICT AS '$libdir/migrator', 'detach_wrapper'",
        )
        .await
        .map_err(Error::Statement)?;
    // All or none: a controller that is killed in between leaves the request to be done again.
    let transaction = destination.transaction().await.map_err(Error::Statement)?;
    for (schema, name) in &chosen {
        transaction
            .execute(
                "SELECT pg_temp.detach($1, c.oid) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = $2 AND c.relname = $3",
                &[&subscription.oid, schema, name],
            )
            .await
            .map_err(Error::Statement)?;
    }
    transaction.commit().await.map_err(Error::Statement)?;
    Ok(chosen.into_iter().cloned().collect())
}
