//! The write block: every role's sessions on a source database become read-only. Undone by the ledger.
//!
//! `default_transaction_read_only` is set for the database, and for every role that has a setting of its own for it,
//! since a role's setting outweighs the database's. Sessions that began before are ended: they have the old value.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::Error;
use crate::ledger::{self, Kind, Side, SideEffect};
use crate::postgres::{Endpoint, Session, quote, retry};
use crate::reconcile::lock::Lock;

/// Taking back a setting of the block is tried again after this long without an answer.
const UNBLOCK_LIMIT: Duration = Duration::from_mins(1);

/// What holds while a setting of the block is made or taken back: it is on the source's disk when we are told, and no standby that does not
/// answer keeps us from hearing of it.
const SETTINGS: &str = "SET synchronous_commit = local";
/// The server gives a statement up sooner than we do: so none is left on its way.
const UNBLOCK_SETTINGS: &str = "SET synchronous_commit = local; SET statement_timeout = '30s'";

/// The variable that the block sets.
pub const VARIABLE: &str = "default_transaction_read_only";
const ON: &str = "on";

/// A setting to be made: for a role in the database, or for the database.
struct Target {
    role: Option<String>,
    /// What the database (and role) have now, to be put back.
    previous: Option<String>,
}

fn statement(database: &str, role: Option<&str>, value: Option<&str>) -> String {
    let whom = match role {
        Some(role) => format!("ALTER ROLE {} IN DATABASE {}", quote::ident(role), quote::ident(database)),
        None => format!("ALTER DATABASE {}", quote::ident(database)),
    };
    match value {
        Some(value) => format!("{whom} SET {VARIABLE} = {}", quote::literal(value).trim_start()),
        None => format!("{whom} RESET {VARIABLE}"),
    }
}

/// Who has to be told: the database, and the roles with an opinion of their own.
async fn targets(source: &Client) -> Result<Vec<Target>, tokio_postgres::Error> {
    let rows = source.query(include_str!("block_targets.sql"), &[&VARIABLE]).await?;
    Ok(rows.iter().map(|row| Target { role: row.get(0), previous: row.get(1) }).collect())
}

/// One setting of the block, with what is needed to take it back.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its row in the ledger.
    pub effect: i64,
    /// The database.
    pub database: String,
    /// The role that it was set for in the database, if not for the database itself.
    pub role: Option<String>,
    /// What it took the place of.
    pub previous: Option<String>,
    /// The backend on the source that sets it, where this process began to. It may still be at it when we wait no more.
    pid: Option<i32>,
}

impl Entry {
    /// Reads an entry of the ledger.
    pub fn of(effect: &SideEffect) -> Self {
        let text = |key: &str| effect.detail.get(key).and_then(Value::as_str).map(str::to_owned);
        Self { effect: effect.id, database: effect.database.clone(), role: text("role"), previous: text("previous"), pid: None }
    }
}

/// Blocks writes on the database that `source` is connected to, and ends every session that could still write. What is
/// set is noted in `entries` before it is set. Gives the moment of the block, by the source's clock, for [`end_sessions`].
pub async fn block(
    source: &Session,
    control: &Client,
    mapping: &str,
    database: &str,
    entries: &mut Vec<Entry>,
) -> Result<(String, u64), Error> {
    let failed = |source| Error::Statement { doing: "blocking writes", database: database.to_owned(), source };
    source.batch_execute(SETTINGS).await.map_err(failed)?;
    for target in targets(source).await.map_err(failed)? {
        let object = target.role.as_ref().map_or_else(|| "database".to_owned(), |role| format!("role {role}"));
        let detail = json!({ "role": target.role, "previous": target.previous });
        let effect = ledger::record(control, mapping, Side::Source, database, Kind::WriteBlock, &object, &detail).await?;
        // After a restart the source shows our own setting: what was there before is in the ledger.
        let known = ledger::in_force(control, mapping).await?.into_iter().find(|e| e.id == effect);
        let ours = || Entry {
            effect,
            database: database.to_owned(),
            role: target.role.clone(),
            previous: target.previous.clone(),
            pid: None,
        };
        entries.push(Entry { pid: Some(source.pid()), ..known.as_ref().map_or_else(ours, Entry::of) });
        source.batch_execute(&statement(database, target.role.as_deref(), Some(ON))).await.map_err(failed)?;
    }
    let now: String = source.query_one("SELECT clock_timestamp()::text", &[]).await.map_err(failed)?.get(0);
    let ended = end_sessions(source, &now).await.map_err(failed)?;
    Ok((now, ended))
}

/// Ends every session of the database that began before `moment`, until none is left; gives how many there were. Whoever
/// connects after that finds the setting as it is by then.
pub async fn end_sessions(source: &Client, moment: &str) -> Result<u64, tokio_postgres::Error> {
    const END: &str = include_str!("end_sessions.sql");
    let mut ended = 0;
    loop {
        let sessions = source.query(END, &[&moment]).await?;
        if sessions.is_empty() {
            return Ok(ended);
        }
        ended = ended.max(sessions.len() as u64);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sessions that write in spite of the block: `BEGIN READ WRITE` overrides a default. In words; none if there is none.
pub async fn writers(source: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    let row = source.query_one(include_str!("writers.sql"), &[]).await?;
    Ok(row.get(0))
}

/// Takes entries of the block back, each on its own, and ends the sessions that began under it: they would stay read-only.
/// Tries until the source has done it; the ledger follows when it can, and no entry waits for what is told of another one. Given up when another controller has the mapping: it may have taken the
/// cutover up, and needs the block.
pub async fn unblock(source: &Endpoint, control: &Client, lock: &Lock, entries: &[Entry]) {
    let mut waits = retry::backoff();
    let mut open: Vec<&Entry> = entries.iter().collect();
    while !open.is_empty() {
        if lock.is_anothers().await {
            tracing::warn!("another controller has taken the mapping over: the write block is left to it");
            return;
        }
        let (mut done, mut left) = (Vec::new(), Vec::new());
        for some in open.chunks(AT_ONCE) {
            let unblocked = join_all(some.iter().map(|entry| let_in(source, entry))).await;
            for (entry, is_done) in some.iter().zip(unblocked) {
                if is_done { done.push(*entry) } else { left.push(*entry) }
            }
        }
        // Untold, a row stays in force: the next start finds it, and taking back twice does no harm.
        let telling = async {
            for entry in &done {
                ledger::undone(control, entry.effect, "undone").await?;
            }
            Ok::<_, ledger::Error>(())
        };
        match timeout(UNBLOCK_LIMIT, telling).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the ledger can't be told"),
            Err(_) => tracing::warn!("the ledger can't be told: no answer comes"),
        }
        open = left;
        if !open.is_empty() {
            tokio::time::sleep(waits.next().unwrap_or(Duration::from_secs(30))).await;
        }
    }
}

/// Takes one entry back; gives whether that is done.
async fn let_in(source: &Endpoint, entry: &Entry) -> bool {
    let unblocked = timeout(UNBLOCK_LIMIT, unblock_one(source, entry)).await.unwrap_or_else(|_| {
        Err(Error::Late { doing: format!("letting writes into {} in again", entry.database), limit: UNBLOCK_LIMIT })
    });
    match &unblocked {
        Ok(()) => tracing::info!(database = entry.database, "writes are let in again"),
        Err(error) => {
            tracing::error!(database = entry.database, %error, "the write block can't be taken back yet; trying again");
        }
    }
    unblocked.is_ok()
}

/// What the source has now of what an entry is about.
async fn setting(source: &Client, entry: &Entry) -> Result<Option<String>, tokio_postgres::Error> {
    let row = source.query_one(include_str!("block_setting.sql"), &[&VARIABLE, &entry.database, &entry.role]).await?;
    Ok(row.get(0))
}

/// Whether an entry is what the source has.
pub async fn is_in_force(source: &Client, entry: &Entry) -> Result<bool, tokio_postgres::Error> {
    Ok(setting(source, entry).await?.as_deref() == Some(ON))
}

/// So many databases are let free side by side.
const AT_ONCE: usize = 8;

/// Ends a session of ours that may still be setting what is to be taken back, and waits for its end: what it had not committed by then
/// will not be.
async fn end(session: &Client, pid: i32, application_name: &str) -> Result<(), tokio_postgres::Error> {
    while !session.query(include_str!("end_session.sql"), &[&pid, &application_name]).await?.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn unblock_one(source: &Endpoint, entry: &Entry) -> Result<(), Error> {
    let failed = |source| Error::Statement { doing: "letting writes in again", database: entry.database.clone(), source };
    let gone = |error: &tokio_postgres::Error| {
        matches!(error.code(), Some(&SqlState::UNDEFINED_OBJECT | &SqlState::INVALID_CATALOG_NAME))
    };
    let session = source.connect(&source.instance.database).await?;
    session.batch_execute(UNBLOCK_SETTINGS).await.map_err(failed)?;
    if let Some(pid) = entry.pid {
        end(&session, pid, &source.application_name).await.map_err(failed)?;
    }
    // What is not there any more, or is not ours, needs nothing to be taken back; nor may it be possible, if setting it was refused.
    if is_in_force(&session, entry).await.map_err(failed)? {
        match session.batch_execute(&statement(&entry.database, entry.role.as_deref(), entry.previous.as_deref())).await {
            Ok(()) => {}
            // A role or a database that is no more has no setting.
            Err(error) if gone(&error) => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
        let now = setting(&session, entry).await.map_err(failed)?;
        if now != entry.previous {
            let database = entry.database.clone();
            return Err(Error::StillBlocked { database, now: now.unwrap_or_else(|| "not set".to_owned()) });
        }
    }
    let there = "SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $1)";
    if !session.query_one(there, &[&entry.database]).await.map_err(failed)?.get::<_, bool>(0) {
        return Ok(());
    }
    let session = source.connect(&entry.database).await?;
    let now: String = session.query_one("SELECT clock_timestamp()::text", &[]).await.map_err(failed)?.get(0);
    match end_sessions(&session, &now).await {
        Ok(_) => Ok(()),
        Err(error) if retry::is_transient(&error) => Err(failed(error)),
        // New ones may write; those that we may not end can say so themselves.
        Err(error) => {
            let error = retry::message(&error);
            tracing::warn!(database = entry.database, error, "sessions that began under the write block stay read-only");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_before_is_put_back() {
        assert_eq!(statement("d", None, Some("on")), "ALTER DATABASE \"d\" SET default_transaction_read_only = 'on'");
        assert_eq!(statement("d", None, None), "ALTER DATABASE \"d\" RESET default_transaction_read_only");
        assert_eq!(
            statement("d", Some("r\"x"), Some("off")),
            "ALTER ROLE \"r\"\"x\" IN DATABASE \"d\" SET default_transaction_read_only = 'off'"
        );
    }
}
