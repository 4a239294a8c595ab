//! Whether both servers answer at all, with the role and the database that the configuration names.

use super::instance_finding;
use crate::finding::{Finding, Severity};
use crate::postgres::{Endpoint, Session};

/// Connects to both; or says, for each that can't be reached, why.
pub async fn reach(source: &Endpoint, destination: &Endpoint) -> Result<(Session, Session), Vec<Finding>> {
    let (at_source, at_destination) =
        tokio::join!(source.connect(&source.instance.database), destination.connect(&destination.instance.database));
    match (at_source, at_destination) {
        (Ok(at_source), Ok(at_destination)) => Ok((at_source, at_destination)),
        (at_source, at_destination) => {
            let failed = [("source", source, at_source.err()), ("destination", destination, at_destination.err())];
            Err(failed
                .into_iter()
                .filter_map(|(side, endpoint, error)| Some(finding(side, endpoint, &error?.to_string())))
                .collect())
        }
    }
}

fn finding(side: &str, endpoint: &Endpoint, reason: &str) -> Finding {
    let name = &endpoint.name;
    instance_finding(
        Severity::Error,
        "unreachable",
        format!("{side} {name}"),
        reason,
        format!(
            "look at host, port, user, password and sslmode of [instances.{name}], at pg_hba.conf there, and whether the server runs"
        ),
    )
}
