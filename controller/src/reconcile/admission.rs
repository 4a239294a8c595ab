//! Admission: what is asked before a mapping is begun or gone on with. Nothing here makes anything on a server that is refused.

use std::sync::Arc;

use super::lock::Lock;
use super::request::{self, Stage};
use crate::config::{self, Config};
use crate::finding::{Code, Finding, Severity};
use crate::gentle::room;
use crate::ledger;
use crate::monitor::projection::{self, Projection};
use crate::postgres::{Endpoint, Session};
use crate::provision::{control, tablespaces};
use crate::stream::Names;
use crate::{cutover, preflight};

use super::keeper;
use super::mapping::{Error, Mapping, REFUSED_FOR, doing};

impl Mapping {
    /// The control database as it stands; none if there is no such thing yet, or no way to it, which the checks will tell.
    pub(super) async fn standing(&self) -> Result<Option<Session>, Error> {
        let Ok(control) = self.destination.connect(&self.control_database).await else { return Ok(None) };
        let installed = control
            .query_one("SELECT pg_catalog.to_regclass('migrator.request') IS NOT NULL", &[])
            .await
            .map_err(doing("looking for the extension"))?;
        if !installed.get::<_, bool>(0) {
            return Ok(None);
        }
        Ok(Some(control))
    }

    /// How far the mapping is, by its requests.
    pub(super) async fn stage(&self, control: &Session) -> Result<Stage, Error> {
        request::stage(control, &self.name).await.map_err(doing("reading the requests"))
    }

    /// Whether the mapping is complete: then nothing is checked any more, and a source that has been switched off since
    /// is no trouble.
    pub(super) async fn is_over(&self, control: &Session) -> Result<bool, Error> {
        if self.stage(control).await? != Stage::Complete {
            return Ok(false);
        }
        self.settle(control, "complete", "complete").await?;
        tracing::info!("complete");
        Ok(true)
    }

    /// Lets writes in again on a source that a cutover which is over left blocked; before any check could refuse to go on. For whoever holds
    /// the lock: nobody else is at such a cutover.
    pub(super) async fn release_orphans(&self, control: &Session) -> Result<(), Error> {
        let Stage::Migrating { cutover: running, .. } = self.stage(control).await? else {
            // After a cutover the block stays until the completion.
            return Ok(());
        };
        let orphans = cutover::orphans(control, &self.name, running).await?;
        if orphans.is_empty() {
            return Ok(());
        }
        // What set it may still be at it.
        let source = self.source.connect(&self.source.instance.database).await?;
        self.end_leftovers(Some(&source), control).await?;
        tracing::warn!("taking back a write block that was left behind");
        // What writers write is applied at once: before that, nothing may be on any more that disturbs it.
        let off = cutover::switch::off(control, &self.destination, &self.name, &self.board);
        match tokio::time::timeout(cutover::SWITCH_OFF_LIMIT, off).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "what was switched on could not be switched off yet"),
            Err(_) => tracing::error!("what was switched on could not be switched off yet: it takes too long"),
        }
        let lock = Lock::of(&self.destination, &self.control_database, &self.name, control);
        cutover::block::unblock(&self.source, control, &lock, &orphans).await;
        Ok(())
    }

    /// What must hold before we may so much as make a control database: both servers answer, are what we know, and have
    /// room. Findings about single databases are left to those.
    async fn before_anything(&self) -> Result<Before, Error> {
        let (source, destination) = match preflight::reach(&self.source, &self.destination).await {
            (Ok(source), Ok(destination)) => (source, destination),
            (Err(source), Ok(destination)) => {
                let destination =
                    destination_findings(&self.name, &self.control_database, &destination, &[], &[], &self.settings).await;
                return Ok(Before { source: vec![source], destination });
            }
            (source, Err(destination)) => {
                return Ok(Before { source: source.err().into_iter().collect(), destination: vec![destination] });
            }
        };
        let selected = databases(&self.source, &source, &self.settings).await?;
        let mut found = Before {
            source: source_findings(&self.name, &self.source, &source, &selected, &[], &self.settings).await,
            destination: destination_findings(&self.name, &self.control_database, &destination, &selected, &[], &self.settings)
                .await,
        };
        let (_, unplaced) = tablespaces::read(&source, &destination, &self.settings.tablespaces).await?;
        // There may be a control database all the same, which says so.
        found.source.extend(unplaced);
        found.source.retain(|f| f.database.is_empty());
        found.destination.retain(|f| f.database.is_empty());
        if selected.is_empty() {
            found.source.push(no_database(&self.name));
        }
        Ok(found)
    }

    /// Asks what must hold before anything is begun or gone on with.
    pub(super) async fn check(&self) -> Result<(), Error> {
        let before = self.before_anything().await?;
        let destination_is_sound = reasons(&before.destination).is_none();
        let findings = [before.source, before.destination].concat();
        let refused = reasons(&findings);
        self.board.set_mapping_findings("preflight", findings);
        let Some(reasons) = refused else { return Ok(()) };
        if destination_is_sound {
            self.tell_refusal().await?;
        }
        Err(Error::Refused(reasons))
    }

    /// Waits until a mapping that was refused is looked at again. What the source keeps meanwhile for streams that there are already is
    /// looked after.
    pub(super) async fn wait_refused(&mut self) {
        let guarding = async {
            if let Err(error) = self.guard().await {
                tracing::debug!(%error, "what the source keeps can't be looked after");
            }
            std::future::pending::<()>().await;
        };
        // It never ends by itself.
        let _ = tokio::time::timeout(REFUSED_FOR, guarding).await;
    }

    async fn guard(&mut self) -> Result<(), Error> {
        let Some(control) = self.standing().await? else { return Ok(()) };
        if ledger::in_force_of(&control, &self.name, &[ledger::Kind::Slot]).await?.is_empty() {
            return Ok(());
        }
        self.lock(&control).await?;
        let shared = Arc::new(self.destination.connect(&self.control_database).await?);
        let holds = keeper::holds(&self.settings);
        keeper::run(self.context(shared, &control, &holds), holds).await;
        Ok(())
    }

    /// Says in the control database that the mapping is refused. The destination itself is sound: so there may be one.
    async fn tell_refusal(&self) -> Result<(), Error> {
        let mut control = control::open(&self.destination, &self.control_database).await?;
        let identity = projection::Identity {
            mapping: self.name.clone(),
            source: self.source.name.clone(),
            destination: self.destination.name.clone(),
            source_version: None,
            destination_version: Some(control.version()),
        };
        Projection::new(identity, self.board.clone()).write(&mut control).await.map_err(doing("writing the projection"))
    }

    /// Why the roles forbid to go on: with roles = "fail", one that the destination has already.
    pub(super) fn roles_refused(&self) -> Option<String> {
        let view = self.board.lock();
        let found: Vec<Finding> =
            view.findings.get("roles").into_iter().flatten().filter(|f| f.code == Code::RoleExists).cloned().collect();
        reasons(&found)
    }
}

/// Nothing to do.
pub fn no_database(mapping: &str) -> Finding {
    Finding {
        severity: Severity::Error,
        database: String::new(),
        code: Code::NoDatabase,
        object: format!("mapping {mapping}"),
        reason: "no database of the source is selected".to_owned(),
        fix: format!("look at [mappings.{mapping}] databases.include and databases.exclude"),
        statement: None,
    }
}

/// What the checks of both instances found.
#[derive(Debug)]
pub struct Before {
    /// About the source.
    pub source: Vec<Finding>,
    /// About the destination.
    pub destination: Vec<Finding>,
}

/// The endpoints of a mapping, labelled so that a restarted controller finds its predecessor's sessions.
pub fn endpoints(config: &Config, name: &str, mapping: &config::Mapping, label: &str) -> (Endpoint, Endpoint) {
    let endpoint =
        |instance: &str| Endpoint::new(instance, config.instances[instance].clone(), format!("pg-migrator/{label}{name}"));
    (endpoint(&mapping.source), endpoint(&mapping.destination))
}

/// The standby that a mapping reads from, if it names one.
pub fn standby(config: &Config, name: &str, mapping: &config::Mapping, label: &str) -> Option<Endpoint> {
    let standby = mapping.copy_from.as_ref()?;
    Some(Endpoint::new(standby, config.instances[standby].clone(), format!("pg-migrator/{label}{name}")))
}

/// The checks of the source instance. What our names say was made by us already needs no room any more.
pub async fn source_findings(
    mapping: &str,
    endpoint: &Endpoint,
    source: &Session,
    selected: &[(u32, String)],
    effects: &[ledger::SideEffect],
    settings: &config::Mapping,
) -> Vec<Finding> {
    let connections = connections(selected, settings);
    let needs = preflight::SourceNeeds {
        streams: streams(mapping, selected, effects, settings),
        passes: settings.copy_workers.min(selected.len()),
        connections: settings.max_source_connections.map_or(connections, |limit| limit.min(connections)),
        own_slots: own_names(mapping),
        databases: selected.iter().map(|(_, name)| name.clone()).collect(),
    };
    let mut findings = preflight::source(source, source.version(), &needs).await;
    findings.extend(room::finding(mapping, settings.max_source_connections, selected.len()));
    // What the operator leaves out is left out knowingly.
    let mut kept = vec!["template1", "postgres"];
    kept.retain(|name| settings.databases.selects(name) && !selected.iter().any(|(_, selected)| selected == name));
    findings.extend(preflight::left_behind(endpoint, &kept).await);
    findings
}

/// The checks of the destination instance. What `effects` or our names say was made by us is no obstacle.
pub async fn destination_findings(
    mapping: &str,
    control_database: &str,
    destination: &Session,
    selected: &[(u32, String)],
    effects: &[ledger::SideEffect],
    settings: &config::Mapping,
) -> Vec<Finding> {
    let needs = preflight::DestinationNeeds {
        streams: streams(mapping, selected, effects, settings),
        connections: connections(selected, settings),
        own_subscriptions: own_names(mapping),
        databases: selected.iter().map(|(_, name)| name.clone()).collect(),
        ours: effects.iter().filter(|e| e.kind == ledger::Kind::Database).map(|e| e.object.clone()).collect(),
        control_database: control_database.to_owned(),
    };
    preflight::destination(destination, destination.version(), &needs).await
}

/// The names of a mapping's slots and subscriptions, as [`Names`] makes them, as a regular expression: not those of a mapping whose name
/// begins alike. A mapping's name has no character that means anything there.
fn own_names(mapping: &str) -> String {
    format!("^pg_migrator_{mapping}_[0-9]+(_s[0-9]+)?$")
}

/// The streams of all databases.
fn streams(mapping: &str, selected: &[(u32, String)], effects: &[ledger::SideEffect], settings: &config::Mapping) -> usize {
    selected.iter().map(|(oid, name)| Names::of_database(mapping, name, *oid, effects, settings.streams).len()).sum()
}

/// Each worker has a session on both sides; a database has up to three more, and a mapping four.
fn connections(selected: &[(u32, String)], settings: &config::Mapping) -> usize {
    settings.copy_workers + settings.index_workers + 3 * selected.len() + 4
}

/// The errors among findings, in words; none if there is none.
pub(super) fn reasons(findings: &[Finding]) -> Option<String> {
    let errors: Vec<String> =
        findings.iter().filter(|f| f.severity == Severity::Error).map(|f| format!("{}: {}", f.object, f.reason)).collect();
    if errors.is_empty() { None } else { Some(errors.join("; ")) }
}

/// Databases that managed services keep for themselves: nobody else can connect to them.
const KEPT_BY_PROVIDERS: [&str; 4] = ["azure_maintenance", "azure_sys", "cloudsqladmin", "rdsadmin"];

/// The databases of the source that take part: OID and name. `postgres`, which every instance has, takes part only if
/// somebody has made something in it.
pub async fn databases(endpoint: &Endpoint, source: &Session, settings: &config::Mapping) -> Result<Vec<(u32, String)>, Error> {
    let rows = source.query(include_str!("databases.sql"), &[]).await.map_err(doing("listing the source's databases"))?;
    let mut selected = Vec::new();
    for row in rows {
        let (oid, name): (u32, String) = (row.get(0), row.get(1));
        if !settings.databases.selects(&name) {
            continue;
        }
        if name == "postgres" {
            match is_used(endpoint, &name).await {
                Ok(true) => {}
                Ok(false) => continue,
                // Where we may not look, the database's own task or check will say why.
                Err(Error::Connect(error)) if !error.is_transient() => {}
                Err(error) => return Err(error),
            }
        }
        if KEPT_BY_PROVIDERS.contains(&name.as_str()) {
            continue;
        }
        selected.push((oid, name));
    }
    Ok(selected)
}

/// Whether a database holds anything that initdb did not put there.
async fn is_used(endpoint: &Endpoint, database: &str) -> Result<bool, Error> {
    let session = endpoint.connect(database).await?;
    let row = session.query_one(include_str!("inhabited.sql"), &[]).await.map_err(doing("looking into the database postgres"))?;
    Ok(row.get("inhabited"))
}
