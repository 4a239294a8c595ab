//! Acting: the steps that make a database, its schema, and what connects it to the source. Each is safe to repeat.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, PoisonError};

use serde_json::json;

use super::database::{Database, Error};
use super::decide::Refusal;
use super::fill::{share, take_permits, telling_blockers};
use super::isolate::Detached;
use super::watch::Watcher;
use super::{Context, Order, stall};
use crate::copy::table;
use crate::finding::{Code, Finding, Severity};
use crate::ledger::{self, Kind, Side, SideEffect};
use crate::plan::{self, Plan, Section};
use crate::postgres::{Session, quote};
use crate::provision::before_data::before_data;
use crate::provision::failure::{Failed, Failures};
use crate::provision::tablespaces::Placement;
use crate::provision::{carry, databases, schema};
use crate::stream::options::{self, Options};
use crate::stream::publication::{self, Carriage};
use crate::stream::resync::TableName;
use crate::stream::{self, Names, money, resync, slot, subscription};
use crate::{beside, object, preflight};

/// What an order to copy anew is about.
enum Meant {
    /// Everything in the database.
    All,
    /// A table that travels beside the stream; it has been ordered.
    Beside,
    /// A table of a stream.
    Table(TableName),
}

impl Database {
    pub(super) fn refusal(&self, refusal: Refusal) -> Finding {
        let slot = |stream: usize| format!("slot {}", self.names[stream].slot);
        let (code, object, reason, fix) = match refusal {
            Refusal::DatabaseExists => return preflight::database_exists(&self.name),
            Refusal::SlotExists(stream) => (
                Code::SlotExists,
                slot(stream),
                format!("{} has a replication slot of this name that was not made by this mapping", self.context.source.name),
                "give the mapping another name, or drop the slot on the source if nobody needs it".to_owned(),
            ),
            Refusal::SlotLost(stream) => (
                Code::SlotLost,
                slot(stream),
                "the source has discarded log that the stream still needed (max_slot_wal_keep_size): changes are missing, so the \
                 stream can't go on"
                    .to_owned(),
                format!("give the source more room for log, then copy {}", self.copying_again()),
            ),
            Refusal::SubscriptionGone(stream) => (
                Code::SubscriptionGone,
                format!("subscription {}", self.names[stream].subscription()),
                "the stream's subscription was here and is gone: the database is left as it is, for it may be in use".to_owned(),
                format!(
                    "if it has been switched over: SELECT migrator.mark_complete('{}'); otherwise drop database {} on the \
                     destination and give the mapping another name, to begin anew",
                    self.context.mapping, self.name
                ),
            ),
            Refusal::Renamed => {
                return preflight::renamed::finding(&self.name, self.begun_as.as_deref().unwrap_or_default());
            }
            Refusal::MadeAnew => (
                Code::DatabaseMadeAnew,
                format!("destination: database {}", quote::ident(&self.name)),
                "the source's database was dropped or renamed, and another one was made under its name; what was carried over of the \
                 former one is left as it is"
                    .to_owned(),
                format!(
                    "if nobody needs it, to begin anew on the destination: {}; or keep it, and leave the new one out (databases.exclude of \
                     the mapping)",
                    subscription::steps_to_drop(&self.name, &self.former)
                ),
            ),
            Refusal::SlotGone(stream) => (
                Code::SlotGone,
                slot(stream),
                "the stream's slot is no longer on the source: changes may be missing, so the stream can't go on".to_owned(),
                format!("copy {}", self.copying_again()),
            ),
            Refusal::SlotDropped(stream) => (
                Code::SlotDropped,
                slot(stream),
                "the stream's slot was dropped to protect the source, which kept too much log for it (wal_guard = \"drop_slot\"): \
                 changes are missing, so the stream can't go on"
                    .to_owned(),
                format!("when there is room for more log, copy {}", self.copying_again()),
            ),
        };
        Finding { severity: Severity::Error, database: self.name.clone(), code, object, reason, fix, statement: None }
    }

    /// What a resync of the database copies where a stream has lost its slot, and how to ask for it.
    fn copying_again(&self) -> String {
        let what = if self.names.len() > 1 { "this stream's tables again, while the others go on" } else { "the database again" };
        format!("{what}: SELECT migrator.resync({}, {})", quote::literal(&self.context.mapping), quote::literal(&self.name))
    }

    /// The checks of this database, before anything is made of it.
    pub(super) async fn sound(&mut self) -> Result<bool, Error> {
        let name = self.name.clone();
        let control = Arc::clone(&self.context.control);
        let settings = self.context.settings.clone();
        let (definition, _) = carry::definition(self.source().await?, &control, &settings, &name).await?;
        let findings = preflight::database(self.source().await?, &control, &definition).await;
        let (missing, findings): (Vec<_>, Vec<_>) = findings.into_iter().partition(preflight::costs_its_users_alone);
        let sound = findings.iter().all(|f| f.severity != Severity::Error);
        // A missing extension costs what uses it, and no more: making it will fail, which is told with what needs it. So with the others.
        let shown = if sound { findings } else { [findings, missing].concat() };
        self.context.board.set_findings(&self.name, "preflight", shown);
        Ok(sound)
    }

    /// Makes the database under a name of our own, writes down its OID, and gives it its real name: so that at no moment
    /// one that somebody else made in between could be taken for ours.
    pub(super) async fn create_database(&mut self) -> Result<(), Error> {
        let name = self.name.clone();
        let control = Arc::clone(&self.context.control);
        let settings = self.context.settings.clone();
        let (definition, _) = carry::definition(self.source().await?, &control, &settings, &name).await?;
        let effect =
            ledger::record(&control, &self.context.mapping, Side::Destination, &name, Kind::Database, &name, &json!({})).await?;
        let temporary = format!("pg_migrator_new_{effect}");
        let run = |sql: String| {
            let control = Arc::clone(&control);
            async move { control.batch_execute(&sql).await.map_err(Error::doing("creating the database")) }
        };
        // Left by a controller that was killed right here.
        run(format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote::ident(&temporary))).await?;
        run(databases::create(&definition, &temporary)).await?;
        let oid: u32 = control
            .query_one("SELECT oid FROM pg_catalog.pg_database WHERE datname = $1", &[&temporary])
            .await
            .map_err(Error::doing("creating the database"))?
            .get(0);
        // Should we be killed before it has its settings, the next one of us knows of it.
        ledger::amend(&control, effect, &carry::to_remember(&definition, oid)).await?;
        run(format!("ALTER DATABASE {} RENAME TO {}", quote::ident(&temporary), quote::ident(&name))).await?;
        self.settle(effect).await?;
        self.target_is_fresh = true;
        self.schema_built = false;
        Ok(())
    }

    /// Gives the database its settings, grants, comment and labels. What fails is tried again with what failed of the schema.
    async fn settle(&mut self, effect: i64) -> Result<(), Error> {
        let name = self.name.clone();
        let control = Arc::clone(&self.context.control);
        let (mapping, settings) = (self.context.mapping.clone(), self.context.settings.clone());
        let (definition, unknown) = carry::definition(self.source().await?, &control, &settings, &name).await?;
        let findings = carry::settle_database(&mapping, &settings, self.source().await?, &control, &definition, &unknown).await?;
        self.unsettled = findings.iter().any(|finding| finding.statement.is_some());
        self.settings_failed = findings.iter().any(|f| f.statement.is_some() && f.severity == Severity::Error);
        ledger::amend(&control, effect, &json!({ "unsettled": self.unsettled })).await?;
        self.context.board.set_findings(&name, "database", findings);
        Ok(())
    }

    /// Drops our own database, which a controller that is gone left half built and without a row in it.
    pub(super) async fn drop_database(&mut self) -> Result<(), Error> {
        self.context.board.event(&self.name, "info", "beginning anew: the schema was left half built".to_owned());
        self.destination = None;
        self.context
            .control
            .batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", quote::ident(&self.name)))
            .await
            .map_err(Error::doing("dropping the half-built database"))
    }

    /// The plan, read from the source once in this process.
    pub(super) async fn plan(&mut self) -> Result<Arc<Plan>, Error> {
        if let Some(plan) = &self.plan {
            return Ok(Arc::clone(plan));
        }
        let plan = Arc::new(self.read_plan().await?);
        self.context.board.set_findings(&self.name, "plan", plan.findings.clone());
        self.context.board.database(&self.name, |view| view.statements_total = plan.statements.len());
        self.plan = Some(Arc::clone(&plan));
        Ok(plan)
    }

    async fn read_plan(&mut self) -> Result<Plan, Error> {
        let effects = ledger::in_force(&self.context.control, &self.context.mapping).await?;
        let policy = self.context.settings.replica_identity;
        let name = self.name.clone();
        let ours = stream::publications(&self.names);
        let (control, settings) = (Arc::clone(&self.context.control), self.context.settings.clone());
        let (definition, _) = carry::definition(self.source().await?, &control, &settings, &name).await?;
        read_plan(self.source().await?, &name, &ours, &effects, policy, &definition.placement).await
    }

    pub(super) async fn build_schema(&mut self) -> Result<(), Error> {
        // Read anew: what was read for an earlier attempt may have changed since.
        self.plan = None;
        let plan = self.plan().await?;
        self.target_is_fresh = false;
        let board = self.context.board.clone();
        let name = self.name.clone();
        board.database(&name, |view| view.statements_done = 0);
        // Unlike those for what comes after the data, these are kept until all is made: so a part of them only.
        let share = share(self.context.settings.index_workers, self.context.board.lock().being_filled());
        let (permits, workers) = take_permits(&self.context.build_permits, share).await;
        let mut helpers = Vec::new();
        for _ in 1..workers {
            helpers.push(schema::session(&self.context.destination, &name).await?);
        }
        let sessions: Vec<&Session> = std::iter::once(self.destination().await?).chain(&helpers).collect();
        let mut failures = before_data(&sessions, &name, &plan.statements, |n| {
            board.database(&name, |view| view.statements_done += n);
        })
        .await?;
        drop((permits, helpers));
        // A restarted controller must know of what is missing: the catalogs do not tell why.
        self.remember_failed(&failures.record(&plan.statements)).await?;
        board.set_findings(&name, "schema", failures.findings(&name, &plan.statements, Section::BeforeData));
        self.schema_built = true;
        Ok(())
    }

    async fn remember_failed(&self, failed: &[Failed]) -> Result<(), Error> {
        let effects = ledger::in_force(&self.context.control, &self.context.mapping).await?;
        if let Some(effect) = effects.iter().find(|e| e.kind == Kind::Database && e.object == self.name) {
            ledger::amend(&self.context.control, effect.id, &json!({ "failed": failed })).await?;
        }
        Ok(())
    }

    /// What failed before the data and is still missing, as the ledger has it.
    async fn failed(&self) -> Result<Vec<Failed>, Error> {
        let effects = ledger::in_force(&self.context.control, &self.context.mapping).await?;
        let effect = effects.iter().find(|e| e.kind == Kind::Database && e.object == self.name);
        let failed = effect.and_then(|e| e.detail.get("failed")).cloned();
        Ok(failed.map(serde_json::from_value).transpose().map_err(Error::Remembered)?.unwrap_or_default())
    }

    /// What can't be made after the data for want of what failed before it.
    pub(super) async fn missing(&self, plan: &Plan) -> Result<Failures, Error> {
        Ok(Failures::remembered(&self.failed().await?, &plan.statements))
    }

    /// Tries once more what failed before the data: the operator may have mended it, on either side, or made the object by
    /// hand. Gives what is still missing.
    pub(super) async fn retry_failed(&mut self) -> Result<Failures, Error> {
        let effects = ledger::in_force(&self.context.control, &self.context.mapping).await?;
        let database = effects.iter().find(|e| e.kind == Kind::Database && e.object == self.name);
        if let Some(unsettled) = database.filter(|e| e.detail.get("unsettled") == Some(&json!(true))) {
            self.settle(unsettled.id).await?;
        }
        let failed = self.failed().await?;
        if failed.is_empty() {
            return Ok(Failures::default());
        }
        // Read anew: the source's definition may be what was mended.
        self.plan = None;
        let plan = self.plan().await?;
        let name = self.name.clone();
        let mut failures = schema::retry(self.destination().await?, &name, &failed, &plan.statements).await?;
        self.remember_failed(&failures.record(&plan.statements)).await?;
        self.context.board.set_findings(&name, "schema", failures.findings(&name, &plan.statements, Section::BeforeData));
        self.publish_late(failures.made_tables(&failed, &plan.statements)).await?;
        Ok(failures)
    }

    /// Puts tables that could only be made now into the publication: they are copied like any other, while the rest streams.
    async fn publish_late(&mut self, made: HashSet<TableName>) -> Result<(), Error> {
        // Those that were in use the last time are tried once more.
        self.unpublished.extend(made);
        if self.unpublished.is_empty() {
            return Ok(());
        }
        let (names, name, policy) = (self.names.clone(), self.name.clone(), self.context.settings.replica_identity);
        let (control, mapping) = (Arc::clone(&self.context.control), self.context.mapping.clone());
        let source = self.source().await?;
        let mut tables = table::read(source).await.map_err(Error::doing("reading the source's tables"))?;
        tables.retain(|t| self.unpublished.contains(&(t.schema.clone(), t.name.clone())));
        let Some(source) = &self.source else { return Ok(()) };
        let outcome = publication::ensure(source, &control, &mapping, &name, &names, &tables, policy).await?;
        self.unpublished.clear();
        self.context.board.set_findings(&name, "late publication", outcome.refused.into_values().collect());
        self.tables = None;
        Ok(())
    }

    pub(super) async fn publish(&mut self) -> Result<(), Error> {
        let (names, name, policy) = (self.names.clone(), self.name.clone(), self.context.settings.replica_identity);
        let (control, mapping) = (Arc::clone(&self.context.control), self.context.mapping.clone());
        let destination = table::read(self.destination().await?).await.map_err(Error::doing("reading the tables made"))?;
        let made: HashSet<(String, String)> = destination.into_iter().map(|t| (t.schema, t.name)).collect();
        let tables = self.tables().await?;
        // A table whose statement failed has its finding; the others go on.
        let made = |t: &&table::Table| made.contains(&(t.schema.clone(), t.name.clone()));
        let tables: Vec<table::Table> = tables.iter().filter(made).cloned().collect();
        let source = self.source().await?;
        let outcome = publication::ensure(source, &control, &mapping, &name, &names, &tables, policy).await?;
        self.context.board.set_findings(&name, "publication", outcome.refused.into_values().collect());
        self.published = true;
        Ok(())
    }

    pub(super) async fn create_slot(&mut self, stream: usize) -> Result<(), Error> {
        let (names, name) = (self.names[stream].clone(), self.name.clone());
        ledger::record(&self.context.control, &self.context.mapping, Side::Source, &name, Kind::Slot, &names.slot, &json!({}))
            .await?;
        let context = self.context.clone();
        self.source().await?;
        let observer = self.source.take();
        // A session of its own: a slot waits for running transactions, as long as they run.
        let seat = context.gentle.room.seats(1).await;
        let source = context.source.connect(&name).await?;
        let options = Options::of(source.version(), context.settings.failover_slots, false);
        let created = telling_blockers(&context, &name, observer.as_ref(), slot::create(&source, &names, options)).await;
        drop((source, seat));
        self.source = observer;
        Ok(created?)
    }

    pub(super) async fn subscribe(&mut self, stream: usize) -> Result<(), Error> {
        let names = self.names[stream].clone();
        let asked = self.context.settings.binary;
        let (context, name) = (self.context.clone(), self.name.clone());
        let source = self.source().await?;
        let looking = "looking for what the stream is to be made with";
        let safe = asked && options::unsafe_in_binary(source, &names).await.map_err(Error::doing(looking))?.is_empty();
        // What the slot is like was decided when it was made.
        let failover = slot::is_failover(source, &names).await.map_err(Error::doing(looking))?;
        let inserts = publication::observe(source, &names).await.map_err(Error::doing(looking))?.has_inserts;
        let options = Options::of(source.version(), failover, safe);
        // In any case: a stream in binary form may have to go on with text.
        if let Some(set) = money::align(source, &context.control, &context.mapping, &context.destination, &name).await? {
            context.board.event(&name, "info", set);
        }
        self.record_subscription(&names).await?;
        subscription::create(&context.destination, &name, &context.source, &name, &names, inserts, options).await?;
        self.note_subscription(&names).await
    }

    async fn record_subscription(&self, names: &Names) -> Result<i64, Error> {
        let Context { control, mapping, .. } = &self.context;
        let kind = Kind::Subscription;
        Ok(ledger::record(control, mapping, Side::Destination, &self.name, kind, names.subscription(), &json!({})).await?)
    }

    /// From here on the tables may hold rows.
    pub(super) async fn note_subscription(&self, names: &Names) -> Result<(), Error> {
        let effect = self.record_subscription(names).await?;
        Ok(ledger::amend(&self.context.control, effect, &json!({ "made": true })).await?)
    }

    /// Finds out what an order means, and orders of it what travels beside the stream.
    async fn order_meant(&mut self, word: Option<&str>) -> Result<Meant, Error> {
        let Some(word) = word else {
            self.order_beside(None).await?;
            return Ok(Meant::All);
        };
        let looking = "looking for the table that is to be copied anew";
        let beside = beside::tables::read(self.source().await?).await.map_err(Error::doing(looking))?;
        let streamed = table::read(self.destination().await?).await.map_err(Error::doing(looking))?;
        let mut there: BTreeSet<TableName> = beside.into_iter().map(|t| (t.schema, t.name)).collect();
        there.extend(streamed.into_iter().map(|t| (t.schema, t.name)));
        let table = resync::named(&there, word)?;
        Ok(if self.order_beside(Some(&table)).await? { Meant::Beside } else { Meant::Table(table) })
    }

    /// Carries out what was ordered of this database: only its own task may, since it is the one that starts the stream.
    pub(super) async fn carry_out_orders(&mut self) -> Result<(), Error> {
        let orders = self.context.orders.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name).unwrap_or_default();
        if !orders.is_empty() {
            // Whatever held before: it is to be found anew.
            self.context.board.database(&self.name, |view| view.checks.clear());
        }
        let mut orders = orders.into_iter();
        while let Some(order) = orders.next() {
            // Whoever asked may be gone; then the request is open still, and asked again at the next start.
            let meant = match self.order_meant(order.table.as_deref()).await {
                Ok(Meant::Beside) => {
                    let _ = order.answer.send(Ok(1));
                    continue;
                }
                Ok(Meant::All) => None,
                Ok(Meant::Table(table)) => Some(table),
                Err(error) => {
                    let _ = order.answer.send(Err(error.to_string()));
                    continue;
                }
            };
            let names = self.names.clone();
            let (name, policy) = (self.name.clone(), self.context.settings.replica_identity);
            self.source().await?;
            let mut destination = schema::session(&self.context.destination, &name).await?;
            let Some(source) = &self.source else { return Ok(()) };
            let context = &self.context;
            self.searcher.look_again();
            let detached = async {
                let failed = |e| resync::Error::Statement(e);
                let lost = resync::lost_slots(source, &names).await?;
                if meant.is_some() && !lost.is_empty() {
                    return Err(resync::Error::NoSlot);
                }
                // What streams carried that have lost their slots is to be copied anew, if there are such; the others go on.
                let streams: Vec<Names> = if lost.is_empty() { names.clone() } else { lost.iter().copied().cloned().collect() };
                let mut detached = resync::detach(&mut destination, &streams, meant.as_ref()).await?;
                if meant.is_none() {
                    let written = source.query_one("SELECT pg_catalog.pg_current_wal_flush_lsn()", &[]).await.map_err(failed)?;
                    for names in &streams {
                        subscription::begin_by(&destination, names, written.get(0)).await?;
                    }
                    // So that what was applied before is not missed.
                    context.board.database(&name, |view| view.history = None);
                }
                // With one table anew, the rows that others miss are not to be forgotten.
                if meant.is_none() {
                    resync::forget_failures(&destination, &streams).await?;
                }
                // One that is not attached failed to be copied, or was refused by the source: it is tried once more.
                detached.extend(meant.clone());
                // One that was taken out of its stream waits for this.
                let is_meant = |d: &&Detached| meant.as_ref().is_none_or(|(schema, name)| d.schema == *schema && d.name == *name);
                for table in self.detached.iter().filter(is_meant) {
                    ledger::undone(&context.control, table.effect, "copied anew").await?;
                    detached.insert((table.schema.clone(), table.name.clone()));
                }
                // Now nothing depends on what a lost slot no longer has: the loop makes a new one.
                for names in lost {
                    slot::drop(source, &names.slot).await.map_err(failed)?;
                    let (control, mapping) = (&context.control, &context.mapping);
                    ledger::record(control, mapping, Side::Source, &name, Kind::Slot, &names.slot, &json!({})).await?;
                }
                // A table that was made anew on the source is not in the publication: it is put in again.
                let mut tables = table::read(source).await.map_err(failed)?;
                tables.retain(|t| detached.contains(&(t.schema.clone(), t.name.clone())));
                let published =
                    publication::ensure(source, &context.control, &context.mapping, &name, &names, &tables, policy).await?;
                context.board.database(&name, |view| {
                    for found in ["publication", "late publication"] {
                        let findings = view.findings.entry(found).or_default();
                        findings
                            .retain(|f| !tables.iter().any(|t| t.label() == f.object && !published.refused.contains_key(&t.oid)));
                    }
                });
                if let (Some(_), Some(refused)) = (&meant, published.refused.into_values().next()) {
                    return Err(resync::Error::Refused(refused.reason));
                }
                Ok::<_, resync::Error>((detached.len(), tables))
            };
            let outcome = detached.await;
            let in_use = match outcome {
                Err(resync::Error::Publication(error @ publication::Error::Locked { .. })) if meant.is_some() => Err(error),
                outcome => Ok(outcome.map_err(|error| error.to_string())),
            };
            let outcome = match in_use {
                Ok(outcome) => outcome,
                Err(error) => {
                    // The others stream on meanwhile.
                    self.put_off(std::iter::once(order).chain(orders).collect(), error.into()).await;
                    return Ok(());
                }
            };
            self.context.board.set_findings(&self.name, "orders", Vec::new());
            let outcome = outcome.map(|(detached, tables)| {
                // What failed to be copied is tried at once.
                let is_ordered = |oid: u32| meant.is_none() || tables.iter().any(|t| t.oid == oid);
                self.failed.iter_mut().filter(|(oid, _)| is_ordered(**oid)).for_each(|(_, failed)| failed.cooling.end());
                self.tables = None;
                if meant.is_some() { detached } else { detached + self.failed.len() }
            });
            // What was compared before says nothing of the fresh copy.
            self.forget_comparison();
            let _ = order.answer.send(outcome);
            // Whoever has something copied anew may have changed the schema before: what is missing is told by the source as it is now.
            self.plan = None;
            self.finished = false;
            self.only_looked = false;
            self.watcher = Watcher::default();
        }
        Ok(())
    }

    /// Orders that could not be carried out for now, since a table is in use: the next round tries again.
    async fn put_off(&mut self, orders: Vec<Order>, error: Error) {
        let lockers = stall::lockers(&self.context, &self.name, &error).await.map(|lockers| format!("; {lockers}"));
        let finding = Finding {
            severity: Severity::Warning,
            database: self.name.clone(),
            code: Code::StepFailed,
            object: self.name.clone(),
            reason: format!("{error}{}", lockers.unwrap_or_default()),
            fix: "it is tried again by itself; if it stays, end the transactions that write to these tables".to_owned(),
            statement: None,
        };
        self.context.board.set_findings(&self.name, "orders", vec![finding]);
        let mut open = self.context.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let later = open.remove(&self.name).unwrap_or_default();
        open.insert(self.name.clone(), orders.into_iter().chain(later).collect());
        drop(open);
        self.tables = None;
        self.forget_comparison();
        self.finished = false;
        self.watcher = Watcher::default();
    }
}

/// Reads the source's objects in one snapshot, and makes the plan. What the ledger says we changed there is planned as it
/// was before us.
pub async fn read_plan(
    source: &mut Session,
    database: &str,
    our_publications: &[String],
    effects: &[SideEffect],
    policy: crate::config::ReplicaIdentityPolicy,
    placement: &Placement,
) -> Result<Plan, Error> {
    let version = source.version();
    let reading = "reading the source's schema";
    let transaction = source
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
        .map_err(Error::doing(reading))?;
    let tables = table::read(transaction.client()).await.map_err(Error::doing(reading))?;
    let mut options = plan::Options { tablespaces: placement.relations.clone(), ..plan::Options::default() };
    let mut left_out = Vec::new();
    let with_inserts = publication::has_inserts(effects, database, policy);
    let mut inserts_only = Vec::new();
    for table in &tables {
        let changed = effects.iter().find(|e| {
            e.kind == Kind::ReplicaIdentity
                && e.database == database
                && e.detail.get("oid").and_then(serde_json::Value::as_u64) == Some(u64::from(table.oid))
        });
        let original = changed.and_then(publication::original_identity);
        let original = original.unwrap_or_else(|| table.replica_identity.clone());
        match publication::carriage(table, policy, with_inserts) {
            Ok(Carriage::Whole(streaming)) if streaming != original => {
                options.replica_identity.insert(table.oid, plan::ReplicaIdentityChange { original, streaming });
            }
            Ok(Carriage::Whole(_)) => {}
            Ok(Carriage::Inserts) => inserts_only.push(table),
            Err(why) => left_out.push(publication::no_identity(database, table, &why)),
        }
    }
    let inserts_only = publication::inserts_only(database, &inserts_only);
    // Of very many tables it takes much memory.
    drop(tables);
    let catalog = object::introspect(transaction.client(), version, our_publications).await?;
    transaction.commit().await.map_err(Error::doing(reading))?;
    let mut plan = plan::plan(&catalog, &options);
    drop(catalog);
    plan.findings.extend(left_out);
    plan.findings.extend(inserts_only);
    for finding in &mut plan.findings {
        finding.database.clear();
        finding.database.push_str(database);
    }
    Ok(plan)
}
