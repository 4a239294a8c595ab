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

/// What is sorted by a collation that the source's system has.
const OF_THE_SYSTEM: &str = "
    SET allow_system_table_mods = on;
    CREATE COLLATION pg_catalog.\"xx_YY.utf8\" (provider = libc, locale = 'xx_YY.utf8');
    RESET allow_system_table_mods;
    CREATE TABLE t (id integer PRIMARY KEY, word text COLLATE \"xx_YY.utf8\");
";

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
    assert!(errors[2].reason.contains("t.word"), "{}", errors[2].reason);
    // What the rehearsal found of it is in the same finding.
    for named in ["s.sorted.word", "needed by, and so left out: table s.sorted"] {
        assert!(errors[3].reason.contains(named), "{named} is not named: {}", errors[3].reason);
    }
    assert!(checked.has("warning", "own", "needs_failed_object", "table s.sorted"), "{checked:?}");
    assert!(pair.destination.databases().await?.is_empty(), "nothing was made");

    controller.start()?;
    let arrived = "(SELECT count(*) = 2 FROM migrator.status() WHERE database IN ('own', 'fine_icu') AND tables_synced = 1)
                   AND (SELECT count(*) = 3 FROM migrator.status() WHERE database IN ('abroad', 'of_icu', 'of_system') AND status = 'problematic')";
    controller.wait_for(&pair.destination, arrived, READY_LIMIT).await?;
    assert_eq!(pair.destination.databases().await?, ["fine_icu", CONTROL, "own"], "what is refused is not begun");
    assert_eq!(pair.destination.value("own", "SELECT count(*) FROM s.plain").await?, "100");
    let sql = "SELECT database, code, object FROM migrator.findings
               WHERE resolved_at IS NULL AND severity = 'error' AND database IN ('abroad', 'of_icu', 'of_system') ORDER BY 1";
    let told = pair.destination.rows(CONTROL, sql).await?;
    let told: Vec<_> = told.iter().map(|row| (row[0].as_str(), row[1].as_str(), row[2].as_str())).collect();
    assert_eq!(told, expected[..3]);

    // Without what can't be had, the rest is switched over.
    controller.kill()?;
    for database in ["abroad", "of_icu", "of_system"] {
        pair.source.run("postgres", &format!("DROP DATABASE {database} WITH (FORCE)")).await?;
    }
    pair.source
        .run("own", "DROP TABLE s.sorted; DROP COLLATION s.\"fore ign\"; DROP COLLATION s.unused; DROP COLLATION s.nonsense")
        .await?;
    controller.start()?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    for database in ["own", "fine_icu"] {
        compare::equal(&pair.source, &pair.destination, database).await?;
    }
    Ok(())
}
