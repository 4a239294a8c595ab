//! Nothing is lost, doubled or changed while everything is being written to.

use std::time::Duration;

use pg_migrator_tests::databases::{NAMES, SHOP, SMALL, Sample, WEIRD};
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Cluster, Controller, Error, Pair, Result, compare};

/// One in every respect hostile name, for a database.
const HOSTILE: &str = "Dátenbank \"q\" 'a' \\b 库";
const DATABASES: [(&str, Sample); 4] = [("shop", SHOP), ("We ird-DB", WEIRD), (HOSTILE, NAMES), ("small", SMALL)];
const PAUSE: Duration = Duration::from_millis(10);

#[tokio::test]
async fn every_row_sequence_and_role_arrives_while_all_tables_of_several_databases_are_written_to() -> Result<()> {
    let pair = Pair::start(15).await?;
    for (database, sample) in DATABASES {
        sample.load(&pair.source, database, 2).await?;
    }
    let mut writers = Vec::new();
    for (seed, (database, sample)) in DATABASES.iter().enumerate() {
        writers.push(sample.write(&pair.source, database, 100 * seed as u64, PAUSE).await?);
    }

    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    // The streams carry some more before the writers stop.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for workload in writers {
        let tallies = workload.stop().await?;
        if let Some((name, _)) = tallies.iter().find(|(_, tally)| tally.cut_off) {
            return Err(Error::Broken(format!("writer {name} was blocked although nobody asked for a cutover")));
        }
    }
    drained(&pair.source).await?;
    for (database, _) in DATABASES {
        compare::equal(&pair.source, &pair.destination, database).await?;
    }

    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    for (database, _) in DATABASES {
        compare::equal(&pair.source, &pair.destination, database).await?;
        compare::sequences_at_or_past(&pair.source, &pair.destination, database).await?;
        writes_are_refused(&pair, database).await?;
    }
    roles_are_carried(&pair).await?;
    the_destination_is_in_working_order(&pair).await?;
    controller.must(&["complete", MAPPING]).await?;
    the_destination_is_in_working_order(&pair).await
}

/// The writers are not asked to stop: the cutover stops them, in the middle of whatever they do. Small pieces of work memory make
/// the source stream transactions before they have committed, which the destination applies in parallel.
#[tokio::test]
async fn a_cutover_under_full_load_loses_no_committed_transaction() -> Result<()> {
    let (source, destination) =
        tokio::try_join!(Cluster::of(16).set("logical_decoding_work_mem", "64kB").start(), Cluster::start(18))?;
    let pair = Pair { source, destination };
    let databases = [("shop", SHOP), ("We ird-DB", WEIRD)];
    let mut writers = Vec::new();
    for (database, sample) in databases {
        sample.load(&pair.source, database, 1).await?;
        writers.push(sample.write(&pair.source, database, 7, Duration::from_millis(3)).await?);
    }
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    for workload in writers {
        let tallies = workload.stop().await?;
        assert!(tallies.values().all(|tally| tally.cut_off), "a writer went on after the cutover: {tallies:?}");
    }
    for (database, _) in databases {
        compare::equal(&pair.source, &pair.destination, database).await?;
        compare::sequences_at_or_past(&pair.source, &pair.destination, database).await?;
    }
    Ok(())
}

async fn writes_are_refused(pair: &Pair, database: &str) -> Result<()> {
    match pair.source.run(database, "CREATE TABLE must_fail ()").await {
        Err(Error::Server { source, .. }) if source.code().is_some_and(|code| code.code() == "25006") => Ok(()),
        other => Err(Error::Broken(format!("after the cutover {database:?} of the source still takes writes: {other:?}"))),
    }
}

/// Old passwords open the new server, since the hashes are the same.
async fn roles_are_carried(pair: &Pair) -> Result<()> {
    let hashes = "SELECT rolname, rolpassword, rolcanlogin, rolconnlimit, rolvaliduntil FROM pg_authid
                  WHERE rolname !~ '^(pg_|migrator_|postgres$)' ORDER BY rolname::text COLLATE \"C\"";
    let (old, new) = tokio::try_join!(pair.source.rows("postgres", hashes), pair.destination.rows("postgres", hashes))?;
    assert_eq!(old, new, "roles");
    assert!(old.iter().filter(|role| role[1].starts_with("SCRAM-SHA-256$")).count() >= 3, "{old:?}");

    let app = pair.destination.connect_as("shop_app", "app-old-password", "shop").await?;
    let path = pg_migrator_tests::cluster::rows(&app, "SHOW search_path").await?;
    assert_eq!(path[0][0], "shop, inventory, pg_catalog");
    pair.destination.connect_as("Rölle \"q\" 'a' \\b", "pässwörd '\"\\ 密码", HOSTILE).await?;
    assert!(pair.destination.connect_as("shop_app", "another password", "shop").await.is_err());
    Ok(())
}

/// Sequences give new values, triggers fire, constraints hold, generated columns are computed.
async fn the_destination_is_in_working_order(pair: &Pair) -> Result<()> {
    let written =
        "WITH c AS (INSERT INTO shop.customers (name, email) VALUES ('After', gen_random_uuid() || '@example.org') RETURNING id),
                        o AS (INSERT INTO shop.orders (customer_id) SELECT min(id) FROM shop.customers RETURNING id)
                   SELECT c.id, o.id FROM c, o";
    let ids = pair.destination.rows("shop", written).await?;
    let audited = format!("SELECT count(*) FROM audit.log WHERE what = 'INSERT' AND new ->> 'id' = '{}'", ids[0][1]);
    assert_eq!(pair.destination.value("shop", &audited).await?, "1", "the audit trigger fires once after the cutover");
    let invalid = "SELECT count(*) FROM pg_constraint WHERE NOT convalidated AND conname <> 'reminders_level'";
    assert_eq!(pair.destination.value("shop", invalid).await?, "0", "foreign keys are valid");
    let orphan = pair.destination.run("shop", "INSERT INTO shop.orders (customer_id) VALUES (-1)").await;
    assert!(orphan.is_err(), "foreign keys hold");
    Ok(())
}
