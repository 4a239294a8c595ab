//! Small tables, many in a transaction. Alone, such a table costs a dozen round trips and a commit, and to truncate it gives it new
//! files: together far more than its rows.
//!
//! Only tables that are empty on the destination are copied so: then there is nothing to truncate, and whatever goes wrong costs
//! nothing. Their rows are not frozen. When it does not succeed, the worker copies them one by one, and so finds out whose fault it was.

use std::pin::pin;

use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, stream};

use super::pipe::{self, Progress};
use super::table::Table;
use super::worker::{Failure, Sessions, pipe_failure};
use crate::gentle::rate::Limiter;

/// So many tables are being asked for while the rows of one are written.
const AHEAD: usize = 8;

/// Copies tables of one schema and owner, each with its progress; `attach` is what attaches them. Says why not, if one of them can't be
/// copied in this way; then the transactions on both sides are to be rolled back.
pub(super) async fn copy(
    sessions: &mut Sessions,
    tables: &[(Table, std::sync::Arc<Progress>)],
    attach: &str,
    rate: &Limiter,
) -> Result<(), Failure> {
    let Some((first, _)) = tables.first() else { return Ok(()) };
    let owner = sessions.as_owner(first).await?;
    let names: Vec<String> = tables.iter().map(|(table, _)| table.sql_name()).collect();
    let columns: Vec<String> = tables.iter().map(|(table, _)| table.column_list()).collect();
    let read = |(name, columns): (&String, &String)| format!("COPY {name} {columns} TO STDOUT");
    let write = |(name, columns): (&String, &String)| format!("COPY {name} {columns} FROM STDIN");
    let read: Vec<String> = names.iter().zip(&columns).map(read).collect();
    let write: Vec<String> = names.iter().zip(&columns).map(write).collect();
    let writer = async {
        sessions.begin(&owner).await?;
        // Waits for whatever an earlier session of ours still has to commit.
        let only: Vec<String> = names.iter().map(|name| format!("ONLY {name}")).collect();
        sessions.write(&format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", only.join(", "))).await?;
        let filled = "SELECT count(*) FROM unnest($1::text[]) t WHERE pg_catalog.pg_relation_size(t::pg_catalog.regclass) > 0";
        let filled = sessions.writer.query_one(filled, &[&names]).await.map_err(|source| Failure::of(source, "writing"))?;
        if filled.get::<_, i64>(0) > 0 {
            return Err(Failure::Table("a table has rows already".to_owned()));
        }
        let prepared = write.iter().map(|copy| sessions.writer.prepare(copy));
        try_join_all(prepared).await.map_err(|source| Failure::of(source, "writing"))
    };
    let reader = async {
        let prepared = read.iter().map(|copy| sessions.reader.prepare(copy));
        try_join_all(prepared).await.map_err(|source| Failure::of(source, "reading"))
    };
    let (read, write) = tokio::join!(reader, writer);
    let (read, write) = (read?, write?);
    let asked: Vec<_> = read.iter().map(|copy| sessions.reader.copy_out(copy)).collect();
    let mut all_rows = pin!(stream::iter(asked).buffered(AHEAD));
    let begin = async |index: usize| match write.get(index) {
        Some(copy) => sessions.writer.copy_in(copy).await.map(Some).map_err(|source| Failure::of(source, "writing")),
        None => Ok(None),
    };
    let mut sink = begin(0).await?;
    for (index, (_, progress)) in tables.iter().enumerate() {
        let (Some(rows), Some(taker)) = (all_rows.next().await, sink) else { break };
        let rows = rows.map_err(|source| Failure::of(source, "reading"))?;
        let moved = async {
            let (rows, mut taker) = (pin!(rows), pin!(taker));
            pipe::gather(rows, taker.as_mut(), progress, rate).await?;
            taker.finish().await.map_err(pipe::Error::Destination)
        };
        // The next COPY is on its way before this one is answered.
        let (moved, next) = tokio::join!(moved, begin(index + 1));
        moved.map_err(pipe_failure)?;
        sink = next?;
    }
    let all: Vec<_> = tables.iter().map(|(table, _)| table).collect();
    if sessions.were_changed(&all).await? {
        return Err(Failure::Table(super::worker::CHANGED.to_owned()));
    }
    sessions.leave().await?;
    sessions.write(&format!("{} {attach} COMMIT", owner.take_back)).await?;
    sessions.end_reading().await
}
