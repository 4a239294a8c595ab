//! What the planner knows of the tables, carried over instead of measured anew: read from the source's `pg_stats`, put into
//! place with PostgreSQL 18's `pg_restore_relation_stats` and `pg_restore_attribute_stats`, in the transaction that attaches the
//! table. So a table plans well from its first moment, and no ANALYZE reads it again. What is not a table's own follows when all
//! tables are there ([`carry_rest`]).
//!
//! Statistics are never worth a failure: what can't be carried is a warning.

use std::fmt::Write as _;

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row, Statement};

use crate::finding::{Code, Finding, Severity};
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

/// Below this size a table's statistics wait for [`carry_rest`], which carries many at once: one by one they would take longer than the
/// rows.
pub const SMALL: i64 = 1 << 20;

/// Reads the statistics of tables.
#[derive(Debug)]
pub struct Reader {
    columns: Statement,
    version: ServerVersion,
}

/// A statement that carries the statistics of one relation's columns.
#[derive(Debug)]
pub struct Columns {
    schema: String,
    name: String,
    /// The statement.
    pub sql: String,
}

impl Reader {
    /// Prepares a session on the source.
    pub async fn new(source: &Client, version: ServerVersion) -> Result<Self, tokio_postgres::Error> {
        let types = [Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::BOOL];
        let columns = source.prepare_typed(include_str!("statistics.sql"), &types).await?;
        Ok(Self { columns, version })
    }

    /// For each of these relations that has statistics on the source, the statement that carries them. `inherited`: those of a table
    /// together with its children.
    pub async fn columns(
        &self,
        source: &Client,
        relations: &[(&str, &str)],
        inherited: bool,
    ) -> Result<Vec<Columns>, tokio_postgres::Error> {
        let (schemas, names): (Vec<&str>, Vec<&str>) = relations.iter().copied().unzip();
        let rows = source.query(&self.columns, &[&schemas, &names, &inherited]).await?;
        Ok(rows
            .chunk_by(|a, b| (a.get::<_, &str>(0), a.get::<_, &str>(1)) == (b.get(0), b.get(1)))
            .map(|rows| statement(rows, inherited, self.version))
            .collect())
    }
}

fn statement(rows: &[Row], inherited: bool, version: ServerVersion) -> Columns {
    let (schema, name): (&str, &str) = (rows[0].get("schema"), rows[0].get("name"));
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
            quote::literal(name),
            quote::literal(row.get("attname")),
            version.0,
        );
        for (attribute, kind) in ATTRIBUTE {
            if let Some(value) = row.get::<_, Option<&str>>(attribute) {
                let _ = write!(sql, ", '{attribute}', {}::{kind}", quote::literal(value));
            }
        }
        sql.push(')');
    }
    Columns { schema: schema.to_owned(), name: name.to_owned(), sql }
}

/// A statement that says how many rows a table has: as many as came, on as many pages as they take here.
pub fn relation(schema: &str, table: &str, rows: f64) -> String {
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
        code: Code::StatisticsLeft,
        object,
        reason,
        fix,
        statement: None,
    }
}

/// Relations whose statistics do not come with a table: small tables ($1), parents with all their children, expressions of
/// indexes, materialized views; with the number of rows of small tables, unless it is 0, which before 14 may also mean unknown.
const OTHERS: &str = include_str!("statistics_others.sql");
/// So many relations share a transaction.
const BATCH: usize = 50;

/// Tables with extended statistics: PostgreSQL 18 can't take those from elsewhere.
const EXTENDED: &str = include_str!("statistics_extended.sql");

/// Carries what does not come with a table, and measures what can't be carried. What failed is told.
pub async fn carry_rest(source: &Session, destination: &Session, database: &str) -> Result<Vec<Finding>, tokio_postgres::Error> {
    let mut work = Vec::new();
    let reader = Reader::new(source, source.version()).await?;
    let others = source.query(OTHERS, &[&SMALL]).await?;
    let mut findings = Vec::new();
    for of_a_kind in others.chunk_by(|a, b| a.get::<_, bool>(2) == b.get::<_, bool>(2)) {
        for batch in of_a_kind.chunks(BATCH) {
            let relations: Vec<(&str, &str)> = batch.iter().map(|row| (row.get(0), row.get(1))).collect();
            work.clear();
            for (row, (schema, name)) in batch.iter().zip(&relations) {
                if let Some(rows) = row.get::<_, Option<f64>>("rows") {
                    work.push((quote::qualified(schema, name), relation(schema, name, rows)));
                }
            }
            for columns in reader.columns(source, &relations, of_a_kind[0].get(2)).await? {
                work.push((quote::qualified(&columns.schema, &columns.name), columns.sql));
            }
            run(destination, database, &work, &mut findings).await?;
        }
    }
    for row in destination.query(EXTENDED, &[]).await? {
        let object = quote::qualified(row.get(0), row.get(1));
        let analyze = format!("ANALYZE {object}");
        run(destination, database, &[(object, analyze)], &mut findings).await?;
    }
    Ok(findings)
}

/// Runs statements about relations in one transaction; where that fails, one by one.
async fn run(
    destination: &Session,
    database: &str,
    work: &[(String, String)],
    findings: &mut Vec<Finding>,
) -> Result<(), tokio_postgres::Error> {
    if work.len() > 1 {
        let text: Vec<&str> = work.iter().map(|(_, sql)| sql.as_str()).collect();
        if destination.batch_execute(&format!("BEGIN; {}; COMMIT", text.join(";\n"))).await.is_ok() {
            return Ok(());
        }
        destination.batch_execute("ROLLBACK").await?;
    }
    for (object, sql) in work {
        match destination.batch_execute(sql).await {
            Ok(()) => {}
            Err(error) if retry::is_transient(&error) => return Err(error),
            Err(error) => findings.push(finding(database, object.clone(), retry::message(&error))),
        }
    }
    Ok(())
}
