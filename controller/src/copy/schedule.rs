//! The order of a pass: what takes longest from the start of its copy to the end of its last index is begun first, so that no
//! worker is left with it at the end.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::part::{self, Range, Split};
use super::table::Table;

/// What a worker does next.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // most jobs are the large variant
pub enum Job {
    /// A whole table.
    Table(Table),
    /// Small tables of one schema and owner, in one transaction.
    Tables(Vec<Table>),
    /// A part of one.
    Part(Arc<Split>, Range),
}

/// A table up to this size is copied together with others: rows that are a few packets.
const SMALL: i64 = 64 << 10;
/// So many of them: each keeps a few locks on both sides until all are copied.
const TOGETHER: usize = 32;

/// The jobs of a pass that nobody has begun.
#[derive(Debug, Default)]
pub struct Queue(VecDeque<Job>);

impl Queue {
    /// Puts the tables in order, and splits those that are worth it: by blocks of so many bytes, unless the source can't read parts.
    pub fn new(mut tables: Vec<Table>, workers: usize, split_above: Option<u64>, block_size: Option<i64>) -> Self {
        tables.sort_by_key(|t| std::cmp::Reverse(work(t)));
        let total = tables.iter().map(|t| t.bytes).sum();
        let mut jobs = VecDeque::with_capacity(tables.len());
        let mut small: HashMap<(String, String), Vec<Table>> = HashMap::new();
        for table in tables {
            if table.bytes <= SMALL && split_above.is_none_or(|limit| table.bytes as u64 <= limit) {
                let batch = small.entry((table.schema.clone(), table.owner.clone())).or_default();
                batch.push(table);
                if batch.len() == TOGETHER {
                    jobs.push_back(Job::Tables(std::mem::take(batch)));
                }
                continue;
            }
            let parts = part::count(table.bytes, total, workers, split_above);
            match block_size {
                Some(block_size) if parts > 1 && !table.columns.is_empty() => {
                    let (split, ranges) = Split::new(table, parts, block_size);
                    jobs.extend(ranges.into_iter().map(|range| Job::Part(Arc::clone(&split), range)));
                }
                _ => jobs.push_back(Job::Table(table)),
            }
        }
        let mut rest: Vec<Vec<Table>> = small.into_values().filter(|batch| !batch.is_empty()).collect();
        rest.sort_by_key(|batch| std::cmp::Reverse(batch.len()));
        jobs.extend(rest.into_iter().map(Job::Tables));
        Self(jobs)
    }

    /// How many jobs there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the next job. With `only_begun`, only a part of a table of which another part was taken before: begun tables are
    /// brought to their end.
    pub fn take(&mut self, only_begun: bool) -> Option<Job> {
        while let Some(job) = self.0.pop_front() {
            match &job {
                // Its table will be copied anew.
                Job::Part(split, _) if split.is_given_up() => {}
                Job::Part(split, _) if only_begun && !split.is_begun() => {}
                Job::Table(_) | Job::Tables(_) if only_begun => {}
                Job::Part(split, _) => {
                    split.begin();
                    return Some(job);
                }
                Job::Table(_) | Job::Tables(_) => return Some(job),
            }
        }
        None
    }
}

/// What a table costs altogether, in bytes of copying: an index of it costs about half as much as its copy.
fn work(table: &Table) -> i64 {
    table.bytes.saturating_add(table.bytes.saturating_mul(table.index_count) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::table::sample;

    fn table(name: &str, bytes: i64, index_count: i64) -> Table {
        Table { index_count, columns: vec!["a".into()], ..sample(name, bytes) }
    }

    fn names(mut queue: Queue, only_begun: bool) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(job) = queue.take(only_begun) {
            match job {
                Job::Table(t) => names.push(t.name),
                Job::Tables(tables) => names.extend(tables.into_iter().map(|t| t.name)),
                Job::Part(split, _) => names.push(split.table.name.clone()),
            }
        }
        names
    }

    #[test]
    fn indexes_count_as_work() {
        let queue = Queue::new(vec![table("bare", 100_000, 0), table("indexed", 80_000, 3)], 2, None, Some(8192));
        assert_eq!(names(queue, false), ["indexed", "bare"]);
    }

    #[test]
    fn parts_follow_each_other_and_stop_when_their_table_fails() {
        let tables = vec![table("large", 81_920, 1), table("small", 8192, 0)];
        let mut queue = Queue::new(tables, 2, Some(30_000), Some(8192));
        assert_eq!(queue.len(), 4);
        let Some(Job::Part(split, _)) = queue.take(false) else { panic!("a part comes first") };
        split.give_up();
        assert_eq!(names(queue, false), ["small"]);
    }

    #[test]
    fn when_time_is_up_only_begun_tables_go_on() {
        let tables = vec![table("large", 81_920, 1), table("other", 81_920, 0), table("small", 8192, 0)];
        let mut queue = Queue::new(tables, 2, Some(30_000), Some(8192));
        let Some(Job::Part(split, _)) = queue.take(false) else { panic!("a part comes first") };
        assert!(split.is_begun());
        assert_eq!(names(queue, true), ["large", "large"]);
    }

    #[test]
    fn small_tables_of_one_owner_go_together_after_the_others() {
        let mut tables: Vec<Table> = (0..TOGETHER + 3).map(|i| table(&format!("t{i}"), 8192, 1)).collect();
        tables.push(Table { owner: "another".into(), ..table("theirs", 8192, 1) });
        tables.push(table("large", 1 << 20, 1));
        let mut queue = Queue::new(tables, 2, None, Some(8192));
        let sizes: Vec<usize> = std::iter::from_fn(|| queue.take(false))
            .map(|job| match job {
                Job::Tables(tables) => tables.len(),
                Job::Table(_) | Job::Part(..) => 0,
            })
            .collect();
        assert_eq!(sizes, [0, TOGETHER, 3, 1]);
    }

    #[test]
    fn an_old_source_copies_whole_tables() {
        assert_eq!(Queue::new(vec![table("large", 81_920, 1)], 2, Some(1), None).len(), 1);
    }
}
