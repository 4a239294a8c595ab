//! The rehearsal: the whole plan is executed in a scratch database on the destination, so that every statement that will
//! fail is known before the source is touched. The database is ours, and is dropped in the end.

use std::borrow::Cow;
use std::collections::BTreeSet;

use tokio::sync::mpsc;

use super::before_data::before_data;
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
    /// The plan.
    #[error(transparent)]
    Schema(#[from] schema::Error),
}

/// In the order of execution.
const SECTIONS: [Section; 4] = [Section::BeforeData, Section::AfterData, Section::AfterStreaming, Section::AtCutover];

/// Executes `plan` in a scratch database named `scratch`, which an interrupted rehearsal may have left. Roles that are
/// still to be made (`roles_to_come`) are missing for it, and that is no finding.
pub async fn rehearse(
    destination: &Endpoint,
    maintenance: &Session,
    scratch: &str,
    definition: &Definition,
    plan: &Plan,
    roles_to_come: &BTreeSet<String>,
) -> Result<Vec<Finding>, Error> {
    let failed = |doing| {
        let database = scratch.to_owned();
        move |source| Error::Scratch { database, doing, source }
    };
    let drop_it = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote::ident(scratch));
    maintenance.batch_execute(&drop_it).await.map_err(failed("dropped"))?;
    let row = maintenance.query_one("SELECT current_user::text", &[]).await.map_err(failed("made"))?;
    let definition = Definition { owner: row.get(0), ..definition.clone() };
    maintenance.batch_execute(&databases::create(&definition, scratch)).await.map_err(failed("made"))?;
    let outcome = execute(destination, scratch, plan).await;
    maintenance.batch_execute(&drop_it).await.map_err(failed("dropped"))?;
    let mut failures = outcome?;
    let missing: BTreeSet<String> = roles_to_come.iter().map(|role| format!("role \"{role}\" does not exist")).collect();
    failures.forgive(|reason| missing.iter().any(|missing| reason.starts_with(missing)));
    Ok(SECTIONS.iter().flat_map(|&section| failures.findings(&definition.name, &plan.statements, section)).collect())
}

async fn execute(destination: &Endpoint, scratch: &str, plan: &Plan) -> Result<Failures, schema::Error> {
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
    drop(session);
    for &section in &SECTIONS[1..] {
        let (signals, mut signalled) = mpsc::unbounded_channel();
        for table in statements.iter().filter_map(|s| s.table) {
            // The receiver lives until the build is over.
            let _ = signals.send(schema::Signal::TableCopied { table, bytes: 0 });
        }
        let _ = signals.send(schema::Signal::CopyOver);
        let build = schema::Build { destination, database: scratch, statements: &statements, section, workers: 1, early: &[] };
        schema::build(build, &mut signalled, &mut failures, |_| {}).await?;
    }
    Ok(failures)
}
