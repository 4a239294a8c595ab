//! The harness itself: what the other scenarios rely on.

use std::time::{Duration, Instant};

use pg_migrator_tests::databases::{NAMES, SHOP, SMALL, WEIRD};
use pg_migrator_tests::{Pair, Result, compare, dump_diff};

/// Long enough for every writer to have run all its blocks.
const WRITING: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(2);

#[tokio::test]
async fn the_oracles_see_equality_and_every_kind_of_difference() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, "small", 1).await?;
    dump_diff::copy_database(&pair.source, &pair.destination, "small")?;
    compare::equal(&pair.source, &pair.destination, "small").await?;
    compare::sequences_at_or_past(&pair.source, &pair.destination, "small").await?;

    let changes = [
        "UPDATE app.people SET weight = weight + 1e-9 WHERE id = 7",
        "DELETE FROM app.readings WHERE sensor = 3",
        // One row doubled and another one gone: the count stays.
        "INSERT INTO app.events SELECT * FROM app.events WHERE n = 1 LIMIT 1; DELETE FROM app.events WHERE ctid = (SELECT ctid FROM app.events WHERE n = 2 LIMIT 1)",
        "UPDATE app.letters SET body = NULL WHERE id = 1",
        "CREATE TABLE app.surplus ()",
        "DROP TABLE app.codes",
    ];
    for change in changes {
        pair.destination.run("postgres", "CREATE DATABASE changed TEMPLATE small").await?;
        pair.destination.run("changed", change).await?;
        let outcome = compare::equal_under_names(&pair.source, "small", &pair.destination, "changed").await;
        assert!(outcome.is_err(), "not noticed: {change}");
        pair.destination.run("postgres", "DROP DATABASE changed WITH (FORCE)").await?;
    }

    pair.destination.run("small", "ALTER SEQUENCE app.loose RESTART WITH 1").await?;
    assert!(compare::sequences_at_or_past(&pair.source, &pair.destination, "small").await.is_err());

    let before = dump_diff::schema(&pair.source, "small")?;
    dump_diff::same("small", &before, &dump_diff::schema(&pair.source, "small")?)?;
    pair.source.run("small", "ALTER TABLE app.codes REPLICA IDENTITY FULL").await?;
    assert!(dump_diff::same("small", &before, &dump_diff::schema(&pair.source, "small")?).is_err());
    Ok(())
}

/// Tells faults of the writers from faults of pg-migrator: what they do is within what PostgreSQL itself can carry.
#[tokio::test]
async fn the_writers_are_carried_exactly_by_a_subscription_made_by_hand() -> Result<()> {
    let pair = Pair::start(15).await?;
    let databases = [("shop", SHOP), ("We ird-DB", WEIRD), ("Dátenbank \"q\" 'a' \\b 库", NAMES)];
    for (database, sample) in databases {
        sample.load(&pair.source, database, 1).await?;
    }
    dump_diff::copy_globals(&pair.source, &pair.destination)?;
    let mut workloads = Vec::new();
    for (seed, (database, sample)) in databases.iter().enumerate() {
        let identities = pair.source.column(database, KEYLESS_TO_FULL).await?.join(";\n");
        pair.source.run(database, &identities).await?;
        pair.source.run(database, "CREATE PUBLICATION by_hand FOR ALL TABLES").await?;
        dump_diff::copy_database(&pair.source, &pair.destination, database)?;
        for obstacle in pair.destination.column(database, OBSTACLES_OFF).await? {
            pair.destination.run(database, &obstacle).await?;
        }
        let conninfo = format!(
            "host=127.0.0.1 port={} user=postgres password={} dbname=''{}''",
            pair.source.port(),
            pair.source.password(),
            database.replace('\\', "\\\\").replace('\'', "\\''")
        );
        // The rows were copied before any writer began, so that the slot alone makes it exact.
        let slot = format!("by_hand_{seed}");
        pair.destination
            .run(
                database,
                &format!("CREATE SUBSCRIPTION {slot} CONNECTION '{conninfo}' PUBLICATION by_hand WITH (copy_data = false)"),
            )
            .await?;
        workloads.push(sample.write(&pair.source, database, seed as u64, PAUSE).await?);
    }
    tokio::time::sleep(WRITING).await;
    for workload in workloads {
        let tallies = workload.stop().await?;
        assert!(tallies.values().all(|tally| tally.committed > tally.refused), "{tallies:?}");
    }
    let written = pair.source.value("postgres", "SELECT pg_current_wal_lsn()").await?;
    let begun = Instant::now();
    let behind = format!("SELECT count(*) FROM pg_replication_slots WHERE confirmed_flush_lsn < '{written}'");
    while pair.source.value("postgres", &behind).await? != "0" {
        assert!(
            begun.elapsed() < Duration::from_mins(1),
            "the subscriptions do not catch up: {}",
            last_lines(&pair.destination.log()?)
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (database, _) in databases {
        compare::equal(&pair.source, &pair.destination, database).await?;
    }
    Ok(())
}

/// The apply worker acts as a table's owner. It is refused where row security is forced on the owner, or where the owner took
/// rights from himself: such things have no place at the destination before a cutover.
const OBSTACLES_OFF: &str =
    "SELECT format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', oid::regclass) FROM pg_class WHERE relforcerowsecurity
    UNION ALL SELECT format('GRANT ALL ON %s TO %I', oid::regclass, pg_get_userbyid(relowner)) FROM pg_class
    WHERE relkind = 'r' AND NOT has_table_privilege(relowner, oid, 'INSERT')";

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

/// Makes a statement for each table that lacks a primary key: a unique index over NOT NULL columns serves, else the whole row.
const KEYLESS_TO_FULL: &str = "SELECT format('ALTER TABLE %s REPLICA IDENTITY %s', c.oid::regclass, coalesce((
        SELECT format('USING INDEX %I', x.relname) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
        WHERE i.indrelid = c.oid AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL
          AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey) AND NOT a.attnotnull)
        LIMIT 1), 'FULL'))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)";
