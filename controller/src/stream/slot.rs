//! Replication slots: the permanent one that keeps the source's log for the stream, and the temporary one of a pass,
//! which gives a snapshot together with its exact position.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio_postgres::{Client, Row};

use super::Names;
use super::options::Options;
use crate::postgres::attend::attend_walsender;
use crate::postgres::{self, Endpoint, Lsn, Session, quote, retry};

/// Why there is no slot or no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A server can't be reached.
    #[error(transparent)]
    Connect(#[from] postgres::connect::Error),
    /// A server refused.
    #[error("{doing}: {}", retry::message(.source))]
    Statement {
        /// What was being done, to what.
        doing: String,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A slot was being made, and the source does not work on it.
    #[error("creating slot {slot}: the source has no part in it any more; a connection is broken, and its end was not told")]
    Silent {
        /// Its name.
        slot: String,
    },
    /// The answer to CREATE_REPLICATION_SLOT could not be understood.
    #[error("the source answered CREATE_REPLICATION_SLOT with the position {0}")]
    Position(#[from] postgres::lsn::ParseLsnError),
}

/// State of our permanent slot, from `pg_replication_slots`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// There is none of that name.
    Missing,
    /// There is one of that name that is not a pgoutput slot of this database.
    Foreign,
    /// The source has thrown away log that the stream still needs: it can't go on.
    Lost,
    /// In order.
    Present {
        /// Whether a walsender uses it now.
        active: bool,
        /// Everything before this position is applied and flushed at the destination.
        confirmed: Lsn,
        /// The source keeps its log from here on.
        restart: Lsn,
    },
}

/// Looks at the slots of all streams, in their order.
pub async fn observe_all(source: &Client, streams: &[Names]) -> Result<Vec<Slot>, tokio_postgres::Error> {
    let wanted: Vec<&str> = streams.iter().map(|names| names.slot.as_str()).collect();
    // `wal_status` came with 13: read through `to_jsonb`, null before.
    let rows = source.query(include_str!("slots.sql"), &[&wanted]).await?;
    let found = |name: &str| rows.iter().find(|row| row.get::<_, &str>("slot_name") == name);
    Ok(wanted.iter().map(|name| found(name).map_or(Slot::Missing, state)).collect())
}

/// Looks at the slot of one stream.
pub async fn observe(source: &Client, names: &Names) -> Result<Slot, tokio_postgres::Error> {
    Ok(observe_all(source, std::slice::from_ref(names)).await?.pop().unwrap_or(Slot::Missing))
}

fn state(row: &Row) -> Slot {
    if row.get::<_, Option<bool>>("ours") != Some(true) {
        return Slot::Foreign;
    }
    if row.get::<_, Option<&str>>("wal_status") == Some("lost") {
        return Slot::Lost;
    }
    match (row.get("confirmed_flush_lsn"), row.get("restart_lsn")) {
        (Some(confirmed), Some(restart)) => Slot::Present { active: row.get("active"), confirmed, restart },
        // A slot without positions is one whose creation never came to an end.
        _ => Slot::Lost,
    }
}

/// Makes the permanent slot in the database that `session` is connected to.
pub async fn create(session: &Session, names: &Names, options: Options) -> Result<(), Error> {
    // The parameters after the second came later than the oldest source; failover with 17.
    let create = if options.failover {
        "SELECT pg_catalog.pg_create_logical_replication_slot($1, 'pgoutput', false, false, true)"
    } else {
        "SELECT pg_catalog.pg_create_logical_replication_slot($1, 'pgoutput')"
    };
    session
        .execute(create, &[&names.slot])
        .await
        .map(|_| ())
        .map_err(|source| Error::Statement { doing: format!("creating slot {}", names.slot), source })
}

/// Whether the slot is kept ready on standbys. The column came with 17: read through `to_jsonb`, null before.
pub async fn is_failover(source: &Client, names: &Names) -> Result<bool, tokio_postgres::Error> {
    let row = source
        .query_opt(
            "SELECT COALESCE((to_jsonb(s) ->> 'failover')::boolean, false) FROM pg_catalog.pg_replication_slots s WHERE slot_name = $1",
            &[&names.slot],
        )
        .await?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// Drops a slot of ours. The walsender that uses it may need a moment to notice that its subscription is gone.
pub async fn drop(source: &Client, name: &str) -> Result<(), tokio_postgres::Error> {
    for attempt in 0.. {
        let result = source
            .execute(
                "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots WHERE slot_name = $1",
                &[&name],
            )
            .await;
        match result {
            Err(error) if attempt < 60 && error.code() == Some(&tokio_postgres::error::SqlState::OBJECT_IN_USE) => {
                source
                    .execute(
                        "SELECT pg_catalog.pg_terminate_backend(active_pid) FROM pg_catalog.pg_replication_slots
                         WHERE slot_name = $1 AND active_pid IS NOT NULL",
                        &[&name],
                    )
                    .await?;
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            result => return result.map(|_| ()),
        }
    }
    Ok(())
}

/// The transactions on the source that a slot's creation waits for, in words; none if it waits for nothing.
pub async fn blockers(source: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    let row = source.query_one(include_str!("blockers.sql"), &[]).await?;
    let parts: Vec<String> = ["running", "prepared"].iter().filter_map(|c| row.get::<_, Option<String>>(c)).collect();
    Ok(if parts.is_empty() { None } else { Some(parts.join("; ")) })
}

/// A snapshot of the source at an exact position. The snapshot can be imported as long as this lives.
pub struct Snapshot {
    /// Everything committed before this position is in the snapshot, and nothing else.
    pub lsn: Lsn,
    /// Its name for `SET TRANSACTION SNAPSHOT`.
    pub name: String,
    /// The destination's session whose dblink connection holds the temporary slot.
    _holder: Session,
}

/// Switches off every timeout of the session that this version knows; gives its backend's process id.
const NO_TIMEOUTS: &str = "
    SELECT pg_catalog.pg_backend_pid(), count(pg_catalog.set_config(name, '0', false)) FROM pg_catalog.pg_settings
    WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')";

impl Snapshot {
    /// Takes one, over a replication connection that the destination opens: the driver has no replication mode, and
    /// pgoutput's slot is the only thing that ties a snapshot to a position.
    pub async fn take(
        destination: &Endpoint,
        control_database: &str,
        source: &Endpoint,
        source_database: &str,
    ) -> Result<Self, Error> {
        let failed = |doing: &str| {
            let doing = format!("{doing} database {source_database} of {}", source.name);
            move |source| Error::Statement { doing, source }
        };
        let holder = destination.connect_quiet(control_database).await?;
        let row = holder
            .query_one(
                "SELECT n.nspname, pg_backend_pid() FROM pg_catalog.pg_extension e
                 JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'dblink'",
                &[],
            )
            .await
            .map_err(failed("looking for dblink before reading"))?;
        let schema = quote::ident(row.get(0));
        let pid: i32 = row.get(1);
        let mut conninfo = source.conninfo(source_database, &source.application_name).expose_secret().to_owned();
        conninfo.push_str(" replication=database");
        holder
            .execute(&format!("SELECT {schema}.dblink_connect('pass', $1)"), &[&conninfo])
            .await
            .map_err(failed("connecting from the destination to"))?;
        let silent = |_| Error::Silent { slot: format!("pg_migrator_pass_{pid}") };
        // A role's own limits would end the session that keeps the snapshot, which is idle in a transaction until all have imported it. By
        // whom the source is asked here is not known yet, so whether he answers can't be looked after.
        let sql = format!("SELECT pid FROM {schema}.dblink('pass', $1) AS t (pid integer, switched_off bigint)");
        let walsender = tokio::time::timeout(postgres::connect::OPEN_LIMIT, holder.query_one(&sql, &[&NO_TIMEOUTS]))
            .await
            .map_err(silent)?
            .map_err(failed("preparing to take a snapshot of"))?
            .get(0);
        let command = format!("CREATE_REPLICATION_SLOT \"pg_migrator_pass_{pid}\" TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT");
        let sql = format!(
            "SELECT consistent_point, snapshot_name FROM {schema}.dblink('pass', $1)
             AS t (slot_name text, consistent_point text, snapshot_name text, output_plugin text)"
        );
        let silent = || Error::Silent { slot: format!("pg_migrator_pass_{pid}") };
        let row = attend_walsender(source, walsender, holder.query_one(&sql, &[&command]))
            .await
            .ok_or_else(silent)?
            .map_err(failed("taking a snapshot of"))?;
        Ok(Self { lsn: row.get::<_, &str>(0).parse()?, name: row.get(1), _holder: holder })
    }
}

/// Waits until every transaction that the imported snapshot counts as committed has really ended.
///
/// A commit is in the log before it is in the commit log and before its locks are gone. A snapshot exported in between
/// counts the transaction as committed, and a reader would find it neither running nor committed, take it for aborted,
/// and say so in hint bits. Such a transaction still holds the lock on its own id. `client` has the snapshot imported.
pub async fn await_commits(client: &Client) -> Result<(), tokio_postgres::Error> {
    const IN_BETWEEN: &str = include_str!("in_between.sql");
    loop {
        let row = client.query_one(IN_BETWEEN, &[]).await?;
        if row.get::<_, i64>(0) == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
