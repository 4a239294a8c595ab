//! Views and materialized views, over tables and over each other.

use pg_migrator_tests::Result;
use rand::Rng as _;

use super::{Column, Family, Kind, World};

impl World {
    pub(super) async fn view(&mut self) -> Result<()> {
        let all = [Kind::Table, Kind::Partitioned, Kind::View, Kind::MaterializedView];
        // Views over views over views.
        let kinds = if self.chance(3) { &all[2..] } else { &all[..] };
        let (Some(one), Some(two)) = (self.relation(kinds), self.relation(&all)) else { return Ok(()) };
        let target = self.new_target();
        let columns: Vec<Column> = one.columns.iter().filter(|_| self.rng.random_bool(0.8)).cloned().collect();
        let Some(filter) = self.pick(&one.columns) else { return Ok(()) };
        let list: Vec<String> = columns.iter().map(|column| format!("a.{}", column.name)).collect();
        let condition = self.condition(&Column { name: format!("a.{}", filter.name), ..filter });
        let number = self.column(&two, &[Family::Number]);
        let grouped = one.key.as_ref().filter(|_| one.kind == Kind::Table && self.rng.random_bool(0.4));
        let (list, one_name, two_name) = (list.join(", "), &one.name, &two.name);
        let mut plain = false;
        let query = match (self.rng.random_range(0..8), number, grouped) {
            (_, _, Some(key)) => format!("SELECT {list} FROM {one_name} a GROUP BY a.{key}"),
            (0, Some(number), _) => {
                format!("SELECT {list} FROM {one_name} a LEFT JOIN {two_name} b ON b.{} = 1 WHERE {condition}", number.name)
            }
            (1, Some(number), _) => format!(
                "WITH w AS (SELECT max({}) AS m FROM {two_name}) SELECT {list} FROM {one_name} a, w WHERE {condition} ORDER BY w.m LIMIT 5",
                number.name
            ),
            (2, Some(number), _) => format!(
                "SELECT {list} FROM {one_name} a WHERE EXISTS (SELECT FROM {two_name} b WHERE {}((b.{})::integer) = 2)",
                self.a_function(),
                number.name
            ),
            (3, _, _) => format!("SELECT {list} FROM {one_name} a WHERE {condition} UNION ALL SELECT {list} FROM {one_name} a"),
            (4, Some(number), _) => format!(
                "SELECT {list} FROM {one_name} a CROSS JOIN LATERAL (SELECT b.{0}, row_number() OVER w FROM {two_name} b WINDOW w AS (PARTITION BY b.{0})) l",
                number.name
            ),
            _ => {
                plain = true;
                format!("SELECT {list} FROM {one_name} a WHERE {condition}")
            }
        };
        let kind = if self.chance(2) { Kind::MaterializedView } else { Kind::View };
        let check = if plain && self.chance(3) { " WITH CASCADED CHECK OPTION" } else { "" };
        let invoker = if self.has(15) { ", security_invoker = false" } else { "" };
        let sql = match kind {
            Kind::MaterializedView if self.chance(3) => format!("CREATE MATERIALIZED VIEW {target} AS {query} WITH NO DATA"),
            Kind::MaterializedView => format!("CREATE MATERIALIZED VIEW {target} AS {query}"),
            _ if self.chance(2) => format!("CREATE VIEW {target} WITH (security_barrier{invoker}) AS {query}"),
            _ => format!("CREATE VIEW {target} AS {query}{check}"),
        };
        if self.run(&sql).await? {
            // What reads it when it is filled must be allowed to: its owner stays.
            self.new_relation(&target, kind, columns, None);
            self.thing(kind.keyword(), &target, false, Some(("TABLE", "SELECT")));
        }
        Ok(())
    }

    /// What makes a view more than its query.
    pub(super) async fn view_setting(&mut self) -> Result<()> {
        let Some(view) = self.relation(&[Kind::View]) else { return Ok(()) };
        let name = self.new_name();
        match self.rng.random_range(0..3) {
            0 => {
                let Some(column) = self.column(&view, &[Family::Number]) else { return Ok(()) };
                let default = self.a_function();
                let sql = format!("ALTER VIEW {} ALTER COLUMN {} SET DEFAULT {default}(4)", view.name, column.name);
                self.run(&sql).await?;
            }
            1 => {
                let sql = format!("CREATE RULE {name} AS ON INSERT TO {} DO INSTEAD NOTHING", view.name);
                if self.run(&sql).await? {
                    self.thing("RULE", &format!("{name} ON {}", view.name), false, None);
                }
            }
            _ => {
                let function = self.new_target();
                let sql = format!(
                    "CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
                     CREATE TRIGGER {name} INSTEAD OF UPDATE ON {} FOR EACH ROW EXECUTE PROCEDURE {function}()",
                    view.name
                );
                if self.run(&sql).await? {
                    self.thing("TRIGGER", &format!("{name} ON {}", view.name), false, None);
                }
            }
        }
        Ok(())
    }
}
