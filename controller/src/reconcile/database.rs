//! One database of a mapping: observes both sides, decides, acts, and looks again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::decide::{self, Step};
use super::isolate::{Detached, Riddle};
use super::watch::{Outcome, Watcher};
use super::{Context, Mode, stall};
use crate::copy::{Table, pass};
use crate::finding::{Code, Finding, Severity};
use crate::ledger::{self};
use crate::monitor::board::Phase;
use crate::plan::Plan;
use crate::postgres::{self, Session, retry};
use crate::provision::{carry, label_provider, schema};
use crate::stream::{Names, money, publication, resync, slot, subscription};
use crate::verify::carried::InDoubt;
use crate::{beside, object, verify};

/// A table that failed is tried again after this long.
const TABLE_COOLS_FOR: Duration = Duration::from_secs(10);
/// Doubling at every failure, up to this: each try stops the stream of the others for as long as it takes.
const TABLE_COOLS_AT_MOST: Duration = Duration::from_hours(1);
/// A step that fails for longer than this is no passing trouble any more.
const FAILING_IS_AN_ERROR_AFTER: Duration = Duration::from_mins(1);
/// A refused database is looked at again after this long.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// How long a stream that is not in step yet is left alone at first.
const SHORTEST_NAP: Duration = Duration::from_millis(50);

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
    /// What the ledger keeps of what failed.
    #[error("what failed before, as the ledger has it, can't be read: {0}")]
    Remembered(#[source] serde_json::Error),
    /// The source's catalogs.
    #[error(transparent)]
    Object(#[from] object::Error),
    /// The definition of the database.
    #[error(transparent)]
    Definition(#[from] carry::Error),
    /// The providers of security labels.
    #[error(transparent)]
    LabelProvider(#[from] label_provider::Error),
    /// The schema.
    #[error(transparent)]
    Schema(#[from] schema::Error),
    /// The publication.
    #[error(transparent)]
    Publication(#[from] publication::Error),
    /// The slot.
    #[error(transparent)]
    Slot(#[from] slot::Error),
    /// The form of money.
    #[error(transparent)]
    Money(#[from] money::Error),
    /// The subscription.
    #[error(transparent)]
    Subscription(#[from] subscription::Error),
    /// The pass.
    #[error(transparent)]
    Pass(#[from] pass::Error),
    /// Taking a table out of its stream.
    #[error(transparent)]
    Resync(#[from] resync::Error),
    /// What travels beside the stream.
    #[error(transparent)]
    Beside(#[from] beside::Error),
    /// Comparing both sides.
    #[error(transparent)]
    Verify(#[from] verify::Error),
    /// Where both servers are.
    #[error(transparent)]
    History(#[from] verify::history::Error),
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
    pub(super) context: Context,
    /// Its name, the same on both sides.
    pub(super) name: String,
    /// OID of the database on the source.
    pub(super) source_oid: u32,
    /// The names of its streams.
    pub(super) names: Vec<Names>,
    pub(super) mode: watch::Receiver<Mode>,
    pub(super) source: Option<Session>,
    pub(super) destination: Option<Session>,
    pub(super) plan: Option<Arc<Plan>>,
    pub(super) target_is_fresh: bool,
    pub(super) schema_built: bool,
    /// Whether a setting, grant or label of the database itself failed, and is to be tried again.
    pub(super) unsettled: bool,
    /// Whether anything but a label did.
    pub(super) settings_failed: bool,
    pub(super) published: bool,
    pub(super) built: bool,
    pub(super) finished: bool,
    /// Whether `finished` was only looked for, since nothing may be begun.
    pub(super) only_looked: bool,
    pub(super) in_step: bool,
    pub(super) statements_open: usize,
    pub(super) failed: HashMap<u32, Failed>,
    /// Tables made late that are not published yet, since they were in use.
    pub(super) unpublished: HashSet<resync::TableName>,
    /// The source's tables, and until when they need not be read again.
    pub(super) tables: Option<(Instant, Arc<Vec<Table>>)>,
    /// Since when every step has failed.
    pub(super) failing_since: Option<Instant>,
    /// When what failed is to be tried once more.
    pub(super) retry_finish_at: Option<Instant>,
    pub(super) watcher: Watcher,
    /// Since when the standby is not read from, because it could not be.
    pub(super) without_standby_since: Option<Instant>,
    pub(super) beside: super::beside::Keeper,
    pub(super) prover: super::prove::Prover,
    pub(super) searcher: super::missing::Searcher,
    /// Tables that were taken out of their streams, by the ledger.
    pub(super) detached: Vec<Detached>,
    /// Subscriptions of ours that are in a database of this name and are of none of its streams: those of a former one.
    pub(super) former: Vec<String>,
    /// The name under which it was begun, where that is another one and something of it is there still.
    pub(super) begun_as: Option<String>,
    /// Streams that fail, nobody knows at what.
    pub(super) riddles: HashMap<usize, Riddle>,
}

/// A table that could not be copied.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) cooling: Cooling,
    pub(super) finding: Finding,
}

/// What failed, and is left alone for a while.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cooling {
    /// None when it is to be tried at once.
    since: Option<Instant>,
    tries: u32,
}

impl Cooling {
    /// After a failure, `before` being what it was after the one before it.
    pub(super) fn after(before: Option<Self>) -> Self {
        Self { since: Some(Instant::now()), tries: before.map_or(0, |before| before.tries) + 1 }
    }

    pub(super) fn is_cooling(self) -> bool {
        let pause = TABLE_COOLS_FOR.saturating_mul(1 << self.tries.saturating_sub(1).min(16)).min(TABLE_COOLS_AT_MOST);
        self.since.is_some_and(|since| since.elapsed() < pause)
    }

    /// Somebody asks for another try.
    pub(super) fn end(&mut self) {
        self.since = None;
    }
}

impl Database {
    /// A database that nothing is known of yet.
    pub fn new(context: Context, name: String, source_oid: u32, mode: watch::Receiver<Mode>) -> Self {
        Self {
            context,
            name,
            source_oid,
            names: Vec::new(),
            mode,
            source: None,
            destination: None,
            plan: None,
            target_is_fresh: false,
            schema_built: false,
            unsettled: false,
            settings_failed: false,
            published: false,
            built: false,
            finished: false,
            only_looked: false,
            in_step: false,
            statements_open: 0,
            failed: HashMap::new(),
            unpublished: HashSet::new(),
            tables: None,
            failing_since: None,
            retry_finish_at: None,
            watcher: Watcher::default(),
            without_standby_since: None,
            beside: super::beside::Keeper::default(),
            prover: super::prove::Prover::default(),
            searcher: super::missing::Searcher::default(),
            detached: Vec::new(),
            former: Vec::new(),
            begun_as: None,
            riddles: HashMap::new(),
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
                    if let Some(lockers) = stall::lockers(&self.context, &self.name, &error).await {
                        self.context.board.set_waiting(&self.name, Some(lockers));
                    }
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

    pub(super) fn fail(&mut self, error: &Error) {
        self.source = None;
        self.destination = None;
        self.tables = None;
        // What a server has lost with its last moments is found out by looking again.
        self.built = false;
        self.finished = false;
        self.only_looked = false;
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        let severity = if since.elapsed() < FAILING_IS_AN_ERROR_AFTER { Severity::Warning } else { Severity::Error };
        self.context.board.database(&self.name, |view| view.checks.clear());
        self.context.board.set_findings(
            &self.name,
            "step",
            vec![Finding {
                severity,
                database: self.name.clone(),
                code: Code::StepFailed,
                object: self.name.clone(),
                reason: error.to_string(),
                fix: "it is tried again by itself; if it stays, mend what the message names".to_owned(),
                statement: None,
            }],
        );
    }

    /// One round. Gives how long to wait before the next one, if at all.
    async fn step(&mut self) -> Result<Option<Duration>, Error> {
        if self.has_orders() {
            self.know_streams().await?;
            self.carry_out_orders().await?;
        }
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
            Step::CreateSlot(stream) => {
                board.set_phase(&self.name, Phase::Connecting);
                Box::pin(self.create_slot(stream)).await?;
            }
            Step::Subscribe(stream) => self.subscribe(stream).await?,
            Step::Disable(streams) => {
                for stream in streams {
                    let name = self.names[stream].slot.clone();
                    subscription::disable(self.destination().await?, &name).await?;
                }
                self.finished = false;
            }
            Step::Copy => {
                self.context.board.set_phase(&self.name, Phase::Copying);
                self.leave_binary_for(&picture).await?;
                Box::pin(self.copy(picture)).await?;
            }
            Step::Build => {
                self.context.board.set_phase(&self.name, Phase::Building);
                self.build_rest(&picture).await?;
            }
            Step::Enable(streams) => {
                for stream in streams {
                    let names = self.names[stream].clone();
                    subscription::enable(self.destination().await?, &names).await?;
                    let message = format!("the stream {} is enabled", names.subscription());
                    self.context.board.event(&self.name, "info", message);
                }
                self.watcher = Watcher::default();
            }
            Step::Finish => {
                self.context.board.set_phase(&self.name, Phase::Finishing);
                self.finish().await?;
            }
            Step::Watch => {
                // Each has its subscription: else there would be something to do.
                let subscriptions: Vec<Option<u32>> = picture.subscriptions.iter().map(|s| s.map(|s| s.oid)).collect();
                self.watch(&subscriptions, picture.to_copy.len()).await?;
            }
        }
        Ok(None)
    }

    fn has_orders(&self) -> bool {
        self.context.orders.lock().unwrap_or_else(PoisonError::into_inner).get(&self.name).is_some_and(|o| !o.is_empty())
    }

    pub(super) async fn source(&mut self) -> Result<&mut Session, Error> {
        let session = if let Some(session) = self.source.take().filter(|session| !session.is_closed()) {
            session
        } else {
            let session = self.context.source.connect(&self.name).await?;
            session.wait_for_no_lock().await.map_err(Error::doing("preparing to look at the source"))?;
            session
        };
        Ok(self.source.insert(session))
    }

    pub(super) async fn destination(&mut self) -> Result<&Session, Error> {
        let session = match self.destination.take().filter(|session| !session.is_closed()) {
            Some(session) => session,
            None => schema::session(&self.context.destination, &self.name).await?,
        };
        Ok(self.destination.insert(session))
    }

    /// Looks after the stream, tick by tick, until there is something else to decide. So many tables are still to be copied,
    /// when what holds them back is over.
    async fn watch(&mut self, subscriptions: &[Option<u32>], uncopied: usize) -> Result<(), Error> {
        let context = self.context.clone();
        let names = self.names.clone();
        // A stream that has just begun, without a backlog, is in step within a moment.
        let mut nap = SHORTEST_NAP;
        loop {
            let hold = context.holds.borrow().of(&self.name).filter(|_| uncopied > 0).map(str::to_owned);
            let phase = if hold.is_some() { Phase::Copying } else { super::watch::phase(self.in_step, self.finished) };
            context.board.set_phase_waiting(&self.name, phase, hold.clone());
            let open = if self.finished { self.statements_open } else { self.statements_open.max(1) };
            let subscribed: Vec<u32> = subscriptions.iter().flatten().copied().collect();
            self.look_at_history(&subscribed).await?;
            let (Some(source), Some(destination)) = (&self.source, &self.destination) else { return Ok(()) };
            let stream = super::watch::Stream {
                context: &context,
                database: &self.name,
                names: &names,
                subscriptions,
                source,
                destination,
            };
            let in_doubt: HashSet<_> = self.watcher.in_doubt().iter().map(InDoubt::state).collect();
            let outcome = self.watcher.tick(&stream, open).await.map_err(Error::doing("watching the stream"))?;
            self.in_step = self.watcher.in_step();
            if self.watcher.in_doubt().iter().any(|table| !in_doubt.contains(&table.state())) {
                self.prove_at_once();
            }
            let paused = *self.mode.borrow() == Mode::Paused;
            let kept_back = context.holds.borrow().of(&self.name).map(str::to_owned);
            let kept_back = kept_back.or_else(|| paused.then(|| "migrator.resume".to_owned()));
            if self.in_step && !self.finished && paused && uncopied == 0 && !self.only_looked {
                self.only_looked = true;
                self.look_whether_finished().await?;
            }
            if self.only_looked && !paused {
                self.only_looked = false;
                self.finished = false;
            }
            if self.in_step && self.finished && !self.watcher.leaves_alone() {
                match &kept_back {
                    None => self.keep_beside(),
                    Some(hold) => self.look_beside(hold).await?,
                }
                if kept_back.is_none() || !self.prover.has_compared() {
                    self.keep_proving().await?;
                }
            }
            if uncopied > 0 && hold.is_none() && !paused {
                return Ok(());
            }
            let whole = uncopied == 0 && self.detached.is_empty() && !self.failed.values().any(|f| f.cooling.is_cooling());
            let to_finish = self.in_step && !self.finished && whole && !paused;
            let again = self.retry_finish_at.is_some_and(|at| at <= Instant::now()) && !paused && uncopied == 0;
            if again && !self.waits_for_labels().await? {
                // What failed may be mended on the source as well: it is planned anew.
                self.plan = None;
                self.finished = false;
                return Ok(());
            }
            self.show_riddles();
            self.keep_searching();
            if let Outcome::Unsafe(stream) = outcome {
                return self.leave_binary(stream).await;
            }
            if let Outcome::Failing(stream) = outcome
                && !self.is_riddle(stream)
            {
                return self.isolate(stream).await;
            }
            if outcome == Outcome::Changed || to_finish || self.has_orders() {
                return Ok(());
            }
            let cooled = self.failed.values().any(|f| !f.cooling.is_cooling());
            if cooled && !paused && hold.is_none() {
                return Ok(());
            }
            nap = if self.in_step { context.tick } else { (nap * 2).min(context.tick) };
            tokio::select! {
                () = tokio::time::sleep(nap) => {}
                _ = self.mode.changed() => return Ok(()),
                copied = self.beside.ended() => self.note_beside(copied),
                compared = self.prover.ended() => self.note_comparison(&compared),
            }
        }
    }
}
