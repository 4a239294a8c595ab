//! Cleanup: everything that the ledger names is undone on both sides. What was asked for, databases and roles, stays.

use serde::Serialize;

use crate::cutover::{self, block};
use crate::ledger::{self, Kind, SideEffect};
use crate::postgres::{self, Session, quote, retry};
use crate::provision::schema;
use crate::reconcile::Context;
use crate::stream::{publication, slot, subscription};

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
const ORDER: [Kind; 8] = [
    Kind::Subscription,
    Kind::Slot,
    Kind::Publication,
    Kind::ReplicaIdentity,
    Kind::WriteBlock,
    Kind::Database,
    Kind::Role,
    Kind::Membership,
];

/// Cleans up; `finish_first` carries out the last steps of a switch that was made by hand.
pub async fn run(context: &Context, finish_first: bool) -> Result<Report, Error> {
    let mut report = Report::default();
    let mut effects = ledger::in_force(&context.control, &context.mapping).await?;
    let streams = effects.iter().any(|e| e.kind == Kind::Subscription);
    if finish_first && streams {
        report.sequences = Some(cutover::finish_by_hand(context).await?);
    }
    effects.sort_by_key(|e| (ORDER.iter().position(|k| *k == e.kind), e.id));
    let mut source: Option<(String, Session)> = None;
    for effect in &effects {
        let words = if effect.database.is_empty() {
            format!("{} {}", effect.kind.as_str(), effect.object)
        } else {
            format!("{} {} in {}", effect.kind.as_str(), effect.object, effect.database)
        };
        match effect.kind {
            Kind::Database | Kind::Role | Kind::Membership => {
                ledger::undone(&context.control, effect.id, "kept").await?;
                report.kept.push(words);
                continue;
            }
            Kind::Subscription => drop_subscription(context, effect).await?,
            Kind::Slot | Kind::Publication | Kind::ReplicaIdentity | Kind::WriteBlock => {
                if source.as_ref().is_none_or(|(database, _)| *database != effect.database) {
                    source = Some((effect.database.clone(), context.source.connect(&effect.database).await?));
                }
                if let Some((_, session)) = &source {
                    undo_on_source(context, session, effect, &words).await?;
                }
            }
        }
        if effect.kind != Kind::WriteBlock {
            ledger::undone(&context.control, effect.id, "undone").await?;
        }
        tracing::info!("undone: {words}");
        report.undone.push(words);
    }
    Ok(report)
}

async fn drop_subscription(context: &Context, effect: &SideEffect) -> Result<(), Error> {
    let session = schema::session(&context.destination, &effect.database).await?;
    let there = session
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
                            WHERE d.datname = current_database() AND s.subname = $1)",
            &[&effect.object],
        )
        .await
        .map_err(|source| Error::Statement { what: effect.object.clone(), source })?;
    if there.get(0) {
        subscription::drop(&session, &effect.object).await?;
    }
    Ok(())
}

async fn undo_on_source(context: &Context, source: &Session, effect: &SideEffect, words: &str) -> Result<(), Error> {
    let failed = |source| Error::Statement { what: words.to_owned(), source };
    match effect.kind {
        Kind::Slot => slot::drop(source, &effect.object).await.map_err(failed),
        Kind::Publication => {
            source.batch_execute(&format!("DROP PUBLICATION IF EXISTS {}", quote::ident(&effect.object))).await.map_err(failed)
        }
        Kind::ReplicaIdentity => restore_identity(source, effect).await.map_err(failed),
        Kind::WriteBlock => Ok(block::unblock(source, &context.control, effect).await?),
        Kind::Subscription | Kind::Database | Kind::Role | Kind::Membership => Ok(()),
    }
}

/// Gives a table its identity back. A table that is gone, or an index that was its identity and is gone, needs nothing.
async fn restore_identity(source: &Session, effect: &SideEffect) -> Result<(), tokio_postgres::Error> {
    let Some(identity) = publication::original_identity(effect) else { return Ok(()) };
    let there = source.query_one("SELECT pg_catalog.to_regclass($1) IS NOT NULL", &[&effect.object]).await?;
    if !there.get::<_, bool>(0) {
        return Ok(());
    }
    publication::set_identity(source, &effect.object, &identity).await
}
