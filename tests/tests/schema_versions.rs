//! What version 18 has no more is told before anything is written.

use pg_migrator::object;
use pg_migrator::plan::{self, Options};
use pg_migrator::postgres::ServerVersion;
use pg_migrator_tests::{Cluster, Error, Result, dump_diff};

/// Things that only version 10 has.
const OF_10: &str = "
    CREATE TABLE old.t (a abstime, b reltime[], c tinterval);
    CREATE TABLE old.with_oids (a int) WITH OIDS;
    CREATE FUNCTION old.takes(abstime) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION old.fires() RETURNS opaque LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE VIEW old.catalog AS SELECT relname, relhasoids FROM pg_catalog.pg_class;
";

/// Things that only version 13 has.
const OF_13: &str = "
    CREATE FUNCTION old.sets() RETURNS int LANGUAGE sql SET vacuum_cleanup_index_scale_factor = 1 AS 'SELECT 1';
";

/// Things that both have.
const OF_BOTH: &str = "
    CREATE AGGREGATE old.gather(anyelement) (SFUNC = array_append, STYPE = anyarray, INITCOND = '{}');
    CREATE FUNCTION old.post(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint';
    CREATE OPERATOR old.!!! (PROCEDURE = old.post, LEFTARG = bigint);
    CREATE VIEW old.counters AS SELECT checkpoints_timed FROM pg_catalog.pg_stat_bgwriter;
    CREATE FUNCTION old.backs_up() RETURNS pg_lsn LANGUAGE plpgsql AS 'BEGIN RETURN pg_start_backup(''x''); END';
    CREATE FUNCTION old.loose(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
    CREATE TABLE old.fine (a int);
    CREATE INDEX by_loose ON old.fine (old.loose(a));
";

/// The findings about a source of this version with these things.
async fn findings(major: u32, version: i32, things: &str) -> Result<Vec<(String, String)>> {
    let source = Cluster::start(major).await?;
    dump_diff::psql(&source, "postgres", &format!("CREATE SCHEMA old; {things} {OF_BOTH}"))?;
    let client = source.connect("postgres").await?;
    let catalog = object::introspect(&client, ServerVersion(version), &[])
        .await
        .map_err(|error| Error::Broken(format!("reading PostgreSQL {major}: {error}")))?;
    let findings = plan::plan(&catalog, &Options::default()).findings;
    assert!(findings.iter().all(|finding| !finding.fix.is_empty()));
    Ok(findings.into_iter().map(|finding| (finding.code.to_string(), finding.object)).collect())
}

fn told(findings: &[(String, String)], expected: &[(&str, &str)]) {
    for (code, object) in expected {
        assert!(findings.iter().any(|(c, o)| c == code && o == object), "{code} of {object} is not among {findings:?}");
    }
}

const BOTH: &[(&str, &str)] = &[
    ("polymorphic_function", "aggregate old.gather(anyelement)"),
    ("postfix_operator", "operator old.!!!(bigint,NONE)"),
    ("removed_name", "view old.counters"),
    ("removed_name", "function old.backs_up()"),
    ("maintenance_search_path", "index old.by_loose"),
];

#[tokio::test]
async fn what_only_postgresql_10_has_is_told_with_a_remedy() -> Result<()> {
    let findings = findings(10, 100_000, OF_10).await?;
    told(&findings, BOTH);
    told(
        &findings,
        &[
            ("removed_type", "table old.t"),
            ("removed_type", "function old.takes(abstime)"),
            ("removed_type", "function old.fires()"),
            ("removed_name", "view old.catalog"),
            ("with_oids", "table old.with_oids"),
        ],
    );
    // The type of a column is told column by column; nothing is told of what is fine.
    assert_eq!(findings.len(), BOTH.len() + 7, "{findings:?}");
    Ok(())
}

#[tokio::test]
async fn what_only_postgresql_13_has_is_told_with_a_remedy() -> Result<()> {
    let findings = findings(13, 130_000, OF_13).await?;
    told(&findings, BOTH);
    told(&findings, &[("removed_setting", "function old.sets()")]);
    assert_eq!(findings.len(), BOTH.len() + 1, "{findings:?}");
    Ok(())
}
