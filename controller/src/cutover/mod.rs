//! The cutover. In: a mapping whose databases are all ready. Out: a destination that holds everything, takes writes, and
//! a source that takes none; or, if anything fails or takes too long, both as they were.
//!
//! [`block`] stops the writers; then a marker is emitted in every database and waited for, sequences are set to their
//! last values, what the stream does not carry is brought over again ([`beside`]), and what would have disturbed the stream
//! (triggers that fire on replicas, forced row security) is switched on.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::TryFutureExt as _;
use serde::Serialize;
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::ledger::{self, Kind};
use crate::plan::{Section, Statement};
use crate::postgres::{self, Lsn, Session, quote, retry};
use crate::provision::tablespaces::Placement;
use crate::provision::{carry, label_provider, schema};
use crate::reconcile::stall::naming_lockers;
use crate::reconcile::{Context, act, admission, database, mapping, watch};
use crate::stream::sequences::{self, Carry};
use crate::stream::slot::{self, Slot};
use crate::stream::subscription;
use crate::stream::{self, Names};
use crate::verify;

mod beside;
pub mod block;
mod equal;
pub mod switch;

/// Why a cutover did not take place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A server can't be reached.
    #[error(transparent)]
    Connect(#[from] postgres::connect::Error),
    /// A statement failed.
    #[error("{doing}, database {database}: {}", retry::message(.source))]
    Statement {
        /// What was being done.
        doing: &'static str,
        /// Where.
        database: String,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// The source's catalogs or definitions.
    #[error(transparent)]
    Database(#[from] Box<database::Error>),
    /// The mapping.
    #[error(transparent)]
    Mapping(#[from] Box<mapping::Error>),
    /// A transaction that is neither committed nor rolled back could still write.
    #[error("database {database} has prepared transactions: {gids}")]
    Prepared {
        /// Where.
        database: String,
        /// Their identifiers.
        gids: String,
    },
    /// The source database is itself the subscriber of another: its apply workers do not heed a read-only default.
    #[error("database {database} on the source has enabled subscriptions: disable them first: {subscriptions}")]
    Subscribes {
        /// Where.
        database: String,
        /// Their names.
        subscriptions: String,
    },
    /// Somebody overrides the block.
    #[error("database {database} is written to in spite of the block, by {writers}")]
    Writers {
        /// Where.
        database: String,
        /// Which sessions.
        writers: String,
    },
    /// Somebody else changes what we take back.
    #[error("default_transaction_read_only of database {database} is {now} after it was put back")]
    StillBlocked {
        /// Where.
        database: String,
        /// What it is.
        now: String,
    },
    /// The block is not in force any more, just when the destination was to be opened.
    #[error("the write block of database {database} was taken back by somebody before the switch")]
    Unblocked {
        /// Where.
        database: String,
    },
    /// A fact that held when the cutover was asked for does not hold any more.
    #[error("database {database} is not ready any more: {why}")]
    NotReady {
        /// Where.
        database: String,
        /// What it is.
        why: String,
    },
    /// The sequences.
    #[error("database {database}: {source}")]
    Sequences {
        /// Where.
        database: String,
        /// What went wrong.
        #[source]
        source: sequences::Error,
    },
    /// The slot is not there any more.
    #[error("the slot {slot} of database {database} is not usable any more")]
    Slot {
        /// Where.
        database: String,
        /// Its name.
        slot: String,
    },
    /// What the stream does not carry.
    #[error("database {database}: {source}")]
    Beside {
        /// Where.
        database: String,
        /// What went wrong.
        #[source]
        source: crate::beside::Error,
    },
    /// Both sides are not alike in what the stream does not carry.
    #[error("database {database}: {}", .what.join("; "))]
    NotAlike {
        /// Where.
        database: String,
        /// What was found.
        what: Vec<String>,
    },
    /// Comparing failed.
    #[error("database {database}: {source}")]
    Compare {
        /// Where.
        database: String,
        /// What went wrong.
        #[source]
        source: verify::Error,
    },
    /// Tables of which the stream does not carry every change are not the same on both sides.
    #[error("database {database}: {}; {cure}", .what.join("; "))]
    Unequal {
        /// Where.
        database: String,
        /// Which tables.
        what: Vec<String>,
        /// What to do about it.
        cure: String,
    },
    /// A switch made by hand: what is to be copied a last time has been written to on the destination.
    #[error("database {database}: {} on the destination is no longer as it was copied; {cure}", .what.join(", "))]
    InUse {
        /// Where.
        database: String,
        /// What it is.
        what: Vec<String>,
        /// What to do about it.
        cure: String,
    },
    /// Somebody has locked what is to be looked at.
    #[error("database {database}: given up for {by}")]
    Locked {
        /// Where.
        database: String,
        /// The locks, and whose they are.
        by: String,
    },
    /// The operator's time limit.
    #[error("the time limit of {} s was over while {doing}", .limit.as_secs_f64())]
    Late {
        /// What was being done.
        doing: String,
        /// What was left of the limit when we began.
        limit: Duration,
    },
}

impl From<database::Error> for Error {
    fn from(error: database::Error) -> Self {
        Self::Database(Box::new(error))
    }
}

impl From<mapping::Error> for Error {
    fn from(error: mapping::Error) -> Self {
        Self::Mapping(Box::new(error))
    }
}

/// How far the completion of a switch made by hand is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Completion {
    /// It was asked for: everything can still be done.
    Asked,
    /// It has begun: nothing is copied anew any more.
    Begun,
}

impl Completion {
    /// What to do about a destination that is not as the source.
    fn cure(self, mapping: &str, database: &str) -> String {
        let [mapping, database] = [mapping, database].map(|text| quote::literal(text).trim_start().to_owned());
        let keep = format!(
            "if the destination is in use already and its rows are to stay: SELECT migrator.request({mapping}, 'complete', \
             '{{\"keep_destination\": true}}')"
        );
        match self {
            Self::Asked => format!(
                "{keep}; if the source's rows are to come over: SELECT migrator.resync({mapping}, {database}), and ask again"
            ),
            Self::Begun => format!("{keep}; nothing can be copied anew any more, since the completion has begun"),
        }
    }
}

/// What a cutover did.
#[derive(Debug, Serialize)]
pub struct Report {
    /// From the first block to the moment the destination was complete, seconds.
    pub seconds: f64,
    /// By database.
    pub databases: Vec<DatabaseReport>,
}

/// What a cutover did to one database.
#[derive(Debug, Serialize)]
pub struct DatabaseReport {
    /// Its name.
    pub database: String,
    /// Sessions ended on the source.
    pub sessions_ended: u64,
    /// Position that the destination had to pass.
    pub marker: String,
    /// Tables compared, since the stream does not carry every change of them, and found equal.
    pub proved_equal: usize,
    /// Sequences set.
    pub sequences: u64,
    /// Statements executed last.
    pub statements: usize,
    /// What was brought over again because the stream does not carry it.
    pub beside: crate::beside::Outcome,
}

/// One database on its way over, with everything that can be fetched before the clock runs.
struct Candidate {
    name: String,
    names: Vec<Names>,
    source: Arc<Session>,
    destination: Session,
    /// What comes last.
    last: Vec<Statement>,
    /// Which of that has its effect already: a cutover that was interrupted may have come so far.
    done: HashSet<usize>,
    /// What fills the materialized views, those first that others read.
    views: Vec<Statement>,
    /// What compares the tables that have to be proved equal; nothing where there is none.
    pair: Option<verify::Pair>,
    /// What copies what the stream does not carry, once it is prepared.
    crew: Option<crate::beside::Crew>,
    report: DatabaseReport,
}

impl Candidate {
    /// What comes last and is not done yet.
    fn open(&self) -> impl Iterator<Item = &Statement> {
        self.last.iter().enumerate().filter(|(i, _)| !self.done.contains(i)).map(|(_, statement)| statement)
    }
}

/// What belongs to the undoing of a cutover is given up after this long, and the rest goes on.
const UNDO_LIMIT: Duration = Duration::from_secs(30);
/// Writers on the source wait no longer than this for what was switched on to be switched off again.
pub const SWITCH_OFF_LIMIT: Duration = Duration::from_secs(10);

/// Cuts over, or undoes what it did. The limit is for how long writers are kept out: it runs from the first block on,
/// also over a restart of the controller.
pub async fn run(context: &Context, limit: Duration) -> Result<Report, Error> {
    let mut blocked = Vec::new();
    let result = attempt(context, limit, &mut blocked).await;
    if result.is_err() {
        undo(context, blocked).await;
    }
    result
}

async fn attempt(context: &Context, limit: Duration, blocked: &mut Vec<block::Entry>) -> Result<Report, Error> {
    still_in_time(context, limit).await?;
    let mut candidates = prepare(context).await?;
    equal::prepare(context, &mut candidates).await?;
    let _seats = beside::prepare(context, &mut candidates).await?;
    // Not while writers are kept out already, by a controller that is gone.
    if still_in_time(context, limit).await?.is_zero() {
        beside::refresh_views(context, &candidates, limit).await?;
        equal::probe(context, &candidates).await?;
    }
    let blocked_for = still_in_time(context, limit).await?;
    let began = Instant::now();
    let deadline = began + limit.saturating_sub(blocked_for);
    let mut moments = Vec::new();
    for candidate in &mut candidates {
        let blocking = block::block(&candidate.source, &context.control, &context.mapping, &candidate.name, blocked);
        let doing = || format!("ending the sessions of {}", candidate.name);
        let (moment, ended) = within(deadline, limit, doing, blocking).await??;
        candidate.report.sessions_ended = ended;
        moments.push(moment);
    }
    for (candidate, moment) in candidates.iter_mut().zip(&moments) {
        let name = candidate.name.clone();
        let draining = drain(context, candidate, moment);
        within(deadline, limit, || format!("waiting until {name} has applied everything"), draining).await??;
    }
    let proving = equal::prove(context, &candidates);
    let proved = within(deadline, limit, || "comparing tables whose changes are not all carried".to_owned(), proving).await??;
    for (candidate, proved) in candidates.iter_mut().zip(proved) {
        candidate.report.proved_equal = proved;
    }
    for candidate in &mut candidates {
        let reading = sequences::read(&candidate.source);
        let values =
            within(deadline, limit, || "reading the sequences".to_owned(), reading).await?.map_err(sequence_failed(candidate))?;
        let setting = sequences::write(&candidate.destination, &values, Carry::Exact);
        candidate.report.sequences =
            within(deadline, limit, || "setting the sequences".to_owned(), setting).await?.map_err(sequence_failed(candidate))?;
    }
    let again = beside::again(context, &mut candidates);
    within(deadline, limit, || "copying again what the stream does not carry".to_owned(), again).await??;
    switch::on(context, &candidates, Some(blocked.as_slice()), deadline, limit).await?;
    Ok(Report {
        seconds: (blocked_for + began.elapsed()).as_secs_f64(),
        databases: candidates.into_iter().map(|c| c.report).collect(),
    })
}

/// Waits until everything is applied that was committed, and makes sure that nothing is written any more: a session that
/// was just starting when the others were ended may show up late, and then everything is waited for once more.
async fn drain(context: &Context, candidate: &mut Candidate, moment: &str) -> Result<(), Error> {
    nothing_else_writes(candidate).await?;
    loop {
        let marker = watch::emit_marker(&candidate.source, "cutover").await.map_err(failed("emitting the marker", candidate))?;
        candidate.report.marker = marker.to_string();
        applied(candidate, marker).await?;
        let late = block::end_sessions(&candidate.source, moment).await.map_err(failed("ending late sessions", candidate))?;
        if late == 0 {
            break;
        }
        candidate.report.sessions_ended += late;
    }
    if let Some(writers) = block::writers(&candidate.source).await.map_err(failed("looking for writers", candidate))? {
        return Err(Error::Writers { database: candidate.name.clone(), writers });
    }
    equal::still(context, candidate).await
}

fn sequence_failed(candidate: &Candidate) -> impl FnOnce(sequences::Error) -> Error {
    let database = candidate.name.clone();
    move |source| Error::Sequences { database, source }
}

fn failed(doing: &'static str, candidate: &Candidate) -> impl FnOnce(tokio_postgres::Error) -> Error {
    let database = candidate.name.clone();
    move |source| Error::Statement { doing, database, source }
}

async fn within<T>(
    deadline: Instant,
    limit: Duration,
    doing: impl Fn() -> String,
    work: impl Future<Output = T>,
) -> Result<T, Error> {
    timeout(deadline.saturating_duration_since(Instant::now()), work).await.map_err(|_| Error::Late { doing: doing(), limit })
}

/// How long writers have been kept out by now: by a cutover that a controller which is gone began.
async fn still_in_time(context: &Context, limit: Duration) -> Result<Duration, Error> {
    let effects = ledger::in_force(&context.control, &context.mapping).await?;
    let blocked_for = effects.iter().filter(|e| e.kind == Kind::WriteBlock).map(|e| e.age).max().unwrap_or_default();
    if blocked_for >= limit {
        return Err(Error::Late { doing: "taking the cutover up again".to_owned(), limit });
    }
    Ok(blocked_for)
}

/// Opens the sessions and reads the plans: the slow part, before anybody is kept from writing.
async fn prepare(context: &Context) -> Result<Vec<Candidate>, Error> {
    let first = context.source.connect(&context.source.instance.database).await?;
    let mut candidates = Vec::new();
    for (oid, name) in admission::databases(&context.source, &first, &context.settings).await? {
        let is_first = candidates.is_empty();
        candidates.push(candidate(context, oid, name, is_first).await?);
    }
    Ok(candidates)
}

/// One of them, the first, does what is done once: all are open at the same time, and would wait for each other.
async fn candidate(context: &Context, oid: u32, name: String, is_first: bool) -> Result<Candidate, Error> {
    let mut source = context.source.connect(&name).await?;
    let effects = ledger::in_force(&context.control, &context.mapping).await?;
    let names = Names::of_database(&context.mapping, &name, oid, &effects, context.settings.streams);
    let ours = stream::publications(&names);
    // Nothing that waits for the cutover is kept in a tablespace.
    let reading = async {
        source.wait_for_no_lock().await.map_err(database::Error::doing("preparing to look at the source"))?;
        act::read_plan(&mut source, &name, &ours, &effects, context.settings.replica_identity, &Placement::default()).await
    };
    let locked = |by| Error::Locked { database: name.clone(), by };
    let plan = naming_lockers(context, &name, locked, reading.map_err(Error::from)).await?;
    let mut views = plan.statements.clone();
    views.retain(|s| s.section == Section::AfterStreaming && s.object.class == "materialized_view");
    let mut last: Vec<Statement> = plan.statements.into_iter().filter(|s| s.section == Section::AtCutover).collect();
    let settings = carry::at_cutover(&context.mapping, &context.settings, &source, &context.control, &name, is_first);
    last.extend(settings.await.map_err(database::Error::from)?);
    let destination = schema::session(&context.destination, &name).await.map_err(database::Error::from)?;
    let last = label_provider::without_missing(&destination, last).await.map_err(database::Error::from)?;
    // The switch must be on disk when it is reported.
    destination.batch_execute("SET synchronous_commit = on").await.map_err(|source| Error::Statement {
        doing: "preparing the destination",
        database: name.clone(),
        source,
    })?;
    let done = schema::already_done(&destination, &name, &last).await.map_err(database::Error::from)?;
    let report = DatabaseReport {
        database: name.clone(),
        sessions_ended: 0,
        marker: String::new(),
        proved_equal: 0,
        sequences: 0,
        statements: last.len() - done.len(),
        beside: crate::beside::Outcome::default(),
    };
    Ok(Candidate { name, names, source: Arc::new(source), destination, last, done, views, pair: None, crew: None, report })
}

/// Prepared transactions and subscriptions of the source's own write without a session that could be ended.
async fn nothing_else_writes(candidate: &Candidate) -> Result<(), Error> {
    let row = candidate
        .source
        .query_one(include_str!("other_writers.sql"), &[])
        .await
        .map_err(failed("looking for what else could write", candidate))?;
    if let Some(gids) = row.get("prepared") {
        return Err(Error::Prepared { database: candidate.name.clone(), gids });
    }
    if let Some(subscriptions) = row.get("subscriptions") {
        return Err(Error::Subscribes { database: candidate.name.clone(), subscriptions });
    }
    Ok(())
}

/// Waits until the destination has applied and flushed everything before the marker.
async fn applied(candidate: &Candidate, marker: Lsn) -> Result<(), Error> {
    loop {
        let slots = slot::observe_all(&candidate.source, &candidate.names)
            .await
            .map_err(failed("waiting for the destination", candidate))?;
        let mut behind = false;
        for (slot, names) in slots.iter().zip(&candidate.names) {
            match slot {
                Slot::Present { confirmed, .. } => behind |= *confirmed < marker,
                Slot::Missing | Slot::Foreign | Slot::Lost => {
                    return Err(Error::Slot { database: candidate.name.clone(), slot: names.slot.clone() });
                }
            }
        }
        if !behind {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Puts both sides back: what was switched on is switched off, before there is anything new to apply, and the source takes writes again.
/// Nothing here gives up the rest because one thing fails.
async fn undo(context: &Context, mut blocked: Vec<block::Entry>) {
    tracing::warn!("undoing the cutover");
    let known = ledger::in_force_of(&context.control, &context.mapping, &[Kind::WriteBlock, Kind::SwitchedOn]);
    match timeout(UNDO_LIMIT, known).await {
        // A session that says nothing any more keeps nobody from writing.
        Err(_) => tracing::error!("the ledger does not answer; undoing what this process has done"),
        Ok(Ok(effects)) => {
            let (switched, blocks): (Vec<_>, Vec<_>) = effects.iter().partition(|e| e.kind == Kind::SwitchedOn);
            // Another controller that has the mapping by now brings the cutover to its end.
            if !switched.is_empty() && !context.lock.is_anothers().await {
                // Writers do not wait long for it: what is still on then is switched off before the mapping goes on.
                match timeout(SWITCH_OFF_LIMIT, off(context)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::error!(%error, "what was switched on could not be switched off yet"),
                    Err(_) => tracing::error!("what was switched on could not be switched off yet: it takes too long"),
                }
            }
            // What a controller that is gone had set is known to the ledger alone.
            for effect in blocks {
                if !blocked.iter().any(|entry| entry.effect == effect.id) {
                    blocked.push(block::Entry::of(effect));
                }
            }
        }
        Ok(Err(error)) => tracing::error!(%error, "the ledger can't be read; undoing what this process has done"),
    }
    block::unblock(&context.source, &context.control, &context.lock, &blocked).await;
}

async fn off(context: &Context) -> Result<(), Error> {
    switch::off(&context.control, &context.destination, &context.mapping, &context.board).await
}

/// Switches off what a cutover that was undone has left on: before anything is applied under it. Not while one is still to be brought to its
/// end: then there is nothing left to apply.
pub async fn switch_off_what_is_left(context: &Context, is_under_way: bool) -> Result<(), Error> {
    if is_under_way { Ok(()) } else { off(context).await }
}

/// What is in force of a write block that no cutover stands behind any more: one whose limit is over, or whose request has ended. `running` is
/// the limit of the one that is under way.
pub async fn orphans(control: &Client, mapping: &str, running: Option<Duration>) -> Result<Vec<block::Entry>, ledger::Error> {
    let blocks = ledger::in_force_of(control, mapping, &[Kind::WriteBlock]).await?;
    Ok(blocks.iter().filter(|e| running.is_none_or(|limit| e.age >= limit)).map(block::Entry::of).collect())
}

/// Whether a switch made by hand may be finished: refused while nothing has been changed, so that the operator can choose. With `keep` what
/// is in use on the destination is no obstacle.
pub async fn may_finish_by_hand(context: &Context, keep: bool) -> Result<(), Error> {
    let first = context.source.connect(&context.source.instance.database).await?;
    for (oid, name) in admission::databases(&context.source, &first, &context.settings).await? {
        equal::refuse_if_not_streaming(context, oid, &name).await?;
        if keep {
            continue;
        }
        beside::refuse_if_touched(context, &name).await?;
        equal::refuse_if_different(context, oid, &name).await?;
    }
    Ok(())
}

/// What a cutover without a block does, for a switch that the operator made by hand: sequences, never backwards since the
/// destination may be in use, and what comes last. Databases whose stream is gone already have had it.
///
/// What the stream does not carry is copied a last time, unless somebody has written to it on the destination: with `keep` it then
/// stays as it is there, without it nothing is done. Nor is it where a table of which the stream carries only a part is not equal.
pub async fn finish_by_hand(context: &Context, keep: bool) -> Result<u64, Error> {
    let limit = Duration::from_mins(5);
    let deadline = Instant::now() + limit;
    let mut candidates = Vec::new();
    for candidate in prepare(context).await? {
        let mut enabled = true;
        for names in &candidate.names {
            let found = subscription::observe(&candidate.destination, names)
                .await
                .map_err(failed("looking for the stream", &candidate))?;
            enabled &= found.is_some_and(|s| s.enabled);
        }
        if enabled {
            candidates.push(candidate);
        }
    }
    let (touched, _seats) = beside::touched(context, &mut candidates, keep).await?;
    if !keep {
        equal::prepare(context, &mut candidates).await?;
    }
    let mut sequences = 0;
    for candidate in &candidates {
        if let Some(writers) = block::writers(&candidate.source).await.map_err(failed("looking for writers", candidate))? {
            return Err(Error::Writers { database: candidate.name.clone(), writers });
        }
        let marker = watch::emit_marker(&candidate.source, "complete").await.map_err(failed("emitting the marker", candidate))?;
        within(deadline, limit, || format!("waiting until {} has applied {marker}", candidate.name), applied(candidate, marker))
            .await??;
        let values = sequences::read(&candidate.source).await.map_err(sequence_failed(candidate))?;
        sequences +=
            sequences::write(&candidate.destination, &values, Carry::Forward).await.map_err(sequence_failed(candidate))?;
    }
    if !keep {
        equal::prove_by_hand(context, &candidates).await?;
    }
    beside::last(context, &mut candidates, &touched).await?;
    switch::on(context, &candidates, None, deadline, limit).await?;
    Ok(sequences)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_copy_is_suggested_only_while_it_can_be_had() {
        let asked = Completion::Asked.cure("erp", "shop");
        assert!(asked.contains("keep_destination") && asked.contains("migrator.resync('erp', 'shop')"), "{asked}");
        let begun = Completion::Begun.cure("erp", "shop");
        assert!(begun.contains("keep_destination") && !begun.contains("resync"), "{begun}");
    }
}
