//! `cutover`, `complete`, `pause`, `resume`, `resync`, `verify`: ask through the SQL function, wait for the answer.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Answer, Failure, print};
use crate::config::Config;
use crate::postgres::{Session, retry};
use crate::reconcile::admission;

/// What to ask for.
#[derive(Debug)]
pub(super) enum Ask {
    Cutover { timeout: f64 },
    Complete,
    Pause,
    Resume,
    Resync { table: Option<String> },
    Verify,
}

pub(super) async fn run(config: &Config, name: &str, ask: Ask, as_json: bool) -> Result<Answer, Failure> {
    let settings = config.mappings.get(name).ok_or_else(|| Failure::NoMapping(name.to_owned()))?;
    let (_, destination) = admission::endpoints(config, name, settings, "cli/");
    let session = destination.connect(&config.control_database).await.map_err(|e| Failure::Failed(e.to_string()))?;
    let said_no = |error: tokio_postgres::Error| Failure::Failed(retry::message(&error));
    let row = match &ask {
        Ask::Cutover { timeout } => {
            session.query_one("SELECT migrator.cutover($1, make_interval(secs => $2))", &[&name, timeout]).await
        }
        Ask::Complete => session.query_one("SELECT migrator.mark_complete($1)", &[&name]).await,
        Ask::Pause => session.query_one("SELECT migrator.pause($1)", &[&name]).await,
        Ask::Resume => session.query_one("SELECT migrator.resume($1)", &[&name]).await,
        Ask::Resync { table } => {
            let (database, table) = match table.as_deref().and_then(|t| t.split_once('.')) {
                Some((database, table)) => (Some(database), Some(table)),
                None => (table.as_deref(), None),
            };
            session.query_one("SELECT migrator.resync($1, $2, $3)", &[&name, &database, &table]).await
        }
        Ask::Verify => session.query_one("SELECT migrator.verify($1)", &[&name]).await,
    };
    let request: i64 = row.map_err(said_no)?.get(0);
    let seen = session.query_one("SELECT migrator.controller_seen($1)", &[&name]).await.map_err(said_no)?;
    if !seen.get::<_, bool>(0) {
        eprintln!(
            "pg-migrator: no controller looks after {name} at the moment; the request waits until pg-migrator run is started"
        );
    }
    let (succeeded, report) = answer(&session, request).await.map_err(said_no)?;
    if as_json {
        print(&json!({ "request": request, "succeeded": succeeded, "report": report }).to_string());
    } else if succeeded {
        print(&format!("done: {report}"));
    } else {
        print(&format!("no: {}", report["error"].as_str().unwrap_or("see migrator.requests")));
    }
    Ok(if succeeded { Answer::Yes } else { Answer::No })
}

/// Waits until the controller has answered.
async fn answer(session: &Session, request: i64) -> Result<(bool, Value), tokio_postgres::Error> {
    loop {
        let row = session.query_one("SELECT succeeded, report FROM migrator.request WHERE id = $1 ", &[&request]).await?;
        if let Some(succeeded) = row.get::<_, Option<bool>>("succeeded") {
            return Ok((succeeded, row.get::<_, Option<Value>>("report").unwrap_or(Value::Null)));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
