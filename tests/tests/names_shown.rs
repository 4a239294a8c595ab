//! Names that try to be something else are shown as text wherever people look, and an operator can point at the right one: a terminal,
//! the log, JSON, the views and the dashboard; and their tables are copied, streamed under load, copied anew and cut over.

use std::net::SocketAddr;
use std::time::Duration;

use pg_migrator_tests::cluster::free_port;
use pg_migrator_tests::controller::{ident, literal};
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{ConfigFile, Controller, Error, Mapping, Pair, Result, Workload, Writers, compare, http};

/// Instances in the configuration: a colour, markup, a dot, quotes, a line that looks like a heading.
const OLD: &str = "old.\"ü'\u{1b}[31m<b>x</b>\n[mappings.x]";
const NEW: &str = "new\t\\ \u{202e}$(date)`id`";
/// Clears the screen, is markup, ends strings, and looks like a connection string.
const DATABASE: &str = "a.b=c '\"\\ <img src=x onerror=alert(1)>\u{1b}[2J\nok: %s {} $1";
/// Is what the database above begins with.
const SHORT: &str = "a";
/// Sets a terminal's title.
const SCHEMA: &str = "s.\u{1b}]0;owned\u{7}\"'\\";
/// Is markup, and holds line breaks that would make a second finding.
const TABLE: &str = "t.<script>alert(1)</script>\r  error [x]\n  error [y] z\u{9b}2J";
/// A table without a key, and a function that there is a finding about.
const KEYLESS: &str = "-- ;DROP TABLE \"x\"; /* $$ \u{1b}c \u{202e}\n:v";
const COLUMN: &str = "c\n\"'\\\u{7f};--";

fn table(schema: &str, name: &str) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

/// Tables, two of which are `a.b.c` to who reads without quotes.
fn schema_sql() -> String {
    let (column, owner, keyless) = (ident(COLUMN), ident(SCHEMA), table(SCHEMA, KEYLESS));
    let keyed: String = [table(SCHEMA, TABLE), table("a", "b.c"), table("a.b", "c")].map(|name| filled(&name)).concat();
    format!(
        "CREATE ROLE {owner}; CREATE SCHEMA {owner}; CREATE SCHEMA a; CREATE SCHEMA \"a.b\"; {keyed}
         CREATE TABLE {keyless} (id int, {column} text); INSERT INTO {keyless} VALUES (1, 'x'), (2, NULL);
         CREATE FUNCTION {keyless}() RETURNS text LANGUAGE sql AS 'SELECT ''old_snapshot_threshold''::text';"
    )
}

/// A table with a key and rows.
fn filled(name: &str) -> String {
    format!(
        "CREATE TABLE {name} (id int PRIMARY KEY, {} text); ALTER TABLE {name} OWNER TO {};
         INSERT INTO {name} SELECT i, {} || i FROM generate_series(1, 2000) i;",
        ident(COLUMN),
        ident(SCHEMA),
        literal(COLUMN)
    )
}

/// What changes every table.
fn writes() -> Result<Writers> {
    let column = ident(COLUMN);
    let writer = |name: &str| {
        format!(
            "-- writer one\nUPDATE {name} SET {column} = 'changed :{{1000}}' WHERE id = :{{2000}};\n\n\
             DELETE FROM {name} WHERE id = :{{2000}};\nINSERT INTO {name} SELECT 10000 + :{{1000000000}}, {};\n\n",
            literal(COLUMN)
        )
    };
    let all = [table(SCHEMA, TABLE), table("a", "b.c"), table("a.b", "c"), table(SCHEMA, KEYLESS)];
    Writers::parse(&all.map(|name| writer(&name)).concat(), 15)
}

/// What a terminal is given has no character but line breaks that it would obey.
fn is_plain(what: &str, text: &str) {
    let obeyed = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!text.contains(obeyed), "{what} gives a terminal orders: {text:?}");
}

fn parsed(text: &str) -> Result<serde_json::Value> {
    serde_json::from_str(text).map_err(|error| Error::Broken(format!("{error}: {text}")))
}

/// A path segment.
fn segment(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat()
}

/// Asks the dashboard until it knows the mapping.
async fn page(address: SocketAddr, path: &str, text: &str) -> Result<String> {
    for _ in 0..100 {
        if let Ok(reply) = http::get(address, path).await
            && reply.body.contains(text)
        {
            return Ok(reply.body);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(Error::Broken(format!("{path} never had {text:?}: {}", http::get(address, path).await?.body)))
}

#[tokio::test]
async fn hostile_names_are_shown_as_text_and_can_be_pointed_at() -> Result<()> {
    let pair = Pair::start(15).await?;
    for name in [DATABASE, SHORT] {
        pair.source.run("postgres", &format!("CREATE DATABASE {}", ident(name))).await?;
    }
    pair.source.run(DATABASE, &schema_sql()).await?;
    pair.source.run(SHORT, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await?;
    let port = free_port()?;
    let config = ConfigFile::new()
        .dashboard(port)
        .instance(OLD, &pair.source)
        .instance(NEW, &pair.destination)
        .mapping(&Mapping::new(MAPPING, OLD, NEW).databases(&[DATABASE, SHORT]));
    let mut controller = Controller::new(&config)?;

    let shown = controller.ask(&["check"]).await?;
    assert_eq!(shown.code, 0, "{}{}", shown.stdout, shown.stderr);
    is_plain("check", &shown.stdout);
    is_plain("check's log", &shown.stderr);
    // Every line begins as one of ours does: no name has made one of its own.
    for line in shown.stdout.lines() {
        let ours = ["mapping ", "  error [", "  warning [", "  info [", "      "].iter().any(|start| line.starts_with(start));
        assert!(ours && !line.starts_with("  error [x]") && !line.starts_with("  error [y]"), "{line:?}");
    }
    let exact = parsed(&controller.must(&["check", "--json"]).await?.stdout)?;
    let findings = exact["mappings"][0]["findings"].as_array().cloned().unwrap_or_default();
    assert!(
        findings.iter().any(|f| f["database"] == DATABASE && f["object"].as_str().is_some_and(|o| o.contains(&ident(KEYLESS)))),
        "{findings:#?}"
    );

    let workload = Workload::start(&pair.source, DATABASE, &writes()?, 7, Duration::from_millis(15)).await?;
    controller.start()?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;

    let shown = controller.must(&["status"]).await?.stdout;
    is_plain("status", &shown);
    assert_eq!(shown.lines().count(), 3, "a heading and a line a database: {shown}");
    let exact = parsed(&controller.must(&["status", "--json"]).await?.stdout)?;
    let found = exact.as_array().into_iter().flatten().find(|row| row["database"] == DATABASE).cloned().unwrap_or_default();
    assert_eq!((&found["source"], &found["destination"]), (&OLD.into(), &NEW.into()));
    let in_views = pair.destination.rows("migrator", "SELECT database, schema, name FROM migrator.tables").await?;
    for (schema, name) in [(SCHEMA, TABLE), (SCHEMA, KEYLESS), ("a", "b.c"), ("a.b", "c")] {
        assert!(in_views.contains(&vec![DATABASE.to_owned(), schema.to_owned(), name.to_owned()]), "{name:?}: {in_views:?}");
    }
    let names = "SELECT slot_name FROM pg_replication_slots UNION ALL SELECT pubname FROM pg_publication";
    for name in pair.source.column(DATABASE, names).await? {
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') && name.len() < 64, "{name}");
    }

    let address = SocketAddr::from(([127, 0, 0, 1], port));
    for (path, name) in
        [("/".to_owned(), "onerror"), (format!("/mappings/{MAPPING}/databases/{}", segment(DATABASE)), "alert(1)")]
    {
        let body = page(address, &path, name).await?;
        assert!(!body.contains("<img src=x") && !body.contains("<script>alert") && !body.contains("<b>x"), "{path}: {body}");
    }
    let exact = parsed(&page(address, "/api/status", "a.b=c").await?)?;
    let databases = exact["control_databases"][0]["mappings"][0]["databases"].as_array().cloned().unwrap_or_default();
    assert!(databases.iter().any(|database| database["database"] == DATABASE), "{databases:#?}");

    // Which file a table is in tells whether it was copied anew.
    let file =
        async |name: &str| pair.destination.value(DATABASE, &format!("SELECT pg_relation_filenode({})", literal(name))).await;
    let (one, two) = (table("a", "b.c"), table("a.b", "c"));
    let before = (file(&one).await?, file(&two).await?);
    let target = |table: &str| format!("{DATABASE}.{table}");
    let unclear = controller.ask(&["resync", MAPPING, &target("a.b.c")]).await?;
    assert_eq!(unclear.code, 1);
    assert!(unclear.stdout.contains("in quotes"), "{}", unclear.stdout);
    let unknown = controller.ask(&["resync", MAPPING, &target("no.\u{1b}[2Jsuch\nno: table")]).await?;
    assert_eq!(unknown.code, 1);
    is_plain("resync", &unknown.stdout);
    for name in [&one, &format!("{SCHEMA}.{TABLE}")] {
        controller.must(&["resync", MAPPING, &target(name)]).await?;
        let settled = "(SELECT bool_and(state = 'streaming') FROM migrator.tables)";
        controller.wait_for(&pair.destination, settled, READY_LIMIT).await?;
    }
    let after = (file(&one).await?, file(&two).await?);
    assert_ne!(after.0, before.0, "the table that was named is copied anew");
    assert_eq!(after.1, before.1, "the one that looks like it is not");

    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    workload.stop().await?;
    drained(&pair.source).await?;
    controller.must(&["cutover", MAPPING]).await?;
    controller.must(&["complete", MAPPING]).await?;
    for name in [DATABASE, SHORT] {
        compare::equal(&pair.source, &pair.destination, name).await?;
    }
    let left = "SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_publication)";
    assert_eq!(pair.source.value(DATABASE, left).await?, "0");
    let log = controller.log()?;
    is_plain("the log", &log);
    for line in log.lines() {
        assert!(line.starts_with("20") && line.contains("Z "), "a line of the log that no event began: {line:?}");
    }
    Ok(())
}
