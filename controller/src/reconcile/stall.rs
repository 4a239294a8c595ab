//! A copy that stands still is said to, with what its sessions wait for: a lock that somebody holds, a disk, the network.

use std::time::{Duration, Instant};

use super::Context;
use crate::monitor::board::{DatabaseView, TableStage};
use crate::postgres::{Endpoint, retry};

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Nothing has moved for so long: then it is said.
const STILL_FOR: Duration = Duration::from_secs(9);

/// What our sessions that work on something wait for, and for whom; in a few words each.
const WAITS: &str = include_str!("waits.sql");

/// How far a copy has come: bytes moved by tables under way, and how many tables are under way.
type Mark = (u64, usize);

/// Since when a copy has stood still.
#[derive(Debug)]
struct Still {
    mark: Mark,
    since: Instant,
}

impl Still {
    /// Takes note of how far it is; gives for how long it has stood still, if that is worth saying.
    fn note(&mut self, now: Instant, mark: Mark) -> Option<Duration> {
        if mark != self.mark {
            *self = Self { mark, since: now };
        }
        let still = now.duration_since(self.since);
        (still >= STILL_FOR && mark.1 > 0).then_some(still)
    }
}

fn mark(view: &mut DatabaseView) -> Mark {
    let under_way = view.tables.values().filter_map(|table| match &table.stage {
        TableStage::Copying(progress) => Some(progress.bytes.load(std::sync::atomic::Ordering::Relaxed)),
        _ => None,
    });
    under_way.fold((0, 0), |(bytes, tables), more| (bytes + more, tables + 1))
}

/// Says, for as long as it is driven, what a copy that stands still waits for.
pub(super) async fn tell(context: &Context, database: &str) {
    let mut still = Still { mark: (0, 0), since: Instant::now() };
    let mut told = false;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = context.board.database(database, mark);
        if let Some(duration) = still.note(Instant::now(), now) {
            let (source, destination) = tokio::join!(waits(&context.source, database), waits(&context.destination, database));
            let seconds = duration.as_secs();
            // Seconds in whole tens: what changes at every look would fill the log.
            let text = format!("rows, for more than {} s; {source}; {destination}", seconds / 10 * 10);
            context.board.set_waiting(database, Some(text));
            told = true;
        } else if told {
            context.board.set_waiting(database, None);
            told = false;
        }
    }
}

async fn waits(endpoint: &Endpoint, database: &str) -> String {
    let asking = async {
        let session = endpoint.connect(&endpoint.instance.database).await.map_err(|error| error.to_string())?;
        let row = session.query_one(WAITS, &[&endpoint.application_name, &database]).await;
        row.map(|row| row.get::<_, Option<String>>(0)).map_err(|error| retry::message(&error))
    };
    match asking.await {
        Ok(Some(waits)) => format!("{}: {waits}", endpoint.name),
        Ok(None) => format!("{}: no session of ours waits for anything there", endpoint.name),
        Err(error) => format!("{}: {error}", endpoint.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_moved_for_a_while_is_still_and_what_moves_is_not() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut still = Still { mark: (0, 0), since: start };
        assert_eq!(still.note(at(20), (0, 0)), None, "nothing is under way");
        assert_eq!(still.note(at(21), (0, 1)), None);
        assert_eq!(still.note(at(29), (0, 1)), None);
        assert_eq!(still.note(at(30), (0, 1)), Some(Duration::from_secs(9)));
        assert_eq!(still.note(at(33), (5, 1)), None, "it moves again");
    }
}
