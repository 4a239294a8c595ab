//! What is in a tablespace of its own arrives in the one that its name or the mapping says, and in the default one, with a finding, where there
//! is none.

use pg_migrator_tests::pair::{MAPPING, READY_LIMIT};
use pg_migrator_tests::{Cluster, ConfigFile, Controller, Mapping, Pair, Result, dump_diff};

/// One of everything that can be in a tablespace; those of the names `slow` and `Fast one` are on both sides.
const SPREAD: &str = "
    CREATE TABLE in_default (id integer PRIMARY KEY USING INDEX TABLESPACE slow, n integer, EXCLUDE USING btree (n WITH =) USING INDEX TABLESPACE \"Fast one\");
    CREATE TABLE in_slow (id integer PRIMARY KEY, n integer UNIQUE USING INDEX TABLESPACE \"Fast one\") TABLESPACE slow;
    CREATE INDEX in_fast ON in_slow (n) TABLESPACE \"Fast one\" WHERE n > 0;
    CREATE MATERIALIZED VIEW counted TABLESPACE slow AS SELECT count(*) FROM in_slow;
    CREATE UNIQUE INDEX counted_index ON counted (count) TABLESPACE \"Fast one\";
    CREATE TABLE elsewhere (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY) TABLESPACE ssd;
    CREATE TABLE nowhere (id integer PRIMARY KEY) TABLESPACE unmapped;
    CREATE TABLE named_default (id integer PRIMARY KEY) TABLESPACE pg_default;
    INSERT INTO in_slow SELECT i, i FROM generate_series(1, 100) i;
    REFRESH MATERIALIZED VIEW counted;
";

/// Since 12 a partitioned table can have one for its partitions to come; since 11 it has indexes.
const PARTITIONED: &str = "
    CREATE TABLE parted (id integer NOT NULL) PARTITION BY RANGE (id) TABLESPACE slow;
    CREATE INDEX parted_index ON parted (id) TABLESPACE \"Fast one\";
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (1) TO (10) TABLESPACE \"Fast one\";
    CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20);
";

/// The source's `ssd` is the destination's `nvme`; the others have the same names.
fn onto_nvme(pair: &Pair) -> ConfigFile {
    pair.instances().mapping(&Mapping::new(MAPPING, "erp_old", "erp_new").line("tablespaces = { ssd = \"nvme\" }"))
}

fn make(cluster: &Cluster, tablespaces: &[&str]) -> Result<()> {
    for name in tablespaces {
        // A directory of the server's own: a tablespace's name is all that matters here.
        let sql = format!("SET allow_in_place_tablespaces = on; CREATE TABLESPACE \"{name}\" LOCATION ''");
        dump_diff::psql(cluster, "postgres", &sql)?;
    }
    Ok(())
}

async fn arrives_in_its_tablespace(major: u32) -> Result<()> {
    let pair = Pair::start(major).await?;
    let yardstick = Cluster::start(18).await?;
    make(&pair.source, &["slow", "Fast one", "ssd", "unmapped"])?;
    make(&pair.destination, &["slow", "Fast one", "nvme"])?;
    make(&yardstick, &["slow", "Fast one", "ssd", "unmapped"])?;
    pair.source
        .run(
            "postgres",
            "CREATE ROLE maker; GRANT CREATE ON TABLESPACE ssd TO maker WITH GRANT OPTION; GRANT CREATE ON TABLESPACE slow TO PUBLIC;
             COMMENT ON TABLESPACE ssd IS 'it''s fast'; COMMENT ON TABLESPACE slow IS 'not this one'",
        )
        .await?;
    // Of the disk that the name stands for: nothing that holds for another name's.
    for (tablespace, cost) in [("\"Fast one\"", "1.1"), ("slow", "8"), ("ssd", "1.2")] {
        pair.source.run("postgres", &format!("ALTER TABLESPACE {tablespace} SET (random_page_cost = {cost})")).await?;
    }
    pair.destination
        .run("postgres", "COMMENT ON TABLESPACE slow IS 'its own'; ALTER TABLESPACE slow SET (seq_page_cost = 3)")
        .await?;
    yardstick.run("postgres", "CREATE ROLE maker").await?;
    let databases = ["plain", "own", "gone"];
    for (database, tablespace) in databases.iter().zip(["pg_default", "ssd", "unmapped"]) {
        pair.source.run("postgres", &format!("CREATE DATABASE {database} TABLESPACE {tablespace}")).await?;
        let sql = if major >= 12 { format!("{SPREAD}{PARTITIONED}") } else { SPREAD.to_owned() };
        pair.source.run(database, &sql).await?;
        dump_diff::copy_database(&pair.source, &yardstick, database)?;
    }
    let config = onto_nvme(&pair);
    let mut controller = Controller::new(&config)?;
    let checked = controller.check().await?;
    assert_eq!(checked.code, 0, "{checked:?}");
    assert_eq!(checked.codes("warning"), ["tablespace_unmapped"]);
    controller.start()?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    controller.must(&["complete", MAPPING]).await?;
    for database in databases {
        // What pg_dump says of a copy by pg_dump, with the mapping's names.
        let expected = dump_diff::schema(&yardstick, database)?
            .replace("SET default_tablespace = ssd;", "SET default_tablespace = nvme;")
            .replace("SET default_tablespace = unmapped;", "SET default_tablespace = '';")
            .replace(" TABLESPACE = ssd", " TABLESPACE = nvme")
            .replace(" TABLESPACE = unmapped", "")
            .replace("; Tablespace: ssd", "; Tablespace: nvme")
            .replace("; Tablespace: unmapped", "");
        // What this one has in the default tablespace by name is in its own there.
        let expected = if database == "gone" {
            expected
                .replace("; Tablespace: pg_default", "")
                .replace("SET default_tablespace = pg_default;", "SET default_tablespace = '';")
        } else {
            expected
        };
        let found = dump_diff::schema(&pair.destination, database)?;
        dump_diff::same(database, &tablespace_by_object(&expected), &tablespace_by_object(&found))?;
    }
    let allowed = "SELECT concat_ws(' ', spcname, spcoptions, shobj_description(oid, 'pg_tablespace'), has_tablespace_privilege('maker', oid, 'CREATE WITH GRANT OPTION'),
                                   has_tablespace_privilege('pg_monitor', oid, 'CREATE'))
                   FROM pg_tablespace WHERE oid >= 16384 ORDER BY spcname COLLATE \"C\"";
    let expected = ["Fast one {random_page_cost=1.1} f f", "nvme it's fast t f", "slow {seq_page_cost=3} its own f t"];
    assert_eq!(pair.destination.column("postgres", allowed).await?, expected);
    // And what the catalogs say of the databases themselves.
    let own = "SELECT spcname FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace WHERE datname IN ('plain', 'own', 'gone') ORDER BY datname DESC";
    assert_eq!(pair.destination.column("postgres", own).await?, ["pg_default", "nvme", "pg_default"]);
    Ok(())
}

/// `SET default_tablespace` holds until the next one, and is not said again where it has not changed: so that the two dumps can be compared, it
/// is put before each object.
fn tablespace_by_object(dump: &str) -> String {
    let mut current = "";
    let mut text = String::new();
    for line in dump.lines() {
        if line.starts_with("SET default_tablespace = ") {
            current = line;
            continue;
        }
        let placed =
            ["CREATE TABLE ", "CREATE INDEX ", "CREATE UNIQUE INDEX ", "CREATE MATERIALIZED VIEW ", "    ADD CONSTRAINT "];
        if placed.iter().any(|start| line.starts_with(start)) {
            text.push_str(current);
            text.push('\n');
        }
        if !line.is_empty() {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[tokio::test]
async fn tablespaces_of_postgresql_11_are_mapped_by_name() -> Result<()> {
    arrives_in_its_tablespace(11).await
}

#[tokio::test]
async fn tablespaces_of_postgresql_17_are_mapped_by_name() -> Result<()> {
    arrives_in_its_tablespace(17).await
}

#[tokio::test]
async fn a_tablespace_that_the_mapping_names_must_be_there() -> Result<()> {
    let pair = Pair::start(15).await?;
    make(&pair.source, &["ssd"])?;
    pair.source.run("postgres", "CREATE DATABASE shop").await?;
    pair.source.run("shop", "CREATE TABLE t (id integer PRIMARY KEY) TABLESPACE ssd").await?;
    let config = onto_nvme(&pair);
    let mut controller = Controller::new(&config)?;
    let checked = controller.check().await?;
    assert_eq!(checked.codes("error"), ["tablespace_missing"]);
    assert!(checked.findings[0].fix.contains("CREATE TABLESPACE \"nvme\" LOCATION"), "{}", checked.findings[0].fix);
    controller.start()?;
    let refused = "(SELECT count(*) > 0 FROM migrator.findings WHERE code = 'tablespace_missing' AND resolved_at IS NULL)";
    controller.wait_for(&pair.destination, refused, READY_LIMIT).await?;
    assert_eq!(pair.destination.databases().await?, ["migrator"], "nothing was made");
    // As the fix says; it goes on by itself.
    make(&pair.destination, &["nvme"])?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    let place = "SELECT spcname FROM pg_class c JOIN pg_tablespace t ON t.oid = reltablespace WHERE relname = 't'";
    assert_eq!(pair.destination.value("shop", place).await?, "nvme");
    Ok(())
}
