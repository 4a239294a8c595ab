//! Executing a plan: the part before the data in order and in batches, the rest as a graph on several sessions.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::finding::{Finding, Severity};
use crate::plan::{Section, Statement};
use crate::postgres::{self, Endpoint, Session, retry};

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
    /// A worker panicked; the message is in the log.
    #[error("a build worker stopped unexpectedly: {0}")]
    Worker(#[from] tokio::task::JoinError),
}

/// So many statements share a transaction: one by one, commits are most of the work; all in one, the lock table runs over.
const BATCH: usize = 200;
/// So often a statement that collides with another session's is run again.
const COLLISIONS: u32 = 20;

/// Opens a session for DDL: function bodies unchecked (they may name what comes later), no trigger of the user's fires.
pub async fn session(destination: &Endpoint, database: &str) -> Result<Session, Error> {
    let session = destination.connect(database).await?;
    session
        .batch_execute(
            "SET session_replication_role = replica; SET event_triggers = off; SET check_function_bodies = off;
             SET synchronous_commit = off; SET default_tablespace = ''; SET maintenance_work_mem = '256MB';
             -- User mappings and subscriptions carry passwords, which must not reach the server's log or statistics.
             SET log_statement = none; SET log_min_duration_statement = -1; SET log_min_error_statement = panic;
             SET \"pg_stat_statements.track_utility\" = off",
        )
        .await
        .map_err(|source| Error::Session { database: database.to_owned(), source })?;
    Ok(session)
}

fn failed(database: &str, statement: &Statement, error: &tokio_postgres::Error) -> Finding {
    Finding {
        severity: Severity::Error,
        database: database.to_owned(),
        code: "statement_failed",
        object: statement.object.to_string(),
        reason: retry::message(error),
        fix: "mend the object on the source, or make it on the destination by hand; then start the migration of this database again"
            .to_owned(),
        statement: Some(statement.sql.clone()),
    }
}

/// Executes the statements before the data, in their order. A failure fails its statement alone.
pub async fn before_data(
    session: &Session,
    database: &str,
    statements: &[Statement],
    mut done: impl FnMut(usize),
) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    let broken = |source| Error::Session { database: database.to_owned(), source };
    let statements: Vec<&Statement> = statements.iter().filter(|s| s.section == Section::BeforeData).collect();
    for batch in statements.chunks(BATCH) {
        let text: Vec<&str> = batch.iter().map(|s| s.executable()).collect();
        // The newline ends a comment that a view or function may end with.
        let together = format!("BEGIN;\n{}\n;COMMIT", text.join("\n;\n"));
        if let Err(error) = session.batch_execute(&together).await {
            if session.is_closed() {
                return Err(broken(error));
            }
            session.batch_execute("ROLLBACK").await.map_err(broken)?;
            for statement in batch {
                if let Err(error) = session.batch_execute(statement.executable()).await {
                    if retry::is_transient(&error) {
                        return Err(broken(error));
                    }
                    findings.push(failed(database, statement, &error));
                }
            }
        }
        done(batch.len());
    }
    Ok(findings)
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

/// What [`build`] is told while it runs.
#[derive(Debug)]
pub enum Signal {
    /// The rows of this source table are there: its indexes may be built.
    TableCopied(u32),
    /// No further table will come.
    CopyOver,
}

/// Which statements may run, given what has happened. Pure bookkeeping, tested without a server.
#[derive(Debug)]
struct Queue {
    /// Not yet begun, in the plan's order.
    waiting: BTreeSet<usize>,
    finished: HashSet<usize>,
    copied: HashSet<u32>,
    copy_over: bool,
}

impl Queue {
    fn new(selected: impl IntoIterator<Item = usize>, finished: HashSet<usize>) -> Self {
        let waiting = selected.into_iter().filter(|i| !finished.contains(i)).collect();
        Self { waiting, finished, copied: HashSet::new(), copy_over: false }
    }

    fn note(&mut self, signal: &Signal) {
        match signal {
            Signal::TableCopied(table) => {
                self.copied.insert(*table);
            }
            Signal::CopyOver => self.copy_over = true,
        }
    }

    /// Takes the next statement that may run. A statement whose predecessors are not of this selection does not wait.
    fn take(&mut self, statements: &[Statement], running: &HashSet<usize>) -> Option<usize> {
        let next = self.waiting.iter().copied().find(|i| {
            let statement = &statements[*i];
            let table_there = match statement.table {
                Some(table) => self.copied.contains(&table),
                None => self.copy_over,
            };
            table_there && statement.after.iter().all(|p| !self.waiting.contains(p) && !running.contains(p))
        })?;
        self.waiting.remove(&next);
        Some(next)
    }
}

/// Executes the statements of one section on up to `workers` sessions, each as soon as its table is copied and its
/// predecessors are done. Ends when none is left, or when nothing that is left can run because its table never came.
pub async fn build(
    destination: &Endpoint,
    database: &str,
    statements: &[Statement],
    section: Section,
    workers: usize,
    signals: &mut mpsc::UnboundedReceiver<Signal>,
    mut done: impl FnMut(usize),
) -> Result<Vec<Finding>, Error> {
    let first = session(destination, database).await?;
    let finished = already_done(&first, database, statements).await?;
    let selected: Vec<usize> = (0..statements.len()).filter(|i| statements[*i].section == section).collect();
    done(selected.iter().filter(|i| finished.contains(i)).count());
    let mut queue = Queue::new(selected, finished);
    let mut findings = Vec::new();
    let mut idle = vec![first];
    let mut sessions = 1;
    let mut running = HashSet::new();
    let mut collisions: HashMap<usize, u32> = HashMap::new();
    let mut tasks: JoinSet<(Session, usize, Result<(), tokio_postgres::Error>)> = JoinSet::new();
    loop {
        while !idle.is_empty() || sessions < workers {
            let Some(next) = queue.take(statements, &running) else { break };
            let session = if let Some(session) = idle.pop() {
                session
            } else {
                sessions += 1;
                session(destination, database).await?
            };
            running.insert(next);
            let sql = statements[next].executable().to_owned();
            tasks.spawn(
                async move {
                    let result = session.batch_execute(&sql).await;
                    (session, next, result)
                }
                .in_current_span(),
            );
        }
        if tasks.is_empty() && (queue.waiting.is_empty() || queue.copy_over) {
            // With the copy over, what still waits belongs to tables that failed.
            return Ok(findings);
        }
        tokio::select! {
            Some(result) = tasks.join_next(), if !tasks.is_empty() => {
                let (session, index, result) = result?;
                running.remove(&index);
                idle.push(session);
                match result {
                    Ok(()) => {}
                    Err(error) if retry::is_collision(&error) && {
                        let count = collisions.entry(index).or_default();
                        *count += 1;
                        *count <= COLLISIONS
                    } => {
                        tracing::debug!(object = %statements[index].object, %error, "collided, running it again");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        queue.waiting.insert(index);
                        continue;
                    }
                    Err(source) if retry::is_transient(&source) => {
                        return Err(Error::Session { database: database.to_owned(), source });
                    }
                    Err(error) => findings.push(failed(database, &statements[index], &error)),
                }
                queue.finished.insert(index);
                done(1);
            }
            signal = signals.recv(), if !queue.copy_over => {
                queue.note(&signal.unwrap_or(Signal::CopyOver));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ObjectName;

    fn statement(table: Option<u32>, after: &[usize]) -> Statement {
        Statement {
            sql: String::new(),
            secret: None,
            object: ObjectName { class: "index", schema: String::new(), parent: String::new(), name: String::new() },
            section: Section::AfterData,
            table,
            done_when: None,
            undo: None,
            after: after.to_vec(),
        }
    }

    #[test]
    fn a_statement_waits_for_its_table_and_its_predecessors() {
        let statements = [statement(Some(7), &[]), statement(Some(7), &[0]), statement(Some(8), &[]), statement(None, &[2])];
        let mut queue = Queue::new(0..4, HashSet::new());
        let nothing = HashSet::new();
        assert_eq!(queue.take(&statements, &nothing), None);
        queue.note(&Signal::TableCopied(7));
        assert_eq!(queue.take(&statements, &nothing), Some(0));
        assert_eq!(queue.take(&statements, &HashSet::from([0])), None, "its predecessor still runs");
        assert_eq!(queue.take(&statements, &nothing), Some(1));
        queue.note(&Signal::CopyOver);
        assert_eq!(queue.take(&statements, &nothing), None, "table 8 never came, and 3 waits for 2");
    }

    #[test]
    fn what_is_done_is_not_done_again() {
        let statements = [statement(Some(7), &[]), statement(Some(7), &[0])];
        let mut queue = Queue::new(0..2, HashSet::from([0]));
        queue.note(&Signal::TableCopied(7));
        assert_eq!(queue.take(&statements, &HashSet::new()), Some(1));
    }
}
