//! Sequences: logical replication does not carry them, so we do. Close while streaming, exact at cutover.

use std::collections::HashMap;

use tokio_postgres::Client;

use crate::postgres::quote;

/// A sequence's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value {
    /// `last_value`.
    pub last_value: i64,
    /// `is_called`: whether `last_value` has been handed out.
    pub is_called: bool,
}

/// Values by schema and name.
pub type Values = HashMap<(String, String), Value>;

/// So many sequences are read or set in one statement.
const BATCH: usize = 200;

/// Reads every sequence of the database that is not an extension's own. `last_value` and `is_called` are read from the
/// sequence itself: `pg_sequences` shows null for one that has not been called, which hides a `setval(…, false)`.
pub async fn read(source: &Client) -> Result<Values, tokio_postgres::Error> {
    let names: Vec<(String, String)> = source
        .query(
            "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                               WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
             ORDER BY 1, 2",
            &[],
        )
        .await?
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let mut values = HashMap::with_capacity(names.len());
    for batch in names.chunks(BATCH) {
        let query: Vec<String> = batch
            .iter()
            .enumerate()
            .map(|(i, (schema, name))| format!("SELECT {i} AS i, last_value, is_called FROM {}", quote::qualified(schema, name)))
            .collect();
        for row in source.query(&query.join(" UNION ALL "), &[]).await? {
            let i: i32 = row.get(0);
            values.insert(batch[i as usize].clone(), Value { last_value: row.get(1), is_called: row.get(2) });
        }
    }
    Ok(values)
}

/// Sets the sequences on the destination.
pub async fn write(
    destination: &Client,
    values: impl IntoIterator<Item = (&(String, String), &Value)>,
) -> Result<u64, tokio_postgres::Error> {
    let statements: Vec<String> = values
        .into_iter()
        .map(|((schema, name), value)| {
            format!(
                "SELECT pg_catalog.setval({}::pg_catalog.regclass, {}, {})",
                quote::literal(&quote::qualified(schema, name)),
                value.last_value,
                value.is_called
            )
        })
        .collect();
    for batch in statements.chunks(BATCH) {
        destination.batch_execute(&batch.join(";\n")).await?;
    }
    Ok(statements.len() as u64)
}

/// The sequences whose value is another than the one last carried over.
pub fn changed<'a>(now: &'a Values, carried: &Values) -> Vec<(&'a (String, String), &'a Value)> {
    now.iter().filter(|(name, value)| carried.get(*name) != Some(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_moved_is_carried_again() {
        let key = |name: &str| ("s".to_owned(), name.to_owned());
        let at = |last_value, is_called| Value { last_value, is_called };
        let carried = HashMap::from([(key("a"), at(1, true)), (key("b"), at(1, false))]);
        let now = HashMap::from([(key("a"), at(1, true)), (key("b"), at(1, true)), (key("c"), at(1, false))]);
        let mut moved: Vec<_> = changed(&now, &carried).into_iter().map(|(k, _)| k.1.clone()).collect();
        moved.sort();
        assert_eq!(moved, ["b", "c"]);
    }
}
