//! Observing one database: both sides' catalogs and the ledger, as plain data for [`decide`](super::decide).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::Mode;
use super::database::{Database, Error};
use super::decide::{self, Observed, Target};
use super::isolate::Detached;
use crate::copy::{Table, table};
use crate::finding::{Code, Finding, Severity};
use crate::ledger::{self, Kind, SideEffect};
use crate::monitor::board::TableStage;
use crate::postgres::Session;
use crate::preflight::renamed;
use crate::stream::slot::Slot;
use crate::stream::subscription::{self, Subscription, TableState};
use crate::stream::{Names, publication, slot};

/// The source's tables are read again after so many times as long as reading them took.
const LOOKING_SHARE: u32 = 20;

/// What was observed, with the things that acting needs.
pub(super) struct Picture {
    pub(super) observed: Observed,
    /// The subscriptions of the streams, as far as they are there.
    pub(super) subscriptions: Vec<Option<Subscription>>,
    /// Published tables that are not attached and not cooling, and the stream of each.
    pub(super) to_copy: Vec<(Table, usize)>,
    /// Source OIDs of the attached ones, and their sizes.
    pub(super) attached: Vec<(u32, i64)>,
    /// The stream of every table that is attached or to be copied, by its OID on the source.
    pub(super) stream_of: HashMap<u32, usize>,
}

impl Picture {
    /// Whether one of the streams runs already.
    pub fn a_stream_runs(&self) -> bool {
        self.subscriptions.iter().flatten().any(|subscription| subscription.enabled)
    }
}

/// The tables attached to each stream, by schema and name.
type States = Vec<HashMap<(String, String), TableState>>;

impl Database {
    /// The names of the streams and the tables taken out of them, by the ledger and the configuration.
    pub(super) async fn know_streams(&mut self) -> Result<(), Error> {
        let effects = ledger::in_force(&self.context.control, &self.context.mapping).await?;
        self.name_streams(&effects);
        self.detached = Detached::of(&effects, &self.name);
        Ok(())
    }

    fn name_streams(&mut self, effects: &[SideEffect]) {
        let configured = self.context.settings.streams;
        self.names = Names::of_database(&self.context.mapping, &self.name, self.source_oid, effects, configured);
        let found = if self.names.len() == configured { Vec::new() } else { vec![self.other_streams()] };
        self.context.board.set_findings(&self.name, "streams", found);
    }

    fn other_streams(&self) -> Finding {
        let (made, configured) = (self.names.len(), self.context.settings.streams);
        Finding {
            severity: Severity::Warning,
            database: self.name.clone(),
            code: Code::StreamsDiffer,
            object: format!("streams of {}", self.name),
            reason: format!(
                "the database was begun with {made} streams, and the configuration says {configured}: it keeps those it has"
            ),
            fix: format!("nothing has to be done; to have no warning, set streams = {made}"),
            statement: None,
        }
    }

    pub(super) async fn observe(&mut self) -> Result<Picture, Error> {
        let looked_at = [Kind::Database, Kind::Publication, Kind::Slot, Kind::Detached];
        let effects = ledger::in_force_of(&self.context.control, &self.context.mapping, &looked_at).await?;
        self.name_streams(&effects);
        let target = target(&self.context.control, &self.name, &effects).await?;
        let names = self.names.clone();
        let source = self.source().await?;
        let slots = slot::observe_all(source, &names).await.map_err(Error::doing("looking at the slots"))?;
        let published = publication::observe_all(source, &names).await.map_err(Error::doing("looking at the publications"))?;
        let tables = self.tables().await?;
        let mut subscriptions = vec![None; names.len()];
        let mut states: States = vec![HashMap::new(); names.len()];
        if target == Target::Ours {
            let destination = self.destination().await?;
            let failed = "looking at the subscriptions";
            for (i, names) in names.iter().enumerate() {
                subscriptions[i] = subscription::observe(destination, names).await.map_err(Error::doing(failed))?;
                if let Some(found) = subscriptions[i] {
                    states[i] = subscription::tables(destination, found.oid).await.map_err(Error::doing(failed))?;
                }
            }
        }
        let made = ledger::subscriptions_made(&self.context.control, &self.context.mapping, &self.name).await?;
        for (names, subscription) in names.iter().zip(&subscriptions) {
            if subscription.is_some() && !made.contains(names.subscription()) {
                // A controller was killed right after making it.
                self.note_subscription(names).await?;
            }
        }
        self.begun_as = None;
        if let Some(former) = renamed::begun_as(&effects, &self.name, &names) {
            let there: HashSet<String> = names.iter().map(|names| names.subscription().to_owned()).collect();
            let left = subscription::left_in(&self.context.control, former, &there).await;
            let left = left.map_err(Error::doing("looking for what was begun under another name"))?;
            let is_there = published.iter().any(|p| p.exists || p.has_inserts) || slots.iter().any(|slot| *slot != Slot::Missing);
            self.begun_as = (is_there || !left.is_empty()).then(|| former.to_owned());
        }
        let subscribed = subscriptions.iter().any(Option::is_some);
        if subscribed {
            let oids: Vec<u32> = subscriptions.iter().flatten().map(|s| s.oid).collect();
            self.look_at_history(&oids).await?;
        }
        if !made.is_empty() && !subscribed {
            let left = subscription::left_in(&self.context.control, &self.name, &made).await;
            self.former = left.map_err(Error::doing("looking for former subscriptions"))?;
        }
        // The stream of a table is the one whose publication has it.
        let stream = |t: &Table| published.iter().position(|p| p.tables.contains(&t.oid));
        let state = |t: &Table| stream(t).and_then(|s| states[s].get(&(t.schema.clone(), t.name.clone())));
        let covered: Vec<&Table> = if subscribed {
            // What is published and not on the destination came later: that is drift, and not ours to carry.
            tables.iter().filter(|t| stream(t).is_some()).collect()
        } else {
            tables.iter().collect()
        };
        self.show_tables(&covered, state);
        self.detached = Detached::of(&effects, &self.name);
        // One that is attached still was not taken out before the controller was killed: its stream will fail once more.
        self.detached.retain(|d| !states.iter().any(|s| s.contains_key(&(d.schema.clone(), d.name.clone()))));
        self.show_detached();
        let is_detached = |t: &Table| self.detached.iter().any(|d| d.schema == t.schema && d.name == t.name);
        let failed = self.failed.len();
        self.failed.retain(|oid, _| covered.iter().any(|t| t.oid == *oid && state(t).is_none()));
        if self.failed.len() < failed {
            // Attached since, or no longer there.
            self.show_failed();
        }
        let to_copy: Vec<(Table, usize)> = covered
            .iter()
            .filter(|t| state(t).is_none() && !is_detached(t) && !self.failed.get(&t.oid).is_some_and(|f| f.cooling.is_cooling()))
            .filter_map(|t| stream(t).filter(|s| subscriptions[*s].is_some()).map(|s| ((*t).clone(), s)))
            .collect();
        self.in_step = states.iter().flat_map(HashMap::values).all(|s| *s == TableState::Ready);
        let streams = names
            .iter()
            .zip(slots)
            .enumerate()
            .map(|(i, (names, slot))| decide::Stream {
                slot,
                slot_is_ours: effects.iter().any(|e| e.kind == Kind::Slot && e.object == names.slot),
                was_subscribed: made.contains(names.subscription()),
                subscription: subscriptions[i].map(|s| s.enabled),
                tables_to_copy: to_copy.iter().filter(|(_, stream)| *stream == i).count(),
                attached: states[i].len(),
            })
            .collect();
        let observed = Observed {
            target,
            target_is_fresh: self.target_is_fresh,
            schema_built: self.schema_built,
            published: self.published,
            begun_under_another_name: self.begun_as.is_some(),
            streams,
            once_subscribed: !made.is_empty(),
            tables_cooling: self.failed.values().filter(|f| f.cooling.is_cooling()).count() + self.detached.len(),
            built: self.built,
            all_in_step: self.in_step,
            finished: self.finished,
            paused: *self.mode.borrow() == Mode::Paused,
            held: self.context.holds.borrow().of(&self.name).is_some(),
        };
        let attached: Vec<(u32, i64)> = covered.iter().filter(|t| state(t).is_some()).map(|t| (t.oid, t.bytes)).collect();
        let carried = covered.iter().filter(|t| state(t).is_some()).filter_map(|t| Some((t.oid, stream(t)?)));
        let stream_of = carried.chain(to_copy.iter().map(|(t, stream)| (t.oid, *stream))).collect();
        Ok(Picture { observed, subscriptions, to_copy, attached, stream_of })
    }

    /// The source's tables, as of a moment ago: looking at them takes long where they are many, and each step looks.
    pub(super) async fn tables(&mut self) -> Result<Arc<Vec<Table>>, Error> {
        if let Some((until, tables)) = &self.tables
            && Instant::now() < *until
        {
            return Ok(Arc::clone(tables));
        }
        let began = Instant::now();
        let tables = Arc::new(table::read(self.source().await?).await.map_err(Error::doing("reading the source's tables"))?);
        self.tables = Some((Instant::now() + LOOKING_SHARE * began.elapsed(), Arc::clone(&tables)));
        Ok(tables)
    }

    /// The findings of the tables that could not be copied.
    pub(super) fn show_failed(&self) {
        let findings = self.failed.values().map(|failed| failed.finding.clone()).collect();
        self.context.board.set_findings(&self.name, "copy", findings);
    }

    pub(super) fn show_tables<'s>(&self, tables: &[&Table], state: impl Fn(&Table) -> Option<&'s TableState>) {
        let owned: Vec<Table> = tables.iter().map(|t| (*t).clone()).collect();
        self.context.board.database(&self.name, |view| {
            view.set_tables(&owned);
            for table in tables {
                match state(table) {
                    Some(TableState::Ready) => view.set_stage(&table.schema, &table.name, TableStage::Streaming),
                    Some(TableState::Attached(lsn)) => view.set_stage(&table.schema, &table.name, TableStage::Attached(*lsn)),
                    None => {}
                }
            }
        });
    }
}

/// Whether the destination's database is ours, by the OID that the ledger has.
pub async fn target(destination: &Session, name: &str, effects: &[SideEffect]) -> Result<Target, Error> {
    let row = destination
        .query_opt("SELECT oid FROM pg_catalog.pg_database WHERE datname = $1", &[&name])
        .await
        .map_err(Error::doing("looking for the database on the destination"))?;
    let Some(row) = row else { return Ok(Target::Missing) };
    let oid: u32 = row.get(0);
    let ours = effects.iter().any(|e| {
        e.kind == Kind::Database
            && e.object == name
            && e.detail.get("oid").and_then(serde_json::Value::as_u64) == Some(u64::from(oid))
    });
    Ok(if ours { Target::Ours } else { Target::Foreign })
}
