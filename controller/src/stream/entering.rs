//! What is done to tables of the source so that a stream carries them: they enter a publication, and get a replica identity. Whoever comes
//! after us on such a table waits behind us; so we never queue up for a lock for long.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::copy::{ReplicaIdentity, Table};
use crate::postgres::{quote, retry};

/// So often a lock on a table of the source is tried for …
const TRIES: u32 = 5;
/// … and so long at a time, since whoever comes after us on that table waits behind us.
const LOCK_TIMEOUT: &str = "300ms";

/// How a lock on tables of the source is tried for.
#[derive(Debug, Clone, Copy)]
enum Lock {
    /// Only if nobody has to be waited for: while one of many is waited for, the others are locked already, and whoever writes to them waits.
    AtOnce,
    /// So many times, each for [`LOCK_TIMEOUT`].
    Tries(u32),
}

/// When tables may enter a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entering {
    /// There is no slot yet: one is made when everybody has ended who wrote before.
    AtOnce,
    /// There is a slot. Whoever wrote to a table before it was published, and commits later, makes the walsender of a source before
    /// 13.21, 14.18, 15.13, 16.9 and 17.5 believe for good that it is not (release notes of those, "logical replication").
    WhenNobodyWrites,
}

/// What came of putting tables into a publication.
#[derive(Default)]
pub(super) struct Added<'t> {
    /// Those that the source does not let in, with its reason.
    pub refused: Vec<(&'t Table, tokio_postgres::Error)>,
    /// Those that somebody writes to.
    pub locked: Vec<&'t Table>,
}

/// Puts tables into a publication.
pub(super) async fn add<'t>(
    source: &Client,
    publication: &str,
    tables: &[&'t Table],
    entering: Entering,
) -> Result<Added<'t>, tokio_postgres::Error> {
    let mut added = Added::default();
    for chunk in tables.chunks(200) {
        match add_all(source, publication, chunk, entering, Lock::AtOnce).await {
            Ok(()) => continue,
            Err(error) if retry::is_transient(&error) && !is_locked(&error) => return Err(error),
            // One of them is in use or not to be published: find out which, and publish the others.
            Err(_) => {}
        }
        for table in chunk {
            // Nobody waits for several.
            let tries = if added.locked.is_empty() { TRIES } else { 1 };
            match add_all(source, publication, &[table], entering, Lock::Tries(tries)).await {
                Ok(()) => {}
                Err(error) if is_locked(&error) => added.locked.push(table),
                Err(error) if retry::is_transient(&error) => return Err(error),
                Err(error) => added.refused.push((*table, error)),
            }
        }
    }
    Ok(added)
}

async fn add_all(
    source: &Client,
    publication: &str,
    tables: &[&Table],
    entering: Entering,
    lock: Lock,
) -> Result<(), tokio_postgres::Error> {
    let list: Vec<String> = tables.iter().map(|t| format!("ONLY {}", t.sql_name())).collect();
    let list = list.join(", ");
    let add = format!("ALTER PUBLICATION {} ADD TABLE {list}", quote::ident(publication));
    match entering {
        Entering::AtOnce => source.batch_execute(&add).await,
        Entering::WhenNobodyWrites => {
            let (wait, tries) = match lock {
                Lock::AtOnce => (" NOWAIT", 1),
                Lock::Tries(tries) => ("", tries),
            };
            let statements = format!("LOCK TABLE {list} IN SHARE ROW EXCLUSIVE MODE{wait}; {add}");
            let what = tables.first().map(|table| table.label()).unwrap_or_default();
            without_queueing(source, &statements, &what, tries).await
        }
    }
}

pub(super) fn is_locked(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

/// `ALTER TABLE … REPLICA IDENTITY`, without ever queueing up for its lock for long. Gives the server's "lock not
/// available" when the table stays in use.
pub async fn set_identity(source: &Client, table: &str, identity: &ReplicaIdentity) -> Result<(), tokio_postgres::Error> {
    let statement = format!("ALTER TABLE ONLY {table} REPLICA IDENTITY {}", identity.clause());
    without_queueing(source, &statement, table, TRIES).await
}

/// Executes statements in a transaction that does not queue up for its locks for long, and tries so often.
async fn without_queueing(source: &Client, statements: &str, table: &str, tries: u32) -> Result<(), tokio_postgres::Error> {
    let transaction = format!("BEGIN; SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; {statements}; COMMIT");
    let mut attempt = 1;
    loop {
        let Err(error) = source.batch_execute(&transaction).await else { return Ok(()) };
        if source.is_closed() {
            return Err(error);
        }
        source.batch_execute("ROLLBACK").await?;
        if !is_locked(&error) || attempt >= tries {
            return Err(error);
        }
        tracing::info!(table, "waiting for a lock on the source");
        tokio::time::sleep(Duration::from_millis(500) * attempt).await;
        attempt += 1;
    }
}
