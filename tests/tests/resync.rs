//! What went wrong on the destination is cured by copying it anew, while the rest streams on.

use std::time::Duration;

use pg_migrator_tests::databases::{SHOP, SMALL};
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Controller, Error, Pair, Result, compare};

#[tokio::test]
async fn a_damaged_table_is_exact_again_after_a_resync_under_load() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, "small", 1).await?;
    pair.source.run("small", "CREATE TABLE app.passing (id integer PRIMARY KEY)").await?;
    SHOP.load(&pair.source, "shop", 1).await?;
    let pause = Duration::from_millis(20);
    let writers = [SMALL.write(&pair.source, "small", 1, pause).await?, SHOP.write(&pair.source, "shop", 2, pause).await?];
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;

    // app.people is what app.letters points to: it can't be truncated. Damage that no stream would mend.
    let file = "SELECT pg_relation_filenode('app.events')";
    let untouched = pair.destination.value("small", file).await?;
    pair.destination
        .run("small", "SET session_replication_role = replica; UPDATE app.people SET name = 'damaged' WHERE id % 7 = 0")
        .await?;
    // One that both sides have given up meanwhile is not missed: what fails would be tried again after two minutes.
    for server in [&pair.source, &pair.destination] {
        server.run("small", "DROP TABLE app.passing").await?;
    }
    controller.must(&["resync", MAPPING, "small.app.people"]).await?;
    let settled = "(SELECT bool_and(state = 'streaming') FROM migrator.tables)";
    controller.wait_for(&pair.destination, settled, READY_LIMIT).await?;
    controller.wait_until_ready(&pair.destination, MAPPING, Duration::from_mins(1)).await?;
    assert_eq!(pair.destination.value("small", file).await?, untouched, "only the named table is copied anew");

    // A whole database.
    pair.destination.run("shop", "SET session_replication_role = replica; DELETE FROM billing.invoices").await?;
    controller.must(&["resync", MAPPING, "shop"]).await?;
    controller.wait_for(&pair.destination, settled, READY_LIMIT).await?;

    // Everything, while all of it is written to.
    let files = "SELECT string_agg(pg_relation_filenode(oid)::text, ' ' ORDER BY oid) FROM pg_class c
                 WHERE relkind = 'r' AND relpersistence = 'p' AND oid >= 16384
                   AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.confrelid = c.oid)";
    let mut before = Vec::new();
    for database in ["small", "shop"] {
        before.push(pair.destination.value(database, files).await?);
    }
    pair.destination
        .run("small", "SET session_replication_role = replica; DELETE FROM app.events; TRUNCATE app.readings")
        .await?;
    pair.destination.run("shop", "SET session_replication_role = replica; DELETE FROM billing.invoices").await?;
    controller.must(&["resync", MAPPING]).await?;
    controller.wait_for(&pair.destination, settled, READY_LIMIT).await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    for (database, before) in ["small", "shop"].iter().zip(before) {
        let after = pair.destination.value(database, files).await?;
        let same = before.split(' ').zip(after.split(' ')).filter(|(old, new)| old == new).count();
        assert_eq!(same, 0, "{database}: tables were left as they were: {before} / {after}");
    }

    // One that can't be copied, for what somebody did on the destination: what is mended is tried when it is asked for, not later.
    controller.wait_for(&pair.destination, settled, READY_LIMIT).await?;
    let refuse = "ALTER TABLE app.codes ADD CONSTRAINT refuses CHECK (code IS NULL) NOT VALID";
    pair.destination.run("small", refuse).await?;
    let tried = |times: u32| format!("(SELECT count(*) = {times} FROM migrator.events WHERE message = 'copied 0 of 1 tables')");
    for times in 1..=3 {
        controller.must(&["resync", MAPPING, "small.app.codes"]).await?;
        controller.wait_for(&pair.destination, &tried(times), READY_LIMIT).await?;
    }
    pair.destination.run("small", "ALTER TABLE app.codes DROP CONSTRAINT refuses").await?;
    controller.must(&["resync", MAPPING, "small.app.codes"]).await?;
    // By itself it would be tried after 40 s.
    controller.wait_for(&pair.destination, settled, Duration::from_secs(20)).await?;

    let unknown = controller.ask(&["resync", MAPPING, "small.app.nothing"]).await?;
    assert_eq!(unknown.code, 1);
    assert!(unknown.stdout.contains("app.nothing"), "{}", unknown.stdout);

    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    for workload in writers {
        workload.stop().await?;
    }
    drained(&pair.source).await?;
    for database in ["small", "shop"] {
        compare::equal(&pair.source, &pair.destination, database).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_table_made_anew_is_published_when_nobody_writes_to_it_and_the_others_stream_on() -> Result<()> {
    // The last minor of this version does not know better than to believe for good what an older transaction saw.
    let pair = Pair::start(12).await?;
    let (source, destination) = (&pair.source, &pair.destination);
    source.run("postgres", "CREATE DATABASE shop").await?;
    source.run("shop", "CREATE TABLE t (id integer PRIMARY KEY); CREATE TABLE other (id integer PRIMARY KEY)").await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
    source.run("shop", "DROP TABLE t; CREATE TABLE t (id integer PRIMARY KEY)").await?;
    let writer = source.connect("shop").await?;
    writer.batch_execute("BEGIN; INSERT INTO t VALUES (1)").await.map_err(|error| Error::Broken(error.to_string()))?;
    destination.run("migrator", "SELECT migrator.resync('erp', 'shop', 'public.t')").await?;
    let told = "EXISTS (SELECT FROM migrator.findings WHERE code = 'step_failed' AND reason LIKE '%in use%public.t%' AND resolved_at IS NULL)";
    controller.wait_for(destination, told, Duration::from_mins(1)).await?;
    source.run("shop", "INSERT INTO other VALUES (1)").await?;
    drained(source).await?;
    assert_eq!(destination.value("shop", "SELECT count(*) FROM other").await?, "1", "the stream of the others goes on");
    writer.batch_execute("COMMIT").await.map_err(|error| Error::Broken(error.to_string()))?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
    source.run("shop", "INSERT INTO t VALUES (2)").await?;
    drained(source).await?;
    compare::equal(source, destination, "shop").await.map(drop)
}
