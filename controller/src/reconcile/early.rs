//! Streams that begin while tables of others are still being copied: as soon as everything of its own is there, a stream need not stand
//! still, and the source need not keep its log for it. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

/// The streams that stand still during a pass, and what each of them waits for.
#[derive(Debug)]
pub(super) struct Waiting {
    stream_of: HashMap<u32, usize>,
    open: BTreeMap<usize, HashSet<u32>>,
}

impl Waiting {
    /// `standing`: the streams that stand still; `tables`: OID and stream of every table that is attached or is to be copied.
    pub fn new(standing: impl IntoIterator<Item = usize>, tables: impl IntoIterator<Item = (u32, usize)>) -> Self {
        let mut open: BTreeMap<usize, HashSet<u32>> = standing.into_iter().map(|stream| (stream, HashSet::new())).collect();
        let mut stream_of = HashMap::new();
        for (table, stream) in tables {
            if let Some(tables) = open.get_mut(&stream) {
                tables.insert(table);
                stream_of.insert(table, stream);
            }
        }
        Self { stream_of, open }
    }

    /// This table is waited for no longer: it has its rows and all that is built on them; or it could not be copied, and the others go on
    /// without it. A table on which something could not be built is waited for until the pass is over: it may lack the key that the
    /// stream finds its rows by.
    pub fn note(&mut self, table: u32) {
        if let Some(tables) = self.stream_of.get(&table).and_then(|stream| self.open.get_mut(stream)) {
            tables.remove(&table);
        }
    }

    /// The streams that may begin now, each told once; not the last ones, which come when the pass is over.
    pub fn take_ready(&mut self) -> Vec<usize> {
        if self.open.values().all(HashSet::is_empty) {
            return Vec::new();
        }
        let ready: Vec<usize> = self.open.iter().filter(|(_, tables)| tables.is_empty()).map(|(stream, _)| *stream).collect();
        self.open.retain(|_, tables| !tables.is_empty());
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_begins_when_its_own_tables_are_whole_and_the_last_one_waits_for_the_end() {
        // Stream 1 runs; stream 3 has no table.
        let mut waiting = Waiting::new([0, 2, 3], [(10, 0), (11, 0), (20, 1), (30, 2)]);
        assert_eq!(waiting.take_ready(), [3], "nothing is to be waited for");
        waiting.note(20);
        waiting.note(10);
        assert!(waiting.take_ready().is_empty());
        waiting.note(10);
        assert!(waiting.take_ready().is_empty(), "the same table again is not the other one");
        waiting.note(11);
        assert_eq!(waiting.take_ready(), [0]);
        assert!(waiting.take_ready().is_empty(), "it is told once");
        waiting.note(30);
        assert!(waiting.take_ready().is_empty(), "no other stream is being copied any more");
    }

    #[test]
    fn a_single_stream_waits_for_the_end() {
        let mut waiting = Waiting::new([0], [(1, 0), (2, 0)]);
        waiting.note(1);
        waiting.note(2);
        assert!(waiting.take_ready().is_empty());
    }
}
