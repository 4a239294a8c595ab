//! No answer is waited for on a connection that is broken without our knowing. TCP's keepalives notice a peer that is gone; they do not notice a
//! proxy, load balancer or address translation on the way that keeps our end open and has forgotten the other one. Then the server has no
//! such session any more, or has long finished and waits for us, while we wait for its answer.
//!
//! So every connection is looked after for as long as it is open: where it has waited for a moment, its server is asked now and then, over
//! another one, whether it still works for us. A connection on which it does not is given up, and whatever was waited for on it fails.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::line::Line;
use super::{Endpoint, ServerVersion};

/// How often the server is asked.
const LOOK_EVERY: Duration = Duration::from_secs(8);
/// It is not asked about what takes no longer than this.
const QUIET_FOR: Duration = Duration::from_secs(2);
/// So many looks in a row must find nobody at work, and no short pause is taken for it.
const LOOKS: u32 = 4;
/// A look that takes longer tells nothing.
const LOOK_LIMIT: Duration = Duration::from_secs(8);

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
    last: Option<(Backend, u64)>,
    looks: u32,
}

impl Silence {
    /// Takes note of a look, and of a number that changes as long as bytes move. True when no answer will come any more.
    fn note(&mut self, found: Backend, moves: u64) -> bool {
        // A connection whose end we were told of would be closed by the second look.
        if found == Backend::Gone && matches!(self.last, Some((Backend::Gone, _))) {
            return true;
        }
        let now = (found, moves);
        if now.0 == Backend::Works {
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

/// Who is waited for, if anybody is: the process of the server, and a number that changes as long as bytes move.
type Waiting = Option<(i32, u64)>;

/// Ends when an answer is waited for on this connection, and none will come.
pub(super) fn given_up(endpoint: Endpoint, line: Arc<Line>) -> BoxFuture<'static, ()> {
    async move {
        let waiting = || line.waits().filter(|waits| waits.quiet >= QUIET_FOR).map(|waits| (waits.pid, waits.moves));
        until_silent(&endpoint, false, waiting).await;
    }
    .boxed()
}

/// Does work that a walsender has a part in which somebody else connected, the process `pid` of this instance; none if it was given up because
/// that one does not work on it any more. What a walsender does is told from version 14 on; before, whether it is there.
pub async fn attend_walsender<T>(endpoint: &Endpoint, pid: i32, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        result = work => Some(result),
        () = until_silent(endpoint, true, || Some((pid, 0))) => None,
    }
}

async fn until_silent(endpoint: &Endpoint, is_walsender: bool, waiting: impl Fn() -> Waiting) {
    let mut silence = Silence::default();
    // What a look takes does not put off the next one. After a standstill of our own there is still a pause between two looks.
    let mut looks = tokio::time::interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some((pid, moves)) = waiting() else {
            silence = Silence::default();
            continue;
        };
        match look(endpoint, pid, is_walsender).await {
            Ok(found) => {
                // What has moved meanwhile was not asked about.
                if waiting() == Some((pid, moves)) && silence.note(found, moves) {
                    return;
                }
            }
            // A server that does not answer now says nothing about the session.
            Err(error) => tracing::debug!(error, "can't look after a session"),
        }
    }
}

/// Asks an instance about other sessions of ours, over one that is opened for it: one such session at a time, and each for a short time.
pub async fn ask(
    endpoint: &Endpoint,
    database: &str,
    question: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<(Option<Row>, ServerVersion), String> {
    let asking = async {
        let _turn = endpoint.looks.lock().await;
        let observer = endpoint.connect(database).await.map_err(|error| error.to_string())?;
        let row = observer.query_opt(question, parameters).await.map_err(|error| super::retry::message(&error))?;
        Ok((row, observer.version()))
    };
    tokio::time::timeout(LOOK_LIMIT, asking).await.unwrap_or_else(|_| Err("no answer".to_owned()))
}

async fn look(endpoint: &Endpoint, pid: i32, is_walsender: bool) -> Result<Backend, String> {
    let question = include_str!("attend.sql");
    let (row, version) = ask(endpoint, &endpoint.instance.database, question, &[&pid, &endpoint.application_name]).await?;
    let Some(row) = row else { return Ok(Backend::Gone) };
    let is_told = !is_walsender || version.at_least(14);
    let waits = row.get::<_, Option<bool>>("waits") == Some(true);
    Ok(if is_told && waits { Backend::WaitsForUs(row.get("since")) } else { Backend::Works })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(since: &str) -> Backend {
        Backend::WaitsForUs(since.to_owned())
    }

    /// After how many looks of this kind the connection is given up, if it is within ten.
    fn given_up_after(look: impl Fn(u32) -> (Backend, u64)) -> Option<u32> {
        let mut silence = Silence::default();
        (1..=10).find(|n| {
            let (found, moves) = look(*n);
            silence.note(found, moves)
        })
    }

    #[test]
    fn a_session_that_its_server_does_not_know_is_given_up_at_the_second_look() {
        assert_eq!(given_up_after(|_| (Backend::Gone, 0)), Some(2));
    }

    #[test]
    fn a_server_that_waits_for_us_is_given_up_when_nothing_has_moved_for_four_looks() {
        assert_eq!(given_up_after(|_| (waits("1"), 7)), Some(4));
        assert_eq!(given_up_after(|n| (waits("1"), u64::from(n))), None, "bytes move");
        assert_eq!(given_up_after(|n| (waits(&n.to_string()), 7)), None, "one statement follows the other");
    }

    #[test]
    fn a_server_at_work_is_waited_for() {
        assert_eq!(given_up_after(|_| (Backend::Works, 7)), None);
        assert_eq!(given_up_after(|n| (if n == 3 { Backend::Works } else { waits("1") }, 7)), Some(7));
    }

    #[test]
    fn a_broken_connection_is_given_up_within_fifty_seconds() {
        assert!(QUIET_FOR + LOOK_EVERY * LOOKS + LOOK_LIMIT <= Duration::from_secs(50));
    }
}
