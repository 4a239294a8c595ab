//! Foreign tables: made like tables, with a server instead of rows.

use tokio_postgres::Row;

use super::foreign_data_wrapper::{Options, looks_secret};
use super::table::{Foreign, Table, parents};
use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Face, Object, ObjectId};
use crate::plan::ObjectName;
use crate::postgres::quote::{ident, qualified};

/// The class.
pub const CLASS: Class = Class {
    name: "foreign_table",
    query: include_str!("foreign_table.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Owner, Beyond::Comment, Beyond::Label, Beyond::Privileges],
        states: "attached as a partition",
        fixtures: &["foreign"],
    },
};

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    let options: Vec<String> = row.try_get::<_, Option<_>>("foreign_options")?.unwrap_or_default();
    let foreign = Foreign {
        server: ident(row.try_get("server")?),
        server_id: ObjectId::new(CatalogTable::SERVER, row.try_get("server_oid")?),
        options: Options::new(&options, looks_secret),
    };
    let table = Table::foreign(schema.clone(), row.try_get("bound")?, parents(row)?, foreign);
    catalog.push(Object {
        id: ObjectId::class(row.try_get("oid")?),
        parent: None,
        face: Face::new("FOREIGN TABLE", qualified(&schema, &name)),
        name: ObjectName { class: CLASS.name, schema, parent: String::new(), name }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(table),
    });
    Ok(())
}
