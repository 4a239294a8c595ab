//! Resync as asked for: ordered from the databases' own tasks, since they alone start and stop their streams.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use tokio::sync::oneshot;

use super::{Context, Order};

/// How many tables of a database are being copied anew, or what went wrong.
pub(super) type ResyncAnswer = oneshot::Receiver<Result<usize, String>>;

/// Orders the databases' tasks to copy anew. What can't be ordered is said in words.
pub(super) fn order_resync(
    context: &Context,
    known: &BTreeMap<String, u32>,
    database: Option<&str>,
    table: Option<&str>,
) -> Result<Vec<(ResyncAnswer, Option<usize>)>, String> {
    if table.is_some() && database.is_none() {
        return Err("name the database of the table as well".to_owned());
    }
    let chosen: Vec<&String> = known.keys().filter(|name| database.is_none_or(|d| d == *name)).collect();
    if chosen.is_empty() {
        return Err(format!("there is no database {:?} in this mapping", database.unwrap_or_default()));
    }
    let mut orders = context.orders.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(chosen
        .into_iter()
        .map(|name| {
            let (answer, receiver) = oneshot::channel();
            orders.entry(name.clone()).or_default().push(Order { table: table.map(str::to_owned), answer });
            (receiver, None)
        })
        .collect())
}

/// The outcome of a resync, once every database has answered.
pub(super) fn resync_outcome(answers: &mut [(ResyncAnswer, Option<usize>)]) -> Option<Result<usize, String>> {
    for (receiver, known) in answers.iter_mut().filter(|(_, known)| known.is_none()) {
        match receiver.try_recv() {
            Ok(Ok(tables)) => *known = Some(tables),
            Ok(Err(error)) => return Some(Err(error)),
            Err(oneshot::error::TryRecvError::Empty) => return None,
            Err(oneshot::error::TryRecvError::Closed) => return Some(Err("the database's task ended; ask again".to_owned())),
        }
    }
    Some(Ok(answers.iter().filter_map(|(_, tables)| *tables).sum()))
}
