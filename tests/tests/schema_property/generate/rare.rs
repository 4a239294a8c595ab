//! What few schemas have.

use pg_migrator_tests::Result;
use rand::Rng as _;

use super::{Kind, World};
use crate::names::literal;

impl World {
    pub(super) async fn foreign(&mut self) -> Result<()> {
        let (wrapper, server, role) = (self.new_name(), self.new_name(), self.role());
        let option = literal("it's=\\ \"x\"");
        let sql = format!(
            "CREATE FOREIGN DATA WRAPPER {wrapper} OPTIONS (\"o p\" {option}); \
             CREATE SERVER {server} VERSION {option} FOREIGN DATA WRAPPER {wrapper} OPTIONS (host {option}); \
             CREATE USER MAPPING FOR {role} SERVER {server} OPTIONS (user {option}, password {option})"
        );
        if !self.run(&sql).await? {
            return Ok(());
        }
        self.thing("FOREIGN DATA WRAPPER", &wrapper, false, Some(("FOREIGN DATA WRAPPER", "USAGE")));
        self.thing("SERVER", &server, true, Some(("FOREIGN SERVER", "USAGE")));
        let target = self.new_target();
        let (mut definitions, columns) = self.new_columns();
        definitions.retain(|definition| !definition.contains(" IDENTITY"));
        let sql = format!("CREATE FOREIGN TABLE {target} ({}) SERVER {server} OPTIONS (a {option})", definitions.join(", "));
        if self.run(&sql).await? {
            self.new_relation(&target, Kind::ForeignTable, columns, None);
            self.thing("FOREIGN TABLE", &target, true, Some(("TABLE", "SELECT")));
        }
        Ok(())
    }

    pub(super) async fn rare(&mut self) -> Result<()> {
        let (target, name) = (self.new_target(), self.new_name());
        match self.rng.random_range(0..6) {
            0 => {
                let sql = format!(
                    "CREATE AGGREGATE {target}(integer) (SFUNC = int4larger, STYPE = integer, SORTOP = OPERATOR(pg_catalog.>))"
                );
                if self.run(&sql).await? {
                    self.thing("AGGREGATE", &format!("{target}(integer)"), true, None);
                }
            }
            1 => {
                let sql = format!("CREATE TEXT SEARCH CONFIGURATION {target} (COPY = pg_catalog.simple)");
                if self.run(&sql).await? {
                    self.thing("TEXT SEARCH CONFIGURATION", &target, true, None);
                }
            }
            2 => {
                let sql = format!(
                    "CREATE TEXT SEARCH DICTIONARY {target} (TEMPLATE = pg_catalog.simple, STOPWORDS = english, Accept = false)"
                );
                if self.run(&sql).await? {
                    self.thing("TEXT SEARCH DICTIONARY", &target, true, None);
                }
            }
            3 => {
                let kinds = if self.has(13) { &[Kind::Table, Kind::Partitioned][..] } else { &[Kind::Table][..] };
                let Some(relation) = self.relation(kinds) else { return Ok(()) };
                let also = if self.has(11) { "truncate" } else { "delete" };
                let sql = format!("CREATE PUBLICATION {name} FOR TABLE {} WITH (publish = 'insert, {also}')", relation.name);
                if self.run(&sql).await? {
                    self.thing("PUBLICATION", &name, false, None);
                }
            }
            4 => {
                let sql = format!("CREATE COLLATION {target} (provider = libc, locale = 'C')");
                if self.run(&sql).await? {
                    self.thing("COLLATION", &target, true, None);
                }
            }
            _ => {
                let schema = self.schema.clone();
                let sql = format!(
                    "CREATE OPERATOR {schema}.=== (PROCEDURE = int4eq, LEFTARG = integer, RIGHTARG = integer, COMMUTATOR = OPERATOR({schema}.===))"
                );
                if self.run(&sql).await? {
                    self.thing("OPERATOR", &format!("{schema}.=== (integer, integer)"), true, None);
                }
            }
        }
        Ok(())
    }
}
