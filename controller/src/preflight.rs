//! stand-in until the checks arrive
use crate::finding::{Finding, Severity};
use crate::postgres::{Endpoint, Session};
/// e
pub type Error = tokio_postgres::Error;
/// n
#[allow(missing_docs)]
pub struct Needs { pub databases: usize, pub databases_to_begin: usize, pub databases_at_once: usize }
/// r
pub async fn reach(source: &Endpoint, destination: &Endpoint) -> Vec<Finding> {
    let mut findings = Vec::new();
    for endpoint in [source, destination] {
        if let Err(error) = endpoint.connect(&endpoint.instance.database).await {
            findings.push(Finding { severity: Severity::Error, database: String::new(), code: "unreachable", object: format!("instance {}", endpoint.name), reason: error.to_string(), fix: String::new(), statement: None });
        }
    }
    findings
}
/// s
pub async fn source(_: &Session, _: &str, _: &Needs) -> Result<Vec<Finding>, Error> { Ok(vec![]) }
/// d
pub async fn destination(_: &Session, _: &str, _: &Needs) -> Result<Vec<Finding>, Error> { Ok(vec![]) }
/// d
pub async fn database(_: &Session, _: &Session, _: &str) -> Result<Vec<Finding>, Error> { Ok(vec![]) }
