//! The files of a source's tables: where TRUNCATE is not published (before version 11), the trace that it leaves.
//!
//! TRUNCATE gives a table another file, as rewriting it does. Which one a table had right before it was copied is written down before
//! the pass begins: whatever file it has later, the same one means that it was not truncated since. Another one says nothing but that the
//! table is to be compared.

use std::collections::HashMap;

use tokio_postgres::Client;

use crate::copy::Table;
use crate::postgres::Session;

/// Whether the source's version makes it necessary.
pub fn matter(source: &Session) -> bool {
    !source.version().at_least(11)
}

/// By a table's OID: the file it was copied from.
#[derive(Debug, Default)]
pub struct Known(HashMap<u32, u32>);

impl Known {
    /// Whether the table was copied from this file.
    pub fn has(&self, table: u32, file: u32) -> bool {
        self.0.get(&table) == Some(&file)
    }
}

/// What is known of a database.
pub async fn known(control: &Client, mapping: &str, database: &str) -> Result<Known, tokio_postgres::Error> {
    let rows = control
        .query("SELECT table_oid, file FROM migrator.source_file WHERE mapping = $1 AND database = $2", &[&mapping, &database])
        .await?;
    Ok(Known(rows.iter().map(|row| (row.get(0), row.get(1))).collect()))
}

/// Writes down the files of tables that are about to be copied. To be called before the snapshot is taken.
pub async fn note(
    source: &Client,
    control: &Client,
    mapping: &str,
    database: &str,
    tables: &[Table],
) -> Result<(), tokio_postgres::Error> {
    let oids: Vec<u32> = tables.iter().map(|table| table.oid).collect();
    let rows = source.query("SELECT oid, relfilenode FROM pg_catalog.pg_class WHERE oid = ANY ($1)", &[&oids]).await?;
    let (oids, files): (Vec<u32>, Vec<u32>) = rows.iter().map(|row| (row.get::<_, u32>(0), row.get::<_, u32>(1))).unzip();
    control
        .execute(
            "INSERT INTO migrator.source_file (mapping, database, table_oid, file)
             SELECT $1, $2, u.table_oid, u.file FROM unnest($3::oid[], $4::oid[]) AS u (table_oid, file)
             ON CONFLICT (mapping, database, table_oid) DO UPDATE SET file = excluded.file",
            &[&mapping, &database, &oids, &files],
        )
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_nothing_is_known_of_is_not_taken_for_untouched() {
        let known = Known(HashMap::from([(1, 10)]));
        assert!(known.has(1, 10));
        assert!(!known.has(1, 11) && !known.has(2, 10));
    }
}
