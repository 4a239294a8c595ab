//! WAL that piles up on the source for a stream is seen coming, said, and acted on.

use std::time::Duration;

use pg_migrator_tests::controller::{CONTROL, Mapping};
use pg_migrator_tests::databases::{SMALL, megabytes};
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Cluster, ConfigFile, Controller, Error, Pair, Result, compare};

/// More than two segments: the log is kept by segments of 16 MB.
const LIMIT: u64 = 64_000_000;

fn guarded(pair: &Pair, policy: &str, more: &str) -> ConfigFile {
    let lines = format!("wal_limit = {LIMIT}\nwal_guard = \"{policy}\"\n{more}");
    pair.instances().mapping(&Mapping::new(MAPPING, "erp_old", "erp_new").line(&lines))
}

/// Writes so many megabytes of log that concern no table.
async fn write_log(source: &Cluster, megabytes: u32) -> Result<()> {
    let sql = format!(
        "SELECT count(pg_logical_emit_message(false, 'scenario', repeat('x', 1000000))) FROM generate_series(1, {megabytes})"
    );
    source.value("small", &sql).await.map(drop)
}

/// What the source itself says it keeps for our slot.
async fn kept(source: &Cluster) -> Result<u64> {
    let sql = "SELECT max(pg_current_wal_lsn() - restart_lsn)::bigint FROM pg_replication_slots WHERE NOT temporary";
    let text = source.value("postgres", sql).await?;
    text.parse().map_err(|_| Error::Broken(format!("the slot keeps {text}")))
}

#[tokio::test]
async fn a_slot_that_keeps_too_much_is_told_of_then_dropped_and_a_resync_begins_anew() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, "small", 1).await?;
    let mut controller = Controller::started(&guarded(&pair, "alert", ""))?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;

    // Somebody on the destination is in the stream's way.
    let blocker = pair.destination.connect("small").await?;
    let lock = "BEGIN; LOCK TABLE app.people IN SHARE ROW EXCLUSIVE MODE";
    let locking = |error| Error::Broken(format!("locking: {error}"));
    blocker.batch_execute(lock).await.map_err(locking)?;
    pair.source.run("small", "UPDATE app.people SET weight = 1").await?;
    write_log(&pair.source, 45).await?;
    let near = "(SELECT count(*) = 1 FROM migrator.findings WHERE code = 'wal_limit_near' AND resolved_at IS NULL)";
    controller.wait_for(&pair.destination, near, READY_LIMIT).await?;
    let shown = format!(
        "(SELECT wal_limit_bytes = {LIMIT} AND wal_retained_bytes BETWEEN {} AND {LIMIT} FROM migrator.databases)",
        kept(&pair.source).await? * 9 / 10
    );
    controller.wait_for(&pair.destination, &shown, READY_LIMIT).await?;
    let slots = "SELECT count(*) FROM pg_replication_slots";
    assert_eq!(pair.source.value("postgres", slots).await?, "1", "to tell is not to drop");

    // With the other policy the slot goes.
    controller.kill()?;
    let mut controller = Controller::started(&guarded(&pair, "drop_slot", ""))?;
    write_log(&pair.source, 25).await?;
    let dropped = "(SELECT d.status = 'problematic' AND f.fix LIKE '%migrator.resync(''erp'', ''small'')%'
                    FROM migrator.databases d JOIN migrator.findings f USING (mapping, database)
                    WHERE f.code = 'slot_dropped' AND f.resolved_at IS NULL)";
    controller.wait_for(&pair.destination, dropped, READY_LIMIT).await?;
    assert_eq!(pair.source.value("postgres", slots).await?, "0", "nothing is kept any more");
    let event =
        "SELECT count(*) FROM migrator.events WHERE level = 'error' AND message LIKE '%was dropped to protect the source%'";
    assert_eq!(pair.destination.value(CONTROL, event).await?, "1");
    blocker.batch_execute("ROLLBACK").await.map_err(locking)?;

    // What the stream never saw.
    let writers = SMALL.write(&pair.source, "small", 1, Duration::from_millis(20)).await?;
    pair.source.run("small", "DELETE FROM app.people WHERE id % 3 = 0").await?;
    let one = controller.ask(&["resync", MAPPING, "small.app.people"]).await?;
    assert_eq!(one.code, 1, "a single table has no stream to go on with: {}", one.stdout);
    controller.must(&["resync", MAPPING, "small"]).await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    writers.stop().await?;
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, "small").await?;
    controller.must(&["cutover", MAPPING]).await?;
    controller.must(&["complete", MAPPING]).await?;
    assert_eq!(pair.source.value("postgres", slots).await?, "0");
    Ok(())
}

#[tokio::test]
async fn the_slot_of_a_database_that_was_renamed_is_guarded_all_the_same() -> Result<()> {
    let pair = Pair::start(15).await?;
    for database in ["small", "stays"] {
        pair.source.run("postgres", &format!("CREATE DATABASE {database}")).await?;
        pair.source.run(database, "CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t VALUES (1)").await?;
    }
    let lines = format!("wal_limit = {LIMIT}\nwal_guard = \"alert\"");
    let mapping = Mapping::new(MAPPING, "erp_old", "erp_new").databases(&["small", "stays"]).line(&lines);
    let mut controller = Controller::started(&pair.instances().mapping(&mapping).tick("100ms"))?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'small'";
    for attempt in 0.. {
        pair.source.run("postgres", ended).await?;
        if pair.source.run("postgres", "ALTER DATABASE small RENAME TO renamed").await.is_ok() {
            break;
        }
        assert!(attempt < 200, "the database could not be renamed");
    }
    let told = "(SELECT count(*) = 1 FROM migrator.findings WHERE code = 'database_gone' AND reason LIKE '%\"renamed\"%' AND resolved_at IS NULL)";
    controller.wait_for(&pair.destination, told, READY_LIMIT).await?;
    let sql = "SELECT count(pg_logical_emit_message(false, 'scenario', repeat('x', 1000000))) FROM generate_series(1, 62)";
    pair.source.value("renamed", sql).await?;
    let near =
        "(SELECT count(*) = 1 FROM migrator.findings WHERE code = 'wal_limit_near' AND database = '' AND resolved_at IS NULL)";
    controller.wait_for(&pair.destination, near, READY_LIMIT).await?;
    let shown = "(SELECT array_agg(database) = '{stays}' FROM migrator.databases)";
    controller.wait_for(&pair.destination, shown, READY_LIMIT).await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["complete", MAPPING]).await.map(drop)
}

#[tokio::test]
async fn a_slot_that_the_source_gave_up_is_refused_by_name_and_a_resync_begins_anew() -> Result<()> {
    let (source, destination) = tokio::try_join!(
        Cluster::of(15).set("max_slot_wal_keep_size", "48MB").set("max_wal_size", "64MB").start(),
        Cluster::start(18)
    )?;
    let pair = Pair { source, destination };
    SMALL.load(&pair.source, "small", 1).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    let limit = "(SELECT wal_limit_bytes = 48 * 1048576 FROM migrator.databases)";
    controller.wait_for(&pair.destination, limit, READY_LIMIT).await?;
    let blocker = pair.destination.connect("small").await?;
    let locking = |error| Error::Broken(format!("locking: {error}"));
    blocker.batch_execute("BEGIN; LOCK TABLE app.people IN SHARE ROW EXCLUSIVE MODE").await.map_err(locking)?;
    pair.source.run("small", "UPDATE app.people SET weight = 1").await?;
    write_log(&pair.source, 120).await?;
    pair.source.run("postgres", "CHECKPOINT").await?;
    blocker.batch_execute("ROLLBACK").await.map_err(locking)?;
    let lost = "(SELECT count(*) = 1 FROM migrator.findings WHERE code = 'slot_lost' AND resolved_at IS NULL)";
    controller.wait_for(&pair.destination, lost, READY_LIMIT).await?;
    pair.source.run("small", "UPDATE app.people SET weight = 2").await?;
    controller.must(&["resync", MAPPING, "small"]).await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, "small").await.map(drop)
}

#[tokio::test]
async fn copying_waits_for_the_stream_while_too_much_is_kept_and_then_goes_on() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, "small", 1).await?;
    // At the rate below they take half a second each.
    megabytes(&pair.source, "small", 30).await?;
    let mut controller = Controller::started(&guarded(&pair, "slow_down", "rate_limit = \"2MB\""))?;
    let some = "(SELECT tables_in_catchup > 2 FROM migrator.databases)";
    controller.wait_for(&pair.destination, some, READY_LIMIT).await?;
    write_log(&pair.source, 50).await?;
    let held = "(SELECT waiting_for LIKE 'the stream to catch up%' AND tables_synced < tables_total FROM migrator.databases)";
    controller.wait_for(&pair.destination, held, READY_LIMIT).await?;
    // A slot's log is let go when the source notes down which transactions run, as a checkpoint does.
    let goes_on = "(SELECT count(*) > 0 FROM migrator.events WHERE message = 'copying goes on' AND database = 'small')";
    for _ in 0..60 {
        pair.source.run("postgres", "CHECKPOINT").await?;
        if pair.destination.value(CONTROL, &format!("SELECT {goes_on}")).await? == "t" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    assert_eq!(pair.destination.value(CONTROL, &format!("SELECT {goes_on}")).await?, "t");
    assert!(kept(&pair.source).await? < LIMIT);
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, "small").await.map(drop)
}

#[tokio::test]
async fn the_source_is_protected_from_what_it_keeps_for_a_mapping_that_is_refused() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, "small", 1).await?;
    let mut controller = Controller::started(&guarded(&pair, "drop_slot", ""))?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.kill()?;
    // Nothing of the source is selected any more, and the stream stands still.
    let nothing = Mapping::new(MAPPING, "erp_old", "erp_new").databases(&["another"]);
    let lines = format!("wal_limit = {LIMIT}\nwal_guard = \"drop_slot\"");
    let mut controller = Controller::started(&pair.instances().mapping(&nothing.line(&lines)))?;
    let refused = "(SELECT count(*) = 1 FROM migrator.findings WHERE code = 'no_database' AND resolved_at IS NULL)";
    controller.wait_for(&pair.destination, refused, READY_LIMIT).await?;
    let blocker = pair.destination.connect("small").await?;
    let lock = "BEGIN; LOCK TABLE app.people IN SHARE ROW EXCLUSIVE MODE";
    blocker.batch_execute(lock).await.map_err(|error| Error::Broken(format!("locking: {error}")))?;
    pair.source.run("small", "UPDATE app.people SET weight = 1").await?;
    write_log(&pair.source, 70).await?;
    let dropped = "(SELECT outcome = 'dropped to protect the source' FROM migrator.side_effects WHERE kind = 'slot')";
    controller.wait_for(&pair.destination, dropped, Duration::from_secs(30)).await?;
    assert_eq!(pair.source.value("postgres", "SELECT count(*) FROM pg_replication_slots").await?, "0");
    Ok(())
}
