//! Rows are read from a standby of the source, as exactly as from the source itself.

use std::time::{Duration, Instant};

use pg_migrator_tests::cluster::rows;
use pg_migrator_tests::controller::{CONTROL, Mapping};
use pg_migrator_tests::databases::{SHOP, SMALL, megabytes};
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Cluster, ConfigFile, Controller, Error, Pair, Result, compare};

const FEEDBACK: [(&str, &str); 1] = [("hot_standby_feedback", "on")];
const STATE: &str = "SELECT pg_get_wal_replay_pause_state()";
const FROM_STANDBY: &str = "reading from the standby";

fn config(pair: &Pair, standby: &Cluster, more: &str) -> ConfigFile {
    let mapping = Mapping::new(MAPPING, "erp_old", "erp_new").line("copy_from = \"erp_standby\"").line(more);
    pair.instances().instance("erp_standby", standby).mapping(&mapping)
}

/// How often rows were read from the standby, as the controller says.
fn passes(controller: &Controller) -> Result<usize> {
    Ok(controller.log()?.matches(FROM_STANDBY).count())
}

#[tokio::test]
async fn copies_from_a_standby_are_exact_under_load_and_replay_goes_on() -> Result<()> {
    let pair = Pair::start(15).await?;
    let standby = pair.source.standby(&FEEDBACK).await?;
    SHOP.load(&pair.source, "shop", 1).await?;
    let writers = SHOP.write(&pair.source, "shop", 1, Duration::from_millis(2)).await?;
    let mut controller = Controller::started(&config(&pair, &standby, "split_above = 100000"))?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    // Again and again: each pass has another position, with other transactions on both sides of it.
    for _ in 0..4 {
        controller.must(&["resync", MAPPING, "shop"]).await?;
        controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    }
    writers.stop().await?;
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, "shop").await?;
    assert!(passes(&controller)? >= 5, "the source was read instead:\n{}", controller.log_end());
    assert_eq!(standby.value("postgres", STATE).await?, "not paused");
    let ledger = "SELECT count(*) > 0 AND bool_and(undone_at IS NOT NULL) FROM migrator.side_effects WHERE kind = 'replay_pause'";
    assert_eq!(pair.destination.value(CONTROL, ledger).await?, "t");
    Ok(())
}

#[tokio::test]
async fn a_controller_killed_while_replay_is_paused_leaves_no_standby_that_stands_still() -> Result<()> {
    let pair = Pair::start(15).await?;
    let standby = pair.source.standby(&FEEDBACK).await?;
    SMALL.load(&pair.source, "small", 1).await?;
    let mut controller = Controller::new(&config(&pair, &standby, ""))?;
    let observer = standby.connect("postgres").await?;
    let begun = Instant::now();
    controller.start()?;
    let mut ready = false;
    loop {
        if rows(&observer, STATE).await?[0][0] != "not paused" {
            controller.kill()?;
            break;
        }
        if !ready && passes(&controller)? > 0 {
            // Missed it: once more.
            controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
            ready = true;
        }
        if ready {
            controller.must(&["resync", MAPPING, "small"]).await?;
            ready = false;
        }
        if begun.elapsed() > READY_LIMIT {
            return Err(Error::Broken(format!("replay was never seen paused:\n{}", controller.log_end())));
        }
    }
    // Nobody is there to end the pause: it ends by itself.
    let killed = Instant::now();
    while rows(&observer, STATE).await?[0][0] != "not paused" {
        assert!(killed.elapsed() < Duration::from_secs(10), "replay stands still");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // If it does not, whoever comes next ends it: the ledger says whose it is.
    let open = "SELECT count(*) FROM migrator.side_effects WHERE kind = 'replay_pause' AND undone_at IS NULL";
    assert_eq!(pair.destination.value(CONTROL, open).await?, "1");
    standby.run("postgres", "SELECT pg_wal_replay_pause()").await?;
    controller.start()?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    assert_eq!(standby.value("postgres", STATE).await?, "not paused");
    assert_eq!(pair.destination.value(CONTROL, open).await?, "0");
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, "small").await.map(drop)
}

#[tokio::test]
async fn the_source_is_read_when_its_standby_can_not_be_and_a_finding_says_why() -> Result<()> {
    let pair = Pair::start(15).await?;
    let standby = pair.source.standby(&[]).await?;
    SMALL.load(&pair.source, "small", 1).await?;
    // Once it is there, too, it is paused by somebody else, and falls behind.
    let begun = Instant::now();
    while standby.databases().await?.is_empty() && begun.elapsed() < READY_LIMIT {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    standby.run("postgres", "SELECT pg_wal_replay_pause()").await?;
    let mut controller = Controller::started(&config(&pair, &standby, ""))?;
    let told = |why: &str| {
        format!(
            "(SELECT count(*) = 1 FROM migrator.findings WHERE code = 'standby_not_used' AND severity = 'warning' AND reason LIKE '%{why}%')"
        )
    };
    controller.wait_for(&pair.destination, &told("replay is paused"), READY_LIMIT).await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    assert_eq!(passes(&controller)?, 0);
    assert_eq!(standby.value("postgres", STATE).await?, "paused", "a pause that is not ours stays");
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, "small").await?;
    controller.kill()?;
    let stranger = Controller::new(&config(&pair, &pair.destination, ""))?.ask(&["check"]).await?;
    assert!(stranger.stdout.contains("[standby_not_used]") && stranger.stdout.contains("not a standby"), "{}", stranger.stdout);
    Ok(())
}

#[tokio::test]
async fn a_standby_that_fails_in_the_middle_of_a_copy_is_replaced_by_the_source() -> Result<()> {
    let pair = Pair::start(15).await?;
    let standby = pair.source.standby(&FEEDBACK).await?;
    SHOP.load(&pair.source, "shop", 10).await?;
    let writers = SHOP.write(&pair.source, "shop", 1, Duration::from_millis(10)).await?;
    let mut controller = Controller::started(&config(&pair, &standby, "rate_limit = \"1MB\""))?;
    let some = "(SELECT tables_in_catchup > 2 FROM migrator.databases)";
    controller.wait_for(&pair.destination, some, READY_LIMIT).await?;
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'pg-migrator/%'";
    assert_ne!(standby.value("postgres", end).await?, "0");
    let told = "(SELECT count(*) > 0 FROM migrator.findings WHERE code = 'standby_not_used')";
    controller.wait_for(&pair.destination, told, READY_LIMIT).await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    assert_eq!(passes(&controller)?, 1, "the rest was read from the source");
    writers.stop().await?;
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, "shop").await.map(drop)
}

#[tokio::test]
async fn a_copy_that_takes_long_is_read_from_the_standby_to_its_end() -> Result<()> {
    let pair = Pair::start(15).await?;
    let standby = pair.source.standby(&FEEDBACK).await?;
    pair.source.run("postgres", "CREATE DATABASE long").await?;
    // At the rate below they take half a minute: longer than it takes to give a session up that its server does not know.
    megabytes(&pair.source, "long", 30).await?;
    let mut controller = Controller::started(&config(&pair, &standby, "rate_limit = \"1MB\""))?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    assert_eq!(passes(&controller)?, 1, "in one pass");
    let found = "SELECT count(*) FROM migrator.findings WHERE code = 'standby_not_used'";
    assert_eq!(pair.destination.value(CONTROL, found).await?, "0");
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, "long").await.map(drop)
}
