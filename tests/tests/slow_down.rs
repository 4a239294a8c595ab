//! The copy makes way for those who work on the source, and takes its pace up again when they are done.

use std::time::Duration;

use pg_migrator_tests::controller::{CONTROL, Mapping};
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Cluster, Controller, Error, Pair, Result, compare};

/// About 45 MB of COPY.
const ROWS: &str = "CREATE TABLE public.rows (id int PRIMARY KEY, t text);
    INSERT INTO public.rows SELECT i, repeat(md5(i::text), 31) FROM generate_series(1, 45000) i";
const RATE: u64 = 3_000_000;

/// COPY bytes a second over a while, as the destination counts them.
async fn rate(destination: &Cluster) -> Result<f64> {
    let sql =
        "SELECT bytes_processed, extract(epoch FROM clock_timestamp()) FROM pg_stat_progress_copy WHERE command = 'COPY FROM'";
    let look = || async {
        let rows = destination.rows("postgres", sql).await?;
        let numbers: Vec<f64> = rows.iter().flatten().filter_map(|text| text.parse().ok()).collect();
        <[f64; 2]>::try_from(numbers).map_err(|found| Error::Broken(format!("no single copy is under way: {found:?}")))
    };
    let [bytes, at] = look().await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let [more, later] = look().await?;
    Ok((more - bytes) / (later - at))
}

#[tokio::test]
async fn load_on_the_source_slows_the_copy_and_its_end_frees_it() -> Result<()> {
    let pair = Pair::start(15).await?;
    pair.source.run("postgres", "CREATE DATABASE busy").await?;
    pair.source.run("busy", ROWS).await?;
    let lines = format!("rate_limit = {RATE}\nslow_down = {{ active_sessions = 2, at_least = \"400kB\" }}");
    let mapping = Mapping::new(MAPPING, "erp_old", "erp_new").line(&lines);
    let mut controller = Controller::started(&pair.instances().mapping(&mapping))?;
    let copying = "(SELECT bytes_copied > 2000000 AND phase = 'copying' FROM migrator.databases)";
    controller.wait_for(&pair.destination, copying, READY_LIMIT).await?;
    let before = rate(&pair.destination).await?;
    assert!(before > 0.9 * RATE as f64, "{before} bytes a second at first");

    // One session holds a lock, four wait for it: that is work that does not get done.
    let failed = |error| Error::Broken(format!("locking: {error}"));
    let holder = pair.source.connect("busy").await?;
    holder.batch_execute("SELECT pg_advisory_lock(1)").await.map_err(failed)?;
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let client = pair.source.connect("busy").await?;
        waiting.push(tokio::spawn(async move { client.batch_execute("SELECT pg_advisory_lock_shared(1)").await }));
    }
    let slow =
        "(SELECT copy_limit_bytes_per_second = 400000 AND slowed_down_by LIKE '4 sessions are active on the source, at most 2'
                 FROM migrator.mappings)";
    controller.wait_for(&pair.destination, slow, READY_LIMIT).await?;
    let meanwhile = rate(&pair.destination).await?;
    assert!((300_000.0..500_000.0).contains(&meanwhile), "{meanwhile} bytes a second while the source was busy");

    holder.batch_execute("SELECT pg_advisory_unlock(1)").await.map_err(failed)?;
    for task in waiting {
        task.await.map_err(|error| Error::Broken(error.to_string()))?.map_err(failed)?;
    }
    let free = format!("(SELECT copy_limit_bytes_per_second = {RATE} AND slowed_down_by IS NULL FROM migrator.mappings)");
    controller.wait_for(&pair.destination, &free, READY_LIMIT).await?;
    let after = rate(&pair.destination).await?;
    assert!(after > 0.9 * RATE as f64, "{after} bytes a second afterwards");
    println!("{before} bytes a second, {meanwhile} under load, {after} after it");
    let told = "SELECT count(*) FROM migrator.events WHERE message LIKE 'copying slows down to % a second: %'
                   OR message LIKE 'copying is as fast as before%'";
    assert_eq!(pair.destination.value(CONTROL, told).await?, "2");
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, "busy").await.map(drop)
}
