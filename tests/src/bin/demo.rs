//! `make demo`: a shop under load moves from an older server to PostgreSQL 18 while one looks on.
//!
//! Everything is real: two servers, about 200 MB, writers that never pause for it. With `CI` set nothing is asked, and the exit
//! status is 0 only if both servers were equal at the end.

use std::io::BufRead as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use pg_migrator_tests::cluster::{free_port, has_server};
use pg_migrator_tests::controller::CONTROL;
use pg_migrator_tests::databases::SHOP;
use pg_migrator_tests::pair::MAPPING;
use pg_migrator_tests::{Cluster, Controller, Error, Pair, Result, Workload, compare};

const DATABASE: &str = "shop";
/// 100 gives about 200 MB.
const SCALE: u32 = 100;
/// Between two transactions of one writer.
const PAUSE: Duration = Duration::from_millis(20);
const READY_LIMIT: Duration = Duration::from_mins(15);
/// The address that the dashboard has by default.
const DASHBOARD: u16 = 8432;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match demo().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nthe demo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result<()> {
    let major = [15, 17, 16, 14, 13].into_iter().find(|major| has_server(*major));
    let major =
        major.ok_or_else(|| Error::Broken("there is no PostgreSQL 13 to 17 on this machine: run make setup".to_owned()))?;
    say(&format!("Starting PostgreSQL {major}, the old server, and an empty PostgreSQL 18."));
    let pair = Pair::start(major).await?;

    say("Filling the shop on the old server: five schemas, partitions, keyless tables, triggers …");
    SHOP.load(&pair.source, DATABASE, SCALE).await?;
    let size = pair.source.value(DATABASE, &format!("SELECT pg_size_pretty(pg_database_size('{DATABASE}'))")).await?;
    let writers = SHOP.write(&pair.source, DATABASE, 1, PAUSE).await?;
    say(&format!("  {size} with its indexes. From now on {} writers change every table, and do not stop.", writers.writers()));

    let port = if std::net::TcpListener::bind(("127.0.0.1", DASHBOARD)).is_ok() { DASHBOARD } else { free_port()? };
    let mut controller = Controller::started(&pair.config().dashboard(port))?;
    say("pg-migrator run is up. Watch it here, or in psql with: select * from migrator.status()");
    say(&format!("  dashboard:  http://127.0.0.1:{port}"));
    say(&format!(
        "  psql:       PGPASSWORD={} psql -h 127.0.0.1 -p {} -U postgres migrator\n",
        pair.destination.password(),
        pair.destination.port()
    ));

    let begun = Instant::now();
    show_until_ready(&mut controller, &pair.destination, begun).await?;
    say(&format!(
        "\nReady after {:.1} s: migrator.cutover_ready('{MAPPING}') says so, and the writers are still at it.",
        begun.elapsed().as_secs_f64()
    ));

    if std::env::var_os("CI").is_none() {
        wait_for_enter("Press Enter to cut over: writes on the old server are blocked, the rest is carried over.").await?;
        // Time has passed since it was ready.
        show_until_ready(&mut controller, &pair.destination, begun).await?;
    }
    finish(&pair, &mut controller, writers).await
}

/// Cuts over under load, compares, cleans up, and says what that proved.
async fn finish(pair: &Pair, controller: &mut Controller, writers: Workload) -> Result<()> {
    let begun = Instant::now();
    controller.must(&["cutover", MAPPING]).await?;
    say(&format!("Cut over in {:.2} s, from the request to the answer.", begun.elapsed().as_secs_f64()));
    let tallies = writers.stop().await?;
    let committed: u64 = tallies.values().map(|tally| tally.committed).sum();

    let digests = compare::equal(&pair.source, &pair.destination, DATABASE).await?;
    let rows: u64 = digests.values().map(|digest| digest.rows).sum();
    for ((schema, name), digest) in &digests {
        say(&format!("  equal  {:<40} {:>9} rows", format!("{schema}.{name}"), digest.rows));
    }
    let sequences = compare::sequences_at_or_past(&pair.source, &pair.destination, DATABASE).await?;
    pair.destination.connect_as("shop_app", "app-old-password", DATABASE).await?;

    controller.must(&["complete", MAPPING]).await?;
    for (cluster, what) in [
        (&pair.source, "pg_replication_slots"),
        (&pair.destination, "pg_subscription"),
        (&pair.destination, "pg_replication_origin"),
    ] {
        let left = cluster.value("postgres", &format!("SELECT count(*) FROM {what}")).await?;
        if left != "0" {
            return Err(Error::Broken(format!("{left} rows are left in {what}")));
        }
    }
    let publications = pair.source.value(DATABASE, "SELECT count(*) FROM pg_publication").await?;
    if publications != "0" {
        return Err(Error::Broken(format!("{publications} publications are left on the old server")));
    }
    controller.stop().await?;

    say("\nWhat this proved:");
    say(&format!(
        "  - {} tables with {rows} rows are equal on both servers, by the servers' own counts and hashes,",
        digests.len()
    ));
    say(&format!("    after {committed} transactions that the writers committed meanwhile;"));
    say(&format!("  - {sequences} sequences go on where they were, and a role logs in with its old password;"));
    say("  - no slot, publication, subscription or origin is left on either server.");
    Ok(())
}

/// A line a second from `migrator.status()` until the mapping may be cut over.
async fn show_until_ready(controller: &mut Controller, destination: &Cluster, begun: Instant) -> Result<()> {
    let waiting = Instant::now();
    let mut shown = String::new();
    loop {
        let ready =
            controller.wait_for(destination, &format!("migrator.cutover_ready('{MAPPING}')"), Duration::from_secs(1)).await;
        // The views may not be there yet: the controller makes them.
        let lines = destination.column(CONTROL, STATUS).await.unwrap_or_default().join("\n");
        if !lines.is_empty() && lines != shown {
            say(&format!("{:>6.1} s  {lines}", begun.elapsed().as_secs_f64()));
            shown = lines;
        }
        match ready {
            Ok(()) => return Ok(()),
            Err(error) if !controller.is_running() || waiting.elapsed() > READY_LIMIT => return Err(error),
            Err(_) => {}
        }
    }
}

const STATUS: &str = "SELECT format('%-10s %-14s %s of %s tables in step, %s of %s copied, %s behind',
        database, status, tables_synced, tables_total, pg_size_pretty(bytes_copied), pg_size_pretty(bytes_total),
        coalesce(pg_size_pretty(lag_bytes), '?'))
    FROM migrator.status() WHERE database IS NOT NULL";

async fn wait_for_enter(prompt: &str) -> Result<()> {
    say(prompt);
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)
    });
    read.await
        .map_err(|error| Error::Broken(format!("waiting for Enter: {error}")))?
        .map(drop)
        .map_err(|source| Error::Io { doing: "waiting for Enter".to_owned(), source })
}

fn say(line: &str) {
    println!("{line}");
}
