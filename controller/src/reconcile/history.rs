//! Looking whether both servers go on from where they were, at every look at a database that has been subscribed.

use super::Context;
use super::database::{Database, Error};
use crate::postgres::Session;
use crate::stream::Names;
use crate::verify::carried::Place;
use crate::verify::history;

/// Looks; where one of them does not, all tables of the database are in doubt from now on. Says whether that is so.
pub async fn look(
    context: &Context,
    database: &str,
    names: &[Names],
    subscriptions: &[u32],
    source: &Session,
    destination: &Session,
) -> Result<bool, history::Error> {
    let place = Place { control: &context.control, mapping: &context.mapping, database };
    let before = context.board.database(database, |view| view.history.clone());
    let (seen, forked) = history::look(&place, source, destination, names, subscriptions, before.as_ref()).await?;
    context.board.database(database, |view| view.history = Some(seen));
    let has_forked = forked.is_some();
    if let Some(why) = forked {
        context.board.event(
            database,
            "error",
            format!("changes may not have been carried: {why}; the tables are compared, or copy them anew"),
        );
    }
    Ok(has_forked)
}

impl Database {
    /// The same with the sessions that are open.
    pub(super) async fn look_at_history(&mut self, subscriptions: &[u32]) -> Result<(), Error> {
        self.source().await?;
        self.destination().await?;
        let (Some(source), Some(destination)) = (&self.source, &self.destination) else { return Ok(()) };
        if look(&self.context, &self.name, &self.names, subscriptions, source, destination).await? {
            self.watcher.note_fork();
        }
        Ok(())
    }
}
