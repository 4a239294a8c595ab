//! Security labels arrive on whatever may have one; where the destination has not loaded their provider, that is told once, before anything
//! is made, and everything else arrives.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use pg_migrator_tests::controller::{CONTROL, ident, literal};
use pg_migrator_tests::error::Doing as _;
use pg_migrator_tests::label_provider::{LabelProvider, PROVIDERS};
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT};
use pg_migrator_tests::{Cluster, Controller, Error, Pair, Result, dump_diff, fixtures, schema};

const DATABASE: &str = "fixtures";

/// Everything that has a label, as the server calls it.
const LABELS: &str = "SELECT objtype, objname, provider, label FROM pg_seclabels
                      WHERE objtype NOT IN ('role', 'tablespace') AND (objtype <> 'database' OR objname = quote_ident(current_database()))
                      ORDER BY objtype, objname, provider, label";

/// What the instance has that may have one.
fn label_instance(source: &Cluster, database: &str, role: &str, tablespace: &str) -> Result<()> {
    let mut script = String::new();
    for provider in PROVIDERS {
        for (keyword, name) in [("DATABASE", database), ("ROLE", role), ("TABLESPACE", tablespace)] {
            let label = format!("{provider} it's\nof \\ {name}");
            // Writing to a String can't fail.
            let (provider, name, label) = (ident(provider), ident(name), literal(&label));
            let _ = writeln!(script, "SECURITY LABEL FOR {provider} ON {keyword} {name} IS {label};");
        }
    }
    dump_diff::psql(source, "postgres", &script)
}

fn make_tablespace(cluster: &Cluster, name: &str) -> Result<()> {
    let sql = format!("SET allow_in_place_tablespaces = on; CREATE TABLESPACE {} LOCATION '';", ident(name));
    dump_diff::psql(cluster, "postgres", &sql)
}

/// The classes that the documentation says may have labels.
fn documented() -> Result<BTreeSet<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/objects.md");
    let page = fs::read_to_string(&path).doing(|| format!("reading {}", path.display()))?;
    let mut classes = BTreeSet::new();
    let mut column = None;
    for line in page.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if cells[1] == "class" || cells[1] == "kind" {
            column = cells.iter().position(|cell| *cell == "label");
        } else if column.is_some_and(|column| cells[column] == "yes") {
            classes.insert(cells[1].to_owned());
        }
    }
    Ok(classes)
}

/// The labels of one object come in whatever order the catalogs hold them in.
fn sorted(dump: &str) -> String {
    let mut lines: Vec<&str> = dump.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// Loads all fixtures into a database and labels everything in it that may have a label; gives how many statements that took.
async fn load_labelled(source: &Cluster) -> Result<usize> {
    source.run("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
    fixtures::load(source, DATABASE)?;
    let statements = source.rows(DATABASE, include_str!("labels.sql")).await?;
    let mut labelled: BTreeSet<String> = statements.iter().map(|row| row[0].clone()).collect();
    labelled.extend(["database", "role", "tablespace"].map(str::to_owned));
    assert_eq!(labelled, documented()?, "every class that may have a label has one here");
    let client = source.connect(DATABASE).await?;
    for row in &statements {
        client.batch_execute(&row[1]).await.doing(|| row[1].clone())?;
    }
    Ok(statements.len())
}

/// The labels of a database, a line each. Before 14 a procedure's name did not say which arguments are IN.
async fn labels_of(cluster: &Cluster) -> Result<Vec<String>> {
    let rows = cluster.rows(DATABASE, LABELS).await?;
    let line = |row: Vec<String>| {
        let line = row.join(" | ").replace('\n', " ");
        if row[0] == "procedure" { line.replace(", IN ", ", ") } else { line }
    };
    Ok(rows.into_iter().map(line).collect())
}

async fn labels_arrive(major: u32) -> Result<()> {
    let provider = LabelProvider::new()?;
    let (source, destination, yardstick) =
        tokio::try_join!(provider.server(major)?.start(), provider.server(18)?.start(), provider.server(18)?.start())?;
    let pair = Pair { source, destination };
    let labelled = load_labelled(&pair.source).await?;
    dump_diff::copy_globals(&pair.source, &yardstick)?;
    dump_diff::copy_database(&pair.source, &yardstick, DATABASE)?;
    // No dump of an instance can make a tablespace of this kind anew: so the same is said on both.
    let (role, tablespace) = ("Fx \"Writer\"", "Fx \"disk\"");
    for cluster in [&pair.source, &pair.destination, &yardstick] {
        make_tablespace(cluster, tablespace)?;
    }
    label_instance(&pair.source, DATABASE, role, tablespace)?;
    label_instance(&yardstick, DATABASE, role, tablespace)?;

    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    controller.must(&["complete", MAPPING]).await?;

    let mut broken = Vec::new();
    let (expected, found) = (labels_of(&pair.source).await?, labels_of(&pair.destination).await?);
    assert!(expected.len() > labelled, "{} labels", expected.len());
    broken.extend(dump_diff::same("labels", &expected.join("\n"), &found.join("\n")).err());
    let (expected, found) = (dump_diff::schema(&yardstick, DATABASE)?, dump_diff::schema(&pair.destination, DATABASE)?);
    assert!(expected.contains("SECURITY LABEL FOR"), "the yardstick has what is compared");
    broken.extend(dump_diff::same(DATABASE, &sorted(&expected), &sorted(&found)).err());
    let expected = dump_diff::globals(&yardstick, &["postgres"])?;
    let found = dump_diff::globals(&pair.destination, &["postgres", "migrator_operator"])?;
    assert_eq!(
        expected.matches("ON ROLE").count() + expected.matches("ON TABLESPACE").count(),
        2 * PROVIDERS.len(),
        "{expected}"
    );
    broken.extend(dump_diff::same("roles", &sorted(&expected), &sorted(&found)).err());
    if broken.is_empty() {
        return Ok(());
    }
    Err(Error::Broken(broken.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n")))
}

#[tokio::test]
async fn labels_of_everything_that_may_have_one_arrive_from_postgresql_10() -> Result<()> {
    labels_arrive(10).await
}

#[tokio::test]
async fn labels_of_everything_that_may_have_one_arrive_from_postgresql_17() -> Result<()> {
    labels_arrive(17).await
}

/// The plan has them, which is what other versions' catalogs could be read differently for.
async fn labels_are_planned(major: u32) -> Result<()> {
    let provider = LabelProvider::new()?;
    let (source, destination) = tokio::try_join!(provider.server(major)?.start(), provider.server(18)?.start())?;
    let labelled = load_labelled(&source).await?;
    dump_diff::copy_globals(&source, &destination)?;
    let told = schema::carry(&source, &destination, DATABASE).await?;
    let failed: Vec<_> = told.into_iter().filter(|one| !one.starts_with("finding ")).collect();
    assert_eq!(failed, Vec::<String>::new());
    let (expected, found) = (labels_of(&source).await?, labels_of(&destination).await?);
    assert!(expected.len() >= labelled, "{} labels", expected.len());
    dump_diff::same("labels", &expected.join("\n"), &found.join("\n"))
}

#[tokio::test]
async fn labels_of_everything_that_may_have_one_are_planned_from_postgresql_13() -> Result<()> {
    labels_are_planned(13).await
}

#[tokio::test]
async fn labels_of_everything_that_may_have_one_are_planned_from_postgresql_15() -> Result<()> {
    labels_are_planned(15).await
}

const LABELLED: &str = "
    CREATE TABLE t (id integer PRIMARY KEY, secret text);
    INSERT INTO t SELECT i, 'row ' || i FROM generate_series(1, 100) i;
    COMMENT ON TABLE t IS 'has labels';
    CREATE PUBLICATION p FOR TABLE t;
    SECURITY LABEL FOR plain ON TABLE t IS 'one';
    SECURITY LABEL FOR plain ON COLUMN t.secret IS 'two';
    SECURITY LABEL FOR plain ON PUBLICATION p IS 'three';
    SECURITY LABEL FOR plain ON DATABASE shop IS 'four';
    SECURITY LABEL FOR plain ON ROLE labelled IS 'five';
";

/// What the control database tells of the severity error: database, code, object, reason.
const ERRORS: &str =
    "SELECT database, code, object, reason FROM migrator.findings WHERE resolved_at IS NULL AND severity = 'error' ORDER BY 1, 3";

#[tokio::test]
async fn a_provider_that_the_destination_has_not_loaded_is_told_once_and_costs_its_labels_alone() -> Result<()> {
    let provider = LabelProvider::new()?;
    let (source, destination) = tokio::try_join!(provider.server(15)?.start(), Cluster::start(18))?;
    let pair = Pair { source, destination };
    for sql in ["CREATE ROLE labelled", "CREATE DATABASE shop", "CREATE DATABASE plain"] {
        pair.source.run("postgres", sql).await?;
    }
    dump_diff::psql(&pair.source, "shop", LABELLED)?;
    pair.source.run("plain", "CREATE TABLE t (id integer PRIMARY KEY)").await?;

    let mut controller = Controller::new(&pair.config())?;
    let checked = controller.check().await?;
    let errors: Vec<_> = checked.findings.iter().filter(|f| f.severity == "error").collect();
    let told: Vec<_> = errors.iter().map(|f| (f.database.as_str(), f.code.as_str(), f.object.as_str())).collect();
    let missing = "security label provider \"plain\"";
    assert_eq!(told, [("", "label_provider_missing", missing), ("shop", "label_provider_missing", missing)], "{checked:?}");
    assert!(errors[0].reason.contains("role \"labelled\""), "{}", errors[0].reason);
    for object in ["table public.t", "column public.t.secret", "publication p", "database shop"] {
        let named = errors[1].reason.replace("public.t", "t").contains(&object.replace("public.t", "t"));
        assert!(named, "{object} is not named: {}", errors[1].reason);
    }
    assert!(pair.destination.databases().await?.is_empty(), "nothing was made");

    controller.start()?;
    controller
        .wait_for(
            &pair.destination,
            "EXISTS (SELECT FROM migrator.status() WHERE database = 'shop' AND tables_synced = 1)",
            READY_LIMIT,
        )
        .await?;
    let settled = "(SELECT count(*) = 2 FROM migrator.findings WHERE resolved_at IS NULL AND severity = 'error' AND (database = '' OR reason LIKE '%publication p%'))";
    controller.wait_for(&pair.destination, settled, READY_LIMIT).await?;
    let told = pair.destination.rows(CONTROL, ERRORS).await?;
    let kinds: Vec<_> = told.iter().map(|row| (row[0].as_str(), row[1].as_str(), row[2].as_str())).collect();
    assert_eq!(kinds, [("", "label_provider_missing", missing), ("shop", "label_provider_missing", missing)], "{told:?}");
    for object in ["table public.t", "publication p", "database \"shop\""] {
        assert!(told[1][3].contains(object), "{object} is not named: {}", told[1][3]);
    }
    let arrived = "SELECT count(*) || obj_description('t'::regclass) FROM t";
    assert_eq!(pair.destination.value("shop", arrived).await?, "100has labels");

    // As the fix says; a restart tries at once what would be tried again after a while.
    let library = provider.library(18)?.display().to_string();
    pair.destination.run("postgres", &format!("ALTER SYSTEM SET session_preload_libraries = {}", literal(&library))).await?;
    pair.destination.run("postgres", "SELECT pg_reload_conf()").await?;
    controller.kill()?;
    controller.start()?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    assert_eq!(pair.destination.rows(CONTROL, ERRORS).await?, Vec::<Vec<String>>::new());
    controller.must(&["cutover", MAPPING]).await?;
    controller.must(&["complete", MAPPING]).await?;
    assert_eq!(pair.destination.rows("shop", LABELS).await?, pair.source.rows("shop", LABELS).await?);
    let of_role = "SELECT label FROM pg_seclabels WHERE objtype = 'role'";
    assert_eq!(pair.destination.column("shop", of_role).await?, ["five"]);
    Ok(())
}
