//! Room on the source for slots, WAL senders and sessions, and a limit under which a slot may be lost.

use tokio_postgres::{Client, Row};

use super::{Error, SourceNeeds, instance_finding};
use crate::finding::{Code, Finding, Severity};

struct Room {
    max_slots: i64,
    slots: i64,
    own_slots: i64,
    max_senders: i64,
    senders: i64,
    own_senders: i64,
    max_connections: i64,
    connections: i64,
    max_slot_wal_keep_size: String,
}

impl From<&Row> for Room {
    fn from(row: &Row) -> Self {
        Self {
            max_slots: row.get("max_slots"),
            slots: row.get("slots"),
            own_slots: row.get("own_slots"),
            max_senders: row.get("max_senders"),
            senders: row.get("senders"),
            own_senders: row.get("own_senders"),
            max_connections: row.get("max_connections"),
            connections: row.get("connections"),
            max_slot_wal_keep_size: row.get("max_slot_wal_keep_size"),
        }
    }
}

pub(super) async fn check(client: &Client, needs: &SourceNeeds) -> Result<Vec<Finding>, Error> {
    let row = client
        .query_one(include_str!("replication_slots.sql"), &[&needs.own_slots])
        .await
        .map_err(|source| Error { check: "replication slots", source })?;
    Ok(judge(&Room::from(&row), needs))
}

fn judge(room: &Room, needs: &SourceNeeds) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (streams, passes) = (needs.streams as i64, needs.passes as i64);
    let limits = [
        (Code::MaxReplicationSlots, "replication slots", room.max_slots, room.slots - room.own_slots),
        (Code::MaxWalSenders, "WAL senders", room.max_senders, room.senders - room.own_senders),
    ];
    for (code, what, limit, others) in limits {
        let needed = others + streams + passes;
        if limit < needed {
            let parameter = code.as_str();
            findings.push(instance_finding(
                Severity::Error,
                code,
                format!("source: {parameter}"),
                format!(
                    "{parameter} is {limit}; needed are {needed}: {others} {what} in use by others, {streams} for the streams, \
                     {passes} while tables are copied"
                ),
                format!("on the source: ALTER SYSTEM SET {parameter} = {}; then restart it", needed + 2),
            ));
        }
    }
    let needed = room.connections + needs.connections as i64;
    if room.max_connections < needed {
        findings.push(instance_finding(
            Severity::Error,
            Code::MaxConnections,
            "source: max_connections",
            format!(
                "the source takes {} connections; needed are {needed}: {} in use by others, {} for the migration",
                room.max_connections, room.connections, needs.connections
            ),
            "raise max_connections on the source and restart it, or lower copy_workers of the mapping",
        ));
    }
    if room.max_slot_wal_keep_size != "-1" {
        findings.push(instance_finding(
            Severity::Warning,
            Code::MaxSlotWalKeepSize,
            "source: max_slot_wal_keep_size",
            format!(
                "the source keeps at most {} of WAL for a slot: one that falls further behind is lost, and its database has to be copied again",
                room.max_slot_wal_keep_size
            ),
            "for the time of the migration, if the disk allows: ALTER SYSTEM SET max_slot_wal_keep_size = -1; SELECT pg_reload_conf();",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn room() -> Room {
        Room {
            max_slots: 10,
            slots: 3,
            own_slots: 2,
            max_senders: 10,
            senders: 3,
            own_senders: 2,
            max_connections: 97,
            connections: 20,
            max_slot_wal_keep_size: "-1".to_owned(),
        }
    }

    fn needs(streams: usize, passes: usize) -> SourceNeeds {
        SourceNeeds { streams, passes, connections: 20, own_slots: "^pg_migrator_erp_".to_owned(), databases: BTreeSet::new() }
    }

    fn codes(room: &Room, needs: &SourceNeeds) -> Vec<&'static str> {
        judge(room, needs).iter().map(|finding| finding.code.as_str()).collect()
    }

    #[test]
    fn own_slots_are_not_needed_twice() {
        assert!(judge(&room(), &needs(5, 4)).is_empty());
        assert_eq!(codes(&room(), &needs(5, 5)), ["max_replication_slots", "max_wal_senders"]);
    }

    #[test]
    fn the_fix_leaves_some_room() {
        assert!(judge(&room(), &needs(6, 6))[0].fix.contains("max_replication_slots = 15"));
    }

    #[test]
    fn sessions_and_wal_limits_are_looked_at() {
        let tight = Room { max_connections: 39, max_slot_wal_keep_size: "1GB".to_owned(), ..room() };
        assert_eq!(codes(&tight, &needs(1, 1)), ["max_connections", "max_slot_wal_keep_size"]);
    }
}
