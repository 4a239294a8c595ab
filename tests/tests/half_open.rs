//! Something between two servers can forget one end of a connection and keep the other one open. Whoever waits there is told by nobody: it has
//! to be noticed within a minute, whatever is waited for.

use std::time::{Duration, Instant};

use pg_migrator_tests::cluster::rows;
use pg_migrator_tests::controller::{CONTROL, Mapping};
use pg_migrator_tests::faults::proxy::Proxy;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT};
use pg_migrator_tests::{Cluster, ConfigFile, Controller, Error, Pair, Result};

/// Bytes a second through a proxy.
const RATE: u64 = 100 << 20;
/// The promise.
const NOTICED_WITHIN: Duration = Duration::from_secs(58);

/// The mapping with a proxy between controller and source, and another one between the two servers.
fn config(pair: &Pair, to_source: &Proxy, between: &Proxy) -> ConfigFile {
    ConfigFile::new()
        .instance_at("erp_old", to_source.port(), pair.source.user(), pair.source.password())
        .instance_line(&format!("from_destination = {{ host = \"127.0.0.1\", port = {} }}", between.port()))
        .instance("erp_new", &pair.destination)
        .mapping(&Mapping::new(MAPPING, "erp_old", "erp_new"))
}

async fn until(server: &Cluster, database: &str, condition: &str, limit: Duration) -> Result<Duration> {
    let begun = Instant::now();
    while server.value(database, &format!("SELECT {condition}")).await? != "t" {
        if begun.elapsed() > limit {
            let state = "it never came".to_owned();
            return Err(Error::Timeout { what: condition.to_owned(), waited: begun.elapsed(), state });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(begun.elapsed())
}

#[tokio::test]
async fn a_comparison_whose_answer_went_astray_is_given_up_within_a_minute() -> Result<()> {
    let pair = Pair::start(15).await?;
    let (source, destination) = (&pair.source, &pair.destination);
    source.run("postgres", "CREATE DATABASE small").await?;
    let tables = "CREATE TABLE one (id integer PRIMARY KEY, t text); CREATE TABLE two (id integer PRIMARY KEY, t text);
                  INSERT INTO one SELECT i, 'x' FROM generate_series(1, 100) i; INSERT INTO two SELECT i, 'x' FROM generate_series(1, 100) i";
    source.run("small", tables).await?;
    let (to_source, between) = (Proxy::start(source.port(), RATE).await?, Proxy::start(source.port(), RATE).await?);
    let mut controller = Controller::started(&config(&pair, &to_source, &between))?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;

    // A row that the stream meets and the destination lacks is looked for, by comparing all tables.
    let locker = source.connect("small").await?;
    rows(&locker, "BEGIN").await?;
    rows(&locker, "LOCK TABLE two IN ACCESS EXCLUSIVE MODE").await?;
    destination.run("small", "DELETE FROM one WHERE id = 5").await?;
    source.run("small", "UPDATE one SET t = 'y' WHERE id = 5").await?;
    let waits = "EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'pg-migrator/%' AND wait_event_type = 'Lock'
                                AND query LIKE '%FROM ONLY%two%')";
    until(source, "postgres", waits, READY_LIMIT).await?;
    to_source.silence();
    // The server answers, and its answer arrives nowhere.
    rows(&locker, "ROLLBACK").await?;
    let told = "EXISTS (SELECT FROM migrator.findings WHERE code = 'rows_missing' AND resolved_at IS NULL
                        AND reason LIKE '%could not be found%the connection is lost%')";
    let took = until(destination, CONTROL, told, NOTICED_WITHIN).await?;
    println!("given up after {took:?}");
    Ok(())
}

#[tokio::test]
async fn a_stream_whose_connection_is_half_open_goes_on_within_a_minute() -> Result<()> {
    // The servers themselves would not notice it in the time of this scenario.
    let server = |major| Cluster::of(major).set("wal_receiver_timeout", "10min").set("wal_sender_timeout", "10min");
    let (source, destination) = tokio::try_join!(server(16).start(), server(18).start())?;
    let pair = Pair { source, destination };
    let (source, destination) = (&pair.source, &pair.destination);
    source.run("postgres", "CREATE DATABASE small").await?;
    source.run("small", "CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)").await?;
    let (to_source, between) = (Proxy::start(source.port(), RATE).await?, Proxy::start(source.port(), RATE).await?);
    let mut controller = Controller::started(&config(&pair, &to_source, &between))?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;

    let worker = destination.value("small", "SELECT pid FROM pg_stat_subscription WHERE pid IS NOT NULL").await?;
    between.silence();
    source.run("small", "INSERT INTO t VALUES (101)").await?;
    let took = until(destination, "small", "EXISTS (SELECT FROM t WHERE id = 101)", NOTICED_WITHIN).await?;
    println!("gone on after {took:?}");
    let successor = destination.value("small", "SELECT pid FROM pg_stat_subscription WHERE pid IS NOT NULL").await?;
    assert_ne!(successor, worker);
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await
}
