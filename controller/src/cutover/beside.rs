//! What the stream does not carry, at the cutover: large objects are brought up to date before the block, so that little is left, and
//! within it the rest follows and the tables are copied again.
//!
//! All of it may be committed before the switch is certain: nobody uses the destination yet, and what was copied is no more than a
//! newer copy, should the switch be undone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use super::{Candidate, Completion, Error};
use crate::beside::{Crew, Outcome, Rate, Record, Touched};
use crate::gentle::room::Seats;
use crate::plan::Statement;
use crate::postgres::retry;
use crate::reconcile::Context;

fn failed(database: &str) -> impl FnOnce(crate::beside::Error) -> Error {
    let database = database.to_owned();
    move |source| Error::Beside { database, source }
}

/// How many hands each database has, and their sessions on the source. None if there are not enough for all: then each takes one when it has
/// something to copy.
fn hands(context: &Context, databases: usize) -> (usize, Option<Seats>) {
    let wanted = (context.settings.copy_workers / databases.max(1)).max(1);
    let seats = context.gentle.room.take(wanted * databases).filter(|seats| seats.count() >= databases);
    (seats.as_ref().map_or(0, |seats| seats.count() / databases.max(1)), seats)
}

/// Opens the sessions of one database, beside the one that it has on the source.
async fn open(context: &Context, candidate: &Candidate, hands: usize, rate: Rate) -> Result<Crew, Error> {
    let Context { source, destination, gentle, .. } = context;
    let opening = Crew::over(Arc::clone(&candidate.source), source, destination, &candidate.name, hands, rate);
    let mut crew = opening.await.map_err(failed(&candidate.name))?;
    if hands == 0 {
        crew.hire_from(&gentle.room);
    }
    Ok(crew)
}

/// Opens the sessions, and brings the large objects up to date, while everybody still writes. Gives what is to be kept as long as they are open.
pub(super) async fn prepare(context: &Context, candidates: &mut [Candidate]) -> Result<Option<Seats>, Error> {
    let (hands, seats) = hands(context, candidates.len());
    for candidate in candidates {
        let mut crew = open(context, candidate, hands, Some(Arc::clone(&context.gentle))).await?;
        let (_, outcome) =
            crew.refresh(&context.control, &context.mapping, |_, _| false, true).await.map_err(failed(&candidate.name))?;
        alike(&candidate.name, &outcome)?;
        // From here on writers wait.
        crew.hurry();
        candidate.crew = Some(crew);
    }
    Ok(seats)
}

/// Fills the materialized views anew, while everybody still writes: so they are as of just before the switch, and the block is not longer
/// for it. All together no longer than the limit; one that can't be filled, or not by then, stays as it is, which is told.
pub(super) async fn refresh_views(context: &Context, candidates: &[Candidate], limit: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + limit;
    for candidate in candidates.iter().filter(|c| !c.views.is_empty()) {
        let began = Instant::now();
        let mut filled = 0;
        for statement in &candidate.views {
            let left = deadline.saturating_duration_since(Instant::now());
            let outcome = if left.is_zero() {
                Err(format!("the time limit of {} s was over", limit.as_secs_f64()))
            } else {
                context.board.set_waiting(&candidate.name, Some(format!("{} to be refreshed", statement.object)));
                refresh_view(candidate, statement, left).await?
            };
            match outcome {
                Ok(()) => filled += 1,
                Err(why) => {
                    let message =
                        format!("{} could not be refreshed before the switch, and stays as it is: {why}", statement.object);
                    context.board.event(&candidate.name, "warning", message);
                }
            }
        }
        context.board.set_waiting(&candidate.name, None);
        let message =
            format!("refreshed {filled} materialized views before the switch, in {:.1} s", began.elapsed().as_secs_f64());
        context.board.event(&candidate.name, "info", message);
    }
    Ok(())
}

/// Fills one, within what is left of the time. The server itself ends it then: the session is still needed.
async fn refresh_view(candidate: &Candidate, statement: &Statement, left: Duration) -> Result<Result<(), String>, Error> {
    let destination = &candidate.destination;
    let refreshing = async {
        let limit = i32::try_from(left.as_millis().max(1)).unwrap_or(i32::MAX);
        destination.batch_execute(&format!("SET statement_timeout = {limit}")).await?;
        let refreshed = destination.batch_execute(statement.executable()).await;
        destination.batch_execute("SET statement_timeout = 0").await?;
        Ok(refreshed.map_err(|error| retry::message(&error)))
    };
    refreshing.await.map_err(super::failed("refreshing materialized views", candidate))
}

/// Brings everything over once more, all databases side by side. Nobody may be writing.
pub(super) async fn again(context: &Context, candidates: &mut [Candidate]) -> Result<(), Error> {
    let nothing = Touched::default();
    try_join_all(candidates.iter_mut().map(|candidate| again_one(context, candidate, &nothing))).await.map(drop)
}

async fn again_one(context: &Context, candidate: &mut Candidate, spare: &Touched) -> Result<(), Error> {
    let Some(crew) = &mut candidate.crew else { return Ok(()) };
    let (_, outcome) = crew
        .refresh(&context.control, &context.mapping, |_, pair| !spare.tables.contains(&pair.label()), !spare.objects)
        .await
        .map_err(failed(&candidate.name))?;
    alike(&candidate.name, &outcome)?;
    candidate.report.beside = outcome;
    Ok(())
}

fn alike(database: &str, outcome: &Outcome) -> Result<(), Error> {
    let what = outcome.troubles();
    if what.is_empty() { Ok(()) } else { Err(Error::NotAlike { database: database.to_owned(), what }) }
}

/// Opens the sessions, and looks for what somebody has written to on the destination. Gives it for each database, or refuses; and what is to be
/// kept as long as they are open.
pub(super) async fn touched(
    context: &Context,
    candidates: &mut [Candidate],
    keep: bool,
) -> Result<(Vec<Touched>, Option<Seats>), Error> {
    let (hands, seats) = hands(context, candidates.len());
    let mut found = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let crew = open(context, candidate, hands, None).await?;
        let touched = look(context, &candidate.name, &crew, keep, Completion::Begun).await?;
        let what = touched.names();
        if !what.is_empty() {
            context.board.event(&candidate.name, "warning", format!("left as it is on the destination: {}", what.join(", ")));
        }
        candidate.crew = Some(crew);
        found.push(touched);
    }
    Ok((found, seats))
}

/// Refuses if somebody has written to what is to be copied a last time. Changes nothing.
pub(super) async fn refuse_if_touched(context: &Context, database: &str) -> Result<(), Error> {
    let crew = Crew::open(&context.source, &context.destination, database, 0, None).await.map_err(failed(database))?;
    look(context, database, &crew, false, Completion::Asked).await.map(drop)
}

async fn look(context: &Context, database: &str, crew: &Crew, keep: bool, completion: Completion) -> Result<Touched, Error> {
    let record = Record::load(&context.control, &context.mapping, database).await?;
    let touched = crew.touched(&record).await.map_err(failed(database))?;
    let what = touched.names();
    if what.is_empty() || keep {
        return Ok(touched);
    }
    Err(Error::InUse { database: database.to_owned(), what, cure: completion.cure(&context.mapping, database) })
}

/// The last copy of a switch that was made by hand, without what is in use already.
pub(super) async fn last(context: &Context, candidates: &mut [Candidate], touched: &[Touched]) -> Result<(), Error> {
    let work = candidates.iter_mut().zip(touched).map(|(candidate, spare)| again_one(context, candidate, spare));
    try_join_all(work).await.map(drop)
}
