//! Tables are copied in the windows of the schedule only; streams run at all times.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pg_migrator_tests::controller::Mapping;
use pg_migrator_tests::databases::{SMALL, megabytes};
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Controller, Pair, Result, compare};

const PAUSE: Duration = Duration::from_millis(20);

/// A window of so many seconds that opens once an hour, first in `seconds` from now.
fn window(seconds: u64, duration: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let at = (now + seconds) % 3600;
    format!("schedule = [{{ start = \"{} {} * * * *\", duration = \"{duration}s\" }}]", at % 60, at / 60)
}

fn mapping(window: &str) -> Mapping {
    Mapping::new(MAPPING, "erp_old", "erp_new").line(window)
}

#[tokio::test]
async fn nothing_is_copied_before_the_window_opens_and_the_status_says_when_it_does() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, "small", 1).await?;
    let writers = SMALL.write(&pair.source, "small", 1, PAUSE).await?;
    let mut controller = Controller::started(&pair.instances().mapping(&mapping(&window(15, 600))))?;
    // The stream runs before the first table is copied, so that the source need not keep its log.
    let waiting =
        "(SELECT waiting_for LIKE 'the copy window, opens at 20%:% UTC' AND status = 'in_catchup' FROM migrator.status())";
    controller.wait_for(&pair.destination, waiting, Duration::from_secs(14)).await?;
    let stream = "SELECT (SELECT bool_and(subenabled) FROM pg_subscription) || ' ' || (SELECT count(*) FROM pg_subscription_rel)";
    assert_eq!(pair.destination.value("small", stream).await?, "true 0");
    let snapshots =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pg-migrator/%' AND backend_xmin IS NOT NULL";
    assert_eq!(pair.source.value("postgres", snapshots).await?, "0", "no snapshot is held while waiting");

    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    let began = "SELECT (SELECT min(at) FROM migrator.events WHERE message = 'copying goes on') IS NOT NULL";
    assert_eq!(pair.destination.value("migrator", began).await?, "t");
    assert_eq!(
        pair.destination.value("migrator", "SELECT count(*) FROM migrator.databases WHERE waiting_for IS NOT NULL").await?,
        "0"
    );
    writers.stop().await?;
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, "small").await.map(drop)
}

#[tokio::test]
async fn a_window_that_closes_ends_the_pass_and_what_was_copied_streams_on() -> Result<()> {
    let pair = Pair::start(15).await?;
    pair.source.run("postgres", "CREATE DATABASE many").await?;
    // At the rate below they take half a second each.
    megabytes(&pair.source, "many", 40).await?;
    let lines = mapping(&window(0, 12)).line("rate_limit = \"2MB\"");
    let mut controller = Controller::started(&pair.instances().mapping(&lines))?;
    let waiting = "(SELECT waiting_for LIKE 'the copy window%' AND tables_synced > 0 AND tables_synced < tables_total
                    FROM migrator.databases)";
    controller.wait_for(&pair.destination, waiting, READY_LIMIT).await?;
    assert_eq!(pair.destination.value("migrator", "SELECT migrator.cutover_ready('erp')").await?, "f");
    // What was copied follows the source.
    let done = pair.destination.value("many", "SELECT srrelid::regclass FROM pg_subscription_rel ORDER BY 1 LIMIT 1").await?;
    pair.source.run("many", &format!("UPDATE {done} SET t = 'changed'")).await?;
    drained(&pair.source).await?;
    let changed = format!("SELECT count(*) = 1000 FROM {done} WHERE t = 'changed'");
    assert_eq!(pair.destination.value("many", &changed).await?, "t");
    let snapshots =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pg-migrator/%' AND backend_xmin IS NOT NULL";
    assert_eq!(pair.source.value("postgres", snapshots).await?, "0");

    // With another schedule the rest follows.
    controller.kill()?;
    let mut controller = Controller::started(&pair.instances().mapping(&mapping(&window(2, 600))))?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, "many").await.map(drop)
}

#[tokio::test]
async fn what_was_ready_is_so_after_a_restart_without_being_copied_again_while_nothing_may_be_copied() -> Result<()> {
    let pair = Pair::start(15).await?;
    let (source, destination) = (&pair.source, &pair.destination);
    SMALL.load(source, "small", 1).await?;
    let beside = "CREATE UNLOGGED TABLE app.cache (id integer PRIMARY KEY, t text); INSERT INTO app.cache SELECT i, 'x' FROM generate_series(1, 100) i;
                  SELECT lo_from_bytea(70000, 'large')";
    source.run("small", beside).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
    // TRUNCATE gives a table another file.
    let file = "SELECT pg_relation_filenode('app.cache')";
    let copied = destination.value("small", file).await?;

    // In a window that opens in half an hour.
    controller.kill()?;
    let closed = pair.instances().mapping(&mapping(&window(1800, 60)));
    let mut controller = Controller::started(&closed)?;
    let ready = "migrator.cutover_ready('erp')";
    ready_anew(&mut controller, &pair, ready).await?;
    let detail = "SELECT detail LIKE '1 tables (100 rows, %) and 1 large objects%' FROM migrator.cutover_checks WHERE name = 'carried_beside'";
    assert_eq!(destination.value("migrator", detail).await?, "t");
    // What is new there is not passed over.
    for server in [source, destination] {
        server.run("small", "CREATE UNLOGGED TABLE app.later (id integer PRIMARY KEY)").await?;
    }
    let told = "(SELECT NOT ok AND detail LIKE '%app.later has not been copied yet; copying waits for the copy window, opens at%'
                 FROM migrator.cutover_checks WHERE name = 'carried_beside')";
    controller.wait_for(destination, told, READY_LIMIT).await?;
    for server in [source, destination] {
        server.run("small", "DROP TABLE app.later").await?;
    }
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;

    // While it is paused.
    controller.kill()?;
    let mut controller = Controller::started(&pair.config())?;
    controller.must(&["pause", MAPPING]).await?;
    controller.kill()?;
    let before = destination.value("small", file).await?;
    controller.start()?;
    ready_anew(&mut controller, &pair, ready).await?;
    assert_eq!(destination.value("small", file).await?, before);
    assert_eq!(before, copied, "it was copied again though nothing was new");
    controller.must(&["cutover", MAPPING]).await?;
    compare::equal(source, destination, "small").await.map(drop)
}

/// Waits until a controller that has just been started says itself that all is ready.
async fn ready_anew(controller: &mut Controller, pair: &Pair, ready: &str) -> Result<()> {
    let since = pair.destination.value("migrator", "SELECT clock_timestamp()").await?;
    let looked = format!("{ready} AND (SELECT updated_at > '{since}'::timestamptz + interval '3 s' FROM migrator.mappings)");
    controller.wait_for(&pair.destination, &looked, READY_LIMIT).await
}
