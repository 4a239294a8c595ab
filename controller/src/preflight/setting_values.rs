//! Settings of roles and databases whose value version 18 refuses, though it knows the parameter: `password_encryption = on`,
//! a time zone that is gone, a locale that the destination's machine lacks.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::{Error, database_finding};
use crate::finding::{Code, Finding, Severity};
use crate::postgres::{quote, retry};
use crate::provision::{Setting, databases, roles};

/// Parameters whose value names what is still to be made, or can't be tried in a session.
const NOT_TRIED: [&str; 8] = [
    "role",
    "session_authorization",
    "search_path",
    "default_tablespace",
    "default_table_access_method",
    "temp_tablespaces",
    "default_text_search_config",
    "local_preload_libraries",
];

/// Tries every value of the source's roles and of these databases on the destination. Nothing stays set.
pub async fn setting_values(
    source: &roles::Roles,
    definitions: &[databases::Definition],
    destination: &Client,
) -> Result<Vec<Finding>, Error> {
    let mut places: BTreeMap<&Setting, BTreeSet<(String, String)>> = BTreeMap::new();
    for one in &source.settings {
        let database = one.database.clone().unwrap_or_default();
        let place = (database, format!("role {}", quote::ident(&one.role)));
        places.entry(&one.setting).or_default().insert(place);
    }
    for definition in definitions {
        let place = (definition.name.clone(), format!("database {}", quote::ident(&definition.name)));
        for setting in &definition.settings {
            places.entry(setting).or_default().insert(place.clone());
        }
    }
    let selected: BTreeSet<&str> = definitions.iter().map(|d| d.name.as_str()).collect();
    let mut findings = Vec::new();
    for (setting, places) in places {
        let name = setting.name.to_lowercase();
        if NOT_TRIED.contains(&name.as_str()) {
            continue;
        }
        let Some(reason) = refusal(destination, setting).await? else { continue };
        for (database, object) in places.iter().filter(|(d, _)| d.is_empty() || selected.contains(d.as_str())) {
            findings.push(refused(database, object, setting, &reason));
        }
    }
    Ok(findings)
}

/// What is told of a refused value; the same before anything is made and when it is set in vain.
pub(crate) fn refused(database: &str, object: &str, setting: &Setting, reason: &str) -> Finding {
    database_finding(
        Severity::Error,
        database,
        Code::SettingRefused,
        object,
        format!("it has {} = {}, which version 18 refuses: {reason}", setting.name, setting.value),
        "on the source, set it to a value that both versions take, or RESET it",
    )
}

/// Whether it is the value of a setting that the destination minds.
pub(crate) fn minds_value(error: &tokio_postgres::Error) -> bool {
    matches!(error.code(), Some(&SqlState::INVALID_PARAMETER_VALUE | &SqlState::FEATURE_NOT_SUPPORTED))
}

/// What the destination says against a value, if it is the value that it minds.
async fn refusal(destination: &Client, setting: &Setting) -> Result<Option<String>, Error> {
    // Local to a transaction that ends with the statement.
    let tried = destination.query_one("SELECT pg_catalog.set_config($1, $2, true)", &[&setting.name, &setting.value]).await;
    match tried {
        Ok(_) => Ok(None),
        Err(error) if minds_value(&error) => Ok(Some(retry::message(&error))),
        // An unknown parameter has a finding of its own; others can't be set in a session.
        Err(error) if error.code().is_some() => Ok(None),
        Err(error) => Err(Error { check: "settings", source: error }),
    }
}
