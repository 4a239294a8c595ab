//! Watching a database that streams: how far it is, whether every fact needed for a switch holds, its sequences.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::Context;
use super::reconnect::{Deaf, Unconnected};
use crate::copy::{Table, table};
use crate::finding::{Code, Severity};
use crate::monitor::board::{Lag, Phase, TableStage};
use crate::monitor::drift;
use crate::monitor::failing::Failing;
use crate::monitor::lag::Clock;
use crate::monitor::readiness::{self, Facts};
use crate::postgres::{Lsn, Session};
use crate::stream::sequences::{self, Carry};
use crate::stream::slot::{self, Slot};
use crate::stream::subscription::{self, TableState};
use crate::stream::{Names, options, publication};
use crate::verify::carried::{self, InDoubt, Place};

/// The source's tables are read again, and both schemas compared, at every so manieth tick, whether anything is known to have changed or not:
/// it reads whole catalogs.
const SLOW_TICKS: u64 = 15;
/// While the stream is behind, so many of those looks are put off.
const SLOW_LOOKS_PUT_OFF: u64 = 4;
/// Up to so many sequences are carried over at every tick; more of them at the slow ticks.
const SEQUENCES_AT_EVERY_TICK: usize = 500;
/// So many names are told of what is amiss.
const NAMES_TOLD: usize = 5;

/// What a watcher remembers between ticks: only for measuring, never for deciding what to do.
#[derive(Debug, Default)]
pub struct Watcher {
    ticks: u64,
    /// Slow looks that are still to be taken.
    slow_looks_due: u64,
    /// A backlog is being drained, and has not been for long.
    leaves_alone: bool,
    clock: Clock,
    /// The marker that has not come through yet: its end, and when it was emitted.
    marker: Option<(Lsn, Instant)>,
    /// When the youngest marker that came through was emitted.
    marker_through: Option<Instant>,
    /// Since when the lag has been below the limit.
    below_since: Option<Instant>,
    apply_errors: Option<i64>,
    failing: HashMap<u32, Failing>,
    stuck: Vec<usize>,
    missing: Vec<(usize, i64)>,
    recent_error: Option<(Instant, String)>,
    unconnected: Unconnected,
    deaf: Deaf,
    catalogs: drift::Watch,
    drift: Vec<String>,
    /// Tables that something has happened to since they were copied.
    in_doubt: Vec<InDoubt>,
    /// All of them are since the last look.
    has_forked: bool,
    states: HashMap<(String, String), TableState>,
    sequences: sequences::Values,
    sequences_error: Option<String>,
}

/// The streams of a database, to be looked at as one: it is as far as the last of them.
#[derive(Debug, Clone, Copy)]
pub struct Stream<'a> {
    /// The mapping.
    pub context: &'a Context,
    /// The database.
    pub database: &'a str,
    /// The names of its streams.
    pub names: &'a [Names],
    /// OIDs of their subscriptions; none for a stream that has not begun.
    pub subscriptions: &'a [Option<u32>],
    /// Session on the source's database.
    pub source: &'a Session,
    /// Session on the destination's database.
    pub destination: &'a Session,
}

/// What a tick found, as far as the loop needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As before.
    Same,
    /// Something is no longer as it should be: observe anew.
    Changed,
    /// This stream's tables can't travel in binary form any more, and do.
    Unsafe(usize),
    /// This stream's worker fails at the same change again and again.
    Failing(usize),
}

/// The statement that asks how the streams' workers do. Their errors are counted since the statistics were reset.
const WORKER: &str = include_str!("workers.sql");

const SOURCE: &str = include_str!("source.sql");

/// How the workers of enabled subscriptions do.
struct Workers(Vec<Worker>);

struct Worker {
    subscription: u32,
    binary: bool,
    running: bool,
    /// Failures counted since the statistics were reset.
    errors: i64,
    /// Updates and deletes of rows that were not there.
    missing: i64,
    applied: Lsn,
}

/// By place in `subscriptions`: how many updates and deletes were of rows that are not there.
pub async fn missing(destination: &Client, subscriptions: &[u32]) -> Result<Vec<(usize, i64)>, tokio_postgres::Error> {
    let all: Vec<Option<u32>> = subscriptions.iter().copied().map(Some).collect();
    Ok(Workers::look(destination, subscriptions).await?.missing(&all))
}

impl Workers {
    async fn look(destination: &Client, subscriptions: &[u32]) -> Result<Self, tokio_postgres::Error> {
        let rows = destination.query(WORKER, &[&subscriptions]).await?;
        Ok(Self(
            rows.iter()
                .map(|row| Worker {
                    subscription: row.get("oid"),
                    binary: row.get("binary"),
                    running: row.get("running"),
                    errors: row.get("errors"),
                    missing: row.get("missing"),
                    applied: row.get("applied"),
                })
                .collect(),
        ))
    }

    fn errors(&self) -> i64 {
        self.0.iter().map(|w| w.errors).sum()
    }

    /// By stream: updates and deletes of rows that were not there. The server goes on after such a change, and so nobody would ever know.
    fn missing(&self, subscriptions: &[Option<u32>]) -> Vec<(usize, i64)> {
        let lacking = self.0.iter().filter(|worker| worker.missing > 0);
        lacking.filter_map(|w| Some((subscriptions.iter().position(|s| *s == Some(w.subscription))?, w.missing))).collect()
    }
}

/// Emits a marker: a message in the log that nobody applies, whose position the destination must pass.
pub async fn emit_marker(source: &Client, text: &str) -> Result<Lsn, tokio_postgres::Error> {
    let row = source.query_one("SELECT pg_catalog.pg_logical_emit_message(true, 'pg-migrator', $1)", &[&text]).await?;
    Ok(row.get(0))
}

impl Watcher {
    /// Looks once. `statements_open` is what the plan still has to do.
    pub async fn tick(&mut self, stream: &Stream<'_>, statements_open: usize) -> Result<Outcome, tokio_postgres::Error> {
        let Stream { context, database, names, subscriptions, source, destination } = *stream;
        let now = Instant::now();
        self.slow_looks_due += u64::from(self.ticks.is_multiple_of(SLOW_TICKS));
        self.ticks += 1;

        let begun: Vec<(usize, u32)> = subscriptions.iter().enumerate().filter_map(|(i, s)| Some((i, (*s)?))).collect();
        let oids: Vec<u32> = begun.iter().map(|(_, subscription)| *subscription).collect();
        let workers = Workers::look(destination, &oids).await?;
        if workers.0.len() != oids.len() {
            return Ok(Outcome::Changed);
        }
        let at_source = source.query_one(SOURCE, &[]).await?;
        let source_lsn: Lsn = at_source.get("lsn");
        let slots = slot::observe_all(source, names).await?;
        let Some((active, confirmed, restart)) = last_of(begun.iter().map(|(stream, _)| &slots[*stream])) else {
            return Ok(Outcome::Changed);
        };
        let in_use = |stream: usize| matches!(slots[stream], Slot::Present { active: true, .. });
        let used = begun.iter().map(|(stream, subscription)| (*subscription, in_use(*stream)));
        self.unconnected.end_stuck(destination, used).await?;

        self.clock.note(now, source_lsn);
        let lag = Lag {
            source: source_lsn,
            applied: confirmed,
            bytes: source_lsn.bytes_since(confirmed),
            age: self.clock.age(now, confirmed),
            retained: source_lsn.bytes_since(restart),
        };
        self.note_marker(now, confirmed);
        if self.marker.is_none() {
            self.marker = Some((emit_marker(source, "tick").await?, now));
        }
        let behind_for = self.marker.map_or(Duration::ZERO, |(_, emitted)| now.duration_since(emitted));
        let streams = begun.iter().map(|(stream, subscription)| (*subscription, names[*stream].slot.as_str()));
        self.deaf.end(source, destination, streams, behind_for).await?;
        self.note_lag(now, lag.bytes, context.settings.max_lag_bytes);
        self.note_errors(now, workers.errors());
        // A backlog has the servers to itself for a while.
        self.leaves_alone = lag.bytes > context.settings.max_lag_bytes && self.slow_looks_due <= SLOW_LOOKS_PUT_OFF;
        let slow = self.slow_looks_due > 0 && !self.leaves_alone;
        if slow {
            self.slow_looks_due = 0;
        }

        // Nobody is told that all is ready by what the schemas were a while ago.
        let look = slow || !self.leaves_alone && self.catalogs.is_due(now);
        let changed = if look { self.catalogs.look(source, destination).await? } else { None };
        let compare = slow || changed.is_some() || self.has_forked;
        let look_at_tables = compare || !self.in_step() || self.states.is_empty();
        if look_at_tables {
            let mut states = HashMap::new();
            for subscription in &oids {
                states.extend(subscription::tables(destination, *subscription).await?);
            }
            self.states = states;
        }
        let mut tables_of_source = None;
        let place = Place { control: &context.control, mapping: &context.mapping, database };
        if compare {
            let (ours, theirs) = (table::read(source).await?, table::read(destination).await?);
            let published = publication::observe_all(source, names).await?;
            let tables = |have_begun: bool| {
                let of = published.iter().zip(subscriptions).filter(|(_, subscription)| subscription.is_some() == have_begun);
                publication::tables(of.map(|(published, _)| published))
            };
            let others = tables(false);
            self.drift = if others.is_empty() {
                drift::differences(&ours, &theirs, &self.states, &tables(true))
            } else {
                let (ours, theirs) = drift::without(&ours, &theirs, &others);
                drift::differences(&ours, &theirs, &self.states, &tables(true))
            };
            // All that is written down is in doubt after a fork, also tables that are gone.
            if changed.is_some() || self.has_forked {
                let is_attached = |schema: &str, name: &str| self.is_attached(schema, name);
                place.look(source, names, &theirs, is_attached).await?;
            }
            self.catalogs.compared(changed);
            tables_of_source = Some(ours);
            for (stream, subscription) in &begun {
                let binary = workers.0.iter().any(|w| w.subscription == *subscription && w.binary);
                if binary && !options::unsafe_in_binary(source, &names[*stream]).await?.is_empty() {
                    return Ok(Outcome::Unsafe(*stream));
                }
            }
        }
        if compare || self.has_forked || !self.in_doubt.is_empty() {
            self.in_doubt = place.in_doubt().await?;
            self.has_forked = false;
            context.board.set_findings(database, "incidents", carried::findings(&self.in_doubt, &context.mapping, database));
        }
        let sequences_error = self.carry_sequences(source, destination, slow).await;

        let mut facts = Facts {
            tables: self.states.len(),
            tables_ready: self.states.values().filter(|s| **s == TableState::Ready).count(),
            tables_not_ready: Vec::new(),
            slot_active: active,
            worker_running: workers.0.iter().all(|w| w.running),
            recent_error: self.recent_error.as_ref().map(|(_, text)| text.clone()),
            marker_age: self.marker_through.map(|t| now.duration_since(t)),
            marker_limit: (context.tick * 3).max(Duration::from_secs(10)),
            lag_bytes: lag.bytes,
            max_lag_bytes: context.settings.max_lag_bytes,
            below_limit_for: self.below_since.map_or(Duration::ZERO, |t| now.duration_since(t)),
            stable_for: context.settings.stable_for,
            drift: self.drift.clone(),
            sequences: self.sequences.len(),
            sequences_error,
            prepared_transactions: at_source.get("prepared"),
            statements_open,
            errors: Vec::new(),
            beside: None,
            proof: None,
        };
        context.board.database(database, |view| {
            if let Some(tables) = &tables_of_source {
                // Also one that had another name for a while, or was out of sight.
                let is_carried = |t: &&Table| {
                    let key = (t.schema.clone(), t.name.clone());
                    view.tables.contains_key(&key) || self.states.contains_key(&key)
                };
                let carried: Vec<Table> = tables.iter().filter(is_carried).cloned().collect();
                view.set_tables(&carried);
            }
            // Those of a whole database: only when they were looked at.
            for ((schema, name), state) in self.states.iter().filter(|_| look_at_tables) {
                view.set_stage(
                    schema,
                    name,
                    match state {
                        TableState::Ready => TableStage::Streaming,
                        TableState::Attached(lsn) => TableStage::Attached(*lsn),
                    },
                );
            }
            // A table that is shown and not attached is one that failed: it counts as one that is not ready.
            facts.tables = view.tables.len();
            facts.tables_not_ready = view
                .tables
                .iter()
                .filter(|(_, t)| !matches!(t.stage, TableStage::Streaming))
                .map(|((schema, name), _)| format!("{schema}.{name}"))
                .take(NAMES_TOLD)
                .collect();
            facts.errors = view
                .findings
                .values()
                .flatten()
                // What is not equal has a check of its own.
                .filter(|f| f.severity == Severity::Error && f.code != Code::NotEqual)
                .map(|f| format!("{}: {}", f.object, f.reason))
                .take(NAMES_TOLD)
                .collect();
            facts.beside.clone_from(&view.beside);
            facts.proof.clone_from(&view.proof);
            view.lag = Some(lag);
            if view.sequences != self.sequences {
                view.sequences.clone_from(&self.sequences);
            }
            view.checks = readiness::checks(&facts);
            view.believe_until = Some(Instant::now() + (context.tick * 3).max(Duration::from_secs(10)));
        });
        self.missing = workers.missing(subscriptions);
        if let Some(stream) = self.failing_stream(&workers, subscriptions, &slots) {
            return Ok(Outcome::Failing(stream));
        }
        Ok(Outcome::Same)
    }

    /// Whether whatever can wait is to wait for a backlog.
    pub fn leaves_alone(&self) -> bool {
        self.leaves_alone
    }

    /// Whether every attached table is in step, as of the last look.
    pub fn in_step(&self) -> bool {
        self.ticks > 0 && self.states.values().all(|s| *s == TableState::Ready)
    }

    /// By stream: how many updates and deletes were of rows that the destination does not have.
    pub fn missing(&self) -> &[(usize, i64)] {
        &self.missing
    }

    /// The tables that are attached, by schema and name, as of the last look.
    pub fn attached(&self) -> HashSet<(String, String)> {
        self.states.keys().cloned().collect()
    }

    /// A server has lost the end of its history, so all tables are in doubt.
    pub fn note_fork(&mut self) {
        self.has_forked = true;
    }

    /// The tables that something has happened to since they were copied, as of the last look.
    pub fn in_doubt(&self) -> &[InDoubt] {
        &self.in_doubt
    }

    /// Whether a table is attached, as of the last look.
    pub fn is_attached(&self, schema: &str, name: &str) -> bool {
        self.states.contains_key(&(schema.to_owned(), name.to_owned()))
    }

    /// Whether a stream, by its number, did not get any further as of the last look.
    pub fn is_failing(&self, stream: usize) -> bool {
        self.stuck.contains(&stream)
    }

    /// The first stream that does not get any further, by its number.
    fn failing_stream(&mut self, workers: &Workers, subscriptions: &[Option<u32>], slots: &[Slot]) -> Option<usize> {
        self.stuck.clear();
        for worker in &workers.0 {
            let Some(stream) = subscriptions.iter().position(|s| *s == Some(worker.subscription)) else { continue };
            // The origin moves with rows alone. A stream that has none is further than that, by what its slot has confirmed.
            let at = match slots.get(stream) {
                Some(Slot::Present { confirmed, .. }) => worker.applied.max(*confirmed),
                _ => worker.applied,
            };
            if self.failing.entry(worker.subscription).or_default().note(worker.errors, at) {
                self.stuck.push(stream);
            }
        }
        self.stuck.first().copied()
    }

    fn note_marker(&mut self, now: Instant, confirmed: Lsn) {
        if let Some((lsn, emitted)) = self.marker
            && confirmed >= lsn
        {
            self.marker_through = Some(emitted);
            self.marker = None;
        }
        debug_assert!(self.marker_through.is_none_or(|t| t <= now));
    }

    fn note_lag(&mut self, now: Instant, bytes: u64, limit: u64) {
        self.below_since = if bytes <= limit { self.below_since.or(Some(now)) } else { None };
    }

    /// Called after the marker of this look was emitted. What the worker failed at was committed before its failure was seen: a marker
    /// emitted since then that has come through proves that it has got past it.
    fn note_errors(&mut self, now: Instant, count: i64) {
        if let Some(before) = self.apply_errors
            && count > before
        {
            let text = format!("the apply worker has failed {} times since the last look", count - before);
            self.recent_error = Some((now, text));
        }
        self.apply_errors = Some(count);
        if let (Some((failed, _)), Some(emitted)) = (&self.recent_error, self.marker_through)
            && emitted >= *failed
        {
            self.recent_error = None;
        }
    }

    /// Carries sequences that moved; gives what went wrong, in words.
    async fn carry_sequences(&mut self, source: &Session, destination: &Session, slow: bool) -> Option<String> {
        if !slow && self.sequences.len() > SEQUENCES_AT_EVERY_TICK {
            return self.sequences_error.clone();
        }
        let carried = async {
            let now = sequences::read(source).await?;
            sequences::write(destination, sequences::changed(&now, &self.sequences), Carry::Forward).await?;
            Ok::<_, sequences::Error>(now)
        };
        match carried.await {
            Ok(now) => {
                self.sequences = now;
                self.sequences_error = None;
            }
            Err(error) => self.sequences_error = Some(error.to_string()),
        }
        self.sequences_error.clone()
    }
}

/// Whether all slots are in use, and the positions of the one that is least far; none if one is not usable.
fn last_of<'a>(slots: impl IntoIterator<Item = &'a Slot>) -> Option<(bool, Lsn, Lsn)> {
    let mut last: Option<(bool, Lsn, Lsn)> = None;
    for slot in slots {
        let Slot::Present { active, confirmed, restart } = *slot else { return None };
        last = Some(last.map_or((active, confirmed, restart), |(a, c, r)| (a && active, c.min(confirmed), r.min(restart))));
    }
    last
}

/// The phase of a database whose stream runs.
pub fn phase(in_step: bool, finished: bool) -> Phase {
    match (in_step, finished) {
        (false, _) => Phase::CatchingUp,
        (true, false) => Phase::Finishing,
        (true, true) => Phase::Streaming,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_as_far_as_the_last_of_them() {
        let slot = |active, confirmed, restart| Slot::Present { active, confirmed: Lsn(confirmed), restart: Lsn(restart) };
        assert_eq!(last_of(&[slot(true, 9, 3), slot(true, 7, 5)]), Some((true, Lsn(7), Lsn(3))));
        assert_eq!(last_of(&[slot(true, 9, 3), slot(false, 9, 3)]), Some((false, Lsn(9), Lsn(3))));
        assert_eq!(last_of(&[slot(true, 9, 3), Slot::Lost]), None);
    }

    #[test]
    fn a_marker_counts_from_when_it_was_emitted() {
        let mut watcher = Watcher::default();
        let start = Instant::now();
        watcher.marker = Some((Lsn(100), start));
        watcher.note_marker(start + Duration::from_secs(1), Lsn(99));
        assert_eq!(watcher.marker_through, None);
        watcher.note_marker(start + Duration::from_secs(2), Lsn(100));
        assert_eq!((watcher.marker_through, watcher.marker), (Some(start), None));
    }

    #[test]
    fn a_lag_above_the_limit_starts_the_count_anew() {
        let mut watcher = Watcher::default();
        let start = Instant::now();
        watcher.note_lag(start, 5, 10);
        watcher.note_lag(start + Duration::from_secs(1), 11, 10);
        assert_eq!(watcher.below_since, None);
        watcher.note_lag(start + Duration::from_secs(2), 10, 10);
        assert_eq!(watcher.below_since, Some(start + Duration::from_secs(2)));
    }

    #[test]
    fn an_apply_error_is_believed_gone_when_a_marker_emitted_after_it_has_come_through() {
        let mut watcher = Watcher::default();
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        watcher.note_errors(at(0), 3);
        assert!(watcher.recent_error.is_none(), "old errors are old");
        watcher.marker = Some((Lsn(100), at(0)));
        watcher.note_errors(at(1), 4);
        assert!(watcher.recent_error.is_some());
        watcher.note_marker(at(2), Lsn(100));
        watcher.note_errors(at(2), 4);
        assert!(watcher.recent_error.is_some(), "that marker was emitted before the failure");
        watcher.marker = Some((Lsn(200), at(2)));
        watcher.note_errors(at(60), 4);
        assert!(watcher.recent_error.is_some(), "time alone proves nothing");
        watcher.note_marker(at(61), Lsn(200));
        watcher.note_errors(at(61), 4);
        assert!(watcher.recent_error.is_none());
    }
}
