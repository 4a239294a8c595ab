//! A column that is added on the source after its table was looked at, and before it is copied, does not stay empty on the destination.

use std::time::{Duration, Instant};

use pg_migrator_tests::controller::Mapping;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Controller, Error, Pair, Result, compare};

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn what_was_written_into_it_before_the_copy_arrives() -> Result<()> {
    let pair = Pair::start(15).await?;
    for database in ["first", "second"] {
        pair.source.run("postgres", &format!("CREATE DATABASE {database}")).await?;
        // Large enough that the other database waits for the only worker.
        let table = "CREATE TABLE t (id integer PRIMARY KEY, v text);
                     INSERT INTO t SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, 15000) i";
        pair.source.run(database, table).await?;
    }
    let mapping = Mapping::bare(MAPPING, "erp_old", "erp_new").line("copy_workers = 1").line("rate_limit = \"1MB\"");
    let mut controller = Controller::started(&pair.instances().mapping(&mapping))?;
    // Both have looked at their tables; one copies, and the other has its turn later.
    let copying = "(SELECT count(*) = 2 FROM migrator.databases WHERE phase = 'copying')";
    controller.wait_for(&pair.destination, copying, MINUTE).await?;
    let begun = Instant::now();
    let waiting = loop {
        let state = "SELECT string_agg(database, ',') FROM migrator.tables WHERE bytes_copied > 0";
        let begun_with = pair.destination.value("migrator", state).await?;
        match begun_with.as_str() {
            "first" => break "second",
            "second" => break "first",
            _ if begun.elapsed() > MINUTE => {
                return Err(Error::Broken(format!("not one table is being copied, but {begun_with}\n{}", controller.log_end())));
            }
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    pair.source.run(waiting, "ALTER TABLE t ADD COLUMN c integer; UPDATE t SET c = id").await?;
    // It can't be copied without a place for the column; whoever reads that makes one, as the check says.
    let told = format!(
        "(SELECT bool_or(database = '{waiting}') FROM migrator.findings WHERE code = 'copy_failed' AND resolved_at IS NULL)"
    );
    controller.wait_for(&pair.destination, &told, MINUTE).await?;
    pair.destination.run(waiting, "ALTER TABLE t ADD COLUMN c integer").await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    drained(&pair.source).await?;
    assert_eq!(pair.destination.value(waiting, "SELECT count(*) FROM t WHERE c = id").await?, "15000");
    compare::equal(&pair.source, &pair.destination, waiting).await.map(drop)
}
