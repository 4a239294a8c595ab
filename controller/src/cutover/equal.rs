//! That both sides are equal, as far as a cutover must know: once more within the block, when nobody can change anything any more.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::try_join_all;

use super::{Candidate, Completion, Error, failed};
use crate::copy::table;
use crate::ledger;
use crate::monitor::drift;
use crate::reconcile::stall::naming_lockers;
use crate::reconcile::{Context, history, watch};
use crate::stream::subscription::{self, TableState};
use crate::stream::{Names, options, publication};
use crate::verify::carried::Place;
use crate::verify::{self, Comparison, Difference, Doubt};

/// What was ready when the cutover was asked for must be so now, when nobody can change it any more.
pub(super) async fn still(context: &Context, candidate: &Candidate) -> Result<(), Error> {
    let looking = "looking at both sides once more";
    let mut states = HashMap::new();
    let mut subscriptions = Vec::with_capacity(candidate.names.len());
    for names in &candidate.names {
        let found = subscription::observe(&candidate.destination, names).await.map_err(failed(looking, candidate))?;
        let Some(found) = found.filter(|s| s.enabled) else {
            return Err(Error::NotReady { database: candidate.name.clone(), why: "its stream is not running".to_owned() });
        };
        let suspects = options::unsafe_in_binary(&candidate.source, names).await.map_err(failed(looking, candidate))?;
        if found.binary && !suspects.is_empty() {
            let why = "columns were added that can't travel in the binary form that its stream has".to_owned();
            return Err(Error::NotReady { database: candidate.name.clone(), why });
        }
        subscriptions.push(found.oid);
        states.extend(subscription::tables(&candidate.destination, found.oid).await.map_err(failed(looking, candidate))?);
    }
    let missing = watch::missing(&candidate.destination, &subscriptions).await.map_err(failed(looking, candidate))?;
    let harmless = context.board.database(&candidate.name, |view| view.missing_harmless.clone());
    if missing.iter().any(|counted| !harmless.contains(counted)) {
        let why = "a stream met rows that the destination does not have: which, the finding rows_missing will tell".to_owned();
        return Err(Error::NotReady { database: candidate.name.clone(), why });
    }
    let lagging: Vec<String> =
        states.iter().filter(|(_, s)| **s != TableState::Ready).map(|((s, n), _)| format!("{s}.{n}")).take(5).collect();
    if !lagging.is_empty() {
        return Err(Error::NotReady { database: candidate.name.clone(), why: format!("not in step: {}", lagging.join(", ")) });
    }
    let ours = table::read(&candidate.source).await.map_err(failed(looking, candidate))?;
    let theirs = table::read(&candidate.destination).await.map_err(failed(looking, candidate))?;
    let published = publication::observe_all(&candidate.source, &candidate.names).await.map_err(failed(looking, candidate))?;
    let differences = drift::differences(&ours, &theirs, &states, &publication::tables(&published));
    if differences.is_empty() {
        // What has happened to tables a moment ago is found out by comparing them, like what is known already.
        let Context { control, mapping, .. } = context;
        let place = Place { control, mapping, database: &candidate.name };
        let is_attached = |schema: &str, name: &str| states.contains_key(&(schema.to_owned(), name.to_owned()));
        let Candidate { source, destination, names, .. } = candidate;
        history::look(context, &candidate.name, names, &subscriptions, source, destination)
            .await
            .map_err(|error| Error::Database(Box::new(error.into())))?;
        place.look(&candidate.source, &candidate.names, &theirs, is_attached).await.map_err(failed(looking, candidate))?;
        tracing::debug!(mapping = context.mapping, database = candidate.name, "still equal");
        return Ok(());
    }
    Err(Error::NotReady { database: candidate.name.clone(), why: differences.join("; ") })
}

fn comparing(candidate: &Candidate) -> impl FnOnce(verify::Error) -> Error {
    let database = candidate.name.clone();
    move |source| Error::Compare { database, source }
}

async fn doubts(context: &Context, candidate: &Candidate) -> Result<Vec<Doubt>, Error> {
    let Context { control, mapping, .. } = context;
    let found = verify::doubts(&candidate.source, control, mapping, &candidate.name, &candidate.names).await;
    let mut doubts = found.map_err(comparing(candidate))?;
    let missing = context.board.database(&candidate.name, |view| view.missing_doubts.clone());
    let missing = verify::by_their_names(&candidate.source, &candidate.names, missing).await;
    verify::add(&mut doubts, missing.map_err(comparing(candidate))?);
    Ok(doubts)
}

/// Opens the sessions that compare, where there may be something to compare.
pub(super) async fn prepare(context: &Context, candidates: &mut [Candidate]) -> Result<(), Error> {
    for candidate in candidates {
        if verify::may_doubt(&candidate.source, &candidate.names).await.map_err(comparing(candidate))? {
            let pair = verify::Pair::over(Arc::clone(&candidate.source), &context.destination, &candidate.name);
            candidate.pair = Some(pair.await.map_err(comparing(candidate))?);
        }
    }
    Ok(())
}

/// When tables are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// Everybody still writes.
    Before,
    /// Nobody writes, and everything is applied.
    Within,
}

/// What was found of every database, side by side.
async fn compare(context: &Context, candidates: &[Candidate], when: When) -> Result<Vec<Comparison>, Error> {
    try_join_all(candidates.iter().map(|candidate| async move {
        let doubts = doubts(context, candidate).await?;
        if doubts.is_empty() {
            return Ok(Comparison::default());
        }
        let opened;
        let pair = if let Some(pair) = &candidate.pair {
            pair
        } else {
            let pair = verify::Pair::open(&context.source, &context.destination, &candidate.name);
            opened = pair.await.map_err(comparing(candidate))?;
            &opened
        };
        let comparing_them = async {
            match when {
                When::Before => pair.compare(&candidate.names, doubts).await,
                When::Within => pair.compare_at_rest(doubts).await,
            }
        };
        let compared = naming_lockers(context, &candidate.name, |by| verify::Error::Locked { by }, comparing_them).await;
        compared.map_err(comparing(candidate))
    }))
    .await
}

/// Compares the tables that have to be proved equal while everybody still writes: one that is seen to differ needs no block. Those that are
/// being written to are left to [`prove`].
pub(super) async fn probe(context: &Context, candidates: &[Candidate]) -> Result<(), Error> {
    judge(context, candidates, &compare(context, candidates, When::Before).await?)
}

/// Proves them equal; gives how many there are in each database. Nobody may be writing, and everything must be applied.
pub(super) async fn prove(context: &Context, candidates: &[Candidate]) -> Result<Vec<usize>, Error> {
    let found = compare(context, candidates, When::Within).await?;
    judge(context, candidates, &found)?;
    Ok(found.iter().map(|found| found.equal).collect())
}

fn judge(context: &Context, candidates: &[Candidate], found: &[Comparison]) -> Result<(), Error> {
    for (candidate, found) in candidates.iter().zip(found) {
        let cures: Vec<String> = found.different.iter().map(|d| d.fix(&context.mapping, &candidate.name)).collect();
        refuse(&candidate.name, found, || cures.join("; "))?;
    }
    Ok(())
}

fn refuse(database: &str, found: &Comparison, cure: impl FnOnce() -> String) -> Result<(), Error> {
    if found.different.is_empty() {
        return Ok(());
    }
    let what = found.different.iter().map(Difference::words).collect();
    Err(Error::Unequal { database: database.to_owned(), what, cure: cure() })
}

/// The same for a switch that was made by hand. Should the destination be in use already, it is told by what differs then.
pub(super) async fn prove_by_hand(context: &Context, candidates: &[Candidate]) -> Result<(), Error> {
    let found = compare(context, candidates, When::Within).await?;
    for (candidate, found) in candidates.iter().zip(&found) {
        refuse(&candidate.name, found, || Completion::Begun.cure(&context.mapping, &candidate.name))?;
    }
    Ok(())
}

/// Refuses to complete a switch that was made by hand where a stream stands still, as it does while tables are copied anew: what was written
/// since is not there. Changes nothing.
pub(super) async fn refuse_if_not_streaming(context: &Context, oid: u32, database: &str) -> Result<(), Error> {
    let failed = |source| Error::Statement { doing: "looking for the stream", database: database.to_owned(), source };
    let effects = ledger::in_force(&context.control, &context.mapping).await?;
    let names = Names::of_database(&context.mapping, database, oid, &effects, context.settings.streams);
    let destination = context.destination.connect(database).await?;
    for names in &names {
        let found = subscription::observe(&destination, names).await.map_err(failed)?;
        if !found.is_some_and(|subscription| subscription.enabled) {
            let why = format!("its stream {} is not running", names.subscription());
            return Err(Error::NotReady { database: database.to_owned(), why });
        }
    }
    Ok(())
}

/// Refuses to complete a switch that was made by hand where one of them differs. Changes nothing.
pub(super) async fn refuse_if_different(context: &Context, oid: u32, database: &str) -> Result<(), Error> {
    let failed = |source| Error::Compare { database: database.to_owned(), source };
    let source = Arc::new(context.source.connect(database).await?);
    let effects = ledger::in_force(&context.control, &context.mapping).await?;
    let names = Names::of_database(&context.mapping, database, oid, &effects, context.settings.streams);
    let doubts = verify::doubts(&source, &context.control, &context.mapping, database, &names).await.map_err(failed)?;
    if doubts.is_empty() {
        return Ok(());
    }
    let pair = verify::Pair::over(source, &context.destination, database).await.map_err(failed)?;
    let found = pair.compare(&names, doubts).await.map_err(failed)?;
    refuse(database, &found, || Completion::Asked.cure(&context.mapping, database))
}
