//! What `pg-migrator plan` prints, psql makes a database of, and it is the one that `pg_dump` would have carried.

use pg_migrator_tests::pair::MAPPING;
use pg_migrator_tests::{Cluster, Controller, Error, Pair, Result, dump_diff, fixtures};

const DATABASE: &str = "fixtures";

#[tokio::test]
async fn psql_makes_of_the_plan_what_pg_dump_would_carry_from_10() -> Result<()> {
    psql_makes_of_the_plan_what_pg_dump_would_carry(10).await
}

#[tokio::test]
async fn psql_makes_of_the_plan_what_pg_dump_would_carry_from_13() -> Result<()> {
    psql_makes_of_the_plan_what_pg_dump_would_carry(13).await
}

async fn psql_makes_of_the_plan_what_pg_dump_would_carry(major: u32) -> Result<()> {
    let (pair, yardstick) = tokio::try_join!(Pair::start(major), Cluster::start(18))?;
    pair.source.run("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
    fixtures::load(&pair.source, DATABASE)?;
    dump_diff::copy_globals(&pair.source, &yardstick)?;
    dump_diff::copy_database(&pair.source, &yardstick, DATABASE)?;

    let controller = Controller::new(&pair.config())?;
    let plan = controller.must(&["plan", MAPPING]).await?.stdout;
    dump_diff::psql(&pair.destination, "postgres", &plan)?;

    let mut broken = Vec::new();
    let (expected, found) = (dump_diff::schema(&yardstick, DATABASE)?, dump_diff::schema(&pair.destination, DATABASE)?);
    // A plan shows no password.
    let expected = expected.replace(r"password=sec\ret", "password=********").replace(r"E'sec=ret''\\'", "'********'");
    broken.extend(dump_diff::same(DATABASE, &expected, &found).err());
    let (expected, found) =
        (dump_diff::globals(&yardstick, &["postgres"])?, dump_diff::globals(&pair.destination, &["postgres"])?);
    broken.extend(dump_diff::same("roles", &expected, &found).err());
    if broken.is_empty() {
        return Ok(());
    }
    Err(Error::Broken(broken.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n")))
}
