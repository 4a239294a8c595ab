//! The tables of one database, a page at a time: there may be 100,000.

use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, Row};

use super::{BadRow, Error, Status, status};

/// How many tables a page shows.
const PAGE: i64 = 100;

/// A table: an ordinary one, or a leaf of a partition tree.
#[derive(Debug, Clone, Serialize)]
pub struct Table {
    pub schema: String,
    pub name: String,
    pub status: Status,
    pub state: String,
    pub bytes_total: i64,
    pub bytes_copied: i64,
    pub rows_copied: i64,
    pub copied_lsn: Option<String>,
    pub replica_identity: Option<String>,
    pub problem: Option<String>,
    /// From 0 to 1.
    pub progress: f64,
}

/// What the tables are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Trouble first, then what is under way, then what waits.
    #[default]
    Status,
    Name,
    Progress,
    Size,
    Rows,
}

impl Order {
    /// The name used in addresses.
    pub fn slug(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Name => "name",
            Self::Progress => "progress",
            Self::Size => "size",
            Self::Rows => "rows",
        }
    }

    fn expression(self) -> &'static str {
        match self {
            Self::Status => {
                "array_position(ARRAY['problematic', 'in_catchup', 'pending', 'synced', 'cutover_ready', 'complete'], t.status::text)"
            }
            Self::Name => "t.schema",
            Self::Progress => "p.progress",
            Self::Size => "t.bytes_total",
            Self::Rows => "t.rows_copied",
        }
    }
}

/// Which tables to show, and how.
#[derive(Debug, Clone, Default)]
pub struct TableFilter {
    /// Part of `schema.name`, whatever its case; empty for all.
    pub name: String,
    pub status: Option<Status>,
    pub order: Order,
    pub descending: bool,
    /// From 1.
    pub page: i64,
}

/// One page of tables.
#[derive(Debug, Clone)]
pub struct TablePage {
    pub tables: Vec<Table>,
    /// How many tables match the filter, on all pages.
    pub matching: i64,
    /// The page shown: the one asked for, or the last one there is.
    pub page: i64,
    pub pages: i64,
}

/// Reads a page of the tables of a database.
pub async fn tables(client: &Client, mapping: &str, database: &str, filter: &TableFilter) -> Result<TablePage, Error> {
    let failed = |source| Error::Query { what: "the tables", source };
    let wanted = filter.status.map_or("", Status::slug);
    let matching: i64 = client
        .query_one(include_str!("table_count.sql"), &[&mapping, &database, &filter.name, &wanted])
        .await
        .and_then(|row| row.try_get("matching"))
        .map_err(failed)?;
    let pages = pages_of(matching);
    let page = filter.page.clamp(1, pages);

    let direction = if filter.descending { "DESC" } else { "ASC" };
    let sql = format!(
        "{}ORDER BY {} {direction}, t.schema {direction}, t.name {direction}\nLIMIT {PAGE} OFFSET $5",
        include_str!("tables.sql"),
        filter.order.expression(),
    );
    let rows = client.query(&sql, &[&mapping, &database, &filter.name, &wanted, &((page - 1) * PAGE)]).await.map_err(failed)?;
    let tables = rows.iter().map(|row| table(row).map_err(|error| error.about("the tables"))).collect::<Result<_, _>>()?;
    Ok(TablePage { tables, matching, page, pages })
}

/// How many pages that many tables fill; an empty list has one page too.
fn pages_of(tables: i64) -> i64 {
    ((tables + PAGE - 1) / PAGE).max(1)
}

fn table(row: &Row) -> Result<Table, BadRow> {
    Ok(Table {
        schema: row.try_get("schema")?,
        name: row.try_get("name")?,
        status: status(row)?,
        state: row.try_get("state")?,
        bytes_total: row.try_get("bytes_total")?,
        bytes_copied: row.try_get("bytes_copied")?,
        rows_copied: row.try_get("rows_copied")?,
        copied_lsn: row.try_get("copied_lsn")?,
        replica_identity: row.try_get("replica_identity")?,
        problem: row.try_get("problem")?,
        progress: row.try_get("progress")?,
    })
}
