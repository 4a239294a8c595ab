//! What our users may do on both sides.

use tokio_postgres::Client;

use super::{Error, database_finding, instance_finding, listed};
use crate::finding::{Code, Finding, Severity};
use crate::postgres::quote;

fn failed(source: tokio_postgres::Error) -> Error {
    Error { check: "privileges", source }
}

/// On the source: a superuser, or at least a role that may replicate.
pub(super) async fn source(client: &Client) -> Result<Vec<Finding>, Error> {
    let row = client.query_one(include_str!("privileges_source.sql"), &[]).await.map_err(failed)?;
    let name: String = row.get("name");
    Ok(judge_source(&name, row.get("superuser"), row.get("replication"), row.get("reads_passwords")))
}

fn judge_source(name: &str, superuser: bool, replication: bool, reads_passwords: bool) -> Vec<Finding> {
    if superuser {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let object = format!("source: role {}", quote::ident(name));
    if !replication {
        findings.push(instance_finding(
            Severity::Error,
            Code::SourcePrivileges,
            object.clone(),
            "it is neither a superuser nor allowed to replicate, so it can't make replication slots",
            format!("on the source: ALTER ROLE {} WITH REPLICATION; or use a superuser", quote::ident(name)),
        ));
    }
    findings.push(instance_finding(
        Severity::Warning,
        Code::SourceNotSuperuser,
        object,
        if reads_passwords {
            "it is no superuser: it can block only writers of databases it owns, and end only sessions of roles it is a member of"
        } else {
            "it is no superuser: it can't read password hashes, can block only writers of databases it owns, and end only sessions \
             of roles it is a member of"
        },
        "use a superuser if there is one; else set fallback_password, and stop the writers yourself at cutover",
    ));
    findings
}

/// On the destination: a superuser.
pub(super) async fn destination(client: &Client) -> Result<Vec<Finding>, Error> {
    let row = client
        .query_one(
            "SELECT r.rolname::text AS name, r.rolsuper AS superuser FROM pg_catalog.pg_roles r WHERE r.rolname = current_user",
            &[],
        )
        .await
        .map_err(failed)?;
    if row.get("superuser") {
        return Ok(Vec::new());
    }
    let name = quote::ident(row.get("name"));
    Ok(vec![instance_finding(
        Severity::Error,
        Code::DestinationPrivileges,
        format!("destination: role {name}"),
        "it is no superuser: roles, databases, subscriptions and the extension can't be made",
        format!("on the destination: ALTER ROLE {name} WITH SUPERUSER; or use a superuser"),
    )])
}

/// In a source's database: every table must be ours to publish.
pub(super) async fn database(client: &Client, database: &str) -> Result<Vec<Finding>, Error> {
    let row = client.query_one(include_str!("privileges_database.sql"), &[]).await.map_err(failed)?;
    let name = quote::ident(row.get("name"));
    let mut findings = Vec::new();
    if !row.get::<_, bool>("may_create") {
        findings.push(database_finding(
            Severity::Error,
            database,
            Code::DatabasePrivileges,
            format!("database {}", quote::ident(database)),
            format!("the source's role {name} may not make a publication in it"),
            format!("on the source: GRANT CREATE ON DATABASE {} TO {name};", quote::ident(database)),
        ));
    }
    for (column, code, what, privilege) in [
        ("schemas", Code::SchemaPrivileges, "schemas", "USAGE ON SCHEMA"),
        ("sequences", Code::SequencePrivileges, "sequences", "SELECT ON SEQUENCE"),
    ] {
        let hidden = row.get::<_, Option<Vec<String>>>(column).unwrap_or_default();
        if let Some(one) = hidden.first() {
            let first = &hidden[..hidden.len().min(5)];
            findings.push(database_finding(
                Severity::Error,
                database,
                code,
                format!("{} {what}", hidden.len()),
                format!("the source's role {name} may not look into {}", listed(first, hidden.len() as i64)),
                format!("on the source: GRANT {privilege} {one} TO {name}; and so on; or use a superuser"),
            ));
        }
    }
    let foreign_tables: i64 = row.get("foreign_tables");
    if foreign_tables > 0 {
        let first: Vec<String> = row.get("first_tables");
        findings.push(database_finding(
            Severity::Error,
            database,
            Code::TablePrivileges,
            format!("{foreign_tables} tables"),
            format!(
                "the source's role {name} is not a member of the owners of {}, and so can't publish them",
                listed(&first, foreign_tables)
            ),
            format!("on the source: GRANT <owner> TO {name}; or use a superuser"),
        ));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::judge_source;

    #[test]
    fn a_superuser_passes_and_a_role_without_replication_does_not() {
        assert!(judge_source("postgres", true, false, true).is_empty());
        let codes = |findings: Vec<super::Finding>| findings.iter().map(|f| f.code).collect::<Vec<_>>();
        assert_eq!(codes(judge_source("app", false, true, false)), ["source_not_superuser"]);
        assert_eq!(codes(judge_source("app", false, false, true)), ["source_privileges", "source_not_superuser"]);
    }
}
