//! What must never happen, whatever an operator, a crash or a hostile source does.

use std::time::Duration;

use pg_migrator_tests::databases::SMALL;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT};
use pg_migrator_tests::{Cluster, Controller, Error, Mapping, Pair, Result, compare};

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
    controller.must(&["complete", MAPPING]).await?;
    let ours = "SELECT count(*) FROM pg_class WHERE relnamespace = 'app'::regnamespace AND relkind = 'r' AND relreplident <> 'd'";
    assert_eq!(pair.source.value(DATABASE, ours).await?, "0", "the new table has its own replica identity again");
    Ok(())
}

#[tokio::test]
async fn a_completion_that_is_asked_for_beside_a_resync_waits_for_the_fresh_copy() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, DATABASE, 1).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    let both = format!("SELECT migrator.resync('{MAPPING}', '{DATABASE}'); SELECT migrator.mark_complete('{MAPPING}')");
    pair.destination.run("migrator", &both).await?;
    pair.source.run(DATABASE, "INSERT INTO app.codes VALUES ('written', 'meanwhile')").await?;
    let over = "(SELECT bool_or(kind = 'complete' AND succeeded) FROM migrator.requests)";
    controller.wait_for(&pair.destination, over, READY_LIMIT).await?;
    let resync = "SELECT succeeded FROM migrator.requests WHERE kind = 'resync'";
    assert_eq!(pair.destination.value("migrator", resync).await?, "t");
    compare::equal(&pair.source, &pair.destination, DATABASE).await.map(drop)
}

#[tokio::test]
async fn a_switch_is_completed_whatever_the_checks_would_say_of_the_old_server_by_now() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, DATABASE, 1).await?;
    let mapping = Mapping::new(MAPPING, "erp_old", "erp_new").databases(&[DATABASE]);
    let mut controller = Controller::started(&pair.instances().mapping(&mapping))?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    controller.kill()?;
    // So that nobody takes the old one for the new one: no database of the mapping is left on the source.
    insisting(&pair.source, DATABASE, &[], "ALTER DATABASE small RENAME TO small_old").await?;
    controller.start()?;
    controller.must(&["complete", MAPPING]).await?;
    for left in ["pg_publication", "pg_replication_slots", "pg_db_role_setting"] {
        assert_eq!(pair.source.value("small_old", &format!("SELECT count(*) FROM {left}")).await?, "0", "{left}");
    }
    assert_eq!(pair.destination.value(DATABASE, "SELECT count(*) FROM pg_subscription").await?, "0");
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
    dropped(&pair.source, "goes").await?;
    let told = "(SELECT count(*) = 1 FROM migrator.findings WHERE code = 'database_gone' AND resolved_at IS NULL)";
    controller.wait_for(&pair.destination, told, Duration::from_mins(1)).await?;
    let shown = "(SELECT array_agg(database) = '{stays}' FROM migrator.databases)";
    controller.wait_for(&pair.destination, shown, Duration::from_mins(1)).await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    assert_eq!(pair.destination.value("goes", "SELECT count(*) FROM t").await?, "1", "what was carried over is kept");
    dropped_as_told(&pair.destination, "goes").await?;
    assert_eq!(pair.destination.value("postgres", "SELECT count(*) FROM pg_subscription").await?, "1");
    Ok(())
}

#[tokio::test]
async fn what_was_carried_over_is_not_dropped_for_a_database_made_anew_under_its_name() -> Result<()> {
    let pair = Pair::start(15).await?;
    pair.source.run("postgres", "CREATE DATABASE shop").await?;
    pair.source.run("shop", "CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t VALUES (1)").await?;
    let mut controller = Controller::started(&pair.config().tick("100ms"))?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    // A switch by hand: the applications are on the destination, somebody has tidied up there, and uses the old server for something else.
    let name = pair.destination.value("postgres", "SELECT subname FROM pg_subscription").await?;
    let part =
        format!("ALTER SUBSCRIPTION {name} DISABLE; ALTER SUBSCRIPTION {name} SET (slot_name = NONE); DROP SUBSCRIPTION {name}");
    pair.destination.run("shop", &part).await?;
    pair.destination.run("shop", "INSERT INTO t VALUES (2)").await?;
    dropped(&pair.source, "shop").await?;
    pair.source.run("postgres", "CREATE DATABASE shop").await?;
    pair.source.run("shop", "CREATE TABLE another (id integer PRIMARY KEY); INSERT INTO another VALUES (3)").await?;
    let refused = "(SELECT count(*) = 1 FROM migrator.findings WHERE code = 'database_made_anew' AND database = 'shop' AND resolved_at IS NULL)";
    controller.wait_for(&pair.destination, refused, READY_LIMIT).await?;
    assert_eq!(pair.destination.value("shop", "SELECT count(*) FROM t").await?, "2", "what is only there is there still");
    // Whoever wants the new one begins anew, as it is told.
    dropped_as_told(&pair.destination, "shop").await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    compare::equal(&pair.source, &pair.destination, "shop").await?;
    Ok(())
}

#[tokio::test]
async fn what_was_made_for_a_database_that_is_gone_or_renamed_is_undone_all_the_same() -> Result<()> {
    let pair = Pair::start(15).await?;
    for database in ["stays", "goes", "moves"] {
        pair.source.run("postgres", &format!("CREATE DATABASE {database}")).await?;
        pair.source.run(database, "CREATE TABLE t (id integer); INSERT INTO t VALUES (1)").await?;
    }
    let mapping = Mapping::new(MAPPING, "erp_old", "erp_new").databases(&["stays", "goes", "moves"]);
    let mut controller = Controller::started(&pair.instances().mapping(&mapping).tick("100ms"))?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    dropped(&pair.source, "goes").await?;
    let told = "(SELECT count(*) = 1 FROM migrator.findings WHERE code = 'database_gone' AND resolved_at IS NULL)";
    controller.wait_for(&pair.destination, told, READY_LIMIT).await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    // So that nobody takes the old one for the new one.
    insisting(&pair.source, "moves", &[], "ALTER DATABASE moves RENAME TO moved").await?;
    controller.must(&["complete", MAPPING]).await?;

    for (server, database) in [(&pair.source, "stays"), (&pair.source, "moved"), (&pair.destination, "moves")] {
        for left in
            ["pg_publication", "pg_replication_slots", "pg_subscription", "pg_class WHERE relname = 't' AND relreplident <> 'd'"]
        {
            assert_eq!(server.value(database, &format!("SELECT count(*) FROM {left}")).await?, "0", "{left} in {database}");
        }
        server.run(database, "INSERT INTO t VALUES (2)").await?;
    }
    assert_eq!(pair.destination.value("goes", "SELECT count(*) FROM t").await?, "1", "what was carried over is kept");
    assert_eq!(pair.destination.value("migrator", "SELECT DISTINCT status FROM migrator.status()").await?, "complete");
    Ok(())
}

#[tokio::test]
async fn a_database_that_is_renamed_is_not_begun_anew_beside_itself_and_goes_on_when_it_is_renamed_back() -> Result<()> {
    let pair = Pair::start(15).await?;
    pair.source.run("postgres", "CREATE DATABASE shop").await?;
    pair.source.run("shop", "CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t VALUES (1)").await?;
    let mut controller = Controller::started(&pair.config().tick("100ms"))?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    let told = "(SELECT count(*) = 1 FROM migrator.findings WHERE code = 'database_renamed' AND database = 'store' AND resolved_at IS NULL)";

    insisting(&pair.source, "shop", &[], "ALTER DATABASE shop RENAME TO store").await?;
    controller.wait_for(&pair.destination, told, READY_LIMIT).await?;
    assert_eq!(pair.destination.databases().await?, ["migrator", "shop"], "it is not begun anew");
    assert!(controller.check().await?.has("error", "store", "database_renamed", "store"));
    insisting(&pair.source, "store", &[], "ALTER DATABASE store RENAME TO shop").await?;
    pair.source.run("shop", "INSERT INTO t VALUES (2)").await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    compare::equal(&pair.source, &pair.destination, "shop").await?;
    Ok(())
}

/// Does something to a database that nobody may be connected to, against those who connect again and again.
async fn insisting(server: &Cluster, database: &str, before: &[&str], statement: &str) -> Result<()> {
    let ended = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'");
    for _ in 0..200 {
        server.run("postgres", &ended).await?;
        let mut done = true;
        for first in before {
            done &= server.run("postgres", first).await.is_ok();
        }
        if done && server.run("postgres", statement).await.is_ok() {
            return Ok(());
        }
    }
    Err(Error::Broken(format!("somebody is always faster: {statement}")))
}

/// Drops a database of the source, with the slots in it.
async fn dropped(source: &Cluster, database: &str) -> Result<()> {
    let slots = format!("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '{database}'");
    insisting(source, database, &[&slots], &format!("DROP DATABASE {database}")).await
}

/// Drops a database on the destination by the statements that a finding about it has.
async fn dropped_as_told(destination: &Cluster, database: &str) -> Result<()> {
    let fix = format!(
        "SELECT fix FROM migrator.findings WHERE code IN ('database_gone', 'database_made_anew') AND resolved_at IS NULL AND fix LIKE '%DROP DATABASE \"{database}\"%'"
    );
    let fix = destination.value("migrator", &fix).await?;
    let there = fix.split_once("in that database ").and_then(|(_, rest)| rest.split_once(" and then in another one "));
    if let Some((statements, _)) = there {
        destination.run(database, statements).await?;
    }
    let drop_it = fix.find("DROP DATABASE").map(|at| &fix[at..]).and_then(|rest| rest.split_once(';'));
    let Some((drop_it, _)) = drop_it else { return Err(Error::Broken(format!("no statement is told: {fix}"))) };
    destination.run("postgres", drop_it).await
}
