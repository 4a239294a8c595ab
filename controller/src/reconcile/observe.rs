//! Observing one database: both sides' catalogs and the ledger, as plain data for [`decide`](super::decide).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::Mode;
use super::database::{Cooling, Database, Error};
use super::decide::{Observed, Target};
use crate::copy::{Table, table};
use crate::ledger::{self, Kind, SideEffect};
use crate::monitor::board::TableStage;
use crate::postgres::Session;
use crate::stream::publication;
use crate::stream::slot;
use crate::stream::subscription::{self, Subscription, TableState};

/// The source's tables are read again after so many times as long as reading them took.
const LOOKING_SHARE: u32 = 20;

/// What was observed, with the things that acting needs.
pub(super) struct Picture {
    pub(super) observed: Observed,
    pub(super) subscription: Option<Subscription>,
    /// Published tables that are not attached and not cooling.
    pub(super) to_copy: Vec<Table>,
    /// Source OIDs of the attached ones, and their sizes.
    pub(super) attached: Vec<(u32, i64)>,
}

impl Database {
    pub(super) async fn observe(&mut self) -> Result<Picture, Error> {
        let effects = ledger::in_force(&self.context.control, &self.context.mapping).await?;
        let target = target(&self.context.control, &self.name, &effects).await?;
        let names = self.names.clone();
        let source = self.source().await?;
        let slot = slot::observe(source, &names).await.map_err(Error::doing("looking at the slot"))?;
        let published = publication::observe(source, &names).await.map_err(Error::doing("looking at the publication"))?;
        let tables = self.tables().await?;
        let mut subscription = None;
        let mut states = HashMap::new();
        if target == Target::Ours {
            let destination = self.destination().await?;
            let failed = "looking at the subscription";
            subscription = subscription::observe(destination, &names).await.map_err(Error::doing(failed))?;
            if let Some(found) = subscription {
                states = subscription::tables(destination, found.oid).await.map_err(Error::doing(failed))?;
            }
        }
        let state = |t: &Table| states.get(&(t.schema.clone(), t.name.clone()));
        let was_subscribed = ledger::was_subscribed(&self.context.control, &self.context.mapping, &self.name).await?;
        if subscription.is_some() && !was_subscribed {
            // A controller was killed right after making it.
            self.note_subscription().await?;
        }
        let covered: Vec<&Table> = match subscription {
            // What is published and not on the destination came later: that is drift, and not ours to carry.
            Some(_) => tables.iter().filter(|t| published.tables.contains(&t.oid)).collect(),
            None => tables.iter().collect(),
        };
        self.show_tables(&covered, state);
        self.failed.retain(|oid, _| covered.iter().any(|t| t.oid == *oid && state(t).is_none()));
        let to_copy: Vec<Table> = covered
            .iter()
            .filter(|t| subscription.is_some() && state(t).is_none() && !self.failed.get(&t.oid).is_some_and(Cooling::is_cooling))
            .map(|t| (*t).clone())
            .collect();
        self.in_step = states.values().all(|s| *s == TableState::Ready);
        let observed = Observed {
            target,
            target_is_fresh: self.target_is_fresh,
            schema_built: self.schema_built,
            published: self.published,
            slot,
            was_subscribed,
            slot_is_ours: effects.iter().any(|e| e.kind == Kind::Slot && e.object == names.slot),
            subscription: subscription.map(|s| s.enabled),
            tables_to_copy: to_copy.len(),
            tables_cooling: self.failed.values().filter(|c| c.is_cooling()).count(),
            built: self.built,
            all_in_step: self.in_step,
            finished: self.finished,
            paused: *self.mode.borrow() == Mode::Paused,
        };
        let attached = covered.iter().filter(|t| state(t).is_some()).map(|t| (t.oid, t.bytes)).collect();
        Ok(Picture { observed, subscription, to_copy, attached })
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
