//! A change that can't be applied stops its own table and no other.

use std::time::Duration;

use pg_migrator_tests::controller::CONTROL;
use pg_migrator_tests::databases::SMALL;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Controller, Pair, Result, compare};

/// A table of its own for each way to go wrong.
const TABLES: &str = r#"
    CREATE SCHEMA odd;
    CREATE TABLE odd.doubled (id integer PRIMARY KEY, v text);
    CREATE TABLE odd.narrow (a integer, b text, v numeric, PRIMARY KEY (a, b));
    CREATE TABLE odd."Grown" (id integer PRIMARY KEY, v text);
    CREATE TABLE odd.thinned (id integer PRIMARY KEY, v text);
    CREATE TABLE odd.numbered (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n bigint GENERATED ALWAYS AS IDENTITY, v text);
    INSERT INTO odd.doubled SELECT i, md5(i::text) FROM generate_series(1, 100) i;
    INSERT INTO odd.narrow SELECT i, md5(i::text), i / 7.0 FROM generate_series(1, 100) i;
    INSERT INTO odd."Grown" SELECT i, md5(i::text) FROM generate_series(1, 100) i;
    INSERT INTO odd.thinned SELECT i, md5(i::text) FROM generate_series(1, 100) i;
    CREATE SCHEMA a; CREATE SCHEMA "a.b";
    CREATE TABLE a."b.c" (id integer PRIMARY KEY, v text);
    CREATE TABLE "a.b".c (id integer PRIMARY KEY, v text);
    INSERT INTO odd.numbered (v) SELECT md5(i::text) FROM generate_series(1, 100) i;"#;

/// The open finding of a kind about an object, as a condition on its reason.
fn told(code: &str, object: &str, reason: &str) -> String {
    format!(
        "EXISTS (SELECT FROM migrator.findings WHERE resolved_at IS NULL AND code = '{code}' AND object LIKE '{object}'
                 AND severity = 'error' AND reason LIKE '%{reason}%')"
    )
}

async fn isolated_told_and_cured(major: u32) -> Result<()> {
    let pair = Pair::start(major).await?;
    let (source, destination) = (&pair.source, &pair.destination);
    SMALL.load(source, "small", 1).await?;
    source.run("small", TABLES).await?;
    let writers = SMALL.write(source, "small", 1, Duration::from_millis(20)).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;

    // A row that nobody but the stream should have brought.
    destination.run("small", "INSERT INTO odd.doubled VALUES (1000, 'planted')").await?;
    source
        .run("small", "INSERT INTO odd.doubled VALUES (1001, 'innocent'); INSERT INTO odd.doubled VALUES (1000, 'true')")
        .await?;
    controller.wait_for(destination, &told("apply_conflict", "odd.doubled", "(id) = (1000)%duplicate key%"), READY_LIMIT).await?;

    // A constraint that the source does not have; the transaction's other changes must arrive, also one that SQL itself could not repeat.
    destination.run("small", "ALTER TABLE odd.narrow ADD CONSTRAINT small_only CHECK (v < 1000)").await?;
    source
        .run(
            "small",
            "BEGIN; INSERT INTO odd.thinned VALUES (777, 'beside'); UPDATE odd.numbered SET v = 'beside' WHERE id = 7;
             UPDATE odd.narrow SET v = 5000 WHERE a = 7; COMMIT",
        )
        .await?;
    let key = "(a, b) = (7, 8f14e45fceea167a5a36dedd4bea2543)%small_only%";
    controller.wait_for(destination, &told("apply_conflict", "odd.narrow", key), READY_LIMIT).await?;

    // A name that may be two tables.
    destination.run("small", r#"INSERT INTO a."b.c" VALUES (1, 'planted')"#).await?;
    source.run("small", r#"INSERT INTO "a.b".c VALUES (1, 'innocent'); INSERT INTO a."b.c" VALUES (1, 'true')"#).await?;
    controller.wait_for(destination, &told("apply_conflict", "a.b.c", "(id) = (1)%duplicate key%"), READY_LIMIT).await?;

    // The rest has gone on: what was written after each of these is there.
    source.run("small", "INSERT INTO app.people (id, name) VALUES (900000, 'after all that')").await?;
    let begun = std::time::Instant::now();
    while destination.value("small", "SELECT count(*) FROM app.people WHERE id = 900000").await? != "1" {
        assert!(begun.elapsed() < READY_LIMIT, "the stream does not go on: {}", controller.report(destination).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(destination.value("small", "SELECT v FROM odd.thinned WHERE id = 777").await?, "beside");
    assert_eq!(destination.value("small", "SELECT v FROM odd.numbered WHERE id = 7").await?, "beside");
    let problematic =
        "SELECT string_agg(name, ',' ORDER BY name COLLATE \"C\") FROM migrator.tables WHERE status = 'problematic'";
    assert_eq!(destination.value(CONTROL, problematic).await?, "b.c,doubled,narrow");
    assert_eq!(destination.value(CONTROL, "SELECT migrator.cutover_ready('erp')").await?, "f");

    // A controller that comes new knows of it, and copies nothing by itself.
    controller.kill()?;
    controller.start()?;
    controller
        .wait_for(
            destination,
            "(SELECT max(updated_at) > clock_timestamp() - interval '2 s' FROM migrator.mappings)",
            READY_LIMIT,
        )
        .await?;
    controller.wait_for(destination, &told("apply_conflict", "odd.doubled", "(id) = (1000)"), READY_LIMIT).await?;
    assert_eq!(destination.value("small", "SELECT v FROM odd.doubled WHERE id = 1000").await?, "planted");

    // Rows that are not there: the server goes on, and says so to its log alone.
    destination.run("small", "DELETE FROM odd.thinned WHERE id <= 10").await?;
    source.run("small", "UPDATE odd.thinned SET v = 'new' WHERE id = 5; DELETE FROM odd.thinned WHERE id = 6").await?;
    let named = "2 updates or deletes%odd.thinned lacks (id) = (1), (10), (2), (3), (4), and more";
    controller.wait_for(destination, &told("rows_missing", "subscription %", named), READY_LIMIT).await?;

    // A column that the destination does not have: no worker gets past that, but the fix is told, and then it goes on.
    source
        .run("small", r#"ALTER TABLE odd."Grown" ADD COLUMN more varchar(9); INSERT INTO odd."Grown" VALUES (2000, 'v', 'more')"#)
        .await?;
    controller.wait_for(destination, &told("stream_failing", "subscription %", "odd.Grown%columns more"), READY_LIMIT).await?;
    let fix = "SELECT substring(fix from 'ALTER TABLE [^;]*') FROM migrator.findings WHERE code = 'stream_failing' AND resolved_at IS NULL";
    let fix = destination.value(CONTROL, fix).await?;
    assert_eq!(fix, r#"ALTER TABLE "odd"."Grown" ADD COLUMN "more" character varying(9)"#);
    destination.run("small", &fix).await?;

    // Mended and copied anew.
    destination.run("small", "ALTER TABLE odd.narrow DROP CONSTRAINT small_only").await?;
    for table in ["odd.doubled", "\"odd\".\"narrow\"", "odd.thinned"] {
        controller.must(&["resync", MAPPING, &format!("small.{table}")]).await?;
    }
    let fix =
        "SELECT substring(fix from 'SELECT migrator.*') FROM migrator.findings WHERE object = 'a.b.c' AND resolved_at IS NULL";
    let fix = destination.value(CONTROL, fix).await?;
    destination.run(CONTROL, &fix).await?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
    writers.stop().await?;
    drained(source).await?;
    compare::equal(source, destination, "small").await?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
    let open = "SELECT count(*) FROM migrator.side_effects WHERE kind = 'detached' AND undone_at IS NULL";
    assert_eq!(destination.value(CONTROL, open).await?, "0");
    Ok(())
}

#[tokio::test]
async fn a_change_that_cannot_be_applied_stops_its_own_table_alone_and_resync_cures_it() -> Result<()> {
    isolated_told_and_cured(16).await
}

#[tokio::test]
async fn so_it_does_with_the_oldest_source() -> Result<()> {
    isolated_told_and_cured(10).await
}
