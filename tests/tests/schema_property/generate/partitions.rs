//! Partition trees, up to four levels deep.

use pg_migrator_tests::Result;
use rand::Rng as _;

use super::{Column, Family, Kind, World};

/// How a partitioned table parts its rows.
#[derive(Debug, Clone, Copy)]
enum Strategy {
    Range,
    List,
    Hash,
}

impl Strategy {
    fn keyword(self) -> &'static str {
        match self {
            Self::Range => "RANGE",
            Self::List => "LIST",
            Self::Hash => "HASH",
        }
    }

    /// The bound of the `part`th partition; the first may be the one for all else.
    fn bound(self, part: usize, may_be_default: bool) -> String {
        match self {
            Self::Range if part == 0 => "FOR VALUES FROM (MINVALUE) TO (0)".to_owned(),
            Self::Range => format!("FOR VALUES FROM ({}) TO ({})", part * 10, part * 10 + 10),
            Self::List if part == 0 && may_be_default => "DEFAULT".to_owned(),
            Self::List if part == 1 => "FOR VALUES IN (1, NULL)".to_owned(),
            Self::List => format!("FOR VALUES IN ({part}, {})", part + 100),
            Self::Hash => format!("FOR VALUES WITH (MODULUS 4, REMAINDER {part})"),
        }
    }
}

/// Levels below the root.
const DEPTH: usize = 3;

/// A partitioned table that may still get partitions.
struct Node {
    target: String,
    strategy: Strategy,
    level: usize,
}

impl World {
    fn strategy(&mut self) -> Strategy {
        [Strategy::Range, Strategy::List, Strategy::Hash][self.rng.random_range(0..if self.has(11) { 3 } else { 2 })]
    }

    pub(super) async fn partitioned(&mut self) -> Result<()> {
        let target = self.new_target();
        let (definitions, columns) = self.new_columns();
        let definitions: Vec<String> = definitions.into_iter().filter(|definition| !definition.contains(" IDENTITY")).collect();
        let named = |column: &&Column| definitions.iter().any(|definition| definition.starts_with(&column.name));
        let columns: Vec<Column> = columns.iter().filter(named).cloned().collect();
        let key = (self.chance(5) && self.has(11)).then(|| columns[0].name.clone());
        let primary = key.as_ref().map(|key| format!(", PRIMARY KEY ({key})")).unwrap_or_default();
        let strategy = self.strategy();
        // A unique key can't go with an expression.
        let by = match &key {
            None if self.chance(3) => format!("({}({}))", self.a_function(), columns[0].name),
            _ => columns[0].name.clone(),
        };
        let sql =
            format!("CREATE TABLE {target} ({}{primary}) PARTITION BY {} ({by})", definitions.join(", "), strategy.keyword());
        if !self.run(&sql).await? {
            return Ok(());
        }
        self.new_relation(&target, Kind::Partitioned, columns.clone(), key);
        self.thing("TABLE", &target, true, Some(("TABLE", "SELECT INSERT UPDATE DELETE")));
        let mut open = vec![Node { target, strategy, level: 1 }];
        while let Some(node) = open.pop() {
            let at_least = usize::from(node.level > 1);
            for part in 0..self.rng.random_range(at_least..4) {
                open.extend(self.partition(&node, part, &definitions, &columns).await?);
            }
        }
        Ok(())
    }

    /// Makes a partition; gives it if it is partitioned itself.
    async fn partition(
        &mut self,
        parent: &Node,
        part: usize,
        definitions: &[String],
        columns: &[Column],
    ) -> Result<Option<Node>> {
        let (target, strategy, bound) = (self.new_target(), self.strategy(), parent.strategy.bound(part, self.has(11)));
        let nested = parent.level <= DEPTH && self.chance(3);
        let below = if nested { format!(" PARTITION BY {} ({})", strategy.keyword(), columns[0].name) } else { String::new() };
        let sql = if self.chance(3) {
            // Attached later, with its columns in another order and one dropped.
            let mut reversed: Vec<String> = definitions.iter().rev().cloned().collect();
            reversed.insert(0, "gone integer".to_owned());
            format!(
                "CREATE TABLE {target} ({}){below}; ALTER TABLE {target} DROP COLUMN gone; ALTER TABLE {} ATTACH PARTITION {target} {bound}",
                reversed.join(", "),
                parent.target
            )
        } else {
            let own = match columns.iter().find(|column| column.family == Family::Number) {
                Some(column) if self.chance(3) => {
                    let (name, default) = (self.new_name(), self.a_function());
                    format!(" ({0} DEFAULT {default}(9), CONSTRAINT {name} CHECK ({0} <> 77))", column.name)
                }
                _ => String::new(),
            };
            format!("CREATE TABLE {target} PARTITION OF {}{own} {bound}{below}", parent.target)
        };
        if !self.run(&sql).await? {
            return Ok(None);
        }
        let kind = if nested { Kind::Partitioned } else { Kind::Table };
        self.partitions.push((parent.target.clone(), target.clone()));
        self.new_relation(&target, kind, columns.to_vec(), None);
        self.thing("TABLE", &target, true, Some(("TABLE", "SELECT INSERT")));
        Ok(nested.then_some(Node { target, strategy, level: parent.level + 1 }))
    }

    /// What may be said of a partitioned table, or of one partition alone.
    pub(super) async fn partition_setting(&mut self) -> Result<()> {
        let Some(root) = self.relation(&[Kind::Partitioned]) else { return Ok(()) };
        let column = root.columns[0].name.clone();
        match self.rng.random_range(0..5) {
            // An index that some partitions have and others lack.
            0 if self.has(11) => {
                let name = self.new_name();
                let whole = self.run(&format!("CREATE INDEX {name} ON ONLY {} ({column})", root.name)).await?;
                let below = |(parent, part): &(String, String)| (*parent == root.name).then(|| part.clone());
                let partitions: Vec<String> = self.partitions.iter().filter_map(below).collect();
                for partition in partitions {
                    let (part, schema) = (self.new_name(), &root.schema);
                    if whole && self.chance(7) {
                        let sql = format!(
                            "CREATE INDEX {part} ON {partition} ({column}); ALTER INDEX {schema}.{name} ATTACH PARTITION {schema}.{part}"
                        );
                        self.run(&sql).await?;
                    }
                }
            }
            1 => {
                let name = self.new_name();
                self.run(&format!("ALTER TABLE {} ADD CONSTRAINT {name} CHECK ({column} <> 99) NOT VALID", root.name)).await?;
            }
            2 if self.has(11) => {
                let name = self.new_name();
                self.run(&format!("ALTER TABLE {} ADD CONSTRAINT {name} UNIQUE ({column})", root.name)).await?;
            }
            3 if self.has(11) => {
                let name = self.new_name();
                self.run(&format!("CREATE UNIQUE INDEX {name} ON {} ({column} DESC)", root.name)).await?;
            }
            _ => {
                if let Some((parent, partition)) = self.pick(&self.partitions.clone()) {
                    self.run(&format!("ALTER TABLE {parent} DETACH PARTITION {partition}")).await?;
                }
            }
        }
        Ok(())
    }
}
