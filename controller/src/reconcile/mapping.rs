//! One mapping: its lock, its roles, the tasks of its databases, the operator's requests, and what is shown of it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::database::Database;
use super::request::{self, Kind, Request, Stage};
use super::{Context, Mode, Order};
use crate::config::{self, Config};
use crate::finding::{Finding, Severity};
use crate::ledger;
use crate::monitor::board::{Board, Phase};
use crate::monitor::projection::{self, Projection};
use crate::postgres::{self, Endpoint, Session, retry};
use crate::provision::{carry, control, roles};
use crate::{cleanup, cutover, preflight};

/// How long a mapping that was refused waits before it is looked at again.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// Why a mapping can't be run at the moment. It is told, and the mapping starts anew after a while.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A server can't be reached.
    #[error(transparent)]
    Connect(#[from] postgres::connect::Error),
    /// The control database.
    #[error(transparent)]
    Control(#[from] control::Error),
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
    /// The checks before the first step.
    #[error(transparent)]
    Preflight(#[from] preflight::Error),
    /// The roles.
    #[error(transparent)]
    Roles(#[from] carry::Error),
    /// The server ended a session, or went away.
    #[error("the session on the control database was lost")]
    Lost,
    /// The checks found what forbids to begin; the findings have been told.
    #[error("the mapping is refused: {0}")]
    Refused(String),
}

fn doing(doing: &'static str) -> impl FnOnce(tokio_postgres::Error) -> Error {
    move |source| Error::Statement { doing, source }
}

/// What the checks of both instances found.
#[derive(Debug)]
pub struct Before {
    /// About the source.
    pub source: Vec<Finding>,
    /// About the destination.
    pub destination: Vec<Finding>,
}

/// One mapping, as configured.
pub struct Mapping {
    name: String,
    settings: config::Mapping,
    source: Endpoint,
    destination: Endpoint,
    control_database: String,
    tick: Duration,
    board: Board,
}

/// The endpoints of a mapping, labelled so that a restarted controller finds its predecessor's sessions.
pub fn endpoints(config: &Config, name: &str, mapping: &config::Mapping, label: &str) -> (Endpoint, Endpoint) {
    let endpoint = |instance: &str| Endpoint {
        name: instance.to_owned(),
        instance: config.instances[instance].clone(),
        application_name: format!("pg-migrator/{label}{name}"),
    };
    (endpoint(&mapping.source), endpoint(&mapping.destination))
}

/// Runs until the task is dropped: starts anew, after a growing pause, whenever something breaks.
pub async fn run(config: Arc<Config>, name: String) {
    let settings = config.mappings[&name].clone();
    let (source, destination) = endpoints(&config, &name, &settings, "");
    let mut mapping = Mapping {
        name,
        settings,
        source,
        destination,
        control_database: config.control_database.clone(),
        tick: config.tick,
        board: Board::default(),
    };
    let mut waits = retry::backoff();
    loop {
        let began = Instant::now();
        let pause = match mapping.run_once().await {
            Ok(()) => return,
            Err(Error::Refused(reason)) => {
                tracing::warn!("refused, looking again in {} s: {reason}", REFUSED_FOR.as_secs());
                REFUSED_FOR
            }
            Err(error) => {
                if began.elapsed() > Duration::from_mins(1) {
                    waits = retry::backoff();
                }
                let pause = waits.next().unwrap_or(REFUSED_FOR);
                tracing::error!("{error}; starting anew in {:.1} s", pause.as_secs_f64());
                mapping.board.lock().events.push(crate::monitor::board::Event {
                    database: String::new(),
                    level: "error",
                    message: error.to_string(),
                });
                pause
            }
        };
        tokio::time::sleep(pause).await;
    }
}

impl Mapping {
    /// Runs the mapping until something breaks. Ends well only when it is complete.
    async fn run_once(&mut self) -> Result<(), Error> {
        if self.is_over().await? {
            return Ok(());
        }
        self.release_orphans().await?;
        let before = self.before_anything().await?;
        let destination_is_sound = reasons(&before.destination).is_none();
        let findings = [before.source, before.destination].concat();
        let refused = reasons(&findings);
        self.board.set_mapping_findings("preflight", findings);
        if let Some(reasons) = refused {
            if destination_is_sound {
                self.tell_refusal().await?;
            }
            return Err(Error::Refused(reasons));
        }
        let mut control = control::open(&self.destination, &self.control_database).await?;
        self.lock(&control).await?;
        let source = self.source.connect(&self.source.instance.database).await?;
        self.end_leftovers(&source, &control).await?;
        let mut projection = Projection::new(
            projection::Identity {
                mapping: self.name.clone(),
                source: self.source.name.clone(),
                destination: self.destination.name.clone(),
                source_version: Some(source.version()),
                destination_version: Some(control.version()),
            },
            self.board.clone(),
        );
        let mut stage = request::stage(&control, &self.name).await.map_err(doing("reading the requests"))?;
        if matches!(stage, Stage::Migrating { .. }) {
            projection.write(&mut control).await.map_err(doing("writing the projection"))?;
            self.carry_roles(&source, &control).await?;
            if let Some(reasons) = self.roles_refused() {
                projection.write(&mut control).await.map_err(doing("writing the projection"))?;
                return Err(Error::Refused(reasons));
            }
        }
        drop(source);
        let context = Context {
            mapping: self.name.clone(),
            settings: self.settings.clone(),
            source: self.source.clone(),
            destination: self.destination.clone(),
            control_database: self.control_database.clone(),
            tick: self.tick,
            board: self.board.clone(),
            control: Arc::new(self.destination.connect(&self.control_database).await?),
            copy_permits: Arc::new(Semaphore::new(self.settings.copy_workers)),
            build_permits: Arc::new(Semaphore::new(self.settings.index_workers)),
            orders: Arc::new(Mutex::new(BTreeMap::new())),
        };
        let (notified, mut notifications) = mpsc::unbounded_channel();
        let listener = self.destination.connect_listening(&self.control_database, notified).await?;
        listener.batch_execute("LISTEN migrator_request").await.map_err(doing("listening for requests"))?;
        loop {
            match stage {
                Stage::Complete => {
                    self.settle(&control, "complete", "complete").await?;
                    tracing::info!("complete");
                    return Ok(());
                }
                Stage::CutOver => self.await_completion(&context, &mut control, &mut notifications, "cut_over").await?,
                Stage::Completing => self.await_completion(&context, &mut control, &mut notifications, "completing").await?,
                Stage::Migrating { paused } => {
                    self.migrate(&context, &mut control, &mut projection, &mut notifications, paused).await?;
                }
            }
            stage = request::stage(&control, &self.name).await.map_err(doing("reading the requests"))?;
        }
    }

    /// Whether the mapping is complete: then nothing is checked any more, and a source that has been switched off since
    /// is no trouble.
    async fn is_over(&self) -> Result<bool, Error> {
        let Ok(maintenance) = self.destination.connect(&self.destination.instance.database).await else {
            // The checks will say why.
            return Ok(false);
        };
        if !control::exists(&self.destination, &maintenance, &self.control_database).await? {
            return Ok(false);
        }
        let control = self.destination.connect(&self.control_database).await?;
        let installed = control
            .query_one("SELECT pg_catalog.to_regclass('migrator.request') IS NOT NULL", &[])
            .await
            .map_err(doing("looking for the extension"))?;
        if !installed.get::<_, bool>(0) {
            return Ok(false);
        }
        let stage = request::stage(&control, &self.name).await.map_err(doing("reading the requests"))?;
        if stage == Stage::Complete {
            self.settle(&control, "complete", "complete").await?;
            tracing::info!("complete");
            return Ok(true);
        }
        Ok(false)
    }

    /// Lets writes in again on a source that a cutover which is over left blocked; before any check could refuse to go on.
    async fn release_orphans(&self) -> Result<(), Error> {
        let Ok(control) = self.destination.connect(&self.control_database).await else {
            // No control database, no cutover; a destination that can't be reached is told by the checks.
            return Ok(());
        };
        let there = control
            .query_one("SELECT pg_catalog.to_regclass('migrator.request') IS NOT NULL", &[])
            .await
            .map_err(doing("looking for the extension"))?;
        if !there.get::<_, bool>(0) {
            return Ok(());
        }
        let stage = request::stage(&control, &self.name).await.map_err(doing("reading the requests"))?;
        if !matches!(stage, Stage::Migrating { .. }) {
            // After a cutover the block stays until the completion.
            return Ok(());
        }
        let open = request::open(&control, &self.name).await.map_err(doing("reading the requests"))?;
        let running = open.iter().find_map(|r| match r.kind {
            Kind::Cutover(limit) if r.started => Some(limit),
            _ => None,
        });
        Ok(cutover::release_orphans(&self.source, &control, &self.name, running).await?)
    }

    /// What must hold before we may so much as make a control database: both servers answer, are what we know, and have
    /// room. Findings about single databases are left to those.
    async fn before_anything(&self) -> Result<Before, Error> {
        let (source, destination) = match preflight::reach(&self.source, &self.destination).await {
            (Ok(source), Ok(destination)) => (source, destination),
            (Err(source), Ok(destination)) => {
                let needs = preflight::DestinationNeeds {
                    streams: 0,
                    connections: 0,
                    subscription_prefix: String::new(),
                    databases: BTreeSet::new(),
                    ours: BTreeSet::new(),
                };
                let destination = preflight::destination(&destination, destination.version(), &needs).await?;
                return Ok(Before { source: vec![source], destination });
            }
            (source, Err(destination)) => {
                return Ok(Before { source: source.err().into_iter().collect(), destination: vec![destination] });
            }
        };
        let selected = databases(&self.source, &source, &self.settings).await?;
        let mut found = instance_findings(&self.name, &source, &destination, &selected, &[], &self.settings).await?;
        found.source.retain(|f| f.database.is_empty());
        found.destination.retain(|f| f.database.is_empty());
        if selected.is_empty() {
            found.source.push(Finding {
                severity: Severity::Error,
                database: String::new(),
                code: "no_database",
                object: format!("mapping {}", self.name),
                reason: "no database of the source is selected".to_owned(),
                fix: format!("look at [mappings.{}] databases.include and databases.exclude", self.name),
                statement: None,
            });
        }
        Ok(found)
    }

    /// Says in the control database that the mapping is refused. The destination itself is sound: so there may be one.
    async fn tell_refusal(&self) -> Result<(), Error> {
        let mut control = control::open(&self.destination, &self.control_database).await?;
        let identity = projection::Identity {
            mapping: self.name.clone(),
            source: self.source.name.clone(),
            destination: self.destination.name.clone(),
            source_version: None,
            destination_version: Some(control.version()),
        };
        Projection::new(identity, self.board.clone()).write(&mut control).await.map_err(doing("writing the projection"))
    }

    /// Only one controller may act on a mapping. A predecessor that was killed holds the lock until its server notices.
    async fn lock(&self, control: &Session) -> Result<(), Error> {
        let mut told = false;
        while !control::try_lock(control, &self.name).await.map_err(doing("locking the mapping"))? {
            if !told {
                tracing::warn!("waiting: another controller runs this mapping");
                told = true;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }

    /// Ends what a predecessor left running on both sides: a statement that goes on without its client would collide
    /// with the same statement of ours. We hold the lock, so these sessions are nobody's.
    async fn end_leftovers(&self, source: &Session, control: &Session) -> Result<(), Error> {
        const END: &str = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
                           WHERE application_name = $1 AND pid <> pg_catalog.pg_backend_pid()";
        for (session, endpoint) in [(source, &self.source), (control, &self.destination)] {
            for _ in 0..120 {
                let ended = session.query(END, &[&endpoint.application_name]).await.map_err(doing("ending leftover sessions"))?;
                if ended.is_empty() {
                    break;
                }
                tracing::info!(instance = endpoint.name, sessions = ended.len(), "ending sessions of a controller that is gone");
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        }
        Ok(())
    }

    async fn carry_roles(&self, source: &Session, control: &Session) -> Result<(), Error> {
        // Two mappings may bring roles onto the same destination: one after the other.
        const LOCK: &str = "SELECT pg_advisory_lock(hashtextextended('pg-migrator roles', 0))";
        const UNLOCK: &str = "SELECT pg_advisory_unlock(hashtextextended('pg-migrator roles', 0))";
        control.batch_execute(LOCK).await.map_err(doing("locking the roles"))?;
        let names = databases(&self.source, source, &self.settings).await?;
        let names = names.into_iter().map(|(_, name)| name).collect();
        let result = carry::carry_roles(&self.name, &self.settings, source, &self.destination, control, names).await;
        control.batch_execute(UNLOCK).await.map_err(doing("unlocking the roles"))?;
        let outcome = result?;
        self.board.set_mapping_findings("roles", outcome.findings);
        let mut view = self.board.lock();
        for (role, (fate, problem)) in outcome.fates {
            let state = if problem.is_some() { roles::Fate::Failed } else { fate };
            view.roles.insert(role, (state.as_str(), problem));
        }
        Ok(())
    }

    /// Why the roles forbid to go on: with roles = "fail", one that the destination has already.
    fn roles_refused(&self) -> Option<String> {
        let view = self.board.lock();
        let found: Vec<Finding> =
            view.findings.get("roles").into_iter().flatten().filter(|f| f.code == "role_exists").cloned().collect();
        reasons(&found)
    }

    /// Runs the databases' tasks, shows what they do, and handles requests, until one of them changes the stage.
    async fn migrate(
        &self,
        context: &Context,
        control: &mut Session,
        projection: &mut Projection,
        notifications: &mut mpsc::UnboundedReceiver<String>,
        mut paused: bool,
    ) -> Result<(), Error> {
        let (mode, _) = watch::channel(if paused { Mode::Paused } else { Mode::Run });
        let mut tasks = JoinSet::new();
        let mut known = BTreeMap::new();
        let mut running = BTreeMap::new();
        let mut ordered = BTreeMap::new();
        let mut ticks = 0_u64;
        loop {
            if ticks.is_multiple_of(30) {
                self.start_databases(context, &mode, &mut tasks, &mut known, &mut running).await?;
            }
            ticks += 1;
            projection.write(control).await.map_err(doing("writing the projection"))?;
            while let Some(ended) = tasks.try_join_next_with_id() {
                if let Err(error) = ended {
                    // A panic: its message is in the log. The database is taken up again at once, the others go on.
                    let name = running.remove(&error.id()).unwrap_or_default();
                    self.board.event(&name, "error", format!("the task of the database stopped unexpectedly: {error}"));
                    self.board.database(&name, |view| view.checks.clear());
                    known.remove(&name);
                    ticks = 0;
                }
            }
            let requests = request::open(control, &self.name).await.map_err(doing("reading the requests"))?;
            for request in requests {
                match &request.kind {
                    Kind::Pause | Kind::Resume => {
                        paused = request.kind == Kind::Pause;
                        mode.send_replace(if paused { Mode::Paused } else { Mode::Run });
                        self.board.event("", "info", if paused { "paused" } else { "resumed" }.to_owned());
                        self.answer(control, &request, true, &json!({})).await?;
                    }
                    Kind::Cutover(limit) if self.ready_or_late(control, &request, *limit).await? => {
                        mode.send_replace(Mode::Stop);
                        while tasks.join_next().await.is_some() {}
                        self.cut_over(context, control, projection, &request, *limit).await?;
                        return Ok(());
                    }
                    Kind::Complete if self.ready_or_late(control, &request, Duration::from_mins(5)).await? => {
                        mode.send_replace(Mode::Stop);
                        while tasks.join_next().await.is_some() {}
                        self.complete(context, control, projection, &request, true).await?;
                        return Ok(());
                    }
                    // Taken up as soon as every fact holds again.
                    Kind::Cutover(_) | Kind::Complete => {}
                    Kind::Resync { database, table } => {
                        if let Entry::Vacant(new) = ordered.entry(request.id) {
                            request::started(control, request.id).await.map_err(doing("beginning a resync"))?;
                            new.insert(order_resync(context, &known, database.as_deref(), table.as_deref()));
                            // Wakes the databases' tasks.
                            mode.send_modify(|_| {});
                        }
                        let Some(Ok(answers)) = ordered.get_mut(&request.id) else {
                            let error = ordered.remove(&request.id).and_then(Result::err);
                            self.answer(control, &request, false, &json!({ "error": error })).await?;
                            continue;
                        };
                        if let Some(outcome) = resync_outcome(answers) {
                            ordered.remove(&request.id);
                            let (ok, report) = match outcome {
                                Ok(tables) => (true, json!({ "tables": tables })),
                                Err(error) => (false, json!({ "error": error })),
                            };
                            self.board.event("", "info", format!("resync: {report}"));
                            self.answer(control, &request, ok, &report).await?;
                        }
                    }
                    Kind::Unsupported(kind) => {
                        let report = json!({ "error": format!("this version of pg-migrator can't {kind} yet") });
                        self.answer(control, &request, false, &report).await?;
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(self.tick) => {}
                Some(_) = notifications.recv() => {}
            }
            if context.control.is_closed() {
                return Err(Error::Lost);
            }
        }
    }

    /// Whether a request that needs readiness may be carried out now. One that has waited too long is answered with no.
    async fn ready_or_late(&self, control: &Session, request: &Request, limit: Duration) -> Result<bool, Error> {
        if request.started && request.kind != Kind::Complete {
            let effects = ledger::in_force(control, &self.name).await?;
            if effects.iter().any(|e| e.kind == ledger::Kind::WriteBlock) {
                // Begun by a controller that is gone: it is brought to an end, one way or the other.
                return Ok(true);
            }
        }
        let row = control
            .query_opt("SELECT ready, blockers FROM migrator.cutover_ready() WHERE mapping = $1", &[&self.name])
            .await
            .map_err(doing("looking at the readiness"))?;
        let Some(row) = row else { return Ok(false) };
        if row.get("ready") {
            return Ok(true);
        }
        if request.age > limit {
            let blockers: Vec<String> = row.get("blockers");
            self.answer(control, request, false, &json!({ "error": "not ready within the time limit", "blockers": blockers }))
                .await?;
        }
        Ok(false)
    }

    async fn answer(&self, control: &Session, request: &Request, ok: bool, report: &serde_json::Value) -> Result<(), Error> {
        request::finished(control, request.id, ok, report).await.map_err(doing("answering a request"))
    }

    /// Starts a task for every selected database that has none.
    async fn start_databases(
        &self,
        context: &Context,
        mode: &watch::Sender<Mode>,
        tasks: &mut JoinSet<()>,
        known: &mut BTreeMap<String, u32>,
        running: &mut BTreeMap<tokio::task::Id, String>,
    ) -> Result<(), Error> {
        let source = self.source.connect(&self.source.instance.database).await?;
        for (oid, name) in databases(&self.source, &source, &self.settings).await? {
            if known.insert(name.clone(), oid).is_none() {
                let span = tracing::info_span!("database", database = name);
                // What an earlier task of this database established says nothing any more.
                self.board.database(&name, |view| {
                    view.phase = Phase::Pending;
                    view.checks.clear();
                });
                let database = Database::new(context.clone(), name.clone(), oid, mode.subscribe());
                running.insert(tasks.spawn(database.run().instrument(span)).id(), name);
            }
        }
        Ok(())
    }

    async fn cut_over(
        &self,
        context: &Context,
        control: &mut Session,
        projection: &mut Projection,
        request: &Request,
        limit: Duration,
    ) -> Result<(), Error> {
        request::started(control, request.id).await.map_err(doing("beginning the cutover"))?;
        self.board.lock().phase = Some(Phase::CuttingOver);
        projection.write(control).await.map_err(doing("writing the projection"))?;
        // Beside it the views go on being written: whoever looks sees that somebody is at it.
        let cutting = cutover::run(context, limit);
        let mut cutting = Box::pin(cutting);
        let outcome = loop {
            tokio::select! {
                outcome = &mut cutting => break outcome,
                () = tokio::time::sleep(self.tick) => {
                    if let Err(error) = projection.write(control).await {
                        tracing::warn!(%error, "the views can't be written");
                    }
                }
            }
        };
        match outcome {
            Ok(report) => {
                self.answer(control, request, true, &json!(report)).await?;
                self.board.event("", "info", format!("cut over in {:.3} s", report.seconds));
                let mut view = self.board.lock();
                view.phase = Some(Phase::CutOver);
                for database in view.databases.values_mut() {
                    database.phase = Phase::CutOver;
                }
            }
            Err(error) => {
                self.answer(control, request, false, &json!({ "error": error.to_string() })).await?;
                self.board.event("", "error", format!("the cutover was undone: {error}"));
                let mut view = self.board.lock();
                view.phase = None;
                // What was established before the attempt says nothing any more.
                for database in view.databases.values_mut() {
                    database.phase = Phase::Pending;
                    database.checks.clear();
                }
            }
        }
        projection.write(control).await.map_err(doing("writing the projection"))
    }

    /// Between cutover and completion nothing is to be done but to wait for the operator.
    async fn await_completion(
        &self,
        context: &Context,
        control: &mut Session,
        notifications: &mut mpsc::UnboundedReceiver<String>,
        phase: &str,
    ) -> Result<(), Error> {
        loop {
            self.settle(control, "synced", phase).await?;
            for request in request::open(control, &self.name).await.map_err(doing("reading the requests"))? {
                if request.kind == Kind::Complete {
                    return self.clean_up(context, control, &request, phase == "completing").await;
                }
                let report = json!({ "error": "only mark_complete is left to do for this mapping" });
                self.answer(control, &request, false, &report).await?;
            }
            tokio::select! {
                () = tokio::time::sleep(self.tick) => {}
                Some(_) = notifications.recv() => {}
            }
            if control.is_closed() {
                return Err(Error::Lost);
            }
        }
    }

    async fn complete(
        &self,
        context: &Context,
        control: &mut Session,
        projection: &mut Projection,
        request: &Request,
        finish_first: bool,
    ) -> Result<(), Error> {
        self.board.lock().phase = Some(Phase::Completing);
        projection.write(control).await.map_err(doing("writing the projection"))?;
        self.clean_up(context, control, request, finish_first).await?;
        self.board.lock().phase = None;
        projection.write(control).await.map_err(doing("writing the projection"))
    }

    async fn clean_up(&self, context: &Context, control: &Session, request: &Request, finish_first: bool) -> Result<(), Error> {
        request::started(control, request.id).await.map_err(doing("beginning the cleanup"))?;
        let mut cleaning = Box::pin(cleanup::run(context, finish_first));
        let outcome = loop {
            tokio::select! {
                outcome = &mut cleaning => break outcome,
                () = tokio::time::sleep(self.tick) => self.settle(control, "synced", "completing").await?,
            }
        };
        match outcome {
            Ok(report) => {
                self.answer(control, request, true, &json!(report)).await?;
                self.settle(control, "complete", "complete").await
            }
            Err(error) => {
                self.board.event("", "error", format!("the cleanup is not done: {error}"));
                self.answer(control, request, false, &json!({ "error": error.to_string() })).await
            }
        }
    }

    /// Keeps the rows of a mapping that no task looks after any more: what they say of the data stays as it was last seen.
    async fn settle(&self, control: &Session, status: &str, phase: &str) -> Result<(), Error> {
        let failed = "bringing the status up to date";
        for statement in [
            "UPDATE migrator.mapping SET status = $2::text::migrator.status, phase = $3, updated_at = clock_timestamp() WHERE mapping = $1",
            "UPDATE migrator.database SET status = $2::text::migrator.status, phase = $3, waiting_for = NULL, eta = NULL,
                    updated_at = clock_timestamp() WHERE mapping = $1",
        ] {
            control.execute(statement, &[&self.name, &status, &phase]).await.map_err(doing(failed))?;
        }
        if phase == "complete" {
            control
                .execute("UPDATE migrator.table_state SET status = 'complete' WHERE mapping = $1", &[&self.name])
                .await
                .map_err(doing(failed))?;
        }
        Ok(())
    }
}

/// How many tables of a database are being copied anew, or what went wrong.
type ResyncAnswer = oneshot::Receiver<Result<usize, String>>;

/// Orders the databases' tasks to copy anew. What can't be ordered is said in words.
fn order_resync(
    context: &Context,
    known: &BTreeMap<String, u32>,
    database: Option<&str>,
    table: Option<&str>,
) -> Result<Vec<(ResyncAnswer, Option<usize>)>, String> {
    if table.is_some() && database.is_none() {
        return Err("name the database of the table as well".to_owned());
    }
    let chosen: Vec<&String> = known.keys().filter(|name| database.is_none_or(|d| d == *name)).collect();
    if chosen.is_empty() {
        return Err(format!("there is no database {:?} in this mapping", database.unwrap_or_default()));
    }
    let mut orders = context.orders.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(chosen
        .into_iter()
        .map(|name| {
            let (answer, receiver) = oneshot::channel();
            orders.entry(name.clone()).or_default().push(Order { table: table.map(str::to_owned), answer });
            (receiver, None)
        })
        .collect())
}

/// The outcome of a resync, once every database has answered.
fn resync_outcome(answers: &mut [(ResyncAnswer, Option<usize>)]) -> Option<Result<usize, String>> {
    for (receiver, known) in answers.iter_mut().filter(|(_, known)| known.is_none()) {
        match receiver.try_recv() {
            Ok(Ok(tables)) => *known = Some(tables),
            Ok(Err(error)) => return Some(Err(error)),
            Err(oneshot::error::TryRecvError::Empty) => return None,
            Err(oneshot::error::TryRecvError::Closed) => return Some(Err("the database's task ended; ask again".to_owned())),
        }
    }
    Some(Ok(answers.iter().filter_map(|(_, tables)| *tables).sum()))
}

/// The errors among findings, in words; none if there is none.
fn reasons(findings: &[Finding]) -> Option<String> {
    let errors: Vec<String> =
        findings.iter().filter(|f| f.severity == Severity::Error).map(|f| format!("{}: {}", f.object, f.reason)).collect();
    if errors.is_empty() { None } else { Some(errors.join("; ")) }
}

/// The checks of both instances. What `effects` or our names say was made by us already needs no room any more.
pub async fn instance_findings(
    mapping: &str,
    source: &Session,
    destination: &Session,
    selected: &[(u32, String)],
    effects: &[ledger::SideEffect],
    settings: &config::Mapping,
) -> Result<Before, Error> {
    // Each worker has a session on both sides; a database has two more, and a mapping four.
    let connections = settings.copy_workers + settings.index_workers + 2 * selected.len() + 4;
    let prefix = format!("pg_migrator_{mapping}_");
    let names: BTreeSet<String> = selected.iter().map(|(_, name)| name.clone()).collect();
    let ours = effects.iter().filter(|e| e.kind == ledger::Kind::Database).map(|e| e.object.clone()).collect();
    let at_source = preflight::SourceNeeds {
        streams: selected.len(),
        passes: settings.copy_workers.min(selected.len()),
        connections,
        slot_prefix: prefix.clone(),
    };
    let at_destination =
        preflight::DestinationNeeds { streams: selected.len(), connections, subscription_prefix: prefix, databases: names, ours };
    Ok(Before {
        source: preflight::source(source, source.version(), &at_source).await?,
        destination: preflight::destination(destination, destination.version(), &at_destination).await?,
    })
}

/// The databases of the source that take part: OID and name. `postgres`, which every instance has, takes part only if
/// somebody has made something in it.
pub async fn databases(endpoint: &Endpoint, source: &Session, settings: &config::Mapping) -> Result<Vec<(u32, String)>, Error> {
    let rows = source
        .query(
            "SELECT oid, datname FROM pg_catalog.pg_database
             WHERE datallowconn AND datname NOT IN ('template0', 'template1') ORDER BY datname",
            &[],
        )
        .await
        .map_err(doing("listing the source's databases"))?;
    let mut selected = Vec::new();
    for row in rows {
        let (oid, name): (u32, String) = (row.get(0), row.get(1));
        if !settings.databases.selects(&name) {
            continue;
        }
        if name == "postgres" && !is_used(endpoint, &name).await? {
            continue;
        }
        selected.push((oid, name));
    }
    Ok(selected)
}

/// Whether a database holds anything that initdb did not put there.
async fn is_used(endpoint: &Endpoint, database: &str) -> Result<bool, Error> {
    let session = endpoint.connect(database).await?;
    let row = session
        .query_one(
            "WITH members AS (SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e')
             SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                            WHERE c.oid >= 16384 AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
                              AND NOT EXISTS (SELECT FROM members WHERE classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND objid = c.oid))
                 OR EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.oid >= 16384
                              AND NOT EXISTS (SELECT FROM members WHERE classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND objid = p.oid))
                 OR EXISTS (SELECT FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
                            WHERE t.oid >= 16384 AND n.nspname NOT LIKE 'pg\\_%' AND t.typrelid = 0 AND t.typelem = 0
                              AND NOT EXISTS (SELECT FROM members WHERE classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND objid = t.oid))
                 OR EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.oid >= 16384 AND nspname NOT LIKE 'pg\\_%'
                              AND NOT EXISTS (SELECT FROM members WHERE classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND objid = n.oid))
                 OR EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)",
            &[],
        )
        .await
        .map_err(doing("looking into the database postgres"))?;
    Ok(row.get(0))
}
