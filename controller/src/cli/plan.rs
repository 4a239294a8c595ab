//! `pg-migrator plan`: the DDL that `run` executes, in its order, fit for psql.

use serde_json::json;

use super::{Answer, Failure, print, print_json, terminal};
use crate::config::Config;
use crate::finding::Finding;
use crate::plan::{Plan, Section};
use crate::postgres::quote::literal;
use crate::provision::{carry, control, databases};
use crate::reconcile::{act, admission};
use crate::stream::{Names, publications};

pub(super) async fn run(config: &Config, only: Option<&str>, as_json: bool) -> Result<Answer, Failure> {
    if let Some(name) = only
        && !config.mappings.contains_key(name)
    {
        return Err(Failure::NoMapping(name.to_owned()));
    }
    let fail = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let mut documents = Vec::new();
    let mut answer = Answer::Yes;
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
        let role_plan =
            carry::plan_roles(name, settings, &at_source, &at_destination, None, names).await.map_err(|e| fail(&e))?;
        let roles: Vec<&str> = role_plan.statements.iter().map(|s| s.printable.as_str()).collect();
        if !as_json {
            print(&heading(&format!("mapping {name}: {} onto {}", source.name, destination.name)));
            print(&heading("roles (passwords are left out here)"));
            for statement in &roles {
                print(&format!("{};", without_password(statement)));
            }
        }
        let mut of_databases = Vec::new();
        for (oid, database) in selected {
            let ours = publications(&Names::of_database(name, &database, oid, &effects, settings.streams));
            let read = async {
                let (definition, unknown) =
                    carry::definition(&at_source, &at_destination, settings, &database).await.map_err(|e| fail(&e))?;
                let mut session = source.connect(&database).await.map_err(|e| fail(&e))?;
                let policy = settings.replica_identity;
                let plan = act::read_plan(&mut session, &database, &ours, &effects, policy, &definition.placement)
                    .await
                    .map_err(|e| fail(&e))?;
                Ok::<_, Failure>((definition, unknown, plan))
            };
            let (definition, unknown, plan) = match read.await {
                Ok(read) => read,
                // One database that can't be read hides none of the others.
                Err(error) => {
                    answer = Answer::No;
                    if as_json {
                        of_databases.push(json!({ "database": database, "error": error.to_string() }));
                    } else {
                        print(&format!("\n-- database {}: {}", terminal::line(&database), terminal::line(&error.to_string())));
                    }
                    continue;
                }
            };
            let create = databases::create(&definition, &database);
            let adjustments = databases::adjustments(&definition, &database, &unknown);
            let mut settled: Vec<String> = adjustments.into_iter().map(|adjustment| adjustment.sql).collect();
            settled.extend(role_plan.in_database.get(&database).into_iter().flatten().map(|s| s.printable.clone()));
            if as_json {
                of_databases.push(json!({ "database": database, "create": create, "settings": settled,
                    "statements": plan.statements, "findings": plan.findings }));
                continue;
            }
            print(&heading(&format!("database {database}")));
            print(&format!("{create};"));
            for statement in settled {
                print(&format!("{statement};"));
            }
            print(&connect(&database));
            show(&plan);
            let of_role = role_plan.at_cutover.get(&Some(database)).into_iter().flatten().cloned();
            for (statement, _) in
                databases::settings_at_cutover(&definition, &definition.name, &unknown).into_iter().chain(of_role)
            {
                print(&format!("{statement};"));
            }
            show_findings(&plan.findings);
        }
        for (statement, _) in role_plan.at_cutover.get(&None).into_iter().flatten().filter(|_| !as_json) {
            print(&format!("{statement};"));
        }
        documents.push(json!({ "mapping": name, "roles": roles, "databases": of_databases }));
    }
    if as_json {
        print_json(&json!(documents));
    }
    Ok(answer)
}

/// Prints a plan as a script.
fn show(plan: &Plan) {
    print(SESSION);
    let mut section: Option<Section> = None;
    for statement in &plan.statements {
        if section != Some(statement.section) {
            section = Some(statement.section);
            print(&heading(statement.section.title()));
        }
        // The newline ends a comment that a definition may end with.
        print(&format!("-- {}\n{}\n;", terminal::line(&statement.object.to_string()), statement.sql));
    }
}

/// Prints what can't be carried over, or not as it is.
fn show_findings(findings: &[Finding]) {
    if !findings.is_empty() {
        print(&heading("findings"));
    }
    for finding in findings {
        print(&format!(
            "-- {} {}: {}",
            finding.severity.as_str(),
            terminal::line(&finding.object),
            terminal::line(&finding.reason)
        ));
    }
}

/// A role is made without a password rather than with the one that stands for it here.
fn without_password(statement: &str) -> String {
    statement.strip_suffix(MASKED).map_or_else(|| statement.to_owned(), |head| format!("{head} PASSWORD NULL"))
}

/// How a role's statement ends where it has a password.
const MASKED: &str = " PASSWORD '********'";

/// What `run` sets in its sessions as well: names are qualified, bodies may name what comes later, nothing of the user's fires.
const SESSION: &str =
    "SET ROLE NONE; SET search_path = ''; SET check_function_bodies = off; SET event_triggers = off; SET session_replication_role = replica;
SET default_tablespace = ''; SET default_table_access_method = heap;";

fn heading(text: &str) -> String {
    format!("\n--\n-- {}\n--\n", terminal::line(text))
}

/// The psql command that goes on in another database. A name may look like a connection string, so it is put into one; and it may
/// hold a line break, which would end the command, so it comes from a variable.
fn connect(name: &str) -> String {
    let conninfo = format!("dbname='{}'", name.replace('\\', "\\\\").replace('\'', "\\'"));
    format!("SELECT {} AS conninfo \\gset\n\\connect -reuse-previous=on :\"conninfo\"", literal(&conninfo))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_gets_no_password_that_everybody_knows() {
        assert_eq!(without_password("CREATE ROLE \"r\" LOGIN PASSWORD '********'"), "CREATE ROLE \"r\" LOGIN PASSWORD NULL");
        assert_eq!(without_password("COMMENT ON ROLE \"r\" IS 'x'"), "COMMENT ON ROLE \"r\" IS 'x'");
    }

    #[test]
    fn no_name_ends_the_line_it_stands_in() {
        assert_eq!(heading("a\nDROP"), "\n--\n-- a\\nDROP\n--\n");
        let command = connect("it's\n\\! date");
        assert!(command.ends_with("\n\\connect -reuse-previous=on :\"conninfo\""), "{command}");
    }
}
