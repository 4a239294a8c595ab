//! Owners, grants and who made them, default privileges, comments.

use pg_migrator_tests::Result;
use rand::Rng as _;

use super::{Kind, Thing, World};
use crate::names::{hostile, literal};

/// What default privileges may be about, and which privileges there are.
const DEFAULTS: &[(&str, &[&str])] = &[
    ("TABLES", &["ALL", "SELECT", "INSERT, UPDATE"]),
    ("SEQUENCES", &["ALL", "USAGE"]),
    ("FUNCTIONS", &["ALL", "EXECUTE"]),
    ("TYPES", &["USAGE"]),
    ("SCHEMAS", &["ALL", "USAGE"]),
];

impl World {
    pub(super) async fn comment(&mut self) -> Result<()> {
        let Some(thing) = self.pick(&self.things.clone()) else { return Ok(()) };
        self.number += 1;
        let text = literal(&format!("{}\n'); DROP TABLE x; --", hostile(&mut self.rng, self.number)));
        self.run(&format!("COMMENT ON {} {} IS {text}", thing.keyword, thing.target)).await?;
        let kinds = [Kind::Table, Kind::Partitioned, Kind::View, Kind::MaterializedView, Kind::ForeignTable];
        if let Some(relation) = self.relation(&kinds)
            && let Some(column) = self.pick(&relation.columns)
        {
            self.run(&format!("COMMENT ON COLUMN {}.{} IS {text}", relation.name, column.name)).await?;
        }
        if let Some((domain, Some(check))) = self.pick(&self.domains.clone()) {
            self.run(&format!("COMMENT ON CONSTRAINT {check} ON DOMAIN {domain} IS {text}")).await?;
        }
        if let Some((composite, field)) = self.pick(&self.composites.clone()) {
            self.run(&format!("COMMENT ON COLUMN {composite}.{field} IS {text}")).await?;
        }
        Ok(())
    }

    pub(super) async fn owner(&mut self) -> Result<()> {
        let ownable: Vec<Thing> = self.things.iter().filter(|thing| thing.ownable).cloned().collect();
        let (Some(thing), role) = (self.pick(&ownable), self.role()) else { return Ok(()) };
        self.run(&format!("ALTER {} {} OWNER TO {role}", thing.keyword, thing.target)).await?;
        Ok(())
    }

    pub(super) async fn grant(&mut self) -> Result<()> {
        let Some(thing) = self.pick(&self.things.clone()) else { return Ok(()) };
        let Some((keyword, privileges)) = thing.privileges else { return Ok(()) };
        let privileges: Vec<&str> = privileges.split(' ').collect();
        let privilege = self.pick(&privileges).unwrap_or("ALL");
        let privilege = match (self.chance(2), keyword) {
            (true, "TABLE") if self.has(17) && self.chance(5) => "MAINTAIN",
            (true, _) => "ALL",
            _ => privilege,
        };
        let on = format!("{keyword} {}", thing.target);
        let role = self.role();
        match self.rng.random_range(0..8) {
            // Everybody keeps the use of schemas: the grantors below look for their objects in them.
            0..=1 if keyword == "SCHEMA" => self.run(&format!("REVOKE ALL ON {on} FROM PUBLIC")).await?,
            0 => {
                let from = if self.chance(5) { "PUBLIC" } else { role.as_str() };
                self.run(&format!("REVOKE {privilege} ON {on} FROM {from}")).await?
            }
            1 => {
                let option = if self.chance(5) { "GRANT OPTION FOR " } else { "" };
                self.run(&format!("REVOKE {option}{privilege} ON {on} FROM {role} CASCADE")).await?
            }
            2..=4 => return self.chain(privilege, &on).await,
            _ => {
                let to = if self.chance(2) { "PUBLIC" } else { role.as_str() };
                let option = if to != "PUBLIC" && self.chance(3) { " WITH GRANT OPTION" } else { "" };
                self.run(&format!("GRANT {privilege} ON {on} TO {to}{option}")).await?
            }
        };
        Ok(())
    }

    /// One role passes a privilege on to the next, and that one to another.
    async fn chain(&mut self, privilege: &str, on: &str) -> Result<()> {
        let mut grantor = self.role();
        if !self.run(&format!("GRANT {privilege} ON {on} TO {grantor} WITH GRANT OPTION")).await? {
            return Ok(());
        }
        for _ in 0..self.rng.random_range(1..4) {
            let (grantee, last) = (self.role(), self.chance(4));
            let option = if last { "" } else { " WITH GRANT OPTION" };
            let sql = format!("SET SESSION AUTHORIZATION {grantor}; GRANT {privilege} ON {on} TO {grantee}{option}");
            let passed = self.run(&sql).await?;
            self.run("RESET SESSION AUTHORIZATION").await?;
            if !passed || last {
                break;
            }
            grantor = grantee;
        }
        Ok(())
    }

    pub(super) async fn column_grant(&mut self) -> Result<()> {
        let kinds = [Kind::Table, Kind::View, Kind::Partitioned, Kind::MaterializedView, Kind::ForeignTable];
        let Some(relation) = self.relation(&kinds) else { return Ok(()) };
        let (Some(column), role) = (self.pick(&relation.columns), self.role()) else { return Ok(()) };
        if self.chance(4) {
            let privilege = if self.chance(3) { "ALL" } else { "SELECT" };
            return self.chain(&format!("{privilege} ({})", column.name), &relation.name).await;
        }
        let sql = format!("GRANT SELECT ({0}), UPDATE ({0}) ON {1} TO {role}", column.name, relation.name);
        self.run(&sql).await?;
        Ok(())
    }

    pub(super) async fn default_privileges(&mut self) -> Result<()> {
        let (owner, other) = (self.role(), self.role());
        // The one who makes things here: what it makes later has other privileges from the start.
        let owner = if self.chance(2) { "postgres".to_owned() } else { owner };
        let Some((kind, privileges)) = self.pick(DEFAULTS) else { return Ok(()) };
        let privilege = self.pick(privileges).unwrap_or("ALL");
        let schema = if self.chance(6) && kind != "SCHEMAS" { format!(" IN SCHEMA {}", self.schema) } else { String::new() };
        let action = match self.rng.random_range(0..6) {
            0 => format!("REVOKE ALL ON {kind} FROM PUBLIC"),
            1 if owner != "postgres" => format!("REVOKE {privilege} ON {kind} FROM {owner}"),
            2 => format!("GRANT {privilege} ON {kind} TO {other} WITH GRANT OPTION"),
            3 => format!("GRANT {privilege} ON {kind} TO PUBLIC"),
            4 => format!("REVOKE {privilege} ON {kind} FROM {other}"),
            _ => format!("GRANT {privilege} ON {kind} TO {other}"),
        };
        self.run(&format!("ALTER DEFAULT PRIVILEGES FOR ROLE {owner}{schema} {action}")).await?;
        Ok(())
    }
}
