//! Roles: read from an instance, and planned for the destination.
//!
//! Passwords are carried as the hashes they are, so that everybody's old password goes on working.

mod parameters;
mod plan;

use std::collections::{BTreeSet, HashMap};

use secrecy::SecretString;
use tokio_postgres::{Client, Row};

pub use parameters::plan as plan_parameters;
pub use plan::{Fate, Options, Policy, RolePlan, RoleStatement, StatementKind, plan};

use super::Setting;
use crate::postgres::retry;

/// The roles can't be read.
#[derive(Debug, thiserror::Error)]
#[error("can't read the {what}: {}", retry::message(.source))]
pub struct Error {
    /// What was being read.
    pub what: &'static str,
    /// What the server or driver said.
    #[source]
    pub source: tokio_postgres::Error,
}

/// What an instance knows about its roles.
#[derive(Debug, Clone, Default)]
pub struct Roles {
    /// The roles, by name, without the predefined ones.
    pub roles: Vec<Role>,
    /// The predefined roles (`pg_…`) of this version.
    pub predefined: BTreeSet<String>,
    /// Who is a member of what.
    pub memberships: Vec<Membership>,
    /// `ALTER ROLE … SET`.
    pub settings: Vec<RoleSetting>,
}

impl Roles {
    /// The role of this name.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| role.name == name)
    }

    /// The names of all variables that are set for some role: what [`super::setting::unknown`] is asked about.
    pub fn setting_names(&self) -> BTreeSet<String> {
        self.settings.iter().map(|s| s.setting.name.clone()).collect()
    }
}

/// What we know of a role's password.
#[derive(Debug, Clone)]
pub enum Password {
    /// It has none.
    None,
    /// Its hash, as the catalog holds it.
    Hash(SecretString),
    /// The catalog does not show hashes to us.
    Unreadable,
}

/// One role.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // they are the catalog's columns
pub struct Role {
    /// Its OID; 10 is the role that initdb made.
    pub oid: u32,
    /// Its name.
    pub name: String,
    /// SUPERUSER.
    pub superuser: bool,
    /// INHERIT.
    pub inherit: bool,
    /// CREATEROLE.
    pub createrole: bool,
    /// CREATEDB.
    pub createdb: bool,
    /// LOGIN.
    pub login: bool,
    /// REPLICATION.
    pub replication: bool,
    /// BYPASSRLS.
    pub bypassrls: bool,
    /// CONNECTION LIMIT; -1 for none.
    pub connection_limit: i32,
    /// VALID UNTIL, as the server prints it.
    pub valid_until: Option<String>,
    /// The password.
    pub password: Password,
    /// COMMENT ON ROLE.
    pub comment: Option<String>,
    /// Security labels: provider and label.
    pub labels: Vec<(String, String)>,
}

/// The OID of the role that initdb made, on every server (`BOOTSTRAP_SUPERUSERID`).
pub const BOOTSTRAP_SUPERUSER: u32 = 10;

/// One membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The role that was granted.
    pub role: String,
    /// Who got it.
    pub member: String,
    /// Who gave it; `None` for the role that initdb made, or where the server no longer knows.
    pub grantor: Option<String>,
    /// ADMIN OPTION.
    pub admin: bool,
    /// INHERIT OPTION; before 16 what the member's own attribute says.
    pub inherit: bool,
    /// SET OPTION; before 16 always true.
    pub set: bool,
}

/// One setting of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSetting {
    /// The role.
    pub role: String,
    /// The one database it holds in, or all.
    pub database: Option<String>,
    /// The setting.
    pub setting: Setting,
}

/// Reads all roles of an instance (10 to 18), through any of its databases.
///
/// Where `pg_authid` can't be read, passwords are [`Password::Unreadable`] and the rest is complete.
pub async fn read(client: &Client) -> Result<Roles, Error> {
    let failed = |what: &'static str| move |source| Error { what, source };

    let readable: bool = client
        .query_one("SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')", &[])
        .await
        .map_err(failed("privileges on pg_authid"))?
        .get(0);
    let mut hashes: HashMap<u32, String> = HashMap::new();
    if readable {
        for row in client.query(include_str!("roles/passwords.sql"), &[]).await.map_err(failed("passwords of roles"))? {
            hashes.insert(row.get("oid"), row.get("password"));
        }
    }
    let roles = client.query(include_str!("roles/roles.sql"), &[]).await.map_err(failed("roles"))?;
    let roles = roles
        .iter()
        .map(|row| {
            let password = match (readable, hashes.remove(&row.get("oid"))) {
                (false, _) => Password::Unreadable,
                (true, None) => Password::None,
                (true, Some(hash)) => Password::Hash(SecretString::from(hash)),
            };
            role(row, password)
        })
        .collect();

    let predefined = client.query(include_str!("roles/predefined.sql"), &[]).await.map_err(failed("predefined roles"))?;
    let memberships = client.query(include_str!("roles/memberships.sql"), &[]).await.map_err(failed("memberships"))?;
    let settings = client.query(include_str!("roles/settings.sql"), &[]).await.map_err(failed("settings of roles"))?;
    Ok(Roles {
        roles,
        predefined: predefined.iter().map(|row| row.get("name")).collect(),
        memberships: memberships
            .iter()
            .map(|row| Membership {
                role: row.get("role"),
                member: row.get("member"),
                grantor: row.get("grantor"),
                admin: row.get("admin"),
                inherit: row.get("inherit"),
                set: row.get("set"),
            })
            .collect(),
        settings: settings.iter().flat_map(role_settings).collect(),
    })
}

fn role(row: &Row, password: Password) -> Role {
    let providers: Vec<String> = row.get("label_providers");
    let labels: Vec<String> = row.get("labels");
    Role {
        oid: row.get("oid"),
        name: row.get("name"),
        superuser: row.get("rolsuper"),
        inherit: row.get("rolinherit"),
        createrole: row.get("rolcreaterole"),
        createdb: row.get("rolcreatedb"),
        login: row.get("rolcanlogin"),
        replication: row.get("rolreplication"),
        bypassrls: row.get("rolbypassrls"),
        connection_limit: row.get("rolconnlimit"),
        valid_until: row.get("valid_until"),
        password,
        comment: row.get("comment"),
        labels: providers.into_iter().zip(labels).collect(),
    }
}

fn role_settings(row: &Row) -> Vec<RoleSetting> {
    let entries: Vec<String> = row.get("settings");
    entries
        .iter()
        .filter_map(|entry| Setting::parse(entry))
        .map(|setting| RoleSetting { role: row.get("role"), database: row.get("database"), setting })
        .collect()
}
