//! Tables as the copy sees them: leaves that hold rows.

use std::pin::pin;

use futures_util::TryStreamExt as _;
use tokio_postgres::{Client, Row};

pub use crate::plan::ReplicaIdentity;
use crate::postgres::quote;

impl ReplicaIdentity {
    /// The words after `REPLICA IDENTITY`.
    pub fn clause(&self) -> String {
        match self {
            Self::Default => "DEFAULT".to_owned(),
            Self::Index(index) => format!("USING INDEX {}", quote::ident(index)),
            Self::Full => "FULL".to_owned(),
            Self::Nothing => "NOTHING".to_owned(),
        }
    }
}

/// A leaf table on the source.
#[derive(Debug, Clone)]
pub struct Table {
    /// OID on the source.
    pub oid: u32,
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// Role that owns it.
    pub owner: String,
    /// Size of its main fork, bytes.
    pub bytes: i64,
    /// Valid indexes: what will have to be built after the copy.
    pub index_count: i64,
    /// What it has now.
    pub replica_identity: ReplicaIdentity,
    /// Whether what it has now identifies rows.
    pub has_usable_identity: bool,
    /// A unique index over columns that are not null, fit to be one.
    pub candidate_index: Option<String>,
    /// Generated columns in the primary key: they are not sent, and so rows can't be found by it.
    pub generated_in_key: Vec<String>,
    /// Columns whose type has no equality: by the whole row, rows of such a table can't be found.
    pub incomparable_columns: Vec<String>,
    /// Columns that hold values of their own (generated ones do not), in order.
    pub columns: Vec<String>,
    /// Names and types of all columns, to be compared with the other side's.
    pub fingerprint: String,
    /// Names of the tables whose partition or child it is, up to the root; to be compared with the other side's as well.
    pub ancestors: String,
}

impl Table {
    /// Quoted and qualified.
    pub fn sql_name(&self) -> String {
        quote::qualified(&self.schema, &self.name)
    }

    /// For people: `schema.name`.
    pub fn label(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// The column list of COPY with its parentheses; empty for a table without columns.
    pub fn column_list(&self) -> String {
        quote::column_list(&self.columns)
    }
}

/// Reads the tables of a database, largest first, as of the client's snapshot.
pub async fn read(client: &Client) -> Result<Vec<Table>, tokio_postgres::Error> {
    let none: [&str; 0] = [];
    // One by one: there may be very many, and a row takes more memory than what is made of it.
    let mut rows = pin!(client.query_raw(include_str!("tables.sql"), none).await?);
    let mut tables = Vec::new();
    while let Some(row) = rows.try_next().await? {
        tables.push(from_row(&row));
    }
    Ok(tables)
}

fn from_row(row: &Row) -> Table {
    let letter: &str = row.get("replica_identity");
    let identity_index: Option<String> = row.get("identity_index");
    let has_primary_key: bool = row.get("has_primary_key");
    let generated_in_key: Vec<String> = row.get("generated_in_key");
    let (replica_identity, has_usable_identity) = match (letter, identity_index) {
        ("i", Some(index)) => (ReplicaIdentity::Index(index), !row.get::<_, bool>("identity_is_generated")),
        // The index it named is gone: the server treats that as none.
        ("i", None) | ("n", _) => (ReplicaIdentity::Nothing, false),
        // The destination looks for the row by its primary key, if it has one.
        ("f", _) => (ReplicaIdentity::Full, generated_in_key.is_empty()),
        _ => (ReplicaIdentity::Default, has_primary_key && generated_in_key.is_empty()),
    };
    Table {
        oid: row.get("oid"),
        schema: row.get("schema"),
        name: row.get("name"),
        owner: row.get("owner"),
        bytes: row.get("bytes"),
        index_count: row.get("index_count"),
        replica_identity,
        has_usable_identity,
        candidate_index: row.get("candidate_index"),
        generated_in_key,
        incomparable_columns: row.get("incomparable_columns"),
        columns: row.get("columns"),
        fingerprint: row.get("fingerprint"),
        ancestors: row.get("ancestors"),
    }
}

/// A table of so many bytes, for tests.
#[cfg(test)]
pub fn sample(name: &str, bytes: i64) -> Table {
    Table {
        oid: 1,
        schema: "s".into(),
        name: name.into(),
        owner: "o".into(),
        bytes,
        index_count: 0,
        replica_identity: ReplicaIdentity::Default,
        has_usable_identity: true,
        candidate_index: None,
        generated_in_key: vec![],
        incomparable_columns: vec![],
        columns: vec![],
        fingerprint: String::new(),
        ancestors: String::new(),
    }
}
