//! `cutover`, `complete`, `pause`, `resume`, `resync`, `verify`: ask through the SQL function, wait for the answer.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Answer, Failure, print, print_json, terminal};
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
            let rows = session.query(MEANT, &[&name, table]).await.map_err(|e| Failure::Failed(retry::message(&e)))?;
            let databases: Vec<(&str, bool)> = rows.iter().map(|row| (row.get("database"), row.get("has_table"))).collect();
            let (database, table) = match table.as_deref() {
                Some(target) => {
                    let (database, table) = target_of_resync(target, &databases)?;
                    (Some(database), table)
                }
                None => (None, None),
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
        print_json(&json!({ "request": request, "succeeded": succeeded, "report": report }));
    } else if succeeded {
        print(&format!("done: {}", terminal::json(&report)));
    } else {
        let reason = report["error"].as_str().unwrap_or("see migrator.requests");
        print(&format!("no: {}", terminal::paragraph(reason, "    ")));
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

/// The databases whose name a target ($2) begins with, and whether the rest of it is one of their tables, with or without quotes.
const MEANT: &str = r#"
    SELECT d.database, EXISTS (
        SELECT FROM migrator.tables t
        WHERE t.mapping = d.mapping AND t.database = d.database
          AND substr($2::text, length(d.database) + 2)
              IN (t.schema || '.' || t.name,
                  '"' || replace(t.schema, '"', '""') || '"."' || replace(t.name, '"', '""') || '"')) AS has_table
    FROM migrator.databases d
    WHERE d.mapping = $1 AND starts_with($2::text || '.', d.database || '.')"#;

/// Parts `database.schema.table`, where each of the names may hold dots. `databases` are those that the target begins with, and
/// whether they have such a table. What nobody knows is left for the controller to refuse.
fn target_of_resync<'a>(target: &'a str, databases: &[(&'a str, bool)]) -> Result<(&'a str, Option<&'a str>), Failure> {
    let part = |database: &'a str| Some((database, Some(target.strip_prefix(database)?.strip_prefix('.')?)));
    let whole = databases.iter().find(|(database, _)| *database == target).map(|_| (target, None));
    let tables = databases.iter().filter(|(_, has_table)| *has_table).filter_map(|(database, _)| part(database));
    let meant: Vec<_> = whole.into_iter().chain(tables).collect();
    let longest = databases.iter().max_by_key(|(database, _)| database.len()).and_then(|(database, _)| part(database));
    match meant.as_slice() {
        [one] => Ok(*one),
        [] => Ok(longest
            .or_else(|| target.split_once('.').map(|(database, table)| (database, Some(table))))
            .unwrap_or((target, None))),
        _ => Err(Failure::Failed(format!(
            "{target} may be several things, since names hold dots: ask in SQL with SELECT migrator.resync(mapping, database, table)"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_with_dots_are_known_by_their_whole_name() {
        let part = |target, databases: &[(&'static str, bool)]| target_of_resync(target, databases).ok();
        assert_eq!(part("shop", &[("shop", false)]), Some(("shop", None)));
        assert_eq!(part("shop.public.t", &[("shop", true)]), Some(("shop", Some("public.t"))));
        assert_eq!(part("a.b", &[("a", false), ("a.b", false)]), Some(("a.b", None)));
        assert_eq!(part("a.b.c", &[("a", true), ("a.b", false)]), Some(("a", Some("b.c"))));
        assert_eq!(part("a.b.c.d", &[("a", true), ("a.b", true)]), None, "the table c.d of a.b, or b.c.d of a");
        assert_eq!(part("a.b.c", &[("a", true), ("a.b.c", false)]), None, "a table, or a whole database");
        assert_eq!(part("a.b.no", &[("a", false), ("a.b", false)]), Some(("a.b", Some("no"))));
        assert_eq!(part("other.public.t", &[]), Some(("other", Some("public.t"))));
        assert_eq!(part("other", &[]), Some(("other", None)));
    }
}
