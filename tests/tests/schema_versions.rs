//! What version 18 has no more is told before anything is written.

use std::collections::BTreeSet;

use pg_migrator::finding::{Finding, Severity};
use pg_migrator::object;
use pg_migrator::plan::{self, Options};
use pg_migrator::postgres::ServerVersion;
use pg_migrator_tests::controller::CONTROL;
use pg_migrator_tests::pair::READY_LIMIT;
use pg_migrator_tests::{Cluster, Controller, Error, Pair, Result, dump_diff, schema};

/// Things that only version 10 has.
const OF_10: &str = "
    CREATE TABLE old.t (a abstime, b reltime[], c tinterval);
    CREATE TABLE old.with_oids (a int) WITH OIDS;
    CREATE FUNCTION old.takes(abstime) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION old.fires() RETURNS opaque LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE VIEW old.catalog AS SELECT relname, relhasoids FROM pg_catalog.pg_class;
    CREATE VIEW old.reads_oid AS SELECT oid AS number FROM old.with_oids;
    CREATE UNIQUE INDEX by_oid ON old.with_oids (oid);
    ALTER TABLE old.with_oids ADD CONSTRAINT one_oid UNIQUE (oid);
";

/// Things that only version 13 has.
const OF_13: &str = "
    CREATE FUNCTION old.sets() RETURNS int LANGUAGE sql SET vacuum_cleanup_index_scale_factor = 1 AS 'SELECT 1';
    CREATE TYPE old.colour AS ENUM ('red', 'green');
    CREATE DOMAIN old.paint AS old.colour;
    CREATE TYPE old.shade AS RANGE (subtype = old.colour);
    CREATE FUNCTION old.lighter(old.colour) RETURNS old.colour LANGUAGE sql IMMUTABLE AS 'SELECT $1';
    CREATE TABLE old.by_enum (id int, c old.colour) PARTITION BY HASH (id, c);
    CREATE TABLE old.by_domain (\"We ird\" old.paint[]) PARTITION BY HASH (\"We ird\");
    CREATE TABLE old.by_range (c old.shade) PARTITION BY HASH (c);
    CREATE TABLE old.by_lighter (c old.colour) PARTITION BY HASH (old.lighter(c));
    CREATE TABLE old.by_name (c regclass) PARTITION BY HASH (c);
    CREATE TABLE old.by_else (id int, c old.colour, n oid, o oid[]) PARTITION BY HASH (id, n, o);
    CREATE TABLE old.by_list (c old.colour) PARTITION BY LIST (c);
    CREATE FUNCTION old.of_its_label(old.colour, bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 1::bigint';
    CREATE OPERATOR CLASS old.of_label FOR TYPE old.colour USING hash
        AS OPERATOR 1 pg_catalog.= (anyenum, anyenum), FUNCTION 2 (old.colour, old.colour) old.of_its_label(old.colour, bigint);
    CREATE TABLE old.by_label (c old.colour) PARTITION BY HASH (c old.of_label);
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
    CREATE FUNCTION old.looks(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM \"fine\" WHERE a = $1); END';
    CREATE FUNCTION old.calls(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN loose (1); END';
    CREATE FUNCTION old.told(int) RETURNS int LANGUAGE plpgsql SET search_path = old AS 'BEGIN RETURN (SELECT count(*) FROM fine); END';
    CREATE FUNCTION old.qualified(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN old.loose(1) + (SELECT count(*) FROM old.fine); END';
    CREATE VIEW old.looking AS SELECT old.looks(1) AS n;
    CREATE MATERIALIZED VIEW old.looked AS SELECT n FROM old.looking WITH NO DATA;
    CREATE MATERIALIZED VIEW old.called AS SELECT old.calls(1) AS n WITH NO DATA;
    CREATE MATERIALIZED VIEW old.safe AS SELECT old.qualified(1) AS n WITH NO DATA;
    CREATE MATERIALIZED VIEW old.safer AS SELECT old.told(1) AS n WITH NO DATA;
    CREATE TABLE old.factorials (n bigint, f numeric DEFAULT 5 !, p point, CONSTRAINT at_most CHECK (n ! < 1000));
    CREATE VIEW old.factorial AS SELECT n !, !! n AS before FROM old.factorials;
    CREATE VIEW old.within AS SELECT p @ circle '((0,0),1)' AS inside, box '((0,0),(1,1))' ~ p::box AS around FROM old.factorials;
    CREATE INDEX by_factorial ON old.factorials ((n !)) WHERE (!! n) > 1;
    CREATE POLICY sees ON old.factorials USING (n ! > 1);
    CREATE RULE loses AS ON DELETE TO old.factorials WHERE (OLD.n !) > 5 DO INSTEAD NOTHING;
    CREATE TRIGGER fires BEFORE UPDATE ON old.factorials FOR EACH ROW WHEN ((NEW.n !) > 5) EXECUTE PROCEDURE suppress_redundant_updates_trigger();
    -- What still is an operator: text search's, and one of the user's by that name.
    CREATE OPERATOR old.@@@ (PROCEDURE = array_append, LEFTARG = anyarray, RIGHTARG = anyelement);
    CREATE AGGREGATE old.gather_all(anyarray) (SFUNC = array_cat, STYPE = anyarray, COMBINEFUNC = array_cat, INITCOND = '{}');
    CREATE FUNCTION old.who() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT System_User FROM old.users); END';
    CREATE FUNCTION old.who_quoted() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT u.system_user || \"system_user\" FROM old.users u); END';
    CREATE VIEW old.negated AS SELECT !! 'a'::tsquery AS q;
    CREATE TABLE old.strict (id int NOT NULL, a int);
    CREATE TABLE old.lenient () INHERITS (old.strict);
    ALTER TABLE old.lenient ALTER id DROP NOT NULL;
    CREATE TABLE old.as_strict (id int NOT NULL, a int NOT NULL) INHERITS (old.strict);
    CREATE FUNCTION old.converts(int, int, cstring, internal, int) RETURNS void LANGUAGE c STRICT AS '$libdir/utf8_and_iso8859_1', 'iso8859_1_to_utf8';
    CREATE CONVERSION old.of_our_own FOR 'LATIN1' TO 'UTF8' FROM old.converts;
";

/// The findings about a source of this version with these things.
async fn findings(major: u32, version: i32, things: &str) -> Result<Vec<Finding>> {
    let source = Cluster::start(major).await?;
    dump_diff::psql(&source, "postgres", &format!("CREATE SCHEMA old; {things} {OF_BOTH}"))?;
    let client = source.connect("postgres").await?;
    let catalog = object::introspect(&client, ServerVersion(version), &[])
        .await
        .map_err(|error| Error::Broken(format!("reading PostgreSQL {major}: {error}")))?;
    let findings = plan::plan(&catalog, &Options::default()).findings;
    assert!(findings.iter().all(|finding| !finding.fix.is_empty()));
    Ok(findings)
}

fn told(findings: &[Finding], expected: &[(&str, &str)]) {
    for (code, object) in expected {
        assert!(findings.iter().any(|f| f.code == *code && f.object == *object), "{code} of {object} is not among {findings:?}");
    }
    // Where a function names what it will not find, that is worth more.
    let warned = findings.iter().filter(|f| f.code == "maintenance_search_path" && f.severity == Severity::Warning);
    let warned: Vec<(&str, bool)> = warned
        .map(|f| (f.object.as_str(), f.reason.contains("names fine without") || f.reason.contains("names loose without")))
        .collect();
    assert_eq!(warned, [("materialized view old.called", true), ("materialized view old.looked", true)]);
}

const BOTH: &[(&str, &str)] = &[
    ("polymorphic_function", "aggregate old.gather(anyelement)"),
    ("polymorphic_function", "aggregate old.gather_all(anyarray)"),
    ("polymorphic_function", "operator old.@@@(anyarray,anyelement)"),
    ("postfix_operator", "operator old.!!!(bigint,NONE)"),
    ("reserved_word", "function old.who()"),
    ("removed_name", "view old.counters"),
    ("removed_name", "function old.backs_up()"),
    ("maintenance_search_path", "index old.by_loose"),
    ("maintenance_search_path", "materialized view old.called"),
    ("maintenance_search_path", "materialized view old.looked"),
    ("maintenance_search_path", "materialized view old.safe"),
    ("removed_operator", "default of column old.factorials.f"),
    ("removed_operator", "constraint old.factorials.at_most"),
    ("removed_operator", "view old.factorial"),
    ("removed_operator", "view old.within"),
    ("removed_operator", "index old.by_factorial"),
    ("removed_operator", "policy old.factorials.sees"),
    ("removed_operator", "rule old.factorials.loses"),
    ("removed_operator", "trigger old.factorials.fires"),
    ("conversion_function", "conversion old.of_our_own"),
    ("nullable_child", "table old.lenient"),
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
            ("oid_column", "view old.reads_oid"),
            ("oid_column", "index old.by_oid"),
            ("oid_column", "constraint old.with_oids.one_oid"),
        ],
    );
    // An object is told once for all its columns; nothing is told of what is fine.
    assert_eq!(findings.len(), BOTH.len() + 8, "{findings:?}");
    Ok(())
}

#[tokio::test]
async fn what_only_postgresql_13_has_is_told_with_a_remedy() -> Result<()> {
    let findings = findings(13, 130_000, OF_13).await?;
    told(&findings, BOTH);
    told(&findings, &[("removed_setting", "function old.sets()")]);
    let hashed = ["by_domain", "by_enum", "by_lighter", "by_name", "by_range"].map(|name| format!("table old.{name}"));
    let found: Vec<&String> = findings.iter().filter(|f| f.code == "partition_hash").map(|f| &f.object).collect();
    assert_eq!(found, hashed.iter().collect::<Vec<_>>(), "what has the same hash on both sides is fine");
    assert_eq!(findings.len(), BOTH.len() + 1 + hashed.len(), "{findings:?}");
    Ok(())
}

#[tokio::test]
async fn settings_that_18_does_not_take_are_told_before_anything_is_made() -> Result<()> {
    let pair = Pair::start(10).await?;
    pair.source.run("postgres", "CREATE DATABASE shop").await?;
    pair.source.run("shop", "CREATE TABLE t (id integer PRIMARY KEY)").await?;
    pair.source
        .run(
            "postgres",
            "CREATE ROLE legacy; CREATE ROLE fine;
             ALTER ROLE legacy SET default_with_oids = on;
             ALTER ROLE legacy SET replacement_sort_tuples = 1000;
             ALTER DATABASE shop SET password_encryption = 'on';
             ALTER ROLE legacy IN DATABASE shop SET client_min_messages = 'panic';
             ALTER ROLE fine SET work_mem = '5MB'; ALTER ROLE fine SET search_path = nowhere; ALTER ROLE fine SET role = 'legacy';
             ALTER DATABASE shop SET timezone = 'Europe/Berlin'",
        )
        .await?;
    let mut controller = Controller::new(&pair.config())?;
    let answer = controller.ask(&["check", "--json"]).await?;
    assert_eq!(answer.code, 1, "{}{}", answer.stdout, answer.stderr);
    let document: serde_json::Value =
        serde_json::from_str(&answer.stdout).map_err(|error| Error::Broken(format!("{error}: {}", answer.stdout)))?;
    let findings = document["mappings"][0]["findings"].as_array().cloned().unwrap_or_default();
    let told: BTreeSet<(String, String, String)> = findings
        .iter()
        .map(|finding| ["code", "object", "reason"].map(|field| finding[field].as_str().unwrap_or_default().to_owned()))
        .filter(|[code, ..]| code.starts_with("setting_"))
        .map(|[code, object, reason]| (code, object, reason.split(" = ").next().unwrap_or_default().to_owned()))
        .collect();
    let expected = [
        ("setting_refused", "database \"shop\"", "it has password_encryption"),
        ("setting_refused", "role \"legacy\"", "it has client_min_messages"),
        ("setting_refused", "role \"legacy\"", "it has default_with_oids"),
        ("setting_unknown", "role \"legacy\"", "it has replacement_sort_tuples"),
    ];
    let expected = expected.map(|(code, object, reason)| (code.to_owned(), object.to_owned(), reason.to_owned()));
    assert_eq!(told, BTreeSet::from(expected), "{}", answer.stdout);
    let of_check: BTreeSet<Vec<String>> = findings
        .iter()
        .map(|finding| {
            ["database", "code", "object", "reason", "fix"].map(|field| finding[field].as_str().unwrap_or_default().to_owned())
        })
        .filter(|finding| finding[1].starts_with("setting_"))
        .map(Vec::from)
        .collect();
    assert_eq!(
        pair.destination.value("postgres", "SELECT count(*) FROM pg_roles WHERE rolname IN ('legacy', 'fine')").await?,
        "0"
    );

    // And by run, which sets everything else.
    controller.start()?;
    let made = "EXISTS (SELECT FROM migrator.status() WHERE database = 'shop' AND tables_synced = 1)";
    controller.wait_for(&pair.destination, made, READY_LIMIT).await?;
    let sql = "SELECT database, code, object, reason, fix FROM migrator.findings
               WHERE resolved_at IS NULL AND (code LIKE 'setting\\_%' OR code IN ('role_failed', 'database_setting_failed'))";
    let of_run: BTreeSet<Vec<String>> = pair.destination.rows(CONTROL, sql).await?.into_iter().collect();
    assert_eq!(of_run, of_check);
    let set = "SELECT count(*) FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = setrole WHERE rolname = 'fine' OR setdatabase <> 0";
    assert_eq!(pair.destination.value("postgres", set).await?, "2", "what it takes is set");
    Ok(())
}

/// Partitions of each persistence under a root that is marked as unlogged.
const UNLOGGED: &str = "
    CREATE UNLOGGED TABLE readings (id int, at date, note text DEFAULT 'none') PARTITION BY RANGE (at);
    CREATE UNLOGGED TABLE of_2024 PARTITION OF readings FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
    CREATE TABLE of_2025 PARTITION OF readings FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
    CREATE UNLOGGED TABLE later PARTITION OF readings FOR VALUES FROM ('2026-01-01') TO (MAXVALUE) PARTITION BY LIST (note);
    CREATE UNLOGGED TABLE none PARTITION OF later FOR VALUES IN ('none');
    CREATE INDEX by_id ON readings (id);
";

async fn unlogged_partitions_arrive(major: u32) -> Result<()> {
    let (source, destination) = tokio::try_join!(Cluster::start(major), Cluster::start(18))?;
    source.run("postgres", "CREATE DATABASE shop").await?;
    source.run("shop", UNLOGGED).await?;
    let told = schema::carry(&source, &destination, "shop").await?;
    let told: Vec<&str> = told.iter().map(|one| one.split(';').next().unwrap_or(one)).collect();
    let reason = "the partitioned table is marked as unlogged, which meant nothing before version 18 and is refused by it";
    let expected = ["later", "readings"].map(|name| format!("finding unlogged_partitioned: table public.{name}: {reason}"));
    assert_eq!(told.iter().map(|one| one.replace('"', "")).collect::<BTreeSet<_>>(), BTreeSet::from(expected));
    let relations = |partitioned: &str| {
        format!(
            "SELECT relname || ' ' || relkind::text || ' ' || CASE relkind WHEN 'p' THEN {partitioned} WHEN 'I' THEN {partitioned} ELSE relpersistence::text END
             FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
        )
    };
    let (expected, found) = (source.column("shop", &relations("'p'")).await?, relations("relpersistence::text"));
    assert_eq!(destination.column("shop", &found).await?, expected);
    assert!(expected.contains(&"of_2024 r u".to_owned()) && expected.contains(&"of_2025 r p".to_owned()), "{expected:?}");
    destination.run("shop", "INSERT INTO readings VALUES (1, '2024-05-05'), (2, '2025-05-05'), (3, '2027-05-05')").await?;
    assert_eq!(destination.value("shop", "SELECT count(*) FROM none").await?, "1");
    Ok(())
}

#[tokio::test]
async fn partitions_of_13_stay_unlogged_under_a_root_that_can_not_be() -> Result<()> {
    unlogged_partitions_arrive(13).await
}

#[tokio::test]
async fn partitions_of_17_stay_unlogged_under_a_root_that_can_not_be() -> Result<()> {
    unlogged_partitions_arrive(17).await
}
