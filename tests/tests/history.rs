//! A server that has lost the end of its history goes on without a word, and so does the stream. That changes are missing then is never left
//! unsaid, and a resync makes both sides equal again.

use std::fs;
use std::path::Path;
use std::time::Duration;

use pg_migrator_tests::cluster::{control, output_of};
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Cluster, Controller, Error, Pair, Result, compare};

const DATABASE: &str = "shop";
const MINUTE: Duration = Duration::from_mins(1);

/// Both sides in step, with one table that both will lose something of and one that they won't.
async fn streaming(major: u32) -> Result<(Pair, Controller)> {
    let pair = Pair::start(major).await?;
    pair.source.run("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
    pair.source.run(DATABASE, "CREATE TABLE lost (id integer PRIMARY KEY); CREATE TABLE kept (id integer PRIMARY KEY)").await?;
    pair.source.run(DATABASE, "CREATE TABLE gone (id integer PRIMARY KEY)").await?;
    pair.source.run(DATABASE, "INSERT INTO lost VALUES (1); INSERT INTO kept VALUES (1)").await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    // Nobody can compare this one any more.
    pair.source.run(DATABASE, "DROP TABLE gone").await?;
    pair.destination.run(DATABASE, "DROP TABLE gone").await?;
    Ok((pair, controller))
}

/// Stops a server as a power cut does, and waits for its end.
async fn cut(server: &Cluster) -> Result<()> {
    let postmaster = server.postmaster()?;
    control::signal(postmaster, "QUIT")?;
    while control::is_alive(postmaster) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// A copy of a server's files, while it does not run.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut copy = std::process::Command::new("cp");
    copy.arg("-a").arg(from).arg(to);
    output_of(copy).map(drop)
}

/// Puts a server's files back.
fn put_back(server: &Cluster, copied: &Path) -> Result<()> {
    let data = server.data();
    fs::remove_dir_all(&data).and_then(|()| fs::rename(copied, &data)).map_err(|error| Error::Broken(error.to_string()))
}

/// It is told, nothing is ready, and a resync of the database cures it.
async fn told_and_cured(mut controller: Controller, pair: &Pair) -> Result<()> {
    let told = "EXISTS (SELECT FROM migrator.events WHERE level = 'error' AND message LIKE 'changes may not have been carried%')
                AND EXISTS (SELECT FROM migrator.findings WHERE code = 'not_equal' AND object = 'public.lost' AND resolved_at IS NULL)
                AND NOT migrator.cutover_ready('erp')";
    controller.wait_for(&pair.destination, told, READY_LIMIT).await?;
    let over = "(SELECT string_agg(name, ' ') = 'lost' FROM migrator.carried_table WHERE doubt = 'forked')";
    controller.wait_for(&pair.destination, over, MINUTE).await?;
    controller.must(&["resync", MAPPING, DATABASE]).await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    pair.source.run(DATABASE, "INSERT INTO lost VALUES (100); INSERT INTO kept VALUES (100)").await?;
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, DATABASE).await.map(drop)
}

#[tokio::test]
async fn a_destination_put_back_to_an_earlier_copy_is_not_taken_for_one_in_step() -> Result<()> {
    let (mut pair, mut controller) = streaming(15).await?;
    cut(&pair.destination).await?;
    let earlier = pair.destination.data().with_extension("earlier");
    copy(&pair.destination.data(), &earlier)?;
    pair.destination.start_again().await?;
    pair.source.run(DATABASE, "INSERT INTO lost VALUES (2)").await?;
    drained(&pair.source).await?;
    // The controller, which may not have found the destination for a while, has seen that it was applied.
    let now = pair.destination.value("postgres", "SELECT clock_timestamp()").await?;
    let looked = format!("(SELECT max(updated_at) > '{now}' FROM migrator.mappings)");
    controller.wait_for(&pair.destination, &looked, MINUTE).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    cut(&pair.destination).await?;
    put_back(&pair.destination, &earlier)?;
    pair.destination.start_again().await?;
    told_and_cured(controller, &pair).await
}
