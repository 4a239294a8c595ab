//! Whether both servers answer at all, with the role and the database that the configuration names.

use super::instance_finding;
use crate::finding::{Code, Finding, Severity};
use crate::postgres::{Endpoint, Session};

/// Connects to both; or says, for each that can't be reached, why.
pub async fn reach(source: &Endpoint, destination: &Endpoint) -> (Result<Session, Finding>, Result<Session, Finding>) {
    let (at_source, at_destination) =
        tokio::join!(source.connect(&source.instance.database), destination.connect(&destination.instance.database));
    (
        at_source.map_err(|error| finding("source", source, &error.to_string())),
        at_destination.map_err(|error| finding("destination", destination, &error.to_string())),
    )
}

fn finding(side: &str, endpoint: &Endpoint, reason: &str) -> Finding {
    let name = &endpoint.name;
    instance_finding(
        Severity::Error,
        Code::Unreachable,
        format!("{side} {name}"),
        reason,
        format!(
            "look at host, port, user, password and sslmode of [instances.{name}], at pg_hba.conf there, and whether the server runs"
        ),
    )
}
