//! Privileges on settings (`GRANT SET ON PARAMETER`, since 15). They belong to the instance, not to a database.

use tokio_postgres::Client;

use super::acl::{Grant, as_grantor, difference, read_grants};
use super::{Error, each_row, query};
use crate::postgres::ServerVersion;
use crate::postgres::quote::ident;

/// The privileges on one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterGrants {
    /// The setting: `work_mem`, `my.setting`.
    pub name: String,
    /// The role with which every instance is born, who is the grantor of what a superuser grants.
    pub owner: String,
    /// What a new setting has.
    pub base: Vec<Grant>,
    /// What this setting has.
    pub grants: Vec<Grant>,
}

impl ParameterGrants {
    /// The statements that bring a destination there whose settings have the built-in privileges. Harmless to repeat. A role or
    /// setting that the destination lacks makes its statement fail, and no other.
    pub fn statements(&self) -> Vec<String> {
        let on = format!("PARAMETER {}", self.name.split('.').map(ident).collect::<Vec<_>>().join("."));
        let phrases = difference(&self.base, &self.grants, &self.owner, "", &on);
        phrases.into_iter().map(|(grantor, sql)| as_grantor(grantor.as_deref(), &sql)).collect()
    }
}

/// Reads the privileges on settings of the instance that `client` is connected to; there are none before version 15.
pub async fn parameter_grants(client: &Client, version: ServerVersion) -> Result<Vec<ParameterGrants>, Error> {
    let mut found = Vec::new();
    if !version.at_least(15) {
        return Ok(found);
    }
    let session = query::Session { version, superuser: false };
    each_row(client, session, "parameter", include_str!("parameter.sql"), |row| {
        let (base, grants) = read_grants(row)?;
        found.push(ParameterGrants { name: row.try_get("name")?, owner: row.try_get("owner")?, base, grants });
        Ok(())
    })
    .await?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_setting_is_quoted() {
        let grant = |grantee: &str, grantable| Grant {
            grantor: "postgres".to_owned(),
            grantee: grantee.to_owned(),
            privilege: "SET".to_owned(),
            grantable,
        };
        let parameter = ParameterGrants {
            name: "my.we\"ird".to_owned(),
            owner: "postgres".to_owned(),
            base: vec![grant("postgres", false)],
            grants: vec![grant("postgres", false), grant("a b", true)],
        };
        assert_eq!(parameter.statements(), ["GRANT SET ON PARAMETER \"my\".\"we\"\"ird\" TO \"a b\" WITH GRANT OPTION"]);
    }
}
