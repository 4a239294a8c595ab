//! What hangs on a table: indexes, constraints, statistics.

use pg_migrator_tests::Result;
use rand::Rng as _;

use super::{Family, Kind, Relation, World};

impl World {
    pub(super) async fn index(&mut self) -> Result<()> {
        let all = [Kind::Table, Kind::MaterializedView, Kind::Partitioned];
        let kinds = if self.has(11) { &all[..] } else { &all[..2] };
        let Some(relation) = self.relation(kinds) else { return Ok(()) };
        let Some(column) = self.column(&relation, &[Family::Number, Family::Text]) else { return Ok(()) };
        let name = self.new_name();
        let function = self.a_function();
        let expression = match self.rng.random_range(0..6) {
            0..=1 if column.family == Family::Number => format!("({function}(({})::integer))", column.name),
            1 if column.family == Family::Text => format!("(lower(({})::text)) COLLATE \"C\"", column.name),
            2 => format!("{} DESC NULLS LAST", column.name),
            3 if column.family == Family::Text => format!("((({})::text)) text_pattern_ops", column.name),
            _ => column.name.clone(),
        };
        let kind = if self.chance(1) && relation.kind == Kind::Table { "UNIQUE " } else { "" };
        let include =
            if self.chance(1) && self.has(11) { format!(" INCLUDE ({})", relation.columns[0].name) } else { String::new() };
        let distinct = if self.chance(1) && self.has(15) { " NULLS NOT DISTINCT" } else { "" };
        let filter = if self.chance(3) { format!(" WHERE {}", self.condition(&column)) } else { String::new() };
        let options = if self.chance(2) { " WITH (fillfactor = 60)" } else { "" };
        let sql = format!("CREATE {kind}INDEX {name} ON {} ({expression}){include}{distinct}{options}{filter}", relation.name);
        if self.run(&sql).await? {
            let target = format!("{}.{name}", relation.schema);
            self.thing("INDEX", &target, false, None);
            if self.chance(2) && relation.kind == Kind::Table {
                self.run(&format!("ALTER TABLE {} CLUSTER ON {name}", relation.name)).await?;
            }
            if expression.starts_with('(') && self.chance(4) && self.has(11) {
                self.run(&format!("ALTER INDEX {target} ALTER COLUMN 1 SET STATISTICS 42")).await?;
            }
            if !kind.is_empty() && self.chance(4) {
                self.run(&format!("ALTER TABLE {} REPLICA IDENTITY USING INDEX {name}", relation.name)).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn foreign_key(&mut self) -> Result<()> {
        let may_be_parted = self.has(12);
        let fits = |to: &&Relation| to.key.is_some() && (may_be_parted || to.kind == Kind::Table);
        let keyed: Vec<Relation> = self.relations.iter().filter(fits).cloned().collect();
        let kinds = if self.has(11) { &[Kind::Table, Kind::Partitioned][..] } else { &[Kind::Table][..] };
        let (Some(to), Some(from)) = (self.pick(&keyed), self.relation(kinds)) else { return Ok(()) };
        let name = self.new_name();
        let first = &from.columns[0].name;
        let part = format!(" ON DELETE SET NULL ({first})");
        let actions = [
            "",
            " ON DELETE CASCADE",
            " ON UPDATE SET NULL",
            " ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED",
            " MATCH FULL",
            &part,
        ];
        let actions = if self.has(15) { &actions[..] } else { &actions[..5] };
        let action = actions[self.rng.random_range(0..actions.len())];
        let valid = if from.kind == Kind::Table && self.chance(2) { " NOT VALID" } else { "" };
        let sql = format!(
            "ALTER TABLE {} ADD CONSTRAINT {name} FOREIGN KEY ({}) REFERENCES {} ({}){action}{valid}",
            from.name,
            first,
            to.name,
            to.key.clone().unwrap_or_default()
        );
        if self.run(&sql).await? {
            self.thing("CONSTRAINT", &format!("{name} ON {}", from.name), false, None);
        }
        Ok(())
    }

    pub(super) async fn constraint(&mut self) -> Result<()> {
        let Some(relation) = self.relation(&[Kind::Table]) else { return Ok(()) };
        let Some(column) = self.column(&relation, &[Family::Number, Family::Text]) else { return Ok(()) };
        let name = self.new_name();
        let clause = match self.rng.random_range(0..4) {
            0 => format!("CHECK ({}) NOT VALID", self.condition(&column)),
            1 => format!("CHECK ({})", self.condition(&column)),
            2 => {
                let distinct = if self.has(15) { " NULLS NOT DISTINCT" } else { "" };
                let include = if self.has(11) { format!(" INCLUDE ({})", relation.columns[0].name) } else { String::new() };
                format!("UNIQUE{distinct} ({}){include}", column.name)
            }
            _ => format!("EXCLUDE USING btree ({} WITH =) WHERE ({})", column.name, self.condition(&column)),
        };
        if self.run(&format!("ALTER TABLE {} ADD CONSTRAINT {name} {clause}", relation.name)).await? {
            self.thing("CONSTRAINT", &format!("{name} ON {}", relation.name), false, None);
        }
        Ok(())
    }

    pub(super) async fn statistics_or_state(&mut self) -> Result<()> {
        let Some(relation) = self.relation(&[Kind::Table]) else { return Ok(()) };
        if self.chance(5) && relation.columns.len() > 2 {
            let target = self.new_target();
            let (one, two) = (relation.columns[0].name.clone(), relation.columns[1].name.clone());
            let on = match self.rng.random_range(0..3) {
                0 if self.has(12) => format!("(ndistinct, mcv) ON {one}, {two}"),
                _ if !self.has(14) => format!("(dependencies) ON {two}, {one}"),
                1 => format!("ON ({}({one}))", self.a_function()),
                _ => format!("(dependencies) ON ({}({one})), {two}", self.a_function()),
            };
            if self.run(&format!("CREATE STATISTICS {target} {on} FROM {}", relation.name)).await? {
                self.thing("STATISTICS", &target, true, None);
                if self.chance(3) && self.has(13) {
                    self.run(&format!("ALTER STATISTICS {target} SET STATISTICS 77")).await?;
                }
            }
            return Ok(());
        }
        let state = ["REPLICA IDENTITY FULL", "REPLICA IDENTITY NOTHING", "SET (autovacuum_enabled = false)"];
        let state = state[self.rng.random_range(0..state.len())];
        self.run(&format!("ALTER TABLE {} {state}", relation.name)).await?;
        Ok(())
    }
}
