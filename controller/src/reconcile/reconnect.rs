//! Apply workers whose connection is broken without their knowing, for something on the way keeps their end open.
//!
//! To one that hangs while it connects PostgreSQL gives no time limit, and the stream would stand still for ever. A worker that runs without its
//! slot being used for a while is ended; its server starts another one. One that has been connected is ended by `wal_receiver_timeout`, a minute
//! unless set otherwise, and its successor can't begin before the walsender has been ended by `wal_sender_timeout`. Sooner than that it is told
//! by what both say: the one has sent all there is, the other waits for a message, and a marker has not come through. Then both are ended.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

/// A worker that connects needs a moment; one that has heard nothing at all since it was started, in this time, hangs.
const HEARD_WITHIN: Duration = Duration::from_secs(20);
/// One that did hear something has this time to notice that its connection is gone.
const CONNECTED_WITHIN: Duration = Duration::from_secs(40);

/// Since when streams have been without a connection, by their subscriptions' OIDs.
#[derive(Debug, Default)]
pub(super) struct Unconnected {
    since: HashMap<u32, Instant>,
}

impl Unconnected {
    /// Takes note of each stream: its subscription, and whether its slot is in use. Gives those whose workers are to be ended.
    fn note(&mut self, now: Instant, streams: impl Iterator<Item = (u32, bool)>) -> Vec<u32> {
        let mut stuck = Vec::new();
        for (subscription, is_active) in streams {
            if is_active {
                self.since.remove(&subscription);
                continue;
            }
            let since = *self.since.entry(subscription).or_insert(now);
            if now.duration_since(since) >= CONNECTED_WITHIN {
                // The next worker has as long.
                self.since.insert(subscription, now);
                stuck.push(subscription);
            }
        }
        stuck
    }

    /// Ends the workers of streams that have been without a connection for too long. The source is known to answer.
    pub(super) async fn end_stuck(
        &mut self,
        destination: &Client,
        streams: impl Iterator<Item = (u32, bool)>,
    ) -> Result<(), tokio_postgres::Error> {
        let streams: Vec<(u32, bool)> = streams.collect();
        let stuck = self.note(Instant::now(), streams.iter().copied());
        let without: Vec<u32> =
            streams.iter().filter(|(_, is_active)| !is_active).map(|(subscription, _)| *subscription).collect();
        if without.is_empty() {
            return Ok(());
        }
        let ended = destination
            .execute(
                "SELECT pg_catalog.pg_terminate_backend(w.pid)
                 FROM pg_catalog.pg_stat_subscription w JOIN pg_catalog.pg_stat_activity a ON a.pid = w.pid
                 WHERE w.relid IS NULL
                   AND (w.subid = ANY ($1)
                        OR w.subid = ANY ($2) AND COALESCE(w.last_msg_receipt_time, '-infinity') = '-infinity'
                           AND a.backend_start < pg_catalog.clock_timestamp() - $3::float8 * interval '1 second')",
                &[&stuck, &without, &HEARD_WITHIN.as_secs_f64()],
            )
            .await?;
        if ended > 0 {
            tracing::warn!(workers = ended, "ended apply workers that hung while they connected");
        }
        Ok(())
    }
}

/// A marker that has not come through for so long is worth a look.
const BEHIND_FOR: Duration = Duration::from_secs(20);
/// A worker that has had no message for so long, while the walsender has nothing left to send, …
const DEAF_FOR: Duration = Duration::from_secs(30);
/// … and stays so for this time does not hear it.
const STAYS_DEAF_FOR: Duration = Duration::from_secs(5);

/// Since when workers have not heard what was sent to them, by their process ids.
#[derive(Debug, Default)]
pub(super) struct Deaf {
    since: HashMap<i32, Instant>,
}

impl Deaf {
    /// Takes note of the workers that seem deaf; gives those that have long enough.
    fn note(&mut self, now: Instant, seem: &[i32]) -> Vec<i32> {
        self.since.retain(|worker, _| seem.contains(worker));
        let is_deaf = |worker: &i32| now.duration_since(*self.since.entry(*worker).or_insert(now)) >= STAYS_DEAF_FOR;
        let deaf: Vec<i32> = seem.iter().copied().filter(is_deaf).collect();
        // Until it has ended, which a worker that stands still can't.
        self.since.retain(|worker, _| !deaf.contains(worker));
        deaf
    }

    /// Ends workers that do not hear what their walsenders have sent, and these. `streams`: subscriptions and the names of their slots;
    /// `behind_for`: how long ago the marker was emitted that has not come through.
    pub(super) async fn end<'a>(
        &mut self,
        source: &Client,
        destination: &Client,
        streams: impl Iterator<Item = (u32, &'a str)>,
        behind_for: Duration,
    ) -> Result<(), tokio_postgres::Error> {
        let mut pairs: Vec<(i32, i32)> = Vec::new();
        if behind_for >= BEHIND_FOR {
            let (subscriptions, slots): (Vec<u32>, Vec<&str>) = streams.unzip();
            let workers = destination.query(include_str!("deaf_workers.sql"), &[&subscriptions, &DEAF_FOR.as_secs_f64()]).await?;
            if !workers.is_empty() {
                let senders = source.query(include_str!("idle_walsenders.sql"), &[&slots]).await?;
                let sender = |subscription: u32| {
                    let slot = slots[subscriptions.iter().position(|s| *s == subscription)?];
                    senders.iter().find(|row| row.get::<_, &str>("slot_name") == slot).map(|row| row.get::<_, i32>("pid"))
                };
                pairs = workers.iter().filter_map(|row| Some((row.get("pid"), sender(row.get("subid"))?))).collect();
            }
        }
        let seem: Vec<i32> = pairs.iter().map(|(worker, _)| *worker).collect();
        let deaf = self.note(Instant::now(), &seem);
        let end = "SELECT pg_catalog.pg_terminate_backend($1)";
        for (worker, sender) in pairs.into_iter().filter(|(worker, _)| deaf.contains(worker)) {
            tracing::warn!(
                worker,
                sender,
                "ending an apply worker that does not hear what the source has sent, and its walsender"
            );
            source.execute(end, &[&sender]).await?;
            destination.execute(end, &[&worker]).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_deaf_when_it_seems_so_for_a_while_without_a_break() {
        let mut deaf = Deaf::default();
        let start = Instant::now();
        let mut note = |seconds, seem: &[i32]| deaf.note(start + Duration::from_secs(seconds), seem);
        assert!(note(0, &[7, 8]).is_empty());
        assert!(note(4, &[8]).is_empty());
        assert!(note(5, &[7]).is_empty(), "counted anew since it heard something");
        assert_eq!(note(10, &[7, 8]), [7]);
        assert!(note(11, &[7, 8]).is_empty(), "it is being ended");
        assert_eq!(note(16, &[7, 8]), [7, 8]);
    }

    #[test]
    fn a_deaf_worker_is_ended_within_a_minute_and_in_time_for_another_one() {
        assert!(DEAF_FOR.max(BEHIND_FOR) + STAYS_DEAF_FOR <= Duration::from_secs(45));
    }

    #[test]
    fn a_stream_is_stuck_when_its_slot_has_been_idle_for_long_without_a_break() {
        let mut unconnected = Unconnected::default();
        let start = Instant::now();
        let mut note =
            |seconds, active| unconnected.note(start + Duration::from_secs(seconds), [(7, active), (8, true)].into_iter());
        assert!(note(0, false).is_empty());
        assert!(note(39, false).is_empty());
        assert!(note(39, true).is_empty());
        assert!(note(50, false).is_empty(), "counted anew since it was connected");
        assert_eq!(note(90, false), [7]);
        assert!(note(91, false).is_empty(), "its successor has as long");
        assert_eq!(note(130, false), [7]);
    }
}
