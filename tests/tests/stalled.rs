//! What stands still says so, and for whom it waits.

use std::time::{Duration, Instant};

use pg_migrator_tests::databases::SMALL;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Cluster, Controller, Error, Pair, Result, cluster, compare};

/// What is in the way is to be named in this time.
const NAMED_WITHIN: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_copy_that_waits_for_somebodys_lock_names_him_and_goes_on_when_he_is_done() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, "small", 1).await?;
    let mut controller = Controller::started(&pair.config())?;

    // As soon as the table is there: emptying it before the copy waits for whoever reads it.
    let begun = Instant::now();
    let reader = loop {
        if let Ok(client) = pair.destination.connect("small").await
            && client.batch_execute("BEGIN; LOCK TABLE app.letters IN ACCESS SHARE MODE").await.is_ok()
        {
            break client;
        }
        if begun.elapsed() > READY_LIMIT {
            let state = controller.report(&pair.destination).await;
            return Err(Error::Timeout { what: "the table app.letters".to_owned(), waited: begun.elapsed(), state });
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let pid = cluster::rows(&reader, "SELECT pg_backend_pid()").await?[0][0].clone();
    let said =
        format!("coalesce((SELECT waiting_for ~ 'held by pid {pid}' FROM migrator.databases WHERE database = 'small'), false)");
    controller.wait_for(&pair.destination, &said, Duration::from_mins(1)).await?;

    drop(reader);
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    let silent = "(SELECT waiting_for IS NULL FROM migrator.databases WHERE database = 'small')";
    assert_eq!(pair.destination.value(pg_migrator_tests::controller::CONTROL, &format!("SELECT {silent}")).await?, "t");
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, "small").await.map(drop)
}

/// The first database's `waiting_for` has all of these in it.
fn waits_for(patterns: &[&str]) -> String {
    let like: Vec<String> = patterns.iter().map(|pattern| format!("waiting_for ~ '{pattern}'")).collect();
    format!("coalesce((SELECT {} FROM migrator.databases WHERE database = 'small'), false)", like.join(" AND "))
}

async fn begin(server: &Cluster, statements: &str) -> Result<(tokio_postgres::Client, String)> {
    let client = server.connect("small").await?;
    let pid = cluster::rows(&client, "SELECT pg_backend_pid()").await?[0][0].clone();
    client.batch_execute(&format!("BEGIN; {statements}")).await.map_err(|error| Error::Broken(error.to_string()))?;
    Ok((client, pid))
}

#[tokio::test]
async fn transactions_that_the_slot_waits_for_are_named_and_the_wait_ends_with_them() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, "small", 1).await?;
    let (long, pid) = begin(&pair.source, "UPDATE app.letters SET body = 'slow' WHERE id = 1").await?;
    let prepare = "BEGIN; UPDATE app.letters SET body = 'prepared' WHERE id = 2; PREPARE TRANSACTION 'left behind'";
    pair.source.run("small", prepare).await?;
    let mut controller = Controller::started(&pair.config())?;
    // By process, role, database, age, statement; by name, role, database, age.
    let running = format!("pid {pid} .postgres, small, running for [0-9:]+.: .*UPDATE app.letters");
    let prepared = "prepared transaction left behind of postgres in small, prepared [0-9:]+ ago";
    controller.wait_for(&pair.destination, &waits_for(&[&running, prepared]), NAMED_WITHIN).await?;

    long.batch_execute("COMMIT").await.map_err(|error| Error::Broken(error.to_string()))?;
    let one = format!("{} AND NOT {}", waits_for(&[prepared]), waits_for(&[&format!("pid {pid} ")]));
    controller.wait_for(&pair.destination, &one, NAMED_WITHIN).await?;
    pair.source.run("small", "COMMIT PREPARED 'left behind'").await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, "small").await.map(drop)
}

#[tokio::test]
async fn who_locks_a_table_of_the_source_is_named_and_keeps_nobody_from_looking_at_the_others() -> Result<()> {
    let pair = Pair::start(14).await?;
    SMALL.load(&pair.source, "small", 1).await?;
    let lock = "LOCK TABLE app.letters IN ACCESS EXCLUSIVE MODE";
    let (locker, pid) = begin(&pair.source, lock).await?;
    let mut controller = Controller::started(&pair.config())?;
    let named = waits_for(&[&format!(
        "app.letters .AccessExclusiveLock.: pid {pid} of postgres, in a transaction for [0-9:]+: .*LOCK TABLE"
    )]);
    controller.wait_for(&pair.destination, &named, NAMED_WITHIN).await?;
    drop(locker);
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;

    // While it streams, such a lock keeps nobody from looking at the rest.
    let (locker, _) = begin(&pair.source, lock).await?;
    pair.source.run("small", "CREATE TABLE app.newcomer (id integer PRIMARY KEY)").await?;
    let seen = "(SELECT NOT ok AND detail LIKE '%newcomer%' FROM migrator.cutover_checks WHERE name = 'schemas_equal')";
    controller.wait_for(&pair.destination, seen, Duration::from_secs(4)).await?;
    pair.source.run("small", "DROP TABLE app.newcomer").await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    drop(locker);
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, "small").await.map(drop)
}
