//! The cutover. In: a mapping whose databases are all ready. Out: a destination that holds everything, takes writes, and
//! a source that takes none; or, if anything fails or takes too long, both as they were.
//!
//! [`block`] stops the writers; then a marker is emitted in every database and waited for, sequences are set to their
//! last values, and what would have disturbed the stream (triggers that fire on replicas, forced row security) is
//! switched on.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::timeout;

use crate::ledger::{self, Kind};
use crate::plan::{Plan, Section, Statement};
use crate::postgres::{self, Lsn, Session, retry};
use crate::provision::{carry, schema};
use crate::reconcile::{Context, database, mapping, watch};
use crate::stream::slot::{self, Slot};
use crate::stream::{Names, sequences};

pub mod block;

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
    /// The slot is not there any more.
    #[error("the slot {slot} of database {database} is not usable any more")]
    Slot {
        /// Where.
        database: String,
        /// Its name.
        slot: String,
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
    /// Sequences set.
    pub sequences: u64,
    /// Statements executed last.
    pub statements: usize,
}

/// One database on its way over, with everything that can be fetched before the clock runs.
struct Candidate {
    name: String,
    names: Names,
    source: Session,
    destination: Session,
    last: Vec<Statement>,
    report: DatabaseReport,
}

/// Cuts over, or undoes what it did. The limit is for how long writers are kept out: it runs from the first block on,
/// also over a restart of the controller.
pub async fn run(context: &Context, limit: Duration) -> Result<Report, Error> {
    let result = attempt(context, limit).await;
    if result.is_err() {
        undo(context).await?;
    }
    result
}

async fn attempt(context: &Context, limit: Duration) -> Result<Report, Error> {
    still_in_time(context, limit).await?;
    let mut candidates = prepare(context).await?;
    let blocked_for = still_in_time(context, limit).await?;
    let began = Instant::now();
    let deadline = began + limit.saturating_sub(blocked_for);
    for candidate in &mut candidates {
        let blocking = block::block(&candidate.source, &context.control, &context.mapping, &candidate.name);
        candidate.report.sessions_ended =
            within(deadline, limit, || format!("ending the sessions of {}", candidate.name), blocking).await??;
    }
    let mut markers = Vec::new();
    for candidate in &mut candidates {
        no_prepared_transactions(candidate).await?;
        let marker = watch::emit_marker(&candidate.source, "cutover").await.map_err(failed("emitting the marker", candidate))?;
        candidate.report.marker = marker.to_string();
        markers.push(marker);
    }
    for (candidate, marker) in candidates.iter().zip(markers) {
        within(deadline, limit, || format!("waiting until {} has applied {marker}", candidate.name), applied(candidate, marker))
            .await??;
    }
    for candidate in &mut candidates {
        let values = sequences::read(&candidate.source).await.map_err(failed("reading the sequences", candidate))?;
        let setting = sequences::write(&candidate.destination, &values);
        candidate.report.sequences = within(deadline, limit, || "setting the sequences".to_owned(), setting)
            .await?
            .map_err(failed("setting the sequences", candidate))?;
    }
    switch_on(&mut candidates, deadline, limit).await?;
    Ok(Report { seconds: began.elapsed().as_secs_f64(), databases: candidates.into_iter().map(|c| c.report).collect() })
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
    for (oid, name) in mapping::databases(&context.source, &first, &context.settings).await? {
        candidates.push(candidate(context, oid, name).await?);
    }
    Ok(candidates)
}

async fn candidate(context: &Context, oid: u32, name: String) -> Result<Candidate, Error> {
    let mut source = context.source.connect(&name).await?;
    let names = Names::new(&context.mapping, oid);
    let plan = plan(context, &mut source, &name, &names).await?;
    let mut last: Vec<Statement> = plan.statements.into_iter().filter(|s| s.section == Section::AtCutover).collect();
    last.extend(carry::at_cutover(&source, &context.control, &name).await.map_err(database::Error::from)?);
    let destination = schema::session(&context.destination, &name).await.map_err(database::Error::from)?;
    // The switch must be on disk when it is reported.
    destination.batch_execute("SET synchronous_commit = on").await.map_err(|source| Error::Statement {
        doing: "preparing the destination",
        database: name.clone(),
        source,
    })?;
    // A cutover that was interrupted may have switched some on.
    let done = schema::already_done(&destination, &name, &last).await.map_err(database::Error::from)?;
    let last: Vec<Statement> = last.into_iter().enumerate().filter(|(i, _)| !done.contains(i)).map(|(_, s)| s).collect();
    let report =
        DatabaseReport { database: name.clone(), sessions_ended: 0, marker: String::new(), sequences: 0, statements: last.len() };
    Ok(Candidate { name, names, source, destination, last, report })
}

async fn plan(context: &Context, source: &mut Session, name: &str, names: &Names) -> Result<Plan, Error> {
    let effects = ledger::in_force(&context.control, &context.mapping).await?;
    Ok(database::read_plan(source, name, std::slice::from_ref(&names.publication), &effects, context.settings.replica_identity)
        .await?)
}

async fn no_prepared_transactions(candidate: &Candidate) -> Result<(), Error> {
    let row = candidate
        .source
        .query_one("SELECT string_agg(gid, ', ') FROM pg_catalog.pg_prepared_xacts WHERE database = current_database()", &[])
        .await
        .map_err(failed("looking for prepared transactions", candidate))?;
    match row.get(0) {
        Some(gids) => Err(Error::Prepared { database: candidate.name.clone(), gids }),
        None => Ok(()),
    }
}

/// Waits until the destination has applied and flushed everything before the marker.
async fn applied(candidate: &Candidate, marker: Lsn) -> Result<(), Error> {
    loop {
        let slot =
            slot::observe(&candidate.source, &candidate.names).await.map_err(failed("waiting for the destination", candidate))?;
        match slot {
            Slot::Present { confirmed, .. } if confirmed >= marker => return Ok(()),
            Slot::Present { .. } => tokio::time::sleep(Duration::from_millis(20)).await,
            Slot::Missing | Slot::Foreign | Slot::Lost => {
                return Err(Error::Slot { database: candidate.name.clone(), slot: candidate.names.slot.clone() });
            }
        }
    }
}

/// Switches on, in one transaction a database, what waited for this moment. All are opened before the first is committed,
/// so that one that can't be done costs nothing.
async fn switch_on(candidates: &mut [Candidate], deadline: Instant, limit: Duration) -> Result<(), Error> {
    for candidate in candidates.iter() {
        let statements: Vec<&str> = candidate.last.iter().map(Statement::executable).collect();
        let all = format!("BEGIN;\n{}", statements.join("\n;\n"));
        within(deadline, limit, || "switching triggers on".to_owned(), candidate.destination.batch_execute(&all))
            .await?
            .map_err(failed("switching triggers on", candidate))?;
    }
    for candidate in candidates.iter() {
        candidate.destination.batch_execute("COMMIT").await.map_err(failed("switching triggers on", candidate))?;
    }
    Ok(())
}

/// Puts both sides back: the block is taken away by the ledger, and what was switched on is switched off again.
async fn undo(context: &Context) -> Result<(), Error> {
    tracing::warn!("undoing the cutover");
    let source = context.source.connect(&context.source.instance.database).await?;
    for effect in ledger::in_force(&context.control, &context.mapping).await? {
        if effect.kind == Kind::WriteBlock {
            block::unblock(&source, &context.control, &effect).await?;
        }
    }
    for (oid, name) in mapping::databases(&context.source, &source, &context.settings).await? {
        let mut session = context.source.connect(&name).await?;
        let plan = plan(context, &mut session, &name, &Names::new(&context.mapping, oid)).await?;
        let destination = schema::session(&context.destination, &name).await.map_err(database::Error::from)?;
        for statement in plan.statements.iter().filter(|s| s.section == Section::AtCutover).rev() {
            if let Some(undo) = &statement.undo {
                destination.batch_execute(undo).await.map_err(|source| Error::Statement {
                    doing: "switching triggers off again",
                    database: name.clone(),
                    source,
                })?;
            }
        }
    }
    Ok(())
}

/// What a cutover without a block does, for a switch that the operator made by hand: sequences and what comes last.
pub async fn finish_by_hand(context: &Context) -> Result<u64, Error> {
    let limit = Duration::from_mins(5);
    let deadline = Instant::now() + limit;
    let mut candidates = prepare(context).await?;
    let mut sequences = 0;
    for candidate in &candidates {
        let marker = watch::emit_marker(&candidate.source, "complete").await.map_err(failed("emitting the marker", candidate))?;
        within(deadline, limit, || format!("waiting until {} has applied {marker}", candidate.name), applied(candidate, marker))
            .await??;
        let values = sequences::read(&candidate.source).await.map_err(failed("reading the sequences", candidate))?;
        sequences +=
            sequences::write(&candidate.destination, &values).await.map_err(failed("setting the sequences", candidate))?;
    }
    switch_on(&mut candidates, deadline, limit).await?;
    Ok(sequences)
}
