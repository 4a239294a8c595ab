//! `pg-migrator status`: what `migrator.status()` says, for every destination in the configuration.

use serde_json::{Value, json};

use super::{Answer, Failure, print, print_json, terminal};
use crate::config::Config;
use crate::postgres::{Endpoint, retry};
use crate::provision::control;

pub(super) async fn run(config: &Config, as_json: bool) -> Result<Answer, Failure> {
    let mut destinations: Vec<&String> = config.mappings.values().map(|m| &m.destination).collect();
    destinations.sort();
    destinations.dedup();
    let mut rows: Vec<Value> = Vec::new();
    for name in destinations {
        let endpoint = Endpoint::new(name, config.instances[name].clone(), "pg-migrator/status".to_owned());
        let fail = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
        let maintenance = endpoint.connect(&endpoint.instance.database).await.map_err(|e| fail(&e))?;
        if !control::exists(&endpoint, &maintenance, &config.control_database).await.map_err(|e| fail(&e))? {
            continue;
        }
        let session = endpoint.connect(&config.control_database).await.map_err(|e| fail(&e))?;
        let found = session
            .query("SELECT to_jsonb(s) FROM migrator.status() s", &[])
            .await
            .map_err(|e| Failure::Failed(retry::message(&e)))?;
        rows.extend(found.iter().map(|row| row.get::<_, Value>(0)));
    }
    if as_json {
        print_json(&json!(rows));
        return Ok(Answer::Yes);
    }
    if rows.is_empty() {
        print("nothing has been begun yet: start pg-migrator run");
        return Ok(Answer::Yes);
    }
    print(&format!(
        "{:<16} {:<20} {:<14} {:<12} {:>13} {:>19} {:>12} {:>16}",
        "mapping", "database", "status", "phase", "tables", "bytes", "lag bytes", "lag"
    ));
    for row in &rows {
        let text = |key: &str| match &row[key] {
            Value::Null => String::new(),
            Value::String(text) => terminal::line(text).into_owned(),
            other => other.to_string(),
        };
        print(&format!(
            "{:<16} {:<20} {:<14} {:<12} {:>13} {:>19} {:>12} {:>16}",
            text("mapping"),
            text("database"),
            text("status"),
            text("phase"),
            format!("{}/{}", text("tables_synced"), text("tables_total")),
            format!("{}/{}", text("bytes_copied"), text("bytes_total")),
            text("lag_bytes"),
            text("lag"),
        ));
    }
    Ok(Answer::Yes)
}
