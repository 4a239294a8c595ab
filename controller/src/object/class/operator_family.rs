//! Operator families. What an operator class brings into its family comes with the class.

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft, Part};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{ident, qualified};

/// The class.
pub const CLASS: Class = Class {
    name: "operator_family",
    query: include_str!("operator_family.sql"),
    read,
    covers: Covers { beyond: &[Beyond::Owner, Beyond::Comment], states: "members of its own", fixtures: &["operator_class"] },
};

/// An operator family.
#[derive(Debug)]
pub struct OperatorFamily {
    /// Operators and functions of the family itself: the catalog entry, on which `pg_depend` hangs what it uses, and how `ADD` says it.
    members: Vec<(ObjectId, String)>,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    let method: String = row.try_get("access_method")?;
    let catalogs: Vec<u32> = row.try_get::<_, Option<_>>("catalogs")?.unwrap_or_default();
    let oids: Vec<u32> = row.try_get::<_, Option<_>>("oids")?.unwrap_or_default();
    let texts: Vec<String> = row.try_get::<_, Option<_>>("texts")?.unwrap_or_default();
    let ids = catalogs.into_iter().zip(oids).map(|(catalog, oid)| ObjectId::new(CatalogTable(catalog), oid));
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::OPFAMILY, row.try_get("oid")?),
        parent: None,
        face: Face::new("OPERATOR FAMILY", format!("{} USING {}", qualified(&schema, &name), ident(&method))),
        name: ObjectName { class: CLASS.name, schema, parent: method, name }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(OperatorFamily { members: ids.zip(texts).collect() }),
    });
    Ok(())
}

impl Definition for OperatorFamily {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        drafts.push(Draft::create(object, Section::BeforeData, format!("CREATE {}", object.face)));
        for (id, member) in &self.members {
            let draft = Draft::create(object, Section::BeforeData, format!("ALTER {} ADD {member}", object.face));
            drafts.push(draft.identity(*id).needs(object.id, Part::Create));
        }
    }
}
