//! The subscription in the destination database, and which tables are attached to it.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;
use tokio_postgres::Client;

use super::Names;
use super::options::Options;
use crate::postgres::{self, Endpoint, Lsn, quote, retry};

/// Why there is no subscription.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The destination can't be reached.
    #[error(transparent)]
    Connect(#[from] postgres::connect::Error),
    /// The destination refused. The statement is not told: it may hold a password.
    #[error("the subscription {name} can't be {doing}: {}", retry::message(.source))]
    Statement {
        /// Its name.
        name: String,
        /// What was being done.
        doing: &'static str,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
}

/// A subscription of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription {
    /// Its OID.
    pub oid: u32,
    /// Whether its apply worker runs.
    pub enabled: bool,
    /// Whether values travel in their binary form.
    pub binary: bool,
}

/// How far a table has come: `pg_subscription_rel.srsubstate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableState {
    /// Copied and attached; changes after this position are applied as soon as the stream gets there.
    Attached(Lsn),
    /// In step with the stream.
    Ready,
}

/// Looks for our subscription in the database that the client is connected to.
pub async fn observe(destination: &Client, names: &Names) -> Result<Option<Subscription>, tokio_postgres::Error> {
    let row = destination.query_opt(include_str!("subscription.sql"), &[&names.subscription()]).await?;
    Ok(row.map(|row| Subscription { oid: row.get(0), enabled: row.get(1), binary: row.get(2) }))
}

/// The tables attached to our subscription, by schema and name.
pub async fn tables(
    destination: &Client,
    subscription: u32,
) -> Result<HashMap<(String, String), TableState>, tokio_postgres::Error> {
    let rows = destination.query(include_str!("attached.sql"), &[&subscription]).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let state = match (row.get::<_, &str>(2), row.get::<_, Option<Lsn>>(3)) {
                ("r", _) => TableState::Ready,
                (_, lsn) => TableState::Attached(lsn.unwrap_or_default()),
            };
            ((row.get(0), row.get(1)), state)
        })
        .collect())
}

/// Those of the subscriptions that are in a database of the server, whichever database the client is connected to.
pub async fn left_in(client: &Client, database: &str, names: &HashSet<String>) -> Result<Vec<String>, tokio_postgres::Error> {
    let names: Vec<&String> = names.iter().collect();
    let rows = client
        .query(
            "SELECT s.subname::text FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
             WHERE d.datname = $1 AND s.subname = ANY ($2::text[]) ORDER BY 1",
            &[&database, &names],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The statements by which an operator drops a database with the subscriptions in it, without touching the source: the server
/// refuses the one before the other.
pub fn steps_to_drop(database: &str, subscriptions: &[String]) -> String {
    let drop_it = format!("DROP DATABASE {} WITH (FORCE);", quote::ident(database));
    if subscriptions.is_empty() {
        return drop_it;
    }
    let parted = subscriptions.iter().map(|name| {
        let name = quote::ident(name);
        format!("ALTER SUBSCRIPTION {name} DISABLE; ALTER SUBSCRIPTION {name} SET (slot_name = NONE); DROP SUBSCRIPTION {name};")
    });
    format!("in that database {} and then in another one {drop_it}", parted.collect::<Vec<_>>().join(" "))
}

/// Makes the subscription, connected to nothing yet and with no table in it; `inserts` says whether the stream has a
/// publication for inserts alone.
pub async fn create(
    destination: &Endpoint,
    database: &str,
    source: &Endpoint,
    source_database: &str,
    names: &Names,
    inserts: bool,
    options: Options,
) -> Result<(), Error> {
    let publications = quote::ident_list(names.publications().iter().map(String::as_str).take(1 + usize::from(inserts)));
    let conninfo = source.conninfo(source_database, names.subscription());
    let session = destination.connect_quiet(database).await?;
    session
        .batch_execute(&format!(
            "CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {publications} \
             WITH (connect = false, enabled = false, create_slot = false, copy_data = false, slot_name = {}, run_as_owner = false, {})",
            quote::ident(names.subscription()),
            quote::literal(conninfo.expose_secret()),
            quote::literal(&names.slot),
            options.of_subscription(),
        ))
        .await
        .map_err(|source| Error::Statement { name: names.slot.clone(), doing: "created", source })
}

/// Lets values travel as text from now on. Says whether they travelled in binary form before.
pub async fn set_text(destination: &Client, names: &Names) -> Result<bool, Error> {
    let failed = |source| Error::Statement { name: names.slot.clone(), doing: "looked at", source };
    let binary = observe(destination, names).await.map_err(failed)?.is_some_and(|s| s.binary);
    if binary {
        alter(destination, names.subscription(), "SET (binary = false)", "switched to text").await?;
    }
    Ok(binary)
}

/// Starts the apply worker.
pub async fn enable(destination: &Client, names: &Names) -> Result<(), Error> {
    alter(destination, names.subscription(), "ENABLE", "enabled").await
}

/// Stops the apply worker.
pub async fn disable(destination: &Client, name: &str) -> Result<(), Error> {
    alter(destination, name, "DISABLE", "disabled").await
}

async fn alter(destination: &Client, name: &str, action: &str, doing: &'static str) -> Result<(), Error> {
    destination
        .batch_execute(&format!("ALTER SUBSCRIPTION {} {action}", quote::ident(name)))
        .await
        .map_err(|source| Error::Statement { name: name.to_owned(), doing, source })
}

/// An apply worker whose subscription is disabled stops by itself within this time, or is ended.
const STOPS_WITHIN: Duration = Duration::from_mins(1);

/// Waits until no apply worker of a disabled subscription runs any more. A worker that is told to stop first ends the
/// transaction it is in: up to then its position moves on, and a table attached behind it would lose changes.
pub async fn await_stopped(destination: &Client, subscription: u32) -> Result<(), tokio_postgres::Error> {
    let mut begun = Instant::now();
    // A worker that is being started has a slot but no process yet: two looks in a row must find none.
    let mut quiet = 0;
    while quiet < 2 {
        let row = destination
            .query_one(
                "SELECT count(*) FROM pg_catalog.pg_stat_subscription WHERE subid = $1 AND pid IS NOT NULL",
                &[&subscription],
            )
            .await?;
        quiet = if row.get::<_, i64>(0) == 0 { quiet + 1 } else { 0 };
        if begun.elapsed() > STOPS_WITHIN {
            // It is in a long transaction, which it will begin anew; or it hangs while it connects, where it hears of nothing.
            destination
                .execute(
                    "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_subscription WHERE subid = $1 AND pid IS NOT NULL",
                    &[&subscription],
                )
                .await?;
            begun = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Lets a stream whose tables are all to be copied anew begin no later than at this position, up to where the source has written: a source
/// that was restored may be further back than the destination remembers, and would not be read in between.
pub async fn begin_by(destination: &Client, names: &Names, position: Lsn) -> Result<(), Error> {
    let failed = |source| Error::Statement { name: names.slot.clone(), doing: "set back", source };
    let Some(found) = observe(destination, names).await.map_err(failed)? else { return Ok(()) };
    let ahead = "SELECT o.external_id FROM pg_catalog.pg_replication_origin_status o WHERE o.external_id = 'pg_' || $1::oid AND o.remote_lsn > $2";
    let Some(row) = destination.query_opt(ahead, &[&found.oid, &position]).await.map_err(failed)? else { return Ok(()) };
    disable(destination, names.subscription()).await?;
    await_stopped(destination, found.oid).await.map_err(failed)?;
    let set_back = "SELECT pg_catalog.pg_replication_origin_advance($1, $2)";
    destination.execute(set_back, &[&row.get::<_, String>(0), &position]).await.map(|_| ()).map_err(failed)
}

/// Removes a subscription without touching the source: its slot is dropped there by us, in a step of its own, so that
/// each works when the other side is away.
pub async fn drop(destination: &Client, name: &str) -> Result<(), Error> {
    disable(destination, name).await?;
    alter(destination, name, "SET (slot_name = NONE)", "parted from its slot").await?;
    destination.batch_execute(&format!("DROP SUBSCRIPTION {}", quote::ident(name))).await.map_err(|source| Error::Statement {
        name: name.to_owned(),
        doing: "dropped",
        source,
    })
}
