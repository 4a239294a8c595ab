//! A source on which our role is no superuser, as with managed services: what can't be read or done is a finding, and what can be
//! moved moves.

use pg_migrator_tests::databases::SMALL;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT};
use pg_migrator_tests::{Cluster, ConfigFile, Controller, Mapping, Pair, Result, compare};

/// Our role there: it may replicate, and is a member of the owner of everything but what `HIDDEN` makes.
const MOVER: &str = "
    CREATE ROLE mover LOGIN PASSWORD 'mover' REPLICATION;
    CREATE ROLE owner LOGIN PASSWORD 'owner';
    GRANT owner TO mover;
";

/// What it may not see or do.
const HIDDEN: &str = "
    CREATE TABLE foreign_table (id integer PRIMARY KEY);
    CREATE SCHEMA closed;
    CREATE TABLE closed.within (id integer PRIMARY KEY);
    CREATE SEQUENCE hidden_sequence;
    CREATE TABLE hidden_rows (id integer PRIMARY KEY);
    ALTER TABLE hidden_rows OWNER TO owner;
    ALTER TABLE hidden_rows ENABLE ROW LEVEL SECURITY;
    ALTER TABLE hidden_rows FORCE ROW LEVEL SECURITY;
    CREATE FOREIGN DATA WRAPPER wrapper;
    CREATE SERVER server FOREIGN DATA WRAPPER wrapper;
    CREATE USER MAPPING FOR owner SERVER server OPTIONS (password 'hidden');
    CREATE SUBSCRIPTION hidden CONNECTION 'host=192.0.2.1 password=hidden' PUBLICATION p WITH (connect = false);
    SELECT lo_create(42);
";

fn config(source: &Cluster, destination: &Cluster, databases: &[&str]) -> ConfigFile {
    ConfigFile::new()
        .instance_at("erp_old", source.port(), "mover", "mover")
        .instance("erp_new", destination)
        .mapping(&Mapping::new(MAPPING, "erp_old", "erp_new").databases(databases).line("fallback_password = \"changeme\""))
}

async fn what_is_hidden_is_told(major: u32) -> Result<()> {
    let pair = Pair::start(major).await?;
    pair.source.run("postgres", MOVER).await?;
    pair.source.run("postgres", "CREATE DATABASE hidden").await?;
    pair.source.run("hidden", HIDDEN).await?;
    for sql in ["CREATE DATABASE barred", "REVOKE CONNECT ON DATABASE barred FROM PUBLIC"] {
        pair.source.run("postgres", sql).await?;
    }
    let controller = Controller::new(&config(&pair.source, &pair.destination, &["hidden", "barred"]))?;
    let checked = controller.check().await?;
    checked.must_have(&[
        ("error", "barred", "unreachable", "barred"),
        ("error", "hidden", "database_privileges", "hidden"),
        ("error", "hidden", "table_privileges", "tables"),
        ("error", "hidden", "schema_privileges", "schemas"),
        ("error", "hidden", "sequence_privileges", "sequences"),
        ("error", "hidden", "row_security", "tables"),
        ("warning", "", "source_not_superuser", "mover"),
        ("warning", "", "role_password_unreadable", "owner"),
        ("warning", "hidden", "user_mapping_options", "owner"),
        ("warning", "hidden", "subscription", "hidden"),
        ("info", "", "activity_hidden", "mover"),
    ])?;
    assert!(!checked.findings.iter().any(|f| f.code == "check_failed" || f.code == "plan_failed"), "{checked:?}");
    let plan = controller.ask(&["plan"]).await?;
    assert_eq!(plan.code, 1, "one database can't be read: {}", plan.stderr);
    for named in ["-- database barred", "CREATE TABLE \"public\".\"foreign_table\"", "CREATE TABLE \"closed\".\"within\""] {
        assert!(plan.stdout.contains(named), "{named} is not in the plan:\n{}", plan.stdout);
    }
    assert!(!plan.stdout.contains("password=hidden") && !checked.findings.iter().any(|f| f.reason.contains("password=hidden")));
    Ok(())
}

#[tokio::test]
async fn what_a_role_of_postgresql_10_may_not_see_is_told() -> Result<()> {
    what_is_hidden_is_told(10).await
}

#[tokio::test]
async fn what_a_role_of_postgresql_17_may_not_see_is_told() -> Result<()> {
    what_is_hidden_is_told(17).await
}

#[tokio::test]
async fn a_database_whose_owner_we_are_moves_without_a_superuser() -> Result<()> {
    let pair = Pair::start(15).await?;
    pair.source.run("postgres", MOVER).await?;
    SMALL.load(&pair.source, "small", 1).await?;
    pair.source
        .run(
            "small",
            "ALTER DATABASE small OWNER TO owner; ALTER SCHEMA app OWNER TO owner;
             DO $$
             DECLARE
                 relation record;
             BEGIN
                 FOR relation IN SELECT oid::regclass AS name, relkind FROM pg_class
                                 WHERE relnamespace = 'app'::regnamespace AND relkind IN ('r', 'p', 'v') LOOP
                     EXECUTE format('ALTER %s %s OWNER TO owner', CASE relation.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, relation.name);
                 END LOOP;
             END
             $$;
             ALTER SEQUENCE app.loose OWNER TO owner",
        )
        .await?;
    let mut controller = Controller::new(&config(&pair.source, &pair.destination, &["small"]))?;
    let checked = controller.check().await?;
    assert_eq!(checked.code, 0, "{checked:?}");
    controller.start()?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    compare::equal(&pair.source, &pair.destination, "small").await?;
    // Its own password can't be read, so that it has the one for such roles.
    pair.destination.connect_as("owner", "changeme", "postgres").await?;
    Ok(())
}
