//! Settings of a database, or of our own role, that would be in the way of an apply worker or change what it writes, come at the cutover and
//! hinder nobody before.

use std::time::{Duration, Instant};

use pg_migrator_tests::pair::{MAPPING, READY_LIMIT};
use pg_migrator_tests::{Controller, Pair, Result, compare, dump_diff};

/// Tables of two owners, one of them with what another setting reads otherwise.
const ERP: &str = "
    CREATE ROLE erp_owner;
    CREATE TABLE owned (id integer PRIMARY KEY, n integer);
    ALTER TABLE owned OWNER TO erp_owner;
    INSERT INTO owned SELECT n, n FROM generate_series(1, 100) n;
    -- A row's type has no binary form that another server could read, so everything travels as text.
    CREATE TYPE pair AS (a integer, b integer);
    CREATE TABLE read_otherwise (id integer PRIMARY KEY, list text[], doc xml, both_of pair);
    INSERT INTO read_otherwise SELECT n, ARRAY['a', NULL], xmlparse(CONTENT '<a/><b/>'), ROW(1, 2)::pair FROM generate_series(1, 100) n;
    GRANT SELECT ON read_otherwise TO erp_owner;
    CREATE ACCESS METHOD columns TYPE TABLE HANDLER heap_tableam_handler;
    ALTER DATABASE erp SET lock_timeout = '70ms';
    ALTER DATABASE erp SET transaction_timeout = '700ms';
    ALTER DATABASE erp SET array_nulls = off;
    ALTER DATABASE erp SET xmloption = document;
    ALTER DATABASE erp SET default_table_access_method = columns;
    ALTER DATABASE erp SET work_mem = '7MB';
    ALTER ROLE postgres IN DATABASE erp SET lock_timeout = '80ms';
    ALTER ROLE postgres IN DATABASE erp SET work_mem = '8MB';
    ALTER ROLE postgres SET lock_timeout = '90ms';
    ALTER DATABASE erp SET default_transaction_read_only = on;
    ALTER DATABASE erp SET role = 'erp_owner';
";

/// All that is set for the database and for the superuser.
const SET: &str = "SELECT concat_ws(' ', d.datname, r.rolname, entry) FROM pg_db_role_setting s
    LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(setconfig) entry
    WHERE d.datname = 'erp' OR r.rolname = 'postgres' ORDER BY 1";

#[tokio::test]
async fn what_would_hinder_an_apply_worker_comes_at_the_cutover() -> Result<()> {
    let pair = Pair::start(17).await?;
    pair.source.run("postgres", "CREATE DATABASE erp").await?;
    dump_diff::psql(&pair.source, "erp", ERP)?;
    let expected = pair.source.column("postgres", SET).await?;
    assert_eq!(expected.len(), 11, "{expected:?}");

    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    let early = ["erp default_table_access_method=columns", "erp postgres work_mem=8MB", "erp work_mem=7MB"];
    assert_eq!(pair.destination.column("postgres", SET).await?, early);

    // An apply worker that waits longer than those settings allow, and then reads what they read otherwise.
    let reader = pair.destination.connect("erp").await?;
    reader.batch_execute("BEGIN; LOCK TABLE read_otherwise IN ACCESS EXCLUSIVE MODE").await.expect("a lock");
    let writer = pair.source.connect("erp").await?;
    let write = "SET ROLE NONE; SET default_transaction_read_only = off";
    writer.batch_execute(write).await.expect("the settings of a session");
    let write = "UPDATE read_otherwise SET list = ARRAY[NULL, 'b'], doc = xmlparse(CONTENT '<c/><d/>') WHERE id <= 10;
                 UPDATE owned SET n = -n WHERE id <= 10";
    writer.batch_execute(write).await.expect("a write");
    drop(writer);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    reader.batch_execute("ROLLBACK").await.expect("the lock is let go");
    let begun = Instant::now();
    while pair.destination.value("erp", "SELECT count(*) FROM owned WHERE n < 0").await? != "10" {
        assert!(begun.elapsed() < READY_LIMIT, "it never arrives: {}", controller.report(&pair.destination).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let errors = pair.destination.value("erp", "SELECT sum(apply_error_count) FROM pg_stat_subscription_stats").await?;
    assert_eq!(errors, "0", "nothing was tried twice");
    compare::equal(&pair.source, &pair.destination, "erp").await?;
    let usual = "SELECT count(*) FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE relname IN ('owned', 'read_otherwise') AND amname = 'heap'";
    assert_eq!(pair.destination.value("erp", usual).await?, "2");

    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    assert_eq!(pair.destination.column("postgres", SET).await?, expected);
    controller.must(&["complete", MAPPING]).await?;
    assert_eq!(pair.destination.column("postgres", SET).await?, expected);
    assert_eq!(pair.source.column("postgres", SET).await?, expected, "and the source has its own again");
    Ok(())
}
