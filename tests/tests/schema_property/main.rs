//! Schemas nobody thought of: whatever a random schema holds, it arrives as `pg_dump` would carry it.
//!
//! A case is one schema with some twenty objects that use each other and those of earlier schemas, with owners, grants, comments
//! and hostile names. Many cases share a database, and a database is compared as a whole. `SCHEMA_SEED` repeats or varies a
//! run, `SCHEMA_CASES` makes it longer: so many cases from each version.

mod generate;
mod names;

use std::fmt::Write as _;

use generate::{ROLES, World};
use pg_migrator_tests::{Cluster, Error, Result, dump_diff, schema};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// Cases in one database.
const TOGETHER: usize = 25;

fn number(name: &str, default: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().map_err(|error| Error::Broken(format!("{name}={text}: {error}"))),
        Err(_) => Ok(default),
    }
}

async fn any_schema_arrives_as_pg_dump_would_carry_it(majors: [u32; 4]) -> Result<()> {
    let (seed, cases) = (number("SCHEMA_SEED", 18)?, number("SCHEMA_CASES", 25)?);
    let (destination, yardstick) = tokio::try_join!(Cluster::start(18), Cluster::start(18))?;
    let roles = ROLES.iter().fold(String::new(), |mut sql, role| {
        // Writing to a String can't fail.
        let _ = write!(sql, "CREATE ROLE {};", names::ident(role));
        sql
    });
    for cluster in [&destination, &yardstick] {
        cluster.run("postgres", &roles).await?;
    }
    for major in majors {
        let source = Cluster::start(major).await?;
        source.run("postgres", &roles).await?;
        for round in 0..(cases as usize).div_ceil(TOGETHER) {
            let database = format!("round_{major}_{round}");
            source.run("postgres", &format!("CREATE DATABASE {database}")).await?;
            let client = source.connect(&database).await?;
            // Every version has schemas of its own.
            let own_seed = seed.wrapping_mul(100).wrapping_add(u64::from(major)).wrapping_mul(1000).wrapping_add(round as u64);
            let mut world = World::new(client, major, StdRng::seed_from_u64(own_seed));
            for case in 0..TOGETHER.min(cases as usize - round * TOGETHER) {
                world.case(round * TOGETHER + case).await?;
            }
            let (made, refused) = world.end();
            // Some statements make no sense, and the server says so; if most did, this test would test nothing.
            assert!(refused * 4 < made, "seed {seed}, {database}: {refused} statements were refused, only {made} were not");
            dump_diff::copy_database(&source, &yardstick, &database)?;
            let mut broken = schema::carry(&source, &destination, &database).await?;
            // PostgreSQL 10 lets a child's column be null where the parent has a key; without rows the schemas become the same.
            broken.retain(|text| !text.starts_with("finding nullable_child"));
            let (expected, found) = (dump_diff::schema(&yardstick, &database)?, dump_diff::schema(&destination, &database)?);
            broken.extend(dump_diff::same(&database, &expected, &found).err().map(|error| error.to_string()));
            if !broken.is_empty() {
                return Err(Error::Broken(format!("SCHEMA_SEED={seed}: {}", broken.join("\n\n"))));
            }
            for cluster in [&source, &destination, &yardstick] {
                cluster.run("postgres", &format!("DROP DATABASE {database}")).await?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn any_schema_of_postgresql_10_to_13_arrives_as_pg_dump_would_carry_it() -> Result<()> {
    any_schema_arrives_as_pg_dump_would_carry_it([10, 11, 12, 13]).await
}

#[tokio::test]
async fn any_schema_of_postgresql_14_to_17_arrives_as_pg_dump_would_carry_it() -> Result<()> {
    any_schema_arrives_as_pg_dump_would_carry_it([14, 15, 16, 17]).await
}
