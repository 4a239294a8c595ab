//! Apply workers that hang while they connect. PostgreSQL gives them no time limit for that, so a connection that is half open at that moment
//! would keep the stream standing still for ever. A worker that runs without its slot being used for a while is ended; its server starts
//! another one.

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

#[cfg(test)]
mod tests {
    use super::*;

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
