//! The schema `public` has on the destination whom it has on the source, and nobody else.

use pg_migrator_tests::{Cluster, Error, Result, dump_diff, schema};

/// What may have become of it, each in a database of its own.
const STATES: &[(&str, &str)] = &[
    ("untouched", ""),
    // No privilege was ever said: its owner has all, and nobody else has any.
    ("made_anew", "DROP SCHEMA public CASCADE; CREATE SCHEMA public"),
    ("made_anew_and_open", "DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC"),
    // All privileges were taken away, the owner's too.
    (
        "closed",
        "DO $$ DECLARE who name = (SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'public');
         BEGIN EXECUTE format('REVOKE ALL ON SCHEMA public FROM PUBLIC, %s', who); END $$",
    ),
    ("renamed", "ALTER SCHEMA public RENAME TO former; GRANT CREATE ON SCHEMA former TO PUBLIC"),
];

/// Who may do what in `public`, as the server works it out.
const PRIVILEGES: &str = "SELECT concat_ws(' ', n.nspname, a.grantee::regrole, a.privilege_type, a.is_grantable)
    FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a WHERE n.nspname IN ('public', 'former') ORDER BY 1";

async fn has_the_same_privileges(major: u32) -> Result<()> {
    let (source, destination, yardstick) = tokio::try_join!(Cluster::start(major), Cluster::start(18), Cluster::start(18))?;
    let mut broken = Vec::new();
    for (database, state) in STATES {
        source.run("postgres", &format!("CREATE DATABASE {database}")).await?;
        source.run(database, state).await?;
        dump_diff::copy_database(&source, &yardstick, database)?;
        broken.extend(schema::carry(&source, &destination, database).await?);
        // pg_dump takes what a renamed one has for what it was born with, and leaves that out: there the source alone is the measure.
        if *database != "renamed" {
            let (expected, found) = (dump_diff::schema(&yardstick, database)?, dump_diff::schema(&destination, database)?);
            broken.extend(dump_diff::same(database, &expected, &found).err().map(|error| error.to_string()));
        }
        let (expected, found) = (source.column(database, PRIVILEGES).await?, destination.column(database, PRIVILEGES).await?);
        if expected != found {
            broken.push(format!("{database}: {expected:?} on the source, {found:?} on the destination"));
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(Error::Broken(broken.join("\n\n"))) }
}

#[tokio::test]
async fn public_of_13_is_open_to_whom_it_was() -> Result<()> {
    has_the_same_privileges(13).await
}

#[tokio::test]
async fn public_of_17_is_open_to_whom_it_was() -> Result<()> {
    has_the_same_privileges(17).await
}
