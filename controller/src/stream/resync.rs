//! Copying anew what is attached: the tables are taken out of the subscription, and the loop finds them not copied.

use std::collections::{BTreeSet, HashMap, HashSet};

use tokio_postgres::Client;

use super::Names;
use super::publication;
use super::slot::{self, Slot};
use super::subscription;
use crate::ledger;
use crate::postgres::{Lsn, quote, retry};

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
    /// The source does not let the table be published.
    #[error("{0}")]
    Refused(String),
    /// Names may hold dots.
    #[error("{0} may be several tables, since names hold dots: give it in quotes, as \"schema\".\"table\"")]
    Ambiguous(String),
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

/// The streams whose slots are gone or have lost log: they can't go on, only begin anew with all their tables. So it is with those that have
/// been told of more than the source has written, since it was restored: they would send nothing of what it writes up to there.
pub async fn lost_slots<'n>(source: &Client, streams: &'n [Names]) -> Result<Vec<&'n Names>, Error> {
    let slots = slot::observe_all(source, streams).await.map_err(Error::Slots)?;
    let written: Lsn = source.query_one("SELECT pg_catalog.pg_current_wal_flush_lsn()", &[]).await.map_err(Error::Slots)?.get(0);
    let is_lost = |slot: &Slot| match slot {
        Slot::Missing | Slot::Lost => true,
        Slot::Present { confirmed, .. } => *confirmed > written,
        Slot::Foreign => false,
    };
    Ok(streams.iter().zip(slots).filter(|(_, slot)| is_lost(slot)).map(|(names, _)| names).collect())
}

/// A table, by schema and name.
pub type TableName = (String, String);

/// The one of the tables that an operator's word means: the table that is called `"schema"."table"` or, where that is clear,
/// `schema.table`.
pub fn named(tables: &BTreeSet<TableName>, word: &str) -> Result<TableName, Error> {
    if let Some(table) = tables.iter().find(|(schema, name)| quote::qualified(schema, name) == word) {
        return Ok(table.clone());
    }
    let mut found = tables.iter().filter(|(schema, name)| format!("{schema}.{name}") == word);
    match (found.next(), found.next()) {
        (None, _) => Err(Error::NoTable(word.to_owned())),
        (Some(table), None) => Ok(table.clone()),
        (Some(_), Some(_)) => Err(Error::Ambiguous(word.to_owned())),
    }
}

/// A word that means this table and no other.
pub fn word(schema: &str, name: &str) -> String {
    let is_plain = |part: &str| !part.contains(['.', '"']);
    if is_plain(schema) && is_plain(name) { format!("{schema}.{name}") } else { quote::qualified(schema, name) }
}

/// Takes tables (or the one of this name) out of the subscriptions of the database that `destination` is connected to, with
/// their streams stopped. Gives which; the streams are started again by the loop, when they have been copied.
pub async fn detach(destination: &mut Client, streams: &[Names], table: Option<&TableName>) -> Result<HashSet<TableName>, Error> {
    let mut attached: HashMap<TableName, usize> = HashMap::new();
    let mut subscribed = Vec::new();
    for names in streams {
        let Some(found) = subscription::observe(destination, names).await.map_err(Error::Statement)? else { continue };
        let tables = subscription::tables(destination, found.oid).await.map_err(Error::Statement)?;
        attached.extend(tables.into_keys().map(|table| (table, subscribed.len())));
        subscribed.push((names, found.oid));
    }
    let wanted: HashSet<TableName> = attached.keys().filter(|name| table.is_none_or(|table| table == *name)).cloned().collect();
    let of_stream = |stream: usize| {
        let mut tables: Vec<_> = wanted.iter().filter(|table| attached[*table] == stream).collect();
        tables.sort();
        tables
    };
    let chosen: Vec<_> = subscribed
        .iter()
        .enumerate()
        .map(|(stream, (names, oid))| (*names, *oid, of_stream(stream)))
        .filter(|(_, _, tables)| !tables.is_empty())
        .collect();
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
    Ok(wanted)
}

/// Begins counting anew what the streams fail at and which rows they miss: that is over with a fresh copy.
pub async fn forget_failures(destination: &Client, streams: &[Names]) -> Result<(), Error> {
    let names: Vec<&str> = streams.iter().map(Names::subscription).collect();
    destination.execute(include_str!("reset_subscriptions.sql"), &[&names]).await.map(drop).map_err(Error::Statement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_means_one_table_or_none() {
        let table = |schema: &str, name: &str| (schema.to_owned(), name.to_owned());
        let tables = BTreeSet::from([table("a", "b.c"), table("a.b", "c"), table("app", "t"), table("a\"b", "t")]);
        let named = |word: &str| named(&tables, word);
        assert_eq!(named("app.t").ok(), Some(table("app", "t")));
        assert!(matches!(named("a.b.c"), Err(Error::Ambiguous(_))));
        assert_eq!(named("\"a.b\".\"c\"").ok(), Some(table("a.b", "c")));
        assert_eq!(named("\"a\"\"b\".\"t\"").ok(), Some(table("a\"b", "t")));
        assert!(matches!(named("app.nothing"), Err(Error::NoTable(_))));
        for (schema, name) in &tables {
            assert_eq!(named(&word(schema, name)).ok(), Some(table(schema, name)), "the word we give for it is understood");
        }
        assert_eq!(word("app", "t"), "app.t");
    }
}
