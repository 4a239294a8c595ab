//! Isolating: a stream that can't apply a change of one table goes on without that table. The ledger keeps which, and why,
//! until the operator asks for a fresh copy of it.

use std::collections::BTreeSet;

use serde_json::json;

use super::database::{Cooling, Database, Error};
use super::observe::Picture;
use crate::finding::{Code, Finding, Severity};
use crate::ledger::{self, Kind, Side, SideEffect};
use crate::monitor::board::TableStage;
use crate::postgres::{Session, quote};
use crate::provision::schema;
use crate::stream::conflict::{self, Cause, Conflict, Verdict};
use crate::stream::subscription::Subscription;
use crate::stream::{Names, options, resync, subscription};

/// What to do where nothing more is known.
const LOOK: &str = "look into the destination's server log for the apply worker's message; it is tried again by itself";

/// A table that was taken out of its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Detached {
    /// Its row in the ledger.
    pub effect: i64,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What the stream failed at.
    pub reason: String,
}

impl Detached {
    /// Those of a database.
    pub fn of(effects: &[SideEffect], database: &str) -> Vec<Self> {
        let ours = effects.iter().filter(|e| e.kind == Kind::Detached && e.database == database);
        ours.map(|effect| {
            let text = |key: &str| effect.detail.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
            Self { effect: effect.id, schema: text("schema"), name: text("table"), reason: text("reason") }
        })
        .collect()
    }

    /// Its name for people.
    pub fn label(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    fn finding(&self, mapping: &str, database: &str) -> Finding {
        let word = resync::word(&self.schema, &self.name);
        let [mapping_literal, database_literal, table] =
            [mapping, database, &word].map(|text| quote::literal(text).trim_start().to_owned());
        Finding {
            severity: Severity::Error,
            database: database.to_owned(),
            code: Code::ApplyConflict,
            object: self.label(),
            reason: format!("{}; the table was taken out of the stream, and the others go on", self.reason),
            fix: format!(
                "if it would happen again (a constraint, a column), mend it on the destination; then copy the table anew: \
                 SELECT migrator.resync({mapping_literal}, {database_literal}, {table})"
            ),
            statement: None,
        }
    }
}

/// A stream that fails, nobody knows at what; another look is taken later.
#[derive(Debug)]
pub(super) struct Riddle {
    cooling: Cooling,
    finding: Finding,
}

/// What happened, in words.
fn reason(conflict: &Conflict) -> String {
    let row = if conflict.key.is_empty() { String::new() } else { format!(", key {}", conflict.key) };
    format!(
        "the stream can't apply a change of this table{row}: {} (transaction {} at {})",
        conflict.reason, conflict.xid, conflict.commit
    )
}

impl Database {
    /// Shows the tables that were taken out of their streams.
    pub(super) fn show_detached(&self) {
        let findings = self.detached.iter().map(|d| d.finding(&self.context.mapping, &self.name)).collect();
        self.context.board.set_findings(&self.name, "conflicts", findings);
        self.context.board.database(&self.name, |view| {
            for table in &self.detached {
                view.set_stage(&table.schema, &table.name, TableStage::Failed(table.reason.clone()));
            }
        });
    }

    /// Whether looking for what this stream fails at has led to nothing just now.
    pub(super) fn is_riddle(&self, stream: usize) -> bool {
        self.riddles.get(&stream).is_some_and(|riddle| riddle.cooling.is_cooling())
    }

    /// Stops a stream, which the loop starts again. Gives a session to work with meanwhile; none if the stream is not there.
    async fn stop(&self, names: &Names) -> Result<Option<(Session, Subscription)>, Error> {
        let destination = schema::session(&self.context.destination, &self.name).await?;
        let failed = "stopping the stream";
        let Some(found) = subscription::observe(&destination, names).await.map_err(Error::doing(failed))? else {
            return Ok(None);
        };
        subscription::disable(&destination, names.subscription()).await?;
        subscription::await_stopped(&destination, found.oid).await.map_err(Error::doing(failed))?;
        Ok(Some((destination, found)))
    }

    /// Finds the table that a stream fails at, and takes it out of the stream. The loop starts the stream again.
    pub(super) async fn isolate(&mut self, stream: usize) -> Result<(), Error> {
        let names = self.names[stream].clone();
        let Some((mut destination, found)) = self.stop(&names).await? else { return Ok(()) };
        let context = self.context.clone();
        // It opens one of its own instead.
        self.source = None;
        let conflict = match conflict::find(&context.source, &context.destination, &self.name, &names, found.oid).await {
            Ok(Verdict::Fails(conflict)) => conflict,
            // As text it can be applied.
            Ok(Verdict::Applies) if subscription::set_text(&destination, &names).await? => {
                let message = format!("the stream {} failed in binary form, and goes on with text", names.subscription());
                self.context.board.event(&self.name, "warning", message);
                return Ok(());
            }
            Ok(Verdict::NotFound(within)) => {
                self.note_riddle(stream, &format!("the transaction that it is at was not found within {within}"), LOOK);
                return Ok(());
            }
            Ok(Verdict::Applies) => {
                self.note_riddle(stream, "the transaction that it is at could be applied when it was tried", LOOK);
                return Ok(());
            }
            Err(error) => {
                self.note_riddle(stream, &error.to_string(), LOOK);
                return Ok(());
            }
        };
        let reason = reason(&conflict);
        let table = format!("{}.{}", conflict.schema, conflict.table);
        match &conflict.cause {
            Cause::Change => {}
            Cause::NoTable => {
                let fix = "make the table on the destination again, as pg-migrator plan prints it; then the stream goes on by \
                           itself, without this table, which can then be copied anew with migrator.resync";
                self.note_riddle(stream, &format!("{table}: {reason}"), fix);
                return Ok(());
            }
            Cause::NoColumns(columns) => {
                let adding = self.adding(&conflict, columns).await?;
                let fix = format!(
                    "make the same change on the destination, with the source's default and constraints: {adding}; then the \
                     stream goes on by itself, and the table is compared: copy it anew if each side made values of its own for rows that \
                     were there (carried_in_doubt, not_equal)"
                );
                self.note_riddle(stream, &format!("{table}: {reason}"), &fix);
                return Ok(());
            }
        }
        self.riddles.remove(&stream);
        self.take_out(&mut destination, &names, &conflict.schema, &conflict.table, &reason).await
    }

    /// Lets a stream go on with text whose tables can't travel in binary form any more, and without those tables: what came
    /// of them since they changed may be wrong.
    pub(super) async fn leave_binary(&mut self, stream: usize) -> Result<(), Error> {
        let names = self.names[stream].clone();
        let Some((mut destination, found)) = self.stop(&names).await? else { return Ok(()) };
        let failed = "looking at a stream in binary form";
        let tables = options::unsafe_in_binary(self.source().await?, &names).await.map_err(Error::doing(failed))?;
        let attached = subscription::tables(&destination, found.oid).await.map_err(Error::doing(failed))?;
        for table in tables.iter().filter(|t| attached.contains_key(&(t.schema.clone(), t.table.clone()))) {
            let reason =
                format!("values of a type that does not mean the same on both servers came in binary form: {}", table.columns);
            self.take_out(&mut destination, &names, &table.schema, &table.table, &reason).await?;
        }
        // Last, for by this a controller that was killed in between knows that there is something to be done.
        subscription::set_text(&destination, &names).await?;
        Ok(())
    }

    /// Before tables are attached: those that come late may be the first of their stream that can't travel in binary form.
    pub(super) async fn leave_binary_for(&mut self, picture: &Picture) -> Result<(), Error> {
        let streams: BTreeSet<usize> = picture.to_copy.iter().map(|(_, stream)| *stream).collect();
        for stream in streams {
            if !picture.subscriptions[stream].is_some_and(|s| s.binary) {
                continue;
            }
            let names = self.names[stream].clone();
            let failed = "looking for tables that can't travel in binary form";
            if !options::unsafe_in_binary(self.source().await?, &names).await.map_err(Error::doing(failed))?.is_empty() {
                self.leave_binary(stream).await?;
            }
        }
        Ok(())
    }

    /// Takes a table out of its stream, which stands still.
    async fn take_out(
        &self,
        destination: &mut Session,
        names: &Names,
        schema: &str,
        table: &str,
        reason: &str,
    ) -> Result<(), Error> {
        let label = format!("{schema}.{table}");
        let detail = json!({ "schema": schema, "table": table, "reason": reason });
        let (control, mapping) = (&self.context.control, &self.context.mapping);
        let object = quote::qualified(schema, table);
        ledger::record(control, mapping, Side::Destination, &self.name, Kind::Detached, &object, &detail).await?;
        resync::detach(destination, std::slice::from_ref(names), Some(&(schema.to_owned(), table.to_owned()))).await?;
        self.context.board.event(&self.name, "error", format!("{label}: {reason}; the stream goes on without it"));
        Ok(())
    }

    /// The statement that adds columns which the source's table has.
    async fn adding(&mut self, conflict: &Conflict, columns: &[String]) -> Result<String, Error> {
        let rows = self
            .source()
            .await?
            .query(include_str!("columns.sql"), &[&conflict.schema, &conflict.table, &columns])
            .await
            .map_err(Error::doing("looking at the columns of the source's table"))?;
        let added: Vec<String> = rows
            .iter()
            .map(|row| format!("ADD COLUMN {} {}", quote::ident(row.get("attname")), row.get::<_, &str>("type")))
            .collect();
        Ok(format!("ALTER TABLE {} {}", quote::qualified(&conflict.schema, &conflict.table), added.join(", ")))
    }

    /// What a stream fails at could not be found, or not be taken out of it.
    fn note_riddle(&mut self, stream: usize, why: &str, fix: &str) {
        let cooling = Cooling::after(self.riddles.get(&stream).map(|riddle| riddle.cooling));
        let finding = Finding {
            severity: Severity::Error,
            database: self.name.clone(),
            code: Code::StreamFailing,
            object: format!("subscription {}", self.names[stream].subscription()),
            reason: format!("the apply worker fails again and again: {why}"),
            fix: fix.to_owned(),
            statement: None,
        };
        self.riddles.insert(stream, Riddle { cooling, finding });
    }

    /// Shows the streams that fail at what could not be found; those that go on again are none of them.
    pub(super) fn show_riddles(&mut self) {
        self.riddles.retain(|stream, riddle| riddle.cooling.is_cooling() || self.watcher.is_failing(*stream));
        let findings = self.riddles.values().map(|riddle| riddle.finding.clone()).collect();
        self.context.board.set_findings(&self.name, "riddles", findings);
    }
}
