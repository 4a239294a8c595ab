//! Carrying roles and database definitions over: the plans of [`roles`] and [`databases`], executed.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::databases::Adjustment;
use super::roles::RoleSetting;
use super::roles::{self, Fate, RoleStatement, StatementKind};
use super::tablespaces::Placement;
use super::{Setting, databases, label_provider, setting, tablespaces};
use crate::config::{self, RolePolicy};
use crate::cutover::block;
use crate::finding::{Code, Finding, Severity};
use crate::ledger::{self, Kind, Side, SideEffect};
use crate::object;
use crate::object::parameter::parameter_grants;
use crate::plan::draft::Part;
use crate::plan::{ObjectName, Section, Statement};
use crate::postgres::{self, Endpoint, Session, quote, retry};
use crate::preflight;

/// Why roles or a database's definition can't be carried over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The destination can't be reached.
    #[error(transparent)]
    Connect(#[from] postgres::connect::Error),
    /// The roles can't be read.
    #[error(transparent)]
    Roles(#[from] roles::Error),
    /// The privileges on parameters can't be read.
    #[error(transparent)]
    Parameters(#[from] object::Error),
    /// The databases can't be read.
    #[error(transparent)]
    Databases(#[from] databases::Error),
    /// The tablespaces can't be read.
    #[error(transparent)]
    Tablespaces(#[from] tablespaces::Error),
    /// The destination's variables can't be read.
    #[error(transparent)]
    Setting(#[from] setting::Error),
    /// The destination's providers of security labels can't be asked for.
    #[error(transparent)]
    LabelProvider(#[from] label_provider::Error),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// The destination went away in between.
    #[error("carrying {what} over: {}", retry::message(.source))]
    Statement {
        /// The role or database.
        what: String,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The database is gone from the source.
    #[error("the database {0} is no longer on the source")]
    Gone(String),
}

/// What became of the roles.
#[derive(Debug, Default)]
pub struct Outcome {
    /// By role: what became of it, and what went wrong, if anything did.
    pub fates: BTreeMap<String, (Fate, Option<String>)>,
    /// What to know.
    pub findings: Vec<Finding>,
}

/// Plans the roles of a mapping from what both sides have now.
pub async fn plan_roles(
    mapping: &str,
    settings: &config::Mapping,
    source: &Session,
    destination: &Client,
    control: Option<&Client>,
    databases: BTreeSet<String>,
) -> Result<roles::RolePlan, Error> {
    let mut on_source = roles::read(source).await?;
    if let Some(control) = control {
        without_block(&ledger::in_force_of(control, mapping, &[Kind::WriteBlock]).await?, &mut on_source.settings);
    }
    let existing = roles::read(destination).await?;
    let ours = match control {
        Some(control) => {
            ledger::in_force(control, mapping).await?.into_iter().filter(|e| e.kind == Kind::Role).map(|e| e.object).collect()
        }
        None => BTreeSet::new(),
    };
    let options = roles::Options {
        policy: match settings.roles {
            RolePolicy::Merge => roles::Policy::Merge,
            RolePolicy::Skip => roles::Policy::Skip,
            RolePolicy::Fail => roles::Policy::Fail,
        },
        fallback_password: settings.fallback_password.clone(),
        ours,
        databases,
        unknown_settings: setting::unknown(destination, &on_source.setting_names()).await?,
        own_role: own_role(destination).await?,
        source_version: source.version(),
    };
    let mut plan = roles::plan(&on_source, &existing, &options);
    let parameters = parameter_grants(source, source.version()).await?;
    let names = parameters.iter().map(|parameter| parameter.name.clone()).collect();
    let unknown = setting::unknown(destination, &names).await?;
    roles::plan_parameters(&mut plan, &parameters, &existing.predefined, &unknown);
    let (names, _) = tablespaces::read(source, destination, &settings.tablespaces).await?;
    let is_carried = |role: &str| {
        role.is_empty()
            || existing.predefined.contains(role)
            || matches!(plan.fates.get(role), Some(Fate::Created | Fate::Merged))
    };
    let additions = tablespaces::additions(source, destination, &names, is_carried).await?;
    plan.statements.extend(additions.into_iter().map(|addition| RoleStatement {
        role: String::new(),
        kind: match addition.label_of {
            Some(provider) => {
                StatementKind::Label { provider, object: format!("tablespace {}", quote::ident(&addition.tablespace)) }
            }
            None => StatementKind::Tablespace { name: addition.tablespace },
        },
        printable: addition.sql.clone(),
        sql: addition.sql.into(),
    }));
    leave_out_labels(&mut plan, destination).await?;
    Ok(plan)
}

async fn own_role(destination: &Client) -> Result<String, Error> {
    let asked = destination.query_one("SELECT session_user::text", &[]).await;
    asked.and_then(|row| row.try_get(0)).map_err(|source| Error::Statement { what: "the roles".to_owned(), source })
}

/// While writes are blocked, the source's roles have a setting of ours: puts back what was there before.
fn without_block(blocks: &[SideEffect], settings: &mut Vec<RoleSetting>) {
    for entry in blocks.iter().map(block::Entry::of) {
        let Some(role) = entry.role else { continue };
        let database = Some(entry.database);
        settings.retain(|s| s.role != role || s.database != database || !s.setting.name.eq_ignore_ascii_case(block::VARIABLE));
        let previous = entry.previous.map(|value| Setting { name: block::VARIABLE.to_owned(), value });
        settings.extend(previous.map(|setting| RoleSetting { role, database, setting }));
    }
}

/// Takes labels out of the plan whose provider the destination has not loaded, with a finding for each provider.
async fn leave_out_labels(plan: &mut roles::RolePlan, destination: &Client) -> Result<(), Error> {
    let mut labelled: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for statement in &plan.statements {
        if let StatementKind::Label { provider, object } = &statement.kind {
            labelled.entry(provider.clone()).or_default().push(object.clone());
        }
    }
    let missing = label_provider::missing(destination, labelled.keys().cloned().collect()).await?;
    let of_missing = labelled.iter().filter(|(provider, _)| missing.contains(*provider));
    plan.findings.extend(of_missing.map(|(provider, objects)| label_provider::finding("", provider, objects, objects.len())));
    plan.statements.retain(|s| !matches!(&s.kind, StatementKind::Label { provider, .. } if missing.contains(provider)));
    Ok(())
}

/// Brings the destination's roles up to the source's. A role that can't be made is a finding; the others go on.
pub async fn carry_roles(
    mapping: &str,
    settings: &config::Mapping,
    source: &Session,
    destination: &Endpoint,
    control: &Session,
    databases: BTreeSet<String>,
) -> Result<Outcome, Error> {
    let plan = plan_roles(mapping, settings, source, control, Some(control), databases).await?;
    let mut outcome =
        Outcome { fates: plan.fates.iter().map(|(role, fate)| (role.clone(), (*fate, None))).collect(), findings: plan.findings };
    // Hashes are in some of these: nothing of this session is logged.
    let session = destination.connect_quiet(&destination.instance.database).await?;
    for statement in &plan.statements {
        let recorded = match &statement.kind {
            StatementKind::Create => Some((Kind::Role, statement.role.clone())),
            StatementKind::Membership { of } => Some((Kind::Membership, format!("{} in {of}", statement.role))),
            StatementKind::Alter
            | StatementKind::Comment
            | StatementKind::Label { .. }
            | StatementKind::Setting(_)
            | StatementKind::Parameter { .. }
            | StatementKind::Tablespace { .. } => None,
        };
        if let Some((kind, object)) = recorded {
            ledger::record(control, mapping, Side::Destination, "", kind, &object, &json!({})).await?;
        }
        if let Some(finding) = execute(&session, statement).await? {
            if !statement.role.is_empty() {
                outcome.fates.entry(statement.role.clone()).or_insert((Fate::Failed, None)).1 = Some(finding.reason.clone());
            }
            outcome.findings.push(finding);
        }
    }
    tracing::info!(roles = outcome.fates.len(), statements = plan.statements.len(), "roles carried over");
    Ok(outcome)
}

/// Executes a statement about a role or a parameter. The finding shows it without its password.
async fn execute(session: &Session, statement: &RoleStatement) -> Result<Option<Finding>, Error> {
    let what = match &statement.kind {
        StatementKind::Parameter { name } => format!("parameter {name}"),
        StatementKind::Tablespace { name } => format!("tablespace {name}"),
        StatementKind::Label { object, .. } => object.clone(),
        _ => format!("role {}", statement.role),
    };
    match session.batch_execute(statement.sql.expose_secret()).await {
        Ok(()) => Ok(None),
        Err(source) if retry::is_transient(&source) => Err(Error::Statement { what, source }),
        Err(error) => Ok(Some(match &statement.kind {
            StatementKind::Setting(setting) if preflight::minds_value(&error) => Finding {
                statement: Some(statement.printable.clone()),
                ..preflight::setting_refused(
                    "",
                    &format!("role {}", quote::ident(&statement.role)),
                    setting,
                    &retry::message(&error),
                )
            },
            _ => role_failed(what, statement, &error),
        })),
    }
}

fn role_failed(what: String, statement: &RoleStatement, error: &tokio_postgres::Error) -> Finding {
    Finding {
        severity: Severity::Error,
        database: String::new(),
        code: Code::RoleFailed,
        object: what,
        reason: retry::message(error),
        fix: "do on the destination by hand as the statement says, or mend what the message names".to_owned(),
        statement: Some(statement.printable.clone()),
    }
}

/// The definition of one database, with its placement by the mapping's tablespaces, and the variables in it that the destination
/// does not know.
pub async fn definition(
    source: &Client,
    destination: &Client,
    settings: &config::Mapping,
    name: &str,
) -> Result<(databases::Definition, BTreeSet<String>), Error> {
    let (mut definition, unknown) = unplaced(source, destination, name).await?;
    let (names, _) = tablespaces::read(source, destination, &settings.tablespaces).await?;
    definition.placement = Placement::new(definition.tablespace.as_deref(), &names);
    Ok((definition, unknown))
}

async fn unplaced(source: &Client, destination: &Client, name: &str) -> Result<(databases::Definition, BTreeSet<String>), Error> {
    let definition =
        databases::read(source).await?.into_iter().find(|d| d.name == name).ok_or_else(|| Error::Gone(name.to_owned()))?;
    let unknown = setting::unknown(destination, &definition.setting_names()).await?;
    Ok((definition, unknown))
}

/// Gives a database that was made its settings, grants, comment, labels, and its roles' settings in it; safe to repeat. Each statement
/// that fails is a finding with that statement.
pub async fn settle_database(
    mapping: &str,
    settings: &config::Mapping,
    source: &Session,
    control: &Session,
    definition: &databases::Definition,
    unknown: &BTreeSet<String>,
) -> Result<Vec<Finding>, Error> {
    let mut findings = definition.findings(unknown);
    for adjustment in databases::adjustments(definition, &definition.name, unknown) {
        match control.batch_execute(&adjustment.sql).await {
            Ok(()) => {}
            Err(source) if retry::is_transient(&source) => {
                return Err(Error::Statement { what: format!("database {}", definition.name), source });
            }
            Err(error) => findings.push(adjustment_failed(&definition.name, adjustment, &error)),
        }
    }
    let names = BTreeSet::from([definition.name.clone()]);
    let plan = plan_roles(mapping, settings, source, control, Some(control), names).await?;
    for statement in plan.in_database.get(&definition.name).into_iter().flatten() {
        if let Some(mut finding) = execute(control, statement).await? {
            finding.database.clone_from(&definition.name);
            findings.push(finding);
        }
    }
    for finding in &mut findings {
        finding.database.clone_from(&definition.name);
    }
    Ok(findings)
}

fn adjustment_failed(database: &str, adjustment: Adjustment, error: &tokio_postgres::Error) -> Finding {
    let object = format!("database {}", quote::ident(database));
    let reason = retry::message(error);
    let finding = if let Some(setting) = adjustment.setting.as_ref().filter(|_| preflight::minds_value(error)) {
        preflight::setting_refused(database, &object, setting, &reason)
    } else if let Some(provider) = label_provider::not_loaded(&reason) {
        label_provider::finding(database, provider, &[object], 1)
    } else {
        Finding {
            severity: Severity::Error,
            database: database.to_owned(),
            code: Code::DatabaseSettingFailed,
            object,
            reason,
            fix: "mend what the message names, and it is tried again by itself; or execute the statement on the destination by hand".to_owned(),
            statement: None,
        }
    };
    Finding { statement: Some(adjustment.sql), ..finding }
}

/// In the ledger, with the database that we made: what the source's had for `default_transaction_read_only` then.
const READ_ONLY: &str = "read_only";

/// What the ledger is to know of a database that is being made.
pub fn to_remember(definition: &databases::Definition, oid: u32) -> Value {
    let read_only = definition.settings.iter().find(|s| s.name.eq_ignore_ascii_case(block::VARIABLE)).map(|s| &s.value);
    json!({ "oid": oid, "unsettled": true, READ_ONLY: read_only })
}

/// The settings of a database, and of our role in it, that would have been in the way of the migration, as statements for the cutover; with
/// `everywhere` also our role's that hold in all databases.
pub async fn at_cutover(
    mapping: &str,
    settings: &config::Mapping,
    source: &Session,
    control: &Client,
    name: &str,
    everywhere: bool,
) -> Result<Vec<Statement>, Error> {
    let (mut definition, unknown) = unplaced(source, control, name).await?;
    let effects = ledger::in_force_of(control, mapping, &[Kind::Database]).await?;
    // By now the source's own value may be a write block, ours or one that the operator made by hand.
    let made = effects.iter().find(|effect| effect.object == name);
    let read_only = made.and_then(|made| made.detail.get(READ_ONLY)).and_then(Value::as_str).map(str::to_owned);
    definition.settings.retain(|s| !s.name.eq_ignore_ascii_case(block::VARIABLE));
    definition.settings.extend(read_only.map(|value| Setting { name: block::VARIABLE.to_owned(), value }));
    let mut statements = databases::settings_at_cutover(&definition, name, &unknown);
    let names = BTreeSet::from([name.to_owned()]);
    let mut of_role = plan_roles(mapping, settings, source, control, Some(control), names).await?.at_cutover;
    statements.extend(of_role.remove(&Some(name.to_owned())).unwrap_or_default());
    if everywhere {
        statements.extend(of_role.remove(&None).unwrap_or_default());
    }
    Ok(statements
        .into_iter()
        .map(|(sql, undo)| Statement {
            sql,
            secret: None,
            object: ObjectName { class: "database", schema: String::new(), parent: String::new(), name: name.to_owned() }.into(),
            part: Part::Cutover,
            section: Section::AtCutover,
            table: None,
            between: None,
            done_when: None,
            undo: Some(undo),
            after: Box::default(),
        })
        .collect())
}
