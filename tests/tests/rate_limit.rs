//! A source gives no more bytes a second and no more sessions than it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pg_migrator_tests::cluster::rows;
use pg_migrator_tests::controller::Mapping;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Cluster, Controller, Error, Pair, Result, compare};

const RATE: f64 = 4_000_000.0;
const MEASURED_FOR: Duration = Duration::from_secs(5);
/// About 20 MB of COPY each.
const ROWS: &str = "CREATE TABLE public.rows (id int PRIMARY KEY, t text);
    INSERT INTO public.rows SELECT i, repeat(md5(i::text), 31) FROM generate_series(1, 20000) i";
/// One for each database, three for the mapping, two to copy with: the least there may be.
const SESSIONS: usize = 7;
/// What is copied beside the stream takes its sessions from the same room.
const BESIDE: &str = "CREATE UNLOGGED TABLE public.beside (id int); INSERT INTO public.beside SELECT generate_series(1, 1000);
    SELECT lo_from_bytea(0, decode(repeat('ab', 5000), 'hex')) FROM generate_series(1, 20)";

/// COPY bytes that the destination has taken so far, by database, as the server counts them; only of copies under way.
async fn taken(destination: &Cluster) -> Result<Vec<f64>> {
    let sql = "SELECT bytes_processed FROM pg_stat_progress_copy WHERE command = 'COPY FROM' ORDER BY datname";
    let texts = destination.column("postgres", sql).await?;
    Ok(texts.iter().filter_map(|text| text.parse().ok()).collect())
}

/// The most sessions that were ever seen on the source at once, while `go_on` is true.
async fn most_sessions(source: Arc<tokio_postgres::Client>, go_on: Arc<AtomicBool>) -> Result<usize> {
    let sql =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pg-migrator/%' AND backend_type = 'client backend'";
    let mut most = 0;
    while go_on.load(Ordering::Relaxed) {
        most = most.max(rows(&source, sql).await?[0][0].parse().unwrap_or(0));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(most)
}

#[tokio::test]
async fn rate_and_sessions_stay_within_their_limits_and_no_worker_starves() -> Result<()> {
    let pair = Pair::start(15).await?;
    for database in ["one", "two"] {
        pair.source.run("postgres", &format!("CREATE DATABASE {database}")).await?;
        pair.source.run(database, ROWS).await?;
        pair.source.run(database, BESIDE).await?;
    }
    let limits = |sessions: usize| {
        // More index workers than statements: neither database waits for the other's.
        let lines = format!("copy_workers = 4\nindex_workers = 50\nrate_limit = \"4MB\"\nmax_source_connections = {sessions}");
        let mapping = Mapping::bare(MAPPING, "erp_old", "erp_new").line(&lines);
        pair.instances().mapping(&mapping)
    };
    let refused = Controller::new(&limits(6))?.ask(&["check"]).await?;
    assert_eq!(refused.code, 1);
    assert!(refused.stdout.contains("[max_source_connections]") && refused.stdout.contains("at least 7"), "{}", refused.stdout);

    let go_on = Arc::new(AtomicBool::new(true));
    let observer = Arc::new(pair.source.connect("postgres").await?);
    let sessions = tokio::spawn(most_sessions(observer, Arc::clone(&go_on)));
    let mut controller = Controller::started(&limits(SESSIONS))?;
    let begun = Instant::now();
    let mut first = Vec::new();
    while first.len() < 2 || first.iter().any(|bytes| *bytes < 500_000.0) {
        if begun.elapsed() > Duration::from_mins(1) {
            return Err(Error::Broken(format!("nothing is copied:\n{}", controller.log_end())));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        first = taken(&pair.destination).await?;
    }
    let from = Instant::now();
    tokio::time::sleep(MEASURED_FOR).await;
    let last = taken(&pair.destination).await?;
    let seconds = from.elapsed().as_secs_f64();
    assert_eq!(last.len(), 2, "both copies are still under way");
    let each: Vec<f64> = first.iter().zip(&last).map(|(a, b)| (b - a) / seconds / RATE).collect();
    println!("shares of the rate: {each:?}");
    let all: f64 = each.iter().sum();
    assert!((0.93..1.05).contains(&all), "{all} of the rate: {each:?}");
    assert!(each.iter().all(|share| *share > 0.3), "one of the two starves: {each:?}");
    let shown = "(SELECT copy_limit_bytes_per_second = 4000000 AND slowed_down_by IS NULL FROM migrator.mappings)";
    controller.wait_for(&pair.destination, shown, READY_LIMIT).await?;

    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    // Whoever looks for what a stream fails at, and whoever switches over, is counted as well.
    pair.destination.run("one", "INSERT INTO public.rows VALUES (50000, 'planted')").await?;
    pair.source.run("one", "INSERT INTO public.rows VALUES (50000, 'collides')").await?;
    let told = "EXISTS (SELECT FROM migrator.findings WHERE resolved_at IS NULL AND code = 'apply_conflict')";
    controller.wait_for(&pair.destination, told, READY_LIMIT).await?;
    pair.source.run("one", "TRUNCATE public.rows").await?;
    controller.must(&["resync", MAPPING, "one.public.rows"]).await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    drained(&pair.source).await?;
    controller.must(&["cutover", MAPPING]).await?;
    go_on.store(false, Ordering::Relaxed);
    let most = sessions.await.map_err(|error| Error::Broken(error.to_string()))??;
    assert!((4..=SESSIONS).contains(&most), "{most} sessions at once on the source");
    for database in ["one", "two"] {
        compare::equal(&pair.source, &pair.destination, database).await?;
    }
    Ok(())
}
