//! Moving the rows of one table from COPY TO on the source into COPY FROM on the destination.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _, pin_mut};
use tokio_postgres::{Client, CopyInSink, CopyOutStream};

use crate::gentle::rate::Limiter;
use crate::postgres::{Session, refusal};

/// Rows are gathered into chunks of this size: sent one by one the same bytes take several times as long, for each row
/// then costs a message, a wake-up and a system call. A session with a tap gathers by itself.
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
    #[error("reading from the source: {}", refusal::without_rows(.0))]
    Source(#[source] tokio_postgres::Error),
    /// COPY FROM failed.
    #[error("writing to the destination: {}", refusal::without_rows(.0))]
    Destination(#[source] tokio_postgres::Error),
}

/// Runs `copy_to` on the source and `copy_from` on the destination, and joins them, not faster than `rate` lets it: what is not
/// taken from the source waits there. Gives the number of rows that the destination says it took.
pub async fn run(
    source: &Session,
    copy_to: &str,
    destination: &Client,
    copy_from: &str,
    progress: &Progress,
    rate: &Limiter,
) -> Result<u64, Error> {
    let tapped = match source.tap() {
        Some(tap) => Some(tap.open().await),
        None => None,
    };
    let (rows, sink) = tokio::join!(source.copy_out(copy_to), destination.copy_in(copy_from));
    let (rows, sink) = (rows.map_err(Error::Source)?, sink.map_err(Error::Destination)?);
    pin_mut!(rows, sink);
    // Leaving early drops the sink unfinished, which makes the destination discard what it got.
    if let Some(mut tapped) = tapped {
        while let Some(chunk) = tapped.next().await {
            send(sink.as_mut(), chunk.bytes, chunk.rows, progress, rate).await?;
        }
    }
    // With a tap there is nothing left but the end, or the source's error.
    gather(rows, sink.as_mut(), progress, rate).await?;
    sink.finish().await.map_err(Error::Destination)
}

/// Passes on, in chunks, what the driver gives row by row.
pub(super) async fn gather(
    mut rows: Pin<&mut CopyOutStream>,
    mut sink: Pin<&mut CopyInSink<Bytes>>,
    progress: &Progress,
    rate: &Limiter,
) -> Result<(), Error> {
    let mut chunk = BytesMut::new();
    let mut count = 0;
    while let Some(row) = rows.next().await {
        if chunk.capacity() == 0 {
            chunk.reserve(CHUNK + (8 << 10));
        }
        chunk.extend_from_slice(&row.map_err(Error::Source)?);
        count += 1;
        if chunk.len() >= CHUNK {
            send(sink.as_mut(), chunk.split().freeze(), std::mem::take(&mut count), progress, rate).await?;
        }
    }
    if chunk.is_empty() {
        return Ok(());
    }
    send(sink, chunk.freeze(), count, progress, rate).await
}

async fn send(
    mut sink: Pin<&mut CopyInSink<Bytes>>,
    bytes: Bytes,
    rows: u64,
    progress: &Progress,
    rate: &Limiter,
) -> Result<(), Error> {
    let length = bytes.len() as u64;
    rate.pass(length).await;
    sink.send(bytes).await.map_err(Error::Destination)?;
    progress.bytes.fetch_add(length, Ordering::Relaxed);
    progress.rows.fetch_add(rows, Ordering::Relaxed);
    Ok(())
}
