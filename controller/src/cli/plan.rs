//! `pg-migrator plan`: the DDL that `run` executes, in its order, fit for psql.

use serde_json::json;

use super::{Answer, Failure, print};
use crate::config::Config;
use crate::plan::Section;
use crate::provision::{carry, control, databases};
use crate::reconcile::{act, admission};
use crate::stream::Names;

pub(super) async fn run(config: &Config, only: Option<&str>, as_json: bool) -> Result<Answer, Failure> {
    if let Some(name) = only
        && !config.mappings.contains_key(name)
    {
        return Err(Failure::NoMapping(name.to_owned()));
    }
    let fail = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let mut documents = Vec::new();
    for (name, settings) in config.mappings.iter().filter(|(name, _)| only.is_none_or(|o| o == *name)) {
        let (source, destination) = admission::endpoints(config, name, settings, "plan/");
        let at_source = source.connect(&source.instance.database).await.map_err(|e| fail(&e))?;
        let at_destination = destination.connect(&destination.instance.database).await.map_err(|e| fail(&e))?;
        let effects = if control::exists(&destination, &at_destination, &config.control_database).await.map_err(|e| fail(&e))? {
            let control = destination.connect(&config.control_database).await.map_err(|e| fail(&e))?;
            crate::ledger::in_force(&control, name).await.map_err(|e| fail(&e))?
        } else {
            Vec::new()
        };
        let selected = admission::databases(&source, &at_source, settings).await.map_err(|e| fail(&e))?;
        let names = selected.iter().map(|(_, name)| name.clone()).collect();
        let roles = carry::plan_roles(name, settings, &at_source, &at_destination, None, names).await.map_err(|e| fail(&e))?;
        let roles: Vec<&str> = roles.statements.iter().map(|s| s.printable.as_str()).collect();
        if !as_json {
            print(&format!("-- mapping {name}: {} onto {}", source.name, destination.name));
            print("-- roles (passwords are left out here)");
            for statement in &roles {
                print(&format!("{statement};"));
            }
        }
        let mut of_databases = Vec::new();
        for (oid, database) in selected {
            let (definition, unknown) = carry::definition(&at_source, &at_destination, &database).await.map_err(|e| fail(&e))?;
            let mut session = source.connect(&database).await.map_err(|e| fail(&e))?;
            let ours: Vec<String> = Names::of_database(name, &database, oid, &effects, settings.streams)
                .into_iter()
                .map(|names| names.publication)
                .collect();
            let plan = act::read_plan(&mut session, &database, &ours, &effects, settings.replica_identity)
                .await
                .map_err(|e| fail(&e))?;
            let create = databases::create(&definition, &database);
            let settled = databases::settings(&definition, &database, &unknown);
            if as_json {
                of_databases.push(json!({ "database": database, "create": create, "settings": settled,
                    "statements": plan.statements, "findings": plan.findings }));
                continue;
            }
            print(&format!("\n-- database {}", one_line(&database)));
            print(&format!("{create};"));
            for statement in settled {
                print(&format!("{statement};"));
            }
            print(&format!("\\connect {}", connect_argument(&database)));
            print("SET search_path = ''; SET check_function_bodies = off;");
            let mut section: Option<Section> = None;
            for statement in &plan.statements {
                if section != Some(statement.section) {
                    section = Some(statement.section);
                    print(&format!("\n-- section {:?}", statement.section));
                }
                // The newline ends a comment that a definition may end with.
                print(&format!("-- {}\n{}\n;", one_line(&statement.object.to_string()), statement.sql));
            }
            for finding in &plan.findings {
                print(&format!("-- {} {}: {}", finding.severity.as_str(), one_line(&finding.object), one_line(&finding.reason)));
            }
        }
        documents.push(json!({ "mapping": name, "roles": roles, "databases": of_databases }));
    }
    if as_json {
        print(&json!(documents).to_string());
    }
    Ok(Answer::Yes)
}

/// A name with a line break must not end the comment that it stands in.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// psql reads the argument of \connect by rules of its own: double quotes around, doubled inside, work for any name.
fn connect_argument(name: &str) -> String {
    crate::postgres::quote::ident(name)
}
