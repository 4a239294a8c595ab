//! A pass: one snapshot of the source at one position, and workers that copy tables under it.
//!
//! A table is one transaction on the destination: emptied, filled, attached. So after a crash a table is either done, and
//! the server knows as of which position, or untouched. A pass that ends early, by choice or by accident, costs nothing
//! that is attached.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::pipe::{self, Progress};
use super::table::Table;
use crate::postgres::{self, Endpoint, Lsn, Session, quote, retry};
use crate::stream::slot;

/// What a pass needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The source instance.
    pub source: Endpoint,
    /// The database there.
    pub source_database: String,
    /// The destination instance.
    pub destination: Endpoint,
    /// The database there.
    pub destination_database: String,
    /// The destination's control database: it has dblink.
    pub control_database: String,
    /// OID of the subscription that tables are attached to.
    pub subscription: u32,
    /// No further table is begun when the snapshot is older than this.
    pub max_snapshot_age: Duration,
}

/// Why a pass came to nothing, or to an early end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No snapshot.
    #[error(transparent)]
    Slot(#[from] slot::Error),
    /// A server can't be reached.
    #[error(transparent)]
    Connect(#[from] postgres::connect::Error),
    /// A worker's session broke.
    #[error("copying: {doing}: {}", retry::message(.source))]
    Session {
        /// What was being done.
        doing: &'static str,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A worker panicked; the message is in the log.
    #[error("a copy worker stopped unexpectedly: {0}")]
    Worker(#[from] tokio::task::JoinError),
}

/// What happens to a table during a pass.
#[derive(Debug)]
pub enum Event {
    /// A worker has begun; its counters grow.
    Started(Table, Arc<Progress>),
    /// Copied and attached as of this position.
    Attached(Table, Lsn),
    /// Could not be copied; the others go on.
    Failed(Table, String),
}

/// Copies `tables`, in their order, with so many workers, and tells what happens. Ends when all are done or failed, when
/// the snapshot is too old, or when `stop` turns true.
pub async fn run(
    settings: &Settings,
    tables: Vec<Table>,
    workers: usize,
    events: &mpsc::UnboundedSender<Event>,
    stop: &tokio::sync::watch::Receiver<bool>,
) -> Result<(), Error> {
    let workers = workers.min(tables.len()).max(1);
    let snapshot =
        slot::Snapshot::take(&settings.destination, &settings.control_database, &settings.source, &settings.source_database)
            .await?;
    let began = Instant::now();
    tracing::info!(tables = tables.len(), workers, lsn = %snapshot.lsn, "copying");
    // All transactions are open before the snapshot's holder may go.
    let mut readers = Vec::with_capacity(workers);
    for _ in 0..workers {
        readers.push(open_reader(settings, &snapshot.name).await?);
    }
    slot::await_commits(&readers[0]).await.map_err(|source| Error::Session { doing: "waiting for commits", source })?;
    let lsn = snapshot.lsn;
    drop(snapshot);

    let queue = Arc::new(Mutex::new(VecDeque::from(tables)));
    let mut running = JoinSet::new();
    for reader in readers {
        let worker = Worker {
            settings: settings.clone(),
            lsn,
            began,
            queue: Arc::clone(&queue),
            events: events.clone(),
            stop: stop.clone(),
        };
        running.spawn(worker.run(reader).in_current_span());
    }
    let mut first_error = None;
    while let Some(result) = running.join_next().await {
        // The others go on: what they attach stays.
        if let Err(error) = result.map_err(Error::from).and_then(|r| r) {
            tracing::warn!(%error, "a copy worker ended early");
            first_error.get_or_insert(error);
        }
    }
    first_error.map_or(Ok(()), Err)
}

async fn open_reader(settings: &Settings, snapshot: &str) -> Result<Session, Error> {
    let reader = settings.source.connect(&settings.source_database).await?;
    reader
        .batch_execute(&format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}",
            quote::literal(snapshot)
        ))
        .await
        .map_err(|source| Error::Session { doing: "importing the snapshot", source })?;
    Ok(reader)
}

/// Opens a session on the destination for loading. Replication role: no trigger or rule of the user's fires, no foreign
/// key is checked. The attach function is made in the session's temporary schema, so that nothing of ours is left.
async fn open_writer(settings: &Settings) -> Result<Session, Error> {
    let writer = settings.destination.connect(&settings.destination_database).await?;
    writer
        .batch_execute(
            "SET session_replication_role = replica; SET event_triggers = off; SET synchronous_commit = off;
             SET default_toast_compression = lz4;
             CREATE FUNCTION pg_temp.attach(oid, oid, pg_catalog.pg_lsn) RETURNS void
                 LANGUAGE c STRICT AS '$libdir/migrator', 'attach_wrapper'",
        )
        .await
        .map_err(|source| Error::Session { doing: "preparing to load", source })?;
    Ok(writer)
}

async fn may_use_schema(writer: &Session, table: &Table) -> Result<bool, tokio_postgres::Error> {
    let row = writer
        .query_one("SELECT pg_catalog.has_schema_privilege($1::text::name, $2::text, 'USAGE')", &[&table.owner, &table.schema])
        .await?;
    Ok(row.get(0))
}

struct Worker {
    settings: Settings,
    lsn: Lsn,
    began: Instant,
    queue: Arc<Mutex<VecDeque<Table>>>,
    events: mpsc::UnboundedSender<Event>,
    stop: tokio::sync::watch::Receiver<bool>,
}

/// Whether a failure is the table's own or breaks the worker.
enum Failure {
    Table(String),
    Session(Error),
}

impl Worker {
    async fn run(self, reader: Session) -> Result<(), Error> {
        let writer = open_writer(&self.settings).await?;
        loop {
            if *self.stop.borrow() || self.began.elapsed() >= self.settings.max_snapshot_age {
                break;
            }
            let next = self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop_front();
            let Some(table) = next else { break };
            let progress = Arc::new(Progress::default());
            self.tell(Event::Started(table.clone(), Arc::clone(&progress)));
            match self.copy(&reader, &writer, &table, &progress).await {
                Ok(rows) => {
                    tracing::debug!(table = table.label(), rows, "copied and attached");
                    self.tell(Event::Attached(table, self.lsn));
                }
                Err(Failure::Table(reason)) => {
                    for session in [&reader, &writer] {
                        let rollback =
                            if std::ptr::eq(session, &raw const reader) { "ROLLBACK TO SAVEPOINT copy" } else { "ROLLBACK" };
                        session
                            .batch_execute(rollback)
                            .await
                            .map_err(|source| Error::Session { doing: "after a table that failed", source })?;
                    }
                    self.tell(Event::Failed(table, reason));
                }
                Err(Failure::Session(error)) => return Err(error),
            }
        }
        // The reader's transaction has nothing to commit, and ending it lets the source's vacuum go on.
        reader.batch_execute("ROLLBACK").await.map_err(|source| Error::Session { doing: "ending the snapshot", source })
    }

    fn tell(&self, event: Event) {
        // Whoever listened has been stopped; then the work is about to be stopped as well.
        let _ = self.events.send(event);
    }

    async fn copy(&self, reader: &Session, writer: &Session, table: &Table, progress: &Progress) -> Result<u64, Failure> {
        let session = |doing| move |source| Failure::Session(Error::Session { doing, source });
        reader.batch_execute("SAVEPOINT copy").await.map_err(session("reading"))?;
        writer.batch_execute("BEGIN").await.map_err(session("writing"))?;
        let name = table.sql_name();
        // An owner may lack USAGE on his table's schema; then he is lent it, for this transaction alone.
        let (lend, take_back) = if may_use_schema(writer, table).await.map_err(session("writing"))? {
            (String::new(), String::new())
        } else {
            let (schema, owner) = (quote::ident(&table.schema), quote::ident(&table.owner));
            (
                // Two such transactions at the same time would change the same row of the catalog.
                format!(
                    "SELECT pg_advisory_xact_lock(hashtextextended('pg-migrator lent privileges', 0)); GRANT USAGE ON SCHEMA {schema} TO {owner};"
                ),
                format!("REVOKE USAGE ON SCHEMA {schema} FROM {owner};"),
            )
        };
        // Everything that a table can run while it is loaded, runs with its owner's rights, not with ours.
        let owner = quote::ident(&table.owner);
        self.on_table(writer, &format!("{lend} SET LOCAL ROLE {owner}; TRUNCATE TABLE ONLY {name}")).await?;
        let columns = table.column_list();
        let rows = pipe::run(
            reader,
            &format!("COPY {name} {columns} TO STDOUT"),
            writer,
            &format!("COPY {name} {columns} FROM STDIN WITH (FREEZE)"),
            progress,
        )
        .await
        .map_err(|error| match error {
            pipe::Error::Source(source) | pipe::Error::Destination(source) if retry::is_transient(&source) => {
                Failure::Session(Error::Session { doing: "moving rows", source })
            }
            error => Failure::Table(error.to_string()),
        })?;
        self.on_table(
            writer,
            &format!(
                "RESET ROLE; {take_back} SELECT pg_temp.attach({}, {}::pg_catalog.regclass, '{}'); COMMIT",
                self.settings.subscription,
                quote::literal(&name),
                self.lsn
            ),
        )
        .await?;
        reader.batch_execute("RELEASE SAVEPOINT copy").await.map_err(session("reading"))?;
        Ok(rows)
    }

    async fn on_table(&self, writer: &Session, statements: &str) -> Result<(), Failure> {
        writer.batch_execute(statements).await.map_err(|source| {
            if retry::is_transient(&source) {
                Failure::Session(Error::Session { doing: "writing", source })
            } else {
                Failure::Table(retry::message(&source))
            }
        })
    }
}
