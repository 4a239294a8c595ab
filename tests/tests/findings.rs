//! `check` tells everything at once, worst first, each with its object, reason and fix; and what it can't look at hides nothing.

use std::time::Duration;

use pg_migrator_tests::pair::MAPPING;
use pg_migrator_tests::{Cluster, ConfigFile, Controller, Mapping, Result, dump_diff};

/// What stands in the way, or nearly, in the database `shop` of a source of version 13.
const SHOP: &str = "
    CREATE EXTENSION adminpack;
    CREATE EXTENSION hstore;
    UPDATE pg_extension SET extversion = '99.1' WHERE extname = 'hstore';
    CREATE EXTENSION pg_trgm;
    UPDATE pg_extension SET extname = 'timescaledb' WHERE extname = 'pg_trgm';
    CREATE FUNCTION other_storage(internal) RETURNS table_am_handler LANGUAGE internal AS 'heap_tableam_handler';
    CREATE ACCESS METHOD columns TYPE TABLE HANDLER other_storage;
    CREATE TABLE stored (id integer PRIMARY KEY) USING columns;
    SET allow_system_table_mods = on;
    CREATE SCHEMA pg_odd;
    RESET allow_system_table_mods;
    CREATE TABLE no_equality (a json, b point, c xml);
    CREATE DOMAIN plain AS json;
    CREATE DOMAIN nested AS plain;
    CREATE TYPE wrapped AS (n integer, deep nested[]);
    CREATE TABLE deep_inside (a nested, b wrapped, c integer);
    CREATE DOMAIN number AS integer;
    CREATE DOMAIN counted AS number CHECK (VALUE > 0);
    CREATE TABLE comparable (a counted, b counted[]);
    CREATE UNLOGGED TABLE unlogged (id integer PRIMARY KEY);
    SELECT lo_create(0);
    CREATE COLLATION german (provider = icu, locale = 'de-DE');
    CREATE TABLE words (word text COLLATE german CHECK (word > 'a'), other text COLLATE german) PARTITION BY RANGE (other);
    CREATE TABLE words_1 PARTITION OF words FOR VALUES FROM ('a') TO ('z');
    CREATE COLLATION swedish (provider = icu, locale = 'sv-SE');
    UPDATE pg_collation SET collversion = '1' WHERE collname = 'swedish';
    CREATE TABLE old_words (word text COLLATE swedish PRIMARY KEY);
    CREATE TABLE twice (id integer PRIMARY KEY, n integer);
    INSERT INTO twice VALUES (1, 1), (2, 1);
    CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
    CREATE EVENT TRIGGER watches ON ddl_command_end EXECUTE FUNCTION watch();
    CREATE SUBSCRIPTION from_afar CONNECTION 'host=192.0.2.1' PUBLICATION p WITH (connect = false);
    CREATE PUBLICATION pg_migrator_erp;
    ALTER DATABASE shop SET vacuum_cleanup_index_scale_factor = 1;
";

const INSTANCE: &str = "
    CREATE ROLE manager CREATEROLE;
    CREATE ROLE old_tuner;
    ALTER ROLE old_tuner SET vacuum_cleanup_index_scale_factor = 1;
    SET password_encryption = 'md5';
    CREATE ROLE md5_user LOGIN PASSWORD 'old';
    SET allow_in_place_tablespaces = on;
";

#[tokio::test]
async fn check_tells_everything_at_once() -> Result<()> {
    let (source, destination) = tokio::try_join!(
        // A collation library that is older than the destination's.
        Cluster::start(13),
        Cluster::start(18),
    )?;
    for database in ["shop", "migrator", "closed", "broken"] {
        source.run("postgres", &format!("CREATE DATABASE {database}")).await?;
    }
    source.run("postgres", INSTANCE).await?;
    for tablespace in ["unmapped", "\"Mapped\""] {
        let sql = format!("SET allow_in_place_tablespaces = on; CREATE TABLESPACE {tablespace} LOCATION ''");
        dump_diff::psql(&source, "postgres", &sql)?;
    }
    dump_diff::psql(&source, "shop", SHOP)?;
    // What new databases are made of, after they were made.
    let template = "CREATE EXTENSION hstore; REVOKE ALL ON SCHEMA public FROM PUBLIC; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;
                    CREATE TABLE usual (a int); REVOKE ALL ON DATABASE template1 FROM PUBLIC; REVOKE EXECUTE ON FUNCTION pg_sleep FROM PUBLIC";
    dump_diff::psql(&source, "template1", template)?;
    dump_diff::psql(
        &source,
        "postgres",
        "ALTER DATABASE postgres SET work_mem = '9MB'; GRANT CREATE ON DATABASE postgres TO manager",
    )?;
    // It fails, and leaves an index that is not valid.
    assert!(dump_diff::psql(&source, "shop", "CREATE UNIQUE INDEX CONCURRENTLY broken_index ON twice (n)").is_err());
    let oid = source.value("postgres", "SELECT oid FROM pg_database WHERE datname = 'shop'").await?;
    source
        .run(
            "shop",
            &format!(
                "SELECT pg_create_physical_replication_slot('a_standby');
                 SELECT pg_create_logical_replication_slot('a_consumer', 'pgoutput');
                 SELECT pg_create_logical_replication_slot('pg_migrator_erp_{oid}', 'pgoutput')"
            ),
        )
        .await?;
    // Nobody can connect to it any more, and nobody was told.
    source.run("postgres", "UPDATE pg_database SET datcollate = 'xx_XX' WHERE datname = 'broken'").await?;
    source.run("postgres", "ALTER DATABASE closed WITH ALLOW_CONNECTIONS false").await?;
    source.run("shop", "BEGIN; INSERT INTO twice VALUES (3, 3); PREPARE TRANSACTION 'forgotten'").await?;
    let writer = source.connect("shop").await?;
    writer.batch_execute("BEGIN; INSERT INTO twice /* a long one */ VALUES (4, 4)").await.expect("a transaction");
    tokio::time::sleep(Duration::from_secs(11)).await;

    let mapping = Mapping::new(MAPPING, "erp_old", "erp_new").line("tablespaces = { Mapped = \"nvme\", typo = \"nvme\" }");
    let config = ConfigFile::new().instance("erp_old", &source).instance("erp_new", &destination).mapping(&mapping);
    let controller = Controller::new(&config)?;
    let checked = controller.check().await?;
    checked.must_have(&[
        ("error", "", "tablespace_missing", "\"nvme\""),
        ("error", "broken", "unreachable", "\"broken\""),
        ("error", "migrator", "reserved_name", "\"migrator\""),
        ("error", "shop", "extension_missing", "\"adminpack\""),
        ("error", "shop", "extension_missing", "\"timescaledb\""),
        ("error", "shop", "extension_owns_storage", "\"timescaledb\""),
        ("error", "shop", "publication_exists", "pg_migrator_erp"),
        ("error", "shop", "reserved_name", "\"pg_odd\""),
        ("error", "shop", "slot_exists", &format!("pg_migrator_erp_{oid}")),
        ("error", "shop", "table_access_method", "stored"),
        ("error", "shop", "table_not_comparable", "no_equality"),
        ("error", "shop", "table_not_comparable", "deep_inside"),
        ("warning", "", "contents_left", "\"template1\", \"postgres\""),
        ("warning", "", "database_not_connectable", "\"closed\""),
        ("warning", "", "long_transaction", "pid"),
        ("warning", "", "other_slot", "a_consumer"),
        ("warning", "", "other_slot", "a_standby"),
        ("warning", "", "prepared_transaction", "forgotten"),
        ("warning", "", "setting_unknown", "\"old_tuner\""),
        ("warning", "", "tablespace_missing", "\"typo\""),
        ("warning", "", "tablespace_unmapped", "\"unmapped\""),
        ("warning", "shop", "collation_outdated", "swedish"),
        ("warning", "shop", "collation_version", "german"),
        ("warning", "shop", "extension_older", "\"hstore\""),
        ("warning", "shop", "index_invalid", "broken_index"),
        ("warning", "shop", "subscription", "from_afar"),
        ("info", "", "createrole_restricted", "\"manager\""),
        ("info", "", "md5_password", "\"md5_user\""),
        ("info", "shop", "event_trigger", "\"watches\""),
    ])?;
    let collation = checked.find("warning", "shop", "collation_version", "german").expect("it was there");
    for named in ["153.80", "partition key", "words", "check"] {
        assert!(collation.reason.contains(named), "{named} is not named: {}", collation.reason);
    }
    let left = checked.find("warning", "", "contents_left", "template1").expect("it was there");
    for named in [
        "template1 has tables, views and sequences: 1, default privileges: 1; extensions: hstore; other privileges on schema public, function \
         pg_sleep(double precision); privileges on the database",
        "postgres has privileges on the database; settings: work_mem",
    ] {
        assert!(left.reason.contains(named), "{}", left.reason);
    }
    let deep = checked.find("error", "shop", "table_not_comparable", "deep_inside").expect("it was there");
    assert!(deep.reason.contains("(a, b)"), "{}", deep.reason);
    assert!(
        checked.find("error", "shop", "table_not_comparable", "comparable").is_none(),
        "integers have equality in whatever wrapping"
    );
    let long = checked.find("warning", "", "long_transaction", "pid").expect("it was there");
    assert!(long.reason.contains("a long one") && long.reason.contains("postgres"), "{}", long.reason);
    // The same in words.
    let words = controller.ask(&["check"]).await?;
    assert_eq!(words.code, 1);
    for finding in &checked.findings {
        assert!(words.stdout.contains(&finding.code) && words.stdout.contains(&finding.object), "{finding:?}\n{}", words.stdout);
    }
    assert_eq!(destination.databases().await?, [""; 0], "nothing is made of what is refused");
    drop(writer);
    Ok(())
}

#[tokio::test]
async fn one_side_that_does_not_answer_hides_nothing_of_the_other() -> Result<()> {
    let (source, destination) = tokio::try_join!(
        Cluster::of(15).set("wal_level", "replica").start(),
        Cluster::of(18).set("max_connections", "8").start()
    )?;
    source.run("postgres", "CREATE DATABASE shop").await?;
    let nobody = pg_migrator_tests::cluster::free_port()?;
    let config = ConfigFile::new()
        .instance("old", &source)
        .instance_at("absent", nobody, "postgres", "irrelevant")
        .mapping(&Mapping::new("one", "old", "absent"));
    let checked = Controller::new(&config)?.check().await?;
    checked.must_have(&[("error", "", "unreachable", "destination absent"), ("error", "", "wal_level", "wal_level")])?;
    let config = ConfigFile::new()
        .instance("new", &destination)
        .instance_at("absent", nobody, "postgres", "irrelevant")
        .mapping(&Mapping::new("other", "absent", "new"));
    let checked = Controller::new(&config)?.check().await?;
    checked.must_have(&[("error", "", "unreachable", "source absent"), ("error", "", "max_connections", "max_connections")])
}
