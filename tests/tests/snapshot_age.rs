//! The source's vacuum is held back no longer than `max_snapshot_age` says, however long the copy takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pg_migrator_tests::cluster::rows;
use pg_migrator_tests::controller::{CONTROL, Mapping};
use pg_migrator_tests::databases::{SMALL, megabytes};
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Controller, Error, Pair, Result, compare};

const AGE: Duration = Duration::from_secs(2);
/// A table that was begun is brought to its end (half a second at the rate below), and a busy machine takes its time for the rest.
const TOLERANCE: Duration = Duration::from_secs(3);

/// For how long the source's oldest snapshot has been the same at most, as the source's own list of sessions and slots says. Without us
/// it would be another one all the time: transactions come and go.
async fn longest_hold(source: Arc<tokio_postgres::Client>, go_on: Arc<AtomicBool>) -> Result<Duration> {
    let sql = "SELECT min(xmin::text::bigint) FROM (
                   SELECT backend_xmin AS xmin FROM pg_stat_activity WHERE pid <> pg_backend_pid()
                   UNION ALL SELECT xmin FROM pg_replication_slots) held WHERE xmin IS NOT NULL";
    let (mut held, mut since, mut longest) = (String::new(), Instant::now(), Duration::ZERO);
    while go_on.load(Ordering::Relaxed) {
        let oldest = rows(&source, sql).await?[0][0].clone();
        if oldest != held {
            (held, since) = (oldest, Instant::now());
        } else if held != "NULL" {
            longest = longest.max(since.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(longest)
}

#[tokio::test]
async fn a_copy_that_takes_longer_goes_on_under_new_snapshots_and_is_exact() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, "small", 1).await?;
    // At the rate below they take half a second each.
    megabytes(&pair.source, "small", 16).await?;
    let writers = SMALL.write(&pair.source, "small", 1, Duration::from_millis(5)).await?;
    let go_on = Arc::new(AtomicBool::new(true));
    let observer = Arc::new(pair.source.connect("postgres").await?);
    let watching = tokio::spawn(longest_hold(observer, Arc::clone(&go_on)));
    let lines = format!("max_snapshot_age = \"{}s\"\nrate_limit = \"2MB\"", AGE.as_secs());
    let mapping = Mapping::new(MAPPING, "erp_old", "erp_new").line(&lines);
    let mut controller = Controller::started(&pair.instances().mapping(&mapping))?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    go_on.store(false, Ordering::Relaxed);
    let longest = watching.await.map_err(|error| Error::Broken(error.to_string()))??;
    println!("the oldest snapshot was held for {longest:?} at most");
    assert!(longest > AGE / 2, "nothing was measured: {longest:?}");
    assert!(longest < AGE + TOLERANCE, "the source's vacuum was held back for {longest:?}");
    let passes = "SELECT count(*) FROM migrator.events WHERE message LIKE 'copied % of % tables'";
    let passes = pair.destination.value(CONTROL, passes).await?;
    assert!(passes.parse::<u32>().is_ok_and(|passes| passes >= 3), "{passes} passes");

    writers.stop().await?;
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, "small").await.map(drop)
}
