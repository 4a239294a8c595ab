//! Preflight: what would stop a migration, found before anything is touched.
//!
//! In: open sessions, and plain data about what the migration needs. Out: findings, each with a stable code, the object it is
//! about and its fix. An error means that what it names can't be migrated as things stand; the rest goes on. Each check
//! is one file: a query, and a pure function that judges its answer. Nothing here changes anything on any server.

mod destination_databases;
mod extensions;
mod locale;
mod not_replicated;
mod privileges;
mod reach;
mod recovery;
mod replication_slots;
mod setting_values;
mod transactions;
mod versions;
mod wal_level;
mod workers;

pub use destination_databases::database_exists;
pub(crate) use extensions::{fix as extension_fix, is_missing_extension};
pub use reach::reach;
pub use setting_values::setting_values;

use std::collections::BTreeSet;

use tokio_postgres::Client;

use crate::finding::{Code, Finding, Severity};
use crate::postgres::{ServerVersion, retry};
use crate::provision::databases::Definition;

/// A check can't be carried out.
#[derive(Debug, thiserror::Error)]
#[error("the check of {check} failed: {}", retry::message(.source))]
pub struct Error {
    /// What was being checked.
    pub check: &'static str,
    /// What the server or driver said.
    #[source]
    pub source: tokio_postgres::Error,
}

/// What a mapping needs of its source.
#[derive(Debug, Clone)]
pub struct SourceNeeds {
    /// Permanent slots, each with a WAL sender: one a database and stream.
    pub streams: usize,
    /// Temporary slots at the same time: one a database that is being copied.
    pub passes: usize,
    /// Sessions at the same time, without WAL senders.
    pub connections: usize,
    /// What the names of this mapping's slots begin with: those that are there already are not needed again.
    pub slot_prefix: String,
}

/// What a mapping needs of its destination.
#[derive(Debug, Clone)]
pub struct DestinationNeeds {
    /// Subscriptions, each with an apply worker and a replication origin: one a database and stream.
    pub streams: usize,
    /// Sessions at the same time.
    pub connections: usize,
    /// What the names of this mapping's subscriptions begin with: those that are there already are not needed again.
    pub subscription_prefix: String,
    /// The databases to be made, under their names on the destination.
    pub databases: BTreeSet<String>,
    /// The databases that the ledger says we made: being there is no conflict.
    pub ours: BTreeSet<String>,
}

/// Checks a source instance, through any of its databases.
pub async fn source(client: &Client, version: ServerVersion, needs: &SourceNeeds) -> Result<Vec<Finding>, Error> {
    let mut findings = versions::source(version);
    if !findings.is_empty() {
        // Nothing else can be asked of a server that we do not know.
        return Ok(findings);
    }
    findings.extend(recovery::check(client, "source").await?);
    findings.extend(wal_level::check(client).await?);
    findings.extend(replication_slots::check(client, needs).await?);
    findings.extend(privileges::source(client).await?);
    findings.extend(transactions::check(client).await?);
    Ok(findings)
}

/// Checks a destination instance, through any of its databases.
pub async fn destination(client: &Client, version: ServerVersion, needs: &DestinationNeeds) -> Result<Vec<Finding>, Error> {
    let mut findings = versions::destination(version);
    if !findings.is_empty() {
        return Ok(findings);
    }
    findings.extend(recovery::check(client, "destination").await?);
    findings.extend(privileges::destination(client).await?);
    findings.extend(extensions::ours(client).await?);
    findings.extend(workers::check(client, needs).await?);
    findings.extend(destination_databases::check(client, needs).await?);
    Ok(findings)
}

/// Checks one database of a source: `source` is connected to it, `destination` to any database of the destination.
pub async fn database(source: &Client, destination: &Client, definition: &Definition) -> Result<Vec<Finding>, Error> {
    let mut findings = locale::check(destination, definition).await?;
    findings.extend(privileges::database(source, &definition.name).await?);
    findings.extend(extensions::of_database(source, destination, &definition.name).await?);
    findings.extend(not_replicated::check(source, &definition.name).await?);
    Ok(findings)
}

/// A finding about a whole instance.
fn instance_finding(
    severity: Severity,
    code: Code,
    object: impl Into<String>,
    reason: impl Into<String>,
    fix: impl Into<String>,
) -> Finding {
    database_finding(severity, "", code, object, reason, fix)
}

/// A finding about one database.
fn database_finding(
    severity: Severity,
    database: &str,
    code: Code,
    object: impl Into<String>,
    reason: impl Into<String>,
    fix: impl Into<String>,
) -> Finding {
    Finding {
        severity,
        database: database.to_owned(),
        code,
        object: object.into(),
        reason: reason.into(),
        fix: fix.into(),
        statement: None,
    }
}

/// Names the first few of many things: `a, b, c and 12 more`.
fn listed(names: &[String], total: i64) -> String {
    let more = total - names.len() as i64;
    if more > 0 { format!("{} and {more} more", names.join(", ")) } else { names.join(", ") }
}
