//! A name that became a keyword by version 18 means on the destination what it meant on the source.

use std::collections::BTreeSet;

use pg_migrator_tests::cluster::rows;
use pg_migrator_tests::{Cluster, Error, Result, dump_diff, fixtures, schema};

/// The words that a server does not take for any name: reserved, or not for columns, or not for functions and types.
async fn keywords(server: &Cluster, of_kinds: &str) -> Result<BTreeSet<String>> {
    let words = format!("SELECT word FROM pg_get_keywords() WHERE catcode IN ({of_kinds})");
    let words = server.column("postgres", &words).await?;
    Ok(words.into_iter().collect())
}

/// Everything that a name can be where the server's deparsers write it. `{w}` is the word.
const NAMED: &str = r#"
    CREATE TABLE t (id int PRIMARY KEY, "{w}" text CHECK ("{w}" <> 'forbidden'));
    CREATE VIEW shown AS SELECT "{w}" FROM t;
    CREATE VIEW aliased AS SELECT "{w}".id AS "{w}" FROM t "{w}";
    CREATE VIEW deep AS SELECT id FROM (SELECT id, 'x'::text AS "{w}" FROM t) q WHERE "{w}" = 'x';
    CREATE INDEX lowered ON t (lower("{w}")) WHERE "{w}" <> '';
    CREATE INDEX plain ON t ("{w}");
    CREATE TABLE gone (id int, "{w}" text);
    CREATE RULE keeps AS ON DELETE TO t DO ALSO INSERT INTO gone (id, "{w}") VALUES (OLD.id, OLD."{w}");
    CREATE FUNCTION echo("{w}" text) RETURNS text LANGUAGE sql AS 'SELECT $1';
    CREATE VIEW echoed AS SELECT echo("{w}" => 'x') AS e;
    CREATE SCHEMA "{w}";
    CREATE TYPE "{w}".mood AS ENUM ('fine');
    CREATE TABLE moods (m "{w}".mood DEFAULT 'fine');
    CREATE POLICY sees ON t USING ("{w}" = 'content');
    CREATE FUNCTION stamps() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER stamps BEFORE UPDATE OF "{w}" ON t FOR EACH ROW WHEN (NEW."{w}" = 'x') EXECUTE PROCEDURE stamps();
"#;

/// Each new word in a database of its own: another one must not be what makes names quoted.
async fn every_new_keyword_is_only_a_name(major: u32, of_kinds: &str) -> Result<()> {
    let (source, destination) = tokio::try_join!(Cluster::start(major), Cluster::start(18))?;
    let known = keywords(&source, of_kinds).await?;
    let new: Vec<String> = keywords(&destination, of_kinds).await?.difference(&known).cloned().collect();
    assert!(new.iter().any(|word| word == "system_user"), "{new:?}");
    for word in &new {
        let database = format!("of_{word}");
        source.run("postgres", &format!("CREATE DATABASE {database}")).await?;
        source.run(&database, &NAMED.replace("{w}", word)).await?;
        let failed = schema::carry(&source, &destination, &database).await?;
        if !failed.is_empty() {
            return Err(Error::Broken(format!("{word}: {}", failed.join("\n\n"))));
        }
        for server in [&source, &destination] {
            is_only_a_name(server, &database, word).await?;
        }
    }
    Ok(())
}

/// Whether what was made of [`NAMED`] reads and writes the column that is called like the word.
async fn is_only_a_name(server: &Cluster, database: &str, word: &str) -> Result<()> {
    let client = server.connect(database).await?;
    let what = format!("{word} on {}", server.major());
    assert!(client.batch_execute("INSERT INTO t VALUES (0, 'forbidden')").await.is_err(), "the check on {what}");
    let shown = format!(
        r#"INSERT INTO t VALUES (1, 'content'), (2, 'other');
           SELECT * FROM shown ORDER BY 1; SELECT * FROM aliased ORDER BY 1; SELECT * FROM deep ORDER BY 1; SELECT * FROM echoed;
           DELETE FROM t WHERE id = 1; SELECT "{word}" FROM gone"#
    );
    let shown: Vec<String> = rows(&client, &shown).await?.concat();
    assert_eq!(shown, ["content", "other", "1", "2", "1", "2", "x", "content"], "{what}");
    // Only an index of the column itself can be asked.
    let explain = format!(
        r#"SET enable_seqscan = off; SET enable_bitmapscan = off;
           EXPLAIN SELECT id FROM t WHERE lower("{word}") = 'content' AND "{word}" <> ''"#
    );
    let explained = rows(&client, &explain).await?.concat().join("\n");
    assert!(explained.contains("lowered"), "{what}: {explained}");
    Ok(())
}

#[tokio::test]
async fn keywords_newer_than_10_are_only_names() -> Result<()> {
    every_new_keyword_is_only_a_name(10, "'R', 'T', 'C'").await
}

#[tokio::test]
async fn reserved_keywords_newer_than_15_are_only_names() -> Result<()> {
    every_new_keyword_is_only_a_name(15, "'R', 'T'").await
}

/// Where one name makes all of them quoted, everything else arrives as it does anyway.
#[tokio::test]
async fn every_object_arrives_with_all_names_quoted() -> Result<()> {
    const DATABASE: &str = "fixtures";
    let (source, destination, yardstick) = tokio::try_join!(Cluster::start(15), Cluster::start(18), Cluster::start(18))?;
    source.run("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
    fixtures::load(&source, DATABASE)?;
    source.run(DATABASE, r#"CREATE TABLE public.of_new_words ("system_user" text)"#).await?;
    for server in [&destination, &yardstick] {
        dump_diff::copy_globals(&source, server)?;
    }
    dump_diff::copy_database(&source, &yardstick, DATABASE)?;
    let failed = schema::carry(&source, &destination, DATABASE).await?;
    let failed: Vec<String> = failed.into_iter().filter(|one| !one.starts_with("finding ")).collect();
    if !failed.is_empty() {
        return Err(Error::Broken(failed.join("\n\n")));
    }
    dump_diff::same(DATABASE, &dump_diff::schema(&yardstick, DATABASE)?, &dump_diff::schema(&destination, DATABASE)?)
}
