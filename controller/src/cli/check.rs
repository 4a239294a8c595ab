//! `pg-migrator check`: everything that can be known before anything is touched, all findings at once, worst first.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{Answer, Failure, print, print_json, terminal};
use crate::config::{self, Config};
use crate::finding::{Code, Finding, Severity};
use crate::ledger::{self, SideEffect};
use crate::postgres::{Endpoint, Session, retry};
use crate::preflight;
use crate::provision::roles::Fate;
use crate::provision::{carry, cause, control, databases, rehearsal, roles, tablespaces};
use crate::reconcile::decide::Target;
use crate::reconcile::{act, admission, fill, observe};
use crate::stream::{Names, publications};

/// An interrupted check takes so long to tidy up, and no longer.
const TIDY_LIMIT: Duration = Duration::from_secs(30);

pub(super) async fn run(config: &Config, as_json: bool) -> Result<Answer, Failure> {
    let failed = |e: std::io::Error| Failure::Failed(format!("can't wait for signals: {e}"));
    let mut terminated = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(failed)?;
    let (stop, stopped) = watch::channel(false);
    let checking = async {
        let mut all = Vec::new();
        for (name, settings) in &config.mappings {
            let mut findings = cause::told_once(findings(config, name, settings, &stopped).await);
            findings.sort();
            findings.dedup();
            all.push((name, findings));
        }
        all
    };
    tokio::pin!(checking);
    let all = tokio::select! {
        all = &mut checking => Some(all),
        _ = terminated.recv() => None,
        _ = interrupted.recv() => None,
    };
    let Some(all) = all else {
        stop.send_replace(true);
        // Whatever is rehearsed leaves a scratch database, which is dropped first.
        if tokio::time::timeout(TIDY_LIMIT, checking).await.is_err() {
            tracing::warn!("a scratch database may be left on a destination; the next check or run drops it");
        }
        return Err(Failure::Failed("interrupted".to_owned()));
    };
    let sound = all.iter().all(|(_, findings)| findings.iter().all(|f| f.severity != Severity::Error));
    if as_json {
        let mappings: Vec<_> = all
            .iter()
            .map(|(name, findings)| {
                let ok = findings.iter().all(|f| f.severity != Severity::Error);
                json!({ "mapping": name, "ok": ok, "findings": findings })
            })
            .collect();
        print_json(&json!({ "ok": sound, "mappings": mappings }));
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
        let place = if finding.database.is_empty() { String::new() } else { format!("{}: ", terminal::line(&finding.database)) };
        print(&format!("  {} [{}] {place}{}", finding.severity.as_str(), finding.code, terminal::line(&finding.object)));
        print(&format!("      {}", terminal::paragraph(&finding.reason, "      ")));
        if !finding.fix.is_empty() {
            print(&format!("      fix: {}", terminal::paragraph(&finding.fix, "      ")));
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

/// One mapping, with sessions on the sides that answer.
struct Check<'a> {
    config: &'a Config,
    name: &'a str,
    settings: &'a config::Mapping,
    source: Endpoint,
    destination: Endpoint,
    /// Turns true when the operator has had enough.
    stopped: watch::Receiver<bool>,
}

/// All findings of one mapping. The source is only read; on the destination the schema is rehearsed in a scratch database
/// that is dropped in the end, and nothing else is made. What can't be looked at is a finding, and hides nothing else.
async fn findings(config: &Config, name: &str, settings: &config::Mapping, stopped: &watch::Receiver<bool>) -> Vec<Finding> {
    let (source, destination) = admission::endpoints(config, name, settings, "check/");
    let check = Check { config, name, settings, source, destination, stopped: stopped.clone() };
    match preflight::reach(&check.source, &check.destination).await {
        (Ok(source), Ok(destination)) => check.both(&source, &destination).await,
        (source, destination) => {
            let mut findings = Vec::new();
            match (source, destination) {
                (Ok(source), Err(unreachable)) => {
                    findings.push(unreachable);
                    findings.extend(check.source_alone(&source).await);
                }
                (Err(unreachable), Ok(destination)) => {
                    findings.push(unreachable);
                    findings.extend(check.destination_alone(&destination).await);
                }
                (source, destination) => findings.extend(source.err().into_iter().chain(destination.err())),
            }
            findings
        }
    }
}

impl Check<'_> {
    /// What can be said of the source while the destination does not answer.
    async fn source_alone(&self, source: &Session) -> Vec<Finding> {
        match admission::databases(&self.source, source, self.settings).await {
            Ok(selected) => admission::source_findings(self.name, &self.source, source, &selected, &[], self.settings).await,
            Err(error) => vec![failed(Code::CheckFailed, &format!("mapping {}", self.name), &error)],
        }
    }

    /// What can be said of the destination while the source does not answer.
    async fn destination_alone(&self, destination: &Session) -> Vec<Finding> {
        let (name, control) = (self.name, &self.config.control_database);
        admission::destination_findings(name, control, destination, &[], &[], self.settings).await
    }

    async fn both(&self, source: &Session, destination: &Session) -> Vec<Finding> {
        let mapping = format!("mapping {}", self.name);
        let mut findings = Vec::new();
        // What an earlier run made is ours, and no obstacle.
        let (control, effects) = match self.ledger(destination).await {
            Ok(found) => found,
            Err(error) => {
                findings.push(failed(Code::CheckFailed, &mapping, &error));
                (None, Vec::new())
            }
        };
        let selected = match admission::databases(&self.source, source, self.settings).await {
            Ok(selected) => selected,
            Err(error) => {
                findings.push(failed(Code::CheckFailed, &mapping, &error));
                Vec::new()
            }
        };
        if selected.is_empty() && findings.is_empty() {
            findings.push(admission::no_database(self.name));
        }
        let (name, settings) = (self.name, self.settings);
        findings.extend(admission::source_findings(name, &self.source, source, &selected, &effects, settings).await);
        if let Some(standby) = admission::standby(self.config, name, settings, "check/") {
            findings.extend(fill::look_at_standby(source, &standby).await);
        }
        let control_database = &self.config.control_database;
        findings
            .extend(admission::destination_findings(name, control_database, destination, &selected, &effects, settings).await);
        if findings.iter().any(|f| matches!(f.code, Code::SourceVersion | Code::DestinationVersion)) {
            // Nothing else can be asked of a server that we do not know.
            return findings;
        }
        if let Err(error) =
            tablespaces::read(source, destination, &settings.tablespaces).await.map(|(_, unplaced)| findings.extend(unplaced))
        {
            findings.push(failed(Code::CheckFailed, &mapping, &error));
        }
        let names = selected.iter().map(|(_, name)| name.clone()).collect();
        let mut roles_to_come = BTreeSet::new();
        match carry::plan_roles(name, settings, source, destination, control.as_deref(), names).await {
            Ok(plan) => {
                findings.extend(plan.findings);
                let created = plan.fates.into_iter().filter(|(_, fate)| *fate == Fate::Created);
                roles_to_come.extend(created.map(|(role, _)| role));
            }
            Err(error) => findings.push(failed(Code::CheckFailed, &mapping, &error)),
        }
        // What is refused as a whole is not rehearsed: nothing would come of it.
        let refuses =
            |f: &Finding| f.severity == Severity::Error && f.database.is_empty() && !preflight::costs_its_users_alone(f);
        let admitted = !findings.iter().any(refuses);
        match setting_values(source, destination, &selected).await {
            Ok(found) => findings.extend(found),
            Err(error) => findings.push(failed(Code::CheckFailed, &mapping, &error)),
        }
        for (oid, database) in selected {
            let one = Single { oid, name: &database, effects: &effects, roles_to_come: &roles_to_come, admitted };
            let mut found = self.database(source, destination, &one).await;
            for finding in &mut found {
                finding.database.clone_from(&database);
            }
            findings.extend(found);
        }
        findings
    }

    /// The control database, if there is one, and what its ledger says.
    async fn ledger(&self, destination: &Session) -> Result<(Option<Session>, Vec<SideEffect>), Failure> {
        let fail = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
        let name = &self.config.control_database;
        if !control::exists(&self.destination, destination, name).await.map_err(|e| fail(&e))? {
            return Ok((None, Vec::new()));
        }
        let control = self.destination.connect(name).await.map_err(|e| fail(&e))?;
        let effects = known_effects(&control, self.name).await?;
        Ok((Some(control), effects))
    }

    /// One database: its own checks, its plan, and the plan's rehearsal.
    async fn database(&self, source: &Session, destination: &Session, one: &Single<'_>) -> Vec<Finding> {
        let database = one.name;
        let mut findings = Vec::new();
        let mut session = match self.source.connect(database).await {
            Ok(session) => session,
            Err(error) => return vec![preflight::unreachable(database, &error.to_string())],
        };
        let names = Names::of_database(self.name, database, one.oid, one.effects, self.settings.streams);
        for names in &names {
            match preflight::names(&session, database, names, one.effects).await {
                Ok(found) => findings.extend(found),
                Err(error) => findings.push(failed(Code::CheckFailed, database, &error)),
            }
        }
        let definition = match carry::definition(source, destination, self.settings, database).await {
            Ok((definition, _)) => Some(definition),
            Err(error) => {
                findings.push(failed(Code::CheckFailed, database, &error));
                None
            }
        };
        let placement = definition.as_ref().map(|d| d.placement.clone()).unwrap_or_default();
        let ours = publications(&names);
        let policy = self.settings.replica_identity;
        let plan = match act::read_plan(&mut session, database, &ours, one.effects, policy, &placement).await {
            Ok(plan) => Some(plan),
            Err(error) => {
                findings.push(failed(Code::PlanFailed, database, &error));
                None
            }
        };
        let target = match observe::target(destination, database, one.effects).await {
            Ok(target) => target,
            Err(error) => {
                findings.push(failed(Code::CheckFailed, database, &error));
                Target::Foreign
            }
        };
        // What is there already has been through all of this.
        if target != Target::Ours
            && let Some(definition) = &definition
        {
            findings.extend(preflight::database(&session, destination, definition).await);
            // Without an extension the rest can be rehearsed all the same, and tells what needs it.
            let sound = findings.iter().all(|f| f.severity != Severity::Error || preflight::costs_its_users_alone(f));
            if target == Target::Missing
                && one.admitted
                && !*self.stopped.borrow()
                && sound
                && let Some(plan) = &plan
            {
                let scratch = rehearsal::scratch_name(self.name, one.oid);
                let mut stopped = self.stopped.clone();
                let stopped = async {
                    // The sender outlives every rehearsal.
                    let _ = stopped.wait_for(|stopped| *stopped).await;
                };
                let servers =
                    rehearsal::Servers { source: &self.source, destination: &self.destination, maintenance: destination };
                match rehearsal::rehearse(servers, &scratch, definition, plan, one.roles_to_come, stopped).await {
                    // The labels that can't be set are known with their providers.
                    Ok(found) => findings.extend(found.into_iter().filter(|f| f.code != Code::LabelProviderMissing)),
                    Err(error) => findings.push(failed(Code::CheckFailed, database, &error)),
                }
            }
        }
        findings.extend(plan.into_iter().flat_map(|plan| plan.findings));
        findings
    }
}

/// One database to look at.
struct Single<'a> {
    oid: u32,
    name: &'a str,
    effects: &'a [SideEffect],
    roles_to_come: &'a BTreeSet<String>,
    /// Whether the mapping is not refused as a whole.
    admitted: bool,
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
