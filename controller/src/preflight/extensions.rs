//! Extensions that the destination must have: ours, and those of the source's databases.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::{Error, database_finding, instance_finding};
use crate::finding::{Code, Finding, Severity};
use crate::postgres::{quote, retry};

/// Extensions of PostgreSQL's own contrib that a later release dropped, with what to do about them.
const DROPPED: [(&str, &str); 7] = [
    ("adminpack", "PostgreSQL 17 dropped it; on the source: DROP EXTENSION adminpack;"),
    ("chkpass", "PostgreSQL 11 dropped it; change its columns to text first"),
    ("old_snapshot", "PostgreSQL 17 dropped it; on the source: DROP EXTENSION old_snapshot;"),
    ("plpython2u", "PostgreSQL 15 dropped Python 2; move its functions to plpython3u"),
    ("plpythonu", "PostgreSQL 15 dropped Python 2; move its functions to plpython3u"),
    ("timetravel", "PostgreSQL 12 dropped it; on the source: DROP EXTENSION timetravel;"),
    ("tsearch2", "PostgreSQL 10 dropped it; move its columns to the built-in text search types"),
];

/// Debian's packages whose name does not follow from the extension's.
const PACKAGES: [(&str, &str); 12] = [
    ("address_standardizer", "postgresql-18-postgis-3"),
    ("pg_cron", "postgresql-18-cron"),
    ("pg_partman", "postgresql-18-partman"),
    ("pgaudit", "postgresql-18-pgaudit"),
    ("pgrouting", "postgresql-18-pgrouting"),
    ("plperl", "postgresql-plperl-18"),
    ("plperlu", "postgresql-plperl-18"),
    ("plpython3u", "postgresql-plpython3-18"),
    ("pltcl", "postgresql-pltcl-18"),
    ("postgis", "postgresql-18-postgis-3"),
    ("postgis_topology", "postgresql-18-postgis-3"),
    ("vector", "postgresql-18-pgvector"),
];

fn failed(source: tokio_postgres::Error) -> Error {
    Error { check: "extensions", source }
}

/// `migrator`, in this version, with its library, and `dblink`.
pub(super) async fn ours(destination: &Client) -> Result<Vec<Finding>, Error> {
    let rows = destination
        .query("SELECT e.name::text AS name, e.version FROM pg_catalog.pg_available_extension_versions e WHERE e.name IN ('migrator', 'dblink')", &[])
        .await
        .map_err(failed)?;
    let available: Vec<(String, String)> = rows.iter().map(|row| (row.get("name"), row.get("version"))).collect();
    let mut findings = judge_ours(&available);
    if findings.is_empty()
        && let Err(error) = destination.batch_execute("LOAD '$libdir/migrator'").await
    {
        // Without an answer of the server it is the connection that failed, not the check. Who may not load libraries is
        // no superuser, which is a finding of its own.
        match error.code() {
            None => return Err(failed(error)),
            Some(state) if *state == tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE => {}
            Some(_) => findings.push(missing("migrator", format!("its library can't be loaded: {}", retry::message(&error)))),
        }
    }
    Ok(findings)
}

fn judge_ours(available: &[(String, String)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let version = env!("CARGO_PKG_VERSION");
    let versions: Vec<&str> = available.iter().filter(|(name, _)| name == "migrator").map(|(_, v)| v.as_str()).collect();
    if versions.is_empty() {
        findings.push(missing("migrator", "it is not installed on the destination's machine".to_owned()));
    } else if !versions.contains(&version) {
        let reason = format!("the destination's machine has version {}, this pg-migrator needs {version}", versions.join(", "));
        findings.push(missing("migrator", reason));
    }
    if !available.iter().any(|(name, _)| name == "dblink") {
        findings.push(instance_finding(
            Severity::Error,
            Code::ExtensionDblink,
            "destination: extension dblink",
            "it is not installed on the destination's machine; replication sessions to the source are opened with it",
            "install PostgreSQL's contrib modules for 18 (Debian: part of postgresql-18; Red Hat: postgresql18-contrib)",
        ));
    }
    findings
}

fn missing(name: &str, reason: String) -> Finding {
    instance_finding(
        Severity::Error,
        Code::ExtensionMigrator,
        format!("destination: extension {name}"),
        reason,
        "on the destination's machine, in pg-migrator's sources: make install PG_CONFIG=/path/to/pg_config",
    )
}

/// The extensions of one source database: each must be installable on the destination.
pub(super) async fn of_database(source: &Client, destination: &Client, database: &str) -> Result<Vec<Finding>, Error> {
    let rows = source
        .query("SELECT e.extname::text AS name, e.extversion AS version FROM pg_catalog.pg_extension e ORDER BY 1", &[])
        .await
        .map_err(failed)?;
    let wanted: Vec<(String, String)> = rows.iter().map(|row| (row.get("name"), row.get("version"))).collect();
    let rows = destination
        .query("SELECT e.name::text AS name, e.default_version AS version FROM pg_catalog.pg_available_extensions e", &[])
        .await
        .map_err(failed)?;
    let available =
        rows.iter().map(|row| (row.get("name"), row.get::<_, Option<String>>("version").unwrap_or_default())).collect();
    Ok(judge_database(&wanted, &available, database))
}

fn judge_database(wanted: &[(String, String)], available: &BTreeMap<String, String>, database: &str) -> Vec<Finding> {
    wanted
        .iter()
        .filter_map(|(name, version)| match available.get(name) {
            None => Some(not_available(name, database)),
            Some(there) if is_older(there, version) => Some(older(name, version, there, database)),
            Some(_) => None,
        })
        .collect()
}

fn not_available(name: &str, database: &str) -> Finding {
    database_finding(
        Severity::Error,
        database,
        Code::ExtensionMissing,
        format!("extension {}", quote::ident(name)),
        "the destination does not have it: the extension and what uses it can't be made there",
        fix(name),
    )
}

fn older(name: &str, version: &str, there: &str, database: &str) -> Finding {
    database_finding(
        Severity::Warning,
        database,
        Code::ExtensionOlder,
        format!("extension {}", quote::ident(name)),
        format!(
            "the source has version {version}, the destination's machine only {there}: what came in between is missing there"
        ),
        format!("{}, in version {version} or later", package(name)),
    )
}

/// What to install.
fn package(name: &str) -> String {
    let package = PACKAGES.iter().find(|(extension, _)| *extension == name).map_or_else(
        || format!("a package postgresql-18-{}, or part of postgresql-18", name.replace('_', "-")),
        |(_, package)| format!("package {package}"),
    );
    format!("install it for PostgreSQL 18 on the destination's machine (Debian: {package})")
}

/// Whether the first of two versions is the lower one: number by number, as `2.10` and `2.9` are meant.
fn is_older(there: &str, wanted: &str) -> bool {
    let numbers = |version: &str| -> Vec<u64> {
        version.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    numbers(there) < numbers(wanted)
}

/// What to do about an extension that can't be made.
pub(crate) fn fix(name: &str) -> String {
    DROPPED.iter().find(|(dropped, _)| *dropped == name).map_or_else(|| package(name), |(_, fix)| (*fix).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(name, version)| (name.to_owned(), version.to_owned())).collect()
    }

    #[test]
    fn our_extension_must_be_there_in_this_version() {
        let current = env!("CARGO_PKG_VERSION");
        assert!(judge_ours(&versions(&[("migrator", "0.0.1"), ("migrator", current), ("dblink", "1.2")])).is_empty());
        let codes = |available: &[(String, String)]| judge_ours(available).iter().map(|f| f.code).collect::<Vec<_>>();
        assert_eq!(codes(&versions(&[])), ["extension_migrator", "extension_dblink"]);
        assert_eq!(codes(&versions(&[("migrator", "0.0.1"), ("dblink", "1.2")])), ["extension_migrator"]);
    }

    #[test]
    fn a_missing_extension_is_named_with_its_fix() {
        let wanted = versions(&[("plpgsql", "1.0"), ("adminpack", "2.1"), ("pg_cron", "1.4"), ("pg_stat_kcache", "2.2")]);
        let findings = judge_database(&wanted, &versions(&[("plpgsql", "1.0")]).into_iter().collect(), "shop");
        assert_eq!(findings.len(), 3);
        assert!(findings[0].fix.contains("DROP EXTENSION adminpack"));
        assert!(findings[1].fix.contains("postgresql-18-cron"));
        assert!(findings[2].fix.contains("postgresql-18-pg-stat-kcache"));
    }

    #[test]
    fn an_older_extension_is_named_and_a_newer_one_is_not() {
        let available = versions(&[("postgis", "3.9.1"), ("hstore", "1.8"), ("odd", "1.0-dev")]).into_iter().collect();
        let codes = |wanted: &[(&str, &str)]| {
            judge_database(&versions(wanted), &available, "shop").iter().map(|f| f.code.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(codes(&[("postgis", "3.10.0")]), ["extension_older"]);
        assert!(codes(&[("postgis", "3.9.1"), ("hstore", "1.7"), ("odd", "1.0")]).is_empty());
    }
}
