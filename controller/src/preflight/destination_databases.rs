//! Databases that are on the destination already and are not ours: nothing is ever written into them.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use super::{DestinationNeeds, Error, database_finding};
use crate::finding::{Code, Finding, Severity};
use crate::postgres::quote;

pub(super) async fn check(client: &Client, needs: &DestinationNeeds) -> Result<Vec<Finding>, Error> {
    let rows = client
        .query("SELECT d.datname::text AS name FROM pg_catalog.pg_database d", &[])
        .await
        .map_err(|source| Error { check: "the destination's databases", source })?;
    let existing: BTreeSet<String> = rows.iter().map(|row| row.get("name")).collect();
    Ok(judge(&existing, needs))
}

fn judge(existing: &BTreeSet<String>, needs: &DestinationNeeds) -> Vec<Finding> {
    let taken =
        needs.databases.intersection(existing).filter(|name| !needs.ours.contains(*name) && **name != needs.control_database);
    let mut findings: Vec<Finding> = taken.map(|name| database_exists(name)).collect();
    if needs.databases.contains(&needs.control_database) {
        findings.push(control_database(&needs.control_database));
    }
    findings
}

/// The finding about a database whose name is taken on the destination.
pub fn database_exists(name: &str) -> Finding {
    let by_hand = if name == "postgres" {
        "; every instance has this one: what somebody has put into the source's can be brought over by hand, with pg_dump and psql"
    } else {
        ""
    };
    database_finding(
        Severity::Error,
        name,
        Code::DatabaseExists,
        format!("destination: database {}", quote::ident(name)),
        "the destination has a database of this name that pg-migrator did not make for this mapping; it is left alone",
        format!(
            "exclude it (databases.exclude of the mapping), or on the destination rename it: ALTER DATABASE {} RENAME TO …;{by_hand}",
            quote::ident(name)
        ),
    )
}

/// The finding about a database of the source that has the control database's name.
fn control_database(name: &str) -> Finding {
    database_finding(
        Severity::Error,
        name,
        Code::ReservedName,
        format!("source: database {}", quote::ident(name)),
        "this is the name of pg-migrator's control database on the destination",
        "set control_database to another name, or exclude the database: databases.exclude of the mapping",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_databases_that_are_not_ours_are_in_the_way() {
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
        let needs = DestinationNeeds {
            streams: 1,
            connections: 1,
            own_subscriptions: String::new(),
            databases: set(&["shop", "crm", "new"]),
            ours: set(&["shop"]),
            control_database: "migrator".to_owned(),
        };
        let findings = judge(&set(&["shop", "crm", "postgres"]), &needs);
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].code.as_str(), findings[0].database.as_str()), ("database_exists", "crm"));
    }

    #[test]
    fn the_control_database_is_nobody_elses() {
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
        let needs = DestinationNeeds {
            streams: 1,
            connections: 1,
            own_subscriptions: String::new(),
            databases: set(&["migrator"]),
            ours: set(&[]),
            control_database: "migrator".to_owned(),
        };
        for existing in [set(&[]), set(&["migrator"])] {
            let codes: Vec<&str> = judge(&existing, &needs).iter().map(|f| f.code.as_str()).collect();
            assert_eq!(codes, ["reserved_name"]);
        }
    }
}
