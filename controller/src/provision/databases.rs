//! Databases: read from a source, and made on the destination with the same encoding, locale, owner and settings.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use tokio_postgres::{Client, Row};

use super::Setting;
use super::tablespaces::Placement;
use crate::finding::{Code, Finding, Severity};
use crate::postgres::{quote, retry};

/// The databases can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A query failed.
    #[error("can't read the {what}: {}", retry::message(.source))]
    Read {
        /// What was being read.
        what: &'static str,
        /// What the server or driver said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The source knows a locale provider that we do not.
    #[error("database {database:?} has the unknown locale provider {provider:?}")]
    Provider {
        /// The database.
        database: String,
        /// `pg_database.datlocprovider`.
        provider: String,
    },
}

/// Where a database's default collation comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    /// The operating system's C library.
    Libc,
    /// ICU, with the locale and the tailoring rules.
    Icu {
        /// The ICU locale: `de-AT`.
        locale: String,
        /// Tailoring rules (16+).
        rules: Option<String>,
    },
    /// PostgreSQL itself (17+), with the locale.
    Builtin {
        /// `C`, `C.UTF-8`, `PG_UNICODE_FAST`.
        locale: String,
    },
}

/// One kind of grant on a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who got it; `None` for PUBLIC.
    pub grantee: Option<String>,
    /// Who gave it.
    pub grantor: String,
    /// WITH GRANT OPTION.
    pub grantable: bool,
    /// `CONNECT`, `CREATE`, `TEMPORARY`.
    pub privileges: Vec<String>,
}

/// A database's definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its OID on the source.
    pub oid: u32,
    /// Its name on the source.
    pub name: String,
    /// Its owner.
    pub owner: String,
    /// Its encoding: `UTF8`.
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// Where its default collation comes from.
    pub provider: Provider,
    /// The version of that collation when the database was made (15+).
    pub collation_version: Option<String>,
    /// CONNECTION LIMIT; -1 for none.
    pub connection_limit: i32,
    /// `IS_TEMPLATE`.
    pub is_template: bool,
    /// Its own tablespace on the source, if that is not the instance's default one.
    pub tablespace: Option<String>,
    /// Where it and what is in it go on the destination; nothing but the default until that was asked.
    pub placement: Placement,
    /// COMMENT ON DATABASE.
    pub comment: Option<String>,
    /// Security labels: provider and label.
    pub labels: Vec<(String, String)>,
    /// ALTER DATABASE … SET.
    pub settings: Vec<Setting>,
    /// All grants, or `None` when they are what a new database has.
    pub grants: Option<Vec<Grant>>,
}

/// Reads the databases of an instance (10 to 18) that can be connected to, through any of them. `template0` is left out.
pub async fn read(client: &Client) -> Result<Vec<Definition>, Error> {
    let failed = |what: &'static str| move |source| Error::Read { what, source };
    let mut grants: HashMap<u32, Vec<Grant>> = HashMap::new();
    for row in client.query(include_str!("databases/grants.sql"), &[]).await.map_err(failed("grants on databases"))? {
        grants.entry(row.get("oid")).or_default().push(Grant {
            grantee: row.get("grantee"),
            grantor: row.get("grantor"),
            grantable: row.get("grantable"),
            privileges: row.get("privileges"),
        });
    }
    let rows = client.query(include_str!("databases/databases.sql"), &[]).await.map_err(failed("databases"))?;
    rows.iter().map(|row| definition(row, &mut grants)).collect()
}

fn definition(row: &Row, grants: &mut HashMap<u32, Vec<Grant>>) -> Result<Definition, Error> {
    let oid: u32 = row.get("oid");
    let name: String = row.get("name");
    let provider: String = row.get("provider");
    let locale = || row.get::<_, Option<String>>("locale").unwrap_or_default();
    let provider = match provider.as_str() {
        "c" => Provider::Libc,
        "i" => Provider::Icu { locale: locale(), rules: row.get("icu_rules") },
        "b" => Provider::Builtin { locale: locale() },
        _ => return Err(Error::Provider { database: name, provider }),
    };
    let providers: Vec<String> = row.get("label_providers");
    let labels: Vec<String> = row.get("labels");
    let settings: Vec<String> = row.get("settings");
    let default_acl: bool = row.get("default_acl");
    Ok(Definition {
        oid,
        name,
        owner: row.get("owner"),
        encoding: row.get("encoding"),
        collate: row.get("collate"),
        ctype: row.get("ctype"),
        provider,
        collation_version: row.get("collation_version"),
        connection_limit: row.get("connection_limit"),
        is_template: row.get("is_template"),
        tablespace: row.get("tablespace"),
        placement: Placement::default(),
        comment: row.get("comment"),
        labels: providers.into_iter().zip(labels).collect(),
        settings: settings.iter().filter_map(|entry| Setting::parse(entry)).collect(),
        grants: (!default_acl).then(|| grants.remove(&oid).unwrap_or_default()),
    })
}

impl Definition {
    /// The names of the variables set for this database: what [`super::setting::unknown`] is asked about.
    pub fn setting_names(&self) -> BTreeSet<String> {
        self.settings.iter().map(|s| s.name.clone()).collect()
    }

    /// What does not come along as it is.
    pub fn findings(&self, unknown_settings: &BTreeSet<String>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut find = |severity, code, reason: String, fix: &str| {
            findings.push(Finding {
                severity,
                database: self.name.clone(),
                code,
                object: format!("database {}", quote::ident(&self.name)),
                reason,
                fix: fix.to_owned(),
                statement: None,
            });
        };
        for setting in self.settings.iter().filter(|s| unknown_settings.contains(&s.name)) {
            find(
                Severity::Warning,
                Code::SettingUnknown,
                format!(
                    "it has {} = {}, a parameter that PostgreSQL 18 no longer has; it is left out",
                    setting.name, setting.value
                ),
                "nothing; look in the release notes for what took its place",
            );
        }
        findings
    }
}

/// The statement that makes the database under a name of the destination's. It can't run in a transaction.
pub fn create(definition: &Definition, name: &str) -> String {
    let mut sql = format!(
        "CREATE DATABASE {} WITH TEMPLATE template0 OWNER {} ENCODING {}",
        quote::ident(name),
        quote::ident(&definition.owner),
        quote::literal(&definition.encoding).trim_start(),
    );
    let mut option = |keyword: &str, value: &str| {
        let _ = write!(sql, " {keyword} {}", quote::literal(value).trim_start());
    };
    match &definition.provider {
        Provider::Libc => option("LOCALE_PROVIDER", "libc"),
        Provider::Icu { locale, rules } => {
            option("LOCALE_PROVIDER", "icu");
            option("ICU_LOCALE", locale);
            if let Some(rules) = rules {
                option("ICU_RULES", rules);
            }
        }
        Provider::Builtin { locale } => {
            option("LOCALE_PROVIDER", "builtin");
            option("BUILTIN_LOCALE", locale);
        }
    }
    option("LC_COLLATE", &definition.collate);
    option("LC_CTYPE", &definition.ctype);
    // template0 is small: copying it through the WAL spares the two checkpoints that file_copy asks for.
    option("STRATEGY", "wal_log");
    if let Some(tablespace) = &definition.placement.database {
        let _ = write!(sql, " TABLESPACE {}", quote::ident(tablespace));
    }
    sql
}

/// A statement that makes a new database like the source's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjustment {
    /// The statement. It may be run again.
    pub sql: String,
    /// The setting that it sets, if it is one of those.
    pub setting: Option<Setting>,
}

/// The statements that make the new database like the source's, after it was made: settings, grants, comment, labels.
/// Settings in `unknown_settings` are left out, and those of [`settings_at_cutover`] too.
pub fn adjustments(definition: &Definition, name: &str, unknown_settings: &BTreeSet<String>) -> Vec<Adjustment> {
    let database = quote::ident(name);
    let set = definition.settings.iter().filter(|s| !unknown_settings.contains(&s.name) && !s.hinders());
    let set = set.map(|s| (format!("ALTER DATABASE {database} SET {}", s.assignment()), Some(s.clone())));
    let mut statements = Vec::new();
    if let Some(grants) = &definition.grants {
        statements.extend(grant_statements(grants, &definition.owner, &database));
    }
    if let Some(comment) = &definition.comment {
        statements.push(format!("COMMENT ON DATABASE {database} IS {}", quote::literal(comment).trim_start()));
    }
    for (provider, label) in &definition.labels {
        let (provider, label) = (quote::ident(provider), quote::literal(label));
        statements.push(format!("SECURITY LABEL FOR {provider} ON DATABASE {database} IS {}", label.trim_start()));
    }
    set.chain(statements.into_iter().map(|sql| (sql, None))).map(|(sql, setting)| Adjustment { sql, setting }).collect()
}

/// The statements that wait until the database is switched over, because they would hinder the migration: a database that
/// is a template or read-only, a limit of connections or of waiting; each with what takes it back. Each may be run again.
pub fn settings_at_cutover(definition: &Definition, name: &str, unknown_settings: &BTreeSet<String>) -> Vec<(String, String)> {
    let database = quote::ident(name);
    let mut statements: Vec<(String, String)> = definition
        .settings
        .iter()
        .filter(|s| !unknown_settings.contains(&s.name) && s.hinders())
        .map(|s| {
            let set = format!("ALTER DATABASE {database} SET {}", s.assignment());
            (set, format!("ALTER DATABASE {database} RESET {}", quote::ident(&s.name)))
        })
        .collect();
    if definition.connection_limit != -1 {
        statements.push((
            format!("ALTER DATABASE {database} WITH CONNECTION LIMIT {}", definition.connection_limit),
            format!("ALTER DATABASE {database} WITH CONNECTION LIMIT -1"),
        ));
    }
    if definition.is_template {
        statements.push((
            format!("ALTER DATABASE {database} WITH IS_TEMPLATE true"),
            format!("ALTER DATABASE {database} WITH IS_TEMPLATE false"),
        ));
    }
    statements
}

/// Grants from nothing: first everything is revoked that a new database has, then each grant is made by its grantor, after
/// the grants that give the grantor the right to.
fn grant_statements(grants: &[Grant], owner: &str, database: &str) -> Vec<String> {
    let mut statements = vec![
        format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC"),
        format!("REVOKE ALL ON DATABASE {database} FROM {}", quote::ident(owner)),
    ];
    let mut pending: Vec<&Grant> = grants.iter().collect();
    let mut granted: Vec<&Grant> = Vec::new();
    while !pending.is_empty() {
        let (ready, blocked): (Vec<&Grant>, Vec<&Grant>) = pending.into_iter().partition(|grant| {
            grant.grantor == owner
                || grant.privileges.iter().all(|privilege| {
                    granted.iter().any(|earlier| {
                        earlier.grantable
                            && earlier.grantee.as_ref() == Some(&grant.grantor)
                            && earlier.privileges.contains(privilege)
                    })
                })
        });
        // A chain of grants always begins with the owner. Should a catalog say otherwise, the server will judge.
        let (ready, blocked) = if ready.is_empty() { (blocked, Vec::new()) } else { (ready, blocked) };
        for grant in &ready {
            let statement = grant_statement(grant, database);
            // A superuser's grants are recorded as the owner's; another's must be made as that role.
            statements.push(if grant.grantor == owner {
                statement
            } else {
                let grantor = quote::ident(&grant.grantor);
                format!("SET SESSION AUTHORIZATION {grantor}; {statement}; RESET SESSION AUTHORIZATION")
            });
        }
        granted.extend(ready);
        pending = blocked;
    }
    statements
}

fn grant_statement(grant: &Grant, database: &str) -> String {
    format!(
        "GRANT {} ON DATABASE {database} TO {}{}",
        grant.privileges.join(", "),
        grant.grantee.as_deref().map_or_else(|| "PUBLIC".to_owned(), quote::ident),
        if grant.grantable { " WITH GRANT OPTION" } else { "" },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Definition {
        Definition {
            oid: 16_384,
            name: "shop".to_owned(),
            owner: "boss".to_owned(),
            encoding: "UTF8".to_owned(),
            collate: "en_US.UTF-8".to_owned(),
            ctype: "C".to_owned(),
            provider: Provider::Libc,
            collation_version: None,
            connection_limit: -1,
            is_template: false,
            tablespace: None,
            placement: Placement::default(),
            comment: None,
            labels: Vec::new(),
            settings: Vec::new(),
            grants: None,
        }
    }

    fn adjusting(definition: &Definition, name: &str, unknown: &BTreeSet<String>) -> Vec<String> {
        adjustments(definition, name, unknown).into_iter().map(|adjustment| adjustment.sql).collect()
    }

    fn grant(grantee: Option<&str>, grantor: &str, grantable: bool, privileges: &[&str]) -> Grant {
        Grant {
            grantee: grantee.map(str::to_owned),
            grantor: grantor.to_owned(),
            grantable,
            privileges: privileges.iter().map(|&p| p.to_owned()).collect(),
        }
    }

    #[test]
    fn every_provider_keeps_its_locale() {
        let mut definition = database();
        let head = "CREATE DATABASE \"We ird\" WITH TEMPLATE template0 OWNER \"boss\" ENCODING 'UTF8'";
        let tail = "LC_COLLATE 'en_US.UTF-8' LC_CTYPE 'C' STRATEGY 'wal_log'";
        assert_eq!(create(&definition, "We ird"), format!("{head} LOCALE_PROVIDER 'libc' {tail}"));
        definition.provider = Provider::Icu { locale: "de-AT".to_owned(), rules: Some("&a < b".to_owned()) };
        assert_eq!(
            create(&definition, "We ird"),
            format!("{head} LOCALE_PROVIDER 'icu' ICU_LOCALE 'de-AT' ICU_RULES '&a < b' {tail}")
        );
        definition.provider = Provider::Builtin { locale: "C.UTF-8".to_owned() };
        assert_eq!(create(&definition, "We ird"), format!("{head} LOCALE_PROVIDER 'builtin' BUILTIN_LOCALE 'C.UTF-8' {tail}"));
    }

    #[test]
    fn what_would_hinder_the_migration_waits_for_the_cutover() {
        let mut definition = database();
        definition.settings = ["work_mem=1MB", "default_transaction_read_only=on", "gone=1"]
            .iter()
            .filter_map(|entry| Setting::parse(entry))
            .collect();
        definition.connection_limit = 10;
        definition.is_template = true;
        definition.comment = Some("it's".to_owned());
        let unknown = BTreeSet::from(["gone".to_owned()]);
        assert_eq!(
            adjusting(&definition, "s\"x", &unknown),
            ["ALTER DATABASE \"s\"\"x\" SET \"work_mem\" TO '1MB'", "COMMENT ON DATABASE \"s\"\"x\" IS 'it''s'"]
        );
        assert_eq!(
            settings_at_cutover(&definition, "shop", &unknown).iter().map(|(set, _)| set.as_str()).collect::<Vec<_>>(),
            [
                "ALTER DATABASE \"shop\" SET \"default_transaction_read_only\" TO 'on'",
                "ALTER DATABASE \"shop\" WITH CONNECTION LIMIT 10",
                "ALTER DATABASE \"shop\" WITH IS_TEMPLATE true",
            ]
        );
        assert_eq!(definition.findings(&unknown).len(), 1);
    }

    #[test]
    fn grants_are_made_by_their_grantors_in_a_possible_order() {
        let mut definition = database();
        definition.grants = Some(vec![
            grant(Some("app"), "deputy", false, &["CONNECT"]),
            grant(Some("deputy"), "boss", true, &["CONNECT"]),
            grant(None, "boss", false, &["TEMPORARY"]),
        ]);
        assert_eq!(
            adjusting(&definition, "shop", &BTreeSet::new()),
            [
                "REVOKE ALL ON DATABASE \"shop\" FROM PUBLIC",
                "REVOKE ALL ON DATABASE \"shop\" FROM \"boss\"",
                "GRANT CONNECT ON DATABASE \"shop\" TO \"deputy\" WITH GRANT OPTION",
                "GRANT TEMPORARY ON DATABASE \"shop\" TO PUBLIC",
                "SET SESSION AUTHORIZATION \"deputy\"; GRANT CONNECT ON DATABASE \"shop\" TO \"app\"; RESET SESSION AUTHORIZATION",
            ]
        );
    }

    #[test]
    fn default_grants_need_no_statement() {
        assert!(adjustments(&database(), "shop", &BTreeSet::new()).is_empty());
    }
}
