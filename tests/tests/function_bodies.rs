//! A function whose body version 18 refuses is told beforehand: bodies are text, which nobody reads before the function is called.

use std::collections::BTreeSet;

use pg_migrator_tests::{Controller, Pair, Result, dump_diff};

const SHOP: &str = "
    CREATE SCHEMA b;
    CREATE SCHEMA elsewhere;
    CREATE TABLE b.numbers (n bigint);
    CREATE TABLE elsewhere.others (n bigint);
    CREATE FUNCTION b.postfix(bigint) RETURNS numeric LANGUAGE sql AS 'SELECT $1 !';
    CREATE FUNCTION b.prefix(bigint, \"We ird\" text) RETURNS numeric LANGUAGE sql AS 'SELECT !! $1';
    CREATE FUNCTION b.within(point, circle) RETURNS boolean LANGUAGE sql AS 'SELECT $1 @ $2';
    CREATE FUNCTION b.counters() RETURNS bigint LANGUAGE sql AS 'SELECT checkpoints_timed FROM pg_stat_bgwriter';
    CREATE FUNCTION b.at_run_time() RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE ''SELECT checkpoints_req FROM pg_stat_bgwriter''; END';
    CREATE FUNCTION b.in_plpgsql(bigint) RETURNS numeric LANGUAGE plpgsql AS 'BEGIN RETURN $1 !; END';
    CREATE FUNCTION b.fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.n := NEW.n !; RETURN NEW; END';
    CREATE FUNCTION b.by_its_own_path() RETURNS numeric LANGUAGE sql SET search_path = elsewhere AS 'SELECT !! n FROM others';
    SET check_function_bodies = off;
    CREATE FUNCTION b.by_its_schema() RETURNS numeric LANGUAGE sql AS 'SELECT !! n FROM numbers';
    CREATE FUNCTION b.by_the_database() RETURNS numeric LANGUAGE sql AS 'SELECT !! n FROM others';
    -- As broken on the source.
    CREATE FUNCTION b.broken_before() RETURNS bigint LANGUAGE sql AS 'SELECT n FROM nowhere';
    CREATE FUNCTION b.nonsense() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN; RETURN 1 2; END';
    RESET check_function_bodies;
    CREATE FUNCTION b.fine(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT $1 + n FROM b.numbers';
    CREATE FUNCTION b.fine_too() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE FUNCTION b.of_any(anyelement) RETURNS anyelement LANGUAGE sql AS 'SELECT $1';
    CREATE EXTENSION hstore;
";

const FAIL: [&str; 9] = [
    "function b.by_its_own_path()",
    "function b.by_its_schema()",
    "function b.by_the_database()",
    "function b.counters()",
    "function b.fires()",
    "function b.in_plpgsql(bigint)",
    "function b.postfix(bigint)",
    "function b.prefix(bigint,text)",
    "function b.within(point,circle)",
];

async fn told_beforehand(major: u32) -> Result<()> {
    let pair = Pair::start(major).await?;
    pair.source.run("postgres", "CREATE DATABASE shop; ").await?;
    dump_diff::psql(&pair.source, "shop", SHOP)?;
    pair.source.run("postgres", "ALTER DATABASE shop SET search_path = elsewhere").await?;
    let before = dump_diff::schema(&pair.source, "shop")?;
    let checked = Controller::new(&pair.config())?.check().await?;
    let told: BTreeSet<&str> =
        checked.findings.iter().filter(|f| f.code == "function_body_fails").map(|f| f.object.as_str()).collect();
    assert_eq!(told, BTreeSet::from(FAIL), "{:#?}", checked.findings);
    assert!(checked.findings.iter().filter(|f| f.code == "function_body_fails").all(|f| f.severity == "warning"));
    let prefix = checked.find("warning", "shop", "function_body_fails", "b.prefix").expect("it was there");
    assert!(prefix.reason.contains("operator does not exist: !! bigint"), "{}", prefix.reason);
    // What the catalogs let one guess of a body is told where the server has no word on it, and else with what the server says.
    let guessed: Vec<&str> = checked.findings.iter().filter(|f| f.code == "removed_name").map(|f| f.object.as_str()).collect();
    assert_eq!(guessed, ["function b.at_run_time()"], "{:#?}", checked.findings);
    let counters = checked.find("warning", "shop", "function_body_fails", "b.counters").expect("it was there");
    for named in ["column \"checkpoints_timed\" does not exist", "it names checkpoints_timed, which is gone since version 17"] {
        assert!(counters.reason.contains(named), "{}", counters.reason);
    }
    assert!(pair.destination.databases().await?.is_empty(), "the scratch database is gone");
    dump_diff::same("the source", &before, &dump_diff::schema(&pair.source, "shop")?)
}

#[tokio::test]
async fn bodies_of_13_that_18_refuses_are_told_and_those_that_were_broken_before_are_not() -> Result<()> {
    told_beforehand(13).await
}

#[tokio::test]
async fn bodies_of_10_that_18_refuses_are_told_and_those_that_were_broken_before_are_not() -> Result<()> {
    told_beforehand(10).await
}
