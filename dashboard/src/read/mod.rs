//! What is read from a control database: one query a view, one type a row. Nothing else here talks to a server.

mod tables;

use std::collections::HashMap;

use serde::Serialize;
use tokio_postgres::{Client, Row};

pub use tables::{Order, Table, TableFilter, TablePage, tables};

/// How many open findings of a mapping are read; the counts are always whole.
pub const FINDINGS_SHOWN: i64 = 200;
/// How many events of a mapping are read.
pub const EVENTS_SHOWN: i64 = 40;

/// Why the views could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A query failed, or its rows have another shape than this dashboard knows.
    #[error("reading {what} failed")]
    Query {
        /// What was read.
        what: &'static str,
        /// What the driver or the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The control database is of a later version than this dashboard.
    #[error("the status {0:?} is unknown to this dashboard")]
    Status(String),
}

/// Where a mapping, a database or a table stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not begun.
    Pending,
    /// Being copied or catching up.
    InCatchup,
    /// In step with the source.
    Synced,
    /// Every fact needed for a cutover holds.
    CutoverReady,
    /// Needs attention.
    Problematic,
    /// Done and cleaned up.
    Complete,
}

impl Status {
    /// Every status, in the order a migration passes through them.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::InCatchup, Self::Synced, Self::CutoverReady, Self::Problematic, Self::Complete];

    /// The word of `migrator.status`.
    pub fn slug(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InCatchup => "in_catchup",
            Self::Synced => "synced",
            Self::CutoverReady => "cutover_ready",
            Self::Problematic => "problematic",
            Self::Complete => "complete",
        }
    }

    /// The word people read.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::InCatchup => "In Catchup",
            Self::Synced => "Synced",
            Self::CutoverReady => "Cutover Ready",
            Self::Problematic => "Problematic",
            Self::Complete => "Complete",
        }
    }

    /// The status of that name, if there is one.
    pub fn from_slug(slug: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.slug() == slug)
    }

    /// Whether everything has been copied where this is the status.
    pub fn is_copied(self) -> bool {
        matches!(self, Self::Synced | Self::CutoverReady | Self::Complete)
    }
}

/// A mapping with all that is shown about it.
#[derive(Debug, Clone, Serialize)]
pub struct Mapping {
    pub mapping: String,
    pub source: String,
    pub destination: String,
    /// `server_version_num`.
    pub source_version: Option<i32>,
    pub destination_version: Option<i32>,
    pub status: Status,
    pub phase: String,
    /// From the start of the mapping to the controller's last look.
    pub elapsed_seconds: f64,
    /// When the controller last looked, in seconds since 1970.
    pub updated_at_seconds: f64,
    /// How long ago that was when it was read.
    pub age_seconds: f64,
    pub controller_running: bool,
    pub ready: bool,
    pub blockers: Vec<String>,
    /// Bytes a second that may be copied now; `None` for no limit.
    pub copy_limit_bytes_per_second: Option<i64>,
    /// What slows the copy down beside the setting.
    pub slowed_down_by: Option<String>,
    pub databases: Vec<Database>,
    pub checks: Vec<Check>,
    /// The worst of the open findings, at most [`FINDINGS_SHOWN`].
    pub findings: Vec<Finding>,
    pub finding_counts: FindingCounts,
    /// The latest events, the newest first, at most [`EVENTS_SHOWN`].
    pub events: Vec<Event>,
    /// The latest requests, the newest first.
    pub requests: Vec<Request>,
}

/// A database of a mapping.
#[derive(Debug, Clone, Serialize)]
pub struct Database {
    pub database: String,
    pub status: Status,
    pub phase: String,
    pub waiting_for: Option<String>,
    pub tables_total: i64,
    pub tables_synced: i64,
    pub tables_in_catchup: i64,
    pub tables_problematic: i64,
    pub statements_total: i64,
    pub statements_done: i64,
    pub bytes_total: i64,
    pub bytes_copied: i64,
    pub bytes_per_second: Option<f64>,
    pub lag_bytes: Option<i64>,
    pub wal_retained_bytes: Option<i64>,
    /// How much it may be; `None` for no limit.
    pub wal_limit_bytes: Option<i64>,
    /// When that will be reached at the present pace; `None` for never.
    pub wal_limit_in_seconds: Option<f64>,
    pub lag_seconds: Option<f64>,
    pub eta_seconds: Option<f64>,
}

/// A fact a cutover needs.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    pub database: String,
    pub name: String,
    pub ok: bool,
    pub detail: String,
    pub fix: String,
}

/// Something an operator should know or do.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    pub database: String,
    pub severity: String,
    pub code: String,
    pub object: String,
    pub reason: String,
    pub fix: String,
    pub statement: Option<String>,
    pub found_at: String,
}

/// How many findings are open.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct FindingCounts {
    pub error: i64,
    pub warning: i64,
    pub info: i64,
}

impl FindingCounts {
    /// All of them.
    pub fn all(self) -> i64 {
        self.error + self.warning + self.info
    }
}

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// In UTC, as ISO 8601.
    pub at: String,
    pub database: String,
    pub level: String,
    pub message: String,
}

/// What an operator asked for.
#[derive(Debug, Clone, Serialize)]
pub struct Request {
    pub kind: String,
    pub requested_by: String,
    pub requested_at: String,
    pub started: bool,
    /// `None` until it has ended.
    pub succeeded: Option<bool>,
    pub report: Option<serde_json::Value>,
}

/// Everything the main page shows of one control database.
pub async fn mappings(client: &Client) -> Result<Vec<Mapping>, Error> {
    let failed = |what| move |source| Error::Query { what, source };
    let mappings = client.query(include_str!("mappings.sql"), &[]).await.map_err(failed("the mappings"))?;
    // Sent together on one connection, answered in order: one round trip.
    let (databases, checks, findings, counts, events, requests) = tokio::try_join!(
        async { client.query(include_str!("databases.sql"), &[]).await.map_err(failed("the databases")) },
        async { client.query(include_str!("checks.sql"), &[]).await.map_err(failed("the cutover checks")) },
        async { client.query(include_str!("findings.sql"), &[&FINDINGS_SHOWN]).await.map_err(failed("the findings")) },
        async { client.query(include_str!("finding_counts.sql"), &[]).await.map_err(failed("the number of findings")) },
        async { client.query(include_str!("events.sql"), &[&EVENTS_SHOWN]).await.map_err(failed("the events")) },
        async { client.query(include_str!("requests.sql"), &[]).await.map_err(failed("the requests")) },
    )?;

    let mut databases = by_mapping(&databases, "the databases", database)?;
    let mut checks = by_mapping(&checks, "the cutover checks", |row| Ok(check(row)?))?;
    let mut findings = by_mapping(&findings, "the findings", |row| Ok(finding(row)?))?;
    let mut counts = by_mapping(&counts, "the number of findings", |row| {
        Ok((row.try_get::<_, String>("severity")?, row.try_get::<_, i64>("open")?))
    })?;
    let mut events = by_mapping(&events, "the events", |row| Ok(event(row)?))?;
    let mut requests = by_mapping(&requests, "the requests", |row| Ok(request(row)?))?;

    mappings
        .iter()
        .map(|row| {
            let mut mapping = mapping(row).map_err(|error| error.about("the mappings"))?;
            let name = mapping.mapping.as_str();
            mapping.databases = databases.remove(name).unwrap_or_default();
            mapping.checks = checks.remove(name).unwrap_or_default();
            mapping.findings = findings.remove(name).unwrap_or_default();
            mapping.events = events.remove(name).unwrap_or_default();
            mapping.requests = requests.remove(name).unwrap_or_default();
            for (severity, open) in counts.remove(name).unwrap_or_default() {
                match severity.as_str() {
                    "error" => mapping.finding_counts.error = open,
                    "warning" => mapping.finding_counts.warning = open,
                    _ => mapping.finding_counts.info += open,
                }
            }
            Ok(mapping)
        })
        .collect()
}

/// Why a row is not what it should be.
enum BadRow {
    Column(tokio_postgres::Error),
    Status(String),
}

impl BadRow {
    fn about(self, what: &'static str) -> Error {
        match self {
            Self::Column(source) => Error::Query { what, source },
            Self::Status(status) => Error::Status(status),
        }
    }
}

impl From<tokio_postgres::Error> for BadRow {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Column(error)
    }
}

fn status(row: &Row) -> Result<Status, BadRow> {
    let slug: &str = row.try_get("status")?;
    Status::from_slug(slug).ok_or_else(|| BadRow::Status(slug.to_owned()))
}

fn by_mapping<T>(
    rows: &[Row],
    what: &'static str,
    read: impl Fn(&Row) -> Result<T, BadRow>,
) -> Result<HashMap<String, Vec<T>>, Error> {
    let mut groups: HashMap<String, Vec<T>> = HashMap::new();
    for row in rows {
        let mapping: String = row.try_get("mapping").map_err(|source| Error::Query { what, source })?;
        groups.entry(mapping).or_default().push(read(row).map_err(|error| error.about(what))?);
    }
    Ok(groups)
}

fn mapping(row: &Row) -> Result<Mapping, BadRow> {
    Ok(Mapping {
        mapping: row.try_get("mapping")?,
        source: row.try_get("source")?,
        destination: row.try_get("destination")?,
        source_version: row.try_get("source_version")?,
        destination_version: row.try_get("destination_version")?,
        status: status(row)?,
        phase: row.try_get("phase")?,
        elapsed_seconds: row.try_get("elapsed_seconds")?,
        updated_at_seconds: row.try_get("updated_at_seconds")?,
        age_seconds: row.try_get("age_seconds")?,
        controller_running: row.try_get("controller_running")?,
        ready: row.try_get("ready")?,
        blockers: row.try_get("blockers")?,
        copy_limit_bytes_per_second: row.try_get("copy_limit_bytes_per_second")?,
        slowed_down_by: row.try_get("slowed_down_by")?,
        databases: Vec::new(),
        checks: Vec::new(),
        findings: Vec::new(),
        finding_counts: FindingCounts::default(),
        events: Vec::new(),
        requests: Vec::new(),
    })
}

fn database(row: &Row) -> Result<Database, BadRow> {
    Ok(Database {
        database: row.try_get("database")?,
        status: status(row)?,
        phase: row.try_get("phase")?,
        waiting_for: row.try_get("waiting_for")?,
        tables_total: row.try_get("tables_total")?,
        tables_synced: row.try_get("tables_synced")?,
        tables_in_catchup: row.try_get("tables_in_catchup")?,
        tables_problematic: row.try_get("tables_problematic")?,
        statements_total: row.try_get("statements_total")?,
        statements_done: row.try_get("statements_done")?,
        bytes_total: row.try_get("bytes_total")?,
        bytes_copied: row.try_get("bytes_copied")?,
        bytes_per_second: row.try_get("bytes_per_second")?,
        lag_bytes: row.try_get("lag_bytes")?,
        wal_retained_bytes: row.try_get("wal_retained_bytes")?,
        wal_limit_bytes: row.try_get("wal_limit_bytes")?,
        wal_limit_in_seconds: row.try_get("wal_limit_in_seconds")?,
        lag_seconds: row.try_get("lag_seconds")?,
        eta_seconds: row.try_get("eta_seconds")?,
    })
}

fn check(row: &Row) -> Result<Check, tokio_postgres::Error> {
    Ok(Check {
        database: row.try_get("database")?,
        name: row.try_get("name")?,
        ok: row.try_get("ok")?,
        detail: row.try_get("detail")?,
        fix: row.try_get("fix")?,
    })
}

fn finding(row: &Row) -> Result<Finding, tokio_postgres::Error> {
    Ok(Finding {
        database: row.try_get("database")?,
        severity: row.try_get("severity")?,
        code: row.try_get("code")?,
        object: row.try_get("object")?,
        reason: row.try_get("reason")?,
        fix: row.try_get("fix")?,
        statement: row.try_get("statement")?,
        found_at: row.try_get("found_at")?,
    })
}

fn event(row: &Row) -> Result<Event, tokio_postgres::Error> {
    Ok(Event {
        at: row.try_get("at")?,
        database: row.try_get("database")?,
        level: row.try_get("level")?,
        message: row.try_get("message")?,
    })
}

fn request(row: &Row) -> Result<Request, tokio_postgres::Error> {
    Ok(Request {
        kind: row.try_get("kind")?,
        requested_by: row.try_get("requested_by")?,
        requested_at: row.try_get("requested_at")?,
        started: row.try_get("started")?,
        succeeded: row.try_get("succeeded")?,
        report: row.try_get("report")?,
    })
}
