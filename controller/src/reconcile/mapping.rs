//! One mapping: its lock, its roles, the tasks of its databases, the operator's requests, and what is shown of it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tracing::Instrument as _;

use super::admission::{self, databases, endpoints};
use super::database::Database;
use super::lock::Lock;
use super::request::{self, Kind, Stage};
use super::resync::{order_resync, resync_outcome};
use super::{Context, Mode, keeper};
use crate::config::{self, Config};
use crate::copy::standby::{self, Standby};
use crate::cutover;
use crate::finding::{Code, Finding, Severity};
use crate::gentle::hold::Holds;
use crate::gentle::{self, room};
use crate::ledger;
use crate::monitor::board::Board;
use crate::monitor::projection::{self, Projection};
use crate::postgres::{self, Endpoint, Session, quote, retry};
use crate::provision::{carry, control, rehearsal, roles, tablespaces};
use crate::stream::{Names, subscription};

/// A completion that can't be begun within this time is answered with no.
const COMPLETE_LIMIT: Duration = Duration::from_mins(5);
/// How long a mapping that was refused waits before it is looked at again.
pub(super) const REFUSED_FOR: Duration = Duration::from_secs(10);

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
    /// The roles.
    #[error(transparent)]
    Roles(#[from] carry::Error),
    /// The tablespaces.
    #[error(transparent)]
    Tablespaces(#[from] tablespaces::Error),
    /// What a cutover that was undone had switched on.
    #[error("what a cutover that was undone had switched on can't be switched off yet: {0}")]
    SwitchedOn(#[source] Box<cutover::Error>),
    /// The server ended a session, or went away.
    #[error("the session on the control database was lost")]
    Lost,
    /// The checks found what forbids to begin; the findings have been told.
    #[error("the mapping is refused: {0}")]
    Refused(String),
}

/// The databases' tasks: which database each one is of, and how to end it.
type Running = BTreeMap<tokio::task::Id, (String, AbortHandle)>;

pub(super) fn doing(doing: &'static str) -> impl FnOnce(tokio_postgres::Error) -> Error {
    move |source| Error::Statement { doing, source }
}

/// One mapping, as configured.
pub struct Mapping {
    pub(super) name: String,
    pub(super) settings: config::Mapping,
    pub(super) source: Endpoint,
    pub(super) destination: Endpoint,
    pub(super) control_database: String,
    pub(super) tick: Duration,
    pub(super) board: Board,
    pub(super) gentle: Arc<gentle::Source>,
    /// The backend that held our lock when we last had one.
    pub(super) held_by: Option<i32>,
    pub(super) standby: Option<Endpoint>,
}

/// Runs until the task is dropped: starts anew, after a growing pause, whenever something breaks.
pub async fn run(config: Arc<Config>, name: String, gentle: Arc<gentle::Source>) {
    let settings = config.mappings[&name].clone();
    let (source, destination) = endpoints(&config, &name, &settings, "");
    let standby = admission::standby(&config, &name, &settings, "");
    let mut mapping = Mapping {
        standby,
        name,
        settings,
        source,
        destination,
        control_database: config.control_database.clone(),
        tick: config.tick,
        board: Board::default(),
        gentle,
        held_by: None,
    };
    let mut waits = retry::backoff();
    loop {
        let began = Instant::now();
        let pause = match mapping.run_once().await {
            Ok(()) => return,
            Err(Error::Refused(reason)) => {
                tracing::warn!("refused, looking again in {} s: {reason}", REFUSED_FOR.as_secs());
                mapping.wait_refused().await;
                Duration::ZERO
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
        let standing = self.standing().await?;
        if let Some(control) = &standing {
            if self.is_over(control).await? {
                return Ok(());
            }
            self.take(control).await?;
        }
        // What was begun is brought to its end: once it is switched over, the checks would ask for what nobody needs any more.
        let is_switched = match &standing {
            Some(control) => matches!(self.stage(control).await?, Stage::CutOver | Stage::Completing),
            None => false,
        };
        if !is_switched {
            self.check().await?;
        }
        let mut control = if let Some(control) = standing {
            control
        } else {
            let control = control::open(&self.destination, &self.control_database).await?;
            self.take(&control).await?;
            control
        };
        let source = match self.source.connect(&self.source.instance.database).await {
            Ok(source) => Some(source),
            // The old server may have been switched off by now. Whatever needs it says so.
            Err(error) if is_switched => {
                tracing::warn!(%error, "the source is not there any more");
                None
            }
            Err(error) => return Err(error.into()),
        };
        self.end_leftovers(source.as_ref(), &control).await?;
        let maintenance = self.destination.connect(&self.destination.instance.database).await?;
        rehearsal::drop_leftovers(&maintenance, &self.name)
            .await
            .map_err(doing("dropping what an interrupted check has left"))?;
        drop(maintenance);
        let mut projection = Projection::new(
            projection::Identity {
                mapping: self.name.clone(),
                source: self.source.name.clone(),
                destination: self.destination.name.clone(),
                source_version: source.as_ref().map(Session::version),
                destination_version: Some(control.version()),
            },
            self.board.clone(),
        );
        let mut stage = self.stage(&control).await?;
        if let (Stage::Migrating { .. }, Some(source)) = (stage, &source) {
            projection.write(&mut control).await.map_err(doing("writing the projection"))?;
            self.carry_roles(source, &control).await?;
            if let Some(reasons) = self.roles_refused() {
                projection.write(&mut control).await.map_err(doing("writing the projection"))?;
                return Err(Error::Refused(reasons));
            }
        }
        drop(source);
        let holds = keeper::holds(&self.settings);
        let control_session = Arc::new(self.destination.connect(&self.control_database).await?);
        let standby = self.standby.clone().map(|endpoint| Standby {
            endpoint,
            control: Arc::clone(&control_session),
            mapping: self.name.clone(),
            turn: Arc::default(),
        });
        self.resume_standby(standby.as_ref(), &control).await?;
        let context = Context { standby, ..self.context(control_session, &control, &holds) };
        let mut keeper = JoinSet::new();
        keeper.spawn(keeper::run(context.clone(), holds).in_current_span());
        let (notified, mut notifications) = mpsc::unbounded_channel();
        let listener = self.destination.connect_listening(&self.control_database, notified).await?;
        listener.batch_execute("LISTEN migrator_request").await.map_err(doing("listening for requests"))?;
        loop {
            match stage {
                Stage::Complete => {
                    self.settle(&control, "complete", "complete").await?;
                    self.gentle.room.release(&self.name);
                    tracing::info!("complete");
                    return Ok(());
                }
                Stage::CutOver => self.await_completion(&context, &mut control, &mut notifications, "cut_over").await?,
                Stage::Completing => self.await_completion(&context, &mut control, &mut notifications, "completing").await?,
                Stage::Migrating { paused, cutover } => {
                    let left = cutover::switch_off_what_is_left(&context, cutover.is_some());
                    left.await.map_err(|error| Error::SwitchedOn(Box::new(error)))?;
                    self.migrate(&context, &mut control, &mut projection, &mut notifications, paused).await?;
                }
            }
            stage = self.stage(&control).await?;
        }
    }

    /// What the tasks of the mapping share; `control` is the session to the control database that they share, `holder` the one that holds the
    /// lock.
    pub(super) fn context(&self, control: Arc<Session>, holder: &Session, holds: &watch::Sender<Holds>) -> Context {
        Context {
            mapping: self.name.clone(),
            settings: self.settings.clone(),
            source: self.source.clone(),
            destination: self.destination.clone(),
            control_database: self.control_database.clone(),
            tick: self.tick,
            board: self.board.clone(),
            control,
            lock: Lock::of(&self.destination, &self.control_database, &self.name, holder),
            standby: None,
            copy_permits: Arc::new(Semaphore::new(self.settings.copy_workers)),
            build_permits: Arc::new(Semaphore::new(self.settings.index_workers)),
            orders: Arc::new(Mutex::new(BTreeMap::new())),
            gentle: Arc::clone(&self.gentle),
            holds: holds.subscribe(),
        }
    }

    /// Lets the replay of a standby go on that a predecessor left paused, by the ledger.
    async fn resume_standby(&self, standby: Option<&Standby>, control: &Session) -> Result<(), Error> {
        for effect in ledger::in_force(control, &self.name).await?.iter().filter(|e| e.kind == ledger::Kind::ReplayPause) {
            let resumed = match standby.filter(|standby| standby.endpoint.name == effect.object) {
                Some(standby) => standby::resume(standby, effect.id).await.map_err(|error| error.to_string()),
                None => Err("it is no longer in the configuration".to_owned()),
            };
            // It went on by itself after a few seconds: this was for the case that it did not.
            if let Err(error) = resumed {
                let text = format!("whether the standby {} replays again could not be seen to: {error}", effect.object);
                self.board.event("", "warning", text);
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
        let state = |fate: roles::Fate, problem: &Option<String>| if problem.is_some() { roles::Fate::Failed } else { fate };
        let roles = outcome.fates.into_iter().map(|(role, (fate, problem))| (role, (state(fate, &problem).as_str(), problem)));
        self.board.lock().roles = roles.collect();
        Ok(())
    }

    /// Carries over what roles still lack, or have got on the source since; what was amiss with them and is mended is not told any more.
    async fn look_after_roles(&self, control: &Session) -> Result<(), Error> {
        let source = self.source.connect(&self.source.instance.database).await?;
        self.carry_roles(&source, control).await
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
        let mut running = Running::default();
        let mut ordered = BTreeMap::new();
        let mut ticks = 0_u64;
        loop {
            if ticks.is_multiple_of(30) {
                self.start_databases(context, &mode, &mut tasks, &mut known, &mut running).await?;
                if ticks > 0 {
                    self.look_after_roles(control).await?;
                }
            }
            ticks += 1;
            projection.write(control).await.map_err(doing("writing the projection"))?;
            while let Some(ended) = tasks.try_join_next_with_id() {
                let id = ended.as_ref().map_or_else(tokio::task::JoinError::id, |(id, ())| *id);
                let Some((name, _)) = running.remove(&id) else { continue };
                if let Err(error) = ended {
                    // A panic: its message is in the log. The database is taken up again at once, the others go on.
                    self.board.event(&name, "error", format!("the task of the database stopped unexpectedly: {error}"));
                    self.board.database(&name, |view| view.checks.clear());
                    known.remove(&name);
                    ticks = 0;
                }
            }
            for request in request::open(control, &self.name).await.map_err(doing("reading the requests"))? {
                match &request.kind {
                    Kind::Pause | Kind::Resume => {
                        paused = request.kind == Kind::Pause;
                        mode.send_replace(if paused { Mode::Paused } else { Mode::Run });
                        self.board.event("", "info", if paused { "paused" } else { "resumed" }.to_owned());
                        self.answer(control, &request, true, &json!({})).await?;
                    }
                    Kind::Cutover(limit) if ordered.is_empty() && self.ready_or_late(control, &request, *limit).await? => {
                        mode.send_replace(Mode::Stop);
                        while tasks.join_next().await.is_some() {}
                        self.cut_over(context, control, projection, &request, *limit).await?;
                        return Ok(());
                    }
                    Kind::Complete if ordered.is_empty() && self.ready_or_late(control, &request, COMPLETE_LIMIT).await? => {
                        mode.send_replace(Mode::Stop);
                        while tasks.join_next().await.is_some() {}
                        self.complete(context, control, projection, &request, true).await?;
                        return Ok(());
                    }
                    // Taken up as soon as every fact holds again: not beside a resync, of which what is shown may not tell yet.
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
                            // Whoever reads the answer must not be told that all is ready, as it was before.
                            projection.write(control).await.map_err(doing("writing the projection"))?;
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
            // All databases read the ledger over this session: none of them could go on without it.
            self.still_answers(&context.control).await?;
        }
    }

    /// Puts sessions on the source aside for so many databases, and says so if nothing is left to copy with.
    fn reserve_room(&self, databases: usize) {
        let found = if self.gentle.room.reserve(&self.name, databases) {
            None
        } else {
            // The mappings of this source have not enough room together, even if each of them has.
            room::finding(&self.name, self.gentle.room.limit().map(|limit| limit.min(room::least(databases) - 1)), databases)
        };
        self.board.set_mapping_findings("room", found.into_iter().collect());
    }

    /// Starts a task for every selected database that has none.
    async fn start_databases(
        &self,
        context: &Context,
        mode: &watch::Sender<Mode>,
        tasks: &mut JoinSet<()>,
        known: &mut BTreeMap<String, u32>,
        running: &mut Running,
    ) -> Result<(), Error> {
        let source = self.source.connect(&self.source.instance.database).await?;
        let selected = databases(&self.source, &source, &self.settings).await?;
        self.reserve_room(selected.len());
        self.leave_what_is_gone(&selected, known, running);
        let gone = self.what_is_gone(&source, &context.control).await?;
        self.board.set_mapping_findings("gone", gone);
        for (oid, name) in selected {
            if known.insert(name.clone(), oid).is_none() {
                let span = tracing::info_span!("database", database = name);
                self.board.begin_database(&name);
                let database = Database::new(context.clone(), name.clone(), oid, mode.subscribe());
                let handle = tasks.spawn(database.run().instrument(span));
                running.insert(handle.id(), (name, handle));
            }
        }
        Ok(())
    }

    /// Ends the tasks of databases that are no longer on the source: dropped, renamed, or made anew under the name. What was
    /// carried over of them stays, and is told.
    fn leave_what_is_gone(&self, selected: &[(u32, String)], known: &mut BTreeMap<String, u32>, running: &mut Running) {
        self.board.lock().databases.retain(|name, _| selected.iter().any(|(_, there)| there == name));
        let gone: Vec<String> = known
            .iter()
            .filter(|(name, oid)| !selected.iter().any(|(there, other)| there == *oid && other == *name))
            .map(|(name, _)| name.clone())
            .collect();
        if gone.is_empty() {
            return;
        }
        for name in &gone {
            known.remove(name);
            running.retain(|_, (of, task)| {
                if of == name {
                    task.abort();
                }
                of != name
            });
            self.board.event(name, "warning", "the database is no longer on the source".to_owned());
        }
    }

    /// Findings about databases whose subscriptions are on the destination while the source does not have them any more, or under another
    /// name: by the ledger, so that they are told by a restarted controller as well.
    async fn what_is_gone(&self, source: &Session, control: &Session) -> Result<Vec<Finding>, Error> {
        let looking = "looking for databases that are gone";
        let subscriptions = ledger::in_force_of(control, &self.name, &[ledger::Kind::Subscription]).await?;
        let mut databases: BTreeMap<&str, (u32, HashSet<String>)> = BTreeMap::new();
        for effect in &subscriptions {
            let Some(oid) = Names::source_oid(&self.name, &effect.object) else { continue };
            let entry = databases.entry(&effect.database).or_default();
            entry.0 = oid;
            entry.1.insert(effect.object.clone());
        }
        let rows = source.query("SELECT oid, datname::text FROM pg_catalog.pg_database", &[]).await.map_err(doing(looking))?;
        let called: HashMap<u32, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let mut findings = Vec::new();
        for (database, (oid, names)) in databases {
            let now = called.get(&oid);
            if now.is_some_and(|now| now == database) {
                continue;
            }
            let left = subscription::left_in(control, database, &names).await.map_err(doing(looking))?;
            if !left.is_empty() {
                findings.push(gone(database, now.map(String::as_str), &left));
            }
        }
        Ok(findings)
    }
}

/// The finding about a database that the source does not have any more, or has under another name.
fn gone(database: &str, now: Option<&str>, subscriptions: &[String]) -> Finding {
    let reason = match now {
        None => "it was dropped on the source; what was carried over of it stays on the destination".to_owned(),
        Some(now) => format!(
            "it is called {} on the source by now, so that its stream does not find it; what was carried over of it stays on the \
             destination, and its slot keeps log on the source",
            quote::ident(now)
        ),
    };
    let renaming = now.map_or(String::new(), |now| {
        format!("to go on, on the source: ALTER DATABASE {} RENAME TO {}; ", quote::ident(now), quote::ident(database))
    });
    let slots = now.map_or(String::new(), |_| {
        let drops =
            subscriptions.iter().map(|name| format!("SELECT pg_drop_replication_slot({});", quote::literal(name).trim_start()));
        format!("; and on the source: {}", drops.collect::<Vec<_>>().join(" "))
    });
    Finding {
        severity: Severity::Warning,
        database: String::new(),
        code: Code::DatabaseGone,
        object: format!("source: database {}", quote::ident(database)),
        reason,
        fix: format!(
            "{renaming}if nobody needs what was carried over, on the destination: {}{slots}",
            subscription::steps_to_drop(database, subscriptions)
        ),
        statement: None,
    }
}
