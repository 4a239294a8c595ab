//! A migrated database looks to `pg_dump` like one that was copied with `pg_dump`, and so does one that psql made of what
//! `pg-migrator plan` prints.

use pg_migrator_tests::databases::{NAMES, SHOP, SMALL, Sample, WEIRD};
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT};
use pg_migrator_tests::{Cluster, Controller, Error, Pair, Result, compare, dump_diff, fixtures};

/// The database that all fixtures go into.
const FIXTURES: &str = "fixtures";

/// Databases with rows, and the oldest version that can load them.
const SAMPLES: &[(u32, &str, Sample)] =
    &[(13, "shop", SHOP), (10, "We ird-DB", WEIRD), (11, "námes \"q\"", NAMES), (10, "small", SMALL)];

#[tokio::test]
async fn every_object_of_postgresql_10_arrives_as_pg_dump_would_carry_it() -> Result<()> {
    arrives_as_pg_dump_would_carry_it(10).await
}

#[tokio::test]
async fn every_object_of_postgresql_13_arrives_as_pg_dump_would_carry_it() -> Result<()> {
    arrives_as_pg_dump_would_carry_it(13).await
}

#[tokio::test]
async fn every_object_of_postgresql_15_arrives_as_pg_dump_would_carry_it() -> Result<()> {
    arrives_as_pg_dump_would_carry_it(15).await
}

#[tokio::test]
async fn every_object_of_postgresql_17_arrives_as_pg_dump_would_carry_it() -> Result<()> {
    arrives_as_pg_dump_would_carry_it(17).await
}

async fn arrives_as_pg_dump_would_carry_it(major: u32) -> Result<()> {
    let (pair, yardstick, scripted) = tokio::try_join!(Pair::start(major), Cluster::start(18), Cluster::start(18))?;
    let mut with_rows = Vec::new();
    for (_, database, sample) in SAMPLES.iter().filter(|(oldest, ..)| *oldest <= major) {
        sample.load(&pair.source, database, 1).await?;
        with_rows.push(*database);
    }
    pair.source.run("postgres", &format!("CREATE DATABASE {FIXTURES}")).await?;
    fixtures::load(&pair.source, FIXTURES)?;
    let databases = [&with_rows[..], &[FIXTURES]].concat();
    dump_diff::copy_globals(&pair.source, &yardstick)?;
    for database in &databases {
        dump_diff::copy_database(&pair.source, &yardstick, database)?;
    }

    let mut controller = Controller::new(&pair.config())?;
    let plan = controller.must(&["plan", MAPPING]).await?.stdout;
    dump_diff::psql(&scripted, "postgres", &plan)?;
    controller.start()?;
    // A database that is not ready is compared all the same: the differences say more than the blockers.
    let ready = controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await;
    if ready.is_ok() {
        controller.must(&["cutover", MAPPING]).await?;
        controller.must(&["complete", MAPPING]).await?;
    }
    let mut broken = Vec::new();
    broken.extend(ready.err());
    for database in &databases {
        let expected = dump_diff::schema(&yardstick, database)?;
        match dump_diff::schema(&pair.destination, database) {
            Ok(found) => broken.extend(dump_diff::same(database, &expected, &found).err()),
            Err(error) => broken.push(error),
        }
        // A plan shows no password.
        let expected = expected.replace(r"password=sec\ret", "password=********").replace(r"E'sec=ret''\\'", "'********'");
        let of_plan = dump_diff::schema(&scripted, database)?;
        broken.extend(dump_diff::same(&format!("{database}, of the plan,"), &expected, &of_plan).err());
    }
    let expected = dump_diff::globals(&yardstick, &["postgres"])?;
    let found = dump_diff::globals(&pair.destination, &["postgres", "migrator_operator"])?;
    broken.extend(dump_diff::same("roles", &expected, &found).err());
    let of_plan = dump_diff::globals(&scripted, &["postgres"])?;
    broken.extend(dump_diff::same("roles of the plan", &without_passwords(&expected), &of_plan).err());
    for database in with_rows {
        broken.extend(compare::equal(&pair.source, &pair.destination, database).await.err());
    }
    if broken.is_empty() {
        return Ok(());
    }
    Err(Error::Broken(broken.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n")))
}

/// The roles of a dump, each without what it would have to log in with.
fn without_passwords(globals: &str) -> String {
    let without = |line: &str| match line.split_once(" PASSWORD '") {
        Some((head, tail)) => format!("{head}{}\n", tail.split_once('\'').map_or("", |(_, rest)| rest)),
        None => format!("{line}\n"),
    };
    globals.lines().map(without).collect()
}
