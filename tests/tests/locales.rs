//! Locales and collations that the destination does not know are told once, before anything is made, and keep nothing else from arriving.

use std::path::Path;
use std::process::Command;

use pg_migrator_tests::cluster::output_of;
use pg_migrator_tests::controller::CONTROL;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT};
use pg_migrator_tests::{Cluster, Controller, Pair, Result, compare};

/// A locale that only the source's machine has: a copy of plain UTF-8 under another name.
const FOREIGN: &str = "xx_YY.utf8";

/// A folder with that locale, for a server's `LOCPATH`.
fn locales() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plain = ["/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8"]
        .into_iter()
        .map(Path::new)
        .find(|path| path.exists())
        .expect("glibc's locale C.UTF-8 is a folder under /usr/lib/locale");
    for name in ["C.utf8", FOREIGN] {
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(plain).arg(folder.path().join(name));
        output_of(copy)?;
    }
    let mut open = Command::new("chmod");
    open.args(["-R", "a+rX"]).arg(folder.path());
    output_of(open)?;
    Ok(folder)
}

/// What fails with a collation of the database's own, and what has nothing to do with it.
const OWN: &str = "
    CREATE SCHEMA s;
    CREATE COLLATION s.\"fore ign\" (provider = libc, locale = 'xx_YY.utf8');
    CREATE COLLATION s.unused (provider = libc, lc_collate = 'C', lc_ctype = 'xx_YY.utf8');
    CREATE COLLATION s.nonsense (provider = icu, locale = 'zz');
    CREATE COLLATION s.fine (provider = icu, locale = 'de-AT');
    CREATE TABLE s.sorted (id integer PRIMARY KEY, word text COLLATE s.\"fore ign\");
    CREATE TABLE s.plain (id integer PRIMARY KEY, word text COLLATE s.fine);
    INSERT INTO s.plain SELECT i, 'word ' || i FROM generate_series(1, 100) i;
";

/// What is sorted by a collation that the source's system has, what needs that, and what has nothing to do with it.
const OF_THE_SYSTEM: &str = "
    SET allow_system_table_mods = on;
    CREATE COLLATION pg_catalog.\"xx_YY.utf8\" (provider = libc, locale = 'xx_YY.utf8');
    RESET allow_system_table_mods;
    CREATE TABLE t (id integer PRIMARY KEY, word text COLLATE \"xx_YY.utf8\");
    INSERT INTO t SELECT i, 'word ' || i FROM generate_series(1, 100) i;
    CREATE VIEW longest AS SELECT max(word) AS word FROM t;
    CREATE TABLE plain (id integer PRIMARY KEY, word text);
    INSERT INTO plain SELECT i, 'word ' || i FROM generate_series(1, 100) i;
    CREATE INDEX by_foreign ON plain (word COLLATE \"xx_YY.utf8\");
    CREATE INDEX by_word ON plain (word);
    CREATE VIEW sorted AS SELECT id FROM plain ORDER BY word COLLATE \"xx_YY.utf8\";
";

/// What can't be made without that collation.
const LEFT_OUT: [&str; 5] = [
    "constraint public.t.t_pkey",
    "index public.plain.by_foreign",
    "table public.t",
    "view public.longest",
    "view public.sorted",
];

/// What the control database says is left out for want of it.
const LEFT_OUT_NOW: &str = "SELECT object FROM migrator.findings
    WHERE resolved_at IS NULL AND database = 'of_system' AND code = 'needs_failed_object' ORDER BY object COLLATE \"C\"";

/// What the destination lacks, of a locale that it knows.
const COLLATION: &str = "SET allow_system_table_mods = on;
    CREATE COLLATION pg_catalog.\"xx_YY.utf8\" (provider = libc, locale = 'C.utf8')";

#[tokio::test]
async fn what_the_destination_does_not_know_is_told_once_and_other_databases_go_on() -> Result<()> {
    let folder = locales()?;
    let locpath = folder.path().display().to_string();
    let (source, destination) = tokio::try_join!(
        Cluster::of(15).environment("LOCPATH", &locpath).start(),
        // So that it refuses a locale of ICU that the source takes.
        Cluster::of(18).set("icu_validation_level", "error").start()
    )?;
    let pair = Pair { source, destination };
    for sql in [
        "CREATE DATABASE abroad TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'xx_YY.utf8' LC_CTYPE 'C.utf8'",
        "CREATE DATABASE of_icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'zz'",
        "CREATE DATABASE fine_icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'sv-SE'",
        "CREATE DATABASE own",
        "CREATE DATABASE of_system",
    ] {
        pair.source.run("postgres", sql).await?;
    }
    pair.source.run("own", OWN).await?;
    pair.source.run("of_system", OF_THE_SYSTEM).await?;
    for database in ["abroad", "of_icu", "fine_icu"] {
        pair.source.run(database, "CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t VALUES (1)").await?;
    }

    let mut controller = Controller::new(&pair.config())?;
    let checked = controller.check().await?;
    let errors: Vec<_> = checked.findings.iter().filter(|f| f.severity == "error").collect();
    let told: Vec<_> = errors.iter().map(|f| (f.database.as_str(), f.code.as_str(), f.object.as_str())).collect();
    let expected = [
        ("abroad", "locale_missing", "database \"abroad\""),
        ("of_icu", "locale_missing", "database \"of_icu\""),
        ("of_system", "locale_missing", "collation pg_catalog.\"xx_YY.utf8\""),
        ("own", "locale_missing", "collation s.\"fore ign\""),
        ("own", "locale_missing", "collation s.nonsense"),
        ("own", "locale_missing", "collation s.unused"),
    ];
    assert_eq!(told, expected, "{checked:#?}");
    for finding in errors.iter().filter(|f| f.database == "abroad" || f.database == "of_system") {
        assert!(finding.fix.contains(FOREIGN), "{finding:?}");
    }
    for named in ["t.word", "by_foreign", "needed by, and so left out: table public.t"] {
        assert!(errors[2].reason.contains(named), "{named} is not named: {}", errors[2].reason);
    }
    let left_out = checked.findings.iter().filter(|f| f.database == "of_system" && f.code == "needs_failed_object");
    let mut left_out: Vec<_> = left_out.map(|f| f.object.as_str()).collect();
    left_out.sort_unstable();
    assert_eq!(left_out, LEFT_OUT);
    // What the rehearsal found of it is in the same finding.
    for named in ["s.sorted.word", "needed by, and so left out: table s.sorted"] {
        assert!(errors[3].reason.contains(named), "{named} is not named: {}", errors[3].reason);
    }
    assert!(checked.has("warning", "own", "needs_failed_object", "table s.sorted"), "{checked:?}");
    assert!(pair.destination.databases().await?.is_empty(), "nothing was made");

    controller.start()?;
    let arrived = "(SELECT count(*) = 3 FROM migrator.status() WHERE database IN ('own', 'fine_icu', 'of_system') AND tables_synced = 1)
                   AND (SELECT count(*) = 2 FROM migrator.status() WHERE database IN ('abroad', 'of_icu') AND status = 'problematic')";
    controller.wait_for(&pair.destination, arrived, READY_LIMIT).await?;
    assert_eq!(pair.destination.databases().await?, ["fine_icu", CONTROL, "of_system", "own"], "what is refused is not begun");
    assert_eq!(pair.destination.value("own", "SELECT count(*) FROM s.plain").await?, "100");
    let there = "SELECT count(*) || ' ' || (to_regclass('by_word') IS NOT NULL) || ' ' || (to_regclass('t') IS NULL) FROM plain";
    assert_eq!(pair.destination.value("of_system", there).await?, "100 true true");
    let settled = format!("(SELECT count(*) = {} FROM ({LEFT_OUT_NOW}) left_out)", LEFT_OUT.len());
    controller.wait_for(&pair.destination, &settled, READY_LIMIT).await?;
    assert_eq!(pair.destination.column(CONTROL, LEFT_OUT_NOW).await?, LEFT_OUT);
    let sql = "SELECT database, code, object FROM migrator.findings
               WHERE resolved_at IS NULL AND severity = 'error' AND database IN ('abroad', 'of_icu', 'of_system') ORDER BY 1";
    let told = pair.destination.rows(CONTROL, sql).await?;
    let told: Vec<_> = told.iter().map(|row| (row[0].as_str(), row[1].as_str(), row[2].as_str())).collect();
    assert_eq!(told, expected[..3]);

    // The collation is there by now, as if the destination's machine knew it; and without what can't be had, the rest is switched over.
    controller.kill()?;
    pair.destination.run("of_system", COLLATION).await?;
    for database in ["abroad", "of_icu"] {
        pair.source.run("postgres", &format!("DROP DATABASE {database} WITH (FORCE)")).await?;
    }
    pair.source
        .run("own", "DROP TABLE s.sorted; DROP COLLATION s.\"fore ign\"; DROP COLLATION s.unused; DROP COLLATION s.nonsense")
        .await?;
    controller.start()?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    assert_eq!(pair.destination.column(CONTROL, LEFT_OUT_NOW).await?, [""; 0]);
    controller.must(&["cutover", MAPPING]).await?;
    for database in ["own", "fine_icu", "of_system"] {
        compare::equal(&pair.source, &pair.destination, database).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_database_that_icu_can_not_serve_does_not_make_icu_missing() -> Result<()> {
    let pair = Pair::start(15).await?;
    for sql in ["CREATE DATABASE of_icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'sv-SE'", "CREATE DATABASE own"] {
        pair.source.run("postgres", sql).await?;
    }
    pair.source.run("of_icu", "CREATE TABLE t (id integer PRIMARY KEY)").await?;
    let sql = "CREATE COLLATION fine (provider = icu, locale = 'de-AT'); CREATE TABLE t (id integer PRIMARY KEY, word text COLLATE fine)";
    pair.source.run("own", sql).await?;
    // The one that is connected to first.
    let ascii = "CREATE DATABASE postgres TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'";
    for sql in ["DROP DATABASE postgres WITH (FORCE)", ascii] {
        pair.destination.run("template1", sql).await?;
    }
    let checked = Controller::new(&pair.config())?.check().await?;
    assert_eq!(checked.codes("error"), [""; 0], "{checked:#?}");
    Ok(())
}
