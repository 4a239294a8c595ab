//! Afterwards both servers look as if pg-migrator had never been there, and on the way the source sees next to nothing of it.

use std::time::Duration;

use pg_migrator_tests::databases::{SHOP, WEIRD};
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Controller, Pair, Result, compare, dump_diff};

const DATABASES: [&str; 2] = ["shop", "We ird-DB"];

#[tokio::test]
async fn after_completion_neither_side_holds_anything_of_ours_and_the_source_is_as_before() -> Result<()> {
    let pair = Pair::start(15).await?;
    SHOP.load(&pair.source, DATABASES[0], 1).await?;
    WEIRD.load(&pair.source, DATABASES[1], 1).await?;
    // Tables whose replica identity is not the default one get theirs back.
    pair.source
        .run("shop", "ALTER TABLE shop.carts REPLICA IDENTITY FULL; ALTER TABLE audit.log REPLICA IDENTITY NOTHING")
        .await?;
    let before = dumps(&pair)?;
    let globals = dump_diff::globals(&pair.source, &[])?;
    let pause = Duration::from_millis(20);
    let writers =
        [SHOP.write(&pair.source, DATABASES[0], 1, pause).await?, WEIRD.write(&pair.source, DATABASES[1], 2, pause).await?];

    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    for (database, (old, now)) in DATABASES.iter().zip(before.iter().zip(dumps(&pair)?)) {
        only_publication_and_replica_identity(database, old, &now);
        nothing_of_ours_inside(&pair, database).await?;
    }
    dump_diff::same("roles and settings of the source while streaming", &globals, &dump_diff::globals(&pair.source, &[])?)?;
    let slots = pair.source.column("postgres", "SELECT slot_name FROM pg_replication_slots").await?;
    assert!(slots.iter().all(|slot| slot.starts_with("pg_migrator_erp_")), "{slots:?}");
    assert_eq!(slots.len(), DATABASES.len(), "one slot a database once the copies are done: {slots:?}");

    for workload in writers {
        workload.stop().await?;
    }
    drained(&pair.source).await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    controller.must(&["complete", MAPPING]).await?;

    for (database, (old, now)) in DATABASES.iter().zip(before.iter().zip(dumps(&pair)?)) {
        dump_diff::same(&format!("{database} of the source"), old, &now)?;
        nothing_of_ours_inside(&pair, database).await?;
        compare::equal(&pair.source, &pair.destination, database).await?;
    }
    dump_diff::same("roles and settings of the source", &globals, &dump_diff::globals(&pair.source, &[])?)?;
    for (cluster, side) in [(&pair.source, "source"), (&pair.destination, "destination")] {
        for catalog in ["pg_replication_slots", "pg_subscription", "pg_replication_origin", "pg_prepared_xacts"] {
            let left = cluster.value("postgres", &format!("SELECT count(*) FROM {catalog}")).await?;
            assert_eq!(left, "0", "rows left in {catalog} of the {side}");
        }
        for database in DATABASES {
            assert_eq!(
                cluster.value(database, "SELECT count(*) FROM pg_publication").await?,
                "0",
                "publications left on the {side}"
            );
        }
    }
    // The report stays.
    let open = "SELECT count(*) FILTER (WHERE undone_at IS NULL AND kind NOT IN ('role', 'membership', 'database')), count(*) > 0 FROM migrator.side_effects";
    assert_eq!(pair.destination.rows("migrator", open).await?[0], ["0", "t"]);
    assert_eq!(pair.destination.value("migrator", "SELECT DISTINCT status FROM migrator.status()").await?, "complete");
    controller.stop().await?;
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pg-migrator%' OR application_name LIKE 'pg\\_migrator%'";
    assert_eq!(pair.source.value("postgres", sessions).await?, "0");
    assert_eq!(pair.destination.value("postgres", sessions).await?, "0");
    Ok(())
}

fn dumps(pair: &Pair) -> Result<Vec<String>> {
    DATABASES.iter().map(|database| dump_diff::schema(&pair.source, database)).collect()
}

/// Every line that the source did not have before is part of a publication or a replica identity, and none is missing but
/// replica identities.
fn only_publication_and_replica_identity(database: &str, before: &str, now: &str) {
    let ours = |line: &str| {
        line.trim().is_empty()
            || line == "--"
            || line.starts_with("CREATE PUBLICATION pg_migrator_")
            || line.starts_with("ALTER PUBLICATION pg_migrator_")
            || line.starts_with("-- Name: pg_migrator_")
            || line.contains(" REPLICA IDENTITY ")
    };
    // pg_dump puts a publication's tables under a heading of their own: `-- Name: pg_migrator_erp shop orders; Type: PUBLICATION TABLE; …`.
    for (from, to, what) in [(before, now, "appeared"), (now, before, "vanished")] {
        for line in to.lines() {
            assert!(ours(line) || from.lines().any(|other| other == line), "{database}: a line of the source {what}: {line}");
        }
    }
}

/// A migrated database at the destination: no extension, schema, function, setting or publication of ours.
async fn nothing_of_ours_inside(pair: &Pair, database: &str) -> Result<()> {
    let sql = "SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname LIKE '%migrator%'
               UNION ALL SELECT 'extension ' || extname FROM pg_extension WHERE extname IN ('migrator', 'dblink')
               UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE probin LIKE '%migrator%' AND pronamespace::regnamespace::text NOT LIKE 'pg_temp%'
               UNION ALL SELECT 'publication ' || pubname FROM pg_publication
               UNION ALL SELECT 'event trigger ' || evtname FROM pg_event_trigger
               UNION ALL SELECT 'setting ' || array_to_string(setconfig, ',') FROM pg_db_role_setting WHERE array_to_string(setconfig, ',') LIKE '%migrator%'";
    let found = pair.destination.column(database, sql).await?;
    assert!(found.is_empty(), "in {database} of the destination: {found:?}");
    Ok(())
}
