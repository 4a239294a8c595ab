//! What the schema of a large database costs: reading the catalogs, planning and building with pg-migrator, beside
//! `pg_dump --schema-only | psql`, from the same PostgreSQL 15 source onto the same PostgreSQL 18 server; then what the whole program costs.
//!
//! In the environment: `TABLES`, how many tables (default 20000; nine of ten are partitions, each with two indexes, defaults, a
//! check, a comment and a grant); `CONTENDERS` without `pg_dump` leaves that out.

use std::fmt::Write as _;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pg_migrator::config::{FromDestination, Instance, SslMode};
use pg_migrator::object;
use pg_migrator::plan::{self, Section};
use pg_migrator::postgres::{Endpoint, ServerVersion};
use pg_migrator::provision::before_data::before_data;
use pg_migrator::provision::schema;
use pg_migrator_tests::bench::{Servers, contender, meter};
use pg_migrator_tests::cluster::tool18;
use pg_migrator_tests::{Cluster, Controller, Error, Pair, Result};
use tokio::sync::{Semaphore, mpsc};

/// The database at the source.
const DATABASE: &str = "large";
/// Sessions that build.
const WORKERS: usize = 2;

#[tokio::main]
async fn main() -> ExitCode {
    match bench().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn bench() -> Result<()> {
    let tables = match std::env::var("TABLES") {
        Ok(text) => text.parse().map_err(|error| Error::Broken(format!("TABLES={text}: {error}")))?,
        Err(_) => 20_000,
    };
    // pg_dump locks every table in one transaction.
    let locks = ("max_locks_per_transaction", "2000");
    let source = Cluster::of(15).set(locks.0, locks.1).start();
    let (source, destination) = tokio::try_join!(source, Cluster::start(18))?;
    let pair = Pair { source, destination };
    make(&pair.source, tables).await?;
    for database in ["theirs", "ours"] {
        pair.destination.run("postgres", &format!("CREATE DATABASE {database}")).await?;
    }
    if std::env::var("CONTENDERS").is_ok_and(|wanted| !wanted.contains("pg_dump")) {
        pair_roles(&pair)?;
    } else {
        let theirs = dump_and_restore(&pair)?;
        println!("{tables} tables: pg_dump -s | psql {:.1} s", theirs.as_secs_f64());
    }
    let (read, planned, built, statements) = ours(&pair).await?;
    println!(
        "{tables} tables: pg-migrator {:.1} s: reading {:.1} s, planning {:.1} s, building {:.1} s; {statements} statements; {} MB at most",
        (read + planned + built).as_secs_f64(),
        read.as_secs_f64(),
        planned.as_secs_f64(),
        built.as_secs_f64(),
        most_memory()? / 1024
    );
    let (time, memory) = run(pair).await?;
    println!(
        "{tables} tables: pg-migrator run, from nothing until every table is in step, {:.1} s, {} MB at most",
        time.as_secs_f64(),
        memory >> 20
    );
    Ok(())
}

/// The whole program: reading, planning and building, one table after the other attached, the stream begun.
async fn run(pair: Pair) -> Result<(Duration, u64)> {
    let servers = Servers { source: pair.source, destination: pair.destination };
    let begun = Instant::now();
    let mut controller = Controller::started(&contender::config(&servers, DATABASE, &[]))?;
    if let Err(error) = contender::until_streaming(&servers, DATABASE).await {
        return Err(Error::Broken(format!("{error}\n{}", controller.report(&servers.destination).await)));
    }
    let time = begun.elapsed();
    let pid = controller.id().ok_or_else(|| Error::Broken("the controller is gone".to_owned()))?;
    let memory = meter::peak_memory(pid)?;
    controller.stop().await?;
    Ok((time, memory))
}

/// Makes the tables, some hundred in a transaction.
async fn make(source: &Cluster, tables: usize) -> Result<()> {
    source.run("postgres", "CREATE ROLE large_reader").await?;
    source.run("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
    let client = source.connect(DATABASE).await?;
    let trees = tables / 10;
    for first in (0..trees).step_by(20) {
        // Writing to a String can't fail.
        let mut sql = String::new();
        for tree in first..trees.min(first + 20) {
            let _ = write!(
                sql,
                "CREATE TABLE t{tree} (id bigint NOT NULL, at timestamptz NOT NULL DEFAULT now(), name text DEFAULT 'x',
                                       n integer DEFAULT 5 CHECK (n > 0)) PARTITION BY RANGE (id);"
            );
            for part in 0..9 {
                let _ = write!(
                    sql,
                    "CREATE TABLE t{tree}_{part} PARTITION OF t{tree} FOR VALUES FROM ({part}000) TO ({part}999);
                     CREATE UNIQUE INDEX ON t{tree}_{part} (id); CREATE INDEX ON t{tree}_{part} (name, at);
                     COMMENT ON TABLE t{tree}_{part} IS 'a part'; GRANT SELECT ON t{tree}_{part} TO large_reader;"
                );
            }
        }
        client.batch_execute(&sql).await.map_err(|error| Error::Broken(format!("making the tables: {error}")))?;
    }
    client
        .batch_execute("ANALYZE pg_catalog.pg_class, pg_catalog.pg_attribute, pg_catalog.pg_depend, pg_catalog.pg_index")
        .await
        .map_err(|error| Error::Broken(format!("analyzing the catalogs: {error}")))?;
    Ok(())
}

fn dump_and_restore(pair: &Pair) -> Result<Duration> {
    pair_roles(pair)?;
    let failed = |error: std::io::Error| Error::Broken(format!("pg_dump | psql: {error}"));
    let begun = Instant::now();
    let mut dump = pair.source.program(&tool18("pg_dump")?);
    let mut dump = dump.args(["--schema-only", "--dbname", DATABASE]).stdout(Stdio::piped()).spawn().map_err(failed)?;
    let out = dump.stdout.take().ok_or_else(|| Error::Broken("pg_dump has no output".to_owned()))?;
    let mut restore = pair.destination.program(&tool18("psql")?);
    restore.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", "theirs"]);
    let restored = restore.stdin(out).stdout(Stdio::null()).status().map_err(failed)?;
    let dumped = dump.wait().map_err(failed)?;
    if !restored.success() || !dumped.success() {
        return Err(Error::Broken("pg_dump | psql failed".to_owned()));
    }
    Ok(begun.elapsed())
}

fn pair_roles(pair: &Pair) -> Result<()> {
    pg_migrator_tests::dump_diff::psql(&pair.destination, "postgres", "CREATE ROLE large_reader")
}

async fn ours(pair: &Pair) -> Result<(Duration, Duration, Duration, usize)> {
    let failed = |what: &str, error: &dyn std::fmt::Display| Error::Broken(format!("{what}: {error}"));
    let begun = Instant::now();
    let reader = pair.source.connect(DATABASE).await?;
    let catalog = object::introspect(&reader, ServerVersion(150_000), &[]).await.map_err(|error| failed("reading", &error))?;
    let read = begun.elapsed();
    let begun = Instant::now();
    let plan = plan::plan(&catalog, &plan::Options::default());
    drop(catalog);
    let planned = begun.elapsed();
    println!("{} MB at most when planned", most_memory()? / 1024);
    let begun = Instant::now();
    let endpoint = endpoint(&pair.destination);
    let mut sessions = Vec::new();
    for _ in 0..WORKERS {
        sessions.push(schema::session(&endpoint, "ours").await.map_err(|error| failed("connecting", &error))?);
    }
    let sessions: Vec<_> = sessions.iter().collect();
    let mut failures =
        before_data(&sessions, "ours", &plan.statements, |_| {}).await.map_err(|error| failed("building", &error))?;
    let permits = Arc::new(Semaphore::new(WORKERS));
    for section in [Section::AfterData, Section::AfterStreaming] {
        // There are no rows: every table is copied already.
        let (sender, mut receiver) = mpsc::unbounded_channel();
        for table in plan.statements.iter().filter_map(|statement| statement.table) {
            let _ = sender.send(schema::Signal::TableCopied { table, bytes: 0 });
        }
        let _ = sender.send(schema::Signal::CopyOver);
        let build = schema::Build {
            destination: &endpoint,
            database: "ours",
            statements: &plan.statements,
            section,
            permits: &permits,
            workers: WORKERS,
            early: &[],
            batches: section == Section::AfterData,
        };
        schema::build(build, &mut receiver, &mut failures, |_| {}).await.map_err(|error| failed("building", &error))?;
    }
    let sections = [Section::BeforeData, Section::AfterData, Section::AfterStreaming];
    let findings: Vec<_> = sections.iter().flat_map(|&s| failures.findings("ours", &plan.statements, s)).collect();
    match findings.first() {
        Some(finding) => Err(Error::Broken(format!("{} statements failed: {}", findings.len(), finding.reason))),
        None => Ok((read, planned, begun.elapsed(), plan.statements.len())),
    }
}

fn endpoint(cluster: &Cluster) -> Endpoint {
    let instance = Instance {
        host: cluster.host().to_owned(),
        port: cluster.port(),
        user: cluster.user().to_owned(),
        password: Some(cluster.password().into()),
        password_file: None,
        sslmode: Some(SslMode::Disable),
        sslrootcert: None,
        database: "postgres".to_owned(),
        from_destination: FromDestination::default(),
    };
    Endpoint::new("destination", instance, "bench".to_owned())
}

/// The most memory that this process has had, in kB.
fn most_memory() -> Result<u64> {
    let status =
        std::fs::read_to_string("/proc/self/status").map_err(|error| Error::Broken(format!("/proc/self/status: {error}")))?;
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(most.and_then(|most| most.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0))
}
