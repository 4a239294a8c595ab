//! Preflight: what would stop a migration, found before anything is touched.
//!
//! In: open sessions, and plain data about what the migration needs. Out: findings, each with a stable code, the object it is
//! about and its fix. An error means that what it names can't be migrated as things stand; the rest goes on. Each check
//! is one file: a query, and a pure function that judges its answer. A check that can't be carried out is a finding itself, and
//! hides none of the others. Nothing here changes anything on any server.

mod all_roles;
mod collation_locales;
mod collations;
mod consumers;
mod destination_databases;
mod event_triggers;
mod extensions;
mod labels;
mod left_behind;
mod locale;
mod money;
mod names;
mod not_replicated;
mod privileges;
mod reach;
mod recovery;
mod replication_slots;
mod row_security;
mod setting_values;
mod source_databases;
mod storage;
mod transactions;
mod versions;
mod wal_level;
mod workers;

pub use destination_databases::database_exists;
pub(crate) use extensions::fix as extension_fix;
pub use left_behind::left_behind;
pub use names::check as names;
pub use reach::reach;
pub use setting_values::setting_values;
pub(crate) use setting_values::{minds_value, refused as setting_refused};

use std::collections::BTreeSet;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::finding::{Code, Finding, Severity};
use crate::postgres::{ServerVersion, Session, quote, retry};
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
    /// The names of this mapping's slots, as a regular expression: those that are there already are not needed again.
    pub own_slots: String,
    /// The databases that take part.
    pub databases: BTreeSet<String>,
}

/// What a mapping needs of its destination.
#[derive(Debug, Clone)]
pub struct DestinationNeeds {
    /// Subscriptions, each with an apply worker and a replication origin: one a database and stream.
    pub streams: usize,
    /// Sessions at the same time.
    pub connections: usize,
    /// The names of this mapping's subscriptions, as a regular expression: those that are there already are not needed again.
    pub own_subscriptions: String,
    /// The databases to be made, under their names on the destination.
    pub databases: BTreeSet<String>,
    /// The databases that the ledger says we made: being there is no conflict.
    pub ours: BTreeSet<String>,
    /// The control database's name, which no migrated database may have.
    pub control_database: String,
}

/// What many checks found.
struct Gathered<'a> {
    /// The database they are about; empty for an instance.
    database: &'a str,
    findings: Vec<Finding>,
}

impl Gathered<'_> {
    fn add(&mut self, outcome: Result<Vec<Finding>, Error>) {
        match outcome {
            Ok(found) => self.findings.extend(found),
            Err(error) => self.findings.push(self.failed(&error)),
        }
    }

    /// What our role may not look at is worth a warning; anything else may hide an error.
    fn failed(&self, error: &Error) -> Finding {
        let (severity, fix) = if error.source.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
            (Severity::Warning, "give our role the privilege that the message names, or use a superuser, and check again")
        } else {
            (Severity::Error, "mend what the message names, and check again")
        };
        database_finding(severity, self.database, Code::CheckFailed, format!("check of {}", error.check), error.to_string(), fix)
    }
}

/// Checks a source instance, through any of its databases.
pub async fn source(client: &Client, version: ServerVersion, needs: &SourceNeeds) -> Vec<Finding> {
    let mut all = Gathered { database: "", findings: versions::source(version) };
    if !all.findings.is_empty() {
        // Nothing else can be asked of a server that we do not know.
        return all.findings;
    }
    all.add(recovery::check(client, "source").await);
    all.add(wal_level::check(client).await);
    all.add(replication_slots::check(client, needs).await);
    all.add(privileges::source(client).await);
    all.add(transactions::check(client).await);
    all.add(consumers::check(client, &needs.databases).await);
    all.add(source_databases::check(client).await);
    all.add(all_roles::check(client).await);
    all.findings
}

/// Checks a destination instance, through any of its databases.
pub async fn destination(client: &Client, version: ServerVersion, needs: &DestinationNeeds) -> Vec<Finding> {
    let mut all = Gathered { database: "", findings: versions::destination(version) };
    if !all.findings.is_empty() {
        return all.findings;
    }
    all.add(recovery::check(client, "destination").await);
    all.add(privileges::destination(client).await);
    all.add(extensions::ours(client).await);
    all.add(workers::check(client, needs).await);
    all.add(destination_databases::check(client, needs).await);
    all.findings
}

/// Checks one database of a source: `source` is connected to it, `destination` to any database of the destination.
pub async fn database(source: &Session, destination: &Client, definition: &Definition) -> Vec<Finding> {
    let name = definition.name.as_str();
    let mut all = Gathered { database: name, findings: Vec::new() };
    all.add(locale::check(destination, definition).await);
    all.add(collation_locales::check(source, destination, definition).await);
    all.add(money::check(source, destination, definition).await);
    all.add(collations::check(source, destination, definition).await);
    all.add(privileges::database(source, name).await);
    all.add(row_security::check(source, name).await);
    all.add(extensions::of_database(source, destination, name).await);
    all.add(labels::check(source, destination, name).await);
    all.add(storage::check(source, name).await);
    all.add(event_triggers::check(source, name).await);
    all.add(names::reserved_schemas(source, name).await);
    all.add(not_replicated::check(source, name).await);
    all.findings
}

/// Whether what a finding is about costs what uses it, and nothing else: an extension that the destination does not have, a collation of the
/// database's own, a provider of security labels.
pub(crate) fn costs_its_users_alone(finding: &Finding) -> bool {
    match finding.code {
        Code::ExtensionMissing | Code::LabelProviderMissing => true,
        Code::LocaleMissing | Code::IcuMissing => collation_locales::is_own(&finding.object),
        _ => false,
    }
}

/// What is told of a session or database that can't be connected to.
pub fn unreachable(database: &str, reason: &str) -> Finding {
    database_finding(
        Severity::Error,
        database,
        Code::Unreachable,
        format!("source: database {}", quote::ident(database)),
        reason,
        "give our role CONNECT on it and a line in pg_hba.conf, or exclude it: databases.exclude of the mapping",
    )
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
