//! Whether two databases hold the same rows, as the servers themselves count and hash them.
//!
//! A table's digest is its row count and the sum of a 64-bit piece of `md5(ROW(…)::text)` over its rows. It does not depend on
//! their order, and a doubled row changes it, which an XOR would not notice. `md5` is the one hash that every version has.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tokio_postgres::Client;

use crate::cluster::{Cluster, rows};
use crate::controller::{ident, literal};
use crate::error::{Error, Result};

/// Text forms that do not depend on a server's settings.
const PIN: &str = "SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET timezone = 'UTC'; SET bytea_output = 'hex';
    SET lc_monetary = 'C'; SET xmloption = 'content'; SET search_path = pg_catalog; SET statement_timeout = '120s';";

/// Tables that hold rows: ordinary ones and the leaves of partition trees, without those of extensions.
const TABLES: &str = r"
SELECT n.nspname, c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'p'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\_toast%' AND n.nspname NOT LIKE 'pg\_temp%'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2";

/// How many differing rows an explanation shows of each side.
const SAMPLE: usize = 5;

/// A table's rows in two numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// `count(*)`.
    pub rows: u64,
    /// The sum of the rows' hashes.
    pub hash: String,
}

/// The digest of every table of a database, by schema and name.
pub async fn digests(cluster: &Cluster, database: &str) -> Result<BTreeMap<(String, String), Digest>> {
    let client = connect(cluster, database).await?;
    let mut digests = BTreeMap::new();
    for table in rows(&client, TABLES).await? {
        let (schema, name) = (table[0].clone(), table[1].clone());
        let row = row_expression(&client, &schema, &name).await?;
        let sql = format!(
            "SELECT count(*), coalesce(sum(('x' || substr(md5({row}), 1, 16))::bit(64)::bigint::numeric), 0) FROM ONLY {}.{} t",
            ident(&schema),
            ident(&name)
        );
        let found = rows(&client, &sql).await?;
        let [count, hash] = found[0].as_slice() else {
            return Err(Error::Broken(format!("no digest came for {schema}.{name}")));
        };
        let count = count.parse().map_err(|_| Error::Broken(format!("{count} is not a row count")))?;
        digests.insert((schema, name), Digest { rows: count, hash: hash.clone() });
    }
    Ok(digests)
}

/// Every table of a database is there on both sides with the same rows. Gives the digests; a difference is an error that
/// names the tables and shows some of the rows.
pub async fn equal(source: &Cluster, destination: &Cluster, database: &str) -> Result<BTreeMap<(String, String), Digest>> {
    equal_under_names(source, database, destination, database).await
}

/// [`equal`], where the databases have different names.
pub async fn equal_under_names(
    source: &Cluster,
    source_database: &str,
    destination: &Cluster,
    destination_database: &str,
) -> Result<BTreeMap<(String, String), Digest>> {
    let (ours, theirs) = tokio::try_join!(digests(source, source_database), digests(destination, destination_database))?;
    if ours.is_empty() {
        return Err(Error::Broken(format!("database {source_database:?} has no tables: nothing was compared")));
    }
    let mut differences = String::new();
    for (table, digest) in &ours {
        match theirs.get(table) {
            Some(other) if other == digest => {}
            Some(other) => {
                // Writing to a String can't fail.
                let _ = writeln!(
                    differences,
                    "{}.{}: {} rows on the source, {} on the destination",
                    table.0, table.1, digest.rows, other.rows
                );
                let explained = explain(source, source_database, destination, destination_database, table).await;
                differences.push_str(&explained.unwrap_or_else(|error| format!("  (no samples: {error})\n")));
            }
            None => {
                let _ = writeln!(differences, "{}.{}: missing on the destination", table.0, table.1);
            }
        }
    }
    for table in theirs.keys().filter(|table| !ours.contains_key(*table)) {
        let _ = writeln!(differences, "{}.{}: only on the destination", table.0, table.1);
    }
    if differences.is_empty() {
        return Ok(ours);
    }
    Err(Error::Broken(format!("database {source_database:?} differs:\n{differences}")))
}

/// A sequence's `last_value` and `is_called`.
pub type SequenceState = (i64, bool);

/// Every sequence of a database, by schema and name.
pub async fn sequences(cluster: &Cluster, database: &str) -> Result<BTreeMap<(String, String), SequenceState>> {
    let client = connect(cluster, database).await?;
    let sql = "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S' ORDER BY 1, 2";
    let mut states = BTreeMap::new();
    for sequence in rows(&client, sql).await? {
        let state =
            rows(&client, &format!("SELECT last_value, is_called FROM {}.{}", ident(&sequence[0]), ident(&sequence[1]))).await?;
        let value = state[0][0].parse().map_err(|_| Error::Broken(format!("{} is not a sequence value", state[0][0])))?;
        states.insert((sequence[0].clone(), sequence[1].clone()), (value, state[0][1] == "t"));
    }
    Ok(states)
}

/// Every ascending sequence of the source is there on the destination, at or past the source's next value.
pub async fn sequences_at_or_past(source: &Cluster, destination: &Cluster, database: &str) -> Result<usize> {
    let (ours, theirs) = tokio::try_join!(sequences(source, database), sequences(destination, database))?;
    let next = |(value, called): SequenceState| value + i64::from(called);
    let behind: Vec<String> = ours
        .iter()
        .filter(|(name, state)| theirs.get(*name).is_none_or(|other| next(*other) < next(**state)))
        .map(|(name, state)| format!("{}.{}: {state:?} on the source, {:?} on the destination", name.0, name.1, theirs.get(name)))
        .collect();
    if behind.is_empty() {
        return Ok(ours.len());
    }
    Err(Error::Broken(format!("sequences of {database:?} are behind:\n{}", behind.join("\n"))))
}

async fn connect(cluster: &Cluster, database: &str) -> Result<Client> {
    let client = cluster.connect(database).await?;
    // Versions before 12 print floats rounded unless told otherwise.
    let digits = if cluster.major() < 12 { 3 } else { 1 };
    rows(&client, &format!("{PIN} SET extra_float_digits = {digits};")).await?;
    Ok(client)
}

/// The text form of a row: all columns by name, so that dropped columns and the physical order do not matter. Floats go in
/// their binary form, since their text form changed in version 12.
async fn row_expression(client: &Client, schema: &str, name: &str) -> Result<String> {
    let sql = format!(
        "SELECT a.attname, coalesce(nullif(y.typbasetype, 0), y.oid)::regtype FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_type y ON y.oid = a.atttypid
         WHERE n.nspname = {} AND c.relname = {} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname::text COLLATE \"C\"",
        literal(schema),
        literal(name)
    );
    let columns: Vec<String> = rows(client, &sql)
        .await?
        .iter()
        .map(|column| {
            let reference = format!("t.{}", ident(&column[0]));
            match column[1].as_str() {
                "real" => format!("float4send({reference})"),
                "double precision" => format!("float8send({reference})"),
                "real[]" | "double precision[]" => format!("array_send({reference})"),
                "point" => format!("point_send({reference})"),
                _ => reference,
            }
        })
        .collect();
    Ok(format!("ROW({})::text", columns.join(", ")))
}

/// The rows of one side that the other lacks, and the other way round.
async fn explain(
    source: &Cluster,
    source_database: &str,
    destination: &Cluster,
    destination_database: &str,
    table: &(String, String),
) -> Result<String> {
    let ours = row_texts(source, source_database, table).await?;
    let theirs = row_texts(destination, destination_database, table).await?;
    let mut text = String::new();
    for (label, left, right) in [("source", &ours, &theirs), ("destination", &theirs, &ours)] {
        let surplus = left.iter().filter(|(row, count)| right.get(*row).is_none_or(|other| other < *count));
        for (row, count) in surplus.take(SAMPLE) {
            let shown: String = row.chars().take(300).collect();
            let _ = writeln!(text, "  more on the {label} ({count}): {shown}");
        }
    }
    Ok(text)
}

async fn row_texts(cluster: &Cluster, database: &str, table: &(String, String)) -> Result<BTreeMap<String, u64>> {
    let client = connect(cluster, database).await?;
    let row = row_expression(&client, &table.0, &table.1).await?;
    let sql = format!("SELECT {row}, count(*) FROM ONLY {}.{} t GROUP BY 1 LIMIT 300000", ident(&table.0), ident(&table.1));
    let mut texts = BTreeMap::new();
    for found in rows(&client, &sql).await? {
        texts.insert(found[0].clone(), found[1].parse().unwrap_or(0));
    }
    Ok(texts)
}
