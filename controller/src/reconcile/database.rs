//! One database of a mapping: observes both sides, decides, acts, and looks again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::decide::{self, Observed, Refusal, Step, Target};
use super::watch::{Outcome, Watcher};
use super::{Context, Mode};
use crate::copy::{self, Table, pass, table};
use crate::finding::{Finding, Severity};
use crate::ledger::{self, Kind, Side, SideEffect};
use crate::monitor::board::{Phase, TableStage};
use crate::plan::{self, Plan, Section};
use crate::postgres::{self, Session, quote, retry};
use crate::provision::{carry, databases, schema};
use crate::stream::slot;
use crate::stream::subscription::{self, Subscription, TableState};
use crate::stream::{Names, publication, resync};
use crate::{object, preflight};

/// A table that failed is tried again after this long.
const TABLE_COOLS_FOR: Duration = Duration::from_secs(10);
/// Doubling at every failure, up to this: each try stops the stream of the others for as long as it takes.
const TABLE_COOLS_AT_MOST: Duration = Duration::from_hours(1);
/// A step that fails for longer than this is no passing trouble any more.
const FAILING_IS_AN_ERROR_AFTER: Duration = Duration::from_mins(1);
/// Statements that failed are tried once more after this long.
const FINISH_AGAIN_AFTER: Duration = Duration::from_mins(2);
/// A refused database is looked at again after this long.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// Why a step did not succeed. The loop tells it, waits and looks again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A server can't be reached.
    #[error(transparent)]
    Connect(#[from] postgres::connect::Error),
    /// A statement failed.
    #[error("{doing}: {}", retry::message(.source))]
    Statement {
        /// What was being done.
        doing: &'static str,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// The source's catalogs.
    #[error(transparent)]
    Object(#[from] object::Error),
    /// The definition of the database.
    #[error(transparent)]
    Definition(#[from] carry::Error),
    /// The checks before the first step.
    #[error(transparent)]
    Preflight(#[from] preflight::Error),
    /// The schema.
    #[error(transparent)]
    Schema(#[from] schema::Error),
    /// The publication.
    #[error(transparent)]
    Publication(#[from] publication::Error),
    /// The slot.
    #[error(transparent)]
    Slot(#[from] slot::Error),
    /// The subscription.
    #[error(transparent)]
    Subscription(#[from] subscription::Error),
    /// The pass.
    #[error(transparent)]
    Pass(#[from] pass::Error),
}

impl Error {
    /// Adds what was being done to a driver's error.
    pub fn doing(doing: &'static str) -> impl FnOnce(tokio_postgres::Error) -> Self {
        move |source| Self::Statement { doing, source }
    }
}

/// One database, with what this process knows of it beyond the catalogs.
#[allow(clippy::struct_excessive_bools)] // they become facts of `Observed`
pub struct Database {
    context: Context,
    /// Its name, the same on both sides.
    name: String,
    names: Names,
    mode: watch::Receiver<Mode>,
    source: Option<Session>,
    destination: Option<Session>,
    plan: Option<Arc<Plan>>,
    target_is_fresh: bool,
    schema_built: bool,
    published: bool,
    built: bool,
    finished: bool,
    in_step: bool,
    statements_open: usize,
    failed: HashMap<u32, Cooling>,
    /// Since when every step has failed.
    failing_since: Option<Instant>,
    /// When what failed is to be tried once more.
    retry_finish_at: Option<Instant>,
    watcher: Watcher,
}

/// A table that failed, and is left alone for a while.
#[derive(Debug, Clone, Copy)]
struct Cooling {
    since: Instant,
    tries: u32,
}

impl Cooling {
    fn is_cooling(&self) -> bool {
        let pause = TABLE_COOLS_FOR.saturating_mul(1 << self.tries.saturating_sub(1).min(16)).min(TABLE_COOLS_AT_MOST);
        self.since.elapsed() < pause
    }
}

/// What was observed, with the things that acting needs.
struct Picture {
    observed: Observed,
    subscription: Option<Subscription>,
    /// Published tables that are not attached and not cooling.
    to_copy: Vec<Table>,
    /// Source OIDs of the attached ones, and their sizes.
    attached: Vec<(u32, i64)>,
}

impl Database {
    /// A database that nothing is known of yet.
    pub fn new(context: Context, name: String, source_oid: u32, mode: watch::Receiver<Mode>) -> Self {
        let names = Names::new(&context.mapping, source_oid);
        Self {
            context,
            name,
            names,
            mode,
            source: None,
            destination: None,
            plan: None,
            target_is_fresh: false,
            schema_built: false,
            published: false,
            built: false,
            finished: false,
            in_step: false,
            statements_open: 0,
            failed: HashMap::new(),
            failing_since: None,
            retry_finish_at: None,
            watcher: Watcher::default(),
        }
    }

    /// The loop. Ends when the mode is [`Mode::Stop`].
    pub async fn run(mut self) {
        let mut waits = retry::backoff();
        while *self.mode.borrow_and_update() != Mode::Stop {
            let pause = match Box::pin(self.step()).await {
                Ok(pause) => {
                    waits = retry::backoff();
                    self.failing_since = None;
                    self.context.board.set_findings(&self.name, "step", Vec::new());
                    pause
                }
                Err(error) => {
                    let pause = waits.next().unwrap_or(REFUSED_FOR);
                    self.fail(&error);
                    Some(pause)
                }
            };
            if let Some(pause) = pause {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    // The sender is gone only when the whole mapping is being stopped.
                    _ = self.mode.changed() => {}
                }
            }
        }
    }

    fn fail(&mut self, error: &Error) {
        self.source = None;
        self.destination = None;
        // What a server has lost with its last moments is found out by looking again.
        self.built = false;
        self.finished = false;
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        let severity = if since.elapsed() < FAILING_IS_AN_ERROR_AFTER { Severity::Warning } else { Severity::Error };
        self.context.board.database(&self.name, |view| view.checks.clear());
        self.context.board.set_findings(
            &self.name,
            "step",
            vec![Finding {
                severity,
                database: self.name.clone(),
                code: "step_failed",
                object: self.name.clone(),
                reason: error.to_string(),
                fix: "it is tried again by itself; if it stays, mend what the message names".to_owned(),
                statement: None,
            }],
        );
    }

    /// One round. Gives how long to wait before the next one, if at all.
    async fn step(&mut self) -> Result<Option<Duration>, Error> {
        self.carry_out_orders().await?;
        let picture = self.observe().await?;
        let step = decide::decide(&picture.observed);
        tracing::debug!(?step, observed = ?picture.observed, "decided");
        let board = &self.context.board;
        if !matches!(step, Step::Refuse(_)) {
            board.set_findings(&self.name, "refusal", Vec::new());
        }
        match step {
            Step::Refuse(refusal) => {
                let finding = self.refusal(refusal);
                self.context.board.set_findings(&self.name, "refusal", vec![finding]);
                self.context.board.set_phase(&self.name, Phase::Refused);
                return Ok(Some(REFUSED_FOR));
            }
            Step::Pause => {
                board.set_phase(&self.name, Phase::Paused);
                return Ok(Some(self.context.tick));
            }
            Step::DropDatabase => self.drop_database().await?,
            Step::CreateDatabase => {
                if !self.sound().await? {
                    self.context.board.set_phase(&self.name, Phase::Refused);
                    return Ok(Some(REFUSED_FOR));
                }
                self.context.board.set_phase(&self.name, Phase::Schema);
                self.create_database().await?;
            }
            Step::BuildSchema => {
                board.set_phase(&self.name, Phase::Schema);
                self.build_schema().await?;
            }
            Step::Publish => {
                board.set_phase(&self.name, Phase::Connecting);
                self.publish().await?;
            }
            Step::CreateSlot => {
                board.set_phase(&self.name, Phase::Connecting);
                self.create_slot().await?;
            }
            Step::Subscribe => self.subscribe().await?,
            Step::Disable => {
                let name = self.names.slot.clone();
                subscription::disable(self.destination().await?, &name).await?;
                self.finished = false;
            }
            Step::Copy => {
                self.context.board.set_phase(&self.name, Phase::Copying);
                Box::pin(self.copy(picture)).await?;
            }
            Step::Build => {
                self.context.board.set_phase(&self.name, Phase::Building);
                self.build_rest(&picture.attached).await?;
            }
            Step::Enable => {
                let names = self.names.clone();
                subscription::enable(self.destination().await?, &names).await?;
                self.context.board.event(&self.name, "info", "the stream is enabled".to_owned());
                self.watcher = Watcher::default();
            }
            Step::Finish => {
                self.context.board.set_phase(&self.name, Phase::Finishing);
                self.finish().await?;
            }
            Step::Watch => {
                if let Some(subscription) = picture.subscription {
                    self.watch(subscription).await?;
                }
            }
        }
        Ok(None)
    }

    fn has_orders(&self) -> bool {
        self.context.orders.lock().unwrap_or_else(PoisonError::into_inner).get(&self.name).is_some_and(|o| !o.is_empty())
    }

    /// Carries out what was ordered of this database: only its own task may, since it is the one that starts the stream.
    async fn carry_out_orders(&mut self) -> Result<(), Error> {
        let orders = self.context.orders.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name).unwrap_or_default();
        for order in orders {
            let names = self.names.clone();
            let (name, policy) = (self.name.clone(), self.context.settings.replica_identity);
            self.source().await?;
            let mut destination = schema::session(&self.context.destination, &name).await?;
            let Some(source) = &self.source else { return Ok(()) };
            let context = &self.context;
            let detached = async {
                let failed = |e| resync::Error::Statement(e);
                let Some(found) = subscription::observe(&destination, &names).await.map_err(failed)? else { return Ok(0) };
                let detached = resync::detach(&mut destination, &names, found, order.table.as_deref()).await?;
                // A table that was made anew on the source is not in the publication: it is put in again.
                let mut tables = table::read(source).await.map_err(failed)?;
                tables.retain(|t| detached.contains(&(t.schema.clone(), t.name.clone())));
                publication::ensure(source, &context.control, &context.mapping, &name, &names, &tables, policy).await?;
                Ok::<_, resync::Error>(detached.len())
            };
            let outcome = detached.await.map_err(|error| error.to_string());
            // Whoever asked may be gone; then the request is open still, and asked again at the next start.
            let _ = order.answer.send(outcome);
            self.finished = false;
            self.watcher = Watcher::default();
        }
        Ok(())
    }

    async fn source(&mut self) -> Result<&mut Session, Error> {
        if self.source.as_ref().is_none_or(|s| s.is_closed()) {
            let session = self.context.source.connect(&self.name).await?;
            // Whatever somebody on the source has locked: we look again later, and nobody waits behind us.
            session.batch_execute("SET lock_timeout = '5s'").await.map_err(Error::doing("preparing to look at the source"))?;
            self.source = Some(session);
        }
        // It was put there just now.
        Ok(self.source.as_mut().expect("the session was opened above"))
    }

    async fn destination(&mut self) -> Result<&Session, Error> {
        if self.destination.as_ref().is_none_or(|s| s.is_closed()) {
            self.destination = Some(schema::session(&self.context.destination, &self.name).await?);
        }
        Ok(self.destination.as_ref().expect("the session was opened above"))
    }

    async fn observe(&mut self) -> Result<Picture, Error> {
        let effects = ledger::in_force(&self.context.control, &self.context.mapping).await?;
        let target = target(&self.context.control, &self.name, &effects).await?;
        let names = self.names.clone();
        let source = self.source().await?;
        let slot = slot::observe(source, &names).await.map_err(Error::doing("looking at the slot"))?;
        let published = publication::observe(source, &names).await.map_err(Error::doing("looking at the publication"))?;
        let tables = table::read(source).await.map_err(Error::doing("reading the source's tables"))?;
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

    fn show_tables<'s>(&self, tables: &[&Table], state: impl Fn(&Table) -> Option<&'s TableState>) {
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

    fn refusal(&self, refusal: Refusal) -> Finding {
        let (code, object, reason, fix) = match refusal {
            Refusal::DatabaseExists => return preflight::database_exists(&self.name),
            Refusal::SlotExists => (
                "slot_exists",
                format!("slot {}", self.names.slot),
                format!("{} has a replication slot of this name that was not made by this mapping", self.context.source.name),
                "give the mapping another name, or drop the slot on the source if nobody needs it".to_owned(),
            ),
            Refusal::SlotLost => (
                "slot_lost",
                format!("slot {}", self.names.slot),
                "the source has discarded log that the stream still needed (max_slot_wal_keep_size): changes are missing, so the \
                 stream can't go on"
                    .to_owned(),
                format!(
                    "drop subscription and database {} on the destination and the slot on the source, then start again; give the \
                     source more room for log first",
                    self.name
                ),
            ),
            Refusal::SubscriptionGone => (
                "subscription_gone",
                format!("subscription {}", self.names.subscription()),
                "the stream's subscription was here and is gone: the database is left as it is, for it may be in use".to_owned(),
                format!(
                    "if it has been switched over: SELECT migrator.mark_complete('{}'); otherwise drop database {} on the \
                     destination and give the mapping another name, to begin anew",
                    self.context.mapping, self.name
                ),
            ),
            Refusal::SlotGone => (
                "slot_gone",
                format!("slot {}", self.names.slot),
                "the stream's slot is no longer on the source: changes may be missing, so the stream can't go on".to_owned(),
                format!("drop subscription and database {} on the destination, then start again", self.name),
            ),
        };
        Finding { severity: Severity::Error, database: self.name.clone(), code, object, reason, fix, statement: None }
    }

    /// The checks of this database, before anything is made of it.
    async fn sound(&mut self) -> Result<bool, Error> {
        let name = self.name.clone();
        let control = Arc::clone(&self.context.control);
        let (definition, _) = carry::definition(self.source().await?, &control, &name).await?;
        let findings = preflight::database(self.source().await?, &control, &definition).await?;
        let sound = findings.iter().all(|f| f.severity != Severity::Error);
        self.context.board.set_findings(&self.name, "preflight", findings);
        Ok(sound)
    }

    /// Makes the database under a name of our own, writes down its OID, and gives it its real name: so that at no moment
    /// one that somebody else made in between could be taken for ours.
    async fn create_database(&mut self) -> Result<(), Error> {
        let name = self.name.clone();
        let control = Arc::clone(&self.context.control);
        let (definition, unknown) = carry::definition(self.source().await?, &control, &name).await?;
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
        ledger::amend(&control, effect, &json!({ "oid": oid })).await?;
        run(format!("ALTER DATABASE {} RENAME TO {}", quote::ident(&temporary), quote::ident(&name))).await?;
        let (mapping, settings) = (self.context.mapping.clone(), self.context.settings.clone());
        let findings = carry::settle_database(&mapping, &settings, self.source().await?, &control, &definition, &unknown).await?;
        self.context.board.set_findings(&self.name, "database", findings);
        self.target_is_fresh = true;
        self.schema_built = false;
        Ok(())
    }

    /// Drops our own database, which a controller that is gone left half built and without a row in it.
    async fn drop_database(&mut self) -> Result<(), Error> {
        self.context.board.event(&self.name, "info", "beginning anew: the schema was left half built".to_owned());
        self.destination = None;
        self.context
            .control
            .batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", quote::ident(&self.name)))
            .await
            .map_err(Error::doing("dropping the half-built database"))
    }

    /// The plan, read from the source once in this process.
    async fn plan(&mut self) -> Result<Arc<Plan>, Error> {
        if let Some(plan) = &self.plan {
            return Ok(Arc::clone(plan));
        }
        let effects = ledger::in_force(&self.context.control, &self.context.mapping).await?;
        let policy = self.context.settings.replica_identity;
        let name = self.name.clone();
        let ours = [self.names.publication.clone()];
        let plan = Arc::new(read_plan(self.source().await?, &name, &ours, &effects, policy).await?);
        self.context.board.set_findings(&self.name, "plan", plan.findings.clone());
        self.context.board.database(&self.name, |view| view.statements_total = plan.statements.len());
        self.plan = Some(Arc::clone(&plan));
        Ok(plan)
    }

    async fn build_schema(&mut self) -> Result<(), Error> {
        // Read anew: what was read for an earlier attempt may have changed since.
        self.plan = None;
        let plan = self.plan().await?;
        self.target_is_fresh = false;
        let board = self.context.board.clone();
        let name = self.name.clone();
        board.database(&name, |view| view.statements_done = 0);
        let session = self.destination().await?;
        let findings = schema::before_data(session, &name, &plan.statements, |n| {
            board.database(&name, |view| view.statements_done += n);
        })
        .await?;
        // A restarted controller must know of what is missing: the catalogs do not tell why.
        let effects = ledger::in_force(&self.context.control, &self.context.mapping).await?;
        if let Some(effect) = effects.iter().find(|e| e.kind == Kind::Database && e.object == name) {
            ledger::amend(&self.context.control, effect.id, &json!({ "failed": findings })).await?;
        }
        board.set_findings(&name, "schema", findings);
        self.schema_built = true;
        Ok(())
    }

    /// Tries once more what failed before the data: the operator may have mended it, or made the object by hand. Gives
    /// what is still missing.
    async fn retry_failed(&mut self) -> Result<usize, Error> {
        let name = self.name.clone();
        let effects = ledger::in_force(&self.context.control, &self.context.mapping).await?;
        let Some(effect) = effects.iter().find(|e| e.kind == Kind::Database && e.object == name) else { return Ok(0) };
        let failed: Vec<schema::Failed> =
            effect.detail.get("failed").cloned().and_then(|f| serde_json::from_value(f).ok()).unwrap_or_default();
        if failed.is_empty() {
            return Ok(0);
        }
        let session = self.destination().await?;
        let (still, findings) = schema::retry(session, &name, failed).await?;
        ledger::amend(&self.context.control, effect.id, &json!({ "failed": still })).await?;
        self.context.board.set_findings(&name, "schema", findings);
        Ok(still.len())
    }

    async fn publish(&mut self) -> Result<(), Error> {
        let (names, name, policy) = (self.names.clone(), self.name.clone(), self.context.settings.replica_identity);
        let (control, mapping) = (Arc::clone(&self.context.control), self.context.mapping.clone());
        let destination = table::read(self.destination().await?).await.map_err(Error::doing("reading the tables made"))?;
        let made: HashSet<(String, String)> = destination.into_iter().map(|t| (t.schema, t.name)).collect();
        let source = self.source().await?;
        let mut tables = table::read(source).await.map_err(Error::doing("reading the source's tables"))?;
        // A table whose statement failed has its finding; the others go on.
        tables.retain(|t| made.contains(&(t.schema.clone(), t.name.clone())));
        let outcome = publication::ensure(source, &control, &mapping, &name, &names, &tables, policy).await?;
        self.context.board.set_findings(&name, "publication", outcome.refused.into_values().collect());
        self.published = true;
        Ok(())
    }

    async fn create_slot(&mut self) -> Result<(), Error> {
        let (names, name) = (self.names.clone(), self.name.clone());
        ledger::record(&self.context.control, &self.context.mapping, Side::Source, &name, Kind::Slot, &names.slot, &json!({}))
            .await?;
        let context = self.context.clone();
        // A session of its own: a slot waits for running transactions, as long as they run.
        let source = context.source.connect(&name).await?;
        telling_blockers(&context, &name, slot::create(&source, &names)).await?;
        Ok(())
    }

    async fn subscribe(&mut self) -> Result<(), Error> {
        let context = &self.context;
        ledger::record(
            &context.control,
            &context.mapping,
            Side::Destination,
            &self.name,
            Kind::Subscription,
            self.names.subscription(),
            &json!({}),
        )
        .await?;
        subscription::create(&context.destination, &self.name, &context.source, &self.name, &self.names).await?;
        self.note_subscription().await
    }

    /// From here on the tables may hold rows.
    async fn note_subscription(&self) -> Result<(), Error> {
        let effect = ledger::record(
            &self.context.control,
            &self.context.mapping,
            Side::Destination,
            &self.name,
            Kind::Subscription,
            self.names.subscription(),
            &json!({}),
        )
        .await?;
        Ok(ledger::amend(&self.context.control, effect, &json!({ "made": true })).await?)
    }

    async fn copy(&mut self, picture: Picture) -> Result<(), Error> {
        let Some(subscription) = picture.subscription else { return Ok(()) };
        self.built = false;
        self.finished = false;
        let plan = self.plan().await?;
        let context = self.context.clone();
        let name = self.name.clone();
        let board = context.board.clone();
        let split_above = context.settings.split_above;
        let width = pass::width(&picture.to_copy, context.settings.copy_workers, split_above);
        let (permits, workers) = take_permits(&context.copy_permits, width).await;
        let (build_permits, builders) = take_permits(&context.build_permits, plan.statements.len()).await;
        let total = picture.to_copy.len();
        board.database(&name, |view| {
            view.copy_began = Some(Instant::now());
            view.bytes_at_start = view.bytes().1;
            view.statements_done = plan.statements.iter().filter(|s| s.section == Section::BeforeData).count();
        });
        let settings = pass::Settings {
            source: context.source.clone(),
            source_database: name.clone(),
            destination: context.destination.clone(),
            destination_database: name.clone(),
            control_database: context.control_database.clone(),
            subscription: subscription.oid,
            max_snapshot_age: context.settings.max_snapshot_age,
            split_above,
        };
        // Whether the stream ran before or was stopped by somebody who is gone: its worker must have come to rest.
        subscription::await_stopped(self.destination().await?, subscription.oid)
            .await
            .map_err(Error::doing("waiting for the apply worker to stop"))?;
        let (events, mut happened) = mpsc::unbounded_channel();
        let (signals, mut signalled) = mpsc::unbounded_channel();
        for &(table, bytes) in &picture.attached {
            // The receiver lives until the end of this function.
            let _ = signals.send(schema::Signal::TableCopied { table, bytes });
        }
        let (stop, stopped) = watch::channel(false);
        let mut mode = self.mode.clone();
        let mut attached = 0;
        let mut failed = Vec::new();
        let copying = async {
            let pass = telling_blockers(&context, &name, copy::pass::run(&settings, picture.to_copy, workers, &events, &stopped));
            let result = pass.await;
            drop(events);
            result
        };
        let handling = async {
            loop {
                tokio::select! {
                    event = happened.recv() => match event {
                        Some(event) => self_handle(&board, &name, event, &signals, &mut attached, &mut failed),
                        None => break,
                    },
                    Ok(()) = mode.changed() => { let _ = stop.send(*mode.borrow_and_update() != Mode::Run); }
                }
            }
            let _ = signals.send(schema::Signal::CopyOver);
        };
        let building =
            schema::build(&context.destination, &name, &plan.statements, Section::AfterData, builders, &mut signalled, |n| {
                board.database(&name, |view| view.statements_done += n);
            });
        let (copied, (), built) = tokio::join!(copying, handling, building);
        drop((permits, build_permits));
        let findings: Vec<Finding> = failed.iter().map(|(_, finding)| Finding::clone(finding)).collect();
        for (oid, _) in failed {
            let tries = self.failed.get(&oid).map_or(0, |c| c.tries) + 1;
            self.failed.insert(oid, Cooling { since: Instant::now(), tries });
        }
        board.set_findings(&self.name, "copy", findings);
        copied?;
        let findings = built?;
        self.built = attached == total && findings.is_empty();
        board.set_findings(&self.name, "build", findings);
        board.event(&self.name, "info", format!("copied {attached} of {total} tables"));
        Ok(())
    }

    async fn build_rest(&mut self, attached: &[(u32, i64)]) -> Result<(), Error> {
        let plan = self.plan().await?;
        let (permits, workers) = take_permits(&self.context.build_permits, plan.statements.len()).await;
        let (signals, mut signalled) = mpsc::unbounded_channel();
        for &(table, bytes) in attached {
            let _ = signals.send(schema::Signal::TableCopied { table, bytes });
        }
        let _ = signals.send(schema::Signal::CopyOver);
        let board = self.context.board.clone();
        let before = plan.statements.iter().filter(|s| s.section == Section::BeforeData).count();
        board.database(&self.name, |view| view.statements_done = before);
        let findings = schema::build(
            &self.context.destination,
            &self.name,
            &plan.statements,
            Section::AfterData,
            workers,
            &mut signalled,
            |n| board.database(&self.name, |view| view.statements_done += n),
        )
        .await?;
        drop(permits);
        board.set_findings(&self.name, "build", findings);
        self.built = true;
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Error> {
        let plan = self.plan().await?;
        let (permits, workers) = take_permits(&self.context.build_permits, plan.statements.len()).await;
        let (signals, mut signalled) = mpsc::unbounded_channel();
        for table in plan.statements.iter().filter_map(|s| s.table) {
            let _ = signals.send(schema::Signal::TableCopied { table, bytes: 0 });
        }
        let _ = signals.send(schema::Signal::CopyOver);
        let board = self.context.board.clone();
        let missing = self.retry_failed().await?;
        let before = plan.statements.iter().filter(|s| s.section == Section::BeforeData).count();
        board.database(&self.name, |view| view.statements_done = before);
        // What comes after the data once more: what failed, and what a destination that crashed has lost of it.
        let mut findings = schema::build(
            &self.context.destination,
            &self.name,
            &plan.statements,
            Section::AfterData,
            workers,
            &mut signalled,
            |n| board.database(&self.name, |view| view.statements_done += n),
        )
        .await?;
        board.set_findings(&self.name, "build", findings.clone());
        let (signals, mut signalled) = mpsc::unbounded_channel();
        for table in plan.statements.iter().filter_map(|s| s.table) {
            let _ = signals.send(schema::Signal::TableCopied { table, bytes: 0 });
        }
        let _ = signals.send(schema::Signal::CopyOver);
        let last = schema::build(
            &self.context.destination,
            &self.name,
            &plan.statements,
            Section::AfterStreaming,
            workers,
            &mut signalled,
            |n| board.database(&self.name, |view| view.statements_done += n),
        )
        .await?;
        drop(permits);
        board.set_findings(&self.name, "finish", last.clone());
        findings.extend(last);
        self.statements_open = findings.len() + missing;
        self.retry_finish_at = (self.statements_open > 0).then(|| Instant::now() + FINISH_AGAIN_AFTER);
        self.finished = true;
        Ok(())
    }

    /// Looks after the stream, tick by tick, until there is something else to decide.
    async fn watch(&mut self, subscription: Subscription) -> Result<(), Error> {
        let context = self.context.clone();
        let names = self.names.clone();
        loop {
            context.board.set_phase(&self.name, super::watch::phase(self.in_step, self.finished));
            let open = if self.finished { self.statements_open } else { self.statements_open.max(1) };
            self.source().await?;
            self.destination().await?;
            let (Some(source), Some(destination)) = (&self.source, &self.destination) else { return Ok(()) };
            let stream = super::watch::Stream {
                context: &context,
                database: &self.name,
                names: &names,
                subscription: subscription.oid,
                source,
                destination,
            };
            let outcome = self.watcher.tick(&stream, open).await.map_err(Error::doing("watching the stream"))?;
            self.in_step = self.watcher.in_step();
            let paused = *self.mode.borrow() == Mode::Paused;
            let to_finish = self.in_step && !self.finished && !self.failed.values().any(Cooling::is_cooling) && !paused;
            if self.retry_finish_at.is_some_and(|at| at <= Instant::now()) && !paused {
                self.finished = false;
                return Ok(());
            }
            if outcome == Outcome::Changed || to_finish || self.has_orders() {
                return Ok(());
            }
            let cooled = self.failed.values().any(|c| !c.is_cooling());
            if cooled && !paused {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(context.tick) => {}
                _ = self.mode.changed() => return Ok(()),
            }
        }
    }
}

/// Puts what a worker tells on the board, and lets the indexes of a copied table be built.
fn self_handle(
    board: &crate::monitor::board::Board,
    database: &str,
    event: pass::Event,
    signals: &mpsc::UnboundedSender<schema::Signal>,
    attached: &mut usize,
    failed: &mut Vec<(u32, Finding)>,
) {
    match event {
        pass::Event::Started(table, progress) => {
            board.set_waiting(database, None);
            board.database(database, |view| view.set_stage(&table.schema, &table.name, TableStage::Copying(progress)));
        }
        pass::Event::Attached(table, lsn) => {
            *attached += 1;
            board.database(database, |view| view.set_stage(&table.schema, &table.name, TableStage::Attached(lsn)));
            // The receiver lives as long as the build does.
            let _ = signals.send(schema::Signal::TableCopied { table: table.oid, bytes: table.bytes });
        }
        pass::Event::Failed(table, reason) => {
            tracing::warn!(table = table.label(), reason, "the table can't be copied");
            board.database(database, |view| {
                view.set_stage(&table.schema, &table.name, TableStage::Failed(reason.clone()));
            });
            failed.push((
                table.oid,
                Finding {
                    severity: Severity::Error,
                    database: database.to_owned(),
                    code: "copy_failed",
                    object: table.label(),
                    reason,
                    fix: "mend what the message names; the table is tried again by itself, at growing intervals".to_owned(),
                    statement: None,
                },
            ));
        }
    }
}

/// Takes at least one permit, and more, up to `wanted`, as far as nobody else has them.
async fn take_permits(semaphore: &Arc<Semaphore>, wanted: usize) -> (Vec<OwnedSemaphorePermit>, usize) {
    let mut permits = Vec::new();
    if let Ok(first) = Arc::clone(semaphore).acquire_owned().await {
        permits.push(first);
    }
    while permits.len() < wanted {
        match Arc::clone(semaphore).try_acquire_owned() {
            Ok(permit) => permits.push(permit),
            Err(_) => break,
        }
    }
    let count = permits.len().max(1);
    (permits, count)
}

/// Runs something that makes a slot, and says meanwhile which transactions on the source it waits for.
async fn telling_blockers<T>(context: &Context, database: &str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    // What is quick needs no second session.
    if let Ok(result) = tokio::time::timeout(Duration::from_secs(2), &mut work).await {
        return result;
    }
    let observer = async {
        let Ok(session) = context.source.connect(database).await else { return };
        loop {
            let waiting =
                context.board.database(database, |view| !view.tables.values().any(|t| matches!(t.stage, TableStage::Copying(_))));
            if !waiting {
                return;
            }
            match slot::blockers(&session).await {
                Ok(blockers) => context.board.set_waiting(
                    database,
                    blockers.map(|b| format!("transactions on the source that began before the snapshot: {b}")),
                ),
                Err(error) => {
                    tracing::debug!(%error, "can't tell what the snapshot waits for");
                    return;
                }
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    };
    let observer = async {
        observer.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = &mut work => {
            context.board.set_waiting(database, None);
            result
        }
        () = observer => unreachable!("the observer never ends"),
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

/// Reads the source's objects in one snapshot, and makes the plan. What the ledger says we changed there is planned as it
/// was before us.
pub async fn read_plan(
    source: &mut Session,
    database: &str,
    our_publications: &[String],
    effects: &[SideEffect],
    policy: crate::config::ReplicaIdentityPolicy,
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
    let catalog = object::introspect(transaction.client(), version, our_publications).await?;
    transaction.commit().await.map_err(Error::doing(reading))?;
    let mut options = plan::Options::default();
    let mut left_out = Vec::new();
    for table in &tables {
        let changed = effects.iter().find(|e| {
            e.kind == Kind::ReplicaIdentity
                && e.database == database
                && e.detail.get("oid").and_then(serde_json::Value::as_u64) == Some(u64::from(table.oid))
        });
        let original = changed.and_then(publication::original_identity);
        let original = original.unwrap_or_else(|| table.replica_identity.clone());
        match publication::wanted_identity(table, policy) {
            Ok(streaming) if streaming != original => {
                options.replica_identity.insert(table.oid, plan::ReplicaIdentityChange { original, streaming });
            }
            Ok(_) => {}
            Err(why) => left_out.push(publication::no_identity(database, table, &why)),
        }
    }
    let mut plan = plan::plan(&catalog, &options);
    plan.findings.extend(left_out);
    for finding in &mut plan.findings {
        finding.database.clear();
        finding.database.push_str(database);
    }
    Ok(plan)
}
