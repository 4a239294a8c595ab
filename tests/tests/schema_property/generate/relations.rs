//! Tables, those that inherit, sequences.

use pg_migrator_tests::Result;
use rand::Rng as _;

use super::{Column, Family, Kind, World};

impl World {
    pub(super) async fn table(&mut self) -> Result<()> {
        let target = self.new_target();
        let (mut definitions, columns) = self.new_columns();
        let mut key = None;
        if self.chance(5) {
            let name = self.new_name();
            let deferrable = if self.chance(2) { " DEFERRABLE INITIALLY DEFERRED" } else { "" };
            definitions.push(format!("CONSTRAINT {name} PRIMARY KEY ({}){deferrable}", columns[0].name));
            // A foreign key can't refer to a deferrable one.
            key = deferrable.is_empty().then(|| columns[0].name.clone());
        }
        if self.chance(3) {
            let column = self.pick(&columns).unwrap_or_else(|| columns[0].clone());
            definitions.push(format!("CHECK ({}){}", self.condition(&column), if self.chance(3) { " NO INHERIT" } else { "" }));
        }
        let unlogged = if self.chance(1) { "UNLOGGED " } else { "" };
        let options = if self.chance(2) { " WITH (fillfactor = 70, toast.autovacuum_enabled = false)" } else { "" };
        let sql = format!("CREATE {unlogged}TABLE {target} ({}){options}", definitions.join(", "));
        if self.run(&sql).await? {
            self.new_relation(&target, Kind::Table, columns, key);
            if self.chance(2) {
                // A table's row is a type like any other.
                self.types.push((target.clone(), Family::Other));
            }
            self.thing("TABLE", &target, true, Some(("TABLE", "SELECT INSERT UPDATE DELETE TRUNCATE REFERENCES TRIGGER")));
        }
        Ok(())
    }

    pub(super) async fn child(&mut self) -> Result<()> {
        let Some(parent) = self.relation(&[Kind::Table]) else { return Ok(()) };
        let target = self.new_target();
        let (definition, column) = self.new_column(&parent.columns);
        let over = if self.chance(4) { format!(", {} integer DEFAULT 4", parent.columns[0].name) } else { String::new() };
        let sql = format!("CREATE TABLE {target} ({definition}{over}) INHERITS ({})", parent.name);
        if self.run(&sql).await? {
            let mut columns = parent.columns.clone();
            columns.push(Column { family: Family::Other, ..column });
            self.new_relation(&target, Kind::Table, columns, None);
            self.thing("TABLE", &target, true, Some(("TABLE", "SELECT UPDATE")));
        }
        Ok(())
    }

    pub(super) async fn sequence(&mut self) -> Result<()> {
        let target = self.new_target();
        let options = ["", " AS smallint", " START -5 MINVALUE -10 MAXVALUE 7 INCREMENT 3 CYCLE", " CACHE 20", " INCREMENT -1"];
        let options = options[self.rng.random_range(0..options.len())];
        if self.run(&format!("CREATE SEQUENCE {target}{options}")).await? {
            let owner = self.relation(&[Kind::Table]);
            if let (Some(table), true) = (owner, self.chance(3)) {
                let sql = format!("ALTER SEQUENCE {target} OWNED BY {}.{}", table.name, table.columns[0].name);
                self.run(&sql).await?;
                return Ok(());
            }
            self.sequences.push(target.clone());
            self.thing("SEQUENCE", &target, true, Some(("SEQUENCE", "USAGE SELECT UPDATE")));
        }
        Ok(())
    }
}
