//! The destination plans well from its first second: it knows of its rows what the source knew.

use std::time::Duration;

use pg_migrator_tests::controller::CONTROL;
use pg_migrator_tests::databases::{SHOP, SMALL, Sample};
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT};
use pg_migrator_tests::{Cluster, Controller, Pair, Result};

/// Tables with extended statistics are analysed on the destination: those can't be carried. Old servers print fewer digits.
const STATISTICS: &str = "
    SET extra_float_digits = 0;
    SELECT s.schemaname, s.tablename, s.attname, s.inherited, s.null_frac, s.avg_width, s.n_distinct, s.most_common_vals,
           s.most_common_freqs, s.histogram_bounds, s.correlation, s.most_common_elems, s.most_common_elem_freqs, s.elem_count_histogram
    FROM pg_stats s
    WHERE s.schemaname NOT IN ('pg_catalog', 'information_schema')
      AND NOT EXISTS (SELECT FROM pg_statistic_ext e WHERE e.stxrelid = format('%I.%I', s.schemaname, s.tablename)::regclass)
    ORDER BY s.schemaname::text COLLATE \"C\", s.tablename::text COLLATE \"C\", s.attname::text COLLATE \"C\", s.inherited";
const ROWS: &str = "
    SELECT c.oid::regclass, c.reltuples FROM pg_class c
    WHERE c.relkind = 'r' AND c.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema') AND c.reltuples > 0
    ORDER BY c.oid::regclass::text COLLATE \"C\"";

async fn arrive(major: u32, sample: Sample) -> Result<()> {
    // Nobody but pg-migrator may bring statistics.
    let (source, destination) =
        tokio::try_join!(Cluster::of(major).set("autovacuum", "off").start(), Cluster::of(18).set("autovacuum", "off").start())?;
    let pair = Pair { source, destination };
    sample.load(&pair.source, "db", 3).await?;
    pair.source.run("db", "ANALYZE").await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    // The checks may have been made while the last of it was on its way.
    tokio::time::sleep(Duration::from_secs(1)).await;

    let (old, new) = tokio::try_join!(pair.source.rows("db", STATISTICS), pair.destination.rows("db", STATISTICS))?;
    assert!(old.len() > 10, "the source has statistics");
    for row in &old {
        let found = new.iter().find(|other| other[..4] == row[..4]);
        assert_eq!(found, Some(row), "from PostgreSQL {major}");
    }
    let (old, new) = tokio::try_join!(pair.source.rows("db", ROWS), pair.destination.rows("db", ROWS))?;
    assert_eq!(old, new, "rows, from PostgreSQL {major}");
    let left = pair.destination.value(CONTROL, "SELECT count(*) FROM migrator.findings WHERE code = 'statistics_left'").await?;
    assert_eq!(left, "0", "statistics left behind, from PostgreSQL {major}");
    Ok(())
}

#[tokio::test]
async fn statistics_arrive_with_the_rows() -> Result<()> {
    arrive(15, SHOP).await
}

#[tokio::test]
async fn statistics_arrive_from_the_oldest_and_from_a_new_server() -> Result<()> {
    arrive(10, SMALL).await?;
    arrive(17, SHOP).await
}
