//! Configuration: defaults, then a TOML file, then the environment; read once, at start.
//!
//! `PG_MIGRATOR__INSTANCES__ERP_OLD__PASSWORD=…` sets `instances.erp_old.password`. A key that nobody knows is an error
//! that names it: a misspelt limit must not be a limit that is silently absent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use secrecy::SecretString;
use serde::Deserialize;
use wildmatch::WildMatchPattern;

mod gentle;
mod opens;

pub use gentle::{SlowDown, WalPolicy, Window};

/// What is wrong with the configuration. Always exit status 2.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is missing, unreadable or not TOML.
    #[error("the configuration can't be read: {}", first_line(.0))]
    Read(#[source] config::ConfigError),
    /// A key is unknown, or its value of the wrong kind.
    #[error("configuration key {path}: {source}")]
    Key {
        /// The key, with dots between the levels.
        path: String,
        /// What is wrong with it.
        #[source]
        source: config::ConfigError,
    },
    /// Keys that are right one by one but do not fit together.
    #[error("the configuration does not fit together:\n  {}", .0.join("\n  "))]
    Inconsistent(Vec<String>),
    /// No file was named and none was found.
    #[error("no configuration: give --config FILE, set PG_MIGRATOR_CONFIG, or put pg-migrator.toml into this folder")]
    Missing,
}

/// Where the error is, without the text that stands there: it may be a password.
fn first_line(error: &config::ConfigError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Everything a run needs to know.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How often the controller looks and the views are brought up to date.
    #[serde(default = "default_tick", with = "humantime_serde")]
    pub tick: Duration,
    /// Name of the control database on every destination.
    #[serde(default = "default_control_database")]
    pub control_database: String,
    /// The web dashboard.
    #[serde(default)]
    pub dashboard: Dashboard,
    /// The instances, by name.
    #[serde(default)]
    pub instances: BTreeMap<String, Instance>,
    /// What moves where, by name.
    #[serde(default)]
    pub mappings: BTreeMap<String, Mapping>,
}

/// Where the dashboard listens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dashboard {
    /// Whether `run` serves it.
    pub enabled: bool,
    /// Address and port.
    pub listen: String,
}

impl Default for Dashboard {
    fn default() -> Self {
        Self { enabled: true, listen: "127.0.0.1:8432".to_owned() }
    }
}

/// How to reach one instance.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// Host name, address, or the folder of a Unix socket.
    pub host: String,
    /// Port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Role to connect as.
    pub user: String,
    /// Its password; better given as `password_file` or in the environment.
    #[serde(default)]
    pub password: Option<SecretString>,
    /// A file that holds the password on its first line.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// As in libpq. Without it: `prefer` on this machine, `verify-full` anywhere else.
    #[serde(default)]
    pub sslmode: Option<SslMode>,
    /// Certificates of the authorities to trust, PEM.
    #[serde(default)]
    pub sslrootcert: Option<PathBuf>,
    /// The database to connect to first.
    #[serde(default = "default_database")]
    pub database: String,
    /// How the destination's server reaches this instance, where that differs from how the controller does.
    #[serde(default)]
    pub from_destination: FromDestination,
}

/// The source as seen from the destination's server.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FromDestination {
    /// Host name or address.
    pub host: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// Password file (libpq's `passfile`) on the destination's machine; with it no password is stored in the subscription.
    pub passfile: Option<String>,
    /// Certificates file on the destination's machine.
    pub sslrootcert: Option<String>,
}

/// libpq's six modes, with libpq's meaning: <https://www.postgresql.org/docs/current/libpq-ssl.html>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// Never encrypted.
    Disable,
    /// Encrypted only if the server insists.
    Allow,
    /// Encrypted if the server can.
    Prefer,
    /// Encrypted; the certificate is looked at only if `sslrootcert` is given.
    Require,
    /// Encrypted, certificate of a trusted authority.
    VerifyCa,
    /// Encrypted, certificate of a trusted authority and of this host.
    VerifyFull,
}

impl SslMode {
    /// The word libpq uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// One source instance onto one destination instance.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// Name of the source instance.
    pub source: String,
    /// Name of the destination instance.
    pub destination: String,
    /// Which databases.
    #[serde(default)]
    pub databases: Databases,
    /// What to do about roles that the destination already has.
    #[serde(default)]
    pub roles: RolePolicy,
    /// Password for roles whose hash can't be read on the source.
    #[serde(default)]
    pub fallback_password: Option<SecretString>,
    /// What to do about tables without a usable key.
    #[serde(default)]
    pub replica_identity: ReplicaIdentityPolicy,
    /// Tables copied at the same time.
    #[serde(default = "default_workers")]
    pub copy_workers: usize,
    /// Indexes and keys built at the same time.
    #[serde(default = "default_workers")]
    pub index_workers: usize,
    /// Ready needs a lag below this many bytes …
    #[serde(default = "default_max_lag_bytes")]
    pub max_lag_bytes: u64,
    /// … for at least this long.
    #[serde(default = "default_stable_for", with = "humantime_serde")]
    pub stable_for: Duration,
    /// A pass begins no further table after this long, so that vacuum on the source is not held back for the whole copy.
    #[serde(default = "default_max_snapshot_age", with = "humantime_serde")]
    pub max_snapshot_age: Duration,
    /// Tables of more bytes are copied in parts, several at once; without it only those that the others would wait for.
    #[serde(default)]
    pub split_above: Option<u64>,
    /// Streams of a database: its tables are spread over so many publications, slots and subscriptions.
    #[serde(default = "default_streams")]
    pub streams: usize,
    /// Whether the slots on a source from 17 on are to survive a failover there.
    #[serde(default = "yes")]
    pub failover_slots: bool,
    /// Whether values of the stream may travel in their binary form, where that is safe.
    #[serde(default = "yes")]
    pub binary: bool,
    /// COPY bytes a second, of all mappings of this source together: the smallest of theirs counts.
    #[serde(default)]
    pub rate_limit: Option<ByteSize>,
    /// Sessions on the source, of all its mappings together, without the streams' WAL senders: the smallest of theirs counts.
    #[serde(default)]
    pub max_source_connections: Option<usize>,
    /// When tables may be copied; without any, always.
    #[serde(default)]
    pub schedule: Vec<Window>,
    /// Copy more slowly while the source is busy or its standbys lag.
    #[serde(default)]
    pub slow_down: Option<SlowDown>,
    /// What to do when the source keeps nearly as much WAL for a slot of ours as it may.
    #[serde(default)]
    pub wal_guard: WalPolicy,
    /// How much WAL the source may keep for a slot of ours; beside `max_slot_wal_keep_size`, if that is set there.
    #[serde(default)]
    pub wal_limit: Option<ByteSize>,
    /// An instance that is a physical standby of the source: rows are read there.
    #[serde(default)]
    pub copy_from: Option<String>,
    /// By tablespace of the source, case included: the destination's that takes its place. One that is not named goes to
    /// the destination's of the same name, or else to the default one.
    #[serde(default)]
    pub tablespaces: BTreeMap<String, String>,
}

/// Which databases of the source take part. Patterns know `*` and `?`, and `\*` and `\?` for these characters themselves.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Databases {
    /// Names or patterns to take.
    pub include: Vec<String>,
    /// Names or patterns to leave, out of those.
    pub exclude: Vec<String>,
}

impl Default for Databases {
    fn default() -> Self {
        Self { include: vec!["*".to_owned()], exclude: Vec::new() }
    }
}

impl Databases {
    /// Whether the database takes part.
    pub fn selects(&self, name: &str) -> bool {
        let matches = |patterns: &[String]| patterns.iter().any(|p| pattern(p).matches(name));
        matches(&self.include) && !matches(&self.exclude)
    }
}

/// What stands for any characters and for any one within a pattern: the first is in no name, and of the second no name is known.
const ANY: char = '\0';
const ANY_ONE: char = '\u{10FFFF}';

/// Reads a pattern: `*` and `?`, which a backslash makes ordinary; any other backslash is one itself.
fn pattern(text: &str) -> WildMatchPattern<ANY, ANY_ONE> {
    let mut pattern = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        pattern.push(match c {
            '*' => ANY,
            '?' => ANY_ONE,
            '\\' => rest.next_if(|next| matches!(next, '*' | '?' | '\\')).unwrap_or(c),
            c => c,
        });
    }
    WildMatchPattern::new(&pattern)
}

/// What to do about roles that exist on both sides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolePolicy {
    /// Add what is missing; never take away, never change a password.
    #[default]
    Merge,
    /// Leave them alone.
    Skip,
    /// Refuse the mapping.
    Fail,
}

/// What to do about a table that has neither primary key nor a unique index over columns that are not null.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaIdentityPolicy {
    /// REPLICA IDENTITY FULL on the source until the migration is complete.
    #[default]
    Full,
    /// Carry what is inserted and nothing else; the source's table stays as it is, and is compared before a switch.
    InsertOnly,
    /// Leave the table out, with a finding.
    Refuse,
}

/// More streams than anybody has cores for, and few enough that their names stay short.
const MAX_STREAMS: usize = 64;

fn default_tick() -> Duration {
    Duration::from_secs(2)
}
fn default_control_database() -> String {
    "migrator".to_owned()
}
fn default_port() -> u16 {
    5432
}
fn default_database() -> String {
    "postgres".to_owned()
}
fn default_workers() -> usize {
    4
}
fn yes() -> bool {
    true
}
fn default_streams() -> usize {
    1
}
fn default_max_lag_bytes() -> u64 {
    16 << 20
}
fn default_stable_for() -> Duration {
    Duration::from_secs(5)
}
fn default_max_snapshot_age() -> Duration {
    Duration::from_hours(1)
}

/// Reads the configuration: `path`, else `./pg-migrator.toml`; then the environment.
pub fn load(path: Option<&Path>) -> Result<Config, Error> {
    let default = Path::new("pg-migrator.toml");
    let path = match path {
        Some(path) => path,
        None if default.exists() => default,
        None => return Err(Error::Missing),
    };
    let merged = config::Config::builder()
        .add_source(config::File::from(path).format(config::FileFormat::Toml))
        .add_source(config::Environment::with_prefix("PG_MIGRATOR").prefix_separator("__").separator("__"))
        .build()
        .map_err(Error::Read)?;
    let mut config: Config = serde_path_to_error::deserialize(merged)
        .map_err(|e| Error::Key { path: e.path().to_string(), source: e.into_inner() })?;
    validate(&config)?;
    for (name, instance) in &mut config.instances {
        read_password(name, instance)?;
    }
    Ok(config)
}

fn read_password(name: &str, instance: &mut Instance) -> Result<(), Error> {
    if let Some(file) = &instance.password_file {
        let content = std::fs::read_to_string(file)
            .map_err(|e| Error::Inconsistent(vec![format!("instances.{name}.password_file {}: {e}", file.display())]))?;
        instance.password = Some(SecretString::from(content.lines().next().unwrap_or_default()));
    }
    Ok(())
}

/// Names end up in slot names, which know only these characters.
fn is_plain_name(name: &str, longest: usize) -> bool {
    !name.is_empty() && name.len() <= longest && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The mapping of the same source whose streams are named as this mapping is: with a number at the end, see
/// [`crate::stream::Names`].
fn taken_by<'a>(config: &Config, name: &'a str, mapping: &Mapping) -> Option<&'a str> {
    let is_there = |other: &str| config.mappings.get(other).is_some_and(|m| m.source == mapping.source);
    let stem = name.strip_suffix("_inserts").unwrap_or(name);
    if stem != name && is_there(stem) {
        return Some(stem);
    }
    let (other, number) = stem.rsplit_once("_s")?;
    let is_a_streams = (2..=MAX_STREAMS).any(|stream| number == stream.to_string());
    (is_a_streams && is_there(other)).then_some(other)
}

fn validate(config: &Config) -> Result<(), Error> {
    let mut problems = Vec::new();
    if config.mappings.is_empty() {
        problems.push("there is no [mappings.…]: nothing to do".to_owned());
    }
    if config.tick < Duration::from_millis(100) {
        problems.push("tick must be at least 100ms".to_owned());
    }
    for (name, instance) in &config.instances {
        if instance.password.is_some() && instance.password_file.is_some() {
            problems.push(format!("instances.{name}: give password or password_file, not both"));
        }
    }
    for (name, mapping) in &config.mappings {
        if let Some(other) = taken_by(config, name, mapping) {
            problems.push(format!(
                "mappings.{name}: the streams of mappings.{other}, of the same source, may have this name; choose another one"
            ));
        }
        if !is_plain_name(name, 30) {
            problems.push(format!("mappings.{name}: a mapping's name has at most 30 characters out of a-z, 0-9 and _"));
        }
        for (side, instance) in [("source", &mapping.source), ("destination", &mapping.destination)] {
            if !config.instances.contains_key(instance) {
                problems.push(format!("mappings.{name}.{side}: there is no [instances.{instance}]"));
            }
        }
        if mapping.source == mapping.destination {
            problems.push(format!("mappings.{name}: source and destination are the same instance"));
        }
        if mapping.split_above == Some(0) {
            problems.push(format!("mappings.{name}.split_above must be at least 1"));
        }
        if !(1..=MAX_STREAMS).contains(&mapping.streams) {
            problems.push(format!("mappings.{name}.streams must be between 1 and {MAX_STREAMS}"));
        }
        if mapping.copy_workers == 0 || mapping.index_workers == 0 {
            problems.push(format!("mappings.{name}: copy_workers and index_workers must be at least 1"));
        }
        problems.extend(gentle::problems(config, name, mapping));
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Inconsistent(problems)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn parse(text: &str) -> Result<Config, Error> {
        let path = std::env::temp_dir().join(format!("pg-migrator-config-{}-{:p}.toml", std::process::id(), text));
        std::fs::File::create(&path).and_then(|mut f| f.write_all(text.as_bytes())).expect("a temporary file");
        let config = load(Some(&path));
        std::fs::remove_file(&path).expect("the temporary file is there");
        config
    }

    const TWO: &str = "[instances.a]\nhost='h'\nuser='u'\n[instances.b]\nhost='h'\nuser='u'\n";

    #[test]
    fn a_minimal_file_gets_the_defaults() {
        let config = parse(&format!("{TWO}[mappings.m]\nsource='a'\ndestination='b'\n")).expect("valid");
        assert_eq!(config.control_database, "migrator");
        assert_eq!(config.tick, Duration::from_secs(2));
        assert!(config.mappings["m"].databases.selects("anything"));
        assert_eq!(config.instances["a"].port, 5432);
        assert_eq!(config.mappings["m"].streams, 1);
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = parse(&format!("{TWO}[mappings.m]\nsource='a'\ndestination='b'\ncopy_wrokers=3\n")).expect_err("misspelt");
        assert!(error.to_string().contains("copy_wrokers"), "{error}");
    }

    #[test]
    fn every_inconsistency_is_told_at_once() {
        let error =
            parse(&format!("{TWO}[mappings.M]\nsource='a'\ndestination='nowhere'\n")).expect_err("two faults").to_string();
        assert!(error.contains("mappings.M") && error.contains("instances.nowhere"), "{error}");
    }

    #[test]
    fn a_mapping_that_is_named_as_the_stream_of_another_is_refused() {
        let with = |other: &str, source: &str| {
            let destination = if source == "a" { "b" } else { "a" };
            parse(&format!(
                "{TWO}[mappings.erp]\nsource='a'\ndestination='b'\n[mappings.{other}]\nsource='{source}'\ndestination='{destination}'\n"
            ))
        };
        for other in ["erp_s2", "erp_inserts", "erp_s2_inserts"] {
            let error = with(other, "a").expect_err("its publication would have the same name").to_string();
            assert!(error.contains(&format!("mappings.{other}")) && error.contains("mappings.erp,"), "{error}");
        }
        for (other, source) in [
            ("erp_s2", "b"),
            ("erp_inserts", "b"),
            ("erp_s1", "a"),
            ("erp_s02", "a"),
            ("erp_s65", "a"),
            ("erp_2", "a"),
            ("crm_s2", "a"),
        ] {
            assert!(with(other, source).is_ok(), "{other} of {source}");
        }
    }

    #[test]
    fn databases_are_selected_by_pattern() {
        let databases = Databases { include: vec!["shop*".into(), "We ird-DB".into()], exclude: vec!["shop_old".into()] };
        assert!(databases.selects("shop1") && databases.selects("We ird-DB"));
        assert!(!databases.selects("shop_old") && !databases.selects("crm"));
    }

    #[test]
    fn a_name_with_a_star_can_be_given_as_it_is() {
        let taken = |pattern: &str, names: &[&str]| {
            let databases = Databases { include: vec![pattern.into()], exclude: Vec::new() };
            names.iter().filter(|name| databases.selects(name)).map(|name| (*name).to_owned()).collect::<Vec<_>>()
        };
        let names = ["a*", "ab", "a?", "a\\b", "a\\*", "a\\", "", "*"];
        assert_eq!(taken("a\\*", &names), ["a*"]);
        assert_eq!(taken("a\\?", &names), ["a?"]);
        assert_eq!(taken("\\*", &names), ["*"]);
        assert_eq!(taken("a?", &names), ["a*", "ab", "a?", "a\\"]);
        assert_eq!(taken("a\\b", &names), ["a\\b"], "a backslash before anything else is one");
        assert_eq!(taken("a\\\\*", &names), ["a\\b", "a\\*", "a\\"], "two are one, and the star is any characters");
        assert_eq!(taken("*", &names).len(), names.len());
    }

    #[test]
    fn a_line_that_is_no_toml_is_not_repeated() {
        let error = parse("[instances.a]\npassword = 'hunter2\n").expect_err("the quote is open").to_string();
        assert!(error.contains("line 2") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_password_does_not_show_in_debug_output() {
        let config = parse(&format!(
            "{}[mappings.m]\nsource='a'\ndestination='b'\n",
            TWO.replacen("user='u'", "user='u'\npassword='hunter2'", 1)
        ))
        .expect("valid");
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
