//! Keeping what travels beside the stream: copied once when everything else is in step, then kept close, while the stream is watched.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::Context;
use super::database::{Database, Error};
use super::fill::take_permits;
use super::stall::naming_lockers;
use crate::beside::{self, Crew, Outcome, Record, tables};
use crate::finding::{Code, Finding, Severity};
use crate::gentle::room;
use crate::monitor::readiness::Beside;
use crate::stream::resync::TableName;

/// Large objects are compared again after this long …
const EVERY: Duration = Duration::from_mins(1);
/// … and after so many times as long as the last time took.
const SHARE: u32 = 20;
/// What failed is tried again after this long.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// While nothing is to be copied, how things stand is looked at again after this long.
const LOOK_EVERY: Duration = Duration::from_secs(5);

type Copied = Result<(Record, Outcome), beside::Error>;

/// What the loop knows of it.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    /// The copy that is under way.
    task: JoinSet<Copied>,
    due: Option<Instant>,
    /// What is to be copied anew.
    anew: Anew,
    /// When the next look is due at what was copied before, while nothing is to be copied.
    look_due: Option<Instant>,
}

/// What is to be copied anew.
#[derive(Debug, Default)]
struct Anew {
    /// Tables.
    tables: BTreeSet<String>,
    /// Whether all large objects are.
    objects: bool,
}

impl Anew {
    fn is_anything(&self) -> bool {
        self.objects || !self.tables.is_empty()
    }
}

impl Keeper {
    /// The end of the copy that is under way; never, if there is none.
    pub async fn ended(&mut self) -> Copied {
        match self.task.join_next().await {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
            None => std::future::pending().await,
        }
    }
}

impl Database {
    /// Begins a copy when one is due.
    pub(super) fn keep_beside(&mut self) {
        if !self.beside.task.is_empty() || self.beside.due.is_some_and(|due| Instant::now() < due) {
            return;
        }
        let (context, name, anew) = (self.context.clone(), self.name.clone(), std::mem::take(&mut self.beside.anew));
        let copying =
            async move { naming_lockers(&context, &name, |by| beside::Error::Locked { by }, copy(&context, &name, &anew)).await };
        self.beside.task.spawn(copying.in_current_span());
    }

    /// Looks at what was copied before, while nothing is to be copied for `hold`: a database that was ready before this controller was started is
    /// so still, and needs no copy to be called so.
    pub(super) async fn look_beside(&mut self, hold: &str) -> Result<(), Error> {
        if !self.beside.task.is_empty() || self.beside.look_due.is_some_and(|due| Instant::now() < due) {
            return Ok(());
        }
        self.source().await?;
        self.destination().await?;
        let (Some(source), Some(destination)) = (&self.source, &self.destination) else { return Ok(()) };
        let Context { control, mapping, settings, .. } = &self.context;
        let (record, mut troubles) = beside::standing(source, destination, control, mapping, &self.name).await?;
        if self.beside.anew.is_anything() {
            troubles.push("a fresh copy was asked for".to_owned());
        }
        let copied = troubles.is_empty();
        if !copied {
            troubles.push(format!("copying waits for {hold}"));
        }
        let standing = Beside { copied, troubles, detail: describe(&record, settings.copy_workers) };
        self.context.board.database(&self.name, |view| view.beside = Some(standing));
        self.beside.look_due = Some(Instant::now() + LOOK_EVERY);
        Ok(())
    }

    /// Tells how the copy went.
    pub(super) fn note_beside(&mut self, result: Copied) {
        let board = &self.context.board;
        let (standing, left, pause) = match result {
            Ok((record, outcome)) => {
                if !outcome.tables.is_empty() || outcome.objects_changed > 0 {
                    let message = format!(
                        "copied beside the stream: {} tables, {} large objects, in {:.1} s",
                        outcome.tables.len(),
                        outcome.objects_changed,
                        outcome.seconds
                    );
                    board.event(&self.name, "info", message);
                }
                let troubles = outcome.troubles();
                let pause = if troubles.is_empty() {
                    EVERY.max(Duration::from_secs_f64(outcome.seconds).saturating_mul(SHARE))
                } else {
                    AGAIN_AFTER
                };
                (
                    Beside { copied: true, troubles, detail: describe(&record, self.context.settings.copy_workers) },
                    outcome.left,
                    pause,
                )
            }
            Err(error) => {
                let detail = "it is tried again by itself".to_owned();
                (Beside { copied: false, troubles: vec![error.to_string()], detail }, Vec::new(), AGAIN_AFTER)
            }
        };
        let findings = left.into_iter().map(|what| no_place(&self.name, what)).collect();
        board.set_findings(&self.name, "beside", findings);
        // What was ordered while this copy was under way is still to be done.
        let ordered = self.beside.anew.is_anything();
        board.database(&self.name, |view| view.beside = (!ordered).then_some(standing));
        self.beside.due = (!ordered).then(|| Instant::now() + pause);
    }

    /// Orders a fresh copy of what travels beside the stream: of this table, if it is such a one, or of all. Gives whether there was such
    /// a table.
    pub(super) async fn order_beside(&mut self, table: Option<&TableName>) -> Result<bool, Error> {
        let there = tables::read(self.source().await?).await.map_err(Error::doing("looking at tables beside the stream"))?;
        let is_meant = |t: &&tables::Table| table.is_none_or(|(schema, name)| t.schema == *schema && t.name == *name);
        let chosen: Vec<String> = there.iter().filter(is_meant).map(tables::Table::label).collect();
        if chosen.is_empty() && table.is_some() {
            return Ok(false);
        }
        self.beside.anew.tables.extend(chosen);
        self.beside.anew.objects |= table.is_none();
        self.beside.due = None;
        self.beside.look_due = None;
        self.context.board.database(&self.name, |view| view.beside = None);
        Ok(true)
    }
}

async fn copy(context: &Context, database: &str, anew: &Anew) -> Copied {
    // Together with the other databases no more at a time than tables are copied.
    let (permits, hands) = take_permits(&context.copy_permits, context.settings.copy_workers).await;
    // One session on the source looks, the others read.
    let seats = context.gentle.room.seats_at_least(room::TO_COPY, hands + 1).await;
    let hands = hands.min(seats.count() - 1);
    let rate = Some(Arc::clone(&context.gentle));
    let mut crew = Crew::open(&context.source, &context.destination, database, hands, rate).await?;
    if anew.objects {
        // As if all of them had been written to.
        let mut record = Record::load(&context.control, &context.mapping, database).await?;
        record.since = Some(0);
        record.save(&context.control, &context.mapping, database).await?;
    }
    let chosen =
        |record: &Record, pair: &tables::Pair| !record.tables.contains_key(&pair.label()) || anew.tables.contains(&pair.label());
    let copied = crew.refresh(&context.control, &context.mapping, chosen, true).await;
    drop((permits, seats));
    copied
}

/// What there is, as of when, and by how much it makes the block of a cutover longer.
fn describe(record: &Record, hands: usize) -> String {
    if record.tables.is_empty() && record.objects == 0 {
        return "there is nothing that the stream does not carry".to_owned();
    }
    let (rows, bytes) = record.tables.values().fold((0, 0), |(rows, bytes), t| (rows + t.rows, bytes + t.bytes));
    format!(
        "{} tables ({rows} rows, {bytes} bytes) and {} large objects ({} bytes), as of {}; the block of a cutover is longer by about \
         {:.1} s for bringing them over again",
        record.tables.len(),
        record.objects,
        record.object_bytes,
        record.at,
        record.estimate(hands)
    )
}

fn no_place(database: &str, what: String) -> Finding {
    Finding {
        severity: Severity::Warning,
        database: database.to_owned(),
        code: Code::ExtensionConfiguration,
        object: what,
        reason: "the destination's version of the extension has no place for it: what users put there stays behind".to_owned(),
        fix: "read the extension's notes on upgrading, and bring over by hand what is needed".to_owned(),
        statement: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beside::Copied;

    #[test]
    fn the_operator_reads_how_long_the_block_will_be() {
        let mut record = Record { compare_seconds: 0.5, objects: 3, object_bytes: 6000, at: "noon".into(), ..Record::default() };
        record.tables.insert("a.b".into(), Copied { rows: 7, bytes: 70, seconds: 2.0 });
        assert_eq!(
            describe(&record, 4),
            "1 tables (7 rows, 70 bytes) and 3 large objects (6000 bytes), as of noon; the block of a cutover is longer by about 2.5 s \
             for bringing them over again"
        );
        assert!(describe(&Record::default(), 4).starts_with("there is nothing"));
    }
}
