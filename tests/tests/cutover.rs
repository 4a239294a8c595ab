//! A cutover ends in one of two ways: over, with every writer kept out; or undone, with nobody kept out.

use std::process::Command;
use std::time::{Duration, Instant};

use pg_migrator_tests::databases::SMALL;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Cluster, Controller, Error, Pair, Result, compare};

const DATABASE: &str = "small";
const WRITE: &str = "INSERT INTO app.codes VALUES ('written', 'after')";

/// Sends a signal to the destination's apply worker.
async fn signal_apply_worker(destination: &Cluster, signal: &str) -> Result<String> {
    let pid = destination.value("postgres", "SELECT pid FROM pg_stat_subscription WHERE pid IS NOT NULL").await?;
    signal_process(&pid, signal)?;
    Ok(pid)
}

fn signal_process(pid: &str, signal: &str) -> Result<()> {
    let done = Command::new("kill").args([signal, pid]).status().is_ok_and(|status| status.success());
    if done { Ok(()) } else { Err(Error::Broken(format!("kill {signal} {pid} failed"))) }
}

async fn is_blocked(source: &Cluster) -> Result<bool> {
    let found = "SELECT count(*) > 0 FROM pg_db_role_setting, unnest(setconfig) c WHERE c = 'default_transaction_read_only=on'";
    Ok(source.value("postgres", found).await? == "t")
}

async fn wait_until_blocked(source: &Cluster) -> Result<()> {
    let begun = Instant::now();
    while !is_blocked(source).await? {
        if begun.elapsed() > Duration::from_secs(20) {
            return Err(Error::Broken("the cutover never blocked the source".to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_cutover_that_takes_longer_than_its_limit_is_undone_and_can_be_asked_for_again() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, DATABASE, 1).await?;
    // A trigger that fires on replicas is off until the switch.
    pair.source.run(DATABASE, "ALTER TABLE app.people ENABLE ALWAYS TRIGGER people_note").await?;
    let enabled = "SELECT tgenabled FROM pg_trigger WHERE tgname = 'people_note'";
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    assert_eq!(pair.destination.value(DATABASE, enabled).await?, "D");

    let worker = signal_apply_worker(&pair.destination, "-STOP").await?;
    let answer = controller.ask(&["cutover", MAPPING, "--timeout", "3"]).await?;
    signal_process(&worker, "-CONT")?;
    assert_eq!(answer.code, 1, "{}{}", answer.stdout, answer.stderr);
    assert!(answer.stdout.contains("time limit"), "{}", answer.stdout);
    assert!(!is_blocked(&pair.source).await?, "the block was not taken back");
    pair.source.run(DATABASE, WRITE).await?;
    assert_eq!(pair.destination.value(DATABASE, enabled).await?, "D");

    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    compare::equal(&pair.source, &pair.destination, DATABASE).await?;
    assert_eq!(pair.destination.value(DATABASE, enabled).await?, "A");
    let refused = pair.source.run(DATABASE, WRITE).await.expect_err("the source takes no more writes").to_string();
    assert!(refused.contains("read-only"), "{refused}");
    // The destination is open.
    pair.destination.run(DATABASE, "INSERT INTO app.codes VALUES ('open', 'again')").await?;

    controller.must(&["complete", MAPPING]).await?;
    assert!(!is_blocked(&pair.source).await?);
    Ok(())
}

#[tokio::test]
async fn every_role_is_kept_from_writing_also_one_with_a_setting_of_its_own_and_one_that_is_connected() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, DATABASE, 1).await?;
    pair.source
        .run(
            DATABASE,
            "CREATE ROLE stubborn LOGIN PASSWORD 'stubborn';
             ALTER ROLE stubborn SET default_transaction_read_only = off;
             CREATE ROLE local LOGIN PASSWORD 'local';
             ALTER ROLE local IN DATABASE small SET default_transaction_read_only = off;
             GRANT USAGE ON SCHEMA app TO stubborn, local; GRANT INSERT ON app.codes TO stubborn, local",
        )
        .await?;
    let settings = "SELECT setdatabase, setrole, setconfig FROM pg_db_role_setting ORDER BY 1, 2";
    let before = pair.source.rows("postgres", settings).await?;
    let connected = pair.source.connect_as("stubborn", "stubborn", DATABASE).await?;
    connected.batch_execute("INSERT INTO app.codes VALUES ('early', 'before')").await.expect("before the cutover it writes");

    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;

    connected.batch_execute(WRITE).await.expect_err("its session was ended");
    for role in ["stubborn", "local"] {
        let client = pair.source.connect_as(role, role, DATABASE).await?;
        let refused = client.batch_execute(WRITE).await.expect_err("no role writes any more");
        let message = refused.as_db_error().map_or_else(|| refused.to_string(), |error| error.message().to_owned());
        assert!(message.contains("read-only"), "{role}: {message}");
    }
    compare::equal(&pair.source, &pair.destination, DATABASE).await?;
    controller.must(&["complete", MAPPING]).await?;
    assert_eq!(pair.source.rows("postgres", settings).await?, before, "every setting is as it was");
    let carried = pair.destination.value("postgres", "SELECT array_agg(setconfig::text) FROM pg_db_role_setting").await?;
    assert!(!carried.contains("read_only=on"), "the block did not travel: {carried}");
    Ok(())
}

#[tokio::test]
async fn a_controller_killed_in_mid_cutover_brings_it_to_an_end_when_it_is_back() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, DATABASE, 1).await?;
    let mut controller = Controller::started(&pair.config())?;
    for (limit, succeeds) in [("2 seconds", false), ("60 seconds", true)] {
        controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
        let worker = signal_apply_worker(&pair.destination, "-STOP").await?;
        pair.destination.run("migrator", &format!("SELECT migrator.cutover('{MAPPING}', '{limit}')")).await?;
        wait_until_blocked(&pair.source).await?;
        controller.kill()?;
        signal_process(&worker, "-CONT")?;
        // The shorter limit is over before the controller is back.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        controller.start()?;
        let finished = "(SELECT count(*) = 0 FROM migrator.requests WHERE finished_at IS NULL)";
        controller.wait_for(&pair.destination, finished, READY_LIMIT).await?;
        let outcome =
            pair.destination.value("migrator", "SELECT succeeded FROM migrator.requests ORDER BY id DESC LIMIT 1").await?;
        assert_eq!(outcome, if succeeds { "t" } else { "f" });
        assert_eq!(is_blocked(&pair.source).await?, succeeds);
    }
    compare::equal(&pair.source, &pair.destination, DATABASE).await?;
    controller.must(&["complete", MAPPING]).await?;
    assert!(!is_blocked(&pair.source).await?);
    Ok(())
}

#[tokio::test]
async fn a_materialized_view_that_takes_too_long_is_named_and_does_not_keep_the_switch_waiting() -> Result<()> {
    let pair = Pair::start(15).await?;
    pair.source.run("postgres", "CREATE DATABASE small").await?;
    pair.source
        .run(
            DATABASE,
            "CREATE TABLE delay (id integer PRIMARY KEY, seconds integer); INSERT INTO delay VALUES (1, 0);
             CREATE MATERIALIZED VIEW slow AS SELECT seconds FROM delay WHERE pg_sleep(seconds)::text = ''",
        )
        .await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    pair.source.run(DATABASE, "UPDATE delay SET seconds = 100").await?;
    drained(&pair.source).await?;
    pair.destination.run("migrator", &format!("SELECT migrator.cutover('{MAPPING}', '5 seconds')")).await?;
    let waiting = "(SELECT bool_or(waiting_for LIKE '%slow%') FROM migrator.databases)";
    controller.wait_for(&pair.destination, waiting, Duration::from_mins(1)).await?;
    assert!(!is_blocked(&pair.source).await?, "nobody is kept from writing meanwhile");
    let over = "(SELECT count(*) = 1 FROM migrator.requests WHERE succeeded)";
    controller.wait_for(&pair.destination, over, Duration::from_secs(40)).await?;
    // The answer may be there a moment before the events are.
    let told = "(SELECT count(*) = 1 FROM migrator.events WHERE level = 'warning' AND message LIKE '%slow%stays as it is%')";
    controller.wait_for(&pair.destination, told, Duration::from_secs(20)).await?;
    assert_eq!(pair.destination.value(DATABASE, "SELECT seconds FROM slow").await?, "0");
    compare::equal(&pair.source, &pair.destination, DATABASE).await.map(drop)
}

#[tokio::test]
async fn what_is_over_is_not_done_again() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, DATABASE, 1).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    let again = controller.ask(&["cutover", MAPPING]).await?;
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("cut over already"), "{}", again.stderr);
    controller.must(&["complete", MAPPING]).await?;
    for command in ["cutover", "complete", "pause"] {
        let answer = controller.ask(&[command, MAPPING]).await?;
        assert_eq!(answer.code, 1);
        assert!(answer.stderr.contains("complete already"), "{command}: {}", answer.stderr);
    }
    let ready = pair.destination.rows("migrator", "SELECT ready, blockers FROM migrator.cutover_ready()").await?;
    assert_eq!(ready[0], ["f", "{\"the mapping is complete\"}"]);
    Ok(())
}
