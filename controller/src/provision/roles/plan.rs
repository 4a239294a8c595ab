//! From two instances' roles to the statements that bring the destination's up to the source's. Pure.
//!
//! The plan holds what is missing, so that a plan made after a crash, from what is there by then, goes on where the last stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use secrecy::{ExposeSecret as _, SecretString};

use super::{BOOTSTRAP_SUPERUSER, Membership, Password, Role, Roles};
use crate::finding::{Code, Finding, Severity};
use crate::postgres::{ServerVersion, quote};
use crate::provision::Setting;

/// What to do about a role of the source whose name the destination has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Add to it what it lacks; take nothing away, and leave its password alone.
    Merge,
    /// Leave it as it is.
    Skip,
    /// Report it as an error.
    Fail,
}

/// What the plan is made with.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to do about roles that are there already.
    pub policy: Policy,
    /// The password of roles whose own can't be read.
    pub fallback_password: Option<SecretString>,
    /// The roles that the ledger says we made: being there is no conflict.
    pub ours: BTreeSet<String>,
    /// The databases that are moved; settings of a role in another database stay behind.
    pub databases: BTreeSet<String>,
    /// Variables that the destination does not have ([`crate::provision::setting::unknown`]).
    pub unknown_settings: BTreeSet<String>,
    /// Our role on the destination: its settings hold for the apply workers.
    pub own_role: String,
    /// The source's version: what its memberships mean depends on it.
    pub source_version: ServerVersion,
}

/// What a statement does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatementKind {
    /// Makes the role: the ledger's kind `role`.
    Create,
    /// Adds attributes to a role that was there.
    Alter,
    /// Comments on it.
    Comment,
    /// Labels it, or a tablespace, for a security provider.
    Label {
        /// The provider.
        provider: String,
        /// What is labelled: `role "app"`.
        object: String,
    },
    /// Sets a variable for it.
    Setting(Setting),
    /// Lets roles set a parameter of the server.
    Parameter {
        /// The parameter.
        name: String,
    },
    /// Lets roles create in a tablespace, or comments on it.
    Tablespace {
        /// The tablespace.
        name: String,
    },
    /// Makes it a member of another role: the ledger's kind `membership`.
    Membership {
        /// The other role.
        of: String,
    },
}

/// One statement about a role.
#[derive(Debug, Clone)]
pub struct RoleStatement {
    /// The role.
    pub role: String,
    /// What it does.
    pub kind: StatementKind,
    /// The SQL. It may carry a password hash: to be executed in a session that logs nothing.
    pub sql: SecretString,
    /// The SQL with the password blotted out, for people.
    pub printable: String,
}

/// What becomes of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is made, or was made by us before.
    Created,
    /// It was there and gets what it lacks.
    Merged,
    /// It was there and stays as it is.
    Skipped,
    /// It was there, and that is not wanted.
    Failed,
}

impl Fate {
    /// The word in `migrator.roles`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Merged => "merged",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

/// All that is to be done about roles.
#[derive(Debug, Default)]
pub struct RolePlan {
    /// To be executed in this order, in any database of the destination.
    pub statements: Vec<RoleStatement>,
    /// Settings that hold in one database, by database: to be executed when it exists.
    pub in_database: BTreeMap<String, Vec<RoleStatement>>,
    /// Settings of our own role that would be in the way until the cutover, each with what takes it back, by database; those that hold
    /// everywhere under none.
    pub at_cutover: BTreeMap<Option<String>, Vec<(String, String)>>,
    /// What becomes of each role of the source.
    pub fates: BTreeMap<String, Fate>,
    /// What to know.
    pub findings: Vec<Finding>,
}

/// Plans the destination's roles.
pub fn plan(source: &Roles, existing: &Roles, options: &Options) -> RolePlan {
    let mut planner = Planner { source, existing, options, plan: RolePlan::default() };
    for role in &source.roles {
        planner.role(role);
    }
    planner.settings();
    planner.memberships();
    planner.plan
}

struct Planner<'a> {
    source: &'a Roles,
    existing: &'a Roles,
    options: &'a Options,
    plan: RolePlan,
}

impl Planner<'_> {
    fn role(&mut self, role: &Role) {
        let fate = match self.existing.role(&role.name) {
            None => Fate::Created,
            Some(_) if self.options.ours.contains(&role.name) => Fate::Created,
            Some(_) => match self.options.policy {
                Policy::Merge => Fate::Merged,
                Policy::Skip => Fate::Skipped,
                // Every instance has its first superuser; that is no conflict between the two.
                Policy::Fail if role.oid == BOOTSTRAP_SUPERUSER => Fate::Skipped,
                Policy::Fail => Fate::Failed,
            },
        };
        self.plan.fates.insert(role.name.clone(), fate);
        match (fate, self.existing.role(&role.name)) {
            (Fate::Created, None) => self.create(role),
            (Fate::Created | Fate::Merged, Some(present)) => self.merge(role, present, fate),
            (Fate::Failed, _) => self.find(
                Severity::Error,
                Code::RoleExists,
                &role.name,
                "the destination has a role of this name already, and roles = \"fail\" asks to stop then".to_owned(),
                "rename or drop the destination's role, or set roles = \"merge\" or \"skip\" for this mapping".to_owned(),
            ),
            (Fate::Skipped | Fate::Merged, _) => {}
        }
    }

    fn create(&mut self, role: &Role) {
        let mut head = format!("CREATE ROLE {} WITH", quote::ident(&role.name));
        for (has, yes, no) in [
            (role.superuser, "SUPERUSER", "NOSUPERUSER"),
            (role.inherit, "INHERIT", "NOINHERIT"),
            (role.createrole, "CREATEROLE", "NOCREATEROLE"),
            (role.createdb, "CREATEDB", "NOCREATEDB"),
            (role.login, "LOGIN", "NOLOGIN"),
            (role.replication, "REPLICATION", "NOREPLICATION"),
            (role.bypassrls, "BYPASSRLS", "NOBYPASSRLS"),
        ] {
            let _ = write!(head, " {}", if has { yes } else { no });
        }
        if role.connection_limit != -1 {
            let _ = write!(head, " CONNECTION LIMIT {}", role.connection_limit);
        }
        if let Some(until) = &role.valid_until {
            let _ = write!(head, " VALID UNTIL {}", quote::literal(until).trim_start());
        }
        let password = self.password(role);
        let statement = match password {
            Some(password) => RoleStatement {
                role: role.name.clone(),
                kind: StatementKind::Create,
                sql: SecretString::from(format!("{head} PASSWORD {}", quote::literal(password.expose_secret()))),
                printable: format!("{head} PASSWORD '********'"),
            },
            None => plain(&role.name, StatementKind::Create, head),
        };
        self.plan.statements.push(statement);
        if let Some(comment) = &role.comment {
            self.comment(&role.name, comment);
        }
        for (provider, label) in &role.labels {
            self.label(&role.name, provider, label);
        }

        if role.oid == BOOTSTRAP_SUPERUSER {
            self.find(
                Severity::Info,
                Code::BootstrapSuperuser,
                &role.name,
                "the source's first superuser has another name than the destination's; it is made as an ordinary superuser there"
                    .to_owned(),
                "nothing; drop it after the migration if nobody uses it".to_owned(),
            );
        }
        if role.createrole && !role.superuser && !self.options.source_version.at_least(16) {
            self.find(
                Severity::Info,
                Code::CreateroleRestricted,
                &role.name,
                "since PostgreSQL 16 CREATEROLE allows managing only roles that one has ADMIN OPTION on; before, any role but superusers"
                    .to_owned(),
                format!("grant it the roles it manages: GRANT … TO {} WITH ADMIN OPTION", quote::ident(&role.name)),
            );
        }
    }

    /// The password to make the role with.
    fn password(&mut self, role: &Role) -> Option<SecretString> {
        match &role.password {
            Password::None => None,
            Password::Hash(hash) => {
                if hash.expose_secret().starts_with("md5") {
                    self.find(
                        Severity::Info,
                        Code::Md5Password,
                        &role.name,
                        "its password is stored as an MD5 hash, which PostgreSQL 18 still takes but a later version will not"
                            .to_owned(),
                        format!("set the password anew after the migration: \\password {}", quote::ident(&role.name)),
                    );
                }
                Some(hash.clone())
            }
            // A role that can't log in needs none.
            Password::Unreadable if !role.login => None,
            Password::Unreadable => {
                let fallback = self.options.fallback_password.clone();
                let (severity, reason, fix) = if fallback.is_some() {
                    (
                        Severity::Warning,
                        "its password can't be read on the source, so it gets the mapping's fallback_password",
                        "set its own",
                    )
                } else {
                    (
                        Severity::Error,
                        "its password can't be read on the source, so it would have none and could not log in",
                        "set one",
                    )
                };
                self.find(
                    severity,
                    Code::RolePasswordUnreadable,
                    &role.name,
                    reason.to_owned(),
                    format!(
                        "let the source's user read pg_authid (a superuser may), or set fallback_password, or {fix} after the migration: \\password {}",
                        quote::ident(&role.name)
                    ),
                );
                fallback
            }
        }
    }

    fn merge(&mut self, role: &Role, present: &Role, fate: Fate) {
        let mut added = String::new();
        for (wanted, has, word) in [
            (role.inherit, present.inherit, "INHERIT"),
            (role.createrole, present.createrole, "CREATEROLE"),
            (role.createdb, present.createdb, "CREATEDB"),
            (role.login, present.login, "LOGIN"),
        ] {
            if wanted && !has {
                let _ = write!(added, " {word}");
            }
        }
        if !added.is_empty() {
            let sql = format!("ALTER ROLE {} WITH{added}", quote::ident(&role.name));
            self.plan.statements.push(plain(&role.name, StatementKind::Alter, sql));
        }
        if let (Some(comment), None) = (&role.comment, &present.comment) {
            self.comment(&role.name, comment);
        }
        for (provider, label) in &role.labels {
            if !present.labels.iter().any(|(other, _)| other == provider) {
                self.label(&role.name, provider, label);
            }
        }
        if fate == Fate::Created {
            return;
        }

        // What gives power over the whole instance is not handed to a role because another server has one of the same name.
        for (wanted, has, word) in [
            (role.superuser, present.superuser, "SUPERUSER"),
            (role.replication, present.replication, "REPLICATION"),
            (role.bypassrls, present.bypassrls, "BYPASSRLS"),
        ] {
            if wanted && !has {
                self.find(
                    Severity::Warning,
                    Code::RoleLacksAttribute,
                    &role.name,
                    format!("the source's role is {word}, the destination's role of the same name is not, and is not made so"),
                    format!("ALTER ROLE {} WITH {word};", quote::ident(&role.name)),
                );
            }
        }
        let mut kept = Vec::new();
        if let Password::Hash(hash) = &role.password {
            let same = matches!(&present.password, Password::Hash(other) if other.expose_secret() == hash.expose_secret());
            if !same {
                kept.push("password");
            }
        }
        if role.valid_until != present.valid_until {
            kept.push("VALID UNTIL");
        }
        if role.connection_limit != present.connection_limit {
            kept.push("CONNECTION LIMIT");
        }
        if !kept.is_empty() {
            self.find(
                Severity::Info,
                Code::RoleDiffers,
                &role.name,
                format!("the destination's role of this name keeps its own {}", kept.join(", ")),
                "nothing, if both names mean the same user; otherwise rename one of them".to_owned(),
            );
        }
    }

    fn comment(&mut self, role: &str, comment: &str) {
        let sql = format!("COMMENT ON ROLE {} IS {}", quote::ident(role), quote::literal(comment).trim_start());
        self.plan.statements.push(plain(role, StatementKind::Comment, sql));
    }

    fn label(&mut self, role: &str, provider: &str, label: &str) {
        let sql = format!(
            "SECURITY LABEL FOR {} ON ROLE {} IS {}",
            quote::ident(provider),
            quote::ident(role),
            quote::literal(label).trim_start()
        );
        let object = format!("role {}", quote::ident(role));
        self.plan.statements.push(plain(role, StatementKind::Label { provider: provider.to_owned(), object }, sql));
    }

    fn settings(&mut self) {
        let source = self.source;
        for setting in &source.settings {
            // Predefined roles are the server's; nobody sets anything for them that an application would see.
            let Some(fate) = self.plan.fates.get(&setting.role).copied() else { continue };
            match &setting.database {
                None if matches!(fate, Fate::Skipped | Fate::Failed) => continue,
                Some(database) if !self.options.databases.contains(database) => continue,
                _ => {}
            }
            let present = self.existing.settings.iter().any(|other| {
                other.role == setting.role && other.database == setting.database && other.setting.name == setting.setting.name
            });
            if present {
                continue;
            }
            if self.options.unknown_settings.contains(&setting.setting.name) {
                let place = setting.database.as_ref().map_or(String::new(), |d| format!(" in database {}", quote::ident(d)));
                self.find(
                    Severity::Warning,
                    Code::SettingUnknown,
                    &setting.role,
                    format!(
                        "it has {} = {}{place}, a parameter that PostgreSQL 18 no longer has; it is left out",
                        setting.setting.name, setting.setting.value
                    ),
                    "nothing; look in the release notes for what took its place".to_owned(),
                );
                continue;
            }
            let place = setting.database.as_ref().map_or(String::new(), |d| format!(" IN DATABASE {}", quote::ident(d)));
            let alter = format!("ALTER ROLE {}{place}", quote::ident(&setting.role));
            let sql = format!("{alter} SET {}", setting.setting.assignment());
            if setting.role == self.options.own_role && setting.setting.hinders() {
                let reset = format!("{alter} RESET {}", quote::ident(&setting.setting.name));
                self.plan.at_cutover.entry(setting.database.clone()).or_default().push((sql, reset));
                continue;
            }
            let statement = plain(&setting.role, StatementKind::Setting(setting.setting.clone()), sql);
            match &setting.database {
                None => self.plan.statements.push(statement),
                Some(database) => self.plan.in_database.entry(database.clone()).or_default().push(statement),
            }
        }
    }

    /// Grants come after the grants that their grantors need: whom GRANTED BY names must have ADMIN OPTION by then.
    fn memberships(&mut self) {
        let mut pending: Vec<Membership> = Vec::new();
        for membership in &self.source.memberships {
            if let Some(wanted) = self.missing_membership(membership) {
                pending.push(wanted);
            }
        }
        let mut administrators: BTreeSet<(String, String)> =
            self.existing.memberships.iter().filter(|m| m.admin).map(|m| (m.role.clone(), m.member.clone())).collect();
        while !pending.is_empty() {
            let (ready, blocked): (Vec<_>, Vec<_>) = pending.into_iter().partition(|m| match &m.grantor {
                None => true,
                Some(grantor) => administrators.contains(&(m.role.clone(), grantor.clone())),
            });
            if ready.is_empty() {
                self.orphaned(&blocked);
                return;
            }
            for membership in &ready {
                if membership.admin {
                    administrators.insert((membership.role.clone(), membership.member.clone()));
                }
                self.grant(membership, true);
            }
            pending = blocked;
        }
    }

    /// Grants whose grantor has no ADMIN OPTION on the destination: the instance's first superuser grants them.
    fn orphaned(&mut self, memberships: &[Membership]) {
        let mut seen = BTreeSet::new();
        for membership in memberships {
            self.find(
                Severity::Info,
                Code::MembershipGrantor,
                &membership.member,
                format!(
                    "its membership in {} was granted by {}, who can't grant it on the destination; it is granted by the destination's first superuser",
                    quote::ident(&membership.role),
                    quote::ident(membership.grantor.as_deref().unwrap_or_default())
                ),
                "nothing".to_owned(),
            );
            let first = seen.insert((membership.role.clone(), membership.member.clone()));
            self.grant(&Membership { grantor: None, ..membership.clone() }, first);
        }
    }

    /// The membership as it should be granted, or `None` if there is nothing to grant.
    fn missing_membership(&mut self, membership: &Membership) -> Option<Membership> {
        if matches!(self.plan.fates.get(&membership.member), Some(Fate::Skipped | Fate::Failed)) {
            return None;
        }
        for name in [&membership.role, &membership.member] {
            if name.starts_with("pg_") && !self.existing.predefined.contains(name) {
                self.find(
                    Severity::Warning,
                    Code::PredefinedRoleMissing,
                    &membership.member,
                    format!(
                        "its membership in {} is left out: the destination has no predefined role {}",
                        quote::ident(&membership.role),
                        quote::ident(name)
                    ),
                    "nothing; look in the release notes for what took its place".to_owned(),
                );
                return None;
            }
        }
        let mut wanted = membership.clone();
        // Before 16 the grantor was kept carelessly: it may be anybody.
        if !self.options.source_version.at_least(16) {
            wanted.grantor = None;
        }
        let new_member = !self.existing.roles.iter().any(|role| role.name == membership.member)
            || self.options.ours.contains(&membership.member);
        let covered = self.existing.memberships.iter().any(|present| {
            present.role == wanted.role
                && present.member == wanted.member
                && (!new_member || present.grantor == wanted.grantor)
                && present.admin >= wanted.admin
                && present.inherit >= wanted.inherit
                && present.set >= wanted.set
        });
        (!covered).then_some(wanted)
    }

    /// With `fresh`, every option is said; otherwise only those that are on, because the same grant may be there with more.
    fn grant(&mut self, membership: &Membership, fresh: bool) {
        let present = self.existing.memberships.iter().any(|m| m.role == membership.role && m.member == membership.member);
        let options: Vec<String> = [("ADMIN", membership.admin), ("INHERIT", membership.inherit), ("SET", membership.set)]
            .into_iter()
            .filter(|(_, on)| *on || (fresh && !present))
            .map(|(option, on)| format!("{option} {}", if on { "TRUE" } else { "FALSE" }))
            .collect();
        let mut sql = format!("GRANT {} TO {}", quote::ident(&membership.role), quote::ident(&membership.member));
        if !options.is_empty() {
            let _ = write!(sql, " WITH {}", options.join(", "));
        }
        if let Some(grantor) = &membership.grantor {
            let _ = write!(sql, " GRANTED BY {}", quote::ident(grantor));
        }
        let kind = StatementKind::Membership { of: membership.role.clone() };
        self.plan.statements.push(plain(&membership.member, kind, sql));
    }

    fn find(&mut self, severity: Severity, code: Code, role: &str, reason: String, fix: String) {
        self.plan.findings.push(Finding {
            severity,
            database: String::new(),
            code,
            object: format!("role {}", quote::ident(role)),
            reason,
            fix,
            statement: None,
        });
    }
}

/// A statement that holds no secret.
fn plain(role: &str, kind: StatementKind, sql: String) -> RoleStatement {
    RoleStatement { role: role.to_owned(), kind, sql: SecretString::from(sql.clone()), printable: sql }
}

#[cfg(test)]
mod tests;
