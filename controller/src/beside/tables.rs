//! Tables that travel beside the stream, copied whole: unlogged ones, and the configuration tables of extensions.
//!
//! A configuration table keeps what the destination's own version of the extension put into it: as with `pg_dump`, only the
//! rows that meet the extension's condition are users' rows. Those are replaced; without a condition, all are.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use tokio_postgres::Client;

use super::hand::{Failure, Hand};
use super::large_objects::Window;
use crate::copy::loader::Emptying;
use crate::copy::pipe::Progress;
use crate::postgres::quote;

/// Why a table travels beside the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// It is unlogged.
    Unlogged,
    /// It holds users' rows for an extension.
    Configuration {
        /// The extension.
        extension: String,
        /// What tells users' rows from the extension's own: a `WHERE` clause, or empty for all rows.
        condition: String,
    },
}

/// Such a table, on one side.
#[derive(Debug, Clone)]
pub struct Table {
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// Role that owns it.
    pub owner: String,
    /// Size of its main fork, bytes.
    pub bytes: i64,
    /// Why it is one.
    pub kind: Kind,
    /// Whether foreign keys of other tables point to it.
    pub referenced: bool,
    /// Columns that hold values of their own, in order.
    pub columns: Vec<String>,
    /// Names and types of all columns.
    pub fingerprint: String,
}

impl Table {
    /// Quoted and qualified.
    pub fn sql_name(&self) -> String {
        quote::qualified(&self.schema, &self.name)
    }

    /// For people: `schema.name`.
    pub fn label(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

/// Reads such tables of a database, largest first.
pub async fn read(client: &Client) -> Result<Vec<Table>, tokio_postgres::Error> {
    let rows = client.query(include_str!("tables.sql"), &[]).await?;
    Ok(rows
        .iter()
        .map(|row| Table {
            schema: row.get("schema"),
            name: row.get("name"),
            owner: row.get("owner"),
            bytes: row.get("bytes"),
            kind: match row.get("extension") {
                Some(extension) => Kind::Configuration { extension, condition: row.get("condition") },
                None => Kind::Unlogged,
            },
            referenced: row.get("referenced"),
            columns: row.get("columns"),
            fingerprint: row.get("fingerprint"),
        })
        .collect())
}

/// A table on both sides.
#[derive(Debug, Clone)]
pub struct Pair {
    /// As the source has it.
    pub source: Table,
    /// As the destination has it.
    pub destination: Table,
}

/// The tables of both sides, put together.
#[derive(Debug, Default)]
pub struct Pairs {
    /// Those that can be copied.
    pub pairs: Vec<Pair>,
    /// How the two sides differ, so that a table can't be copied.
    pub drift: Vec<String>,
    /// What the destination's version of an extension has no place for.
    pub left: Vec<String>,
}

/// Puts the tables of both sides together.
pub fn pair(source: Vec<Table>, destination: Vec<Table>) -> Pairs {
    let mut there: HashMap<(String, String), Table> =
        destination.into_iter().map(|t| ((t.schema.clone(), t.name.clone()), t)).collect();
    let mut result = Pairs::default();
    for table in source {
        let other = there.remove(&(table.schema.clone(), table.name.clone()));
        let label = table.label();
        match (&table.kind, other) {
            (Kind::Unlogged, Some(other)) if other.kind == Kind::Unlogged => {
                if other.fingerprint == table.fingerprint {
                    result.pairs.push(Pair { source: table, destination: other });
                } else {
                    result.drift.push(format!(
                        "columns of {label}: source has ({}), destination has ({})",
                        table.fingerprint, other.fingerprint
                    ));
                }
            }
            (Kind::Unlogged, _) => result.drift.push(format!("the unlogged table {label} is only on the source")),
            (Kind::Configuration { .. }, Some(mut other)) if matches!(other.kind, Kind::Configuration { .. }) => {
                let (known, unknown): (Vec<String>, Vec<String>) =
                    table.columns.iter().cloned().partition(|c| other.columns.contains(c));
                if !unknown.is_empty() {
                    result.left.push(format!("columns {} of {label}", unknown.join(", ")));
                }
                other.columns.clone_from(&known);
                result.pairs.push(Pair { source: Table { columns: known, ..table }, destination: other });
            }
            (Kind::Configuration { extension, .. }, _) => {
                result.left.push(format!("table {label}, which is no configuration table of {extension} there"));
            }
        }
    }
    // A configuration table that only the destination has comes with its newer version of the extension.
    let mut gone: Vec<String> = there.into_values().filter(|t| t.kind == Kind::Unlogged).map(|t| t.label()).collect();
    gone.sort();
    result.drift.extend(gone.into_iter().map(|label| format!("the unlogged table {label} is only on the destination")));
    result
}

/// What a copy of a table moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Rows.
    pub rows: u64,
    /// COPY bytes.
    pub bytes: u64,
}

impl Pair {
    /// For people.
    pub fn label(&self) -> String {
        self.source.label()
    }

    /// Asks the destination how many rows of ours there are, and how many of them were written by these transactions.
    pub fn touch_query(&self, window: Window) -> String {
        let condition = match &self.destination.kind {
            Kind::Configuration { condition, .. } => condition.as_str(),
            Kind::Unlogged => "",
        };
        format!(
            "SELECT count(*), count(*) FILTER (WHERE {}) FROM ONLY {} AS l {condition}",
            window.condition(),
            self.destination.sql_name()
        )
    }

    fn statements(&self) -> Statements {
        let (ours, theirs) = (self.source.sql_name(), self.destination.sql_name());
        let list = quote::column_list(&self.source.columns);
        if let (Kind::Configuration { condition, .. }, Kind::Configuration { condition: own, .. }) =
            (&self.source.kind, &self.destination.kind)
        {
            return Statements {
                copy_to: format!(
                    "COPY (SELECT {} FROM ONLY {ours} {condition}) TO STDOUT",
                    quote::ident_list(self.source.columns.iter().map(String::as_str))
                ),
                // By the condition of the destination's own extension: nothing that the source says is executed there.
                empty: format!("DELETE FROM ONLY {theirs} {own}"),
                copy_from: format!("COPY {theirs} {list} FROM STDIN"),
            };
        }
        let emptying = Emptying::of(self.destination.referenced);
        Statements {
            copy_to: format!("COPY {ours} {list} TO STDOUT"),
            empty: emptying.statement(&theirs),
            copy_from: format!("COPY {theirs} {list} FROM STDIN {}", emptying.options()),
        }
    }

    /// Replaces the destination's rows by the source's, in one transaction, with the rights of the destination's owner.
    pub async fn copy(&self, hand: &mut Hand) -> Result<Moved, Failure> {
        let (schema, owner) = (&self.destination.schema, &self.destination.owner);
        let owner = hand.loader.as_owner(schema, owner).await.map_err(Failure::of("looking at the owner"))?;
        let Statements { copy_to, empty, copy_from } = self.statements();
        hand.loader.begin(&owner).await.map_err(Failure::of("becoming the owner"))?;
        hand.write(&empty).await?;
        let progress = Progress::default();
        let taken = hand.pipe(&copy_to, &copy_from, &progress).await?;
        let moved = Moved { rows: progress.rows.load(Ordering::Relaxed), bytes: progress.bytes.load(Ordering::Relaxed) };
        if taken != moved.rows {
            return Err(Failure::Object(format!("the source gave {} rows, and the destination took {taken}", moved.rows)));
        }
        hand.loader.leave().await.map_err(Failure::of("becoming ourselves again"))?;
        hand.write(&format!("{} COMMIT", owner.take_back)).await?;
        Ok(moved)
    }
}

struct Statements {
    copy_to: String,
    empty: String,
    copy_from: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, kind: Kind, columns: &[&str]) -> Table {
        Table {
            schema: "s".into(),
            name: name.into(),
            owner: "o".into(),
            bytes: 0,
            kind,
            referenced: false,
            columns: columns.iter().map(|c| (*c).to_owned()).collect(),
            fingerprint: columns.join(", "),
        }
    }

    fn configuration(condition: &str) -> Kind {
        Kind::Configuration { extension: "e".into(), condition: condition.into() }
    }

    #[test]
    fn what_only_one_side_has_is_told() {
        let pairs = pair(
            vec![
                table("both", Kind::Unlogged, &["a"]),
                table("new", Kind::Unlogged, &["a"]),
                table("other", Kind::Unlogged, &["a"]),
            ],
            vec![
                table("both", Kind::Unlogged, &["a"]),
                table("old", Kind::Unlogged, &["a"]),
                table("other", Kind::Unlogged, &["b"]),
            ],
        );
        assert_eq!(pairs.pairs.len(), 1);
        assert_eq!(pairs.drift.len(), 3, "{:?}", pairs.drift);
    }

    #[test]
    fn an_extension_of_another_version_takes_what_it_has_a_place_for() {
        let pairs = pair(
            vec![table("c", configuration("WHERE user"), &["a", "gone"]), table("dropped", configuration(""), &["a"])],
            vec![table("c", configuration("WHERE own"), &["new", "a"])],
        );
        assert_eq!((pairs.pairs.len(), pairs.left.len(), pairs.drift.len()), (1, 2, 0), "{:?}", pairs.left);
        let statements = pairs.pairs[0].statements();
        assert_eq!(statements.copy_to, "COPY (SELECT \"a\" FROM ONLY \"s\".\"c\" WHERE user) TO STDOUT");
        assert_eq!(statements.empty, "DELETE FROM ONLY \"s\".\"c\" WHERE own");
    }

    #[test]
    fn a_table_that_others_point_to_is_not_truncated() {
        let mut pairs = pair(vec![table("t", Kind::Unlogged, &["a"])], vec![table("t", Kind::Unlogged, &["a"])]);
        assert!(pairs.pairs[0].statements().empty.starts_with("TRUNCATE"));
        pairs.pairs[0].destination.referenced = true;
        let statements = pairs.pairs[0].statements();
        assert!(statements.empty.contains("DELETE FROM ONLY \"s\".\"t\"") && !statements.copy_from.contains("FREEZE"));
    }
}
