//! Which statements of a plan may run, given what has happened, and which of them to run first. Pure bookkeeping, tested
//! without a server; every operation costs the same however many statements there are.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};

use crate::plan::Statement;

/// What [`super::schema::build`] is told while it runs.
#[derive(Debug)]
pub enum Signal {
    /// The rows of this source table are there: its indexes may be built.
    TableCopied {
        /// Its OID on the source.
        table: u32,
        /// Its size there.
        bytes: i64,
    },
    /// No further table will come.
    CopyOver,
    /// A stream has begun.
    StreamRuns,
}

/// Building an index of a table below this size takes no longer than a few round trips.
const SMALL: i64 = 2 << 20;
/// Validating a foreign key takes as long as building an index of so much less than both its tables.
const VALIDATION: i64 = 4;
/// What runs in one transaction: so many statements, on so many bytes of tables. Larger ones leave other sessions idle.
const BATCH: usize = 100;
const BATCH_BYTES: i64 = 16 << 20;

/// What one session does next.
#[derive(Debug, PartialEq, Eq)]
pub struct Work {
    /// Statements, in this order.
    pub statements: Vec<usize>,
    kind: Kind,
    /// How many other cores this work may use, since nothing else does, or will when what runs beside it is done.
    pub helpers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One statement that takes its time.
    Heavy,
    /// Small statements about tables.
    Tables,
    /// Small statements that may touch anything: one session at a time, so that they do not collide.
    Global,
    /// What could wait for its own section.
    Early,
}

/// The statements that are still to be run.
#[derive(Debug)]
pub struct Queue {
    /// For each statement of the plan: how many things it waits for; none for those that are not ours to run or are taken.
    blockers: Vec<Option<usize>>,
    dependents: HashMap<usize, Vec<usize>>,
    by_table: HashMap<u32, Vec<usize>>,
    after_copy: Vec<usize>,
    table_of: Vec<Option<u32>>,
    is_build: Vec<bool>,
    bytes: HashMap<u32, i64>,
    heavy: BinaryHeap<(i64, Reverse<usize>)>,
    tables: BTreeSet<(u32, usize)>,
    global: BTreeSet<usize>,
    global_runs: bool,
    /// What may run early, with the tables that it reads; nothing to read where a key is only made.
    is_early: HashMap<usize, Vec<u32>>,
    /// What may run early now, with its weight.
    early: BinaryHeap<(i64, Reverse<usize>)>,
    waiting: usize,
    running: Vec<Kind>,
    batches: bool,
    /// So many of those that may touch anything share a transaction: one, where a stream may be writing to what they touch.
    global_batch: usize,
    copy_over: bool,
    /// How many statements of each table are not finished.
    open: HashMap<u32, usize>,
    /// Tables that have become whole since somebody asked.
    whole: Vec<u32>,
}

impl Queue {
    /// The selected statements that are not finished. A statement does not wait for one that is not selected. `batches`: whether small
    /// statements may share a transaction.
    pub fn new(
        statements: &[Statement],
        selected: impl IntoIterator<Item = usize>,
        finished: &HashSet<usize>,
        batches: bool,
    ) -> Self {
        let mut queue = Self {
            blockers: vec![None; statements.len()],
            dependents: HashMap::new(),
            by_table: HashMap::new(),
            after_copy: Vec::new(),
            table_of: statements.iter().map(|s| s.table).collect(),
            is_build: statements.iter().map(is_build).collect(),
            bytes: HashMap::new(),
            heavy: BinaryHeap::new(),
            tables: BTreeSet::new(),
            global: BTreeSet::new(),
            global_runs: false,
            is_early: HashMap::new(),
            early: BinaryHeap::new(),
            waiting: 0,
            running: Vec::new(),
            batches,
            global_batch: if batches { BATCH } else { 1 },
            copy_over: false,
            open: HashMap::new(),
            whole: Vec::new(),
        };
        let ours: Vec<usize> = selected.into_iter().filter(|i| !finished.contains(i)).collect();
        for &i in &ours {
            // One for its table, or for the end of all copies.
            queue.blockers[i] = Some(1);
            match statements[i].table {
                Some(table) => {
                    queue.by_table.entry(table).or_default().push(i);
                    *queue.open.entry(table).or_default() += 1;
                }
                None => queue.after_copy.push(i),
            }
        }
        for &i in &ours {
            for before in statements[i].needs() {
                if queue.blockers[before].is_some() {
                    queue.dependents.entry(before).or_default().push(i);
                    queue.blockers[i] = queue.blockers[i].map(|n| n + 1);
                }
            }
        }
        queue.waiting = ours.len();
        queue
    }

    /// Adds foreign keys of a later section, to be made while there is other work, so that no session is idle at its end: each when both its tables are copied and
    /// nothing else is to be done about them, so that no session waits for another's lock. What is not taken stays for its section.
    #[must_use]
    pub fn with_early(mut self, statements: &[Statement], early: &[usize], finished: &HashSet<usize>) -> Self {
        let early: Vec<usize> = early.iter().copied().filter(|i| !finished.contains(i)).collect();
        // What else there is to do about these tables.
        let mut about: HashMap<u32, Vec<usize>> =
            early.iter().filter_map(|i| statements[*i].between).flatten().map(|t| (t, Vec::new())).collect();
        for (i, table) in self.table_of.iter().enumerate() {
            if let (Some(_), Some(list)) = (self.blockers[i], table.and_then(|table| about.get_mut(&table))) {
                list.push(i);
            }
        }
        for &i in &early {
            let Some([table, referenced]) = statements[i].between else { continue };
            let tables = if table == referenced { vec![table] } else { vec![table, referenced] };
            let mut blockers = 0;
            for table in tables {
                self.by_table.entry(table).or_default().push(i);
                blockers += 1;
                for &before in &about[&table] {
                    self.dependents.entry(before).or_default().push(i);
                    blockers += 1;
                }
            }
            // The key that it validates.
            for before in statements[i].needs().filter(|before| self.is_early.contains_key(before)) {
                self.dependents.entry(before).or_default().push(i);
                blockers += 1;
            }
            self.blockers[i] = Some(blockers);
            self.is_early.insert(i, if statements[i].makes() { Vec::new() } else { vec![table, referenced] });
        }
        self
    }

    /// Takes note of what happened to the copy.
    pub fn note(&mut self, signal: &Signal) {
        let freed = match signal {
            Signal::TableCopied { table, bytes } => {
                let is_new = self.bytes.insert(*table, *bytes).is_none();
                if is_new && !self.open.contains_key(table) {
                    self.whole.push(*table);
                }
                self.by_table.remove(table).unwrap_or_default()
            }
            Signal::CopyOver => {
                self.copy_over = true;
                std::mem::take(&mut self.after_copy)
            }
            Signal::StreamRuns => {
                self.global_batch = 1;
                return;
            }
        };
        for i in freed {
            self.unblock(i);
        }
    }

    /// Whether no table will come any more.
    pub fn is_copy_over(&self) -> bool {
        self.copy_over
    }

    /// Whether everything was taken.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Whether there is something to be taken now.
    pub fn has_work(&self) -> bool {
        let none_of_its_own =
            self.heavy.is_empty() && self.tables.is_empty() && (self.global.is_empty() || self.batches && self.global_runs);
        !none_of_its_own || !self.early.is_empty() && !self.is_at_end()
    }

    /// The tables whose rows are there and of whose statements none is left to be executed, each told once.
    pub fn take_whole(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.whole)
    }

    fn unblock(&mut self, i: usize) {
        let Some(count) = self.blockers[i] else { return };
        self.blockers[i] = Some(count - 1);
        if count > 1 {
            return;
        }
        if let Some(tables) = self.is_early.get(&i) {
            let bytes: i64 = tables.iter().filter_map(|table| self.bytes.get(table)).sum();
            // A key is made in no time, and can then be validated.
            let weight = if tables.is_empty() { i64::MAX } else { bytes / VALIDATION };
            self.early.push((weight, Reverse(i)));
            return;
        }
        match self.table_of[i] {
            Some(_) if !self.is_small(i) => self.heavy.push((self.weight(i), Reverse(i))),
            Some(table) => {
                self.tables.insert((table, i));
            }
            None => {
                self.global.insert(i);
            }
        }
    }

    fn weight(&self, i: usize) -> i64 {
        let bytes = self.table_of[i].and_then(|table| self.bytes.get(&table)).copied().unwrap_or(0);
        if self.is_build[i] { bytes } else { 0 }
    }

    fn is_small(&self, i: usize) -> bool {
        self.weight(i) < SMALL
    }

    /// Takes what a free session is to do next, out of `workers` sessions altogether: what takes longest first.
    pub fn take(&mut self, workers: usize) -> Option<Work> {
        if self.early_is_longest() {
            return self.take_early();
        }
        let (statements, kind) = if let Some((_, Reverse(i))) = self.heavy.pop() {
            (vec![i], Kind::Heavy)
        } else if !self.tables.is_empty() {
            // In the order of tables: two sessions that lock several of them never wait for each other in a circle.
            let mut batch = Vec::new();
            let mut bytes = 0;
            while let Some((table, i)) = self.tables.pop_first() {
                bytes += self.weight(i);
                batch.push(i);
                let full = batch.len() >= BATCH || bytes >= BATCH_BYTES || !self.batches;
                // Statements of one table stay together.
                if full && self.tables.first().is_none_or(|(next, _)| *next != table || !self.batches) {
                    break;
                }
            }
            (batch, Kind::Tables)
        } else if self.global.is_empty() || (self.batches && self.global_runs) {
            return self.take_early();
        } else {
            let mut batch = Vec::new();
            while batch.len() < self.global_batch
                && let Some(i) = self.global.pop_first()
            {
                batch.push(i);
            }
            self.global_runs = true;
            (batch, Kind::Global)
        };
        for &i in &statements {
            self.blockers[i] = None;
        }
        self.waiting -= statements.len();
        self.running.push(kind);
        let helpers = if kind == Kind::Heavy { self.helpers(workers) } else { 0 };
        Some(Work { statements, kind, helpers })
    }

    /// How many processes may help the build that was just taken. The last ones run side by side, and one of them takes longer than the
    /// others: without help it would have one core to itself, and leave the others idle, for the difference.
    fn helpers(&self, workers: usize) -> usize {
        let all_copied = self.copy_over || self.by_table.is_empty();
        let at_once = self.running.len() + self.heavy.len();
        if !all_copied || !self.early.is_empty() || at_once > workers {
            return 0;
        }
        workers.div_ceil(at_once).min(workers.saturating_sub(1))
    }

    /// Whether something early takes longer than anything else that is to be done now.
    fn early_is_longest(&self) -> bool {
        let heaviest = self.heavy.peek().map_or(0, |(weight, _)| *weight);
        self.waiting > 0 && self.early.peek().is_some_and(|(weight, _)| *weight > heaviest)
    }

    /// Whether the stream is not to wait for anything more: nobody has anything to do that takes long.
    fn is_at_end(&self) -> bool {
        self.copy_over && self.waiting == 0 && !self.running.contains(&Kind::Heavy)
    }

    /// Takes something early, as long as others have something to do.
    fn take_early(&mut self) -> Option<Work> {
        if self.is_at_end() {
            return None;
        }
        let (_, Reverse(i)) = self.early.pop()?;
        self.blockers[i] = None;
        self.running.push(Kind::Early);
        Some(Work { statements: vec![i], kind: Kind::Early, helpers: 0 })
    }

    /// The work is done, well or not: what waited for it may go on.
    pub fn finish(&mut self, work: &Work) {
        if let Some(at) = self.running.iter().position(|kind| *kind == work.kind) {
            self.running.swap_remove(at);
        }
        if work.kind == Kind::Global {
            self.global_runs = false;
        }
        for i in &work.statements {
            for dependent in self.dependents.remove(i).unwrap_or_default() {
                self.unblock(dependent);
            }
            let Some(table) = self.table_of[*i] else { continue };
            if let Some(open) = self.open.get_mut(&table) {
                *open -= 1;
                if *open == 0 {
                    self.open.remove(&table);
                    self.whole.push(table);
                }
            }
        }
    }
}

/// Whether a statement reads the whole table to build something.
fn is_build(statement: &Statement) -> bool {
    match statement.object.class {
        "index" => statement.sql.contains("CREATE "),
        "constraint" => statement.sql.contains(" ADD CONSTRAINT "),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::draft::Part;
    use crate::plan::{ObjectName, Section};

    fn statement(table: Option<u32>, after: &[u32]) -> Statement {
        Statement {
            sql: "CREATE INDEX".into(),
            secret: None,
            object: ObjectName { class: "index", schema: String::new(), parent: String::new(), name: String::new() }.into(),
            part: Part::Create,
            section: Section::AfterData,
            table,
            between: None,
            done_when: None,
            undo: None,
            after: after.into(),
        }
    }

    fn copied(table: u32, bytes: i64) -> Signal {
        Signal::TableCopied { table, bytes }
    }

    fn queue(statements: &[Statement]) -> Queue {
        Queue::new(statements, 0..statements.len(), &HashSet::new(), true)
    }

    const LARGE: i64 = 100 << 20;

    #[test]
    fn a_statement_waits_for_its_table_and_its_predecessors() {
        let statements = [statement(Some(7), &[]), statement(Some(7), &[0]), statement(Some(8), &[]), statement(None, &[2])];
        let mut queue = queue(&statements);
        assert_eq!(queue.take(2), None);
        queue.note(&copied(7, LARGE));
        let first = queue.take(2).expect("its table is there");
        assert_eq!(first.statements, [0]);
        assert_eq!(queue.take(2), None, "its predecessor still runs");
        queue.finish(&first);
        assert_eq!(queue.take(2).expect("the predecessor is done").statements, [1]);
        queue.note(&Signal::CopyOver);
        assert_eq!(queue.take(2), None, "table 8 never came, and 3 waits for 2");
        assert!(!queue.is_empty());
    }

    #[test]
    fn what_is_done_is_not_done_again() {
        let statements = [statement(Some(7), &[]), statement(Some(7), &[0])];
        let mut queue = Queue::new(&statements, 0..2, &HashSet::from([0]), true);
        queue.note(&copied(7, 1));
        assert_eq!(queue.take(2).expect("its predecessor was done before").statements, [1]);
    }

    #[test]
    fn the_largest_comes_first_and_small_ones_go_together() {
        let statements: Vec<Statement> = (0..5).map(|table| statement(Some(table), &[])).collect();
        let mut queue = queue(&statements);
        for (table, bytes) in [(0, 10), (1, LARGE), (2, 2 * LARGE), (3, 10), (4, 10)] {
            queue.note(&copied(table, bytes));
        }
        let mut order = Vec::new();
        while let Some(work) = queue.take(2) {
            order.push(work.statements);
        }
        assert_eq!(order, [vec![2], vec![1], vec![0, 3, 4]]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_table_is_whole_when_its_rows_are_there_and_its_last_statement_is_finished() {
        let statements = [statement(Some(7), &[]), statement(Some(7), &[0]), statement(Some(8), &[])];
        let mut queue = Queue::new(&statements, 0..3, &HashSet::from([2]), true);
        assert!(!queue.has_work());
        queue.note(&copied(7, LARGE));
        queue.note(&copied(8, 1));
        queue.note(&copied(9, 1));
        assert_eq!(queue.take_whole(), [8, 9], "nothing was left to do for the one, and there is nothing for the other");
        queue.note(&copied(9, 1));
        for whole in [&[][..], &[7]] {
            assert!(queue.has_work());
            let work = queue.take(2).expect("it is there");
            assert!(!queue.has_work() && queue.take_whole().is_empty());
            queue.finish(&work);
            assert_eq!(queue.take_whole(), whole);
        }
    }

    #[test]
    fn what_may_touch_anything_runs_on_one_session() {
        let statements: Vec<Statement> = (0..=BATCH).map(|_| statement(None, &[])).collect();
        let mut queue = queue(&statements);
        queue.note(&Signal::CopyOver);
        let first = queue.take(2).expect("the copy is over");
        assert_eq!(first.statements.len(), BATCH);
        assert_eq!(queue.take(2), None);
        queue.finish(&first);
        assert_eq!(queue.take(2).map(|w| w.statements.len()), Some(1));
    }

    #[test]
    fn beside_a_stream_nothing_shares_a_transaction_that_may_touch_its_tables() {
        let mut statements: Vec<Statement> = (0..3).map(|_| statement(None, &[])).collect();
        statements.extend([statement(Some(1), &[]), statement(Some(2), &[])]);
        let mut queue = queue(&statements);
        queue.note(&Signal::StreamRuns);
        queue.note(&copied(1, 10));
        queue.note(&copied(2, 10));
        queue.note(&Signal::CopyOver);
        let tables = queue.take(4).expect("their stream has not begun");
        assert_eq!(tables.statements, [3, 4]);
        for one in 0..3 {
            let work = queue.take(4).expect("the copy is over");
            assert_eq!(work.statements, [one]);
            assert_eq!(queue.take(4), None, "one at a time, so that they do not collide");
            queue.finish(&work);
        }
    }

    #[test]
    fn only_the_last_builds_get_help() {
        let statements: Vec<Statement> = (0..5).map(|table| statement(Some(table), &[])).collect();
        let mut queue = queue(&statements);
        for table in 0..4 {
            queue.note(&copied(table, LARGE));
        }
        let helpers = |queue: &mut Queue, workers| {
            let work = queue.take(workers)?;
            queue.finish(&work);
            Some(work.helpers)
        };
        assert_eq!(helpers(&mut queue, 4), Some(0), "another table may come");
        queue.note(&copied(4, LARGE));
        assert_eq!(helpers(&mut queue, 3), Some(0), "one of four has to wait for a session");
        assert_eq!(helpers(&mut queue, 3), Some(1), "three side by side");
        let first = queue.take(2).expect("one of the last two");
        assert_eq!((first.helpers, helpers(&mut queue, 2)), (1, Some(1)), "one is over before the other");
        assert!(queue.is_empty());
    }

    #[test]
    fn the_very_last_build_gets_all_cores_and_one_core_helps_nobody() {
        for (workers, helpers) in [(1, 0), (2, 1), (8, 7)] {
            let statements = [statement(Some(1), &[])];
            let mut queue = queue(&statements);
            queue.note(&copied(1, LARGE));
            assert_eq!(queue.take(workers).map(|work| work.helpers), Some(helpers));
        }
    }

    /// A key of table 1, its validation, and an index of each of two tables.
    fn with_foreign_key() -> Vec<Statement> {
        let between = Some([1, 2]);
        let making = Statement { between, section: Section::AfterStreaming, ..statement(None, &[1]) };
        let validating = Statement { part: Part::Validate, after: [2].into(), ..making.clone() };
        vec![statement(Some(1), &[]), statement(Some(2), &[]), making, validating]
    }

    #[test]
    fn a_foreign_key_is_made_as_soon_as_its_tables_are_done() {
        let statements = with_foreign_key();
        let mut queue = Queue::new(&statements, 0..2, &HashSet::new(), true).with_early(&statements, &[2, 3], &HashSet::new());
        queue.note(&copied(1, LARGE));
        queue.note(&copied(2, LARGE));
        let (first, second) = (queue.take(4).expect("an index"), queue.take(4).expect("another"));
        queue.finish(&first);
        assert_eq!(queue.take(4), None, "the other table's index is still being built");
        queue.finish(&second);
        let making = queue.take(4).expect("both tables are done");
        assert_eq!(making.statements, [2]);
        assert_eq!(queue.take(4), None, "it is still being made");
        queue.finish(&making);
        assert_eq!(queue.take(4).expect("it is made").statements, [3]);
        assert!(queue.is_empty(), "nobody waits for what is early");
    }

    #[test]
    fn a_foreign_key_that_takes_longer_comes_before_the_rest() {
        let mut statements = with_foreign_key();
        statements.push(statement(Some(3), &[]));
        statements.push(statement(Some(4), &[]));
        let mut queue =
            Queue::new(&statements, [0, 1, 4, 5], &HashSet::new(), true).with_early(&statements, &[2, 3], &HashSet::from([2]));
        for (table, bytes) in [(1, LARGE), (2, LARGE), (3, LARGE / 4), (4, 10)] {
            queue.note(&copied(table, bytes));
        }
        queue.note(&Signal::CopyOver);
        let (first, second) = (queue.take(2).expect("an index"), queue.take(2).expect("another"));
        queue.finish(&first);
        queue.finish(&second);
        let order: Vec<Vec<usize>> = std::iter::from_fn(|| queue.take(2)).map(|work| work.statements).collect();
        assert_eq!(order, [vec![3], vec![4], vec![5]]);
    }

    #[test]
    fn nobody_waits_for_a_foreign_key_at_the_end() {
        let mut statements = with_foreign_key();
        statements.push(statement(Some(3), &[]));
        let mut queue =
            Queue::new(&statements, [0, 1, 4], &HashSet::new(), true).with_early(&statements, &[2, 3], &HashSet::from([2]));
        for (table, bytes) in [(1, LARGE), (2, LARGE), (3, 3 * LARGE)] {
            queue.note(&copied(table, bytes));
        }
        queue.note(&Signal::CopyOver);
        let running: Vec<Work> = std::iter::from_fn(|| queue.take(4)).collect();
        assert_eq!(running.iter().map(|work| work.statements[0]).collect::<Vec<_>>(), [4, 0, 1]);
        queue.finish(&running[1]);
        queue.finish(&running[2]);
        queue.finish(&running[0]);
        assert_eq!(queue.take(4), None, "the stream may begin: nothing else is left to do");
    }

    #[test]
    fn without_batches_statements_go_one_by_one() {
        let statements: Vec<Statement> = (0..3).map(|_| statement(None, &[])).collect();
        let mut queue = Queue::new(&statements, 0..3, &HashSet::new(), false);
        queue.note(&Signal::CopyOver);
        let taken: Vec<usize> = std::iter::from_fn(|| queue.take(2)).flat_map(|w| w.statements).collect();
        assert_eq!(taken, [0, 1, 2]);
    }
}
