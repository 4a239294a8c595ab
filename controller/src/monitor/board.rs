//! The board: one mapping's state in memory, as its reconcilers last saw it. It decides nothing; it is what gets shown.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::readiness::{Beside, Check, Proof};
use super::wal_guard::Kept;
use crate::copy::Table;
use crate::copy::pipe::Progress;
use crate::finding::Finding;
use crate::postgres::Lsn;
use crate::stream::sequences::{self, Value, Values};
use crate::verify::history::Seen;

/// `migrator.status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Not begun.
    Pending,
    /// Copying, building, or applying what has gathered.
    InCatchup,
    /// In step.
    Synced,
    /// In step, and every fact needed for the switch holds.
    CutoverReady,
    /// Something needs attention.
    Problematic,
    /// Done and cleaned up.
    Complete,
}

impl Status {
    /// The word in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InCatchup => "in_catchup",
            Self::Synced => "synced",
            Self::CutoverReady => "cutover_ready",
            Self::Problematic => "problematic",
            Self::Complete => "complete",
        }
    }
}

/// What a database is being brought through; shown, never stored as a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Not begun.
    #[default]
    Pending,
    /// Refused by a check; looked at again from time to time.
    Refused,
    /// Making the database and its schema.
    Schema,
    /// Making publication, slot and subscription.
    Connecting,
    /// Copying tables and building their indexes.
    Copying,
    /// Building what is left of indexes and keys.
    Building,
    /// The stream applies what gathered during the copy.
    CatchingUp,
    /// Foreign keys and materialized views.
    Finishing,
    /// The stream is in step.
    Streaming,
    /// The operator asked to pause.
    Paused,
    /// A cutover is under way.
    CuttingOver,
    /// Switched over; waits for completion.
    CutOver,
    /// Cleanup is under way.
    Completing,
    /// All done.
    Complete,
}

impl Phase {
    /// The word shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Refused => "refused",
            Self::Schema => "schema",
            Self::Connecting => "connecting",
            Self::Copying => "copying",
            Self::Building => "building",
            Self::CatchingUp => "catching_up",
            Self::Finishing => "finishing",
            Self::Streaming => "streaming",
            Self::Paused => "paused",
            Self::CuttingOver => "cutting_over",
            Self::CutOver => "cut_over",
            Self::Completing => "completing",
            Self::Complete => "complete",
        }
    }
}

/// Where one table stands.
#[derive(Debug, Clone)]
pub enum TableStage {
    /// Not begun.
    Pending,
    /// Being copied.
    Copying(Arc<Progress>),
    /// Copied and attached; its stream has not passed this position yet.
    Attached(Lsn),
    /// In step.
    Streaming,
    /// Could not be copied.
    Failed(String),
}

/// One table.
#[derive(Debug, Clone)]
pub struct TableView {
    /// Size on the source, bytes.
    pub bytes: i64,
    /// Rows copied, once known.
    pub rows: i64,
    /// `pg_class.relreplident` in words.
    pub replica_identity: String,
    /// Where it stands.
    pub stage: TableStage,
    /// How it looked when it was last shown.
    shown: Option<Look>,
}

/// What of a table changes while it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    /// Whatever was shown before this turned to another number has to be shown again.
    epoch: u64,
    stage: std::mem::Discriminant<TableStage>,
    /// Where it was attached, or why it failed, as a number.
    detail: u64,
    is_complete: bool,
    bytes: i64,
    bytes_copied: i64,
    rows: i64,
}

/// How far the stream is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Lag {
    /// The source's position.
    pub source: Lsn,
    /// What the destination has confirmed.
    pub applied: Lsn,
    /// Bytes between them.
    pub bytes: u64,
    /// Age of the oldest change not applied, where known.
    pub age: Option<Duration>,
    /// Log that the source keeps for our slot.
    pub retained: u64,
}

/// One database.
#[derive(Debug, Default)]
pub struct DatabaseView {
    /// What it is being brought through.
    pub phase: Phase,
    /// What it waits for.
    pub waiting_for: Option<String>,
    /// Its tables, by schema and name.
    pub tables: BTreeMap<(String, String), TableView>,
    /// Statements of the plan.
    pub statements_total: usize,
    /// Statements executed or found done.
    pub statements_done: usize,
    /// How far the stream is, once there is one.
    pub lag: Option<Lag>,
    /// What the source keeps for it, against what it may.
    pub wal: Option<Kept>,
    /// The facts of readiness, as last established.
    pub checks: Vec<Check>,
    /// Until when those facts may be believed: whoever establishes them may hang.
    pub believe_until: Option<Instant>,
    /// What travels beside the stream, once it was looked at.
    pub beside: Option<Beside>,
    /// What of it had to be proved equal, once that was tried.
    pub proof: Option<Proof>,
    /// Where both servers were at the last look.
    pub history: Option<Seen>,
    /// By stream, how many rows it missed that were then seen to be missing on the source as well.
    pub missing_harmless: Vec<(usize, i64)>,
    /// Tables of such streams that could not be compared, since they are being written to.
    pub missing_doubts: Vec<crate::verify::Doubt>,
    /// Findings by the part that found them: each part replaces its own.
    pub findings: BTreeMap<&'static str, Vec<Finding>>,
    /// Sequences as last carried over.
    pub sequences: Values,
    /// As they were last shown, and in which epoch.
    sequences_shown: (u64, Values),
    /// When copying began, for the estimate.
    pub copy_began: Option<Instant>,
    /// Bytes (of the source's tables) that were attached when copying began.
    pub bytes_at_start: i64,
}

impl DatabaseView {
    /// The facts of readiness, unless they are too old to be believed.
    pub fn believed_checks(&self) -> &[Check] {
        if self.believe_until.is_some_and(|until| Instant::now() <= until) { &self.checks } else { &[] }
    }

    /// Bytes of the source's tables, and how many of them are over; a table in mid-copy counts by its COPY bytes, which
    /// are not its file's size, up to that size.
    pub fn bytes(&self) -> (i64, i64) {
        let mut total = 0;
        let mut copied = 0;
        for table in self.tables.values() {
            total += table.bytes;
            copied += table.bytes_copied();
        }
        (total, copied)
    }

    /// Where it stands, in one word.
    pub fn status(&self) -> Status {
        let failed = self.tables.values().any(|t| matches!(t.stage, TableStage::Failed(_)));
        let errors = self.findings.values().flatten().any(|f| f.severity == crate::finding::Severity::Error);
        match self.phase {
            Phase::Complete => Status::Complete,
            _ if failed || errors || self.phase == Phase::Refused => Status::Problematic,
            Phase::Pending | Phase::Schema | Phase::Connecting => Status::Pending,
            Phase::Copying | Phase::Building | Phase::CatchingUp | Phase::Finishing | Phase::Paused | Phase::Refused => {
                Status::InCatchup
            }
            Phase::Streaming if !self.believed_checks().is_empty() && self.believed_checks().iter().all(|c| c.ok) => {
                Status::CutoverReady
            }
            Phase::Streaming | Phase::CuttingOver | Phase::CutOver | Phase::Completing => Status::Synced,
        }
    }

    /// Puts the tables of the source on the board, keeping what is known of those that are there already.
    pub fn set_tables(&mut self, tables: &[Table]) {
        let mut fresh = BTreeMap::new();
        for table in tables {
            let key = (table.schema.clone(), table.name.clone());
            let mut view = self.tables.remove(&key).unwrap_or(TableView {
                bytes: 0,
                rows: 0,
                replica_identity: String::new(),
                stage: TableStage::Pending,
                shown: None,
            });
            view.bytes = table.bytes;
            let replica_identity = table.replica_identity.clause().to_lowercase();
            if view.replica_identity != replica_identity {
                view.replica_identity = replica_identity;
                view.shown = None;
            }
            fresh.insert(key, view);
        }
        self.tables = fresh;
    }

    /// Sequences with another value than when this was last asked in the same epoch.
    pub fn new_sequences(&mut self, epoch: u64) -> Vec<((String, String), Value)> {
        let (shown_in, shown) = &mut self.sequences_shown;
        if *shown_in != epoch {
            shown.clear();
            *shown_in = epoch;
        }
        let new: Vec<_> =
            sequences::changed(&self.sequences, shown).into_iter().map(|(name, value)| (name.clone(), *value)).collect();
        shown.extend(new.iter().cloned());
        new
    }

    /// Changes one table's stage.
    pub fn set_stage(&mut self, schema: &str, name: &str, stage: TableStage) {
        if let Some(view) = self.tables.get_mut(&(schema.to_owned(), name.to_owned())) {
            if let TableStage::Copying(progress) = &view.stage {
                view.rows = progress.rows.load(Ordering::Relaxed) as i64;
            }
            view.stage = stage;
        }
    }
}

impl TableView {
    /// Whether it looks otherwise than when this was last asked in the same epoch.
    pub fn looks_new(&mut self, epoch: u64, is_complete: bool) -> bool {
        let rows = match &self.stage {
            TableStage::Copying(progress) => progress.rows.load(Ordering::Relaxed) as i64,
            _ => self.rows,
        };
        let detail = match &self.stage {
            TableStage::Attached(lsn) => lsn.0,
            TableStage::Failed(reason) => {
                let mut hasher = DefaultHasher::new();
                reason.hash(&mut hasher);
                hasher.finish()
            }
            TableStage::Pending | TableStage::Copying(_) | TableStage::Streaming => 0,
        };
        let (stage, bytes, bytes_copied) = (std::mem::discriminant(&self.stage), self.bytes, self.bytes_copied());
        let look = Some(Look { epoch, stage, detail, is_complete, bytes, bytes_copied, rows });
        std::mem::replace(&mut self.shown, look) != look
    }

    /// Bytes of its size on the source that are over.
    pub fn bytes_copied(&self) -> i64 {
        match &self.stage {
            TableStage::Pending | TableStage::Failed(_) => 0,
            TableStage::Copying(progress) => (progress.bytes.load(Ordering::Relaxed) as i64).min(self.bytes),
            TableStage::Attached(_) | TableStage::Streaming => self.bytes,
        }
    }
}

/// How fast a mapping may copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PaceView {
    /// Bytes a second, of all mappings of the source together; none for no limit.
    pub limit: Option<u64>,
    /// What slows it down beside the setting, in words.
    pub slowed_down_by: Option<String>,
}

/// One line of the log that operators read.
#[derive(Debug, Clone)]
pub struct Event {
    /// The database it is about; empty for the mapping.
    pub database: String,
    /// `info`, `warning` or `error`.
    pub level: &'static str,
    /// What happened.
    pub message: String,
}

/// Everything shown of one mapping.
#[derive(Debug, Default)]
pub struct View {
    /// Its databases, by name on the source.
    pub databases: BTreeMap<String, DatabaseView>,
    /// Findings about the mapping as a whole, by the part that found them.
    pub findings: BTreeMap<&'static str, Vec<Finding>>,
    /// What became of the roles: name, state, problem.
    pub roles: BTreeMap<String, (&'static str, Option<String>)>,
    /// What the mapping as a whole is doing, where that is not what its databases do.
    pub phase: Option<Phase>,
    /// How the copy is slowed down.
    pub pace: PaceView,
    /// Not yet written to the control database.
    pub events: Vec<Event>,
    /// Whatever was shown in an earlier epoch counts as not shown. Kept here, since the marks that refer to it are kept here too.
    pub epoch: u64,
}

impl View {
    /// How many databases do not stream yet.
    pub fn being_filled(&self) -> usize {
        let filled = [Phase::Pending, Phase::Schema, Phase::Connecting, Phase::Copying, Phase::Building];
        self.databases.values().filter(|database| filled.contains(&database.phase)).count()
    }
}

/// A [`View`] that the tasks of a mapping share. Locked for moments only, never over an await.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<View>>);

impl Board {
    /// Locks the view.
    pub fn lock(&self) -> MutexGuard<'_, View> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a database, from its beginning. What was established of it before says nothing any more.
    pub fn begin_database(&self, name: &str) {
        let mut view = self.lock();
        let database = view.databases.entry(name.to_owned()).or_default();
        database.phase = Phase::Pending;
        database.checks.clear();
    }

    /// Works on one database's view. One that is not shown, since it never began or is gone, has an empty one, which nobody keeps.
    pub fn database<T>(&self, name: &str, work: impl FnOnce(&mut DatabaseView) -> T) -> T {
        match self.lock().databases.get_mut(name) {
            Some(view) => work(view),
            None => work(&mut DatabaseView::default()),
        }
    }

    /// Sets a database's phase, and says so if it is another one. It waits for nothing.
    pub fn set_phase(&self, database: &str, phase: Phase) {
        self.set_phase_waiting(database, phase, None);
    }

    /// Sets a database's phase and what it waits for, and says so if they are others.
    pub fn set_phase_waiting(&self, database: &str, phase: Phase, waiting_for: Option<String>) {
        let mut view = self.lock();
        let Some(entry) = view.databases.get_mut(database) else { return };
        if let Some(what) = waiting_for.as_ref().filter(|what| entry.waiting_for.as_ref() != Some(what)) {
            tracing::info!("waiting for {what}");
        }
        entry.waiting_for = waiting_for;
        if entry.phase != phase {
            entry.phase = phase;
            tracing::info!(phase = phase.as_str(), "phase");
            view.events.push(Event {
                database: database.to_owned(),
                level: "info",
                message: format!("phase {}", phase.as_str()),
            });
        }
    }

    /// Says what a database waits for.
    pub fn set_waiting(&self, database: &str, what: Option<String>) {
        self.database(database, |view| {
            if let Some(what) = &what
                && view.waiting_for.as_ref() != Some(what)
            {
                tracing::info!("waiting for {what}");
            }
            view.waiting_for = what;
        });
    }

    /// Replaces what one part has found in a database.
    pub fn set_findings(&self, database: &str, part: &'static str, findings: Vec<Finding>) {
        self.database(database, |view| {
            let old = view.findings.insert(part, findings).unwrap_or_default();
            for finding in view.findings[part].iter().filter(|f| !old.contains(f)) {
                tracing::warn!(code = %finding.code, object = finding.object, "{} Fix: {}", finding.reason, finding.fix);
            }
        });
    }

    /// Adds to what one part has found in a database, replacing a finding about the same object.
    pub fn add_finding(&self, part: &'static str, finding: Finding) {
        let database = finding.database.clone();
        let mut findings = self.database(&database, |view| view.findings.get(part).cloned().unwrap_or_default());
        findings.retain(|f| f.object != finding.object || f.code != finding.code);
        findings.push(finding);
        self.set_findings(&database, part, findings);
    }

    /// Replaces what one part has found about the mapping as a whole.
    pub fn set_mapping_findings(&self, part: &'static str, findings: Vec<Finding>) {
        let mut view = self.lock();
        let old = view.findings.insert(part, findings).unwrap_or_default();
        for finding in view.findings[part].iter().filter(|f| !old.contains(f)) {
            tracing::warn!(code = %finding.code, object = finding.object, "{} Fix: {}", finding.reason, finding.fix);
        }
    }

    /// Writes a line for operators, here and in the log.
    pub fn event(&self, database: &str, level: &'static str, message: String) {
        match level {
            "error" => tracing::error!("{message}"),
            "warning" => tracing::warn!("{message}"),
            _ => tracing::info!("{message}"),
        }
        self.lock().events.push(Event { database: database.to_owned(), level, message });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_database_that_is_gone_does_not_bring_it_back() {
        let board = Board::default();
        board.begin_database("there");
        board.set_waiting("there", Some("its turn".to_owned()));
        board.lock().databases.clear();
        board.set_phase("there", Phase::Copying);
        board.set_findings("there", "step", Vec::new());
        board.database("there", |view| view.statements_done += 1);
        assert!(board.lock().databases.is_empty());
        board.begin_database("there");
        assert_eq!(board.database("there", |view| view.waiting_for.clone()), None);
    }

    #[test]
    fn a_table_is_shown_again_when_it_looks_otherwise_and_in_a_new_epoch() {
        let mut view = TableView { bytes: 10, rows: 0, replica_identity: String::new(), stage: TableStage::Pending, shown: None };
        assert!(view.looks_new(0, false));
        assert!(!view.looks_new(0, false));
        view.stage = TableStage::Attached(Lsn(1));
        assert!(view.looks_new(0, false));
        view.stage = TableStage::Attached(Lsn(2));
        assert!(view.looks_new(0, false));
        view.stage = TableStage::Failed("one".into());
        assert!(view.looks_new(0, false));
        view.stage = TableStage::Failed("another".into());
        assert!(view.looks_new(0, false));
        assert!(!view.looks_new(0, false));
        assert!(view.looks_new(1, false), "what was written before an error counts as lost");
    }
}
