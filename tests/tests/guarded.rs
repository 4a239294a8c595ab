//! What must never happen, whatever an operator, a crash or a hostile source does.

use std::time::Duration;

use pg_migrator_tests::databases::SMALL;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT};
use pg_migrator_tests::{Controller, Pair, Result, compare};

const DATABASE: &str = "small";

#[tokio::test]
async fn a_database_whose_subscription_is_gone_is_neither_dropped_nor_filled_anew() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, DATABASE, 1).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    // A switch by hand: the applications are on the destination, and somebody tidies up.
    controller.kill()?;
    let name = pair.destination.value("postgres", "SELECT subname FROM pg_subscription").await?;
    pair.destination.run(DATABASE, &format!("ALTER SUBSCRIPTION {name} DISABLE")).await?;
    pair.destination.run(DATABASE, &format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")).await?;
    pair.destination.run(DATABASE, &format!("DROP SUBSCRIPTION {name}")).await?;
    pair.destination.run(DATABASE, "INSERT INTO app.codes VALUES ('precious', 'only here')").await?;
    controller.start()?;
    let refused = "(SELECT count(*) > 0 FROM migrator.findings WHERE code = 'subscription_gone' AND resolved_at IS NULL)";
    for _ in 0..2 {
        controller.wait_for(&pair.destination, refused, READY_LIMIT).await?;
        controller.kill()?;
        pair.destination.run("migrator", "UPDATE migrator.finding SET resolved_at = now()").await?;
        controller.start()?;
    }
    controller.wait_for(&pair.destination, refused, READY_LIMIT).await?;
    let there = "SELECT meaning FROM app.codes WHERE code = 'precious'";
    assert_eq!(pair.destination.value(DATABASE, there).await?, "only here");
    Ok(())
}

#[tokio::test]
async fn a_sequence_in_use_on_the_destination_is_never_set_back_by_a_completion_by_hand() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, DATABASE, 1).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    // The applications have moved already, and take values; the controller is started anew in between.
    let taken = pair.destination.value(DATABASE, "SELECT max(nextval('app.loose')) FROM generate_series(1, 500)").await?;
    controller.kill()?;
    controller.start()?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["complete", MAPPING]).await?;
    let now = pair.destination.value(DATABASE, "SELECT last_value FROM app.loose").await?;
    assert_eq!(now, taken);
    Ok(())
}

#[tokio::test]
async fn a_table_made_anew_on_the_source_is_not_called_equal_and_a_resync_cures_it() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, DATABASE, 1).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    pair.source
        .run(
            DATABASE,
            "DROP TABLE app.codes; CREATE TABLE app.codes (code text NOT NULL, meaning text);
             CREATE UNIQUE INDEX codes_code ON app.codes (code); INSERT INTO app.codes VALUES ('new', 'table')",
        )
        .await?;
    // Also a cutover that is asked for before anybody has noticed must notice.
    let answer = controller.ask(&["cutover", MAPPING]).await?;
    assert_eq!(answer.code, 1, "{}", answer.stdout);
    pair.source.run(DATABASE, "INSERT INTO app.codes VALUES ('and', 'writable')").await?;
    let drift = "(SELECT NOT ok AND detail LIKE '%codes%' FROM migrator.cutover_checks WHERE name = 'schemas_equal')";
    controller.wait_for(&pair.destination, drift, Duration::from_mins(2)).await?;
    controller.must(&["resync", MAPPING, "small.app.codes"]).await?;
    controller.wait_until_ready(&pair.destination, MAPPING, Duration::from_mins(2)).await?;
    controller.must(&["cutover", MAPPING]).await?;
    compare::equal(&pair.source, &pair.destination, DATABASE).await?;
    Ok(())
}

#[tokio::test]
async fn the_code_of_a_tables_owner_gets_no_other_rights_while_its_rows_are_loaded() -> Result<()> {
    let pair = Pair::start(15).await?;
    pair.source.run("postgres", "CREATE DATABASE small").await?;
    pair.source
        .run(
            DATABASE,
            "CREATE ROLE mallory LOGIN PASSWORD 'mallory'; CREATE SCHEMA lair AUTHORIZATION mallory; SET ROLE mallory;
             CREATE FUNCTION lair.climb(value integer) RETURNS boolean LANGUAGE plpgsql AS $$
             BEGIN
                 IF current_setting('server_version_num')::integer >= 180000 THEN
                     BEGIN
                         RESET ROLE;
                     EXCEPTION WHEN OTHERS THEN NULL;
                     END;
                     BEGIN
                         EXECUTE 'SET SESSION AUTHORIZATION DEFAULT';
                     EXCEPTION WHEN OTHERS THEN NULL;
                     END;
                     BEGIN
                         EXECUTE 'ALTER ROLE mallory SUPERUSER';
                     EXCEPTION WHEN OTHERS THEN NULL;
                     END;
                     RETURN current_user = 'mallory';
                 END IF;
                 RETURN true;
             END $$;
             CREATE TABLE lair.trap (id integer PRIMARY KEY CHECK (lair.climb(id)));
             INSERT INTO lair.trap SELECT generate_series(1, 10)",
        )
        .await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    pair.source.run(DATABASE, "INSERT INTO lair.trap VALUES (11)").await?;
    controller.must(&["cutover", MAPPING]).await?;
    compare::equal(&pair.source, &pair.destination, DATABASE).await?;
    assert_eq!(pair.destination.value("postgres", "SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'").await?, "f");
    Ok(())
}

#[tokio::test]
async fn a_database_that_is_dropped_on_the_source_is_let_go_and_its_copy_is_kept() -> Result<()> {
    let pair = Pair::start(15).await?;
    for database in ["stays", "goes"] {
        pair.source.run("postgres", &format!("CREATE DATABASE {database}")).await?;
        pair.source.run(database, "CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t VALUES (1)").await?;
    }
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    // Somebody insists.
    let slot = "SELECT pg_terminate_backend(active_pid), slot_name FROM pg_replication_slots WHERE database = 'goes' AND active";
    for attempt in 0.. {
        pair.source.value("postgres", slot).await.ok();
        let drop_slot = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = 'goes'";
        let dropped = pair.source.run("postgres", drop_slot).await.is_ok();
        let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'goes'";
        pair.source.run("postgres", ended).await?;
        if dropped && pair.source.run("postgres", "DROP DATABASE goes").await.is_ok() {
            break;
        }
        assert!(attempt < 200, "the database could not be dropped");
    }
    let told = "(SELECT count(*) = 1 FROM migrator.findings WHERE code = 'database_gone' AND resolved_at IS NULL)";
    controller.wait_for(&pair.destination, told, Duration::from_mins(1)).await?;
    let shown = "(SELECT array_agg(database) = '{stays}' FROM migrator.databases)";
    controller.wait_for(&pair.destination, shown, Duration::from_mins(1)).await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    assert_eq!(pair.destination.value("goes", "SELECT count(*) FROM t").await?, "1", "what was carried over is kept");
    Ok(())
}
