//! A database's tables over several streams: as exact as with one, through kills, up to the cutover and the cleanup.

use std::time::Duration;

use pg_migrator_tests::controller::{CONTROL, Mapping};
use pg_migrator_tests::databases::{SHOP, SMALL, WEIRD};
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Cluster, ConfigFile, Controller, Pair, Result, compare};

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
        await_in(&pair, "shop", moment).await?;
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

/// Waits until a query on the destination gives true; the database may not be there yet.
async fn await_in(pair: &Pair, database: &str, condition: &str) -> Result<()> {
    let begun = std::time::Instant::now();
    while !pair.destination.value(database, condition).await.is_ok_and(|answer| answer == "t") {
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

#[tokio::test]
async fn a_stream_follows_the_source_while_the_tables_of_another_are_still_being_copied() -> Result<()> {
    let pair = Pair::start(15).await?;
    let (source, destination) = (&pair.source, &pair.destination);
    source.run("postgres", "CREATE DATABASE uneven").await?;
    // At the rate below the large one takes about eight seconds.
    let tables = "CREATE TABLE little (id integer PRIMARY KEY, t text); CREATE INDEX ON little (t);
                  CREATE TABLE large (id integer PRIMARY KEY, t text);
                  INSERT INTO little SELECT i, md5(i::text) FROM generate_series(1, 100) i;
                  INSERT INTO large SELECT i, repeat(md5(i::text), 32) FROM generate_series(1, 16000) i";
    source.run("uneven", tables).await?;
    let mapping = Mapping::new(MAPPING, "erp_old", "erp_new").line("streams = 2\nrate_limit = \"2MB\"\nsplit_above = 1000000000");
    let mut controller = Controller::started(&pair.instances().mapping(&mapping))?;
    let copying = "NOT EXISTS (SELECT FROM pg_subscription_rel WHERE srrelid = 'large'::regclass)
                   AND EXISTS (SELECT FROM pg_stat_progress_copy WHERE relid = 'large'::regclass)";
    let runs = "EXISTS (SELECT FROM pg_stat_subscription w JOIN pg_subscription_rel r ON r.srsubid = w.subid
                        WHERE w.pid IS NOT NULL AND r.srrelid = 'little'::regclass)";
    await_in(&pair, "uneven", &format!("SELECT {runs} AND {copying}")).await?;
    // It begins with all that its tables have on the source.
    let built = "SELECT count(*) FROM pg_index WHERE indrelid = 'little'::regclass";
    assert_eq!(destination.value("uneven", built).await?, "2");
    source
        .run(
            "uneven",
            "INSERT INTO little VALUES (1000, 'meanwhile'); UPDATE little SET t = 'changed' WHERE id = 7;
             UPDATE large SET t = 'changed' WHERE id % 100 = 0; DELETE FROM large WHERE id % 1000 = 1",
        )
        .await?;
    let followed = "(SELECT count(*) = 2 FROM little WHERE t IN ('meanwhile', 'changed'))";
    await_in(&pair, "uneven", &format!("SELECT {followed}")).await?;
    assert_eq!(destination.value("uneven", &format!("SELECT {copying}")).await?, "t", "the other one was to be still under way");
    // What the first stream has applied, the source need not keep for it any more.
    let confirmed = "SELECT count(*) FROM pg_replication_slots s WHERE NOT temporary AND active AND confirmed_flush_lsn >
                     (SELECT min(confirmed_flush_lsn) FROM pg_replication_slots WHERE NOT temporary AND NOT active)";
    assert_eq!(source.value("postgres", confirmed).await?, "1");
    assert_eq!(destination.value(CONTROL, "SELECT migrator.cutover_ready('erp')").await?, "f");

    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
    drained(source).await?;
    compare::equal(source, destination, "uneven").await.map(drop)
}

#[tokio::test]
async fn a_stream_that_fails_while_the_tables_of_another_are_still_being_copied_goes_on_without_what_it_fails_at() -> Result<()> {
    let pair = Pair::start(15).await?;
    let (source, destination) = (&pair.source, &pair.destination);
    source.run("postgres", "CREATE DATABASE uneven").await?;
    // At the rate below the large one takes half a minute: nobody waits for that.
    let tables = "CREATE TABLE little (id integer PRIMARY KEY, t text);
                  CREATE TABLE large (id integer PRIMARY KEY, t text);
                  INSERT INTO little SELECT i, md5(i::text) FROM generate_series(1, 100) i;
                  INSERT INTO large SELECT i, repeat(md5(i::text), 32) FROM generate_series(1, 60000) i";
    source.run("uneven", tables).await?;
    let slow = Mapping::new(MAPPING, "erp_old", "erp_new").line("streams = 2\nrate_limit = \"2MB\"\nsplit_above = 1000000000");
    let mut controller = Controller::started(&pair.instances().mapping(&slow))?;
    let copying = "NOT EXISTS (SELECT FROM pg_subscription_rel WHERE srrelid = 'large'::regclass)
                   AND EXISTS (SELECT FROM pg_stat_progress_copy WHERE relid = 'large'::regclass)";
    let runs = "EXISTS (SELECT FROM pg_stat_subscription w JOIN pg_subscription_rel r ON r.srsubid = w.subid
                        WHERE w.pid IS NOT NULL AND r.srrelid = 'little'::regclass)";
    await_in(&pair, "uneven", &format!("SELECT {runs} AND {copying}")).await?;
    let lag = "(SELECT lag_bytes IS NOT NULL FROM migrator.databases)";
    controller.wait_for(destination, lag, READY_LIMIT).await?;
    destination.run("uneven", "INSERT INTO little VALUES (1000, 'planted')").await?;
    source.run("uneven", "INSERT INTO little VALUES (1000, 'collides')").await?;
    let told =
        "EXISTS (SELECT FROM migrator.findings WHERE resolved_at IS NULL AND code = 'apply_conflict' AND object = 'public.little'
                               AND reason LIKE '%(id) = (1000)%')";
    controller.wait_for(destination, told, READY_LIMIT).await?;
    // It is enabled again, and gets past the change.
    let marker = source.value("uneven", "SELECT pg_logical_emit_message(false, 'scenario', 'after the conflict')").await?;
    let goes_on =
        format!("SELECT EXISTS (SELECT FROM pg_replication_slots WHERE NOT temporary AND confirmed_flush_lsn >= '{marker}')");
    let begun = std::time::Instant::now();
    while source.value("postgres", &goes_on).await? != "t" {
        assert!(begun.elapsed() < READY_LIMIT, "the stream stands still: {}", controller.report(destination).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(destination.value("uneven", &format!("SELECT {copying}")).await?, "t", "the other one was to be still under way");

    // With no limit the rest follows.
    controller.kill()?;
    let mut controller = Controller::started(&config(&pair, 2))?;
    controller.wait_for(destination, "(SELECT tables_synced = 1 FROM migrator.databases)", READY_LIMIT).await?;
    controller.must(&["resync", MAPPING, "uneven.public.little"]).await?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
    drained(source).await?;
    compare::equal(source, destination, "uneven").await.map(drop)
}

#[tokio::test]
async fn a_stream_whose_slot_is_gone_is_copied_again_alone() -> Result<()> {
    let pair = Pair::start(15).await?;
    let (source, destination) = (&pair.source, &pair.destination);
    SMALL.load(source, "small", 1).await?;
    let writers = SMALL.write(source, "small", 1, Duration::from_millis(20)).await?;
    let mut controller = Controller::started(&config(&pair, 2))?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;

    // The walsender's slot is free for a moment when it is ended.
    let gone = "SELECT NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name LIKE '%\\_s2')";
    let end = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name LIKE '%\\_s2' AND active";
    let drop_it = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE '%\\_s2'";
    for attempt in 0.. {
        source.run("postgres", end).await?;
        // It may be in use again already.
        let _ = source.run("postgres", drop_it).await;
        if source.value("postgres", gone).await? == "t" {
            break;
        }
        assert!(attempt < 500, "the slot could not be dropped");
    }
    lost_alone(&pair, &mut controller, "slot_gone").await?;
    writers.stop().await?;
    drained(source).await?;
    compare::equal(source, destination, "small").await.map(drop)
}

#[tokio::test]
async fn a_stream_whose_log_is_gone_is_copied_again_alone() -> Result<()> {
    let source = Cluster::of(15).set("max_slot_wal_keep_size", "40MB").set("min_wal_size", "32MB").set("max_wal_size", "64MB");
    let (source, destination) = tokio::try_join!(source.start(), Cluster::start(18))?;
    let pair = Pair { source, destination };
    let (source, destination) = (&pair.source, &pair.destination);
    SMALL.load(source, "small", 1).await?;
    let writers = SMALL.write(source, "small", 1, Duration::from_millis(20)).await?;
    let mut controller = Controller::started(&config(&pair, 2))?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;

    // One of the two stands still while nobody looks, and the source discards what it still needs.
    controller.kill()?;
    let second = destination.value("small", "SELECT subname FROM pg_subscription WHERE subname LIKE '%\\_s2'").await?;
    destination.run("small", &format!("ALTER SUBSCRIPTION {second} DISABLE")).await?;
    let lost = "SELECT bool_or(wal_status = 'lost') FROM pg_replication_slots WHERE slot_name LIKE '%\\_s2'";
    let begun = std::time::Instant::now();
    while source.value("postgres", lost).await? != "t" {
        assert!(begun.elapsed() < READY_LIMIT, "nothing was discarded");
        source.run("postgres", "SELECT pg_switch_wal()").await?;
        // The other one confirms, so that it loses nothing.
        drained_but(source, "%\\_s2").await?;
        source.run("postgres", "CHECKPOINT").await?;
    }
    controller.start()?;
    lost_alone(&pair, &mut controller, "slot_lost").await?;
    writers.stop().await?;
    drained(source).await?;
    compare::equal(source, destination, "small").await.map(drop)
}

/// Waits until the slots whose names are not like this have confirmed what is written by now.
async fn drained_but(source: &Cluster, name: &str) -> Result<()> {
    let written = source.value("postgres", "SELECT pg_logical_emit_message(false, 'scenario', 'written')").await?;
    let behind = format!(
        "SELECT count(*) FROM pg_replication_slots WHERE slot_name NOT LIKE '{name}' AND NOT temporary AND confirmed_flush_lsn < '{written}'"
    );
    let begun = std::time::Instant::now();
    while source.value("postgres", &behind).await? != "0" {
        assert!(begun.elapsed() < READY_LIMIT, "the other stream stands still");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// The second stream's slot is of no use any more: it is told under this code, and by what is told its tables alone are copied again.
async fn lost_alone(pair: &Pair, controller: &mut Controller, code: &str) -> Result<()> {
    let (source, destination) = (&pair.source, &pair.destination);
    let told = format!(
        "EXISTS (SELECT FROM migrator.findings WHERE resolved_at IS NULL AND code = '{code}' AND object LIKE '%\\_s2'
                        AND fix LIKE '%this stream''s tables again, while the others go on%migrator.resync(''erp'', ''small'')%')
         AND (SELECT status = 'problematic' FROM migrator.databases)"
    );
    controller.wait_for(destination, &told, READY_LIMIT).await?;

    // What the lost stream carries is missed, what the other one carries arrives.
    let tables = |second: bool| {
        let is = if second { "LIKE" } else { "NOT LIKE" };
        format!(
            "SELECT string_agg(r.srrelid::regclass || ' ' || pg_relation_filenode(r.srrelid), ', ' ORDER BY r.srrelid::regclass::text)
             FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid WHERE s.subname {is} '%\\_s2'"
        )
    };
    let (kept, lost) = (destination.value("small", &tables(false)).await?, destination.value("small", &tables(true)).await?);
    let marker = "SELECT pg_logical_emit_message(false, 'scenario', 'after the loss')";
    let position = source.value("small", marker).await?;
    let goes_on = format!(
        "SELECT bool_and(confirmed_flush_lsn >= '{position}') FROM pg_replication_slots WHERE NOT temporary AND slot_name NOT LIKE '%\\_s2'"
    );
    let begun = std::time::Instant::now();
    while source.value("postgres", &goes_on).await? != "t" {
        assert!(begun.elapsed() < READY_LIMIT, "the other stream stands still: {}", controller.report(destination).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let worker = "SELECT pid FROM pg_stat_subscription w JOIN pg_subscription s ON s.oid = w.subid
                  WHERE w.pid IS NOT NULL AND s.subname NOT LIKE '%\\_s2'";
    let working = destination.value("small", worker).await?;

    controller.must(&["resync", MAPPING, "small"]).await?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
    assert_eq!(destination.value("small", &tables(false)).await?, kept, "tables of the other stream were copied as well");
    assert_ne!(destination.value("small", &tables(true)).await?, lost, "what was missed has not been copied again");
    assert_eq!(destination.value("small", worker).await?, working, "the other stream was stopped");
    Ok(())
}

#[tokio::test]
async fn a_table_that_is_missing_on_the_destination_holds_its_own_stream_alone() -> Result<()> {
    let pair = Pair::start(16).await?;
    let (source, destination) = (&pair.source, &pair.destination);
    source.run("postgres", "CREATE DATABASE two").await?;
    let tables = "CREATE TABLE one (id integer PRIMARY KEY, v text); CREATE TABLE other (id integer PRIMARY KEY, v text);
                  INSERT INTO one SELECT i, md5(i::text) FROM generate_series(1, 1000) i;
                  INSERT INTO other SELECT i, md5(i::text) FROM generate_series(1, 1000) i";
    source.run("two", tables).await?;
    let mut controller = Controller::started(&config(&pair, 2))?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;

    destination.run("two", "DROP TABLE one").await?;
    source.run("two", "INSERT INTO one VALUES (2000, 'held'); INSERT INTO other VALUES (2000, 'arrives')").await?;
    let told = "EXISTS (SELECT FROM migrator.findings WHERE resolved_at IS NULL AND severity = 'error' AND object || reason LIKE '%public.one%'
                               AND fix LIKE '%make the table on the destination again%')
                AND (SELECT status = 'problematic' FROM migrator.databases) AND NOT migrator.cutover_ready('erp')";
    controller.wait_for(destination, told, READY_LIMIT).await?;
    await_in(&pair, "two", "SELECT count(*) = 1 FROM other WHERE id = 2000").await?;
    source.run("two", "UPDATE other SET v = 'later' WHERE id = 2000").await?;
    await_in(&pair, "two", "SELECT v = 'later' FROM other WHERE id = 2000").await?;

    destination.run("two", "CREATE TABLE one (id integer PRIMARY KEY, v text)").await?;
    controller.must(&["resync", MAPPING, "two.public.one"]).await?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
    drained(source).await?;
    compare::equal(source, destination, "two").await.map(drop)
}
