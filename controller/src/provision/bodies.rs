//! What bodies of functions name. They are text that nobody reads before the function is called, so one that uses what version 18 lacks
//! is made without a word. Here the server is asked, by the function with which its language judges a new body, and what both
//! servers refuse is left alone: it is as broken as before.

use std::collections::HashSet;

use futures_util::future::join_all;
use tokio_postgres::error::SqlState;

use super::Setting;
use crate::finding::{Code, Finding, Severity};
use crate::postgres::{self, Endpoint, Session, quote, retry};

/// Why the bodies could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source can't be reached.
    #[error(transparent)]
    Connect(#[from] postgres::connect::Error),
    /// A server did not answer.
    #[error("judging the bodies of functions on the {side}: {}", retry::message(.source))]
    Session {
        /// Which server.
        side: &'static str,
        /// What it said.
        #[source]
        source: tokio_postgres::Error,
    },
}

/// What `search_path` is where nobody set it: the server's own default.
const SEARCH_PATH: &str = "\"$user\", public";
/// So many questions are on their way at the same time.
const TOGETHER: usize = 200;

/// A function, and how its body is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Body {
    oid: u32,
    /// With its arguments.
    name: String,
    schema: String,
    /// Qualified and quoted.
    validator: String,
    /// Its own `search_path`, in the catalog's form.
    search_path: Option<String>,
}

impl Body {
    /// Judges the body in a transaction of its own. What its callers' `search_path` will be is not known; most likely it is the
    /// database's, or has the function's own schema in it.
    fn question(&self, search_path: &str) -> String {
        let path = match &self.search_path {
            Some(own) => own.clone(),
            None => [search_path, &quote::ident(&self.schema)]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join(", "),
        };
        format!(
            "SELECT pg_catalog.set_config('check_function_bodies', 'on', true), pg_catalog.set_config('search_path', {}, true); \
             SELECT {}({}::pg_catalog.oid)",
            quote::literal(&path),
            self.validator,
            self.oid
        )
    }
}

/// Judges the functions of the database that `built` is connected to, which has the schema of the source's database `name`, and tells of
/// those that only this server refuses.
pub(super) async fn findings(
    source: &Endpoint,
    built: &Session,
    name: &str,
    settings: &[Setting],
) -> Result<Vec<Finding>, Error> {
    let failed = |side| move |source| Error::Session { side, source };
    let path =
        settings.iter().find(|setting| setting.name == "search_path").map_or(SEARCH_PATH, |setting| setting.value.as_str());
    let bodies = read(built, None).await.map_err(failed("destination"))?;
    let refused = refused(built, &bodies, path).await.map_err(failed("destination"))?;
    if refused.is_empty() {
        return Ok(Vec::new());
    }
    let session = source.connect(name).await?;
    let read_only = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY";
    session.batch_execute(read_only).await.map_err(failed("source"))?;
    let names: Vec<&str> = refused.iter().map(|(body, _)| body.name.as_str()).collect();
    let bodies = read(&session, Some(&names)).await.map_err(failed("source"))?;
    let refused_there = self::refused(&session, &bodies, path).await.map_err(failed("source"))?;
    Ok(judge(&refused, &refused_there, name))
}

/// What is told when the servers could not be asked.
pub(super) fn not_judged(database: &str, error: &Error) -> Finding {
    Finding {
        severity: Severity::Error,
        database: database.to_owned(),
        code: Code::CheckFailed,
        object: "bodies of functions".to_owned(),
        reason: error.to_string(),
        fix: "mend what the message names, and check again".to_owned(),
        statement: None,
    }
}

async fn read(session: &Session, names: Option<&[&str]>) -> Result<Vec<Body>, tokio_postgres::Error> {
    let rows = session.query(include_str!("bodies.sql"), &[&names]).await?;
    let body = |row: &tokio_postgres::Row| Body {
        oid: row.get("oid"),
        name: row.get("name"),
        schema: row.get("schema"),
        validator: row.get("validator"),
        search_path: row.get("search_path"),
    };
    Ok(rows.iter().map(body).collect())
}

/// The bodies that the server refuses, with its words. What our role may not look at is not refused.
async fn refused(session: &Session, bodies: &[Body], search_path: &str) -> Result<Vec<(Body, String)>, tokio_postgres::Error> {
    let mut refused = Vec::new();
    for bodies in bodies.chunks(TOGETHER) {
        let questions: Vec<String> = bodies.iter().map(|body| body.question(search_path)).collect();
        let answers = join_all(questions.iter().map(|question| session.batch_execute(question))).await;
        for (body, answer) in bodies.iter().zip(answers) {
            match answer {
                Err(error) if retry::is_transient(&error) => return Err(error),
                Err(error) if error.code() != Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                    refused.push((body.clone(), retry::message(&error)));
                }
                Ok(()) | Err(_) => {}
            }
        }
    }
    Ok(refused)
}

/// Tells of the functions that only the destination refuses.
fn judge(refused: &[(Body, String)], refused_by_source: &[(Body, String)], database: &str) -> Vec<Finding> {
    let broken: HashSet<&str> = refused_by_source.iter().map(|(body, _)| body.name.as_str()).collect();
    let told = refused.iter().filter(|(body, _)| !broken.contains(body.name.as_str()));
    let finding = |(body, reason): &(Body, String)| Finding {
        severity: Severity::Warning,
        database: database.to_owned(),
        code: Code::FunctionBodyFails,
        object: format!("function {}", body.name),
        reason: format!("version 18 refuses its body, which the source takes; calls will fail: {reason}"),
        fix:
            "on the source, change the body to what both versions take; or replace the function on the destination by the cutover"
                .to_owned(),
        statement: None,
    };
    told.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(name: &str, search_path: Option<&str>) -> Body {
        Body {
            oid: 16400,
            name: name.to_owned(),
            schema: "we ird".to_owned(),
            validator: "pg_catalog.fmgr_sql_validator".to_owned(),
            search_path: search_path.map(str::to_owned),
        }
    }

    #[test]
    fn a_function_is_judged_under_its_own_search_path_or_the_likeliest_one() {
        assert!(body("f()", None).question("public").contains("'search_path', 'public, \"we ird\"', true"));
        assert!(body("f()", None).question("").contains("'search_path', '\"we ird\"', true"));
        assert!(body("f()", Some("a, b")).question("public").contains("'search_path', 'a, b', true"));
        assert!(body("f()", None).question("public").ends_with("SELECT pg_catalog.fmgr_sql_validator(16400::pg_catalog.oid)"));
    }

    #[test]
    fn what_the_source_refuses_too_is_not_told() {
        let refused = [(body("f.both()", None), "one".to_owned()), (body("f.here()", None), "two".to_owned())];
        let findings = judge(&refused, &refused[..1], "shop");
        assert_eq!(findings.iter().map(|f| f.object.as_str()).collect::<Vec<_>>(), ["function f.here()"]);
        assert!(findings[0].reason.ends_with("calls will fail: two"));
    }
}
