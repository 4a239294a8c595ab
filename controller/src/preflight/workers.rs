//! Room on the destination for apply workers, replication origins and sessions.

use tokio_postgres::{Client, Row};

use super::{DestinationNeeds, Error, instance_finding};
use crate::finding::{Code, Finding, Severity};

struct Room {
    max_workers: i64,
    other_workers: i64,
    max_processes: i64,
    other_processes: i64,
    max_origins: i64,
    other_origins: i64,
    max_connections: i64,
    connections: i64,
}

impl From<&Row> for Room {
    fn from(row: &Row) -> Self {
        Self {
            max_workers: row.get("max_workers"),
            other_workers: row.get("other_workers"),
            max_processes: row.get("max_processes"),
            other_processes: row.get("other_processes"),
            max_origins: row.get("max_origins"),
            other_origins: row.get("other_origins"),
            max_connections: row.get("max_connections"),
            connections: row.get("connections"),
        }
    }
}

pub(super) async fn check(client: &Client, needs: &DestinationNeeds) -> Result<Vec<Finding>, Error> {
    let row = client
        .query_one(include_str!("workers.sql"), &[&needs.own_subscriptions])
        .await
        .map_err(|source| Error { check: "workers and origins", source })?;
    Ok(judge(&Room::from(&row), needs))
}

fn judge(room: &Room, needs: &DestinationNeeds) -> Vec<Finding> {
    let mut findings = Vec::new();
    let streams = needs.streams as i64;
    let workers = room.other_workers + streams;
    let limits = [
        (
            Code::MaxLogicalReplicationWorkers,
            room.max_workers,
            workers,
            format!("{} for other subscriptions, {streams} for the streams", room.other_workers),
        ),
        (
            Code::MaxWorkerProcesses,
            room.max_processes,
            room.other_processes + workers,
            format!("{workers} apply workers, {} others", room.other_processes),
        ),
        (
            Code::MaxActiveReplicationOrigins,
            room.max_origins,
            room.other_origins + streams,
            format!("{} in use by others, {streams} for the streams", room.other_origins),
        ),
    ];
    for (code, limit, needed, what_for) in limits {
        if limit < needed {
            let parameter = code.as_str();
            findings.push(instance_finding(
                Severity::Error,
                code,
                format!("destination: {parameter}"),
                format!("{parameter} is {limit}; needed are {needed}: {what_for}"),
                format!("on the destination: ALTER SYSTEM SET {parameter} = {}; then restart it", needed + 2),
            ));
        }
    }
    let needed = room.connections + needs.connections as i64;
    if room.max_connections < needed {
        findings.push(instance_finding(
            Severity::Error,
            Code::MaxConnections,
            "destination: max_connections",
            format!(
                "the destination takes {} connections; needed are {needed}: {} in use by others, {} for the migration",
                room.max_connections, room.connections, needs.connections
            ),
            "raise max_connections on the destination and restart it, or lower copy_workers of the mapping",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn needs(streams: usize) -> DestinationNeeds {
        DestinationNeeds {
            streams,
            connections: 10,
            own_subscriptions: "^pg_migrator_erp_".to_owned(),
            databases: BTreeSet::new(),
            ours: BTreeSet::new(),
            control_database: String::new(),
        }
    }

    #[test]
    fn every_limit_is_looked_at() {
        let room = Room {
            max_workers: 4,
            other_workers: 1,
            max_processes: 8,
            other_processes: 1,
            max_origins: 10,
            other_origins: 0,
            max_connections: 97,
            connections: 5,
        };
        assert!(judge(&room, &needs(3)).is_empty());
        let codes: Vec<_> = judge(&room, &needs(20)).iter().map(|finding| finding.code).collect();
        assert_eq!(codes, ["max_logical_replication_workers", "max_worker_processes", "max_active_replication_origins"]);
        assert_eq!(judge(&Room { max_connections: 14, ..room }, &needs(1))[0].code, "max_connections");
    }
}
