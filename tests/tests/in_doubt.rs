//! What happens to a table behind its stream's back, so that changes may be missing although the stream is in step, does not go unnoticed: not
//! by a controller that was away meanwhile, and not by a cutover that is asked for before anybody has looked.

use std::time::{Duration, Instant};

use pg_migrator_tests::controller::Mapping;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Controller, Error, Pair, Result, compare};

const DATABASE: &str = "shop";
const MINUTE: Duration = Duration::from_mins(1);

async fn loaded(major: u32, tables: &str) -> Result<Pair> {
    let pair = Pair::start(major).await?;
    pair.source.run("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
    pair.source.run(DATABASE, tables).await?;
    Ok(pair)
}

const TWO: &str = "CREATE TABLE t (id integer PRIMARY KEY, v text); CREATE TABLE t_new (id integer PRIMARY KEY, v text);
                   INSERT INTO t SELECT i, 'old' FROM generate_series(1, 100) i; INSERT INTO t_new SELECT i, 'new' FROM generate_series(1, 50) i";
/// With the names of their keys, which the destination's have.
const SWAP: &str = "BEGIN; ALTER TABLE t RENAME TO t_old; ALTER TABLE t_new RENAME TO t; ALTER TABLE t_old RENAME TO t_new;
                    ALTER TABLE t RENAME CONSTRAINT t_new_pkey TO t_old_pkey; ALTER TABLE t_new RENAME CONSTRAINT t_pkey TO t_new_pkey;
                    ALTER TABLE t RENAME CONSTRAINT t_old_pkey TO t_pkey; COMMIT";

/// The tables that differ, as the findings say.
fn different(tables: &str) -> String {
    format!(
        "(SELECT string_agg(object, ' ' ORDER BY object) = '{tables}' AND bool_and(fix LIKE '%migrator.resync%')
          FROM migrator.findings WHERE code = 'not_equal' AND resolved_at IS NULL)"
    )
}

const NOT_READY: &str = "NOT migrator.cutover_ready('erp')";

/// Nobody gets a cutover before the tables are copied anew, and then it leaves both sides equal.
async fn cured_by(mut controller: Controller, pair: &Pair, tables: &[&str]) -> Result<()> {
    let answer = controller.ask(&["cutover", MAPPING]).await?;
    assert_eq!(answer.code, 1, "{}", answer.stdout);
    for table in tables {
        controller.must(&["resync", MAPPING, &format!("{DATABASE}.public.{table}")]).await?;
    }
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    let left =
        "(SELECT count(*) = 0 FROM migrator.findings WHERE code IN ('carried_in_doubt', 'not_equal') AND resolved_at IS NULL)";
    controller.wait_for(&pair.destination, left, MINUTE).await?;
    controller.must(&["cutover", MAPPING]).await?;
    compare::equal(&pair.source, &pair.destination, DATABASE).await.map(drop)
}

#[tokio::test]
async fn tables_that_have_swapped_their_names_are_not_called_equal() -> Result<()> {
    let pair = loaded(15, TWO).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.kill()?;
    pair.source.run(DATABASE, SWAP).await?;
    controller.start()?;
    controller.wait_for(&pair.destination, &different("public.t public.t_new"), READY_LIMIT).await?;
    controller.wait_for(&pair.destination, NOT_READY, MINUTE).await?;
    cured_by(controller, &pair, &["t", "t_new"]).await
}

#[tokio::test]
async fn a_swap_right_before_the_cutover_is_found_by_it() -> Result<()> {
    let pair = loaded(15, TWO).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    pair.source.run(DATABASE, SWAP).await?;
    let answer = controller.ask(&["cutover", MAPPING]).await?;
    assert_eq!(answer.code, 1, "{}", answer.stdout);
    assert!(answer.stdout.contains("public.t") && answer.stdout.contains("another table has its name"), "{}", answer.stdout);
    pair.source.run(DATABASE, "INSERT INTO t VALUES (1000, 'writable')").await?;
    Ok(())
}

#[tokio::test]
async fn tables_that_swap_their_names_while_others_are_copied_are_copied_by_their_new_names() -> Result<()> {
    let pair = loaded(15, TWO).await?;
    let large = "CREATE TABLE large (id integer PRIMARY KEY, v text);
                 INSERT INTO large SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, 12000) i";
    pair.source.run(DATABASE, large).await?;
    let mapping = Mapping::bare(MAPPING, "erp_old", "erp_new").line("copy_workers = 1").line("rate_limit = \"1MB\"");
    let mut controller = Controller::started(&pair.instances().mapping(&mapping))?;
    let begun = Instant::now();
    loop {
        let copied =
            "SELECT COALESCE(string_agg(name, ',' ORDER BY name) FILTER (WHERE bytes_copied > 0), '') FROM migrator.tables";
        match pair.destination.value("migrator", copied).await.unwrap_or_default().as_str() {
            "large" => break,
            "" if begun.elapsed() < MINUTE => tokio::time::sleep(Duration::from_millis(50)).await,
            other => return Err(Error::Broken(format!("not the large table alone is being copied: {other:?}"))),
        }
    }
    // By its old name the row comes after the copy, by its new one it belongs to the other table.
    pair.source.run(DATABASE, "INSERT INTO t VALUES (1000, 'in between'); DELETE FROM t_new WHERE id > 40").await?;
    pair.source.run(DATABASE, SWAP).await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, DATABASE).await.map(drop)
}

#[tokio::test]
async fn what_was_not_published_for_a_while_is_told_and_what_has_missed_nothing_is_over_by_itself() -> Result<()> {
    let tables = "CREATE TABLE gone (id integer PRIMARY KEY); CREATE TABLE cut (id integer PRIMARY KEY); CREATE TABLE still (id integer PRIMARY KEY);
                  INSERT INTO gone SELECT generate_series(1, 20); INSERT INTO cut SELECT generate_series(1, 20);
                  INSERT INTO still SELECT generate_series(1, 20)";
    let pair = loaded(11, tables).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.kill()?;
    let publication = "ALTER PUBLICATION pg_migrator_erp";
    pair.source.run(DATABASE, &format!("{publication} DROP TABLE gone")).await?;
    pair.source.run(DATABASE, "INSERT INTO gone VALUES (21)").await?;
    pair.source.run(DATABASE, &format!("{publication} ADD TABLE ONLY gone")).await?;
    pair.source.run(DATABASE, &format!("{publication} SET (publish = 'insert, update, truncate')")).await?;
    pair.source.run(DATABASE, "DELETE FROM cut WHERE id > 10").await?;
    pair.source.run(DATABASE, &format!("{publication} SET (publish = 'insert, update, delete, truncate')")).await?;
    controller.start()?;
    let told = "(SELECT string_agg(object, ' ' ORDER BY object) LIKE '%public.cut public.gone%' AND bool_and(severity = 'error')
                 FROM migrator.findings WHERE code = 'carried_in_doubt')";
    controller.wait_for(&pair.destination, told, MINUTE).await?;
    controller.wait_for(&pair.destination, &different("public.cut public.gone"), MINUTE).await?;
    let over = "(SELECT string_agg(name, ' ' ORDER BY name) = 'cut gone' FROM migrator.carried_table WHERE doubt IS NOT NULL)";
    controller.wait_for(&pair.destination, over, MINUTE).await?;
    cured_by(controller, &pair, &["cut", "gone"]).await
}

#[tokio::test]
async fn a_column_whose_values_each_side_has_made_for_itself_is_not_called_equal() -> Result<()> {
    let tables = "CREATE TABLE made (id integer PRIMARY KEY); CREATE TABLE same (id integer PRIMARY KEY); CREATE TABLE turned (id integer PRIMARY KEY, n integer);
                  INSERT INTO made SELECT generate_series(1, 20); INSERT INTO same SELECT generate_series(1, 20);
                  INSERT INTO turned SELECT i, i FROM generate_series(1, 20) i";
    let pair = loaded(14, tables).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    let change =
        "ALTER TABLE made ADD COLUMN u uuid DEFAULT gen_random_uuid(); ALTER TABLE same ADD COLUMN n integer DEFAULT 7 NOT NULL";
    pair.source.run(DATABASE, change).await?;
    pair.destination.run(DATABASE, change).await?;
    // Rewritten, and of the type that it had.
    pair.source.run(DATABASE, "ALTER TABLE turned ALTER COLUMN n TYPE integer USING -n").await?;
    controller.wait_for(&pair.destination, &different("public.made public.turned"), READY_LIMIT).await?;
    let over = "(SELECT string_agg(name, ' ' ORDER BY name) = 'made turned' FROM migrator.carried_table WHERE doubt IS NOT NULL)";
    controller.wait_for(&pair.destination, over, MINUTE).await?;
    cured_by(controller, &pair, &["made", "turned"]).await
}

#[tokio::test]
async fn a_table_in_doubt_that_is_renamed_on_both_sides_is_proved_by_its_new_name() -> Result<()> {
    let pair = loaded(15, "CREATE TABLE made (id integer PRIMARY KEY); INSERT INTO made SELECT generate_series(1, 20)").await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    let change = "ALTER TABLE made ADD COLUMN u uuid DEFAULT gen_random_uuid()";
    pair.source.run(DATABASE, change).await?;
    pair.destination.run(DATABASE, change).await?;
    controller.wait_for(&pair.destination, &different("public.made"), READY_LIMIT).await?;
    let rename = "ALTER TABLE made RENAME TO named";
    pair.source.run(DATABASE, rename).await?;
    pair.destination.run(DATABASE, rename).await?;
    controller.wait_for(&pair.destination, &different("public.named"), READY_LIMIT).await?;
    // The stream carries this.
    pair.source.run(DATABASE, "UPDATE named SET u = md5(id::text)::uuid").await?;
    let over = "(SELECT count(*) = 0 FROM migrator.carried_table WHERE doubt IS NOT NULL)";
    controller.wait_for(&pair.destination, over, READY_LIMIT).await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    compare::equal(&pair.source, &pair.destination, DATABASE).await.map(drop)
}

#[tokio::test]
async fn a_partition_detached_on_the_source_alone_is_not_called_equal() -> Result<()> {
    let tables = "CREATE TABLE root (id integer NOT NULL) PARTITION BY RANGE (id);
                  CREATE TABLE low PARTITION OF root FOR VALUES FROM (0) TO (100); CREATE TABLE high PARTITION OF root FOR VALUES FROM (100) TO (200);
                  ALTER TABLE low ADD PRIMARY KEY (id); ALTER TABLE high ADD PRIMARY KEY (id);
                  INSERT INTO root SELECT generate_series(1, 150)";
    let pair = loaded(10, tables).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    pair.source.run(DATABASE, "ALTER TABLE root DETACH PARTITION low").await?;
    let answer = controller.ask(&["cutover", MAPPING]).await?;
    assert_eq!(answer.code, 1, "{}", answer.stdout);
    let told =
        "(SELECT NOT ok AND detail LIKE '%public.low%public.root%' FROM migrator.cutover_checks WHERE name = 'schemas_equal')";
    controller.wait_for(&pair.destination, told, MINUTE).await?;
    pair.destination.run(DATABASE, "ALTER TABLE root DETACH PARTITION low").await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    let rows = "SELECT count(*) FROM root";
    assert_eq!(pair.destination.value(DATABASE, rows).await?, pair.source.value(DATABASE, rows).await?);
    Ok(())
}
