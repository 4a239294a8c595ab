//! A pass: one snapshot of the source at one position, and workers that copy tables under it.
//!
//! A table is one transaction on the destination: emptied, filled, attached; a large one is a transaction a part, and the last
//! one attaches it. So after a crash a table is either done, and the server knows as of which position, or not attached. A pass
//! that ends early, by choice or by accident, costs nothing that is attached.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::loader;
use super::part;
use super::pipe::Progress;
use super::schedule::Queue;
use super::table::Table;
use super::worker::Worker;
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

    let block_size = block_size(&readers[0]).await.map_err(|source| Error::Session { doing: "looking at the source", source })?;
    let queue = Arc::new(Mutex::new(Queue::new(tables, workers, settings.split_above, block_size)));
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

/// The size of a block, bytes, if the source can read a range of blocks by itself.
async fn block_size(reader: &Session) -> Result<Option<i64>, tokio_postgres::Error> {
    if !reader.version().at_least(part::SINCE) {
        return Ok(None);
    }
    let row = reader.query_one("SELECT pg_catalog.current_setting('block_size')::bigint", &[]).await?;
    Ok(Some(row.get(0)))
}

async fn open_reader(settings: &Settings, snapshot: &str) -> Result<Session, Error> {
    let reader = settings.source.connect(&settings.source_database).await?;
    reader
        .batch_execute(&format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}; SAVEPOINT copy",
            quote::literal(snapshot)
        ))
        .await
        .map_err(|source| Error::Session { doing: "importing the snapshot", source })?;
    loader::as_bytes(&reader).await.map_err(|source| Error::Session { doing: "preparing to read", source })?;
    Ok(reader)
}
