//! Columns: not objects of their own, but what tables, views and composite types are made of.

use std::fmt::Write as _;

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, ObjectId};
use crate::postgres::quote::{ident, qualified};

/// The class; it gives no objects, but the columns of others.
pub const CLASS: Class = Class {
    name: "column",
    query: include_str!("column.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Comment, Beyond::Label, Beyond::Privileges],
        states: "statistics target, storage, compression, options",
        fixtures: &["table", "table_12", "table_14", "partition_17"],
    },
};

/// A column.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // as in pg_attribute
pub struct Column {
    /// `pg_attribute.attnum`.
    pub number: i16,
    /// Its name.
    pub name: String,
    /// Its type with modifier, qualified where it is not built in.
    pub data_type: String,
    /// Its collation, qualified and quoted, where it is not the type's.
    pub collation: Option<String>,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// Whether this table defines it (it may inherit it as well).
    pub is_local: bool,
    /// Whether a parent has it.
    pub is_inherited: bool,
    /// Which kind of identity column it is.
    pub identity: Option<&'static str>,
    /// Whether the default is the expression of a stored generated column.
    pub generated: bool,
    /// `EXTERNAL`, `MAIN`, … where it is not the type's.
    pub storage: Option<&'static str>,
    /// `pglz` or `lz4` where it was chosen.
    pub compression: Option<&'static str>,
    /// The statistics target where it was chosen.
    pub statistics: Option<i32>,
    /// `n_distinct=…`
    pub options: Vec<String>,
    /// What the foreign server is told: `column_name=…`
    pub foreign_options: Vec<String>,
    /// OID of the default in `pg_attrdef`.
    pub default_oid: Option<u32>,
    /// The default's or generated column's expression.
    pub default: Option<String>,
}

/// The keyword of a storage strategy: `pg_attribute.attstorage`.
fn storage(code: &str) -> Option<&'static str> {
    match code {
        "p" => Some("PLAIN"),
        "e" => Some("EXTERNAL"),
        "m" => Some("MAIN"),
        "x" => Some("EXTENDED"),
        _ => None,
    }
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let relation: u32 = row.try_get("relation")?;
    if catalog.is_member(ObjectId::class(relation)) {
        return Ok(());
    }
    let collation = match (row.try_get::<_, Option<&str>>("collation_schema")?, row.try_get::<_, Option<&str>>("collation_name")?)
    {
        (Some(schema), Some(name)) => Some(qualified(schema, name)),
        _ => None,
    };
    let column = Column {
        number: row.try_get("number")?,
        name: row.try_get("name")?,
        data_type: row.try_get("type")?,
        collation,
        not_null: row.try_get("not_null")?,
        is_local: row.try_get("is_local")?,
        is_inherited: row.try_get("is_inherited")?,
        identity: match row.try_get("identity")? {
            "a" => Some("ALWAYS"),
            "d" => Some("BY DEFAULT"),
            _ => None,
        },
        generated: row.try_get("generated")?,
        storage: row.try_get::<_, Option<&str>>("storage")?.and_then(storage),
        compression: match row.try_get("compression")? {
            Some("p") => Some("pglz"),
            Some("l") => Some("lz4"),
            _ => None,
        },
        statistics: row.try_get("statistics")?,
        options: row.try_get::<_, Option<Vec<String>>>("options")?.unwrap_or_default(),
        foreign_options: row.try_get::<_, Option<Vec<String>>>("foreign_options")?.unwrap_or_default(),
        default_oid: row.try_get("default_oid")?,
        default: row.try_get("default_expression")?,
    };
    if let Some(default) = column.default_oid {
        catalog.aliases.insert(ObjectId::new(CatalogTable::ATTRDEF, default), ObjectId::class(relation));
    }
    catalog.columns.entry(relation).or_default().push(column);
    Ok(())
}

impl Column {
    /// `"name" type COLLATE …`
    pub fn head(&self) -> String {
        format!("{} {}", ident(&self.name), self.type_and_collation())
    }

    /// `type COLLATE …`
    pub fn type_and_collation(&self) -> String {
        let mut text = self.data_type.clone();
        if let Some(collation) = &self.collation {
            let _ = write!(text, " COLLATE {collation}");
        }
        text
    }
}

/// `k=v` entries of a reloptions array as a parenthesized list: `"fillfactor"='70', "toast"."autovacuum_enabled"='false'`.
pub fn options_list<'a>(options: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut list = String::new();
    for (prefix, option) in options {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        if !list.is_empty() {
            list.push_str(", ");
        }
        if !prefix.is_empty() {
            let _ = write!(list, "{}.", ident(prefix));
        }
        let _ = write!(list, "{}={}", ident(key), crate::postgres::quote::literal(value).trim_start());
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_quoted_whatever_they_hold() {
        assert_eq!(options_list([("", "fillfactor=70"), ("toast", "x=a'b=c")]), "\"fillfactor\"='70', \"toast\".\"x\"='a''b=c'");
    }
}
