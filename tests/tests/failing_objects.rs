//! An object that fails is one finding; what needs it is left out and names it; everything else arrives. What is mended is made
//! later, with all that needs it, rows included.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use pg_migrator_tests::controller::CONTROL;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT};
use pg_migrator_tests::{Cluster, Controller, Error, Pair, Result, compare};
use tempfile::TempDir;

/// What will fail, each with something that needs it, and tables that have nothing to do with it.
const SHOP: &str = "
    CREATE SCHEMA f;
    -- The column is gone since.
    CREATE VIEW f.removed AS SELECT COUNTER AS n FROM pg_catalog.STATISTICS;
    CREATE VIEW f.above AS SELECT n + 1 AS more FROM f.removed;
    CREATE FUNCTION f.reads() RETURNS SETOF f.above LANGUAGE plpgsql AS 'BEGIN RETURN; END';
    COMMENT ON VIEW f.above IS 'goes with the view';
    GRANT SELECT ON f.removed TO PUBLIC;
    -- A library of the source's own, which 18 does not load, and one more, which it has not got if its version dropped it.
    CREATE FUNCTION f.handler() RETURNS language_handler LANGUAGE c AS 'LIBRARIES/plpgsql', 'plpgsql_call_handler';
    CREATE LANGUAGE old HANDLER f.handler;
    CREATE FUNCTION f.in_old() RETURNS trigger LANGUAGE old AS 'BEGIN RETURN NEW; END';
    CREATE FUNCTION f.logs() RETURNS SETOF record LANGUAGE c AS 'LOGS';
    CREATE VIEW f.of_logs AS SELECT * FROM f.logs() AS l(at timestamp, file text);
    -- Extensions that the destination does not have.
    CREATE EXTENSION citext;
    CREATE EXTENSION pg_trgm;
    CREATE TABLE f.names (id int PRIMARY KEY, name public.citext UNIQUE);
    INSERT INTO f.names SELECT n, 'Name ' || n FROM generate_series(1, 100) n;
    CREATE TABLE f.refers (id int PRIMARY KEY, name_id int REFERENCES f.names);
    INSERT INTO f.refers SELECT n, n FROM generate_series(1, 100) n;
    CREATE TABLE f.plain (id int PRIMARY KEY, body text);
    INSERT INTO f.plain SELECT n, 'body ' || n FROM generate_series(1, 1000) n;
    CREATE INDEX by_likeness ON f.plain USING gin (body public.gin_trgm_ops);
    CREATE INDEX by_body ON f.plain (body);
    CREATE TRIGGER fires BEFORE INSERT ON f.plain FOR EACH ROW EXECUTE PROCEDURE f.in_old();
    ALTER TABLE f.plain DISABLE TRIGGER fires;
    CREATE VIEW f.fine AS SELECT id FROM f.plain;
    CREATE PUBLICATION of_two FOR TABLE f.names, f.plain WITH (publish = 'insert');
";

/// Two of one name that take as many arguments: one fails for a setting that 16 removed, the other for its library.
const OVERLOADS: &str = "
    CREATE FUNCTION f.over(integer) RETURNS integer LANGUAGE sql SET force_parallel_mode = on AS 'SELECT 1';
    CREATE FUNCTION f.over(text) RETURNS SETOF record LANGUAGE c AS 'LOGS';
";
/// The sources that know that setting.
const WITH_OVERLOADS: std::ops::Range<u32> = 10..16;

/// What differs from source to source.
struct Gone {
    /// A statistics view of the catalogs and a column that it has no more.
    counter: [&'static str; 2],
    /// A library that 18 does not load, and a function of it.
    logs: [&'static str; 2],
}

fn gone(major: u32) -> Gone {
    let counter = if major < 17 { ["pg_stat_bgwriter", "checkpoints_timed"] } else { ["pg_stat_wal", "wal_write"] };
    let logs = match major {
        10 => ["$libdir/adminpack", "pg_logdir_ls"],
        11..17 => ["$libdir/adminpack", "pg_logdir_ls_v1_1"],
        _ => ["LIBRARIES/dblink", "dblink_get_result"],
    };
    Gone { counter, logs }
}

/// What fails by itself, and what is left out for it.
const FAILS: &[(&str, &[&str])] = &[
    (
        "extension citext",
        &[
            "table f.names",
            "constraint f.names.names_pkey",
            "constraint f.names.names_name_key",
            "constraint f.refers.refers_name_id_fkey",
            // Of the publication this member alone.
            "publication of_two.f.names",
        ],
    ),
    ("extension pg_trgm", &["index f.plain.by_likeness"]),
    ("function f.handler()", &["language old", "function f.in_old()", "trigger f.plain.fires"]),
    ("function f.logs()", &["view f.of_logs"]),
    ("function f.over(integer)", &[]),
    ("function f.over(text)", &[]),
    ("view f.removed", &["view f.above", "function f.reads()"]),
];

/// Installs extensions of the server into a folder of its `extension_control_path`.
async fn install(server: &Cluster, folder: &Path, names: &[&str]) -> Result<()> {
    let shared = server.value("postgres", "SELECT setting FROM pg_config WHERE name = 'SHAREDIR'").await?;
    let broken = |error: std::io::Error| Error::Broken(format!("installing {names:?}: {error}"));
    let target = folder.join("extension");
    fs::create_dir_all(&target).map_err(broken)?;
    for entry in fs::read_dir(Path::new(&shared).join("extension")).map_err(broken)? {
        let file = entry.map_err(broken)?.file_name().to_string_lossy().into_owned();
        if names.iter().any(|name| file == format!("{name}.control") || file.starts_with(&format!("{name}--"))) {
            fs::copy(Path::new(&shared).join("extension").join(&file), target.join(&file)).map_err(broken)?;
        }
    }
    Ok(())
}

/// By failed object: what names it.
type Told = BTreeMap<String, BTreeSet<String>>;

/// Which objects failed, and which name them as their cause.
fn told(findings: &[(String, String, String, String)]) -> Told {
    let mut told = Told::new();
    for (severity, code, object, _) in findings {
        // Where the catalogs tell beforehand why it will fail, that is the finding.
        if severity == "error"
            && ["statement_failed", "extension_missing", "removed_name", "removed_setting"].contains(&code.as_str())
        {
            assert!(told.insert(object.clone(), BTreeSet::new()).is_none(), "{object} is told twice");
        }
    }
    for (_, _, object, reason) in findings.iter().filter(|(_, code, ..)| code == "needs_failed_object") {
        let cause =
            reason.strip_prefix("left out, since it needs ").and_then(|r| r.split_once(", which failed")).map(|(cause, _)| cause);
        let needing = cause.and_then(|cause| told.get_mut(cause));
        assert!(needing.is_some_and(|needing| needing.insert(object.clone())), "{object}: {reason}");
    }
    told
}

fn expected(major: u32, without: &[&str]) -> Told {
    let is_there = |failed: &str| WITH_OVERLOADS.contains(&major) || !failed.starts_with("function f.over(");
    let left = FAILS.iter().filter(|(failed, _)| !without.contains(failed) && is_there(failed));
    left.map(|(failed, needing)| ((*failed).to_owned(), needing.iter().map(|n| (*n).to_owned()).collect())).collect()
}

/// What `check` tells, quoted names as they are.
async fn checked(controller: &Controller) -> Result<(Told, String)> {
    let answer = controller.ask(&["check", "--json"]).await?;
    assert_eq!(answer.code, 1, "{}{}", answer.stdout, answer.stderr);
    let document: serde_json::Value =
        serde_json::from_str(&answer.stdout).map_err(|e| Error::Broken(format!("{e}: {}", answer.stdout)))?;
    let findings = document["mappings"][0]["findings"].as_array().cloned().unwrap_or_default();
    let field = |finding: &serde_json::Value, name: &str| finding[name].as_str().unwrap_or_default().replace('"', "");
    let findings: Vec<_> =
        findings.iter().map(|f| (field(f, "severity"), field(f, "code"), field(f, "object"), field(f, "reason"))).collect();
    Ok((told(&findings), answer.stdout))
}

/// What the control database shows.
async fn shown(destination: &Cluster) -> Result<Told> {
    let sql = "SELECT severity, code, object, reason FROM migrator.findings WHERE resolved_at IS NULL";
    let rows = destination.rows(CONTROL, sql).await?;
    Ok(told(&rows.into_iter().map(|r| (r[0].clone(), r[1].clone(), r[2].clone(), r[3].clone())).collect::<Vec<_>>()))
}

/// Waits until the control database shows exactly this.
async fn shows(controller: &Controller, destination: &Cluster, expected: &Told) -> Result<()> {
    let begun = std::time::Instant::now();
    loop {
        let shown = shown(destination).await.unwrap_or_default();
        if shown == *expected {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_mins(1) {
            let report = controller.report(destination).await;
            return Err(Error::Broken(format!("expected {expected:#?}\nshown {shown:#?}\n{report}")));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn what_fails_from_postgresql_10_is_told_once_with_what_needs_it_and_heals_when_mended() -> Result<()> {
    is_told_once_and_heals(10).await
}

#[tokio::test]
async fn what_fails_from_postgresql_15_is_told_once_with_what_needs_it_and_heals_when_mended() -> Result<()> {
    is_told_once_and_heals(15).await
}

#[tokio::test]
async fn what_fails_from_postgresql_17_is_told_once_with_what_needs_it_and_heals_when_mended() -> Result<()> {
    is_told_once_and_heals(17).await
}

async fn is_told_once_and_heals(major: u32) -> Result<()> {
    let broken = |error: std::io::Error| Error::Broken(format!("preparing a folder of extensions: {error}"));
    let folder = TempDir::with_prefix("pgm-extensions-").map_err(broken)?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).map_err(broken)?;
    let path = folder.path().display().to_string();
    let (source, destination) =
        tokio::try_join!(Cluster::start(major), Cluster::of(18).set("extension_control_path", &path).start())?;
    install(&destination, folder.path(), &["migrator", "dblink", "plpgsql"]).await?;
    let pair = Pair { source, destination };
    pair.source.run("postgres", "CREATE DATABASE shop").await?;
    let libraries = pair.source.value("postgres", "SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'").await?;
    let Gone { counter: [statistics, counter], logs } = gone(major);
    let overloads = if WITH_OVERLOADS.contains(&major) { OVERLOADS } else { "" };
    let shop = format!("{SHOP}{overloads}")
        .replace("COUNTER", counter)
        .replace("STATISTICS", statistics)
        .replace("LOGS", &logs.join("', '"));
    pair.source.run("shop", &shop.replace("LIBRARIES", &libraries)).await?;

    let mut controller = Controller::new(&pair.config())?;
    let (found, text) = checked(&controller).await?;
    assert_eq!(found, expected(major, &[]), "{text}");
    assert!(text.contains("needed by, and so left out: view f.above, function f.reads()"), "{text}");
    // The overload that fails for another reason is not taken for the one whose setting is gone.
    if WITH_OVERLOADS.contains(&major) {
        let overloads = [("removed_setting", "function f.over(integer)"), ("statement_failed", "function f.over(text)")];
        controller.check().await?.must_have(&overloads.map(|(code, object)| ("error", "shop", code, object)))?;
    }
    assert!(pair.destination.databases().await?.is_empty(), "the scratch database is gone");

    controller.start()?;
    // Everything else arrives: the rows, the indexes, the objects that have nothing to do with it.
    controller.wait_for(&pair.destination, "EXISTS (SELECT FROM migrator.status() WHERE tables_synced = 2)", READY_LIMIT).await?;
    shows(&controller, &pair.destination, &expected(major, &[])).await?;
    let arrived =
        "SELECT to_regclass('f.fine') IS NOT NULL AND to_regclass('f.by_body') IS NOT NULL AND to_regclass('f.above') IS NULL
                      AND (SELECT count(*) FROM f.plain) = 1000 AND (SELECT count(*) FROM f.refers) = 100";
    assert_eq!(pair.destination.value("shop", arrived).await?, "t");

    // What failed is remembered, and nothing of it is forgotten for being left out.
    controller.kill()?;
    pair.destination.run(CONTROL, "UPDATE migrator.finding SET resolved_at = now()").await?;
    // A view is made by hand that the source's definition can't make; a library is gone from the source.
    pair.destination.run("shop", "CREATE VIEW f.removed AS SELECT 0::bigint AS n").await?;
    pair.source.run("shop", "DROP FUNCTION f.logs() CASCADE").await?;
    controller.start()?;
    shows(&controller, &pair.destination, &expected(major, &["view f.removed", "function f.logs()"])).await?;
    assert_eq!(pair.destination.value("shop", "SELECT more FROM f.above").await?, "1");

    // The extensions are installed, the language is given up; a restart tries at once what would be tried again after a while.
    install(&pair.destination, folder.path(), &["citext", "pg_trgm"]).await?;
    pair.source.run("shop", "DROP FUNCTION f.handler() CASCADE; DROP FUNCTION IF EXISTS f.over(integer), f.over(text)").await?;
    pair.source.run("shop", "UPDATE f.names SET name = 'Changed' WHERE id = 7").await?;
    controller.kill()?;
    controller.start()?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    assert_eq!(shown(&pair.destination).await?, Told::new());
    controller.must(&["cutover", MAPPING]).await?;
    compare::equal(&pair.source, &pair.destination, "shop").await?;
    let healed = "SELECT to_regclass('f.by_likeness') IS NOT NULL AND to_regclass('f.names_name_key') IS NOT NULL
                     AND (SELECT count(*) FROM pg_constraint WHERE conname = 'refers_name_id_fkey' AND convalidated) = 1
                     AND obj_description('f.above'::regclass) = 'goes with the view'
                     AND has_table_privilege('pg_monitor', 'f.removed', 'SELECT')
                     AND (SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_publication_tables WHERE pubname = 'of_two') = 'names plain'";
    assert_eq!(pair.destination.value("shop", healed).await?, "t");
    Ok(())
}
