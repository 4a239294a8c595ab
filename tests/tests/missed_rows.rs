//! Rows that somebody has taken away on the destination are not forgotten because their table is being written to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pg_migrator_tests::controller::CONTROL;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Cluster, Controller, Error, Pair, Result, compare};

const DATABASE: &str = "shared";

/// A table with key and one without that are written to all the time, and one that is not.
const TABLES: &str = "
    CREATE TABLE busy (id integer PRIMARY KEY, t text);
    CREATE TABLE log (n integer, t text);
    CREATE TABLE a (id integer PRIMARY KEY, t text);
    INSERT INTO busy SELECT i, md5(i::text) FROM generate_series(1, 200) i;
    INSERT INTO log SELECT i, md5(i::text) FROM generate_series(1, 50) i;
    INSERT INTO a SELECT i, md5(i::text) FROM generate_series(1, 200) i";

async fn streaming(major: u32) -> Result<(Pair, Controller)> {
    let pair = Pair::start(major).await?;
    pair.source.run("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
    pair.source.run(DATABASE, TABLES).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    Ok((pair, controller))
}

/// The open finding about missing rows, of a severity and with a reason.
fn told(severity: &str, reason: &str) -> String {
    format!(
        "EXISTS (SELECT FROM migrator.findings WHERE code = 'rows_missing' AND resolved_at IS NULL
                 AND severity = '{severity}' AND reason LIKE '%{reason}%')"
    )
}

/// Writes to the busy tables, through whatever ends its sessions.
async fn keep_writing(source: &Cluster, go_on: &AtomicBool) -> Result<()> {
    while go_on.load(Ordering::Relaxed) {
        let Ok(client) = source.connect(DATABASE).await else { continue };
        let write = "UPDATE busy SET t = clock_timestamp()::text WHERE id = 100";
        let log = "UPDATE log SET t = clock_timestamp()::text WHERE n = 10; INSERT INTO log VALUES (1000, 'more')";
        while go_on.load(Ordering::Relaxed) && client.batch_execute(write).await.is_ok() {
            // It is dropped in the end.
            client.batch_execute(log).await.ok();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(())
}

async fn refused(controller: &Controller, table: &str) -> Result<()> {
    let answer = controller.ask(&["cutover", MAPPING]).await?;
    let said = format!("{}{}", answer.stdout, answer.stderr);
    if answer.code == 1 && said.contains(table) && said.contains("is not equal") && said.contains("migrator.resync") {
        return Ok(());
    }
    Err(Error::Broken(format!("the cutover was to be refused for {table}: {}\n{said}\n{}", answer.code, controller.log_end())))
}

#[tokio::test]
async fn a_row_put_back_by_hand_otherwise_in_a_busy_table_is_refused_within_the_block() -> Result<()> {
    let (pair, mut controller) = streaming(16).await?;
    let (source, destination) = (&pair.source, &pair.destination);
    let go_on = AtomicBool::new(true);
    let scenario = async {
        destination.run(DATABASE, "DELETE FROM busy WHERE id = 5").await?;
        source.run(DATABASE, "UPDATE busy SET t = 'true' WHERE id = 5").await?;
        controller.wait_for(destination, &told("error", "public.busy lacks (id) = (5)"), READY_LIMIT).await?;
        assert_eq!(destination.value(CONTROL, "SELECT migrator.cutover_ready('erp')").await?, "f");
        destination.run(DATABASE, "INSERT INTO busy VALUES (5, 'made up')").await?;

        // No key is lacking, and more can't be told while the table changes: that stands in nobody's way, but it is said, and not forgotten
        // by a controller that comes new.
        let busy = told("warning", "within the block of the cutover%public.busy");
        controller.wait_for(destination, &busy, READY_LIMIT).await?;
        controller.kill()?;
        controller.start()?;
        let looked = "(SELECT max(updated_at) > clock_timestamp() - interval '2 s' FROM migrator.mappings)";
        controller.wait_for(destination, looked, READY_LIMIT).await?;
        controller.wait_for(destination, &busy, READY_LIMIT).await?;
        let counted = "EXISTS (SELECT FROM migrator.cutover_checks WHERE name = 'proved_equal' AND ok AND detail LIKE '%could not be compared%public.busy%')";
        controller.wait_for(destination, counted, READY_LIMIT).await?;
        // One that was not forgotten and is gone can't be compared by anybody.
        controller.wait_for(destination, &told("warning", "within the block of the cutover%public.log"), READY_LIMIT).await?;
        source.run(DATABASE, "DROP TABLE log").await?;
        drained(source).await?;
        destination.run(DATABASE, "DROP TABLE log").await?;
        controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
        let blocks = "SELECT count(*) FROM migrator.side_effects WHERE kind = 'write_block'";
        assert_eq!(destination.value(CONTROL, blocks).await?, "0");
        refused(&controller, "public.busy").await?;
        assert_ne!(destination.value(CONTROL, blocks).await?, "0", "it was found within the block");

        controller.must(&["resync", MAPPING, &format!("{DATABASE}.public.busy")]).await?;
        controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
        controller.must(&["cutover", MAPPING]).await.map(drop)
    };
    let done = async {
        let outcome = scenario.await;
        go_on.store(false, Ordering::Relaxed);
        outcome
    };
    tokio::try_join!(keep_writing(source, &go_on), done)?;
    let proved = "SELECT (report -> 'databases' -> 0 ->> 'proved_equal')::integer >= 1 FROM migrator.requests WHERE kind = 'cutover' AND succeeded";
    assert_eq!(destination.value(CONTROL, proved).await?, "t", "what could not be compared before was, within the block");
    compare::equal(source, destination, DATABASE).await.map(drop)
}
