//! What keeps rows where logical replication does not see them: extensions with a storage of their own, and access methods
//! other than PostgreSQL's.

use tokio_postgres::Client;

use super::{Error, database_finding};
use crate::finding::{Code, Finding, Severity};
use crate::postgres::quote;

/// Extensions that own where their rows are, each with what it does.
const STORING: [(&str, &str); 7] = [
    ("citus", "keeps the rows of distributed tables in shards on other servers"),
    ("citus_columnar", "keeps rows in columns, whose changes logical decoding does not see"),
    ("columnar", "keeps rows in columns, whose changes logical decoding does not see"),
    ("orioledb", "keeps rows in a storage with a log of its own"),
    ("pg_mooncake", "keeps rows in files of its own"),
    ("timescaledb", "keeps rows in chunks that it makes, compresses and drops by itself, as its own catalogs say"),
    ("timescaledb_toolkit", "belongs to timescaledb"),
];

pub(super) async fn check(client: &Client, database: &str) -> Result<Vec<Finding>, Error> {
    let failed = |source| Error { check: "storage", source };
    let rows =
        client.query("SELECT e.extname::text AS name FROM pg_catalog.pg_extension e ORDER BY 1", &[]).await.map_err(failed)?;
    let mut findings: Vec<Finding> = rows.iter().filter_map(|row| refused(row.get("name"), database)).collect();
    let rows = client.query(include_str!("storage.sql"), &[]).await.map_err(failed)?;
    findings.extend(rows.iter().map(|row| {
        database_finding(
            Severity::Error,
            database,
            Code::TableAccessMethod,
            format!("table {}", row.get::<_, &str>("relation")),
            format!(
                "its rows are kept by access method {}, whose changes logical decoding does not see",
                quote::ident(row.get("access_method"))
            ),
            "on the source (15 and later): ALTER TABLE … SET ACCESS METHOD heap; or exclude the database",
        )
    }));
    Ok(findings)
}

fn refused(name: &str, database: &str) -> Option<Finding> {
    let (_, why) = STORING.iter().find(|(storing, _)| *storing == name)?;
    Some(database_finding(
        Severity::Error,
        database,
        Code::ExtensionOwnsStorage,
        format!("extension {}", quote::ident(name)),
        format!("it {why}: what it holds can't be carried over by copying and streaming tables"),
        "move this database by the extension's own means, and exclude it here: databases.exclude of the mapping",
    ))
}

#[cfg(test)]
mod tests {
    use super::refused;

    #[test]
    fn only_extensions_with_a_storage_are_refused() {
        assert!(refused("timescaledb", "shop").is_some_and(|f| f.reason.contains("chunks")));
        assert!(refused("pg_trgm", "shop").is_none());
    }
}
