//! Parts: a large table copied by several workers at once, each a range of the table's blocks.
//!
//! Every part is read under the same snapshot, so that each row is in exactly one of them, and written in a transaction of its
//! own. The transaction of the part that is committed last attaches the table, and only when all others are known to be
//! committed. Anything less leaves the table un-attached: the next pass empties it and begins anew.
//!
//! Two things could break that, and are watched for. A rewrite of the table on the source (VACUUM FULL, CLUSTER) between two
//! parts would move rows between blocks: every part checks that it read the same file as the one that began. And what an earlier,
//! lost session of ours commits late: emptying waits for its lock, and is taken back if by then the table is attached.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, MutexGuard, OnceCell};

use super::pipe::Progress;
use super::table::Table;
use crate::postgres::quote;

/// PostgreSQL reads a range of blocks without reading the rest since version 14.
pub const SINCE: i32 = 14;
/// Without a setting, smaller tables are not split: a part can't be written frozen, and beginning one costs round trips.
const SPLIT_ABOVE: i64 = 256 << 20;
/// Without a setting, so many parts for each worker: the fewer, the longer the others wait for the last.
const PARTS_PER_WORKER: i64 = 4;
/// Never more parts than this.
const MOST_PARTS: i64 = 4096;

/// A table in parts.
#[derive(Debug)]
pub struct Split {
    /// The table.
    pub table: Table,
    /// Of all its parts together.
    pub progress: Arc<Progress>,
    parts: usize,
    /// The source's file that holds its rows. Known when the destination's table is empty and parts may be written.
    pub file: OnceCell<u32>,
    committed: Mutex<usize>,
    begun: AtomicBool,
    given_up: AtomicBool,
}

/// Blocks of a table: from the first, to before the second, or to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    from: i64,
    to: Option<i64>,
}

/// Into how many parts to copy a table of so many bytes, in a pass of `total` bytes with so many workers. With a setting,
/// every table above it is split. Without one, only a table that is more than a worker's share of the pass: others
/// can go side by side whole, which writes their rows frozen.
pub fn count(bytes: i64, total: i64, workers: usize, split_above: Option<u64>) -> i64 {
    let workers = workers as i64;
    match split_above {
        Some(limit) => {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX).max(1);
            ((bytes - 1).max(0) / limit + 1).min(MOST_PARTS)
        }
        None if workers > 1 && bytes > SPLIT_ABOVE && bytes > total / workers => {
            (bytes / (SPLIT_ABOVE / PARTS_PER_WORKER)).min(workers * PARTS_PER_WORKER)
        }
        None => 1,
    }
}

/// Ranges that together are the whole table, about equal in size, whatever its size is by now.
fn ranges(blocks: i64, parts: i64) -> Vec<Range> {
    let parts = parts.clamp(1, blocks.max(1));
    let bound = |i: i64| blocks * i / parts;
    (0..parts).map(|i| Range { from: bound(i), to: (i + 1 < parts).then(|| bound(i + 1)) }).collect()
}

impl Range {
    /// Whether it is the first one.
    pub fn is_first(self) -> bool {
        self.from == 0
    }

    /// The condition for rows of this range.
    fn condition(self) -> String {
        let mut condition = format!("ctid >= '({},0)'", self.from);
        if let Some(to) = self.to {
            // Writing to a String can't fail.
            let _ = write!(condition, " AND ctid < '({to},0)'");
        }
        condition
    }
}

impl Split {
    /// Splits a table of blocks of so many bytes into about so many parts; gives their ranges.
    pub fn new(table: Table, parts: i64, block_size: i64) -> (Arc<Self>, Vec<Range>) {
        let ranges = ranges(table.bytes / block_size.max(1), parts);
        let split = Self {
            table,
            progress: Arc::default(),
            parts: ranges.len(),
            file: OnceCell::new(),
            committed: Mutex::new(0),
            begun: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
        };
        (Arc::new(split), ranges)
    }

    /// The COPY that reads a part.
    pub fn copy_to(&self, range: Range) -> String {
        let columns = quote::ident_list(self.table.columns.iter().map(String::as_str));
        format!("COPY (SELECT {columns} FROM ONLY {} WHERE {}) TO STDOUT", self.table.sql_name(), range.condition())
    }

    /// Whether a part was taken out of the queue.
    pub fn is_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Says that a part was taken out of the queue.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Release);
    }

    /// Whether a part has failed, so that the others are no use in this pass.
    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// Says that a part has failed; true for the first to say so.
    pub fn give_up(&self) -> bool {
        !self.given_up.swap(true, Ordering::AcqRel)
    }

    /// To be held while a part is committed.
    pub async fn turn(&self) -> Turn<'_> {
        Turn { committed: self.committed.lock().await, parts: self.parts }
    }
}

/// The right to commit a part: one at a time, so that exactly one knows that it is the last.
pub struct Turn<'a> {
    committed: MutexGuard<'a, usize>,
    parts: usize,
}

impl Turn<'_> {
    /// Whether all other parts are known to be committed.
    pub fn is_last(&self) -> bool {
        *self.committed + 1 == self.parts
    }

    /// The part is known to be committed.
    pub fn done(mut self) {
        *self.committed += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_touch_and_are_open_at_the_end() {
        for (blocks, parts) in [(0, 4), (1, 4), (3, 2), (1000, 7), (5, 5)] {
            let ranges = ranges(blocks, parts);
            assert_eq!(ranges[0].from, 0);
            assert!(ranges.windows(2).all(|w| w[0].to == Some(w[1].from) && w[0].from < w[1].from), "{ranges:?}");
            assert_eq!(
                ranges.last().map(|r| r.to),
                Some(None),
                "rows may be behind the last block that was there when we looked"
            );
        }
    }

    #[test]
    fn a_range_is_a_condition_on_ctid() {
        assert_eq!(Range { from: 0, to: Some(7) }.condition(), "ctid >= '(0,0)' AND ctid < '(7,0)'");
        assert_eq!(Range { from: 7, to: None }.condition(), "ctid >= '(7,0)'");
    }

    #[test]
    fn a_setting_splits_every_table_above_it() {
        assert_eq!(count(100, 1000, 4, Some(100)), 1);
        assert_eq!(count(101, 1000, 4, Some(100)), 2);
        assert_eq!(count(0, 1000, 4, Some(100)), 1);
        assert_eq!(count(i64::MAX, i64::MAX, 4, Some(1)), MOST_PARTS);
    }

    #[test]
    fn without_a_setting_only_what_the_others_would_wait_for_is_split() {
        let gigabyte = 1 << 30;
        assert_eq!(count(gigabyte, 4 * gigabyte, 2, None), 1, "no more than a share");
        assert_eq!(count(3 * gigabyte, 4 * gigabyte, 2, None), 8);
        assert_eq!(count(3 * gigabyte, 4 * gigabyte, 1, None), 1, "one worker");
        assert_eq!(count(100 << 20, 100 << 20, 2, None), 1, "too small");
    }

    #[tokio::test]
    async fn only_the_last_commit_attaches() {
        let (split, ranges) = Split::new(crate::copy::table::sample("t", 30 * 8192), 3, 8192);
        assert_eq!(ranges.len(), 3);
        let first = split.turn().await;
        assert!(!first.is_last());
        first.done();
        // A commit that failed does not count.
        drop(split.turn().await);
        let second = split.turn().await;
        assert!(!second.is_last());
        second.done();
        assert!(split.turn().await.is_last());
    }
}
