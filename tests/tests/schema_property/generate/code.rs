//! Functions, triggers, rules, policies.

use pg_migrator_tests::Result;
use rand::Rng as _;

use super::{Column, Family, Kind, World};
use crate::names::literal;

impl World {
    pub(super) async fn function(&mut self) -> Result<()> {
        let target = self.new_target();
        let kept = "IMMUTABLE SET search_path = pg_catalog";
        let relation = self.relation(&[Kind::Table, Kind::View]);
        let (data_type, _) = self.pick(&self.types.clone()).unwrap_or(("text".to_owned(), Family::Text));
        let argument = self.new_name();
        let other = self.a_function();
        // A body that the server keeps as a tree, since it has such.
        let whole = if self.has(14) {
            format!("RETURN {other}({argument})")
        } else {
            format!("SET search_path = pg_catalog AS {}", literal(&format!("SELECT {other}($1)")))
        };
        let (signature, sql) = match (self.rng.random_range(0..8), relation) {
            (0, Some(relation)) if self.has(14) => {
                let column = relation.columns.first().map_or("1".to_owned(), |column| column.name.clone());
                (
                    format!("{target}({data_type})"),
                    format!(
                        "CREATE FUNCTION {target}({argument} {data_type}) RETURNS bigint LANGUAGE sql STABLE BEGIN ATOMIC SELECT count({column}) FROM {}; END",
                        relation.name
                    ),
                )
            }
            (1, Some(relation)) => (
                format!("{target}({})", relation.name),
                format!(
                    "CREATE FUNCTION {target}({argument} {}) RETURNS SETOF {} LANGUAGE plpgsql ROWS 7 COST 3 AS $f$BEGIN RETURN; END$f$",
                    relation.name, relation.name
                ),
            ),
            (2, _) if self.has(11) => (
                format!("{target}(integer, {data_type}[])"),
                format!(
                    "CREATE PROCEDURE {target}(integer, VARIADIC {argument} {data_type}[]) LANGUAGE plpgsql SECURITY DEFINER SET work_mem = '1MB' AS {}",
                    literal("BEGIN -- it's\nEND")
                ),
            ),
            (3, _) => (
                format!("{target}({data_type})"),
                format!(
                    "CREATE FUNCTION {target}({argument} {data_type} DEFAULT NULL, OUT o {data_type}[], OUT \"P p\" text) LANGUAGE sql STRICT PARALLEL SAFE LEAKPROOF AS {}",
                    literal("SELECT ARRAY[$1], $$it's$$::pg_catalog.text")
                ),
            ),
            // One that needs another, and says so.
            (4..=5, _) => (
                format!("{target}(integer)"),
                format!(
                    "CREATE FUNCTION {target}({argument} integer DEFAULT {other}(3)) RETURNS integer LANGUAGE sql IMMUTABLE {whole}"
                ),
            ),
            _ => (
                format!("{target}(integer)"),
                format!(
                    "CREATE FUNCTION {target}({argument} integer DEFAULT 3) RETURNS integer LANGUAGE sql {kept} AS 'SELECT $1 + 1'"
                ),
            ),
        };
        if self.run(&sql).await? {
            if sql.contains(kept) || sql.contains(&whole) {
                self.functions.push(target);
            }
            let keyword = if sql.starts_with("CREATE PROCEDURE") { "PROCEDURE" } else { "FUNCTION" };
            self.thing(keyword, &signature, true, Some((keyword, "EXECUTE")));
        }
        Ok(())
    }

    pub(super) async fn trigger(&mut self) -> Result<()> {
        let kinds = if self.has(11) { &[Kind::Table, Kind::Partitioned][..] } else { &[Kind::Table][..] };
        let Some(relation) = self.relation(kinds) else { return Ok(()) };
        let (function, name) = (self.new_target(), self.new_name());
        if !self.run(&format!("CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")).await?
        {
            return Ok(());
        }
        let (column, used) = (relation.columns[0].name.clone(), self.a_function());
        let sql = match self.rng.random_range(0..4) {
            0 => format!(
                "CREATE CONSTRAINT TRIGGER {name} AFTER INSERT ON {} DEFERRABLE FOR EACH ROW EXECUTE PROCEDURE {function}()",
                relation.name
            ),
            1 => format!(
                "CREATE TRIGGER {name} AFTER UPDATE OF {column} ON {} FOR EACH ROW WHEN ({used}(OLD.{column}) IS DISTINCT FROM NEW.{column}) EXECUTE PROCEDURE {function}({})",
                relation.name,
                literal("it's \\")
            ),
            2 => format!(
                "CREATE TRIGGER {name} AFTER DELETE ON {} REFERENCING OLD TABLE AS o FOR EACH STATEMENT EXECUTE PROCEDURE {function}()",
                relation.name
            ),
            _ => format!(
                "CREATE TRIGGER {name} {} INSERT OR DELETE ON {} FOR EACH ROW EXECUTE PROCEDURE {function}()",
                if relation.kind == Kind::Table || self.has(13) { "BEFORE" } else { "AFTER" },
                relation.name
            ),
        };
        if self.run(&sql).await? {
            self.thing("TRIGGER", &format!("{name} ON {}", relation.name), false, None);
            if self.chance(4) {
                let state = ["DISABLE TRIGGER", "ENABLE REPLICA TRIGGER", "ENABLE ALWAYS TRIGGER"][self.rng.random_range(0..3)];
                let own = |(parent, part): &(String, String)| (*parent == relation.name).then(|| part.clone());
                let partitions: Vec<String> = self.partitions.iter().filter_map(own).collect();
                // A partition's trigger that came from above has a state of its own.
                let on = if self.chance(6) { self.pick(&partitions) } else { None };
                let on = on.unwrap_or(relation.name);
                self.run(&format!("ALTER TABLE {on} {state} {name}")).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn rule(&mut self) -> Result<()> {
        let Some(relation) = self.relation(&[Kind::Table]) else { return Ok(()) };
        let name = self.new_name();
        let Some(column) = self.pick(&relation.columns) else { return Ok(()) };
        let channel = self.new_name();
        let action = match self.rng.random_range(0..3) {
            0 => format!("ON DELETE TO {} WHERE OLD.{} IS NULL DO INSTEAD NOTHING", relation.name, column.name),
            1 => format!("ON UPDATE TO {} DO ALSO NOTIFY {channel}", relation.name),
            _ => format!(
                "ON INSERT TO {0} DO ALSO DELETE FROM {0} WHERE {1} IS NULL AND NEW.{1} IS NOT NULL",
                relation.name, column.name
            ),
        };
        if self.run(&format!("CREATE RULE {name} AS {action}")).await? {
            self.thing("RULE", &format!("{name} ON {}", relation.name), false, None);
            if self.chance(3) {
                let state = ["DISABLE", "ENABLE REPLICA", "ENABLE ALWAYS"][self.rng.random_range(0..3)];
                self.run(&format!("ALTER TABLE {} {state} RULE {name}", relation.name)).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn policy(&mut self) -> Result<()> {
        let Some(relation) = self.relation(&[Kind::Table, Kind::Partitioned]) else { return Ok(()) };
        let name = self.new_name();
        let Some(column) = self.pick(&relation.columns) else { return Ok(()) };
        let (mut condition, one, two) = (self.condition(&column), self.role(), self.role());
        if let Some(other) = self.relation(&[Kind::Table, Kind::View])
            && let Some(theirs) = self.column(&other, &[Family::Number, Family::Text])
            && self.chance(3)
        {
            let sub = self.condition(&Column { name: format!("o.{}", theirs.name), ..theirs });
            condition = format!("{condition} OR EXISTS (SELECT FROM {} o WHERE {sub})", other.name);
        }
        let kind = ["", " AS RESTRICTIVE"][self.rng.random_range(0..2)];
        let to = match self.rng.random_range(0..4) {
            0..=1 => "PUBLIC".to_owned(),
            2 if one != two => format!("{one}, {two}"),
            _ => one,
        };
        let uses = match self.rng.random_range(0..5) {
            0 => format!("FOR INSERT TO {to} WITH CHECK ({condition})"),
            1 => format!("FOR UPDATE TO {to} USING ({condition}) WITH CHECK ({condition})"),
            2 => format!("FOR SELECT TO {to} USING ({condition})"),
            3 => format!("FOR DELETE TO {to} USING (current_user = {})", literal("it's \\")),
            _ => format!("FOR ALL TO {to} USING ({condition})"),
        };
        if self.run(&format!("CREATE POLICY {name} ON {}{kind} {uses}", relation.name)).await? {
            self.thing("POLICY", &format!("{name} ON {}", relation.name), false, None);
            self.run(&format!("ALTER TABLE {} ENABLE ROW LEVEL SECURITY", relation.name)).await?;
            if self.chance(3) {
                self.run(&format!("ALTER TABLE {} FORCE ROW LEVEL SECURITY", relation.name)).await?;
            }
        }
        Ok(())
    }
}
