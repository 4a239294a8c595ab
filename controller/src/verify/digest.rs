//! Digests: the rows of a table in two numbers, computed by each server for itself.
//!
//! A digest is the count of the rows and the sum of a 64-bit hash of each row's text. It does not depend on the rows' order, and, being
//! a sum, it tells a row that is there twice.

use tokio_postgres::Client;

use crate::postgres::{ServerVersion, Session, quote};

/// What the text form of a row must not depend on, beyond what holds in every session of ours.
const PIN: &str = "SET TimeZone = 'UTC'";
/// Rounded to the digits that are certain, floating-point numbers have the same text form in every version. Those that this rounds go by their
/// binary form, but for the fields of rows in arrays.
const ROUND: &str = "SET extra_float_digits = 0";

/// A table's rows in two numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// How many.
    pub rows: i64,
    /// The sum of their hashes.
    hash: String,
}

/// By which function both servers hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// `hashtextextended`, from version 11 on: three times as fast.
    Extended,
    /// Known to every version, and the same on every machine.
    Md5,
}

/// A column, or a field of the rows in it, and the function that gives its binary form where the text form differs between the versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The names of the fields on the way to the one that is meant; none for the column itself.
    pub within: Vec<String>,
    /// A function of the server.
    pub send: Option<String>,
}

impl Hash {
    /// What both servers can do, and give the same for: `hashtextextended` depends on the machine's byte order.
    pub async fn agree(source: &Session, destination: &Session) -> Result<Self, tokio_postgres::Error> {
        if !source.version().at_least(11) {
            return Ok(Self::Md5);
        }
        let probe = "SELECT pg_catalog.hashtextextended('pg-migrator', 0)";
        let (ours, theirs) = tokio::try_join!(source.query_one(probe, &[]), destination.query_one(probe, &[]))?;
        Ok(if ours.get::<_, i64>(0) == theirs.get::<_, i64>(0) { Self::Extended } else { Self::Md5 })
    }

    /// The hash of a text, as an expression.
    pub(super) fn of(self, text: &str) -> String {
        match self {
            Self::Extended => format!("pg_catalog.hashtextextended({text} COLLATE pg_catalog.\"C\", 0)"),
            Self::Md5 => {
                format!("('x' || pg_catalog.substr(pg_catalog.md5({text}), 1, 16))::bit(64)::bigint")
            }
        }
    }

    /// The statement that gives a table's digest.
    pub fn statement(self, schema: &str, table: &str, columns: &[Column]) -> String {
        format!(
            "SELECT pg_catalog.count(*), COALESCE(pg_catalog.sum({}), 0)::pg_catalog.text FROM ONLY {} AS r",
            self.of(&text(columns)),
            quote::qualified(schema, table)
        )
    }
}

/// The text of some columns of a row `r`, as an expression.
pub(super) fn text(columns: &[Column]) -> String {
    let values: Vec<String> = columns
        .iter()
        .map(|column| {
            let column_itself = format!("r.{}", quote::ident(&column.name));
            let value = column.within.iter().fold(column_itself, |of, field| format!("({of}).{}", quote::ident(field)));
            column.send.as_ref().map_or(value.clone(), |send| format!("pg_catalog.{}({value})", quote::ident(send)))
        })
        .collect();
    format!("ROW({})::pg_catalog.text", values.join(", "))
}

/// Makes a session fit for digests; the other side's must be made so as well, by the same version of the source.
pub async fn prepare(session: &Client, source: ServerVersion) -> Result<(), tokio_postgres::Error> {
    let settings = if source.at_least(12) { PIN.to_owned() } else { format!("{PIN}; {ROUND}") };
    session.batch_execute(&settings).await
}

/// The columns that a digest is made of, by the source's table.
pub async fn columns(source: &Client, table: u32) -> Result<Vec<Column>, tokio_postgres::Error> {
    let rows = source.query(include_str!("columns.sql"), &[&table]).await?;
    Ok(rows.iter().map(|row| Column { name: row.get("name"), within: row.get("within"), send: row.get("send") }).collect())
}

/// Reads a table.
pub async fn read(client: &Client, statement: &str) -> Result<Digest, tokio_postgres::Error> {
    let row = client.query_one(statement, &[]).await?;
    Ok(Digest { rows: row.get(0), hash: row.get(1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_names_every_column_and_quotes_it() {
        let column = |name: &str, within: &[&str], send: Option<&str>| Column {
            name: name.into(),
            within: within.iter().map(|&field| field.to_owned()).collect(),
            send: send.map(str::to_owned),
        };
        let columns = [column("a", &[], None), column("we\"ird", &[], Some("float8send"))];
        assert_eq!(
            Hash::Extended.statement("s", "t", &columns),
            "SELECT pg_catalog.count(*), COALESCE(pg_catalog.sum(pg_catalog.hashtextextended(ROW(r.\"a\", \
             pg_catalog.\"float8send\"(r.\"we\"\"ird\"))::pg_catalog.text COLLATE pg_catalog.\"C\", 0)), 0)::pg_catalog.text \
             FROM ONLY \"s\".\"t\" AS r"
        );
        assert!(Hash::Md5.statement("s", "t", &[]).contains("md5(ROW()::pg_catalog.text)"));
        let field = [column("c", &["p", "f"], Some("float4send"))];
        assert_eq!(text(&field), "ROW(pg_catalog.\"float4send\"(((r.\"c\").\"p\").\"f\"))::pg_catalog.text");
    }
}
