//! The extension by itself: its interface, who may use it, and the attach that everything else rests on.

use std::process::Stdio;
use std::time::{Duration, Instant};

use pg_migrator_tests::cluster::{output_of, rows, tool18};
use pg_migrator_tests::error::Doing as _;
use pg_migrator_tests::pair::drained;
use pg_migrator_tests::{Cluster, Pair, Result, compare};
use tokio_postgres::Client;

const CONTROL: &str = "migrator";

/// The function as the controller makes it in a migrated database.
const ATTACH_ON_THE_SPOT: &str = "CREATE FUNCTION pg_temp.attach(oid, oid, pg_lsn) RETURNS void
    LANGUAGE c STRICT AS '$libdir/migrator', 'attach_wrapper'";

async fn control_database() -> Result<Cluster> {
    let cluster = Cluster::start(18).await?;
    cluster.run("postgres", "CREATE DATABASE migrator").await?;
    cluster.run(CONTROL, "CREATE EXTENSION migrator CASCADE").await?;
    Ok(cluster)
}

/// The SQLSTATE a statement is refused with; `00000` if it is not.
async fn state(client: &Client, sql: &str) -> String {
    match client.batch_execute(sql).await {
        Ok(()) => "00000".to_owned(),
        Err(error) => error.code().map_or_else(|| error.to_string(), |state| state.code().to_owned()),
    }
}

async fn role(cluster: &Cluster, name: &str, member_of: Option<&str>) -> Result<Client> {
    let membership = member_of.map_or(String::new(), |of| format!("IN ROLE {of}"));
    cluster.run(CONTROL, &format!("CREATE ROLE {name} LOGIN PASSWORD 'p' {membership}")).await?;
    cluster.connect_as(name, "p", CONTROL).await
}

#[tokio::test]
async fn the_interface_has_the_shapes_of_the_contract() -> Result<()> {
    let cluster = control_database().await?;
    let functions = cluster
        .column(
            CONTROL,
            "SELECT format('%s(%s) -> %s', proname, pg_get_function_identity_arguments(oid), pg_get_function_result(oid))
             FROM pg_proc WHERE pronamespace = 'migrator'::regnamespace",
        )
        .await?;
    for expected in [
        "attach(subscription oid, relation oid, lsn pg_lsn) -> void",
        "cutover(mapping text, timeout interval) -> bigint",
        "cutover_instructions(mapping text) -> SETOF text",
        "cutover_ready() -> TABLE(mapping text, ready boolean, blockers text[])",
        "cutover_ready(mapping text) -> boolean",
        "mark_complete(mapping text) -> bigint",
        "pause(mapping text) -> bigint",
        "resume(mapping text) -> bigint",
        "resync(mapping text, database text, \"table\" text) -> bigint",
        "status() -> TABLE(mapping text, source text, destination text, database text, status text, phase text, tables_total bigint, \
         tables_synced bigint, tables_in_catchup bigint, tables_problematic bigint, bytes_total bigint, bytes_copied bigint, \
         lag_bytes bigint, lag interval, eta interval, updated_at timestamp with time zone, waiting_for text)",
        "verify(mapping text, database text, \"table\" text) -> bigint",
    ] {
        assert!(functions.iter().any(|found| found == expected), "missing: {expected}\nfound: {functions:#?}");
    }
    let views = cluster
        .column(CONTROL, "SELECT relname FROM pg_class WHERE relnamespace = 'migrator'::regnamespace AND relkind = 'v'")
        .await?;
    for expected in [
        "cutover_checks",
        "databases",
        "events",
        "findings",
        "lag_history",
        "mappings",
        "requests",
        "roles",
        "sequences",
        "side_effects",
        "tables",
    ] {
        assert!(views.iter().any(|found| found == expected), "no view {expected}");
        cluster.rows(CONTROL, &format!("SELECT * FROM migrator.{expected}")).await?;
    }
    assert_eq!(cluster.rows(CONTROL, "SELECT * FROM migrator.status()").await?.len(), 0);
    assert_eq!(cluster.value(CONTROL, "SELECT migrator.cutover_ready('nothing')").await?, "f");

    // A second control database finds the role migrator_operator there, and both can go.
    cluster.run("postgres", "CREATE DATABASE second").await?;
    cluster.run("second", "CREATE EXTENSION migrator CASCADE; DROP EXTENSION migrator").await?;
    Ok(())
}

#[tokio::test]
async fn pg_monitor_reads_and_only_migrator_operator_acts() -> Result<()> {
    let cluster = control_database().await?;
    let sample = "INSERT INTO migrator.mapping (mapping, source, destination) VALUES ('erp', 'old', 'new');
                  INSERT INTO migrator.database (mapping, database) VALUES ('erp', 'We ird')";
    cluster.run(CONTROL, sample).await?;
    let stranger = role(&cluster, "stranger", None).await?;
    let monitor = role(&cluster, "monitor", Some("pg_monitor")).await?;
    let operator = role(&cluster, "operator", Some("migrator_operator")).await?;

    let reads = [
        "SELECT * FROM migrator.status()",
        "SELECT * FROM migrator.cutover_ready()",
        "SELECT migrator.cutover_ready('erp')",
        "SELECT * FROM migrator.cutover_instructions('erp')",
        "TABLE migrator.mappings",
        "TABLE migrator.databases",
        "TABLE migrator.tables",
        "TABLE migrator.sequences",
        "TABLE migrator.roles",
        "TABLE migrator.findings",
        "TABLE migrator.events",
        "TABLE migrator.lag_history",
        "TABLE migrator.side_effects",
        "TABLE migrator.requests",
        "TABLE migrator.cutover_checks",
    ];
    for sql in reads {
        assert_eq!(state(&stranger, sql).await, "42501", "{sql}");
        assert_eq!(state(&monitor, sql).await, "00000", "{sql}");
        assert_eq!(state(&operator, sql).await, "00000", "{sql}");
    }
    for sql in ["SELECT migrator.pause('erp')", "SELECT migrator.resync('erp', 'a', 'b')", "SELECT migrator.verify('erp')"] {
        assert_eq!(state(&stranger, sql).await, "42501", "{sql}");
        assert_eq!(state(&monitor, sql).await, "42501", "{sql}");
        assert_eq!(state(&operator, sql).await, "00000", "{sql}");
    }
    let forbidden_to_all = [
        "SELECT migrator.attach(1, 1, '0/1')",
        "INSERT INTO migrator.request (mapping, kind, requested_by) VALUES ('erp', 'resume', 'somebody else')",
        "UPDATE migrator.request SET succeeded = true, finished_at = now()",
        "DELETE FROM migrator.request",
        "UPDATE migrator.mapping SET status = 'synced'",
        "INSERT INTO migrator.side_effect (mapping, side, database, kind, object) VALUES ('erp', 'source', 'a', 'database', 'a')",
    ];
    for sql in forbidden_to_all {
        for client in [&stranger, &monitor, &operator] {
            assert_eq!(state(client, sql).await, "42501", "{sql}");
        }
    }
    assert_eq!(cluster.column(CONTROL, "SELECT DISTINCT requested_by FROM migrator.requests").await?, ["operator"]);
    Ok(())
}

#[tokio::test]
async fn requests_are_announced_once_and_refused_where_they_make_no_sense() -> Result<()> {
    let cluster = control_database().await?;
    cluster.run(CONTROL, "INSERT INTO migrator.mapping (mapping, source, destination) VALUES ('erp', 'old', 'new')").await?;

    let mut psql = cluster.program(&tool18("psql")?);
    psql.args(["-X", "-q", "-d", CONTROL, "-c", "LISTEN migrator_request", "-c", "SELECT migrator.pause('erp')"])
        .stdin(Stdio::null());
    let heard = output_of(psql)?;
    assert!(heard.contains("\"migrator_request\" with payload") && heard.contains("\"kind\" : \"pause\""), "{heard}");

    let client = cluster.connect(CONTROL).await?;
    // Another pause while one is open, an unknown mapping, an unknown kind.
    assert_eq!(state(&client, "SELECT migrator.pause('erp')").await, "55006");
    assert_eq!(state(&client, "SELECT migrator.pause('nothing')").await, "42704");
    assert_eq!(state(&client, "SELECT migrator.request('erp', 'nonsense')").await, "23514");
    // Copies of different tables go side by side, of the same one not.
    assert_eq!(state(&client, "SELECT migrator.resync('erp', 'a', 'b')").await, "00000");
    assert_eq!(state(&client, "SELECT migrator.resync('erp', 'a', 'c')").await, "00000");
    assert_eq!(state(&client, "SELECT migrator.resync('erp', 'a', 'c')").await, "55006");
    // Not ready: nothing has been checked.
    assert_eq!(state(&client, "SELECT migrator.cutover('erp')").await, "55000");
    assert_eq!(state(&client, "SELECT migrator.mark_complete('erp')").await, "55000");

    let check = "INSERT INTO migrator.cutover_check (mapping, database, name, ok, detail) VALUES ('erp', 'shop', 'lag', false, '3 MB behind')";
    cluster.run(CONTROL, check).await?;
    let blockers = cluster.value(CONTROL, "SELECT blockers FROM migrator.cutover_ready()").await?;
    assert_eq!(blockers, "{\"shop: lag: 3 MB behind\"}");
    cluster.run(CONTROL, "UPDATE migrator.cutover_check SET ok = true").await?;
    assert_eq!(cluster.value(CONTROL, "SELECT migrator.cutover_ready('erp')").await?, "t");
    for limit in ["NULL", "'0'", "'-1 s'", "'infinity'"] {
        assert_eq!(state(&client, &format!("SELECT migrator.cutover('erp', {limit})")).await, "22023", "{limit}");
    }
    assert_eq!(state(&client, "SELECT migrator.cutover('erp', '10 s')").await, "00000");
    assert_eq!(state(&client, "SELECT migrator.cutover('erp', '11 s')").await, "55006");

    // A controller that has gone makes nothing ready, whatever it wrote last.
    cluster.run(CONTROL, "UPDATE migrator.mapping SET updated_at = now() - interval '1 minute'").await?;
    assert_eq!(cluster.value(CONTROL, "SELECT migrator.cutover_ready('erp')").await?, "f");
    Ok(())
}

#[tokio::test]
async fn a_dump_of_the_control_database_keeps_ledger_requests_and_report() -> Result<()> {
    let cluster = control_database().await?;
    let rows_of = "INSERT INTO migrator.mapping (mapping, source, destination) VALUES ('erp', 'old', 'new');
        INSERT INTO migrator.side_effect (mapping, side, database, kind, object) VALUES ('erp', 'source', 'shop', 'slot', 'pg_migrator_erp');
        INSERT INTO migrator.finding (mapping, severity, code, object, reason, fix) VALUES ('erp', 'info', 'c', 'o', 'r', 'f');
        SELECT migrator.pause('erp')";
    cluster.run(CONTROL, rows_of).await?;
    let mut dump = cluster.program(&tool18("pg_dump")?);
    let file = tempfile::NamedTempFile::new().doing(|| "creating a file for the dump".to_owned())?;
    dump.arg("-f").arg(file.path()).args(["-d", CONTROL]);
    output_of(dump)?;
    cluster.run("postgres", "CREATE DATABASE restored").await?;
    let mut restore = cluster.program(&tool18("psql")?);
    restore.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "restored", "-f"]).arg(file.path());
    output_of(restore)?;
    for table in ["mapping", "side_effect", "finding", "request"] {
        let all = format!("SELECT t::text FROM migrator.{table} t ORDER BY 1");
        let restored = cluster.column("restored", &all).await?;
        assert_eq!((restored.len(), &restored), (1, &cluster.column(CONTROL, &all).await?), "{table}");
    }
    // New rows do not take the numbers of restored ones.
    assert_eq!(cluster.value("restored", "SELECT migrator.resume('erp')").await?, "2");
    Ok(())
}

/// A table that changes after its copy, on both sides, with a subscription in between that is not enabled yet.
struct Attachable {
    pair: Pair,
    lsn: String,
}

impl Attachable {
    async fn start() -> Result<Self> {
        let pair = Pair::start(15).await?;
        let tables = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE late (id int PRIMARY KEY);
                      CREATE TABLE tree (id int) PARTITION BY LIST (id)";
        for cluster in [&pair.source, &pair.destination] {
            cluster.run("postgres", "CREATE DATABASE shop").await?;
            cluster.run("shop", tables).await?;
        }
        let source = &pair.source;
        source.run("shop", "INSERT INTO t SELECT g, 'before' FROM generate_series(1, 100) g").await?;
        source.run("shop", "CREATE PUBLICATION p FOR TABLE t, late").await?;
        let slot = "SELECT lsn FROM pg_create_logical_replication_slot('pg_migrator_by_hand', 'pgoutput')";
        let lsn = source.value("shop", slot).await?;
        source
            .run(
                "shop",
                "INSERT INTO t VALUES (101, 'after'); UPDATE t SET v = 'after' WHERE id <= 10; DELETE FROM t WHERE id = 50",
            )
            .await?;
        let conninfo = format!("host=127.0.0.1 port={} user=postgres password={} dbname=shop", source.port(), source.password());
        let subscription = format!(
            "CREATE SUBSCRIPTION s CONNECTION '{conninfo}' PUBLICATION p
             WITH (connect = false, enabled = false, slot_name = 'pg_migrator_by_hand')"
        );
        pair.destination.run("shop", &subscription).await?;
        Ok(Self { pair, lsn })
    }

    fn attach(&self, table: &str) -> String {
        format!(
            "SELECT pg_temp.attach((SELECT oid FROM pg_subscription WHERE subname = 's'), '{table}'::regclass, '{}')",
            self.lsn
        )
    }
}

#[tokio::test]
async fn an_attached_table_skips_what_its_copy_holds_and_gets_the_rest() -> Result<()> {
    let attachable = Attachable::start().await?;
    let pair = &attachable.pair;
    let session = pair.destination.connect("shop").await?;
    let copy = "INSERT INTO t SELECT g, 'before' FROM generate_series(1, 100) g";
    let transaction = format!("{ATTACH_ON_THE_SPOT}; BEGIN; TRUNCATE t; {copy}; {}; ", attachable.attach("t"));

    // Taken back with the copy's transaction…
    session.batch_execute(&format!("{transaction} ROLLBACK")).await.doing(|| "attaching".to_owned())?;
    assert_eq!(pair.destination.value("shop", "SELECT count(*) FROM pg_subscription_rel").await?, "0");
    // … kept with it, and the same once more changes nothing.
    session.batch_execute("DROP FUNCTION IF EXISTS pg_temp.attach").await.doing(|| "dropping the function".to_owned())?;
    session.batch_execute(&format!("{transaction} {}; COMMIT", attachable.attach("t"))).await.doing(|| "attaching".to_owned())?;
    let state_of_t = "SELECT srsubstate, srsublsn FROM pg_subscription_rel";
    assert_eq!(pair.destination.rows("shop", state_of_t).await?, [["s".to_owned(), attachable.lsn.clone()]]);
    assert_eq!(state(&session, &attachable.attach("late")).await, "00000");

    pair.destination.run("shop", "ALTER SUBSCRIPTION s ENABLE").await?;
    pair.source.run("shop", "UPDATE t SET v = 'live' WHERE id = 60; INSERT INTO late VALUES (1)").await?;
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, "shop").await?;

    // Nothing stays in the migrated database once the session has gone.
    drop(session);
    let left = "SELECT count(*) FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
                WHERE l.lanname = 'c' AND p.oid >= 16384";
    let begun = Instant::now();
    while pair.destination.value("shop", left).await? != "0" {
        assert!(begun.elapsed() < Duration::from_secs(20), "the temporary function is still there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

#[tokio::test]
async fn attach_refuses_what_would_lose_changes() -> Result<()> {
    let attachable = Attachable::start().await?;
    let destination = &attachable.pair.destination;
    let session = destination.connect("shop").await?;
    session.batch_execute(ATTACH_ON_THE_SPOT).await.doing(|| "making the function".to_owned())?;
    let subscription = rows(&session, "SELECT oid FROM pg_subscription").await?[0][0].clone();
    let lsn = &attachable.lsn;

    // No such subscription, no such table, no table that holds rows, no position.
    assert_eq!(state(&session, &format!("SELECT pg_temp.attach(1, 't'::regclass, '{lsn}')")).await, "42704");
    assert_eq!(state(&session, &format!("SELECT pg_temp.attach({subscription}, 1, '{lsn}')")).await, "42P01");
    assert_eq!(state(&session, &attachable.attach("tree")).await, "42809");
    assert_eq!(state(&session, &format!("SELECT pg_temp.attach({subscription}, 't'::regclass, '0/0')")).await, "22023");
    // Another database's subscription.
    let elsewhere = destination.connect("postgres").await?;
    elsewhere.batch_execute(ATTACH_ON_THE_SPOT).await.doing(|| "making the function".to_owned())?;
    assert_eq!(
        state(&elsewhere, &format!("SELECT pg_temp.attach({subscription}, 'pg_class'::regclass, '{lsn}')")).await,
        "55000"
    );
    // Not as the table's owner, as which the copy itself runs.
    let as_owner = format!("CREATE ROLE owner; SET ROLE owner; {}", attachable.attach("t"));
    assert_eq!(state(&session, &as_owner).await, "42501");
    session.batch_execute("RESET ROLE").await.doing(|| "resetting the role".to_owned())?;

    // Attached as of another position.
    session
        .batch_execute("INSERT INTO t SELECT g, 'before' FROM generate_series(1, 100) g")
        .await
        .doing(|| "copying".to_owned())?;
    assert_eq!(state(&session, &attachable.attach("t")).await, "00000");
    assert_eq!(
        state(&session, &format!("SELECT pg_temp.attach({subscription}, 't'::regclass, '{lsn}'::pg_lsn + 8)")).await,
        "42710"
    );
    // Too late: the stream has passed the position, and skipped this table's changes.
    destination.run("shop", "ALTER SUBSCRIPTION s ENABLE").await?;
    attachable.pair.source.run("shop", "UPDATE t SET v = 'live' WHERE id = 60").await?;
    drained(&attachable.pair.source).await?;
    assert_eq!(state(&session, &attachable.attach("late")).await, "55000");
    Ok(())
}
