//! A worker of a pass: one session on each side, and one job after the other.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::mpsc;

use super::loader::{AsOwner, Emptying, Loader};
use super::part::{Range, Split};
use super::pass::{Error, Event, Settings};
use super::pipe::{self, Progress};
use super::schedule::{Job, Queue};
use super::table::Table;
use super::together;
use crate::gentle::rate::Limiter;
use crate::postgres::{Lsn, Session, quote, refusal, retry};
use crate::provision::statistics;

/// Why a table is copied anew, with what is read of it then.
pub(super) const CHANGED: &str = "the source rewrote or renamed the table, or changed its columns, after it was looked at: it is looked at again and copied anew";

/// What a worker shares with the others of its pass.
pub(super) struct Worker {
    pub settings: Settings,
    pub lsn: Lsn,
    pub began: Instant,
    pub queue: Arc<Mutex<Queue>>,
    pub events: mpsc::UnboundedSender<Event>,
    pub stop: tokio::sync::watch::Receiver<bool>,
}

/// Whether a failure is the table's own or breaks the worker.
pub(super) enum Failure {
    Table(String),
    Session(Error),
}

impl Failure {
    /// A statement that failed while a table was worked on: the table's fault, unless it may go well the next time.
    pub fn of(source: tokio_postgres::Error, doing: &'static str) -> Self {
        if retry::is_loss_of_session(&source) {
            Self::Session(Error::Session { doing, source })
        } else {
            Self::Table(refusal::without_rows(&source))
        }
    }
}

/// A worker with its sessions.
pub(super) struct Sessions {
    pub reader: Session,
    pub writer: Loader,
    statistics: statistics::Reader,
    /// Schema and name of tables that others refer to.
    referenced: HashSet<(String, String)>,
    /// Tables that could not be copied together with others.
    one_by_one: Vec<Table>,
}

/// How far a worker came with its sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// To the end of the work.
    ToTheEnd,
    /// To a table that failed. The driver loses count of a server's answers when COPY FROM fails before it takes rows, and would take
    /// the answer to one statement for that to the next: a session in which a COPY failed is not used again.
    ToAFailure,
}

impl Worker {
    /// Works until nothing is left to do.
    pub async fn run(self, reader: Session) -> Result<(), Error> {
        let loader = async || Loader::open(&self.settings.destination, &self.settings.destination_database).await;
        let writer = loader().await?;
        let statistics = statistics::Reader::new(&reader, reader.version())
            .await
            .map_err(|source| Error::Session { doing: "looking for statistics", source })?;
        let referenced =
            referenced(&writer).await.map_err(|source| Error::Session { doing: "looking for foreign keys", source })?;
        let mut sessions = Sessions { reader, writer, statistics, referenced, one_by_one: Vec::new() };
        loop {
            match self.work(&mut sessions).await? {
                Came::ToTheEnd => return Ok(()),
                Came::ToAFailure => sessions.writer = loader().await?,
            }
        }
    }

    async fn work(&self, sessions: &mut Sessions) -> Result<Came, Error> {
        loop {
            let job = match sessions.one_by_one.pop() {
                Some(table) => Job::Table(table),
                None => match self.next() {
                    Some(job) => job,
                    None => break,
                },
            };
            match job {
                Job::Table(table) => {
                    if self.table(sessions, table).await? == Came::ToAFailure {
                        return Ok(Came::ToAFailure);
                    }
                }
                Job::Tables(tables) => {
                    if self.tables(sessions, tables).await? == Came::ToAFailure {
                        return Ok(Came::ToAFailure);
                    }
                }
                Job::Part(split, range) => {
                    if range.is_first() {
                        self.tell(Event::Started(split.table.clone(), Arc::clone(&split.progress)));
                    }
                    match self.copy_part(sessions, &split, range).await {
                        Ok(false) => {}
                        Ok(true) => {
                            tracing::info!(table = split.table.label(), "copied in parts and attached");
                            self.tell(Event::Attached(split.table.clone(), self.lsn));
                        }
                        Err(Failure::Table(reason)) => {
                            let first = split.give_up();
                            sessions.roll_back().await?;
                            if first {
                                self.tell(Event::Failed(split.table.clone(), reason));
                            }
                            return Ok(Came::ToAFailure);
                        }
                        Err(Failure::Session(error)) => {
                            split.give_up();
                            return Err(error);
                        }
                    }
                }
            }
        }
        // The reader's transaction has nothing to commit, and ending it lets the source's vacuum go on.
        sessions
            .reader
            .batch_execute("ROLLBACK")
            .await
            .map_err(|source| Error::Session { doing: "ending the snapshot", source })?;
        Ok(Came::ToTheEnd)
    }

    async fn table(&self, sessions: &mut Sessions, table: Table) -> Result<Came, Error> {
        let progress = Arc::new(Progress::default());
        self.tell(Event::Started(table.clone(), Arc::clone(&progress)));
        match self.copy(sessions, &table, &progress).await {
            Ok(rows) => {
                tracing::debug!(table = table.label(), rows, "copied and attached");
                self.tell(Event::Attached(table, self.lsn));
            }
            Err(Failure::Table(reason)) => {
                sessions.roll_back().await?;
                self.tell(Event::Failed(table, reason));
                return Ok(Came::ToAFailure);
            }
            Err(Failure::Session(error)) => return Err(error),
        }
        Ok(Came::ToTheEnd)
    }

    /// Small tables in one transaction, or if that does not succeed, one by one.
    async fn tables(&self, sessions: &mut Sessions, tables: Vec<Table>) -> Result<Came, Error> {
        let begun: Vec<(Table, Arc<Progress>)> = tables.into_iter().map(|table| (table, Arc::default())).collect();
        for (table, progress) in &begun {
            self.tell(Event::Started(table.clone(), Arc::clone(progress)));
        }
        let attach: String = begun.iter().map(|(table, _)| self.attach(table)).collect();
        match together::copy(sessions, &begun, &attach, &self.settings.gentle.rate).await {
            Ok(()) => {
                tracing::debug!(tables = begun.len(), "copied and attached");
                for (table, _) in begun {
                    self.tell(Event::Attached(table, self.lsn));
                }
            }
            Err(Failure::Table(reason)) => {
                tracing::debug!(reason, "copying small tables one by one");
                sessions.roll_back().await?;
                sessions.one_by_one.extend(begun.into_iter().map(|(table, _)| table));
                return Ok(Came::ToAFailure);
            }
            Err(Failure::Session(error)) => return Err(error),
        }
        Ok(Came::ToTheEnd)
    }

    fn next(&self) -> Option<Job> {
        let only_begun = *self.stop.borrow() || self.began.elapsed() >= self.settings.max_snapshot_age;
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take(only_begun)
    }

    fn tell(&self, event: Event) {
        // Whoever listened has been stopped; then the work is about to be stopped as well.
        let _ = self.events.send(event);
    }

    fn attach(&self, table: &Table) -> String {
        format!(
            "SELECT pg_temp.attach({}, {}::pg_catalog.regclass, '{}');",
            // A table without one would fail here, and alone: there is no subscription 0.
            self.settings.subscriptions.get(&table.oid).copied().unwrap_or_default(),
            quote::literal(&table.sql_name()),
            self.lsn
        )
    }

    async fn copy(&self, sessions: &mut Sessions, table: &Table, progress: &Progress) -> Result<u64, Failure> {
        let owner = sessions.as_owner(table).await?;
        let name = table.sql_name();
        let columns = table.column_list();
        let emptying = sessions.emptying(table);
        let write = async {
            sessions.begin(&owner).await?;
            sessions.write(&emptying.statement(&name)).await
        };
        let (statistics, written) = tokio::join!(sessions.statistics(table), write);
        let statistics = statistics?;
        written?;
        let rows = sessions
            .pipe(
                &format!("COPY {name} {columns} TO STDOUT"),
                &format!("COPY {name} {columns} FROM STDIN {}", emptying.options()),
                progress,
                &self.settings.gentle.rate,
            )
            .await?;
        // The lock that reading took is still held: the file is the one that is there now.
        if sessions.was_changed(table).await? {
            return Err(Failure::Table(CHANGED.to_owned()));
        }
        sessions.leave().await?;
        self.commit(sessions, table, &owner, rows, &statistics).await?;
        sessions.end_reading().await?;
        Ok(rows)
    }

    /// Ends the transaction that has brought the (last) rows: statistics, attach, commit. A table whose statistics are refused is attached
    /// without them.
    async fn commit(
        &self,
        sessions: &Sessions,
        table: &Table,
        owner: &AsOwner,
        rows: u64,
        statistics: &Result<String, String>,
    ) -> Result<(), Failure> {
        let attach = self.attach(table);
        let statistics = match statistics {
            Ok(sql) if rows > 0 && table.bytes >= statistics::SMALL => sql,
            Ok(_) => return sessions.write(&format!("{} {attach} COMMIT", owner.take_back)).await,
            Err(reason) => {
                sessions.write(&format!("{} {attach} COMMIT", owner.take_back)).await?;
                self.tell(Event::WithoutStatistics(table.clone(), reason.clone()));
                return Ok(());
            }
        };
        let relation = statistics::relation(&table.schema, &table.name, rows as f64);
        let all = format!("{} SAVEPOINT statistics; {relation}; {statistics} {attach} COMMIT", owner.take_back);
        let Err(error) = sessions.writer.batch_execute(&all).await else { return Ok(()) };
        if retry::is_loss_of_session(&error) || sessions.writer.batch_execute("ROLLBACK TO SAVEPOINT statistics").await.is_err() {
            return Err(Failure::of(error, "writing"));
        }
        sessions.write(&format!("{attach} COMMIT")).await?;
        self.tell(Event::WithoutStatistics(table.clone(), retry::message(&error)));
        Ok(())
    }

    /// Copies a part; true if it was the last one and the table is attached.
    async fn copy_part(&self, sessions: &mut Sessions, split: &Split, range: Range) -> Result<bool, Failure> {
        let table = &split.table;
        let owner = sessions.as_owner(table).await?;
        // The others wait here for the first.
        let file = *split.file.get_or_try_init(|| self.prepare(sessions, split, &owner)).await?;
        if split.is_given_up() {
            return Ok(false);
        }
        let columns = table.column_list();
        sessions.begin(&owner).await?;
        let copy_from = format!("COPY {} {columns} FROM STDIN", table.sql_name());
        sessions.pipe(&split.copy_to(range), &copy_from, &split.progress, &self.settings.gentle.rate).await?;
        // The lock that reading took is still held: the file is the one that was read.
        if sessions.file(table).await? != file || sessions.was_changed(table).await? {
            return Err(Failure::Table(CHANGED.to_owned()));
        }
        let turn = split.turn().await;
        let last = turn.is_last();
        sessions.leave().await?;
        if last {
            let statistics = sessions.statistics(table).await?;
            let rows = split.progress.rows.load(Ordering::Relaxed);
            self.commit(sessions, table, &owner, rows, &statistics).await?;
        } else {
            sessions.write(&format!("{} COMMIT", owner.take_back)).await?;
        }
        turn.done();
        sessions.end_reading().await?;
        Ok(last)
    }

    /// Empties a table that will be copied in parts; gives the source's file of it.
    async fn prepare(&self, sessions: &Sessions, split: &Split, owner: &AsOwner) -> Result<u32, Failure> {
        let table = &split.table;
        let name = table.sql_name();
        sessions.begin(owner).await?;
        sessions.write(&sessions.emptying(table).statement(&name)).await?;
        // Emptying waited for whatever an earlier session of ours still had to commit. Had that attached the table, then the rows
        // are the stream's, and must stay. Each statement sees what was committed before it.
        let attached = sessions
            .writer
            .query_one(
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_subscription_rel WHERE srrelid = $1::text::pg_catalog.regclass)",
                &[&name],
            )
            .await
            .map_err(|source| Failure::of(source, "emptying a table"))?;
        if attached.get(0) {
            return Err(Failure::Session(Error::Overtaken { table: table.label() }));
        }
        sessions.leave().await?;
        sessions.write(&format!("{} COMMIT", owner.take_back)).await?;
        sessions
            .reader
            .batch_execute(&format!("LOCK TABLE ONLY {name} IN ACCESS SHARE MODE"))
            .await
            .map_err(|source| Failure::of(source, "reading"))?;
        let file = sessions.file(table).await?;
        sessions.end_reading().await?;
        Ok(file)
    }
}

/// Tables that others refer to: they are when tables are copied anew, for foreign keys come after the first copy.
async fn referenced(writer: &Session) -> Result<HashSet<(String, String)>, tokio_postgres::Error> {
    let rows = writer.query(include_str!("referenced.sql"), &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Whose failure it is when rows could not be moved.
pub(super) fn pipe_failure(error: pipe::Error) -> Failure {
    match error {
        pipe::Error::Source(source) | pipe::Error::Destination(source) if retry::is_loss_of_session(&source) => {
            Failure::Session(Error::Session { doing: "moving rows", source })
        }
        error => Failure::Table(error.to_string()),
    }
}

impl Sessions {
    fn emptying(&self, table: &Table) -> Emptying {
        Emptying::of(self.referenced.contains(&(table.schema.clone(), table.name.clone())))
    }

    /// Opens a transaction on the destination, as the table's owner. The source's transaction has its savepoint from the beginning.
    pub async fn begin(&self, owner: &AsOwner) -> Result<(), Failure> {
        self.writer.begin(owner).await.map_err(|source| Failure::of(source, "becoming the owner"))
    }

    /// Becomes ourselves again.
    pub async fn leave(&self) -> Result<(), Failure> {
        self.writer.leave().await.map_err(|source| Failure::of(source, "becoming ourselves again"))
    }

    pub async fn write(&self, statements: &str) -> Result<(), Failure> {
        self.writer.batch_execute(statements).await.map_err(|source| Failure::of(source, "writing"))
    }

    /// What gives a table's columns the source's statistics, or why there is nothing. To be called after the savepoint.
    async fn statistics(&self, table: &Table) -> Result<Result<String, String>, Failure> {
        if table.bytes < statistics::SMALL {
            return Ok(Ok(String::new()));
        }
        match self.statistics.columns(&self.reader, &[(&table.schema, &table.name)], false).await {
            Ok(columns) => Ok(Ok(columns.into_iter().map(|columns| columns.sql + ";").collect())),
            Err(error) => {
                self.reader
                    .batch_execute("ROLLBACK TO SAVEPOINT copy")
                    .await
                    .map_err(|source| Failure::Session(Error::Session { doing: "reading", source }))?;
                Ok(Err(retry::message(&error)))
            }
        }
    }

    async fn pipe(&self, copy_to: &str, copy_from: &str, progress: &Progress, rate: &Limiter) -> Result<u64, Failure> {
        pipe::run(&self.reader, copy_to, &self.writer, copy_from, progress, rate).await.map_err(pipe_failure)
    }

    pub async fn end_reading(&self) -> Result<(), Failure> {
        self.reader
            // Not RELEASE: this gives the table's lock back, so that nobody on the source waits for the rest of the pass.
            .batch_execute("ROLLBACK TO SAVEPOINT copy")
            .await
            .map_err(|source| Failure::Session(Error::Session { doing: "reading", source }))
    }

    /// Makes the reader ready for another table. The writer's transaction ends with its session.
    async fn roll_back(&self) -> Result<(), Error> {
        let doing = "after a table that failed";
        self.reader.batch_execute("ROLLBACK TO SAVEPOINT copy").await.map_err(|source| Error::Session { doing, source })
    }

    /// Whether the table has got another file since the snapshot, or other columns than were looked for. TRUNCATE and the rewriting forms of ALTER TABLE make a
    /// table look empty to older snapshots (<https://www.postgresql.org/docs/current/mvcc-caveats.html>), so what was
    /// read says nothing. `pg_class` is read under the snapshot, the function looks at what is there now.
    async fn was_changed(&self, table: &Table) -> Result<bool, Failure> {
        self.were_changed(&[table]).await
    }

    /// Whether any of the tables has got another file, is gone, has lost its name to another one, which then was read, or has under the snapshot a column more than is copied: its values would be
    /// nowhere, since the stream brings only what is written later.
    pub async fn were_changed(&self, tables: &[&Table]) -> Result<bool, Failure> {
        let oids: Vec<u32> = tables.iter().map(|table| table.oid).collect();
        let columns: Vec<i64> = tables.iter().map(|table| table.columns.len() as i64).collect();
        let names: Vec<String> = tables.iter().map(|table| table.sql_name()).collect();
        let row = self
            .reader
            .query_one(include_str!("unchanged_files.sql"), &[&oids, &columns, &names])
            .await
            .map_err(|source| Failure::of(source, "looking for a table's file"))?;
        Ok(row.get::<_, i64>(0) != tables.len() as i64)
    }

    /// The file on the source that holds a table's rows now, whatever the snapshot sees.
    async fn file(&self, table: &Table) -> Result<u32, Failure> {
        let row = self
            .reader
            .query_one("SELECT pg_catalog.pg_relation_filenode($1::oid::regclass)", &[&table.oid])
            .await
            .map_err(|source| Failure::of(source, "looking for a table's file"))?;
        row.get::<_, Option<u32>>(0).ok_or_else(|| Failure::Table("the table is no longer on the source".to_owned()))
    }

    pub async fn as_owner(&mut self, table: &Table) -> Result<AsOwner, Failure> {
        let owner = self.writer.as_owner(&table.schema, &table.owner).await;
        owner.map_err(|source| Failure::of(source, "looking at the owner"))
    }
}
