//! What the planner knows of the tables, carried over instead of measured anew: read from the source's `pg_stats`, put into
//! place with PostgreSQL 18's `pg_restore_relation_stats` and `pg_restore_attribute_stats`, in the transaction that attaches the
//! table. So a table plans well from its first moment, and no ANALYZE reads it again. What is not a table's own follows when all
//! tables are there ([`carry_rest`]).
//!
//! Statistics are never worth a failure: what can't be carried is a warning.

use std::fmt::Write as _;

use tokio_postgres::{Client, Row, Statement};

use crate::finding::{Finding, Severity};
use crate::postgres::{ServerVersion, Session, quote, retry};

/// Names and types of what `statistics.sql` gives of a column, as `pg_restore_attribute_stats` wants it.
const ATTRIBUTE: [(&str, &str); 13] = [
    ("null_frac", "real"),
    ("avg_width", "integer"),
    ("n_distinct", "real"),
    ("most_common_vals", "text"),
    ("most_common_freqs", "real[]"),
    ("histogram_bounds", "text"),
    ("correlation", "real"),
    ("most_common_elems", "text"),
    ("most_common_elem_freqs", "real[]"),
    ("elem_count_histogram", "real[]"),
    ("range_length_histogram", "text"),
    ("range_empty_frac", "real"),
    ("range_bounds_histogram", "text"),
];

/// Reads the statistics of one table after the other.
#[derive(Debug)]
pub struct Reader {
    columns: Statement,
    version: ServerVersion,
}

impl Reader {
    /// Prepares a session on the source.
    pub async fn new(source: &Client, version: ServerVersion) -> Result<Self, tokio_postgres::Error> {
        let columns = source
            .prepare_typed(
                include_str!("statistics.sql"),
                &[tokio_postgres::types::Type::TEXT, tokio_postgres::types::Type::TEXT, tokio_postgres::types::Type::BOOL],
            )
            .await?;
        Ok(Self { columns, version })
    }

    /// One statement that gives a table's columns the statistics that they have on the source; none if they have none. `inherited`: of
    /// the table together with its children.
    pub async fn columns(
        &self,
        source: &Client,
        schema: &str,
        table: &str,
        inherited: bool,
    ) -> Result<Option<String>, tokio_postgres::Error> {
        let rows = source.query(&self.columns, &[&schema, &table, &inherited]).await?;
        Ok(statement(&rows, schema, table, inherited, self.version))
    }
}

fn statement(rows: &[Row], schema: &str, table: &str, inherited: bool, version: ServerVersion) -> Option<String> {
    if rows.is_empty() {
        return None;
    }
    let mut sql = String::from("SELECT ");
    for (i, row) in rows.iter().enumerate() {
        if i > 0 {
            sql.push_str(", ");
        }
        // Writing to a String can't fail.
        let _ = write!(
            sql,
            "pg_catalog.pg_restore_attribute_stats('schemaname', {}, 'relname', {}, 'attname', {}, 'inherited', {inherited}, 'version', {}",
            quote::literal(schema),
            quote::literal(table),
            quote::literal(row.get("attname")),
            version.0,
        );
        for (name, kind) in ATTRIBUTE {
            if let Some(value) = row.get::<_, Option<&str>>(name) {
                let _ = write!(sql, ", '{name}', {}::{kind}", quote::literal(value));
            }
        }
        sql.push(')');
    }
    Some(sql)
}

/// A statement that says how many rows a table has: as many as came, on as many pages as they take here.
pub fn relation(schema: &str, table: &str, rows: u64) -> String {
    format!(
        "SELECT pg_catalog.pg_restore_relation_stats('schemaname', {}, 'relname', {}, 'reltuples', {rows}::real, 'relpages',
            (pg_catalog.pg_relation_size({}::pg_catalog.regclass) / pg_catalog.current_setting('block_size')::integer)::integer)",
        quote::literal(schema),
        quote::literal(table),
        quote::literal(&quote::qualified(schema, table)),
    )
}

/// What a failure is to an operator.
pub fn finding(database: &str, object: String, reason: String) -> Finding {
    let fix = format!("ANALYZE {object} on the destination");
    Finding {
        severity: Severity::Warning,
        database: database.to_owned(),
        code: "statistics_left",
        object,
        reason,
        fix,
        statement: None,
    }
}

/// Relations that have statistics which do not come with a table: parents with all their children, expressions of indexes,
/// materialized views.
const OTHERS: &str = "
    SELECT DISTINCT s.schemaname::text, s.tablename::text, s.inherited
    FROM pg_catalog.pg_stats s
    JOIN pg_catalog.pg_namespace n ON n.nspname = s.schemaname
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = s.tablename
    WHERE (s.inherited OR c.relkind IN ('i', 'm')) AND s.schemaname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    ORDER BY 1, 2, 3";

/// Tables with extended statistics: PostgreSQL 18 can't take those from elsewhere.
const EXTENDED: &str = "
    SELECT DISTINCT n.nspname::text, c.relname::text
    FROM pg_catalog.pg_statistic_ext e
    JOIN pg_catalog.pg_class c ON c.oid = e.stxrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
    ORDER BY 1, 2";

/// Carries what does not come with a table, and measures what can't be carried. What failed is told.
pub async fn carry_rest(source: &Session, destination: &Session, database: &str) -> Result<Vec<Finding>, tokio_postgres::Error> {
    let mut findings = Vec::new();
    let mut note = |object: String, result: Result<(), tokio_postgres::Error>| match result {
        Err(error) if retry::is_transient(&error) => Err(error),
        Err(error) => {
            findings.push(finding(database, object, retry::message(&error)));
            Ok(())
        }
        Ok(()) => Ok(()),
    };
    let reader = Reader::new(source, source.version()).await?;
    for row in source.query(OTHERS, &[]).await? {
        let (schema, name): (&str, &str) = (row.get(0), row.get(1));
        if let Some(sql) = reader.columns(source, schema, name, row.get(2)).await? {
            note(quote::qualified(schema, name), destination.batch_execute(&sql).await)?;
        }
    }
    for row in destination.query(EXTENDED, &[]).await? {
        let object = quote::qualified(row.get(0), row.get(1));
        let result = destination.batch_execute(&format!("ANALYZE {object}")).await;
        note(object, result)?;
    }
    Ok(findings)
}
