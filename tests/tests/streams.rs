//! A database's tables over several streams: as exact as with one, through kills, up to the cutover and the cleanup.

use std::time::Duration;

use pg_migrator_tests::controller::{CONTROL, Mapping};
use pg_migrator_tests::databases::{SHOP, WEIRD};
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{ConfigFile, Controller, Pair, Result, compare};

const DATABASES: [&str; 2] = ["shop", "We ird-DB"];
const STREAMS: usize = 4;

fn config(pair: &Pair, streams: usize) -> ConfigFile {
    pair.instances().mapping(&Mapping::new(MAPPING, "erp_old", "erp_new").line(&format!("streams = {streams}")))
}

#[tokio::test]
async fn four_streams_a_database_are_exact_through_kills_and_leave_nothing() -> Result<()> {
    let pair = Pair::start(15).await?;
    SHOP.load(&pair.source, DATABASES[0], 4).await?;
    WEIRD.load(&pair.source, DATABASES[1], 1).await?;
    let pause = Duration::from_millis(10);
    let writers =
        [SHOP.write(&pair.source, DATABASES[0], 1, pause).await?, WEIRD.write(&pair.source, DATABASES[1], 2, pause).await?];

    let mut controller = Controller::new(&config(&pair, STREAMS))?;
    // Killed when the first subscription is there, when some tables are attached, and when the first stream runs.
    for moment in [
        "SELECT count(*) > 0 FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid WHERE datname = 'shop'",
        "SELECT count(*) > 5 FROM pg_subscription_rel",
        "SELECT bool_or(subenabled) FROM pg_subscription",
    ] {
        controller.start()?;
        await_in_shop(&pair, moment).await?;
        controller.kill()?;
    }
    // Another number in the configuration changes nothing for databases that have theirs.
    controller = Controller::started(&config(&pair, 2))?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    let told = "SELECT count(*) FROM migrator.findings WHERE code = 'streams_differ' AND resolved_at IS NULL";
    assert_eq!(pair.destination.value(CONTROL, told).await?, DATABASES.len().to_string());

    for database in DATABASES {
        every_table_is_in_one_stream(&pair, database).await?;
    }
    let running = "SELECT count(DISTINCT subid) FROM pg_stat_subscription WHERE pid IS NOT NULL";
    assert_eq!(pair.destination.value("postgres", running).await?, (STREAMS * DATABASES.len()).to_string());

    // One table anew stops its own stream and no other.
    let attached = "SELECT string_agg(oid::text, ',' ORDER BY oid) FROM pg_subscription
                    WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let subscriptions = pair.destination.value("shop", attached).await?;
    controller.must(&["resync", MAPPING, "shop.shop.customers"]).await?;
    controller.wait_for(&pair.destination, "(SELECT bool_and(state = 'streaming') FROM migrator.tables)", READY_LIMIT).await?;
    assert_eq!(pair.destination.value("shop", attached).await?, subscriptions);

    for workload in writers {
        workload.stop().await?;
    }
    drained(&pair.source).await?;
    for database in DATABASES {
        compare::equal(&pair.source, &pair.destination, database).await?;
    }
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    controller.must(&["complete", MAPPING]).await?;
    for database in DATABASES {
        compare::equal(&pair.source, &pair.destination, database).await?;
        compare::sequences_at_or_past(&pair.source, &pair.destination, database).await?;
        assert_eq!(pair.source.value(database, "SELECT count(*) FROM pg_publication").await?, "0");
    }
    assert_eq!(pair.source.value("postgres", "SELECT count(*) FROM pg_replication_slots").await?, "0");
    for catalog in ["pg_subscription", "pg_replication_origin"] {
        let left = pair.destination.value("postgres", &format!("SELECT count(*) FROM {catalog}")).await?;
        assert_eq!(left, "0", "rows left in {catalog}");
    }
    Ok(())
}

async fn await_in_shop(pair: &Pair, condition: &str) -> Result<()> {
    let begun = std::time::Instant::now();
    while !pair.destination.value("shop", condition).await.is_ok_and(|answer| answer == "t") {
        assert!(begun.elapsed() < READY_LIMIT, "never came: {condition}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// The source's publications part the tables, with the most written ones apart, and the subscriptions follow them.
async fn every_table_is_in_one_stream(pair: &Pair, database: &str) -> Result<()> {
    let published =
        "SELECT p.pubname || ' ' || r.prrelid::regclass FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
                     ORDER BY r.prrelid::regclass::text COLLATE \"C\"";
    let attached = "SELECT s.subpublications[1] || ' ' || r.srrelid::regclass FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid
                    ORDER BY r.srrelid::regclass::text COLLATE \"C\"";
    let tables = pair.source.column(database, published).await?;
    assert_eq!(tables, pair.destination.column(database, attached).await?, "{database}");
    let all = "SELECT count(DISTINCT prrelid) = count(*) AND count(DISTINCT prpubid) = 4 FROM pg_publication_rel";
    assert_eq!(pair.source.value(database, all).await?, "t", "each table once, and in all four publications some: {tables:?}");
    Ok(())
}

#[tokio::test]
async fn a_truncate_that_only_one_of_two_streams_could_carry_costs_one_table_alone() -> Result<()> {
    let pair = Pair::start(14).await?;
    let (source, destination) = (&pair.source, &pair.destination);
    source.run("postgres", "CREATE DATABASE two").await?;
    let tables = "CREATE TABLE parent (id integer PRIMARY KEY, v text);
                  CREATE TABLE child (id integer PRIMARY KEY, parent integer NOT NULL REFERENCES parent);
                  INSERT INTO parent SELECT i, md5(i::text) FROM generate_series(1, 1000) i;
                  INSERT INTO child SELECT i, i FROM generate_series(1, 1000) i";
    source.run("two", tables).await?;
    let mut controller = Controller::started(&config(&pair, 2))?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
    assert_eq!(source.value("two", "SELECT count(DISTINCT prpubid) FROM pg_publication_rel").await?, "2");

    // The foreign key is in the way of the parent's stream, whatever the child's does.
    source.run("two", "TRUNCATE parent, child; INSERT INTO parent VALUES (1, 'anew'); INSERT INTO child VALUES (1, 1)").await?;
    let told =
        "EXISTS (SELECT FROM migrator.findings WHERE resolved_at IS NULL AND code = 'apply_conflict' AND object = 'public.parent'
                        AND reason LIKE '%cannot truncate a table referenced in a foreign key constraint%')";
    controller.wait_for(destination, told, READY_LIMIT).await?;
    source.run("two", "INSERT INTO parent VALUES (2, 'more'); INSERT INTO child VALUES (2, 2)").await?;
    drained(source).await?;
    assert_eq!(destination.value("two", "SELECT count(*) FROM child").await?, "2", "the child's stream goes on");
    controller.must(&["resync", MAPPING, "two.public.parent"]).await?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
    drained(source).await?;
    compare::equal(source, destination, "two").await?;
    Ok(())
}
