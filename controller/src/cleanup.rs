//! Cleanup: everything that the ledger names is undone on both sides. What was asked for, databases and roles, stays.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::time::Duration;

use serde::Serialize;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;

use crate::copy::ReplicaIdentity;
use crate::cutover::{self, block};
use crate::ledger::{self, Kind, SideEffect};
use crate::postgres::{self, Session, quote, retry};
use crate::provision::schema;
use crate::reconcile::Context;
use crate::stream::{Names, entering, money, publication, slot, subscription};

/// Undoing one effect takes no longer than this: nothing in it is long work.
const EFFECT_LIMIT: Duration = Duration::from_mins(1);

/// Why the cleanup is not done. What was undone before stays undone; asking again goes on with the rest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A server can't be reached.
    #[error(transparent)]
    Connect(#[from] postgres::connect::Error),
    /// A statement failed.
    #[error("removing {what}: {}", retry::message(.source))]
    Statement {
        /// What was being removed.
        what: String,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// No answer came.
    #[error("removing {what}: no answer within {} s", EFFECT_LIMIT.as_secs())]
    Silent {
        /// What was being removed.
        what: String,
    },
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// The subscription.
    #[error(transparent)]
    Subscription(#[from] subscription::Error),
    /// The destination session.
    #[error(transparent)]
    Schema(#[from] schema::Error),
    /// The last steps of a switch made by hand, or the write block.
    #[error(transparent)]
    Cutover(#[from] Box<cutover::Error>),
}

impl From<cutover::Error> for Error {
    fn from(error: cutover::Error) -> Self {
        Self::Cutover(Box::new(error))
    }
}

/// What the cleanup did.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// What was undone, in words.
    pub undone: Vec<String>,
    /// What stays, because it was asked for.
    pub kept: Vec<String>,
    /// Sequences set a last time, where the switch was made by hand.
    pub sequences: Option<u64>,
}

/// The order in which things go: the stream before its slot, the slot before the publication it decodes by, and writes
/// on the source are let in again when nothing can carry them over any more.
const ORDER: [Kind; 12] = [
    Kind::Subscription,
    Kind::Slot,
    Kind::Publication,
    Kind::ReplicaIdentity,
    Kind::WriteBlock,
    Kind::Setting,
    Kind::Detached,
    Kind::ReplayPause,
    Kind::SwitchedOn,
    Kind::Database,
    Kind::Role,
    Kind::Membership,
];

/// Cleans up; `finish_first` carries out the last steps of a switch that was made by hand, `keep` without copying over what is in use
/// on the destination already.
pub async fn run(context: &Context, finish_first: bool, keep: bool) -> Result<Report, Error> {
    let mut report = Report::default();
    let mut effects = ledger::in_force(&context.control, &context.mapping).await?;
    let streams = effects.iter().any(|e| e.kind == Kind::Subscription);
    if finish_first && streams {
        report.sequences = Some(cutover::finish_by_hand(context, keep).await?);
    }
    // The youngest first: what is undone last is what was there before us.
    effects.sort_by_key(|e| (ORDER.iter().position(|k| *k == e.kind), Reverse(e.id)));
    let mut first_error = None;
    let mut held = Held::default();
    for effect in &effects {
        let words = if effect.database.is_empty() {
            format!("{} {}", effect.kind.as_str(), effect.object)
        } else {
            format!("{} {} in {}", effect.kind.as_str(), effect.object, effect.database)
        };
        if matches!(effect.kind, Kind::SwitchedOn | Kind::Database | Kind::Role | Kind::Membership) {
            if first_error.is_none() {
                ledger::undone(&context.control, effect.id, "kept").await?;
                report.kept.push(words);
            }
            continue;
        }
        if held.holds(effect) {
            continue;
        }
        let undoing = timeout(EFFECT_LIMIT, undo(context, effect, &words)).await;
        match undoing.unwrap_or_else(|_| Err(Error::Silent { what: words.clone() })) {
            Ok(()) => {
                ledger::undone(&context.control, effect.id, "undone").await?;
                tracing::info!("undone: {words}");
                report.undone.push(words);
            }
            // One thing that can't be undone now keeps nothing else from it.
            Err(error) => {
                tracing::error!("{error}");
                held.note(effect);
                first_error.get_or_insert(error);
            }
        }
    }
    first_error.map_or(Ok(report), Err)
}

/// What must stay in a database because something else could not be undone there.
#[derive(Debug, Default)]
struct Held {
    streams: HashSet<String>,
    publications: HashSet<String>,
}

impl Held {
    fn note(&mut self, failed: &SideEffect) {
        let database = failed.database.clone();
        match failed.kind {
            Kind::Subscription => self.streams.insert(database),
            Kind::Publication => self.publications.insert(database),
            _ => false,
        };
    }

    fn holds(&self, effect: &SideEffect) -> bool {
        let stream = self.streams.contains(&effect.database);
        match effect.kind {
            // The stream reads from the slot by the publication, and would carry whatever is written on the source.
            Kind::Slot | Kind::Publication | Kind::WriteBlock | Kind::Setting => stream,
            // A table that is published and has no replica identity takes neither updates nor deletes.
            Kind::ReplicaIdentity => stream || self.publications.contains(&effect.database),
            _ => false,
        }
    }
}

async fn undo(context: &Context, effect: &SideEffect, words: &str) -> Result<(), Error> {
    match effect.kind {
        Kind::Subscription => drop_subscription(context, effect).await,
        Kind::Slot => {
            // From any database, so that it goes also if its own was renamed.
            let session = context.source.connect(&context.source.instance.database).await?;
            slot::drop(&session, &effect.object).await.map_err(|source| Error::Statement { what: words.to_owned(), source })
        }
        Kind::Publication | Kind::ReplicaIdentity | Kind::WriteBlock => {
            // With a database that was dropped went what we had made in it.
            let Some(database) = called_now(context, &effect.database).await? else { return Ok(()) };
            let session = context.source.connect(&database).await?;
            undo_in_source(context, &session, effect, database, words).await
        }
        Kind::Setting => {
            money::restore(&context.control, effect).await.map_err(|source| Error::Statement { what: words.to_owned(), source })
        }
        // It ended by itself, after seconds.
        Kind::ReplayPause | Kind::Detached | Kind::SwitchedOn | Kind::Database | Kind::Role | Kind::Membership => Ok(()),
    }
}

/// The name by now of the source's database that we knew by this one; none if it was dropped. After a switch the old one is often renamed,
/// so that nobody takes it for the new one.
async fn called_now(context: &Context, database: &str) -> Result<Option<String>, Error> {
    let failed = |source| Error::Statement { what: format!("what was made in {database}"), source };
    let slots = ledger::slots(&context.control, &context.mapping, database).await?;
    let oids: Vec<u32> = slots.iter().filter_map(|slot| Names::source_oid(&context.mapping, slot)).collect();
    let session = context.source.connect(&context.source.instance.database).await?;
    // Without a slot nothing but the name is known of it.
    let row = session.query_opt(include_str!("stream/database_now.sql"), &[&oids, &database]).await.map_err(failed)?;
    Ok(row.map(|row| row.get(0)))
}

async fn drop_subscription(context: &Context, effect: &SideEffect) -> Result<(), Error> {
    let failed = |source| Error::Statement { what: effect.object.clone(), source };
    // Looked for from outside: the database may have been dropped or renamed. One of that name which another control database made
    // is in another database.
    let made = ledger::in_force_of(&context.control, &context.mapping, &[Kind::Database]).await?;
    let made = made.iter().find(|e| e.object == effect.database).and_then(|e| e.detail.get("oid")?.as_u64());
    let row = context
        .control
        .query_opt(
            include_str!("stream/subscription_database.sql"),
            &[&effect.object, &made.map(|oid| oid as u32), &effect.database],
        )
        .await
        .map_err(failed)?;
    if let Some(row) = row {
        let session = schema::session(&context.destination, row.get(0)).await?;
        subscription::drop(&session, &effect.object).await?;
    }
    Ok(())
}

/// Undoes what was made in a database of the source, which is called `database` by now.
async fn undo_in_source(
    context: &Context,
    source: &Session,
    effect: &SideEffect,
    database: String,
    words: &str,
) -> Result<(), Error> {
    let failed = |source| Error::Statement { what: words.to_owned(), source };
    match effect.kind {
        Kind::Publication => {
            source.batch_execute(&format!("DROP PUBLICATION IF EXISTS {}", quote::ident(&effect.object))).await.map_err(failed)
        }
        Kind::ReplicaIdentity => restore_identity(source, effect).await.map_err(failed),
        Kind::WriteBlock => {
            let mut entry = block::Entry::of(effect);
            entry.database = database;
            block::unblock(&context.source, &context.control, &context.lock, &[entry]).await;
            Ok(())
        }
        Kind::Slot
        | Kind::Subscription
        | Kind::Setting
        | Kind::ReplayPause
        | Kind::Detached
        | Kind::SwitchedOn
        | Kind::Database
        | Kind::Role
        | Kind::Membership => Ok(()),
    }
}

/// Gives a table its identity back: the one that the ledger has, whatever its name is by now. A table that is gone needs
/// nothing; one whose identity was an index that is gone had, in effect, none.
async fn restore_identity(source: &Session, effect: &SideEffect) -> Result<(), tokio_postgres::Error> {
    let Some(identity) = publication::original_identity(effect) else { return Ok(()) };
    let Some(oid) = effect.detail.get("oid").and_then(serde_json::Value::as_u64) else { return Ok(()) };
    let found = source.query_opt(include_str!("stream/table_name.sql"), &[&(oid as u32)]).await?;
    let Some(found) = found else { return Ok(()) };
    let table = quote::qualified(found.get(0), found.get(1));
    match entering::set_identity(source, &table, &identity).await {
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_OBJECT) => {
            entering::set_identity(source, &table, &ReplicaIdentity::Nothing).await
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Side;

    fn effect(kind: Kind, database: &str) -> SideEffect {
        SideEffect {
            id: 1,
            side: Side::Source,
            database: database.into(),
            kind,
            object: String::new(),
            detail: serde_json::json!({}),
            age: Duration::ZERO,
        }
    }

    fn held_after(failed: Kind) -> Vec<Kind> {
        let mut held = Held::default();
        held.note(&effect(failed, "shop"));
        assert!(ORDER.iter().all(|kind| !held.holds(&effect(*kind, "another"))), "one database does not hold another");
        ORDER.into_iter().filter(|kind| held.holds(&effect(*kind, "shop"))).collect()
    }

    #[test]
    fn a_stream_that_is_still_there_keeps_writers_out_and_its_tables_their_identities() {
        let held = [Kind::Slot, Kind::Publication, Kind::ReplicaIdentity, Kind::WriteBlock, Kind::Setting];
        assert_eq!(held_after(Kind::Subscription), held);
    }

    #[test]
    fn a_table_keeps_its_identity_as_long_as_it_is_published() {
        assert_eq!(held_after(Kind::Publication), [Kind::ReplicaIdentity]);
        assert!(held_after(Kind::Slot).is_empty());
    }
}
