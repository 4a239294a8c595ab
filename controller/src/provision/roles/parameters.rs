//! Privileges on the server's parameters (`GRANT SET ON PARAMETER`, since 15), for the roles that are carried over. As with roles,
//! what the destination has is added to, and nothing is taken away.

use std::collections::BTreeSet;

use secrecy::SecretString;

use super::{Fate, RolePlan, RoleStatement, StatementKind};
use crate::finding::{Code, Finding, Severity};
use crate::object::parameter::ParameterGrants;

/// Adds to `plan` what lets the source's roles set what they may set there. `predefined` are the destination's own roles;
/// `unknown` the parameters that it does not have.
pub fn plan(plan: &mut RolePlan, source: &[ParameterGrants], predefined: &BTreeSet<String>, unknown: &BTreeSet<String>) {
    for parameter in source {
        if unknown.contains(&parameter.name) {
            plan.findings.push(Finding {
                severity: Severity::Warning,
                database: String::new(),
                code: Code::SettingUnknown,
                object: format!("parameter {}", parameter.name),
                reason: "roles may set it on the source, and PostgreSQL 18 no longer has it; that is left out".to_owned(),
                fix: "nothing; look in the release notes for what took its place".to_owned(),
                statement: None,
            });
            continue;
        }
        let is_carried = |role: &str| {
            role.is_empty() || predefined.contains(role) || matches!(plan.fates.get(role), Some(Fate::Created | Fate::Merged))
        };
        let mut grants = parameter.base.clone();
        grants.extend(parameter.grants.iter().filter(|g| !parameter.base.contains(g) && is_carried(&g.grantee)).cloned());
        for sql in (ParameterGrants { grants, ..parameter.clone() }).statements() {
            plan.statements.push(RoleStatement {
                role: String::new(),
                kind: StatementKind::Parameter { name: parameter.name.clone() },
                sql: SecretString::from(sql.clone()),
                printable: sql,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::acl::Grant;

    fn grant(grantee: &str, privilege: &str) -> Grant {
        Grant { grantor: "postgres".to_owned(), grantee: grantee.to_owned(), privilege: privilege.to_owned(), grantable: false }
    }

    fn parameter(name: &str, grants: &[Grant]) -> ParameterGrants {
        ParameterGrants {
            name: name.to_owned(),
            owner: "postgres".to_owned(),
            base: vec![grant("postgres", "SET"), grant("postgres", "ALTER SYSTEM")],
            grants: grants.to_vec(),
        }
    }

    #[test]
    fn grants_of_carried_roles_are_added_and_nothing_is_revoked() {
        let mut planned = RolePlan::default();
        planned.fates.insert("app".to_owned(), Fate::Created);
        planned.fates.insert("left".to_owned(), Fate::Skipped);
        let source = [
            // The first superuser's own right was revoked here.
            parameter(
                "work_mem",
                &[grant("app", "SET"), grant("left", "SET"), grant("", "ALTER SYSTEM"), grant("pg_monitor", "SET")],
            ),
            parameter("old_snapshot_threshold", &[grant("app", "SET")]),
        ];
        let of = |name: &str| BTreeSet::from([name.to_owned()]);
        plan(&mut planned, &source, &of("pg_monitor"), &of("old_snapshot_threshold"));
        let sql: Vec<&str> = planned.statements.iter().map(|s| s.printable.as_str()).collect();
        assert_eq!(
            sql,
            [
                "GRANT SET ON PARAMETER \"work_mem\" TO \"app\"",
                "GRANT ALTER SYSTEM ON PARAMETER \"work_mem\" TO PUBLIC",
                "GRANT SET ON PARAMETER \"work_mem\" TO \"pg_monitor\"",
            ]
        );
        assert_eq!(planned.findings.len(), 1);
    }
}
