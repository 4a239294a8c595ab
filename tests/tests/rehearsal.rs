//! `check` says beforehand which statement will fail, and leaves nothing behind.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pg_migrator_tests::cluster::control::signal;
use pg_migrator_tests::controller::binary;
use pg_migrator_tests::databases::SMALL;
use pg_migrator_tests::pair::READY_LIMIT;
use pg_migrator_tests::{Cluster, Controller, Error, Pair, Result, dump_diff};

#[tokio::test]
async fn check_names_every_statement_that_will_fail_before_anything_is_touched() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, "small", 1).await?;
    // A role that only the source has is no obstacle: run makes it. Roles made here would be the destination's too.
    pair.source.run("small", "CREATE ROLE newcomer; ALTER TABLE app.codes OWNER TO newcomer").await?;
    let controller = Controller::new(&pair.config())?;
    let sound = controller.ask(&["check"]).await?;
    assert_eq!(sound.code, 0, "{}{}", sound.stdout, sound.stderr);

    // A view on a column that 17 removed.
    pair.source.run("small", "CREATE VIEW app.removed AS SELECT checkpoints_timed FROM pg_catalog.pg_stat_bgwriter").await?;
    let before = dump_diff::schema(&pair.source, "small")?;
    let answer = controller.ask(&["check"]).await?;
    assert_eq!(answer.code, 1, "{}", answer.stdout);
    // What the catalogs tell beforehand and what the server says of the statement is one finding.
    for named in ["[removed_name] small: view app.removed", "checkpoints_timed", "does not exist"] {
        assert!(answer.stdout.contains(named), "{named} is not named:\n{}", answer.stdout);
    }
    assert!(!answer.stdout.contains("statement_failed"), "it is told twice:\n{}", answer.stdout);
    dump_diff::same("the source", &before, &dump_diff::schema(&pair.source, "small")?)?;
    assert!(pair.destination.databases().await?.is_empty(), "the scratch database is gone");
    assert_eq!(pair.destination.value("postgres", "SELECT count(*) FROM pg_roles WHERE rolname = 'newcomer'").await?, "0");
    Ok(())
}

/// Starts a check, and waits until it rehearses what takes long.
async fn rehearsing(controller: &Controller, destination: &Cluster) -> Result<Child> {
    let mut command = Command::new(binary()?);
    command.arg("check").arg("--config").arg(controller.config_path()).env_remove("PG_MIGRATOR_CONFIG");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().map_err(|error| Error::Broken(format!("starting a check: {error}")))?;
    let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'pg_migrator_rehearsal_%' AND wait_event = 'PgSleep'";
    let begun = Instant::now();
    while destination.value("postgres", sleeps).await? == "0" {
        assert!(begun.elapsed() < Duration::from_mins(1), "nothing is rehearsed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(child)
}

#[tokio::test]
async fn a_check_that_is_interrupted_leaves_nothing_and_what_one_that_was_killed_left_is_dropped_by_run() -> Result<()> {
    let pair = Pair::start(15).await?;
    pair.source.run("postgres", "CREATE DATABASE small").await?;
    // Quick on the source, slow where it is rehearsed.
    let slow = "CREATE MATERIALIZED VIEW slow AS SELECT 1 AS one
                WHERE pg_sleep(CASE WHEN current_setting('server_version_num')::integer >= 180000 THEN 60 ELSE 0 END)::text = ''";
    pair.source.run("small", slow).await?;
    let mut controller = Controller::new(&pair.config())?;
    let waiting = |error| Error::Broken(format!("waiting for the check: {error}"));

    let mut check = rehearsing(&controller, &pair.destination).await?;
    signal(check.id().cast_signed(), "TERM")?;
    let begun = Instant::now();
    let status = check.wait().map_err(waiting)?;
    assert_eq!(status.code(), Some(1));
    assert!(begun.elapsed() < Duration::from_secs(20), "it does not wait for the statement's end");
    assert!(pair.destination.databases().await?.is_empty(), "the scratch database is gone");

    let mut check = rehearsing(&controller, &pair.destination).await?;
    // One that is being worked in is left alone by a run, and by somebody else's check.
    controller.start()?;
    let made = "(SELECT count(*) > 0 FROM migrator.databases)";
    controller.wait_for(&pair.destination, made, READY_LIMIT).await?;
    let scratch = "SELECT count(*) FROM pg_database WHERE datname LIKE 'pg_migrator_rehearsal_%'";
    assert_eq!(pair.destination.value("postgres", scratch).await?, "1");
    controller.kill()?;
    check.kill().and_then(|()| check.wait()).map_err(waiting)?;
    controller.start()?;
    let begun = Instant::now();
    while pair.destination.value("postgres", scratch).await? != "0" {
        assert!(begun.elapsed() < READY_LIMIT, "it is never dropped: {}", controller.report(&pair.destination).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
