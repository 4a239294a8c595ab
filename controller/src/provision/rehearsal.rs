//! The rehearsal: the whole plan is executed in a scratch database on the destination, so that every statement that will
//! fail is known before the source is touched. The database is ours, and is dropped in the end.
//!
//! There may be no ledger yet. So a comment on the database says that it is ours, and an advisory lock, held by the rehearsal's
//! session, that it is still needed: what a rehearsal that was killed has left is told from what another one works in.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use super::before_data::before_data;
use super::bodies;
use super::databases::{self, Definition};
use super::failure::Failures;
use super::schema;
use crate::finding::Finding;
use crate::plan::{Plan, Section, Statement};
use crate::postgres::{Endpoint, Session, quote, retry};

/// Why nothing could be rehearsed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The scratch database.
    #[error("the scratch database {database} can't be {doing}: {}", retry::message(.source))]
    Scratch {
        /// Its name.
        database: String,
        /// What was being done.
        doing: &'static str,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// Somebody else's database, or one that was made right before a rehearsal was killed.
    #[error("there is a database {0} that was not marked as ours: drop it if nobody needs it")]
    Foreign(String),
    /// Another rehearsal works in it.
    #[error("the schema is being rehearsed by another process, in the scratch database {0}")]
    Busy(String),
    /// The operator has had enough.
    #[error("the rehearsal was interrupted")]
    Interrupted,
    /// The plan.
    #[error(transparent)]
    Schema(#[from] schema::Error),
}

/// The comment by which a scratch database is known as ours.
const MARK: &str = "scratch database of a pg-migrator rehearsal";

/// The name of the scratch database for one of the source's.
pub fn scratch_name(mapping: &str, source_database_oid: u32) -> String {
    format!("pg_migrator_rehearsal_{mapping}_{source_database_oid}")
}

const LOCK: &str = "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('pg-migrator scratch ' || $1::text, 0))";
const UNLOCK: &str = "SELECT pg_catalog.pg_advisory_unlock(pg_catalog.hashtextextended('pg-migrator scratch ' || $1::text, 0))";

/// Drops what a rehearsal that is gone has left under this name. The lock must be held.
async fn drop_left(maintenance: &Session, scratch: &str) -> Result<(), Error> {
    let failed = |source| Error::Scratch { database: scratch.to_owned(), doing: "dropped", source };
    let row = maintenance
        .query_opt(
            "SELECT pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database WHERE datname = $1",
            &[&scratch],
        )
        .await
        .map_err(failed)?;
    match row.map(|row| row.get::<_, Option<String>>(0)) {
        None => Ok(()),
        Some(Some(mark)) if mark == MARK => {
            maintenance.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", quote::ident(scratch))).await.map_err(failed)
        }
        Some(_) => Err(Error::Foreign(scratch.to_owned())),
    }
}

/// Drops the scratch databases that rehearsals of this mapping have left, and that nobody works in. `maintenance` is connected to
/// the database that rehearsals are begun from.
pub async fn drop_leftovers(maintenance: &Session, mapping: &str) -> Result<(), tokio_postgres::Error> {
    let left = maintenance
        .query(
            "SELECT datname::text FROM pg_catalog.pg_database
             WHERE datname ~ $1 AND pg_catalog.shobj_description(oid, 'pg_database') = $2",
            &[&format!("^{}[0-9]+$", scratch_name(mapping, 0).trim_end_matches('0')), &MARK],
        )
        .await?;
    for row in left {
        let scratch: String = row.get(0);
        if maintenance.query_one(LOCK, &[&scratch]).await?.get(0) {
            tracing::info!("dropping {scratch}, which an interrupted check has left");
            if let Err(error) = drop_left(maintenance, &scratch).await {
                tracing::warn!("{error}");
            }
            maintenance.query_one(UNLOCK, &[&scratch]).await?;
        }
    }
    Ok(())
}

/// In the order of execution.
const SECTIONS: [Section; 4] = [Section::BeforeData, Section::AfterData, Section::AfterStreaming, Section::AtCutover];

/// Between which servers something is rehearsed.
#[derive(Debug, Clone, Copy)]
pub struct Servers<'a> {
    /// Asked about functions; nothing is written there.
    pub source: &'a Endpoint,
    /// Where the scratch database is made.
    pub destination: &'a Endpoint,
    /// A session there, in another database.
    pub maintenance: &'a Session,
}

/// Executes `plan` in a scratch database named `scratch`, which an interrupted rehearsal may have left. Roles that are
/// still to be made (`roles_to_come`) are missing for it, and that is no finding. What is built is asked whether the bodies of its
/// functions mean anything there; the source, which is asked about those that don't, is only read. Once `interrupted` is over,
/// nothing more is rehearsed; the database is dropped in any case.
pub async fn rehearse(
    servers: Servers<'_>,
    scratch: &str,
    definition: &Definition,
    plan: &Plan,
    roles_to_come: &BTreeSet<String>,
    interrupted: impl Future<Output = ()>,
) -> Result<Vec<Finding>, Error> {
    let Servers { source, destination, maintenance } = servers;
    let failed = |doing| {
        let database = scratch.to_owned();
        move |source| Error::Scratch { database, doing, source }
    };
    if !maintenance.query_one(LOCK, &[&scratch]).await.map_err(failed("locked"))?.get::<_, bool>(0) {
        return Err(Error::Busy(scratch.to_owned()));
    }
    let rehearsing = async {
        drop_left(maintenance, scratch).await?;
        let row = maintenance.query_one("SELECT current_user::text", &[]).await.map_err(failed("made"))?;
        let definition = Definition { owner: row.get(0), ..definition.clone() };
        maintenance.batch_execute(&databases::create(&definition, scratch)).await.map_err(failed("made"))?;
        let mark = format!("COMMENT ON DATABASE {} IS {}", quote::ident(scratch), quote::literal(MARK));
        maintenance.batch_execute(&mark).await.map_err(failed("marked"))?;
        let outcome = tokio::select! {
            outcome = execute_and_judge(source, destination, scratch, &definition, plan) => outcome.map_err(Error::from),
            () = interrupted => Err(Error::Interrupted),
        };
        drop_left(maintenance, scratch).await?;
        outcome
    };
    let outcome = rehearsing.await;
    maintenance.query_one(UNLOCK, &[&scratch]).await.map_err(failed("unlocked"))?;
    let (mut failures, bodies) = outcome?;
    let missing: BTreeSet<String> = roles_to_come.iter().map(|role| format!("role \"{role}\" does not exist")).collect();
    failures.forgive(|reason| missing.iter().any(|missing| reason.starts_with(missing)));
    let sections = SECTIONS.iter().flat_map(|&section| failures.findings(&definition.name, &plan.statements, section));
    let mut findings: Vec<Finding> = sections.collect();
    findings.extend(bodies);
    Ok(findings)
}

/// Executes the plan, and asks what the functions mean that it made. What can't be judged hides nothing else.
async fn execute_and_judge(
    source: &Endpoint,
    destination: &Endpoint,
    scratch: &str,
    definition: &Definition,
    plan: &Plan,
) -> Result<(Failures, Vec<Finding>), schema::Error> {
    let (failures, session) = execute(destination, scratch, plan).await?;
    let bodies = bodies::findings(source, &session, &definition.name, &definition.settings).await;
    Ok((failures, bodies.unwrap_or_else(|error| vec![bodies::not_judged(&definition.name, &error)])))
}

/// Executes the plan. Gives the session that it began with: one opened now would run what the source has for logins (17+).
async fn execute(destination: &Endpoint, scratch: &str, plan: &Plan) -> Result<(Failures, Session), schema::Error> {
    // A subscription would keep its database from being dropped, and needs nothing that could fail.
    let subscribes = |s: &Statement| s.object.class == "subscription";
    let statements: Cow<'_, [Statement]> = if plan.statements.iter().any(subscribes) {
        let harmless = |s: &Statement| Statement { sql: "SELECT".to_owned(), secret: None, ..s.clone() };
        plan.statements.iter().map(|s| if subscribes(s) { harmless(s) } else { s.clone() }).collect()
    } else {
        Cow::Borrowed(&plan.statements)
    };
    let session = schema::session(destination, scratch).await?;
    let mut failures = before_data(&[&session], scratch, &statements, |_| {}).await?;
    let permits = Arc::new(Semaphore::new(1));
    for &section in &SECTIONS[1..] {
        let (signals, mut signalled) = mpsc::unbounded_channel();
        for table in statements.iter().filter_map(|s| s.table) {
            // The receiver lives until the build is over.
            let _ = signals.send(schema::Signal::TableCopied { table, bytes: 0 });
        }
        let _ = signals.send(schema::Signal::CopyOver);
        let build = schema::Build {
            destination,
            database: scratch,
            statements: &statements,
            section,
            permits: &permits,
            workers: 1,
            early: &[],
            batches: section == Section::AfterData,
        };
        schema::build(build, &mut signalled, &mut failures, |_| {}).await?;
    }
    Ok((failures, session))
}
