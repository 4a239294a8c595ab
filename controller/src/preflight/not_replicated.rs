//! What logical replication does not carry: large objects and the rows of unlogged tables.

use tokio_postgres::Client;

use super::{Error, database_finding, listed};
use crate::finding::{Code, Finding, Severity};

pub(super) async fn check(client: &Client, database: &str) -> Result<Vec<Finding>, Error> {
    let row = client
        .query_one(include_str!("not_replicated.sql"), &[])
        .await
        .map_err(|source| Error { check: "what replication does not carry", source })?;
    let first: Vec<String> = row.get("first_unlogged");
    Ok(judge(database, row.get("large_objects"), row.get("unlogged_tables"), &first))
}

fn judge(database: &str, large_objects: i64, unlogged_tables: i64, first_unlogged: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if large_objects > 0 {
        findings.push(database_finding(
            Severity::Warning,
            database,
            Code::LargeObjects,
            format!("{large_objects} large objects"),
            "logical replication does not carry large objects; they stay behind",
            "after the writers have stopped: pg_dump --large-objects --exclude-schema='*' --no-publications <source> | psql <destination>",
        ));
    }
    if unlogged_tables > 0 {
        findings.push(database_finding(
            Severity::Warning,
            database,
            Code::UnloggedTables,
            format!("{unlogged_tables} unlogged tables"),
            format!(
                "logical replication does not carry the rows of unlogged tables; these come over empty: {}",
                listed(first_unlogged, unlogged_tables)
            ),
            "copy their rows after the writers have stopped, or on the source: ALTER TABLE … SET LOGGED;",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn what_stays_behind_is_named() {
        assert!(judge("shop", 0, 0, &[]).is_empty());
        let findings = judge("shop", 1, 3, &["a".to_owned(), "b".to_owned()]);
        assert_eq!(findings.len(), 2);
        assert!(findings[1].reason.ends_with("a, b and 1 more"));
    }
}
