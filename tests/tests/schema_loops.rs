//! Objects that need each other, which PostgreSQL allows as long as they are made step by step: each such loop, and every ordered
//! pair of them with the second one using the first, arrives as `pg_dump` would carry it.

use std::fmt::Write as _;

use pg_migrator_tests::{Cluster, Error, Result, dump_diff, schema};

const DATABASE: &str = "loops";

/// A loop. `{s}` is its schema, `{n}` its own prefix; `{other}` is the type of another loop, as one more argument.
struct Loop {
    name: &'static str,
    /// The oldest version that has what it is made of.
    since: u32,
    /// Its type, which others may use.
    main: &'static str,
    /// Whether a column can be added to it.
    is_table: bool,
    sql: &'static str,
}

const LOOPS: &[Loop] = &[
    Loop {
        name: "default",
        since: 10,
        main: "{s}.{n}default",
        is_table: true,
        sql: "CREATE TABLE {s}.{n}default (id int PRIMARY KEY, v int);
              CREATE FUNCTION {s}.{n}default_f({s}.{n}default, {other}) RETURNS int LANGUAGE sql AS 'SELECT 1';
              ALTER TABLE {s}.{n}default ALTER v SET DEFAULT {s}.{n}default_f(NULL, NULL);",
    },
    Loop {
        name: "check",
        since: 10,
        main: "{s}.{n}check",
        is_table: true,
        sql: "CREATE TABLE {s}.{n}check (id int PRIMARY KEY, v int);
              CREATE FUNCTION {s}.{n}check_f({s}.{n}check, {other}) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
              ALTER TABLE {s}.{n}check ADD CONSTRAINT looped CHECK ({s}.{n}check_f(NULL, NULL));",
    },
    // The check needs the function, that needs the child's row, and the child inherits the check.
    Loop {
        name: "inherited",
        since: 10,
        main: "{s}.{n}parent",
        is_table: true,
        sql: "CREATE TABLE {s}.{n}parent (id int PRIMARY KEY, v int);
              CREATE TABLE {s}.{n}child () INHERITS ({s}.{n}parent);
              CREATE FUNCTION {s}.{n}child_f({s}.{n}child, {other}) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
              ALTER TABLE {s}.{n}parent ADD CONSTRAINT looped CHECK ({s}.{n}child_f(NULL, NULL));",
    },
    // Likewise of a whole and its part, with a default too.
    Loop {
        name: "partition",
        since: 10,
        main: "{s}.{n}whole",
        is_table: true,
        sql: "CREATE TABLE {s}.{n}whole (id int, v int) PARTITION BY LIST (id);
              CREATE TABLE {s}.{n}part PARTITION OF {s}.{n}whole FOR VALUES IN (1);
              CREATE FUNCTION {s}.{n}part_f({s}.{n}part, {other}) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
              ALTER TABLE {s}.{n}whole ALTER v SET DEFAULT {s}.{n}part_f(NULL, NULL);
              ALTER TABLE {s}.{n}whole ADD CONSTRAINT looped CHECK ({s}.{n}part_f(NULL, NULL) > 0);",
    },
    Loop {
        name: "domain",
        since: 10,
        main: "{s}.{n}domain",
        is_table: false,
        sql: "CREATE DOMAIN {s}.{n}domain AS text;
              CREATE FUNCTION {s}.{n}domain_f(text, {other}) RETURNS {s}.{n}domain LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
              ALTER DOMAIN {s}.{n}domain ADD CONSTRAINT looped CHECK ({s}.{n}domain_f(VALUE, NULL) IS NULL);",
    },
    Loop {
        name: "base_type",
        since: 10,
        main: "{s}.{n}base",
        is_table: false,
        sql: "CREATE TYPE {s}.{n}base;
              CREATE FUNCTION {s}.{n}base_in(cstring) RETURNS {s}.{n}base LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
              CREATE FUNCTION {s}.{n}base_out({s}.{n}base) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
              CREATE TYPE {s}.{n}base (INPUT = {s}.{n}base_in, OUTPUT = {s}.{n}base_out, INTERNALLENGTH = 4, PASSEDBYVALUE);
              CREATE FUNCTION {s}.{n}base_f({s}.{n}base, {other}) RETURNS int LANGUAGE sql AS 'SELECT 1';",
    },
    Loop {
        name: "range",
        since: 10,
        main: "{s}.{n}range",
        is_table: false,
        sql: "CREATE TYPE {s}.{n}range;
              CREATE FUNCTION {s}.{n}canon({s}.{n}range) RETURNS {s}.{n}range LANGUAGE internal IMMUTABLE STRICT AS 'int4range_canonical';
              CREATE TYPE {s}.{n}range AS RANGE (subtype = int4, canonical = {s}.{n}canon);
              CREATE FUNCTION {s}.{n}range_f({s}.{n}range, {other}) RETURNS int LANGUAGE sql AS 'SELECT 1';",
    },
    Loop {
        name: "view",
        since: 10,
        main: "{s}.{n}view",
        is_table: false,
        sql: "CREATE VIEW {s}.{n}view AS SELECT 1 AS id, 'x'::text COLLATE \"C\" AS name;
              CREATE FUNCTION {s}.{n}view_f({other}) RETURNS SETOF {s}.{n}view LANGUAGE plpgsql AS 'BEGIN RETURN; END';
              CREATE OR REPLACE VIEW {s}.{n}view AS SELECT f.id, f.name FROM {s}.{n}view_f(NULL) f;",
    },
    Loop {
        name: "views",
        since: 10,
        main: "{s}.{n}first",
        is_table: false,
        sql: "CREATE VIEW {s}.{n}first AS SELECT 1 AS id;
              CREATE VIEW {s}.{n}second AS SELECT id FROM {s}.{n}first;
              CREATE OR REPLACE VIEW {s}.{n}first AS SELECT id FROM {s}.{n}second;
              CREATE FUNCTION {s}.{n}first_f({s}.{n}first, {other}) RETURNS int LANGUAGE sql AS 'SELECT 1';",
    },
    // The query needs the primary key, which is made after the rows; the view's type is needed before.
    Loop {
        name: "key",
        since: 10,
        main: "{s}.{n}by_key",
        is_table: false,
        sql: "CREATE TABLE {s}.{n}keyed (id int PRIMARY KEY, v int);
              CREATE VIEW {s}.{n}by_key AS SELECT id, v, count(*) AS n FROM {s}.{n}keyed GROUP BY id;
              CREATE FUNCTION {s}.{n}by_key_f({s}.{n}by_key, {other}) RETURNS int LANGUAGE sql AS 'SELECT 1';
              ALTER TABLE {s}.{n}keyed ADD COLUMN row {s}.{n}by_key;",
    },
    // The body needs the primary key, and the default needs the function.
    Loop {
        name: "body",
        since: 14,
        main: "{s}.{n}body",
        is_table: true,
        sql: "CREATE TABLE {s}.{n}body (id int PRIMARY KEY, v int);
              CREATE FUNCTION {s}.{n}body_f({other}) RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM (SELECT id, v FROM {s}.{n}body GROUP BY id) q; END;
              ALTER TABLE {s}.{n}body ALTER v SET DEFAULT {s}.{n}body_f(NULL);",
    },
    Loop {
        name: "sequence",
        since: 10,
        main: "{s}.{n}counted",
        is_table: true,
        sql: "CREATE TABLE {s}.{n}counted (id serial PRIMARY KEY, v int);
              CREATE FUNCTION {s}.{n}counted_f({s}.{n}counted, {other}) RETURNS int LANGUAGE sql AS 'SELECT 1';
              ALTER TABLE {s}.{n}counted ALTER v SET DEFAULT nextval('{s}.{n}counted_id_seq') + {s}.{n}counted_f(NULL, NULL);",
    },
    Loop {
        name: "foreign_keys",
        since: 10,
        main: "{s}.{n}hen",
        is_table: true,
        sql: "CREATE TABLE {s}.{n}hen (id int PRIMARY KEY, egg int);
              CREATE TABLE {s}.{n}egg (id int PRIMARY KEY, hen int REFERENCES {s}.{n}hen);
              ALTER TABLE {s}.{n}hen ADD FOREIGN KEY (egg) REFERENCES {s}.{n}egg;
              CREATE FUNCTION {s}.{n}hen_f({s}.{n}hen, {other}) RETURNS int LANGUAGE sql AS 'SELECT 1';",
    },
];

/// The statements of a loop that uses the type `other`.
fn made(schema: &str, prefix: &str, looped: &Loop, other: &str) -> String {
    in_place(looped.sql, schema, prefix).replace("{other}", other)
}

fn in_place(text: &str, schema: &str, prefix: &str) -> String {
    text.replace("{s}", schema).replace("{n}", prefix)
}

async fn pairs_arrive_as_pg_dump_would_carry_them(major: u32) -> Result<()> {
    let (source, destination, yardstick) = tokio::try_join!(Cluster::start(major), Cluster::start(18), Cluster::start(18))?;
    source.run("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
    let client = source.connect(DATABASE).await?;
    let loops: Vec<&Loop> = LOOPS.iter().filter(|looped| looped.since <= major).collect();
    for first in &loops {
        for second in &loops {
            let schema = format!("{}_and_{}", first.name, second.name);
            let (one, two) = (in_place(first.main, &schema, "a_"), in_place(second.main, &schema, "b_"));
            let mut sql = format!("CREATE SCHEMA {schema};");
            sql.push_str(&made(&schema, "a_", first, "integer"));
            sql.push_str(&made(&schema, "b_", second, &one));
            if first.is_table {
                // Now both are one loop: the first needs the second's type, and the second's function the first's.
                // Writing to a String can't fail.
                let _ = write!(sql, "ALTER TABLE {one} ADD COLUMN other {two};");
            }
            client.batch_execute(&sql).await.map_err(|error| Error::Broken(format!("{schema}: {error:?}\n{sql}")))?;
        }
    }
    dump_diff::copy_database(&source, &yardstick, DATABASE)?;
    let failed = schema::carry(&source, &destination, DATABASE).await?;
    if !failed.is_empty() {
        return Err(Error::Broken(failed.join("\n\n")));
    }
    dump_diff::same(DATABASE, &dump_diff::schema(&yardstick, DATABASE)?, &dump_diff::schema(&destination, DATABASE)?)
}

#[tokio::test]
async fn every_ordered_pair_of_loops_arrives_from_postgresql_10() -> Result<()> {
    pairs_arrive_as_pg_dump_would_carry_them(10).await
}

#[tokio::test]
async fn every_ordered_pair_of_loops_arrives_from_postgresql_13() -> Result<()> {
    pairs_arrive_as_pg_dump_would_carry_them(13).await
}

#[tokio::test]
async fn every_ordered_pair_of_loops_arrives_from_postgresql_15() -> Result<()> {
    pairs_arrive_as_pg_dump_would_carry_them(15).await
}

#[tokio::test]
async fn every_ordered_pair_of_loops_arrives_from_postgresql_17() -> Result<()> {
    pairs_arrive_as_pg_dump_would_carry_them(17).await
}
