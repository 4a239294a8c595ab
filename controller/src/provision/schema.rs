//! Executing a plan: sessions for DDL, and what comes after the data, as a graph on several of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::failure::{self, Failed, Failures};
use super::queue::{Queue, Work};
use crate::plan::{Section, Statement};
use crate::postgres::{self, Endpoint, Session, retry};

pub use super::queue::Signal;

/// The plan could not be executed any further; a statement that fails by itself is a finding instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The destination can't be reached.
    #[error(transparent)]
    Connect(#[from] postgres::connect::Error),
    /// The destination went away, or is short of something for a while.
    #[error("building the schema of {database}: {}", retry::message(.source))]
    Session {
        /// The database.
        database: String,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// Nobody gives permits any more.
    #[error("building the schema of {database}: the mapping is being ended")]
    Over {
        /// The database.
        database: String,
    },
    /// A worker panicked; the message is in the log.
    #[error("a build worker stopped unexpectedly: {0}")]
    Worker(#[from] tokio::task::JoinError),
}

/// So many statements share a transaction: one by one, commits are most of the work; all in one, the lock table runs over.
pub(super) const BATCH: usize = 200;
/// So often a statement that collides with another session's is run again.
const COLLISIONS: u32 = 20;

/// Opens a session for DDL: function bodies unchecked (they may name what comes later), no trigger of the user's fires.
pub async fn session(destination: &Endpoint, database: &str) -> Result<Session, Error> {
    let session = destination.connect(database).await?;
    let settings = session.batch_execute(
        "SET session_replication_role = replica; SET event_triggers = off; SET check_function_bodies = off;
             SET synchronous_commit = off; SET default_tablespace = '';
             -- What says nothing of its storage is in the usual one, whatever the database has for new tables.
             SET default_table_access_method = heap;
             -- What is recognized by its message is so in the words of the sources.
             SET lc_messages = 'C';
             SET max_parallel_maintenance_workers = 0;
             -- User mappings and subscriptions carry passwords, which must not reach the server's log or statistics.
             SET log_statement = none; SET log_min_duration_statement = -1; SET log_min_error_statement = panic;
             SET \"pg_stat_statements.track_utility\" = off;
             SELECT pg_catalog.set_config('maintenance_work_mem', GREATEST(setting::bigint, 262144) || 'kB', false)
             FROM pg_catalog.pg_settings WHERE name = 'maintenance_work_mem'",
    );
    settings.await.map_err(|source| Error::Session { database: database.to_owned(), source })?;
    Ok(session)
}

/// Executes once more what failed before the data, and what was left out for it. An object that is there by now has been made by
/// somebody else, and counts as made. Gives what is still missing.
pub async fn retry(session: &Session, database: &str, failed: &[Failed], statements: &[Statement]) -> Result<Failures, Error> {
    let mut failures = Failures::default();
    for index in failure::to_repeat(failed, statements) {
        if failures.leaves_out(statements, index) {
            continue;
        }
        // The ledger has what may be shown; what is executed may hold a password, and comes from the plan.
        match session.batch_execute(statements[index].executable()).await {
            Ok(()) => {}
            Err(error) if session.is_closed() => return Err(Error::Session { database: database.to_owned(), source: error }),
            Err(error) => {
                if !is_there(session, statements, index, &error).await {
                    failures.fail(index, retry::message(&error));
                }
            }
        }
    }
    failures.follow(statements);
    Ok(failures)
}

/// Whether what a statement failed to make is there all the same. The server may look at the definition first and so never come to
/// say that the name is taken; but what can be given to its owner is there.
async fn is_there(session: &Session, statements: &[Statement], index: usize, error: &tokio_postgres::Error) -> bool {
    // duplicate_object, _table, _function, _schema, _column
    if error.code().is_some_and(|c| ["42710", "42P07", "42723", "42P06", "42701"].contains(&c.code())) {
        return true;
    }
    match failure::handing_over(statements, &statements[index]).filter(|_| statements[index].makes()) {
        Some(statement) => session.batch_execute(statement.executable()).await.is_ok(),
        None => false,
    }
}

async fn is_done(session: &Session, statement: &Statement) -> bool {
    let Some(question) = &statement.done_when else { return false };
    // What can't be told counts as not done: then the statement's own error is told.
    session.query_one(&format!("SELECT COALESCE(({question}), false)"), &[]).await.is_ok_and(|row| row.get(0))
}

/// Sees to it that what was committed with `synchronous_commit = off` is on disk, before anybody counts on it.
pub(super) async fn flush(session: &Session, database: &str) -> Result<(), Error> {
    session
        .batch_execute("BEGIN; SET LOCAL synchronous_commit = on; SELECT pg_catalog.pg_current_xact_id(); COMMIT")
        .await
        .map_err(|source| Error::Session { database: database.to_owned(), source })
}

/// Asks the destination which statements have had their effect already.
pub async fn already_done(session: &Session, database: &str, statements: &[Statement]) -> Result<HashSet<usize>, Error> {
    let mut done = HashSet::new();
    let questions: Vec<(usize, &str)> =
        statements.iter().enumerate().filter_map(|(i, s)| Some((i, s.done_when.as_deref()?))).collect();
    for batch in questions.chunks(BATCH) {
        let list: Vec<String> = batch.iter().map(|(_, question)| format!("COALESCE(({question}), false)")).collect();
        let row = session
            .query_one(&format!("SELECT ARRAY[{}]", list.join(", ")), &[])
            .await
            .map_err(|source| Error::Session { database: database.to_owned(), source })?;
        let answers: Vec<bool> = row.get(0);
        done.extend(batch.iter().zip(answers).filter(|(_, yes)| *yes).map(|((i, _), _)| *i));
    }
    Ok(done)
}

/// What became of one statement.
type Outcome = (usize, Result<(), tokio_postgres::Error>);

/// Executes statements that a session was given: several share a transaction. When that fails, each is run by itself, so that a
/// failure stays with its own statement. Ends early when the session is of no more use.
async fn execute(session: &Session, work: &[(usize, String)], helpers: usize) -> Vec<Outcome> {
    if let [(index, sql)] = work {
        return vec![(*index, execute_one(session, sql, helpers).await)];
    }
    let text: Vec<&str> = work.iter().map(|(_, sql)| sql.as_str()).collect();
    // The newline ends a comment that a statement may end with.
    let together = format!("BEGIN;\n{}\n;COMMIT", text.join("\n;\n"));
    let Err(error) = session.batch_execute(&together).await else {
        return work.iter().map(|(index, _)| (*index, Ok(()))).collect();
    };
    tracing::debug!(%error, "a batch failed: running its statements one by one");
    let mut outcomes = Vec::with_capacity(work.len());
    if let Err(error) = session.batch_execute("ROLLBACK").await {
        return vec![(work[0].0, Err(error))];
    }
    for (index, sql) in work {
        let outcome = execute_one(session, sql, helpers).await;
        let over = outcome.as_ref().is_err_and(retry::is_transient);
        outcomes.push((*index, outcome));
        if over {
            break;
        }
    }
    outcomes
}

/// Executes a statement, again where it collides with another session's.
pub(super) async fn execute_one(session: &Session, sql: &str, helpers: usize) -> Result<(), tokio_postgres::Error> {
    let sql =
        if helpers == 0 { sql.to_owned() } else { format!("SET LOCAL max_parallel_maintenance_workers = {helpers};\n{sql}") };
    for _ in 0..COLLISIONS {
        match session.batch_execute(&sql).await {
            Err(error) if retry::is_collision(&error) => {
                tracing::debug!(%error, "collided, running it again");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            result => return result,
        }
    }
    session.batch_execute(&sql).await
}

/// What is to be built.
#[derive(Debug, Clone, Copy)]
pub struct Build<'a> {
    /// The destination instance.
    pub destination: &'a Endpoint,
    /// The database there.
    pub database: &'a str,
    /// The whole plan.
    pub statements: &'a [Statement],
    /// What of it.
    pub section: Section,
    /// One permit for each statement (or small statements that share a transaction) under way, of all databases together.
    pub permits: &'a Arc<Semaphore>,
    /// So many of them at most for this database.
    pub workers: usize,
    /// Foreign keys of a later section that may be made beside this one. One that fails now is left to its section.
    pub early: &'a [usize],
    /// Whether small statements may share a transaction, and so hold locks on many tables: not while streams write to them.
    pub batches: bool,
}

/// What is told of a build while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// So many statements more are executed, found done, or left out.
    Done(usize),
    /// The rows of this table are there, and all of the section that is made on them.
    Whole(u32),
    /// As above, but something of it has failed.
    Damaged(u32),
}

/// Executes the statements of one section on up to [`Build::workers`] sessions, each as soon as its table is copied and its
/// predecessors are done, what takes longest first. Ends when no table comes any more and none is left, or none that can run, because its
/// table never came. What needs something in `failures` is left out and noted there, like what fails now.
///
/// Databases share the permits fairly and without deadlock. A permit is held for one piece of work and no longer, and permits are given in
/// the order in which they were asked for: so a database with thousands of indexes has its turn between two pieces of another's, and
/// gets every permit that nobody else wants. Who holds one waits for nothing but his statement; help for a last, long build is taken
/// only where it need not be waited for. So there is no circle in which each waits for what another one holds.
pub async fn build(
    Build { destination, database, statements, section, permits, workers, early, batches }: Build<'_>,
    signals: &mut mpsc::UnboundedReceiver<Signal>,
    failures: &mut Failures,
    mut tell: impl FnMut(Told),
) -> Result<(), Error> {
    let first = session(destination, database).await?;
    let finished = already_done(&first, database, statements).await?;
    let selected: Vec<usize> = (0..statements.len()).filter(|i| statements[*i].section == section).collect();
    tell(Told::Done(selected.iter().filter(|i| finished.contains(i)).count()));
    let mut queue = Queue::new(statements, selected, &finished, batches).with_early(statements, early, &finished);
    let mut damaged: HashSet<u32> = HashSet::new();
    let mut idle = vec![first];
    let mut tasks: JoinSet<(Session, Work, Instant, Vec<Outcome>)> = JoinSet::new();
    let own = |work: &Work| work.statements.iter().filter(|i| statements[**i].section == section).count();
    // The place in the line for a permit is kept while other things happen.
    let mut turn = None;
    let mut hears = true;
    loop {
        for table in queue.take_whole() {
            tell(if damaged.contains(&table) { Told::Damaged(table) } else { Told::Whole(table) });
        }
        if tasks.is_empty() && queue.is_copy_over() && !queue.has_work() {
            // What still waits belongs to tables that failed.
            if let Some(session) = idle.last() {
                flush(session, database).await?;
            }
            return Ok(());
        }
        if turn.is_none() && queue.has_work() && tasks.len() < workers {
            turn = Some(Box::pin(Arc::clone(permits).acquire_owned()));
        }
        let my_turn = async {
            match turn.as_mut() {
                Some(turn) => turn.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            permit = my_turn => {
                turn = None;
                let Ok(permit) = permit else { return Err(Error::Over { database: database.to_owned() }) };
                let Some(work) = queue.take(workers) else { continue };
                let (left_out, open): (Vec<usize>, Vec<usize>) =
                    work.statements.iter().copied().partition(|i| failures.leaves_out(statements, *i));
                damaged.extend(left_out.iter().filter_map(|i| statements[*i].table));
                if open.is_empty() {
                    tell(Told::Done(own(&work)));
                    queue.finish(&work);
                    continue;
                }
                let sql: Vec<(usize, String)> = open.iter().map(|i| (*i, statements[*i].executable().to_owned())).collect();
                let session = match idle.pop() {
                    Some(session) => session,
                    None => session(destination, database).await?,
                };
                let mut held = vec![permit];
                held.extend((0..work.helpers).map_while(|_| Arc::clone(permits).try_acquire_owned().ok()));
                // One needs no permit: it takes what the others leave.
                let helpers = (held.len() - 1).max(work.helpers.min(1));
                tasks.spawn(
                    async move {
                        let begun = Instant::now();
                        let outcomes = execute(&session, &sql, helpers).await;
                        drop(held);
                        (session, work, begun, outcomes)
                    }
                    .in_current_span(),
                );
            }
            Some(result) = tasks.join_next(), if !tasks.is_empty() => {
                let (session, work, begun, outcomes) = result?;
                if let Some(first) = work.statements.first() {
                    let (took, statements, first) = (begun.elapsed(), work.statements.len(), &statements[*first].object);
                    tracing::debug!(?took, statements, %first, "built");
                }
                for (index, outcome) in outcomes {
                    match outcome {
                        Ok(()) => {}
                        Err(source) if retry::is_transient(&source) => {
                            return Err(Error::Session { database: database.to_owned(), source });
                        }
                        // Somebody may have done it: a builder of an earlier try, whose statement ran on.
                        Err(error) => {
                            if statements[index].section != section {
                                tracing::debug!(error = retry::message(&error), object = %statements[index].object, "not early");
                            } else if !is_done(&session, &statements[index]).await {
                                damaged.extend(statements[index].table);
                                failures.fail(index, retry::message(&error));
                            }
                        }
                    }
                }
                tell(Told::Done(own(&work)));
                queue.finish(&work);
                // One is kept. More of them only if they are used again at once: other databases need connections as well.
                if idle.is_empty() || queue.has_work() && permits.available_permits() > 0 {
                    idle.push(session);
                }
            }
            signal = signals.recv(), if hears => {
                hears = signal.is_some();
                queue.note(&signal.unwrap_or(Signal::CopyOver));
                // A table with all its statements, or many tables at once, make one batch.
                while let Ok(signal) = signals.try_recv() {
                    queue.note(&signal);
                }
            }
        }
    }
}
