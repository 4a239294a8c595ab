//! Which rows the destination lacks, by their keys, while everybody writes.
//!
//! The keys of both sides are compared by digests of buckets, those of the buckets that differ one by one. What then seems to be lacking may
//! be on its way still: so it is looked for once more on the source, and, when all that was committed by then has been applied, on the
//! destination.

use std::collections::{BTreeSet, HashMap};

use super::digest::{self, Column, Hash};
use super::{Doubt, Error, Pair, failed};
use crate::postgres::quote;
use crate::stream::Names;

/// So many buckets are looked into: some of the keys are enough.
const BUCKETS_LOOKED_INTO: usize = 16;
/// So many keys are told.
const KEYS_TOLD: usize = 5;

/// Rows that the destination lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// The table, `schema.name`.
    pub table: String,
    /// The columns of its key; none if it has no key.
    pub columns: Vec<String>,
    /// Some of the keys.
    pub keys: Vec<String>,
}

impl Lacking {
    /// In words: `app.people lacks (id) = (7), (8)`.
    pub fn words(&self) -> String {
        if self.keys.is_empty() {
            return format!("{} is not equal", self.table);
        }
        let more = if self.keys.len() > KEYS_TOLD { ", and more" } else { "" };
        let keys: Vec<&str> = self.keys.iter().take(KEYS_TOLD).map(String::as_str).collect();
        format!("{} lacks ({}) = {}{more}", self.table, self.columns.join(", "), keys.join(", "))
    }
}

/// The statements that look for keys.
struct Statements {
    buckets: String,
    keys: String,
    there: String,
}

fn statements(hash: Hash, doubt: &Doubt, columns: &[Column]) -> Statements {
    let key = digest::text(columns);
    let hashed = hash.of(&key);
    let bucket = format!("({hashed} & 1023)::pg_catalog.int4");
    let table = quote::qualified(&doubt.schema, &doubt.name);
    Statements {
        buckets: format!(
            "SELECT {bucket}, pg_catalog.count(*), pg_catalog.sum({hashed})::pg_catalog.text FROM ONLY {table} AS r GROUP BY 1"
        ),
        keys: format!("SELECT {key} FROM ONLY {table} AS r WHERE {bucket} = ANY ($1)"),
        there: format!("SELECT {key} FROM ONLY {table} AS r WHERE {key} = ANY ($1)"),
    }
}

type Buckets = HashMap<i32, (i64, String)>;

/// Some of the buckets whose keys are not the same, lowest first.
fn differing(ours: &Buckets, theirs: &Buckets) -> Vec<i32> {
    let all: BTreeSet<i32> = ours.keys().chain(theirs.keys()).copied().collect();
    all.into_iter().filter(|bucket| ours.get(bucket) != theirs.get(bucket)).take(BUCKETS_LOOKED_INTO).collect()
}

impl Pair {
    /// Looks for rows of a table that the source has and the destination lacks; none if there is none, or no key to know them by.
    pub async fn lacking(&self, streams: &[Names], doubt: &Doubt) -> Result<Lacking, Error> {
        let looking = "looking for rows that are missing";
        let row = self.source.query_one(include_str!("key.sql"), &[&doubt.oid]).await.map_err(failed(looking))?;
        let columns: Vec<String> = row.get("columns");
        let mut lacking = Lacking { table: doubt.label(), columns: columns.clone(), keys: Vec::new() };
        if columns.is_empty() {
            return Ok(lacking);
        }
        let all = digest::columns(&self.source, doubt.oid).await.map_err(failed(looking))?;
        let key: Vec<Column> = columns.iter().flat_map(|name| all.iter().filter(move |c| c.name == *name)).cloned().collect();
        let statements = statements(self.hash, doubt, &key);
        let buckets = async |session: &tokio_postgres::Client| {
            let rows = session.query(&statements.buckets, &[]).await?;
            Ok::<Buckets, tokio_postgres::Error>(rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect())
        };
        let (ours, theirs) = tokio::try_join!(buckets(&self.source), buckets(&self.destination)).map_err(failed(looking))?;
        let differing = differing(&ours, &theirs);
        let keys = async |session: &tokio_postgres::Client| {
            let rows = session.query(&statements.keys, &[&differing]).await?;
            Ok::<BTreeSet<String>, tokio_postgres::Error>(rows.iter().map(|row| row.get(0)).collect())
        };
        let (ours, theirs) = tokio::try_join!(keys(&self.source), keys(&self.destination)).map_err(failed(looking))?;
        let candidates: Vec<&String> = ours.difference(&theirs).collect();
        if candidates.is_empty() {
            return Ok(lacking);
        }
        let there = async |session: &tokio_postgres::Client| {
            let rows = session.query(&statements.there, &[&candidates]).await?;
            Ok::<BTreeSet<String>, tokio_postgres::Error>(rows.iter().map(|row| row.get(0)).collect())
        };
        let ours = there(&self.source).await.map_err(failed(looking))?;
        if self.has_caught_up(streams).await? {
            let theirs = there(&self.destination).await.map_err(failed(looking))?;
            lacking.keys = ours.difference(&theirs).cloned().collect();
        }
        Ok(lacking)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_buckets_that_differ_are_looked_into() {
        let buckets = |list: &[(i32, i64)]| -> Buckets { list.iter().map(|(b, n)| (*b, (*n, n.to_string()))).collect() };
        assert_eq!(differing(&buckets(&[(1, 5), (2, 7), (9, 1)]), &buckets(&[(1, 5), (2, 6), (4, 1)])), [2, 4, 9]);
    }

    #[test]
    fn some_keys_are_told_and_of_a_table_without_key_its_name() {
        let mut lacking = Lacking { table: "a.b".into(), columns: vec!["id".into()], keys: vec!["(5)".into(), "(7)".into()] };
        assert_eq!(lacking.words(), "a.b lacks (id) = (5), (7)");
        lacking.keys = (1..=6).map(|i| format!("({i})")).collect();
        assert!(lacking.words().ends_with("(5), and more"));
        lacking.keys.clear();
        assert_eq!(lacking.words(), "a.b is not equal");
    }
}
