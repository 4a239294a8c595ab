//! Whether both servers go on from where they were. A server that fails over to a standby which lagged behind, or is restored from an
//! earlier copy of its files, has lost the end of its history and writes another one. The stream does not notice: a destination that is
//! further back than the slot remembers is silently sent what comes after that, and a source that is further back than the destination
//! remembers is silently read from there on. Either way changes are missing.
//!
//! What tells: the source's system identifier and both servers' timelines, which are kept in the ledger; positions that went back, seen
//! by a controller that runs; and a destination that has applied what the source has not written. A server that is put back to a copy of its
//! files without another timeline, while no controller runs, is found by the last of these alone.

use serde_json::{Value, json};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::carried::Place;
use crate::ledger::{self, Kind};
use crate::postgres::Lsn;
use crate::stream::Names;

/// A server that crashed may have flushed a part of a record that it then discards: to be so much further back says nothing.
const PART_OF_A_RECORD: u64 = 1024 * 1024;

/// Where both servers were at a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    source: Server,
    destination: Server,
    /// By subscription: up to where it has applied, and whether that is on disk.
    applied: Vec<(u32, Lsn, bool)>,
    /// The furthest that a slot has been told: what comes before is never sent again.
    confirmed: Lsn,
    /// Whether a failover of the source can't leave it behind the destination: its slots are synchronized, and WAL is not sent before the
    /// standbys have it.
    failover_is_safe: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    system: String,
    timeline: i32,
    flushed: Lsn,
}

/// Why the changes between two looks may not all have been carried.
fn fork(before: &Seen, now: &Seen) -> Option<String> {
    let timeline = |side: &str, before: &Server, now: &Server| {
        format!("the {side} is on timeline {} and was on {}: it was restored, or failed over", now.timeline, before.timeline)
    };
    let back = |before: Lsn, now: Lsn| now.0 + PART_OF_A_RECORD < before.0;
    if before.source.system != now.source.system {
        return Some("the source is another server than before, by its system identifier".to_owned());
    }
    if before.source.timeline != now.source.timeline && !before.failover_is_safe {
        return Some(timeline("source", &before.source, &now.source));
    }
    if before.destination.timeline != now.destination.timeline {
        return Some(timeline("destination", &before.destination, &now.destination));
    }
    if before.source.timeline == now.source.timeline && back(before.source.flushed, now.source.flushed) {
        return Some(format!("the source had written up to {}, and is back at {}", before.source.flushed, now.source.flushed));
    }
    if back(before.destination.flushed, now.destination.flushed) {
        let (before, now) = (before.destination.flushed, now.destination.flushed);
        return Some(format!("the destination had written up to {before}, and is back at {now}"));
    }
    let is_back = |&&(subscription, then, kept): &&(u32, Lsn, bool)| {
        kept && now.applied.iter().any(|(other, now, _)| *other == subscription && *now < then)
    };
    if let Some((_, applied, _)) = before.applied.iter().find(is_back) {
        return Some(format!("the destination had applied everything up to {applied}, and knows nothing of it any more"));
    }
    None
}

/// What a single look tells.
fn ahead(now: &Seen) -> Option<String> {
    let applied = now.applied.iter().map(|(_, applied, _)| *applied).chain([now.confirmed]).max()?;
    let written = now.source.flushed;
    (applied > written).then(|| {
        format!("the destination has applied everything up to {applied}, and the source has written no further than {written}")
    })
}

const SERVER: &str = "
    SELECT (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS system,
           ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))::bit(32)::integer AS timeline,
           pg_catalog.pg_current_wal_flush_lsn() AS flushed,
           pg_catalog.current_setting('synchronized_standby_slots', true) AS synchronized";
const APPLIED: &str = "
    SELECT s.oid, COALESCE(o.remote_lsn, '0/0') AS applied,
           COALESCE(o.local_lsn, '0/0') <= pg_catalog.pg_current_wal_flush_lsn() AS kept
    FROM pg_catalog.pg_subscription s
    LEFT JOIN pg_catalog.pg_replication_origin_status o ON o.external_id = 'pg_' || s.oid
    WHERE s.oid = ANY ($1)";
const SLOTS: &str = "
    SELECT COALESCE(bool_and((pg_catalog.to_jsonb(s) ->> 'failover')::boolean), false) AS failover,
           -- max(pg_lsn) is there since 13.
           COALESCE((array_agg(s.confirmed_flush_lsn ORDER BY s.confirmed_flush_lsn DESC NULLS LAST))[1], '0/0') AS confirmed
    FROM pg_catalog.pg_replication_slots s
    WHERE s.slot_name::text = ANY ($1)";

async fn see(
    source: &Client,
    destination: &Client,
    names: &[Names],
    subscriptions: &[u32],
) -> Result<Seen, tokio_postgres::Error> {
    let slots: Vec<&str> = names.iter().map(|names| names.slot.as_str()).collect();
    let slots: [&(dyn ToSql + Sync); 1] = [&slots];
    let subscriptions: [&(dyn ToSql + Sync); 1] = [&subscriptions];
    // What has been applied and confirmed by then, the source has written by the time that it is asked.
    let (applied, slots) = tokio::try_join!(destination.query(APPLIED, &subscriptions), source.query_one(SLOTS, &slots))?;
    let (ours, theirs) = tokio::try_join!(source.query_one(SERVER, &[]), destination.query_one(SERVER, &[]))?;
    let server = |row: &tokio_postgres::Row| Server {
        system: row.get("system"),
        timeline: row.get("timeline"),
        flushed: row.get("flushed"),
    };
    let synchronized = ours.get::<_, Option<&str>>("synchronized").is_some_and(|slots| !slots.is_empty());
    Ok(Seen {
        source: server(&ours),
        destination: server(&theirs),
        applied: applied.iter().map(|row| (row.get("oid"), row.get("applied"), row.get("kept"))).collect(),
        confirmed: slots.get("confirmed"),
        failover_is_safe: synchronized && slots.get::<_, bool>("failover"),
    })
}

/// What the ledger keeps of a look.
const HISTORY: &str = "history";

impl Seen {
    /// Whether the destination has applied what the source has not written: what the source writes up to there will not be carried.
    pub fn is_ahead(&self) -> bool {
        ahead(self).is_some()
    }

    fn kept(&self) -> Value {
        json!({
            "source_system": self.source.system,
            "source_timeline": self.source.timeline,
            "destination_timeline": self.destination.timeline,
            "failover_is_safe": self.failover_is_safe,
        })
    }

    /// As [`kept`](Self::kept) has it, and nowhere.
    fn of(kept: &Value) -> Option<Self> {
        let timeline = |key: &str| kept.get(key)?.as_i64()?.try_into().ok();
        let system = kept.get("source_system")?.as_str()?.to_owned();
        let server = |timeline, system| Server { system, timeline, flushed: Lsn::default() };
        Some(Self {
            source: server(timeline("source_timeline")?, system),
            destination: server(timeline("destination_timeline")?, String::new()),
            applied: Vec::new(),
            confirmed: Lsn::default(),
            failover_is_safe: kept.get("failover_is_safe")?.as_bool()?,
        })
    }
}

/// Why a look came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A server did not answer as it should.
    #[error("looking at where both servers are: {}", crate::postgres::retry::message(.0))]
    Statement(#[from] tokio_postgres::Error),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
}

/// Looks at both servers of a database whose streams have been subscribed; `before` is what this process has seen the last time. Where
/// a history has forked, all tables of the database are in doubt from then on, and it is said why.
pub async fn look(
    place: &Place<'_>,
    source: &Client,
    destination: &Client,
    names: &[Names],
    subscriptions: &[u32],
    before: Option<&Seen>,
) -> Result<(Seen, Option<String>), Error> {
    let now = see(source, destination, names, subscriptions).await?;
    let known = before.map(Seen::kept);
    if known.as_ref() == Some(&now.kept()) && fork_of(before, &now).is_none() {
        return Ok((now, None));
    }
    let effects = ledger::in_force_of(place.control, place.mapping, &[Kind::Subscription]).await?;
    let mine =
        |e: &&ledger::SideEffect| e.database == place.database && names.first().is_some_and(|n| n.subscription() == e.object);
    let Some(effect) = effects.iter().find(mine) else { return Ok((now, None)) };
    let kept = effect.detail.get(HISTORY).and_then(Seen::of);
    let forked = fork_of(before.or(kept.as_ref()), &now);
    if forked.is_some() {
        // First, so that a controller that is killed in between finds it once more.
        place.forked().await?;
    }
    if effect.detail.get(HISTORY) != Some(&now.kept()) {
        ledger::amend(place.control, effect.id, &json!({ HISTORY: now.kept() })).await?;
    }
    Ok((now, forked))
}

fn fork_of(before: Option<&Seen>, now: &Seen) -> Option<String> {
    // One that was ahead is so until the source has caught up: that is told once.
    let was_ahead = before.is_some_and(Seen::is_ahead);
    before.and_then(|before| fork(before, now)).or_else(|| ahead(now).filter(|_| !was_ahead))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        let server = |flushed| Server { system: "7".into(), timeline: 1, flushed: Lsn(flushed) };
        Seen {
            source: server(50_000_000),
            destination: server(90_000_000),
            applied: vec![(5, Lsn(40_000_000), true)],
            confirmed: Lsn(45_000_000),
            failover_is_safe: false,
        }
    }

    fn told(change: impl FnOnce(&mut Seen)) -> Option<String> {
        let mut now = seen();
        change(&mut now);
        fork_of(Some(&seen()), &now)
    }

    #[test]
    fn servers_that_go_on_have_not_forked() {
        assert_eq!(told(|_| ()), None);
        assert_eq!(
            told(|s| (s.source.flushed, s.destination.flushed, s.applied[0].1) =
                (Lsn(60_000_000), Lsn(99_000_000), Lsn(55_000_000))),
            None
        );
        assert_eq!(told(|s| s.destination.flushed = Lsn(89_999_000)), None, "a part of a record, discarded after a crash");
    }

    #[test]
    fn whatever_went_back_or_branched_off_is_told() {
        assert!(told(|s| s.source.system = "8".into()).is_some_and(|t| t.contains("another server")));
        assert!(told(|s| s.source.timeline = 2).is_some_and(|t| t.contains("the source is on timeline 2")));
        assert!(told(|s| s.destination.timeline = 2).is_some_and(|t| t.contains("the destination is on timeline 2")));
        assert!(told(|s| s.source.flushed = Lsn(48_000_000)).is_some_and(|t| t.contains("the source had written")));
        assert!(told(|s| s.destination.flushed = Lsn(48_000_000)).is_some_and(|t| t.contains("the destination had written")));
        assert!(told(|s| s.applied[0].1 = Lsn(39_000_000)).is_some_and(|t| t.contains("knows nothing of it")));
        let now = Seen { applied: vec![(5, Lsn(51_000_000), true)], ..seen() };
        assert!(fork_of(Some(&seen()), &now).is_some_and(|t| t.contains("the source has written no further")));
        assert!(Seen { confirmed: Lsn(51_000_000), ..seen() }.is_ahead(), "nothing before that is sent");
        assert!(now.is_ahead() && fork_of(Some(&now), &now).is_none(), "once");
    }

    #[test]
    fn what_was_applied_and_was_not_on_disk_may_be_lost_in_a_crash_and_comes_again() {
        let mut before = seen();
        before.applied[0].2 = false;
        let now = Seen { applied: vec![(5, Lsn(39_000_000), true)], ..seen() };
        assert_eq!(fork_of(Some(&before), &now), None);
    }

    #[test]
    fn a_failover_to_a_standby_that_had_everything_is_none() {
        let before = Seen { failover_is_safe: true, ..seen() };
        let mut now = before.clone();
        now.source.timeline = 2;
        assert_eq!(fork_of(Some(&before), &now), None);
    }

    #[test]
    fn the_ledger_keeps_what_outlives_a_controller() {
        let kept = Seen::of(&seen().kept());
        assert_eq!(fork_of(kept.as_ref(), &seen()), None);
        let mut now = seen();
        now.destination.timeline = 2;
        assert!(fork_of(kept.as_ref(), &now).is_some());
        assert_eq!(fork_of(None, &seen()), None);
    }
}
