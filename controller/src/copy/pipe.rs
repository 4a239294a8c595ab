//! Moving the rows of one table from COPY TO on the source into COPY FROM on the destination.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use futures_util::{SinkExt as _, StreamExt as _, pin_mut};
use tokio_postgres::Client;

use crate::gentle::rate::Limiter;

/// Rows are gathered into chunks of this size: sent one by one the same bytes take several times as long, for each row
/// then costs a message, a wake-up and a system call.
const CHUNK: usize = 128 << 10;

/// How far a table's copy is; shared with whoever shows it.
#[derive(Debug, Default)]
pub struct Progress {
    /// COPY bytes handed to the destination.
    pub bytes: AtomicU64,
    /// Rows among them.
    pub rows: AtomicU64,
}

/// Which side failed: a source that fails costs the pass, a destination that fails costs the table.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// COPY TO failed.
    #[error("reading from the source: {}", crate::postgres::retry::message(.0))]
    Source(#[source] tokio_postgres::Error),
    /// COPY FROM failed.
    #[error("writing to the destination: {}", crate::postgres::retry::message(.0))]
    Destination(#[source] tokio_postgres::Error),
}

/// Runs `copy_to` on the source and `copy_from` on the destination, and joins them, not faster than `rate` lets it: what is not
/// taken from the source waits there. Gives the number of rows that the destination says it took.
pub async fn run(
    source: &Client,
    copy_to: &str,
    destination: &Client,
    copy_from: &str,
    progress: &Progress,
    rate: &Limiter,
) -> Result<u64, Error> {
    let rows = source.copy_out(copy_to).await.map_err(Error::Source)?;
    let sink = destination.copy_in(copy_from).await.map_err(Error::Destination)?;
    pin_mut!(rows, sink);
    let mut chunk = BytesMut::with_capacity(CHUNK + (8 << 10));
    let mut rows_in_chunk = 0;
    while let Some(row) = rows.next().await {
        // Dropping the sink here, unfinished, makes the destination discard what it got.
        let row = row.map_err(Error::Source)?;
        chunk.extend_from_slice(&row);
        rows_in_chunk += 1;
        if chunk.len() >= CHUNK {
            rate.pass(chunk.len() as u64).await;
            flush(&mut sink, &mut chunk, &mut rows_in_chunk, progress).await?;
        }
    }
    if !chunk.is_empty() {
        rate.pass(chunk.len() as u64).await;
        flush(&mut sink, &mut chunk, &mut rows_in_chunk, progress).await?;
    }
    sink.finish().await.map_err(Error::Destination)
}

async fn flush(
    sink: &mut std::pin::Pin<&mut tokio_postgres::CopyInSink<bytes::Bytes>>,
    chunk: &mut BytesMut,
    rows: &mut u64,
    progress: &Progress,
) -> Result<(), Error> {
    let bytes = chunk.split().freeze();
    let length = bytes.len() as u64;
    sink.send(bytes).await.map_err(Error::Destination)?;
    chunk.reserve(CHUNK + (8 << 10));
    progress.bytes.fetch_add(length, Ordering::Relaxed);
    progress.rows.fetch_add(std::mem::take(rows), Ordering::Relaxed);
    Ok(())
}
