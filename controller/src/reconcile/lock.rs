//! The lock of a mapping, which one controller holds at a time: an advisory lock in the control database, held by a session.
//!
//! A session can be lost without its controller's knowing, and another controller takes the mapping over. So whoever is about to undo
//! something late asks first.

use std::time::Duration;

use super::mapping::{Error, Mapping, doing};
use crate::postgres::{Endpoint, Session};
use crate::provision::control;

/// No answer by then says nothing: who keeps writers out on a source must not wait for a destination that is gone.
const ASK_LIMIT: Duration = Duration::from_secs(3);

/// A lock that was taken.
#[derive(Debug, Clone)]
pub struct Lock {
    destination: Endpoint,
    control_database: String,
    mapping: String,
    /// The backend of the session that took it.
    holder: i32,
}

impl Lock {
    /// The lock that a session on the control database has taken.
    pub fn of(destination: &Endpoint, control_database: &str, mapping: &str, session: &Session) -> Self {
        Self {
            destination: destination.clone(),
            control_database: control_database.to_owned(),
            mapping: mapping.to_owned(),
            holder: session.pid(),
        }
    }

    /// Whether another session has the lock by now. Asked over a new connection: the one that took it may be the one that is lost. What
    /// can't be found out counts as no.
    pub async fn is_anothers(&self) -> bool {
        let asking = async {
            let session = self.destination.connect(&self.control_database).await.map_err(|error| error.to_string())?;
            let row = session.query_one(include_str!("lock_holder.sql"), &[&self.mapping, &self.holder]).await;
            row.map(|row| row.get(0)).map_err(|error| error.to_string())
        };
        match tokio::time::timeout(ASK_LIMIT, asking).await {
            Ok(Ok(is_anothers)) => is_anothers,
            Ok(Err(error)) => {
                tracing::debug!(error, "whose the mapping is can't be found out");
                false
            }
            Err(_) => false,
        }
    }
}

impl Mapping {
    /// Takes the mapping over: nobody else acts on it any more, and whom an earlier cutover kept from writing may write.
    pub(super) async fn take(&mut self, control: &Session) -> Result<(), Error> {
        self.lock(control).await?;
        self.release_orphans(control).await
    }

    /// Only one controller may act on a mapping. A predecessor that was killed holds the lock until its server notices.
    pub(super) async fn lock(&mut self, control: &Session) -> Result<(), Error> {
        if let Some(pid) = self.held_by {
            // Our own session of before. If its connection is half open, its server believes in it for as long as it likes.
            const END: &str = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
                               WHERE pid = $1 AND application_name = $2 AND pid <> pg_catalog.pg_backend_pid()";
            control
                .execute(END, &[&pid, &self.destination.application_name])
                .await
                .map_err(doing("ending our former session"))?;
        }
        let mut told = false;
        while !control::try_lock(control, &self.name).await.map_err(doing("locking the mapping"))? {
            if !told {
                tracing::warn!("waiting: another controller runs this mapping");
                told = true;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        self.held_by = Some(control.pid());
        Ok(())
    }

    /// Ends what a predecessor left running on both sides: a statement that goes on without its client would collide
    /// with the same statement of ours. We hold the lock, so these sessions are nobody's.
    pub(super) async fn end_leftovers(&self, source: Option<&Session>, control: &Session) -> Result<(), Error> {
        const END: &str = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
                           WHERE application_name = $1 AND pid <> pg_catalog.pg_backend_pid()";
        let sessions = source.map(|source| (source, &self.source)).into_iter().chain([(control, &self.destination)]);
        for (session, endpoint) in sessions {
            for _ in 0..120 {
                let ended = session.query(END, &[&endpoint.application_name]).await.map_err(doing("ending leftover sessions"))?;
                if ended.is_empty() {
                    break;
                }
                tracing::info!(instance = endpoint.name, sessions = ended.len(), "ending sessions of a controller that is gone");
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        }
        Ok(())
    }
}
