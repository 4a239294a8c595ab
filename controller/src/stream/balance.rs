//! Which stream a table goes into: each to the one that has the least to do, by how much is written to it.

use std::collections::HashMap;

use tokio_postgres::Client;

use crate::copy::Table;

/// How much a table's size counts beside its writes: so little that it decides only between tables that nobody writes to.
const SIZE_SHARE: f64 = 0.05;
/// What any table counts, so that tables without rows and writes are spread as well.
const ANY_TABLE: f64 = 1e-9;

/// Rows written to each table, by its OID, since the source's statistics were reset.
pub async fn writes(source: &Client) -> Result<HashMap<u32, i64>, tokio_postgres::Error> {
    let rows = source.query(include_str!("writes.sql"), &[]).await?;
    Ok(rows.iter().map(|row| (row.get("oid"), row.get("written"))).collect())
}

/// The stream of each table, in the tables' order: what is published stays where it is (`published` gives the stream of a
/// table's OID), the others go, heaviest first, to the stream with the least load.
pub fn assign(
    tables: &[Table],
    writes: &HashMap<u32, i64>,
    published: impl Fn(u32) -> Option<usize>,
    streams: usize,
) -> Vec<usize> {
    let written = |table: &Table| writes.get(&table.oid).copied().unwrap_or(0).max(0) as f64;
    let (all_writes, all_bytes) =
        tables.iter().fold((0.0, 0.0), |(writes, bytes), t| (writes + written(t), bytes + t.bytes.max(0) as f64));
    let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
    let weights: Vec<f64> = tables
        .iter()
        .map(|t| share(written(t), all_writes) + SIZE_SHARE * share(t.bytes.max(0) as f64, all_bytes) + ANY_TABLE)
        .collect();
    let mut loads = vec![0.0; streams.max(1)];
    let mut chosen: Vec<Option<usize>> = tables.iter().map(|t| published(t.oid).filter(|s| *s < loads.len())).collect();
    for (stream, weight) in chosen.iter().zip(&weights) {
        if let Some(stream) = stream {
            loads[*stream] += weight;
        }
    }
    let mut open: Vec<usize> = (0..tables.len()).filter(|i| chosen[*i].is_none()).collect();
    open.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]).then(a.cmp(b)));
    for i in open {
        let least = (0..loads.len()).min_by(|a, b| loads[*a].total_cmp(&loads[*b])).unwrap_or_default();
        loads[least] += weights[i];
        chosen[i] = Some(least);
    }
    chosen.into_iter().map(Option::unwrap_or_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::table::sample;

    fn table(oid: u32, bytes: i64) -> Table {
        Table { oid, ..sample(&format!("t{oid}"), bytes) }
    }

    #[test]
    fn the_most_written_tables_are_apart_whatever_their_size() {
        let tables = [table(1, 1), table(2, 1_000_000), table(3, 1), table(4, 10)];
        let writes = HashMap::from([(1, 500), (3, 400), (4, 80)]);
        let streams = assign(&tables, &writes, |_| None, 2);
        assert_ne!(streams[0], streams[2]);
        assert_eq!(streams[3], streams[2], "the third goes to the lighter of both");
    }

    #[test]
    fn without_writes_size_decides_and_without_size_number() {
        let tables = [table(1, 100), table(2, 90), table(3, 20)];
        assert_eq!(assign(&tables, &HashMap::new(), |_| None, 2), [0, 1, 1]);
        let empty: Vec<Table> = (1..=6).map(|oid| table(oid, 0)).collect();
        let streams = assign(&empty, &HashMap::new(), |_| None, 3);
        assert!((0..3).all(|s| streams.iter().filter(|t| **t == s).count() == 2), "{streams:?}");
    }

    #[test]
    fn a_published_table_stays_and_a_new_one_goes_to_the_least_loaded() {
        let tables = [table(1, 0), table(2, 0), table(3, 0)];
        let writes = HashMap::from([(1, 900), (2, 100), (3, 50)]);
        let published = |oid| [(1, 1), (2, 0)].iter().find(|(o, _)| *o == oid).map(|(_, s)| *s);
        assert_eq!(assign(&tables, &writes, published, 2), [1, 0, 0]);
    }

    #[test]
    fn one_stream_takes_all() {
        assert_eq!(assign(&[table(1, 5), table(2, 7)], &HashMap::new(), |_| None, 1), [0, 0]);
    }
}
