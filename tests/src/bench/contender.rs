//! Ways of moving a database.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{JOBS, Servers, data, meter};
use crate::cluster::{output_of, tool18};
use crate::controller::{CONTROL, ConfigFile, Controller, Mapping};
use crate::error::{Doing as _, Error, Result};

/// A move that takes longer is given up.
const LIMIT: Duration = Duration::from_mins(20);
const SUBSCRIPTION: &str = "bench";
const MAPPING: &str = "bench";

/// A way of moving a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    /// pg-migrator.
    Us,
    /// `pg_dump -Fd -j` into a folder, then `pg_restore -j` from it: without the changes made meanwhile.
    DumpRestore,
    /// `CREATE SUBSCRIPTION … WITH (copy_data = true)` onto the whole schema.
    TableSync,
    /// `pgcopydb clone`, where it is installed: without the changes made meanwhile. It ends with VACUUM ANALYZE of every table.
    Pgcopydb,
    /// The same without that VACUUM, and with large tables split.
    PgcopydbSplit,
}

/// What a move cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// From the start of its program to the end of the move.
    pub time: Duration,
    /// Processor time of both servers.
    pub servers: Duration,
    /// Processor time of its own programs.
    pub own: Duration,
    /// The most memory that our own program had; 0 for the others.
    pub memory: u64,
}

impl Contender {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Us, Self::DumpRestore, Self::TableSync, Self::Pgcopydb, Self::PgcopydbSplit];

    /// For the table of results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Us => "pg-migrator",
            Self::DumpRestore => "pg_dump, pg_restore",
            Self::TableSync => "native tablesync",
            Self::Pgcopydb => "pgcopydb clone",
            Self::PgcopydbSplit => "pgcopydb, split, no vacuum",
        }
    }

    /// Whether it is on this machine.
    pub fn is_here(self) -> bool {
        !matches!(self, Self::Pgcopydb | Self::PgcopydbSplit) || pgcopydb().is_some()
    }

    /// Moves a database, and takes it away from the destination again.
    pub async fn run(self, servers: &Servers, database: &str) -> Result<Cost> {
        let before = servers.processor_time().await?;
        let ended = meter::ended_children()?;
        let begun = Instant::now();
        let mut cost = match self {
            Self::Us => ours(servers, database).await?,
            Self::DumpRestore => dump_restore(servers, database).await?,
            Self::TableSync => tablesync(servers, database).await?,
            Self::Pgcopydb => copydb(servers, database, &[]).await?,
            Self::PgcopydbSplit => copydb(servers, database, &["--split-tables-larger-than", "256MB", "--skip-vacuum"]).await?,
        };
        cost.time = if cost.time.is_zero() { begun.elapsed() } else { cost.time };
        cost.servers = servers.processor_time().await?.saturating_sub(before);
        if self != Self::Us {
            cost.own = meter::ended_children()?.saturating_sub(ended);
        }
        same(servers, database).await?;
        clean(servers, database).await?;
        Ok(cost)
    }
}

/// Every contender has to have moved everything.
async fn same(servers: &Servers, database: &str) -> Result<()> {
    let (old, new) =
        tokio::try_join!(servers.source.value(database, data::OBJECTS), servers.destination.value(database, data::OBJECTS))?;
    let (old_rows, new_rows) =
        tokio::try_join!(data::rows(&servers.source, database), data::rows(&servers.destination, database))?;
    if (&old, &old_rows) == (&new, &new_rows) {
        return Ok(());
    }
    Err(Error::Broken(format!("{database}: the source has {old}, {old_rows} rows; the destination {new}, {new_rows} rows")))
}

/// Takes everything away that a move left on either side.
pub async fn clean(servers: &Servers, database: &str) -> Result<()> {
    let subscriptions = servers.destination.column(database, "SELECT quote_ident(subname) FROM pg_subscription").await?;
    for name in subscriptions {
        for action in ["DISABLE", "SET (slot_name = NONE)"] {
            servers.destination.run(database, &format!("ALTER SUBSCRIPTION {name} {action}")).await?;
        }
        servers.destination.run(database, &format!("DROP SUBSCRIPTION {name}")).await?;
    }
    for name in [database, CONTROL] {
        servers.destination.run("postgres", &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
    }
    let stop = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active_pid IS NOT NULL";
    servers.source.run("postgres", stop).await?;
    let begun = Instant::now();
    while servers.source.value("postgres", "SELECT count(*) FROM pg_replication_slots WHERE active").await? != "0" {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(Error::Broken("a replication slot on the source stays in use".to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    servers.source.run(database, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots").await?;
    for name in servers.source.column(database, "SELECT quote_ident(pubname) FROM pg_publication").await? {
        servers.source.run(database, &format!("DROP PUBLICATION {name}")).await?;
    }
    Ok(())
}

/// The configuration of a controller that moves this one database, with further lines for the mapping.
pub fn config(servers: &Servers, database: &str, lines: &[&str]) -> ConfigFile {
    let mut mapping = Mapping::new(MAPPING, "old", "new").databases(&[database]);
    for line in lines {
        mapping = mapping.line(line);
    }
    if let Ok(lines) = std::env::var("BENCH_MAPPING") {
        mapping = mapping.line(&lines);
    }
    ConfigFile::new().instance("old", &servers.source).instance("new", &servers.destination).mapping(&mapping)
}

/// Waits until everything is on the destination, with indexes and keys, and a subscription has all tables in step.
pub async fn until_streaming(servers: &Servers, database: &str) -> Result<()> {
    let objects = servers.source.value(database, data::OBJECTS).await?;
    let tables = servers.source.value(database, data::TABLES).await?;
    let streaming = "SELECT (SELECT COALESCE(bool_and(subenabled), false) FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid \
                             WHERE d.datname = current_database()) || ' ' || (SELECT count(*) FROM pg_subscription_rel WHERE srsubstate = 'r')";
    let wanted = format!("true {tables}");
    let begun = Instant::now();
    let mut client = None;
    loop {
        if client.is_none() {
            // The database is being made.
            client = servers.destination.connect(database).await.ok();
        }
        let mut state = "the database can't be connected to".to_owned();
        if let Some(open) = &client {
            match crate::cluster::rows(open, streaming).await {
                Ok(found) if found.first().is_some_and(|row| row[0] == wanted) => {
                    let there = crate::cluster::rows(open, data::OBJECTS).await?;
                    if there.first().is_some_and(|row| row[0] == objects) {
                        return Ok(());
                    }
                    state = format!("all tables are in step, but of {objects} it has {there:?}");
                }
                Ok(found) => state = format!("enabled and tables in step were {found:?}, not {wanted}"),
                // The controller makes a database under another name first, and may drop a half-built one.
                Err(error) => (client, state) = (None, error.to_string()),
            }
        }
        if begun.elapsed() > LIMIT {
            return Err(Error::Timeout { what: format!("{database} to be moved"), waited: begun.elapsed(), state });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn ours(servers: &Servers, database: &str) -> Result<Cost> {
    let begun = Instant::now();
    let mut controller = Controller::started(&config(servers, database, &[]))?;
    if let Err(error) = until_streaming(servers, database).await {
        return Err(Error::Broken(format!("{error}\n{}", controller.report(&servers.destination).await)));
    }
    let mut cost = Cost { time: begun.elapsed(), ..Cost::default() };
    if let Some(pid) = controller.id() {
        (cost.own, cost.memory) = (meter::process(pid)?, meter::peak_memory(pid)?);
    }
    if std::env::var_os("BENCH_LOG").is_some() {
        eprintln!("{}", controller.log()?);
    }
    controller.stop().await?;
    Ok(cost)
}

fn run(mut command: Command) -> Result<()> {
    command.env("PGOPTIONS", "-c client_min_messages=warning");
    output_of(command).map(drop)
}

async fn dump_restore(servers: &Servers, database: &str) -> Result<Cost> {
    let folder = TempDir::with_prefix("pgm-bench-").doing(|| "creating a folder for the dump".to_owned())?;
    let path = folder.path().join("dump");
    let jobs = format!("-j{JOBS}");
    servers.destination.run("postgres", &format!("CREATE DATABASE {database}")).await?;
    let mut dump = servers.source.program(&tool18("pg_dump")?);
    dump.args(["-Fd", &jobs, "--compress=none", "--no-sync", "-d", database, "-f"]).arg(&path);
    run(dump)?;
    let mut restore = servers.destination.program(&tool18("pg_restore")?);
    restore.args([&jobs, "--exit-on-error", "-d", database]).arg(&path);
    run(restore)?;
    Ok(Cost::default())
}

async fn tablesync(servers: &Servers, database: &str) -> Result<Cost> {
    let begun = Instant::now();
    subscribe(servers, database).await?;
    until_streaming(servers, database).await?;
    Ok(Cost { time: begun.elapsed(), ..Cost::default() })
}

/// Makes the schema on the destination, publication and subscription: the server's own way.
pub async fn subscribe(servers: &Servers, database: &str) -> Result<()> {
    let folder = TempDir::with_prefix("pgm-bench-").doing(|| "creating a folder for the schema".to_owned())?;
    let path = folder.path().join("schema.sql");
    servers.destination.run("postgres", &format!("CREATE DATABASE {database}")).await?;
    let mut dump = servers.source.program(&tool18("pg_dump")?);
    dump.args(["--schema-only", "-d", database, "-f"]).arg(&path);
    run(dump)?;
    let mut load = servers.destination.program(&tool18("psql")?);
    load.args(["-q", "-X", "-v", "ON_ERROR_STOP=1", "-d", database, "-f"]).arg(&path);
    run(load)?;
    servers.source.run(database, "CREATE PUBLICATION bench FOR ALL TABLES").await?;
    let source = &servers.source;
    servers
        .destination
        .run(
            database,
            &format!(
                "CREATE SUBSCRIPTION {SUBSCRIPTION} CONNECTION 'host={} port={} user={} password={} dbname={database}' PUBLICATION bench",
                source.host(),
                source.port(),
                source.user(),
                source.password()
            ),
        )
        .await
}

fn pgcopydb() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("pgcopydb")).find(|file| file.is_file())
}

async fn copydb(servers: &Servers, database: &str, more: &[&str]) -> Result<Cost> {
    let program = pgcopydb().ok_or_else(|| Error::Broken("pgcopydb is not installed".to_owned()))?;
    let folder = TempDir::with_prefix("pgm-bench-").doing(|| "creating a folder for pgcopydb".to_owned())?;
    servers.destination.run("postgres", &format!("CREATE DATABASE {database}")).await?;
    let uri = |cluster: &crate::Cluster| {
        format!("postgres://{}:{}@{}:{}/{database}", cluster.user(), cluster.password(), cluster.host(), cluster.port())
    };
    let jobs = JOBS.to_string();
    // It runs pg_dump and pg_restore.
    let mut path = vec![tool18("")?];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let path = std::env::join_paths(path).map_err(|error| Error::Broken(format!("PATH: {error}")))?;
    let mut clone = Command::new(program);
    clone.env("PATH", path);
    clone
        .args(["clone", "--table-jobs", &jobs, "--index-jobs", &jobs, "--dir"])
        .arg(folder.path().join("work"))
        .args(more)
        .env("PGCOPYDB_SOURCE_PGURI", uri(&servers.source))
        .env("PGCOPYDB_TARGET_PGURI", uri(&servers.destination));
    run(clone)?;
    Ok(Cost::default())
}
