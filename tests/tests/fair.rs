//! Databases share the workers: what one has to do for long keeps no other one waiting.

use std::time::{Duration, Instant};

use pg_migrator_tests::controller::Mapping;
use pg_migrator_tests::databases::SMALL;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Controller, Pair, Result, compare};

/// More than could be built while the small database comes and streams, however fast or busy the machine is: each takes [`EACH`], since it
/// sleeps.
const INDEXES: u32 = 300;
const EACH: &str = "0.15";

/// What all indexes are of. On the source it takes no time.
fn function(seconds: &str) -> String {
    format!(
        "CREATE OR REPLACE FUNCTION public.slow(n integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
             IF pg_catalog.current_setting('server_version_num')::integer >= 180000 THEN PERFORM pg_catalog.pg_sleep({seconds}); END IF;
             RETURN n;
         END $$"
    )
}

#[tokio::test]
async fn a_small_database_streams_while_a_large_one_builds_index_after_index() -> Result<()> {
    let pair = Pair::start(15).await?;
    let (source, destination) = (&pair.source, &pair.destination);
    source.run("postgres", "CREATE DATABASE large").await?;
    source.run("large", &function(EACH)).await?;
    // Large enough for each index to be a piece of work of its own; and each has a single row.
    let rows = format!(
        "CREATE TABLE rows (id integer, t text);
         ALTER TABLE rows ALTER t SET STORAGE PLAIN;
         INSERT INTO rows SELECT i, repeat('x', 7500) FROM generate_series(1, 400) i;
         DO $$ BEGIN FOR n IN 1..{INDEXES} LOOP EXECUTE format('CREATE INDEX i%s ON rows (slow(id + %s)) WHERE id = 1', n, n); END LOOP; END $$"
    );
    source.run("large", &rows).await?;
    let mapping = Mapping::bare(MAPPING, "erp_old", "erp_new").line("copy_workers = 1\nindex_workers = 1");
    let mut controller = Controller::started(&pair.instances().mapping(&mapping).tick("100ms"))?;
    let until = async |database: &str, condition: &str| {
        let begun = Instant::now();
        while !destination.value(database, &format!("SELECT {condition}")).await.is_ok_and(|answer| answer == "t") {
            assert!(begun.elapsed() < READY_LIMIT, "never came: {condition}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    until("postgres", "EXISTS (SELECT FROM pg_stat_progress_create_index WHERE datname = 'large')").await;
    // Only now does the other one come.
    SMALL.load(source, "small", 1).await?;
    until(
        "small",
        "(SELECT bool_and(subenabled) FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid WHERE datname = 'small')",
    )
    .await;
    let built = "SELECT count(*) FROM pg_index WHERE indrelid = 'rows'::regclass AND indisvalid";
    let built: u32 = destination.value("large", built).await?.parse().unwrap_or(INDEXES);
    println!("{built} of {INDEXES} indexes were built meanwhile");
    assert!((1..INDEXES).contains(&built), "{built} of {INDEXES} indexes were built when the small database was");
    // The rest need not take as long.
    destination.run("large", &function("0")).await?;

    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
    drained(source).await?;
    for database in ["large", "small"] {
        compare::equal(source, destination, database).await?;
    }
    Ok(())
}
