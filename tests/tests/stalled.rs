//! A copy that stands still says so, and for whom it waits.

use std::time::{Duration, Instant};

use pg_migrator_tests::databases::SMALL;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Controller, Error, Pair, Result, cluster, compare};

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
