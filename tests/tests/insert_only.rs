//! With `replica_identity = "insert_only"` nothing about a table without a key is changed on the source; and what is not carried of it
//! never passes for equal.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pg_migrator_tests::controller::{CONTROL, Mapping};
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Cluster, Controller, Error, Pair, Result, compare, dump_diff};

const DATABASE: &str = "logs";

/// Tables without a key: with numbers whose text differs between versions, of a type without equality, a leaf partition; and one with a key.
const TABLES: &str = r#"
    CREATE DOMAIN ratio AS double precision;
    CREATE TABLE kept (id integer PRIMARY KEY, t text);
    CREATE TABLE log (at timestamptz DEFAULT clock_timestamp(), what text, f double precision, r real, p point, fs double precision[], q ratio);
    CREATE TABLE "Do.cs" (doc json, x xml);
    CREATE TABLE parted (day date, n integer) PARTITION BY RANGE (day);
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    INSERT INTO kept SELECT i, md5(i::text) FROM generate_series(1, 500) i;
    INSERT INTO log SELECT '2026-01-01 00:00+00'::timestamptz + i * interval '1.7 s', 'old', i / 7.0, i / 3.0, point(i / 9.0, i), ARRAY[i / 11.0, NULL], i / 13.0
        FROM generate_series(1, 2000) i;
    INSERT INTO "Do.cs" SELECT json_build_object('i', i), ('<a>' || i || '</a>')::xml FROM generate_series(1, 300) i;
    INSERT INTO parted SELECT '2026-01-01'::date + i % 300, i FROM generate_series(1, 500) i"#;
const INSERTS: &str = r#"
    INSERT INTO kept VALUES (1000, 'late'); UPDATE kept SET t = 'changed' WHERE id < 10; DELETE FROM kept WHERE id > 490 AND id < 500;
    INSERT INTO log (what, f, fs) SELECT 'late', 0.1 * i, ARRAY[0.3 * i] FROM generate_series(1, 50) i;
    INSERT INTO "Do.cs" VALUES ('{"late": true}', '<late/>');
    INSERT INTO parted VALUES ('2026-12-31', -1)"#;
const LATE: &str = "CREATE TABLE late (a text, b json); INSERT INTO late SELECT 'x' || i, '{}' FROM generate_series(1, 20) i";

/// Inserts into `log` all the time, through whatever ends its sessions.
async fn keep_inserting(source: &Cluster, go_on: &AtomicBool) -> Result<()> {
    while go_on.load(Ordering::Relaxed) {
        let Ok(client) = source.connect(DATABASE).await else { continue };
        while go_on.load(Ordering::Relaxed) && client.batch_execute("INSERT INTO log (what) VALUES ('busy')").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }
    Ok(())
}

async fn inserts_arrive_and_what_does_not_is_noticed(major: u32, streams: usize) -> Result<()> {
    let pair = Pair::start(major).await?;
    let (source, destination) = (&pair.source, &pair.destination);
    source.run("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
    source.run(DATABASE, TABLES).await?;
    let before = dump_diff::schema(source, DATABASE)?;
    let mapping = Mapping::new(MAPPING, "erp_old", "erp_new")
        .line("replica_identity = \"insert_only\"")
        .line(&format!("streams = {streams}"));
    let mut controller = Controller::started(&pair.instances().mapping(&mapping))?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;

    // Told, per database, with the tables' names; and no identity is touched.
    let told =
        "(SELECT bool_and(severity = 'warning' AND reason LIKE '%public.Do.cs, public.log, public.parted_1') AND count(*) = 1
                 FROM migrator.findings WHERE code = 'inserts_only' AND database = 'logs' AND resolved_at IS NULL)";
    controller.wait_for(destination, told, READY_LIMIT).await?;
    let identities = "SELECT string_agg(DISTINCT relreplident::text, '') FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
    assert_eq!(source.value(DATABASE, identities).await?, "d");
    let published = "SELECT string_agg(tablename::text, ' ' ORDER BY tablename::text COLLATE \"C\") FROM pg_publication_tables WHERE pubname LIKE '%inserts'";
    assert_eq!(source.value(DATABASE, published).await?, "Do.cs log parted_1");

    // A table that comes later goes the same way.
    source.run(DATABASE, LATE).await?;
    destination.run(DATABASE, "CREATE TABLE late (a text, b json)").await?;
    controller.must(&["resync", MAPPING, "logs.public.late"]).await?;
    source.run(DATABASE, "INSERT INTO late VALUES ('later', '[]')").await?;
    source.run(DATABASE, INSERTS).await?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
    drained(source).await?;
    compare::equal(source, destination, DATABASE).await?;

    // The source takes an update, which nobody carries. Whoever asks for a cutover is told, and no writer is ever kept out.
    source.run(DATABASE, "UPDATE log SET f = f + 1e-13 WHERE what = 'old' AND r = 1").await?;
    refused(&controller, "public.log", "2050 rows on both sides, but not the same").await?;
    let blocks = "SELECT count(*) FROM migrator.side_effects WHERE kind = 'write_block'";
    assert_eq!(destination.value(CONTROL, blocks).await?, "0");
    let found =
        "EXISTS (SELECT FROM migrator.findings WHERE code = 'not_equal' AND object = 'public.log' AND resolved_at IS NULL)
                 AND NOT migrator.cutover_ready('erp')";
    controller.wait_for(destination, found, READY_LIMIT).await?;
    controller.must(&["resync", MAPPING, "logs.public.log"]).await?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;

    // While the table is being written to there is no telling before the block: within it there is.
    let go_on = AtomicBool::new(true);
    let busy = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        source.run(DATABASE, "DELETE FROM log WHERE what = 'late' AND f < 1").await?;
        let outcome = refused(&controller, "public.log", "rows on the source").await;
        go_on.store(false, Ordering::Relaxed);
        outcome
    };
    tokio::try_join!(keep_inserting(source, &go_on), busy)?;
    assert_ne!(destination.value(CONTROL, blocks).await?, "0", "it was found within the block");
    source.run(DATABASE, "INSERT INTO log (what) VALUES ('writers are let in again')").await?;
    controller.wait_for(destination, found, READY_LIMIT).await?;
    controller.must(&["resync", MAPPING, "logs.public.log"]).await?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;

    source.run(DATABASE, "INSERT INTO log (what) VALUES ('the last one')").await?;
    controller.must(&["cutover", MAPPING]).await?;
    let proved =
        "SELECT report -> 'databases' -> 0 ->> 'proved_equal' FROM migrator.requests WHERE kind = 'cutover' AND succeeded";
    assert_eq!(destination.value(CONTROL, proved).await?, "4");
    compare::equal(source, destination, DATABASE).await?;
    controller.must(&["complete", MAPPING]).await?;
    let after = dump_diff::schema(source, DATABASE)?;
    source.run(DATABASE, "DROP TABLE late").await?;
    let without_late = dump_diff::schema(source, DATABASE)?;
    assert!(!after.contains("PUBLICATION"), "{after}");
    dump_diff::same("the source", &before, &without_late)
}

async fn refused(controller: &Controller, table: &str, reason: &str) -> Result<()> {
    let answer = controller.ask(&["cutover", MAPPING]).await?;
    let said = format!("{}{}", answer.stdout, answer.stderr);
    if answer.code == 1 && said.contains(table) && said.contains(reason) && said.contains("migrator.resync") {
        return Ok(());
    }
    Err(Error::Broken(format!("the cutover was to be refused for {table}: {}\n{said}\n{}", answer.code, controller.log_end())))
}

#[tokio::test]
async fn inserts_arrive_and_an_update_that_does_not_refuses_the_cutover_from_10() -> Result<()> {
    inserts_arrive_and_what_does_not_is_noticed(10, 2).await
}

#[tokio::test]
async fn inserts_arrive_and_an_update_that_does_not_refuses_the_cutover_from_17() -> Result<()> {
    inserts_arrive_and_what_does_not_is_noticed(17, 1).await
}

#[tokio::test]
async fn a_switch_by_hand_is_not_completed_while_a_table_differs_unless_the_destination_is_to_stay() -> Result<()> {
    let pair = Pair::start(15).await?;
    let (source, destination) = (&pair.source, &pair.destination);
    source.run("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
    source.run(DATABASE, TABLES).await?;
    let mapping = Mapping::new(MAPPING, "erp_old", "erp_new").line("replica_identity = \"insert_only\"");
    let mut controller = Controller::started(&pair.instances().mapping(&mapping))?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
    source.run(DATABASE, "TRUNCATE log").await?;
    let answer = controller.ask(&["complete", MAPPING]).await?;
    assert_eq!(answer.code, 1, "{}{}", answer.stdout, answer.stderr);
    for word in ["public.log", "0 rows on the source, 2000 on the destination", "migrator.resync", "keep_destination"] {
        assert!(answer.stdout.contains(word), "{word}: {}", answer.stdout);
    }
    // Now it is known, and stands in the way of whatever needs readiness, but for this.
    let found = "NOT migrator.cutover_ready('erp') AND EXISTS (SELECT FROM migrator.cutover_checks WHERE name = 'proved_equal' AND NOT ok)";
    controller.wait_for(destination, found, READY_LIMIT).await?;
    destination.run(CONTROL, "SELECT migrator.request('erp', 'complete', '{\"keep_destination\": true}')").await?;
    controller.wait_for(destination, "(SELECT status = 'complete' FROM migrator.mappings)", READY_LIMIT).await?;
    assert_eq!(destination.value(DATABASE, "SELECT count(*) FROM log").await?, "2000");
    assert_eq!(source.value(DATABASE, "SELECT count(*) FROM pg_publication").await?, "0");
    Ok(())
}
