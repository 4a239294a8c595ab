//! A migrated database looks to `pg_dump` like one that was copied with `pg_dump`.

use pg_migrator_tests::databases::{NAMES, SHOP, SMALL, WEIRD};
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT};
use pg_migrator_tests::{Cluster, Controller, Error, Pair, Result, compare, dump_diff, fixtures};

/// The database that all fixtures go into.
const FIXTURES: &str = "fixtures";

#[tokio::test]
async fn every_object_of_postgresql_15_arrives_as_pg_dump_would_carry_it() -> Result<()> {
    arrives_as_pg_dump_would_carry_it(15).await
}

#[tokio::test]
async fn every_object_of_postgresql_17_arrives_as_pg_dump_would_carry_it() -> Result<()> {
    arrives_as_pg_dump_would_carry_it(17).await
}

async fn arrives_as_pg_dump_would_carry_it(major: u32) -> Result<()> {
    let pair = Pair::start(major).await?;
    let yardstick = Cluster::start(18).await?;
    let mut databases = Vec::new();
    for (database, sample) in [("shop", SHOP), ("We ird-DB", WEIRD), ("námes \"q\"", NAMES), ("small", SMALL)] {
        sample.load(&pair.source, database, 1).await?;
        databases.push(database.to_owned());
    }
    pair.source.run("postgres", &format!("CREATE DATABASE {FIXTURES}")).await?;
    fixtures::load(&pair.source, FIXTURES)?;
    databases.push(FIXTURES.to_owned());
    dump_diff::copy_globals(&pair.source, &yardstick)?;
    for database in &databases {
        dump_diff::copy_database(&pair.source, &yardstick, database)?;
    }

    let mut controller = Controller::started(&pair.config())?;
    // A database that is not ready is compared all the same: the differences say more than the blockers.
    let ready = controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await;
    if ready.is_ok() {
        controller.must(&["cutover", MAPPING]).await?;
        controller.must(&["complete", MAPPING]).await?;
    }
    let mut broken = Vec::new();
    broken.extend(ready.err());
    for database in &databases {
        match (dump_diff::schema(&yardstick, database), dump_diff::schema(&pair.destination, database)) {
            (Ok(expected), Ok(found)) => broken.extend(dump_diff::same(database, &expected, &found).err()),
            (expected, found) => broken.extend(expected.err().into_iter().chain(found.err())),
        }
    }
    let ours = ["migrator_operator"];
    broken.extend(
        dump_diff::same("roles", &dump_diff::globals(&yardstick, &["postgres"])?, &globals_without(&pair.destination, &ours)?)
            .err(),
    );
    for database in ["shop", "We ird-DB", "námes \"q\"", "small"] {
        broken.extend(compare::equal(&pair.source, &pair.destination, database).await.err());
    }
    if broken.is_empty() {
        return Ok(());
    }
    Err(Error::Broken(broken.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n")))
}

fn globals_without(cluster: &Cluster, roles: &[&str]) -> Result<String> {
    dump_diff::globals(cluster, &[&["postgres"], roles].concat())
}
