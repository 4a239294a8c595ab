//! Our plan of a database's schema, executed statement by statement, without the program around it.

use pg_migrator::object;
use pg_migrator::plan::{self, Section};
use pg_migrator::postgres::ServerVersion;

use crate::cluster::Cluster;
use crate::controller::ident;
use crate::error::{Error, Result};

/// Carries a database's schema with our plan; tells what failed.
pub async fn carry(source: &Cluster, destination: &Cluster, database: &str) -> Result<Vec<String>> {
    let version = ServerVersion(i32::try_from(source.major() * 10_000).unwrap_or_default());
    let reader = source.connect(database).await?;
    let broken = |what: &str, error: &dyn std::error::Error| Error::Broken(format!("{what} {database}: {error}"));
    let catalog = object::introspect(&reader, version, &[]).await.map_err(|error| {
        let words = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        Error::Broken(format!("reading {database}: {error}: {words}"))
    })?;
    let plan = plan::plan(&catalog, &plan::Options::default());
    destination.run("postgres", &format!("CREATE DATABASE {}", ident(database))).await?;
    let writer = destination.connect(database).await?;
    let settings =
        "SET search_path = ''; SET check_function_bodies = off; SET event_triggers = off; SET session_replication_role = replica";
    writer.batch_execute(settings).await.map_err(|error| broken("preparing", &error))?;
    let mut failed: Vec<String> =
        plan.findings.iter().map(|finding| format!("finding {}: {}: {}", finding.code, finding.object, finding.reason)).collect();
    for statement in &plan.statements {
        if let Err(error) = writer.batch_execute(statement.executable()).await {
            let words = error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
            failed.push(format!("{:?} {}: {words}\n{}", statement.section, statement.object, statement.sql));
        }
    }
    // What the controller asks after a restart must be true now.
    for statement in plan.statements.iter().filter(|statement| statement.section > Section::BeforeData) {
        if let Some(question) = &statement.done_when {
            let row =
                writer.query_one(question.as_str(), &[]).await.map_err(|error| broken("asking whether it is done in", &error))?;
            if row.get::<_, Option<bool>>(0) != Some(true) {
                failed.push(format!("{} is not done by its own word: {question}", statement.object));
            }
        }
    }
    Ok(failed)
}
