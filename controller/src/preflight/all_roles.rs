//! Settings of all roles at once (`ALTER ROLE ALL SET`): they belong to no role that is carried over, and the destination has roles of
//! its own.

use tokio_postgres::Client;

use super::{Error, instance_finding};
use crate::finding::{Code, Finding, Severity};
use crate::provision::Setting;

pub(super) async fn check(client: &Client) -> Result<Vec<Finding>, Error> {
    let rows = client
        .query(include_str!("settings_of_all_roles.sql"), &[])
        .await
        .map_err(|source| Error { check: "settings of all roles", source })?;
    let settings = rows.iter().filter_map(|row| Setting::parse(row.get("setting")));
    Ok(settings
        .map(|setting| {
            instance_finding(
                Severity::Warning,
                Code::SettingOfAllRoles,
                format!("source: setting {}", setting.name),
                format!("it is {:?} for all roles of the source; the destination's roles do not get it", setting.value),
                format!("if it is to hold for all roles there: ALTER ROLE ALL SET {};", setting.assignment()),
            )
        })
        .collect())
}
