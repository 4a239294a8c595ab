//! The write block: every role's sessions on a source database become read-only. Undone by the ledger.
//!
//! `default_transaction_read_only` is set for the database, and for every role that has a setting of its own for it,
//! since a role's setting outweighs the database's. Sessions that began before are ended: they have the old value.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_postgres::Client;

use super::Error;
use crate::ledger::{self, Kind, Side, SideEffect};
use crate::postgres::quote;

const VARIABLE: &str = "default_transaction_read_only";

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
    let rows = source
        .query(
            "WITH settings AS (
                 SELECT s.setdatabase, s.setrole, split_part(c, '=', 2) AS value
                 FROM pg_catalog.pg_db_role_setting s, unnest(s.setconfig) c WHERE split_part(c, '=', 1) = $1),
             here AS (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
             SELECT NULL::text AS role, (SELECT value FROM settings, here WHERE setdatabase = here.oid AND setrole = 0) AS previous
             UNION ALL
             SELECT DISTINCT r.rolname::text, (SELECT value FROM settings s2 WHERE s2.setdatabase = here.oid AND s2.setrole = r.oid)
             FROM here, settings s JOIN pg_catalog.pg_roles r ON r.oid = s.setrole WHERE s.setdatabase IN (0, here.oid)",
            &[&VARIABLE],
        )
        .await?;
    Ok(rows.iter().map(|row| Target { role: row.get(0), previous: row.get(1) }).collect())
}

/// Blocks writes on the database that `source` is connected to, and ends every session that could still write.
pub async fn block(source: &Client, control: &Client, mapping: &str, database: &str) -> Result<u64, Error> {
    let failed = |source| Error::Statement { doing: "blocking writes", database: database.to_owned(), source };
    for target in targets(source).await.map_err(failed)? {
        let object = target.role.as_ref().map_or_else(|| "database".to_owned(), |role| format!("role {role}"));
        let detail = json!({ "role": target.role, "previous": target.previous });
        ledger::record(control, mapping, Side::Source, database, Kind::WriteBlock, &object, &detail).await?;
        source.batch_execute(&statement(database, target.role.as_deref(), Some("on"))).await.map_err(failed)?;
    }
    end_sessions(source).await.map_err(failed)
}

/// Ends every session that began before now, until none is left. Whoever connects after that finds the new setting.
async fn end_sessions(source: &Client) -> Result<u64, tokio_postgres::Error> {
    const END: &str = "
        SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_catalog.pg_backend_pid() AND backend_start <= $1::text::timestamptz
          AND backend_type NOT IN ('walsender', 'autovacuum worker', 'parallel worker', 'logical replication worker',
                                   'logical replication tablesync worker', 'logical replication parallel worker', 'slotsync worker')";
    let now: String = source.query_one("SELECT clock_timestamp()::text", &[]).await?.get(0);
    let mut ended = 0;
    loop {
        let sessions = source.query(END, &[&now]).await?;
        if sessions.is_empty() {
            return Ok(ended);
        }
        ended = ended.max(sessions.len() as u64);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Takes one entry of the block back.
pub async fn unblock(source: &Client, control: &Client, effect: &SideEffect) -> Result<(), Error> {
    let role = effect.detail.get("role").and_then(Value::as_str);
    let previous = effect.detail.get("previous").and_then(Value::as_str);
    source.batch_execute(&statement(&effect.database, role, previous)).await.map_err(|source| Error::Statement {
        doing: "taking the write block back",
        database: effect.database.clone(),
        source,
    })?;
    ledger::undone(control, effect.id, "undone").await?;
    Ok(())
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
