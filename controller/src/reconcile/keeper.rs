//! The keeper of a mapping: looks at the source's load, at the WAL it keeps for us, and at the clock, and keeps within the
//! limits that were set. What it finds takes effect through the shared limits and through [`Holds`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use chrono::Utc;
use tokio::sync::watch;

use super::Context;
use crate::config::{self, WalPolicy};
use crate::finding::{Code, Finding, Severity};
use crate::gentle::hold::Holds;
use crate::gentle::rate::Wish;
use crate::gentle::{load, pace::Pace, window};
use crate::ledger::{self, Kind, SideEffect};
use crate::monitor::board::PaceView;
use crate::monitor::wal_guard::{Kept, Level, Samples};
use crate::postgres::{self, Session, retry};
use crate::stream::{slot, subscription};

/// Why the keeper could not look.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Connect(#[from] postgres::connect::Error),
    #[error("looking at the source's load and log: {}", retry::message(.0))]
    Statement(#[from] tokio_postgres::Error),
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    #[error(transparent)]
    Subscription(#[from] subscription::Error),
}

/// The holds at the start: what the clock says.
pub(super) fn holds(settings: &config::Mapping) -> watch::Sender<Holds> {
    watch::Sender::new(Holds { all: window::at(&settings.schedule, Utc::now()).waiting_for(), databases: BTreeMap::new() })
}

struct Keeper {
    context: Context,
    holds: watch::Sender<Holds>,
    session: Option<Session>,
    samples: BTreeMap<String, Samples>,
    /// Databases whose copying waits for their stream.
    held: BTreeMap<String, String>,
    /// Databases for which the source keeps too much, and the findings that say so.
    alarms: BTreeMap<String, Finding>,
    pace: Pace,
    /// When bytes were counted last, and how many there were.
    counted: (Instant, u64),
}

/// Looks at every tick, until it is dropped.
pub(super) async fn run(context: Context, holds: watch::Sender<Holds>) {
    let counted = (Instant::now(), context.gentle.rate.passed());
    let mut keeper = Keeper {
        context,
        holds,
        session: None,
        samples: BTreeMap::new(),
        held: BTreeMap::new(),
        alarms: BTreeMap::new(),
        pace: Pace::default(),
        counted,
    };
    loop {
        if let Err(error) = keeper.look().await {
            // The databases' own tasks tell of a server that is away.
            tracing::debug!(%error, "the keeper can't look");
            keeper.session = None;
        }
        keeper.tell_holds();
        tokio::time::sleep(keeper.context.tick).await;
    }
}

impl Keeper {
    async fn look(&mut self) -> Result<(), Error> {
        if self.session.as_ref().is_none_or(|session| session.is_closed()) {
            self.session = Some(self.context.source.connect(&self.context.source.instance.database).await?);
        }
        self.look_at_load().await?;
        self.look_at_wal().await
    }

    /// Lets everybody know what holds copying back.
    fn tell_holds(&self) {
        let all = window::at(&self.context.settings.schedule, Utc::now()).waiting_for();
        let now = Holds { all, databases: self.held.clone() };
        let before = self.holds.borrow().clone();
        if before == now {
            return;
        }
        if before.all.is_some() != now.all.is_some() {
            let text = now.all.as_ref().map_or("copying goes on".to_owned(), |what| format!("copying waits for {what}"));
            self.context.board.event("", "info", text);
        }
        for database in before.databases.keys().chain(now.databases.keys()).collect::<BTreeSet<_>>() {
            let text = match (before.databases.get(database), now.databases.get(database)) {
                (None, Some(what)) => format!("copying waits for {what}"),
                (Some(_), None) => "copying goes on".to_owned(),
                _ => continue,
            };
            self.context.board.event(database, "info", text);
        }
        self.holds.send_replace(now);
    }

    /// Slows the copy down while the source is busy.
    async fn look_at_load(&mut self) -> Result<(), Error> {
        let rate = &self.context.gentle.rate;
        let (Some(limits), Some(session)) = (self.context.settings.slow_down, &self.session) else {
            self.show_pace(None);
            return Ok(());
        };
        let excess = load::measure(session).await?.excess(&limits);
        let (at, passed) = (Instant::now(), rate.passed());
        let measured = (passed - self.counted.1) as f64 / at.duration_since(self.counted.0).as_secs_f64().max(0.001);
        self.counted = (at, passed);
        let before = self.pace;
        self.pace = before.next(excess.is_some(), measured as u64, limits.at_least.as_u64());
        rate.wish(&self.context.mapping, Wish::SlowDown, self.pace.rate());
        match (before.rate(), self.pace.rate()) {
            (None, Some(now)) => {
                let text = format!(
                    "copying slows down to {} a second: {}",
                    bytesize::ByteSize(now),
                    excess.as_deref().unwrap_or_default()
                );
                self.context.board.event("", "warning", text);
            }
            (Some(_), None) => {
                self.context.board.event("", "info", "copying is as fast as before: the source is calm".to_owned());
            }
            _ => {}
        }
        let words = self.pace.rate().map(|_| excess.unwrap_or_else(|| "the source is calm again, speeding up".to_owned()));
        self.show_pace(words);
        Ok(())
    }

    fn show_pace(&self, slowed_down_by: Option<String>) {
        self.context.board.lock().pace = PaceView { limit: self.context.gentle.rate.limit(), slowed_down_by };
    }

    /// Looks at what the source keeps for our slots, and does what the policy says.
    async fn look_at_wal(&mut self) -> Result<(), Error> {
        let Some(session) = &self.session else { return Ok(()) };
        let slots = ledger::in_force_of(&self.context.control, &self.context.mapping, &[Kind::Slot]).await?;
        let names: Vec<&str> = slots.iter().map(|effect| effect.object.as_str()).collect();
        let rows = session.query(include_str!("keeper.sql"), &[&names]).await?;
        let now = Instant::now();
        let mut worst: BTreeMap<&str, (Kept, &SideEffect)> = BTreeMap::new();
        for row in &rows {
            let name: &str = row.get("slot_name");
            let Some(effect) = slots.iter().find(|effect| effect.object == name) else { continue };
            let samples = self.samples.entry(name.to_owned()).or_default();
            samples.note(now, u64::try_from(row.get::<_, i64>("kept")).unwrap_or_default());
            let servers = row.get::<_, Option<i64>>("keep_at_most").and_then(|limit| u64::try_from(limit).ok());
            let ours = self.context.settings.wal_limit.map(|limit| limit.as_u64());
            let kept = samples.kept(servers.into_iter().chain(ours).min());
            let entry = worst.entry(&effect.database).or_insert((kept, effect));
            if kept.bytes > entry.0.bytes {
                *entry = (kept, effect);
            }
        }
        self.samples.retain(|name, _| rows.iter().any(|row| row.get::<_, &str>("slot_name") == name));
        let databases: BTreeSet<&str> = slots.iter().map(|effect| effect.database.as_str()).collect();
        for &database in &databases {
            let found = worst.get(database).copied();
            if self.is_shown(database) {
                self.context.board.database(database, |view| view.wal = found.map(|(kept, _)| kept));
            }
            match found {
                Some((kept, effect)) => self.act(kept, effect).await?,
                None => drop(self.alarms.remove(database)),
            }
        }
        self.alarms.retain(|database, _| databases.contains(database.as_str()));
        self.tell_alarms();
        Ok(())
    }

    /// A database that is no longer on the source under its name is not on the board any more. Its slot may keep log all the same.
    fn is_shown(&self, database: &str) -> bool {
        self.context.board.lock().databases.contains_key(database)
    }

    fn tell_alarms(&self) {
        let shown: Vec<String> = self.context.board.lock().databases.keys().cloned().collect();
        for database in &shown {
            self.context.board.set_findings(database, "wal_guard", self.alarms.get(database).cloned().into_iter().collect());
        }
        let of_gone = self.alarms.iter().filter(|(database, _)| !shown.contains(database)).map(|(_, finding)| finding);
        let of_gone = of_gone.map(|finding| Finding { database: String::new(), ..finding.clone() }).collect();
        self.context.board.set_mapping_findings("wal_guard", of_gone);
    }

    async fn act(&mut self, kept: Kept, effect: &SideEffect) -> Result<(), Error> {
        let (level, policy) = (kept.level(), self.context.settings.wal_guard);
        let (board, database) = (&self.context.board, &effect.database);
        if level == Level::Over && policy == WalPolicy::DropSlot {
            return self.drop_slot(kept, effect).await;
        }
        match level {
            Level::Near | Level::Over if policy == WalPolicy::SlowDown => {
                let what = "the stream to catch up: the source keeps nearly as much WAL for it as it may".to_owned();
                self.held.insert(database.clone(), what);
            }
            Level::Calm => drop(self.held.remove(database)),
            _ => {}
        }
        let before = self.alarms.contains_key(database);
        let alarmed = level >= Level::Near || before && level == Level::Between;
        if alarmed != before {
            let text = if alarmed { "the source keeps" } else { "the source keeps little enough again:" };
            board.event(database, if alarmed { "warning" } else { "info" }, format!("{text} {} for us", kept.words()));
        }
        if alarmed {
            self.alarms.insert(database.clone(), self.finding(kept, effect));
        } else {
            self.alarms.remove(database);
        }
        Ok(())
    }

    /// The same words from tick to tick: the figures are in the view.
    fn finding(&self, kept: Kept, effect: &SideEffect) -> Finding {
        let limit = bytesize::ByteSize(kept.limit.unwrap_or_default());
        let then = match self.context.settings.wal_guard {
            WalPolicy::Alert => "beyond max_slot_wal_keep_size the slot is lost, without one the source's disk fills up",
            WalPolicy::SlowDown => "no further table is copied until the stream has caught up",
            WalPolicy::DropSlot => "before the limit is reached, the slot is dropped to protect the source",
        };
        Finding {
            severity: Severity::Warning,
            database: effect.database.clone(),
            code: Code::WalLimitNear,
            object: format!("slot {}", effect.object),
            reason: format!("the WAL that the source keeps for this slot comes near its limit of {limit}; {then}"),
            fix: "see to it that the stream runs and catches up (migrator.cutover_checks, migrator.findings); or give it more \
                  room: max_slot_wal_keep_size on the source, wal_limit in the configuration"
                .to_owned(),
            statement: None,
        }
    }

    /// Drops a slot to protect the source. What its stream still needed is gone: its database has to be copied anew, when
    /// the operator says so.
    async fn drop_slot(&mut self, kept: Kept, effect: &SideEffect) -> Result<(), Error> {
        let (context, database) = (&self.context, &effect.database);
        let Some(session) = &self.session else { return Ok(()) };
        slot::drop(session, &effect.object).await?;
        ledger::undone(&context.control, effect.id, "dropped to protect the source").await?;
        let text = format!("slot {} was dropped to protect the source, which kept {} for it", effect.object, kept.words());
        context.board.event(database, "error", text);
        self.alarms.remove(database);
        self.held.remove(database);
        // Its worker would ask for the slot again and again.
        let destination = context.destination.connect(database).await?;
        let there = "SELECT 1 FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
                     WHERE d.datname = current_database() AND s.subname = $1";
        if destination.query_opt(there, &[&effect.object]).await?.is_some() {
            subscription::disable(&destination, &effect.object).await?;
        }
        Ok(())
    }
}
