//! A pass: one snapshot of the source at one position, and workers that copy tables under it.
//!
//! A table is one transaction on the destination: emptied, filled, attached; a large one is a transaction a part, and the last
//! one attaches it. So after a crash a table is either done, and the server knows as of which position, or not attached. A pass
//! that ends early, by choice or by accident, costs nothing that is attached.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::loader;
use super::part;
use super::pipe::Progress;
use super::schedule::Queue;
use super::standby::{self, Standby};
use super::table::Table;
use super::worker::Worker;
use crate::gentle;
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
    /// By a table's OID on the source: OID of the subscription that it is attached to.
    pub subscriptions: Arc<HashMap<u32, u32>>,
    /// No further table is begun when the snapshot is older than this.
    pub max_snapshot_age: Duration,
    /// Tables of more bytes are copied in parts; without it the pass decides.
    pub split_above: Option<u64>,
    /// The limits of the source.
    pub gentle: Arc<gentle::Source>,
    /// A standby of the source to read from instead.
    pub standby: Option<Standby>,
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
    /// Somebody else, most likely a predecessor's session, attached the table just now.
    #[error("{table} is attached already: looking again")]
    Overtaken {
        /// The table.
        table: String,
    },
    /// No session to load rows with.
    #[error(transparent)]
    Loader(#[from] loader::Error),
    /// A worker's thread can't work.
    #[error("a copy worker can't begin: {0}")]
    Thread(#[source] std::io::Error),
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
    /// Attached without what the source's planner knows of it, for this reason.
    WithoutStatistics(Table, String),
    /// Could not be copied; the others go on.
    Failed(Table, String),
    /// The standby can't be read from, for this reason; the source is.
    WithoutStandby(String),
}

/// A snapshot, and where it can be imported; as long as this lives.
struct Snapshot {
    lsn: Lsn,
    name: String,
    reader: Endpoint,
    _holder: Holder,
}

/// What keeps a snapshot.
enum Holder {
    Source(#[allow(dead_code, reason = "held, not read")] slot::Snapshot),
    Standby(#[allow(dead_code, reason = "held, not read")] standby::Snapshot),
}

/// Takes a snapshot: on the standby if there is one that is fit, else on the source.
async fn snapshot(settings: &Settings, events: &mpsc::UnboundedSender<Event>) -> Result<Snapshot, Error> {
    if let Some(standby) = &settings.standby {
        let source = settings.source.connect(&settings.source_database).await?;
        match standby::Snapshot::take(standby, &source, &settings.source_database).await {
            Ok(held) => {
                tracing::info!(standby = standby.endpoint.name, lsn = %held.lsn, "reading from the standby");
                let reader = standby.endpoint.clone();
                return Ok(Snapshot { lsn: held.lsn, name: held.name.clone(), reader, _holder: Holder::Standby(held) });
            }
            // Whoever listened has been stopped, and we will be.
            Err(error) => drop(events.send(Event::WithoutStandby(error.to_string()))),
        }
    }
    let Settings { source, source_database, destination, control_database, .. } = settings;
    let held = slot::Snapshot::take(destination, control_database, source, source_database).await?;
    Ok(Snapshot { lsn: held.lsn, name: held.name.clone(), reader: source.clone(), _holder: Holder::Source(held) })
}

/// How many workers would have something to do.
pub fn width(tables: &[Table], workers: usize, split_above: Option<u64>) -> usize {
    let total = tables.iter().map(|t| t.bytes).sum();
    let jobs: i64 = tables.iter().map(|t| part::count(t.bytes, total, workers, split_above)).sum();
    usize::try_from(jobs).unwrap_or(usize::MAX)
}

/// Copies `tables`, those with the most work first, with so many workers, and tells what happens. Ends when all are done or failed, when
/// the snapshot is too old, or when `stop` turns true.
pub async fn run(
    settings: &Settings,
    tables: Vec<Table>,
    workers: usize,
    events: &mpsc::UnboundedSender<Event>,
    stop: &tokio::sync::watch::Receiver<bool>,
) -> Result<(), Error> {
    let workers = workers.min(width(&tables, workers, settings.split_above)).max(1);
    let snapshot = snapshot(settings, events).await?;
    let began = Instant::now();
    tracing::info!(tables = tables.len(), workers, lsn = %snapshot.lsn, "copying");
    // Ends the workers when nobody waits for them any more.
    let (_alive, alive) = tokio::sync::watch::channel(());
    let mut running = JoinSet::new();
    let mut workers_open = Vec::with_capacity(workers);
    for _ in 0..workers {
        let (opened, is_open) = oneshot::channel();
        let (queue, may_work) = oneshot::channel();
        let reader = open_reader(snapshot.reader.clone(), settings.source_database.clone(), snapshot.name.clone());
        let (settings, lsn, events, stop) = (settings.clone(), snapshot.lsn, events.clone(), stop.clone());
        let work = async move {
            let reader = reader.await?;
            let block_size =
                block_size(&reader).await.map_err(|source| Error::Session { doing: "looking at the source", source })?;
            // Whoever waits is gone when another worker can't begin.
            let _ = opened.send(block_size);
            match may_work.await {
                Ok(queue) => Worker { settings, lsn, began, queue, events, stop }.run(reader).await,
                Err(_) => Ok(()),
            }
        };
        running.spawn_blocking(on_this_thread(work, alive.clone()));
        workers_open.push((is_open, queue));
    }
    // All transactions are open before the snapshot's holder may go.
    let mut queues = Vec::with_capacity(workers);
    let mut size_of_block = None;
    for (is_open, queue) in workers_open {
        if let Ok(size) = is_open.await {
            size_of_block = size;
            queues.push(queue);
        }
    }
    drop(snapshot);
    if queues.len() == workers {
        let queue = Arc::new(Mutex::new(Queue::new(tables, workers, settings.split_above, size_of_block)));
        for worker in queues {
            // A worker that is gone has an error, which is told below.
            let _ = worker.send(Arc::clone(&queue));
        }
    } else {
        drop(queues);
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

/// Drives a worker and its connections on the thread that this is called on, apart from all else: each chunk of rows passes from one
/// connection to the other without another thread being woken, and what reads may nap (`postgres::tap`).
fn on_this_thread(
    work: impl Future<Output = Result<(), Error>>,
    mut alive: tokio::sync::watch::Receiver<()>,
) -> impl FnOnce() -> Result<(), Error> {
    let span = tracing::Span::current();
    move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
        let work = async move {
            tokio::select! {
                result = work => result,
                _ = alive.changed() => Ok(()),
            }
        };
        runtime.block_on(work.instrument(span))
    }
}

/// The size of a block, bytes, if the source can read a range of blocks by itself.
async fn block_size(reader: &Session) -> Result<Option<i64>, tokio_postgres::Error> {
    if !reader.version().at_least(part::SINCE) {
        return Ok(None);
    }
    let row = reader.query_one("SELECT pg_catalog.current_setting('block_size')::bigint", &[]).await?;
    Ok(Some(row.get(0)))
}

/// Opens a session under the snapshot, in which everything that the snapshot counts as committed has really ended.
async fn open_reader(endpoint: Endpoint, database: String, snapshot: String) -> Result<Session, Error> {
    let reader = endpoint.connect_tapped(&database).await?;
    reader
        .batch_execute(&format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}; SAVEPOINT copy",
            quote::literal(&snapshot)
        ))
        .await
        .map_err(|source| Error::Session { doing: "importing the snapshot", source })?;
    loader::as_bytes(&reader).await.map_err(|source| Error::Session { doing: "preparing to read", source })?;
    slot::await_commits(&reader).await.map_err(|source| Error::Session { doing: "waiting for commits", source })?;
    Ok(reader)
}
