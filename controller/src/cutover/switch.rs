//! The last step of a cutover: what would have disturbed the stream is switched on; and off again where the cutover is undone.
//!
//! The ledger has what takes it back before any of it is committed. So it is taken back whatever of it was committed by then, also by a
//! controller that comes after, and whatever has become of the source's definitions since.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio_postgres::Client;

use super::{Candidate, Error, block, failed, within};
use crate::ledger::{self, Kind, Side, SideEffect};
use crate::monitor::board::Board;
use crate::plan::Statement;
use crate::postgres::{Endpoint, retry};
use crate::provision::schema;
use crate::reconcile::{Context, database};

/// What the ledger calls all that is switched on in a database.
const ALL: &str = "at the cutover";

/// Whoever holds a lock in the way is waited for so long at a time: the mapping waits as well, and says so.
const LOCK_TIMEOUT: &str = "5s";

/// Switches on, in one transaction a database, what waited for this moment. All are opened before the first is committed,
/// so that one that can't be done costs nothing.
///
/// Where `blocked` says by what writers are kept out of the source, they must be so until the last moment: nobody else may have let them in.
pub(super) async fn on(
    context: &Context,
    candidates: &[Candidate],
    blocked: Option<&[block::Entry]>,
    deadline: Instant,
    limit: Duration,
) -> Result<(), Error> {
    let doing = || "switching triggers on".to_owned();
    for candidate in candidates {
        let statements: Vec<&str> = candidate.open().map(Statement::executable).collect();
        let all = format!("BEGIN;\n{}", statements.join("\n;\n"));
        within(deadline, limit, doing, candidate.destination.batch_execute(&all))
            .await?
            .map_err(failed("switching triggers on", candidate))?;
    }
    for candidate in candidates {
        // Also of what is on already: an earlier attempt may have switched it on.
        let undo: Vec<&str> = candidate.last.iter().filter_map(|statement| statement.undo.as_deref()).collect();
        if !undo.is_empty() {
            let detail = json!({ "undo": undo });
            let Context { control, mapping, .. } = context;
            let recording = ledger::record(control, mapping, Side::Destination, &candidate.name, Kind::SwitchedOn, ALL, &detail);
            within(deadline, limit, doing, recording).await??;
        }
    }
    for candidate in candidates {
        for entry in blocked.into_iter().flatten().filter(|entry| entry.database == candidate.name) {
            let looking = block::is_in_force(&candidate.source, entry);
            if !within(deadline, limit, doing, looking).await?.map_err(failed("looking at the write block", candidate))? {
                return Err(Error::Unblocked { database: candidate.name.clone() });
            }
        }
    }
    for candidate in candidates {
        within(deadline, limit, doing, candidate.destination.batch_execute("COMMIT"))
            .await?
            .map_err(failed("switching triggers on", candidate))?;
    }
    Ok(())
}

/// Switches off everything that the ledger says may be on. One database's trouble does not keep the others from it.
pub async fn off(control: &Client, destination: &Endpoint, mapping: &str, board: &Board) -> Result<(), Error> {
    let mut first_error = None;
    for effect in ledger::in_force_of(control, mapping, &[Kind::SwitchedOn]).await? {
        if let Err(error) = off_in(control, destination, board, &effect).await {
            first_error.get_or_insert(error);
        }
    }
    first_error.map_or(Ok(()), Err)
}

async fn off_in(control: &Client, destination: &Endpoint, board: &Board, effect: &SideEffect) -> Result<(), Error> {
    let failed = |source| Error::Statement { doing: "switching triggers off again", database: effect.database.clone(), source };
    let there = "SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $1)";
    if !control.query_one(there, &[&effect.database]).await.map_err(failed)?.get::<_, bool>(0) {
        return Ok(ledger::undone(control, effect.id, "the database is gone").await?);
    }
    let session = schema::session(destination, &effect.database).await.map_err(database::Error::from)?;
    // On disk before the ledger says so.
    let settings = format!("SET synchronous_commit = local; SET lock_timeout = '{LOCK_TIMEOUT}'");
    session.batch_execute(&settings).await.map_err(failed)?;
    end_attempts(&session, &destination.application_name).await.map_err(failed)?;
    let mut refused = Vec::new();
    for statement in undo_of(effect).iter().rev() {
        match session.batch_execute(statement).await {
            Ok(()) => {}
            Err(error) if retry::is_transient(&error) => return Err(failed(error)),
            // What is not there any more is not on; anything else is for the operator to see to.
            Err(error) => refused.push(format!("{statement}: {}", retry::message(&error))),
        }
    }
    if !refused.is_empty() {
        let text = format!("what was switched on at the cutover could not all be switched off again: {}", refused.join("; "));
        board.event(&effect.database, "error", text);
    }
    Ok(ledger::undone(control, effect.id, "undone").await?)
}

/// The statements that take an effect back, in the order in which what they take back was made.
fn undo_of(effect: &SideEffect) -> Vec<String> {
    let list = effect.detail.get("undo").and_then(serde_json::Value::as_array);
    list.into_iter().flatten().filter_map(|statement| statement.as_str().map(str::to_owned)).collect()
}

/// Ends what an attempt has left in the connected database: a COMMIT that nobody waits for any more could still be on its way, and an open
/// transaction holds its locks. Nobody else of ours is there: the database's task has ended.
async fn end_attempts(session: &Client, application_name: &str) -> Result<(), tokio_postgres::Error> {
    loop {
        if session.query(include_str!("end_attempts.sql"), &[&application_name]).await?.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_ledger_has_is_read_back_in_its_order() {
        let detail = json!({ "undo": ["first", "second"] });
        let effect = SideEffect {
            id: 1,
            side: Side::Destination,
            database: "d".into(),
            kind: Kind::SwitchedOn,
            object: ALL.into(),
            detail,
            age: Duration::ZERO,
        };
        assert_eq!(undo_of(&effect), ["first", "second"]);
    }
}
