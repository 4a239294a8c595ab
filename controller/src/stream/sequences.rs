//! Sequences: logical replication does not carry them, so we do. Close while streaming, exact at cutover.

use std::collections::HashMap;

use tokio_postgres::Client;

use crate::postgres::{quote, retry};

/// Why sequences are not carried over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source's can't be read.
    #[error("reading the sequences: {}", retry::message(.0))]
    Read(#[source] tokio_postgres::Error),
    /// One can't be set.
    #[error("setting {sequence}: {}", retry::message(.source))]
    Write {
        /// Qualified and quoted.
        sequence: String,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
}

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

/// Reads every sequence of the database that is not an extension's own, or holds its users' values. `last_value` and `is_called` are read from the
/// sequence itself: `pg_sequences` shows null for one that has not been called, which hides a `setval(…, false)`.
pub async fn read(source: &Client) -> Result<Values, Error> {
    let names: Vec<(String, String)> = source
        .query(include_str!("sequences.sql"), &[])
        .await
        .map_err(Error::Read)?
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
        for row in source.query(&query.join(" UNION ALL "), &[]).await.map_err(Error::Read)? {
            let i: i32 = row.get(0);
            values.insert(batch[i as usize].clone(), Value { last_value: row.get(1), is_called: row.get(2) });
        }
    }
    Ok(values)
}

/// How a value is carried over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carry {
    /// Only forward, in the sequence's own direction: whoever uses the destination already must not be handed a value again.
    Forward,
    /// Exactly: only while nobody can use either side.
    Exact,
}

/// Sets the sequences on the destination. One that can't be set does not keep the others from it; the first failure is
/// given at the end, with the sequence's name.
pub async fn write(
    destination: &Client,
    values: impl IntoIterator<Item = (&(String, String), &Value)>,
    carry: Carry,
) -> Result<u64, Error> {
    let statements: Vec<(String, String)> = values
        .into_iter()
        .map(|((schema, name), value)| {
            let sequence = quote::qualified(schema, name);
            let statement = set(&sequence, *value, carry);
            (sequence, statement)
        })
        .collect();
    let mut failed = None;
    for batch in statements.chunks(BATCH) {
        let all: Vec<&str> = batch.iter().map(|(_, statement)| statement.as_str()).collect();
        if let Err(source) = destination.batch_execute(&all.join(";\n")).await {
            if destination.is_closed() {
                return Err(Error::Write { sequence: "all".to_owned(), source });
            }
            for (sequence, statement) in batch {
                if let Err(source) = destination.batch_execute(statement).await {
                    failed.get_or_insert(Error::Write { sequence: sequence.clone(), source });
                }
            }
        }
    }
    failed.map_or(Ok(statements.len() as u64), Err)
}

fn set(sequence: &str, value: Value, carry: Carry) -> String {
    let regclass = format!("{}::pg_catalog.regclass", quote::literal(sequence).trim_start());
    let Value { last_value, is_called } = value;
    let setval = format!("SELECT pg_catalog.setval({regclass}, {last_value}, {is_called})");
    match carry {
        Carry::Exact => setval,
        Carry::Forward => format!(
            "{setval} FROM {sequence} d, pg_catalog.pg_sequence p WHERE p.seqrelid = {regclass}
             AND CASE WHEN p.seqincrement > 0 THEN ({last_value}, {is_called}) > (d.last_value, d.is_called)
                      ELSE (-({last_value}::numeric), {is_called}) > (-(d.last_value::numeric), d.is_called) END"
        ),
    }
}

/// The sequences whose value is another than the one last carried over.
pub fn changed<'a>(now: &'a Values, carried: &Values) -> Vec<(&'a (String, String), &'a Value)> {
    now.iter().filter(|(name, value)| carried.get(*name) != Some(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_in_use_is_not_set_back() {
        let value = Value { last_value: 7, is_called: true };
        assert_eq!(
            set("\"s\".\"q\"", value, Carry::Exact),
            "SELECT pg_catalog.setval('\"s\".\"q\"'::pg_catalog.regclass, 7, true)"
        );
        assert!(set("\"s\".\"q\"", value, Carry::Forward).contains("(7, true) > (d.last_value, d.is_called)"));
    }

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
