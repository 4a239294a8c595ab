//! Filling: the steps that bring rows and what is built on them: a pass with the indexes behind it, and the finish.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::database::{Cooling, Database, Error, Failed};
use super::early::Waiting;
use super::observe::Picture;
use super::{Context, Mode};
use crate::copy::{self, Table, pass};
use crate::finding::{Code, Finding, Severity};
use crate::gentle::room::Seats;
use crate::monitor::board::TableStage;
use crate::plan::{Plan, Section, Statement};
use crate::postgres::{Endpoint, Session};
use crate::provision::failure::Failures;
use crate::provision::{label_provider, schema, statistics};
use crate::stream::{Names, slot, subscription};
use crate::verify::carried::Place;

/// A standby that could not be read from is tried again after this long.
const STANDBY_AGAIN: Duration = Duration::from_mins(10);
/// Statements that failed are tried once more after this long.
const FINISH_AGAIN_AFTER: Duration = Duration::from_mins(2);

impl Database {
    pub(super) async fn copy(&mut self, picture: Picture) -> Result<(), Error> {
        self.built = false;
        self.finished = false;
        let plan = self.plan().await?;
        let context = self.context.clone();
        let name = self.name.clone();
        let board = context.board.clone();
        let split_above = context.settings.split_above;
        let subscription_of = |stream: usize| picture.subscriptions[stream].map(|s| s.oid);
        let standing = (0..self.names.len()).filter(|stream| picture.subscriptions[*stream].is_some_and(|s| !s.enabled));
        let mut waiting = Waiting::new(standing, picture.stream_of.iter().map(|(table, stream)| (*table, *stream)));
        let names = self.names.clone();
        let none_runs = !picture.a_stream_runs();
        let subscriptions: HashMap<u32, u32> =
            picture.to_copy.iter().filter_map(|(t, stream)| Some((t.oid, subscription_of(*stream)?))).collect();
        let to_copy: Vec<Table> = picture.to_copy.into_iter().map(|(table, _)| table).collect();
        let width = pass::width(&to_copy, context.settings.copy_workers, split_above);
        if context.copy_permits.available_permits() == 0 {
            board.set_waiting(&name, Some("its turn: other databases have all workers (copy_workers)".to_owned()));
        }
        let (permits, workers) = take_permits(&context.copy_permits, width).await;
        board.set_waiting(&name, None);
        let seats = self.seats(workers).await;
        let total = to_copy.len();
        board.database(&name, |view| {
            view.copy_began = Some(Instant::now());
            view.bytes_at_start = view.bytes().1;
            view.statements_done = plan.statements.iter().filter(|s| s.section == Section::BeforeData).count();
        });
        // Whether a stream ran before or was stopped by somebody who is gone: its worker must have come to rest.
        let stopping: HashSet<u32> = subscriptions.values().copied().collect();
        for subscription in stopping {
            subscription::await_stopped(self.destination().await?, subscription)
                .await
                .map_err(Error::doing("waiting for the apply worker to stop"))?;
        }
        self.source().await?;
        self.destination().await?;
        let (Some(source), Some(destination)) = (&self.source, &self.destination) else { return Ok(()) };
        let place = Place { control: &context.control, mapping: &context.mapping, database: &name };
        place
            .note(source, destination, &names, &to_copy)
            .await
            .map_err(Error::doing("writing down what the tables are that are to be copied"))?;
        let settings = pass::Settings {
            source: context.source.clone(),
            source_database: name.clone(),
            destination: context.destination.clone(),
            destination_database: name.clone(),
            control_database: context.control_database.clone(),
            subscriptions: Arc::new(subscriptions),
            max_snapshot_age: context.settings.max_snapshot_age,
            split_above,
            gentle: Arc::clone(&context.gentle),
            standby: context.standby.clone().filter(|_| self.without_standby_since.is_none_or(|at| at.elapsed() > STANDBY_AGAIN)),
        };
        let mut without_standby = None;
        let (events, mut happened) = mpsc::unbounded_channel();
        let (signals, mut signalled) = mpsc::unbounded_channel();
        let (begun, told_of_begun) = mpsc::unbounded_channel();
        for &(table, bytes) in &picture.attached {
            // The receiver lives until the end of this function.
            let _ = signals.send(schema::Signal::TableCopied { table, bytes });
        }
        let mut failures = self.missing(&plan).await?;
        let (stop, stopped) = watch::channel(false);
        let mut mode = self.mode.clone();
        let mut holds = context.holds.clone();
        self.source().await?;
        let observer = self.source.take();
        let mut attached = 0;
        let mut failed = Vec::new();
        let copying = async {
            let pass = copy::pass::run(&settings, to_copy, seats.count(), &events, &stopped);
            let pass = telling_blockers(&context, &name, observer.as_ref(), pass);
            let result = Box::pin(pass).await;
            // Another database may copy while the indexes of this one are being built.
            drop((events, seats, permits));
            result
        };
        let (tell, mut told) = mpsc::unbounded_channel();
        let handling = async {
            let mut streams_begun = Ok(());
            let (mut copies, mut builds) = (true, true);
            while copies || builds {
                tokio::select! {
                    event = happened.recv(), if copies => match event {
                        Some(pass::Event::WithoutStandby(reason)) => without_standby = Some(reason),
                        Some(event) => {
                            if let pass::Event::Failed(table, _) = &event {
                                waiting.note(table.oid);
                            }
                            note_event(&board, &name, event, &signals, &mut attached, &mut failed);
                        }
                        None => {
                            copies = false;
                            let _ = signals.send(schema::Signal::CopyOver);
                        }
                    },
                    whole = told.recv(), if builds => match whole {
                        Some(table) => waiting.note(table),
                        None => builds = false,
                    },
                    Ok(()) = mode.changed() => {}
                    Ok(()) = holds.changed() => {}
                }
                let is_run = *mode.borrow_and_update() == Mode::Run;
                stop.send_replace(!is_run || holds.borrow_and_update().of(&name).is_some());
                if is_run && streams_begun.is_ok() {
                    let ready = waiting.take_ready();
                    streams_begun = begin(&context, &name, ready.iter().map(|stream| &names[*stream]).collect()).await;
                    if !ready.is_empty() && streams_begun.is_ok() {
                        // The receivers live until the end of this function.
                        let _ = signals.send(schema::Signal::StreamRuns);
                        for stream in ready {
                            let _ = begun.send(stream);
                        }
                    }
                }
            }
            streams_begun
        };
        let (on_board, of) = (&board, &name);
        // The channel ends with the build.
        let tell = move |said| match said {
            schema::Told::Done(n) => on_board.database(of, |view| view.statements_done += n),
            schema::Told::Whole(table) => {
                // Whoever listens does so until then.
                let _ = tell.send(table);
            }
            schema::Told::Damaged(_) => {}
        };
        let early: Vec<usize> =
            (0..plan.statements.len()).filter(|i| shows_one_state(&plan.statements[*i], &settings.subscriptions)).collect();
        let what = schema::Build { early: &early, batches: none_runs, ..self.all_of(&plan, Section::AfterData) };
        let building = schema::build(what, &mut signalled, &mut failures, tell);
        let working = async { tokio::join!(copying, handling, building) };
        let mut second = self.second();
        let subscribed: Vec<Option<u32>> = picture.subscriptions.iter().map(|s| s.map(|s| s.oid)).collect();
        let (copied, streams_begun, built) = tokio::select! {
            ended = working => ended,
            () = super::stall::tell(&context, &name, settings.standby.as_ref().map(|s| &s.endpoint)) => unreachable!("it is told for ever"),
            () = second.watch_begun(&subscribed, told_of_begun) => unreachable!("they are watched for ever"),
        };
        // It goes on from what is known of them.
        self.riddles.extend(second.riddles);
        board.set_waiting(&name, None);
        self.source = observer;
        for (oid, finding) in failed {
            let cooling = Cooling::after(self.failed.get(&oid).map(|f| f.cooling));
            self.failed.insert(oid, Failed { cooling, finding });
        }
        self.show_failed();
        if let (Some(_), None, Err(error)) = (&settings.standby, &without_standby, &copied) {
            // What it attached stays. The rest is read from the source.
            without_standby = Some(error.to_string());
        }
        let failed_there = self.note_standby(&settings, without_standby);
        if copied.is_err() && failed_there {
            return Ok(());
        }
        copied?;
        built?;
        streams_begun?;
        let findings = failures.findings(&self.name, &plan.statements, Section::AfterData);
        self.built = attached == total && findings.is_empty();
        board.set_findings(&self.name, "build", findings);
        board.event(&self.name, "info", format!("copied {attached} of {total} tables"));
        Ok(())
    }

    /// Says why the standby was not read from, or not to the end; true if so.
    fn note_standby(&mut self, settings: &pass::Settings, reason: Option<String>) -> bool {
        let Some(standby) = &settings.standby else { return false };
        let failed = reason.is_some();
        self.without_standby_since = failed.then(Instant::now);
        let found = reason.map(|reason| standby_not_used(&self.name, &standby.endpoint.name, &reason));
        self.context.board.set_findings(&self.name, "standby", found.into_iter().collect());
        failed
    }

    /// Sessions on the source to read with: as many as are free, up to `wanted`.
    async fn seats(&self, wanted: usize) -> Seats {
        let (room, board) = (&self.context.gentle.room, &self.context.board);
        if let Some(seats) = room.take(wanted) {
            return seats;
        }
        board.set_waiting(&self.name, Some("a free session on the source (max_source_connections)".to_owned()));
        let seats = room.seats(wanted).await;
        board.set_waiting(&self.name, None);
        seats
    }

    pub(super) async fn build_rest(&mut self, picture: &Picture) -> Result<(), Error> {
        let plan = self.plan().await?;
        self.count_from_before_data(&plan);
        let mut failures = self.missing(&plan).await?;
        let what = schema::Build { batches: !picture.a_stream_runs(), ..self.all_of(&plan, Section::AfterData) };
        let findings = self.build(what, &picture.attached, &mut failures).await?;
        self.context.board.set_findings(&self.name, "build", findings);
        self.built = true;
        Ok(())
    }

    fn all_of<'a>(&'a self, plan: &'a Plan, section: Section) -> schema::Build<'a> {
        let Context { destination, build_permits, settings, .. } = &self.context;
        schema::Build {
            destination,
            database: &self.name,
            statements: &plan.statements,
            section,
            permits: build_permits,
            workers: settings.index_workers,
            early: &[],
            batches: false,
        }
    }

    /// What is shown as done begins with what came before the data.
    fn count_from_before_data(&self, plan: &Plan) {
        let before = plan.statements.iter().filter(|s| s.section == Section::BeforeData).count();
        self.context.board.database(&self.name, |view| view.statements_done = before);
    }

    /// Executes what there is of a section for tables whose rows are there already, each with its bytes.
    async fn build(
        &self,
        what: schema::Build<'_>,
        copied: &[(u32, i64)],
        failures: &mut Failures,
    ) -> Result<Vec<Finding>, Error> {
        let (signals, mut signalled) = mpsc::unbounded_channel();
        for &(table, bytes) in copied {
            // The receiver lives until the end of this function.
            let _ = signals.send(schema::Signal::TableCopied { table, bytes });
        }
        let _ = signals.send(schema::Signal::CopyOver);
        let tell = |said| {
            if let schema::Told::Done(n) = said {
                self.context.board.database(&self.name, |view| view.statements_done += n);
            }
        };
        schema::build(what, &mut signalled, failures, tell).await?;
        Ok(failures.findings(&self.name, what.statements, what.section))
    }

    /// Whether everything is built, while nothing is to be begun: then there is nothing to finish.
    pub(super) async fn look_whether_finished(&mut self) -> Result<(), Error> {
        let plan = self.plan().await?;
        let name = self.name.clone();
        let missing = self.missing(&plan).await?.count(&plan.statements, Section::BeforeData) + usize::from(self.unsettled);
        let done = schema::already_done(self.destination().await?, &name, &plan.statements).await?;
        // Of the others the destination can't be asked: they are executed again whenever the rest is.
        let is_open = |(i, statement): (usize, &Statement)| {
            matches!(statement.section, Section::AfterData | Section::AfterStreaming)
                && statement.done_when.is_some()
                && !done.contains(&i)
        };
        let open = plan.statements.iter().enumerate().filter(|(i, s)| is_open((*i, s))).count();
        self.statements_open = open + missing;
        self.finished = self.statements_open == 0;
        Ok(())
    }

    pub(super) async fn finish(&mut self) -> Result<(), Error> {
        let mut failures = self.retry_failed().await?;
        let plan = self.plan().await?;
        let missing = failures.count(&plan.statements, Section::BeforeData) + usize::from(self.settings_failed);
        let board = self.context.board.clone();
        self.count_from_before_data(&plan);
        let copied: Vec<(u32, i64)> = plan.statements.iter().filter_map(|s| s.table).map(|table| (table, 0)).collect();
        // What comes after the data once more: what failed, and what a destination that crashed has lost of it.
        let mut findings = self.build(self.all_of(&plan, Section::AfterData), &copied, &mut failures).await?;
        board.set_findings(&self.name, "build", findings.clone());
        let last = self.build(self.all_of(&plan, Section::AfterStreaming), &copied, &mut failures).await?;
        self.source().await?;
        self.destination().await?;
        if let (Some(source), Some(destination)) = (&self.source, &self.destination) {
            let left = statistics::carry_rest(source, destination, &self.name)
                .await
                .map_err(Error::doing("carrying statistics over"))?;
            board.set_findings(&self.name, "statistics of the rest", left);
        }
        board.set_findings(&self.name, "finish", last.clone());
        findings.extend(last);
        // What would fail within the block of the cutover.
        let name = self.name.clone();
        let labels = label_provider::at_cutover(self.destination().await?, &name, &plan.statements).await?;
        board.set_findings(&self.name, "labels at the cutover", labels.clone());
        findings.extend(labels);
        self.statements_open = findings.iter().filter(|f| f.code != Code::LabelProviderMissing).count() + missing;
        let again = !findings.is_empty() || missing > 0 || self.unsettled || !failures.is_empty();
        self.retry_finish_at = again.then(|| Instant::now() + FINISH_AGAIN_AFTER);
        self.finished = true;
        Ok(())
    }

    /// Whether nothing is left to be tried again but labels whose providers are still missing. Then it is put off: a database that is being
    /// finished is not ready for a cutover.
    pub(super) async fn waits_for_labels(&mut self) -> Result<bool, Error> {
        if self.statements_open > 0 {
            return Ok(false);
        }
        let providers: BTreeSet<String> = self
            .context
            .board
            .database(&self.name, |view| view.findings.values().flatten().filter_map(label_provider::of_finding).collect());
        let waits = label_provider::missing(self.destination().await?, providers.clone()).await? == providers;
        if waits {
            self.retry_finish_at = Some(Instant::now() + FINISH_AGAIN_AFTER);
        }
        Ok(waits)
    }
}

/// Whether rows can be read from this standby of the source; the finding that says why not.
pub async fn look_at_standby(source: &Session, standby: &Endpoint) -> Option<Finding> {
    let look = async { copy::standby::fit(source, &standby.connect(&standby.instance.database).await?).await };
    look.await.err().map(|error| standby_not_used("", &standby.name, &error.to_string()))
}

/// The finding about a standby that can't be read from.
fn standby_not_used(database: &str, standby: &str, reason: &str) -> Finding {
    Finding {
        severity: Severity::Warning,
        database: database.to_owned(),
        code: Code::StandbyNotUsed,
        object: format!("standby {standby}"),
        reason: format!("the rows are read from the source itself, since its standby can't be read from: {reason}"),
        fix: "nothing has to be done; if the source is to be spared, mend what the message names: the standby is tried again after \
              some minutes"
            .to_owned(),
        statement: None,
    }
}

/// Puts what a worker tells on the board, and lets the indexes of a copied table be built.
fn note_event(
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
        // Noted by whoever reads the events.
        pass::Event::WithoutStandby(_) => {}
        pass::Event::WithoutStatistics(table, reason) => {
            board.add_finding("statistics", statistics::finding(database, table.sql_name(), reason));
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
                    code: Code::CopyFailed,
                    object: table.label(),
                    reason,
                    fix: "mend what the message names; the table is tried again by itself, at growing intervals".to_owned(),
                    statement: None,
                },
            ));
        }
    }
}

/// Whether a statement is about a foreign key between tables that come in one pass, under one snapshot, and then through one stream: so that
/// they never show different states of the source.
fn shows_one_state(statement: &Statement, subscriptions: &HashMap<u32, u32>) -> bool {
    statement.between.is_some_and(|[table, referenced]| {
        let subscription = subscriptions.get(&table);
        subscription.is_some() && subscription == subscriptions.get(&referenced)
    })
}

/// Starts streams while tables of others are still being copied.
async fn begin(context: &Context, database: &str, streams: Vec<&Names>) -> Result<(), Error> {
    for names in streams {
        let session = schema::session(&context.destination, database).await?;
        subscription::enable(&session, names).await?;
        context.board.event(database, "info", format!("the stream {} is enabled before the others", names.subscription()));
    }
    Ok(())
}

/// So many of the workers are one database's share.
pub(super) fn share(workers: usize, databases: usize) -> usize {
    workers.div_ceil(databases.max(1))
}

/// Takes at least one permit, and more, up to `wanted`, as far as nobody else has them.
pub(super) async fn take_permits(semaphore: &Arc<Semaphore>, wanted: usize) -> (Vec<OwnedSemaphorePermit>, usize) {
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

/// Runs something that makes a slot, and says meanwhile which transactions on the source it waits for, as `session` sees them.
pub(super) async fn telling_blockers<T>(
    context: &Context,
    database: &str,
    session: Option<&Session>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    // What is quick needs no words.
    if let Ok(result) = tokio::time::timeout(Duration::from_secs(2), &mut work).await {
        return result;
    }
    let observer = async {
        let Some(session) = session else { return };
        loop {
            let waiting =
                context.board.database(database, |view| !view.tables.values().any(|t| matches!(t.stage, TableStage::Copying(_))));
            if !waiting {
                return;
            }
            match slot::blockers(session).await {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ObjectName;
    use crate::plan::draft::Part;

    #[test]
    fn a_foreign_key_between_two_passes_or_two_streams_waits_for_both() {
        let statement = |between| Statement {
            sql: String::new(),
            secret: None,
            object: ObjectName { class: "constraint", schema: String::new(), parent: String::new(), name: String::new() }.into(),
            part: Part::Create,
            section: Section::AfterStreaming,
            table: None,
            between,
            done_when: None,
            undo: None,
            after: Box::default(),
        };
        // Tables 1 and 2 come through stream 7, table 3 through another; table 4 was attached earlier.
        let subscriptions = HashMap::from([(1, 7), (2, 7), (3, 8)]);
        let one_state = |between| shows_one_state(&statement(between), &subscriptions);
        assert!(one_state(Some([1, 2])) && one_state(Some([1, 1])));
        assert!(!one_state(Some([1, 3])) && !one_state(Some([1, 4])) && !one_state(Some([4, 1])) && !one_state(Some([4, 4])));
        assert!(!one_state(None));
    }

    #[tokio::test]
    async fn a_database_that_takes_its_share_leaves_the_others_theirs() {
        assert_eq!((share(4, 0), share(4, 1), share(4, 2), share(4, 3), share(4, 100)), (4, 4, 2, 2, 1));
        let permits = Arc::new(Semaphore::new(4));
        let (first, taken) = take_permits(&permits, share(4, 2)).await;
        assert_eq!((first.len(), taken), (2, 2));
        assert_eq!(take_permits(&permits, 4).await.1, 2);
    }
}
