//! `pg-migrator check`: everything that can be known before anything is touched, all findings at once, worst first.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Answer, Failure, print};
use crate::config::{self, Config};
use crate::finding::{Code, Finding, Severity};
use crate::ledger::{self, SideEffect};
use crate::postgres::{Session, retry};
use crate::preflight;
use crate::provision::roles::Fate;
use crate::provision::{carry, control, databases, failure, rehearsal, roles};
use crate::reconcile::decide::Target;
use crate::reconcile::{act, admission, observe};
use crate::stream::Names;

pub(super) async fn run(config: &Config, as_json: bool) -> Result<Answer, Failure> {
    let mut all = Vec::new();
    for (name, settings) in &config.mappings {
        let mut findings = match findings(config, name, settings).await {
            Ok(findings) => findings,
            Err(error) => vec![failed(Code::CheckFailed, &format!("mapping {name}"), &error)],
        };
        findings.sort();
        findings.dedup();
        all.push((name, findings));
    }
    let sound = all.iter().all(|(_, findings)| findings.iter().all(|f| f.severity != Severity::Error));
    if as_json {
        let mappings: Vec<_> = all
            .iter()
            .map(|(name, findings)| {
                let ok = findings.iter().all(|f| f.severity != Severity::Error);
                json!({ "mapping": name, "ok": ok, "findings": findings })
            })
            .collect();
        print(&json!({ "ok": sound, "mappings": mappings }).to_string());
    } else {
        for (name, findings) in &all {
            show(name, findings);
        }
    }
    Ok(if sound { Answer::Yes } else { Answer::No })
}

fn show(mapping: &str, findings: &[Finding]) {
    let errors = findings.iter().filter(|f| f.severity == Severity::Error).count();
    print(&match errors {
        0 => format!("mapping {mapping}: nothing stands in the way"),
        n => format!("mapping {mapping}: {n} errors stand in the way"),
    });
    for finding in findings {
        let place = if finding.database.is_empty() { String::new() } else { format!("{}: ", finding.database) };
        print(&format!("  {} [{}] {place}{}", finding.severity.as_str(), finding.code, finding.object));
        print(&format!("      {}", finding.reason));
        if !finding.fix.is_empty() {
            print(&format!("      fix: {}", finding.fix));
        }
    }
}

fn failed(code: Code, object: &str, error: &dyn std::fmt::Display) -> Finding {
    Finding {
        severity: Severity::Error,
        database: String::new(),
        code,
        object: object.to_owned(),
        reason: error.to_string(),
        fix: "mend what the message names, and check again".to_owned(),
        statement: None,
    }
}

/// All findings of one mapping. The source is only read; on the destination the schema is rehearsed in a scratch database
/// that is dropped in the end, and nothing else is made.
async fn findings(config: &Config, name: &str, settings: &config::Mapping) -> Result<Vec<Finding>, Failure> {
    let (source, destination) = admission::endpoints(config, name, settings, "check/");
    let (at_source, at_destination) = match preflight::reach(&source, &destination).await {
        (Ok(at_source), Ok(at_destination)) => (at_source, at_destination),
        (at_source, at_destination) => return Ok([at_source.err(), at_destination.err()].into_iter().flatten().collect()),
    };
    let mut findings = Vec::new();
    let fail = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    // What an earlier run made is ours, and no obstacle.
    let has_control = control::exists(&destination, &at_destination, &config.control_database).await.map_err(|e| fail(&e))?;
    let control =
        if has_control { Some(destination.connect(&config.control_database).await.map_err(|e| fail(&e))?) } else { None };
    let effects = match &control {
        Some(control) => known_effects(control, name).await?,
        None => Vec::new(),
    };
    let selected = admission::databases(&source, &at_source, settings).await.map_err(|e| fail(&e))?;
    let instances = admission::instance_findings(name, &at_source, &at_destination, &selected, &effects, settings)
        .await
        .map_err(|e| fail(&e))?;
    findings.extend([instances.source, instances.destination].concat());
    let names = selected.iter().map(|(_, name)| name.clone()).collect();
    let roles =
        carry::plan_roles(name, settings, &at_source, &at_destination, control.as_deref(), names).await.map_err(|e| fail(&e))?;
    findings.extend(roles.findings);
    findings.extend(setting_values(&at_source, &at_destination, &selected).await?);
    // What is refused as a whole is not rehearsed: nothing would come of it.
    let admitted = findings.iter().all(|f| f.severity != Severity::Error || !f.database.is_empty());
    let roles_to_come: BTreeSet<String> =
        roles.fates.iter().filter(|(_, fate)| **fate == Fate::Created).map(|(role, _)| role.clone()).collect();
    for (oid, database) in selected {
        let mut session = match source.connect(&database).await {
            Ok(session) => session,
            Err(error) => {
                findings.push(Finding {
                    database: database.clone(),
                    ..failed(Code::Unreachable, &format!("database {database}"), &error)
                });
                continue;
            }
        };
        let target = observe::target(&at_destination, &database, &effects).await.map_err(|e| fail(&e))?;
        let ours: Vec<String> = Names::of_database(name, &database, oid, &effects, settings.streams)
            .into_iter()
            .map(|names| names.publication)
            .collect();
        let plan = match act::read_plan(&mut session, &database, &ours, &effects, settings.replica_identity).await {
            Ok(plan) => plan,
            Err(error) => {
                findings.push(Finding { database: database.clone(), ..failed(Code::PlanFailed, &database, &error) });
                continue;
            }
        };
        if target == Target::Missing {
            let scratch = format!("pg_migrator_rehearsal_{name}_{oid}");
            let checked = async {
                let (definition, _) = carry::definition(&at_source, &at_destination, &database).await.map_err(|e| fail(&e))?;
                let mut found = preflight::database(&session, &at_destination, &definition).await.map_err(|e| fail(&e))?;
                // Without an extension the rest can be rehearsed all the same, and tells what needs it.
                if admitted && found.iter().all(|f| f.severity != Severity::Error || preflight::is_missing_extension(f)) {
                    let rehearsed =
                        rehearsal::rehearse(&destination, &at_destination, &scratch, &definition, &plan, &roles_to_come);
                    found = failure::merged(found, rehearsed.await.map_err(|e| fail(&e))?);
                }
                Ok::<_, Failure>(found)
            };
            match checked.await {
                Ok(more) => findings.extend(more),
                Err(error) => {
                    findings.push(Finding { database: database.clone(), ..failed(Code::CheckFailed, &database, &error) })
                }
            }
        }
        findings.extend(plan.findings);
    }
    Ok(findings)
}

/// What the destination says against settings of roles and of the selected databases.
async fn setting_values(source: &Session, destination: &Session, selected: &[(u32, String)]) -> Result<Vec<Finding>, Failure> {
    let fail = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let roles = roles::read(source).await.map_err(|e| fail(&e))?;
    let mut definitions = databases::read(source).await.map_err(|e| fail(&e))?;
    definitions.retain(|d| selected.iter().any(|(_, name)| *name == d.name));
    preflight::setting_values(&roles, &definitions, destination).await.map_err(|e| fail(&e))
}

/// The ledger's entries; none where the database of that name has no ledger, which `run` will refuse.
async fn known_effects(control: &Session, mapping: &str) -> Result<Vec<SideEffect>, Failure> {
    let ours = control
        .query_one("SELECT pg_catalog.to_regclass('migrator.side_effect') IS NOT NULL", &[])
        .await
        .map_err(|e| Failure::Failed(retry::message(&e)))?;
    if !ours.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    ledger::in_force(control, mapping).await.map_err(|e| Failure::Failed(e.to_string()))
}
