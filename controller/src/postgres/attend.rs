//! Long work over a connection is not left alone: now and then its server is asked, over another connection, whether it still works for
//! us. TCP's keepalives notice a peer that is gone; they do not notice a proxy, load balancer or address translation on the way that keeps our
//! end open and has forgotten the other one. Then the server has no such session any more, or has long finished and waits for us, while we
//! wait for its answer.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::{Endpoint, Session};

/// How often the server is asked.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// So many looks in a row must find nobody at work: noticed within a minute (four times the pause, and the time that the last look takes),
/// and no short pause taken for it.
const LOOKS: u32 = 4;
/// A look that takes longer tells nothing.
const LOOK_LIMIT: Duration = Duration::from_secs(8);

/// A session that something long is done over.
#[derive(Debug, Clone)]
pub struct Attended {
    /// The instance it is on.
    pub endpoint: Endpoint,
    /// Its backend's process id.
    pub pid: i32,
    /// Whether it speaks the replication protocol: of its commands the activity is told from version 14 on.
    pub is_walsender: bool,
}

impl Attended {
    /// An ordinary session.
    pub fn new(endpoint: &Endpoint, session: &Session) -> Self {
        Self { endpoint: endpoint.clone(), pid: session.pid(), is_walsender: false }
    }
}

/// What a server says of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Backend {
    /// It does not know it.
    Gone,
    /// It waits for us: its state, and since when.
    WaitsForUs(String),
    /// It works for us.
    Works,
}

/// For how many looks nobody has worked.
#[derive(Debug, Default)]
struct Silence {
    last: Option<(Vec<Backend>, u64)>,
    looks: u32,
}

impl Silence {
    /// Takes note of a look and of the bytes moved until then. True when the work can't come to an end any more.
    fn note(&mut self, found: Vec<Backend>, moved: u64) -> bool {
        if found.is_empty() {
            return false;
        }
        let is_gone = |found: &[Backend]| found.contains(&Backend::Gone);
        // A connection whose end we were told of would have ended the work by the second look.
        if is_gone(&found) && self.last.as_ref().is_some_and(|(last, _)| is_gone(last)) {
            return true;
        }
        let now = (found, moved);
        if now.0.contains(&Backend::Works) {
            self.looks = 0;
        } else if self.last.as_ref() == Some(&now) {
            self.looks += 1;
        } else {
            self.looks = 1;
        }
        self.last = Some(now);
        self.looks >= LOOKS
    }
}

/// Does the work, whose progress shows in `moved`, over these sessions; none if it was given up because no server works on it any more.
pub async fn attend<T>(sessions: &[Attended], moved: impl Fn() -> u64, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let observer = async {
        let mut silence = Silence::default();
        // What a look takes does not put off the next one. After a standstill of our own there is still a pause between two looks.
        let mut looks = tokio::time::interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            match tokio::time::timeout(LOOK_LIMIT, look(sessions)).await {
                Ok(Ok(found)) => {
                    if silence.note(found, moved()) {
                        return;
                    }
                }
                // A server that does not answer now says nothing about the session.
                Ok(Err(error)) => tracing::debug!(error, "can't look after a session"),
                Err(_) => tracing::debug!("can't look after a session: no answer"),
            }
        }
    };
    tokio::select! {
        result = &mut work => Some(result),
        () = observer => None,
    }
}

async fn look(sessions: &[Attended]) -> Result<Vec<Backend>, String> {
    let mut found = Vec::with_capacity(sessions.len());
    for session in sessions {
        let observer = session.endpoint.connect(&session.endpoint.instance.database).await.map_err(|error| error.to_string())?;
        let row = observer
            .query_opt(include_str!("attend.sql"), &[&session.pid, &session.endpoint.application_name])
            .await
            .map_err(|error| super::retry::message(&error))?;
        found.push(match row {
            None => Backend::Gone,
            Some(row) => {
                let is_told = !session.is_walsender || observer.version().at_least(14);
                let waits = row.get::<_, Option<bool>>("waits") == Some(true);
                if is_told && waits { Backend::WaitsForUs(row.get("since")) } else { Backend::Works }
            }
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(since: &str) -> Backend {
        Backend::WaitsForUs(since.to_owned())
    }

    /// After how many looks of this kind the work is given up, if it is within ten.
    fn given_up_after(look: impl Fn(u32) -> (Vec<Backend>, u64)) -> Option<u32> {
        let mut silence = Silence::default();
        (1..=10).find(|n| {
            let (found, moved) = look(*n);
            silence.note(found, moved)
        })
    }

    #[test]
    fn a_session_that_its_server_does_not_know_is_given_up_at_the_second_look() {
        assert_eq!(given_up_after(|_| (vec![Backend::Works, Backend::Gone], 0)), Some(2));
    }

    #[test]
    fn servers_that_all_wait_for_us_are_given_up_when_nothing_has_moved_for_four_looks() {
        assert_eq!(given_up_after(|_| (vec![waits("1"), waits("2")], 7)), Some(4));
        assert_eq!(given_up_after(|n| (vec![waits("1"), waits("2")], u64::from(n))), None, "bytes move");
        assert_eq!(given_up_after(|n| (vec![waits(&n.to_string())], 7)), None, "one statement follows the other");
    }

    #[test]
    fn one_server_at_work_is_enough() {
        assert_eq!(given_up_after(|_| (vec![Backend::Works, waits("1")], 7)), None);
        assert_eq!(given_up_after(|n| (vec![if n == 3 { Backend::Works } else { waits("1") }], 7)), Some(7));
    }
}
