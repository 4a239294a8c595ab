//! What logical replication does not carry, and we do beside it: large objects and the rows of unlogged tables. And what nobody does:
//! TRUNCATE on PostgreSQL 10.

use tokio_postgres::Client;

use super::{Error, database_finding, listed};
use crate::finding::{Code, Finding, Severity};
use crate::postgres::quote;

pub(super) async fn check(client: &Client, database: &str) -> Result<Vec<Finding>, Error> {
    let row = client
        .query_one(include_str!("not_replicated.sql"), &[])
        .await
        .map_err(|source| Error { check: "what replication does not carry", source })?;
    let found = Found {
        large_objects: row.get("large_objects"),
        large_object_bytes: row.get("large_object_bytes"),
        large_objects_readable: row.get("large_objects_readable"),
        unlogged_tables: row.get("unlogged_tables"),
        unlogged_bytes: row.get("unlogged_bytes"),
        first_unlogged: row.get("first_unlogged"),
        without_truncate: row.get("without_truncate"),
        role: row.get("role"),
    };
    Ok(judge(database, &found))
}

#[derive(Debug, Default)]
struct Found {
    large_objects: i64,
    large_object_bytes: i64,
    large_objects_readable: bool,
    unlogged_tables: i64,
    unlogged_bytes: i64,
    first_unlogged: Vec<String>,
    without_truncate: bool,
    role: String,
}

fn judge(database: &str, found: &Found) -> Vec<Finding> {
    let mut findings = Vec::new();
    if found.large_objects > 0 && !found.large_objects_readable {
        findings.push(database_finding(
            Severity::Error,
            database,
            Code::LargeObjects,
            format!("{} large objects", found.large_objects),
            "our role on the source may not read large objects, so they could not be carried over",
            format!(
                "on the source, in this database: GRANT SELECT ON pg_catalog.pg_largeobject TO {};",
                quote::ident(&found.role)
            ),
        ));
    } else if found.large_objects > 0 {
        findings.push(database_finding(
            Severity::Info,
            database,
            Code::LargeObjects,
            format!("{} large objects", found.large_objects),
            format!(
                "logical replication does not carry large objects ({} bytes): they are copied beside it, and compared again within the \
                 block of the cutover, which reads all of them on both sides",
                found.large_object_bytes
            ),
            "nothing; the check carried_beside in migrator.cutover_checks says how long the block will be",
        ));
    }
    if found.unlogged_tables > 0 {
        findings.push(database_finding(
            Severity::Info,
            database,
            Code::UnloggedTables,
            format!("{} unlogged tables", found.unlogged_tables),
            format!(
                "logical replication does not carry the rows of unlogged tables ({} bytes): they are copied beside it, and once more within \
                 the block of the cutover: {}",
                found.unlogged_bytes,
                listed(&found.first_unlogged, found.unlogged_tables)
            ),
            "nothing; the check carried_beside in migrator.cutover_checks says how long the block will be; ALTER TABLE … SET LOGGED on the \
             source before the migration makes it shorter",
        ));
    }
    if found.without_truncate {
        findings.push(database_finding(
            Severity::Warning,
            database,
            Code::TruncateNotCarried,
            database,
            "PostgreSQL 10 does not publish TRUNCATE: a table that is truncated on the source keeps its rows on the destination, and rows \
             inserted again may collide with them; such a table is noticed by its file, compared, and refuses the cutover",
            "until the cutover use DELETE instead of TRUNCATE; copy a table that was truncated anew: SELECT migrator.resync(mapping, database, \
             table)",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_travels_beside_the_stream_is_named() {
        assert!(judge("shop", &Found::default()).is_empty());
        let found = Found {
            large_objects: 1,
            large_objects_readable: true,
            unlogged_tables: 3,
            first_unlogged: vec!["a".to_owned(), "b".to_owned()],
            ..Found::default()
        };
        let findings = judge("shop", &found);
        assert_eq!(findings.len(), 2);
        assert!(findings.iter().all(|f| f.severity == Severity::Info));
        assert!(findings[1].reason.ends_with("a, b and 1 more"));
    }

    #[test]
    fn what_we_may_not_read_is_an_error() {
        let findings = judge("shop", &Found { large_objects: 1, role: "r".to_owned(), ..Found::default() });
        assert_eq!(findings[0].severity, Severity::Error);
        assert!(findings[0].fix.contains("TO \"r\""), "{}", findings[0].fix);
    }
}
