//! A copy that stands still is said to, with what its sessions wait for: a lock that somebody holds, a disk, the network. So is who holds
//! the locks that a look at the source has waited for in vain.

use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;

use super::Context;
use crate::monitor::board::{DatabaseView, TableStage};
use crate::postgres::Endpoint;
use crate::postgres::attend::ask;
use crate::stream::publication;

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Nothing has moved for so long: then it is said.
const STILL_FOR: Duration = Duration::from_secs(9);

/// What our sessions that work on something wait for, and for whom; in a few words each.
const WAITS: &str = include_str!("waits.sql");

/// Who holds locks on tables of this database: those that keep others from reading a catalog entry or publishing a table (an ALTER TABLE, a
/// VACUUM FULL, an index being built), and any lock on the tables `schema.table` of the second parameter.
const LOCKERS: &str = "
    SELECT string_agg(format('%s (%s): %s', l.relation::pg_catalog.regclass, l.mode,
                             COALESCE('pid ' || a.pid || ' of ' || a.usename || ', in a transaction for '
                                      || pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() - a.xact_start) || ': '
                                      || pg_catalog.left(a.query, 80),
                                      'a prepared transaction')), '; ' ORDER BY a.xact_start NULLS FIRST, l.relation)
    FROM pg_catalog.pg_locks l
    JOIN pg_catalog.pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p', 'm') AND c.oid >= 16384
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'relation' AND l.granted
      AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
      AND (l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
           OR n.nspname || '.' || c.relname = ANY ($2))
      AND a.application_name IS DISTINCT FROM $1";

/// Whether an error comes down to a lock that was not to be had in time.
fn is_lock_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<tokio_postgres::Error>() {
            return error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE);
        }
        cause = error.source();
    }
    false
}

/// In words, for whom a look at the source has waited in vain; none if it was not that, or nobody holds a lock any more.
pub(crate) async fn lockers(
    context: &Context,
    database: &str,
    error: &(dyn std::error::Error + Send + Sync + 'static),
) -> Option<String> {
    let tables: &[String] = match error.downcast_ref() {
        Some(super::database::Error::Publication(publication::Error::Locked { tables })) => tables,
        _ if is_lock_timeout(error) => &[],
        _ => return None,
    };
    match ask(&context.source, database, LOCKERS, &[&context.source.application_name, &tables]).await {
        Ok((row, _)) => row?.get::<_, Option<String>>(0).map(|lockers| format!("locks on the source: {lockers}")),
        Err(error) => Some(format!("locks on the source; who holds them is not known: {error}")),
    }
}

/// The same of work that fails; `locked` makes of it what is told.
pub(crate) async fn naming_lockers<T, E: std::error::Error + Send + Sync + 'static>(
    context: &Context,
    database: &str,
    locked: impl FnOnce(String) -> E,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match work.await {
        Err(error) => Err(match lockers(context, database, &error).await {
            Some(by) => locked(by),
            None => error,
        }),
        done => done,
    }
}

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

/// Says, for as long as it is driven, what a copy that stands still waits for. `standby`: where it may read instead of at the source.
pub(super) async fn tell(context: &Context, database: &str, standby: Option<&Endpoint>) {
    let mut still = Still { mark: (0, 0), since: Instant::now() };
    let mut told = false;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = context.board.database(database, mark);
        if let Some(duration) = still.note(Instant::now(), now) {
            let endpoints = std::iter::once(&context.source).chain(standby).chain([&context.destination]);
            let waits = futures_util::future::join_all(endpoints.map(|endpoint| waits(endpoint, database))).await;
            let seconds = duration.as_secs();
            // Seconds in whole tens: what changes at every look would fill the log.
            let text = format!("rows, for more than {} s; {}", seconds / 10 * 10, waits.join("; "));
            context.board.set_waiting(database, Some(text));
            told = true;
        } else if told {
            context.board.set_waiting(database, None);
            told = false;
        }
    }
}

async fn waits(endpoint: &Endpoint, database: &str) -> String {
    let asked = ask(endpoint, &endpoint.instance.database, WAITS, &[&endpoint.application_name, &database]).await;
    match asked.map(|(row, _)| row.and_then(|row| row.get::<_, Option<String>>(0))) {
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
