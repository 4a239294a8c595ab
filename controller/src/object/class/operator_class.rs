//! Operator classes.

use std::fmt::Write as _;

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft, Part};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{ident, qualified};

/// The class.
pub const CLASS: Class = Class {
    name: "operator_class",
    query: include_str!("operator_class.sql"),
    read,
    covers: Covers { beyond: &[Beyond::Owner, Beyond::Comment], states: "", fixtures: &["operator_class"] },
};

/// An operator class.
#[derive(Debug)]
pub struct OperatorClass {
    /// Its name, qualified and quoted.
    target: String,
    is_default: bool,
    data_type: String,
    access_method: String,
    /// The family's name, qualified and quoted.
    family: String,
    family_id: ObjectId,
    /// `STORAGE …`, `OPERATOR …`, `FUNCTION …`
    members: Vec<String>,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let id = ObjectId::new(CatalogTable::OPCLASS, row.try_get("oid")?);
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    let method: String = row.try_get("access_method")?;
    let data_type: String = row.try_get("type")?;
    let target = qualified(&schema, &name);
    let storage = row.try_get::<_, Option<String>>("storage")?.map(|storage| format!("STORAGE {storage}"));
    let mut members: Vec<String> = storage.into_iter().collect();
    members.extend(row.try_get::<_, Option<Vec<String>>>("texts")?.unwrap_or_default());
    if members.is_empty() {
        // Something must stand there; this says what is so anyway.
        members.push(format!("STORAGE {data_type}"));
    }
    let catalogs: Vec<u32> = row.try_get::<_, Option<_>>("catalogs")?.unwrap_or_default();
    let oids: Vec<u32> = row.try_get::<_, Option<_>>("oids")?.unwrap_or_default();
    // What the operators and functions need, the class needs.
    for (member_catalog, oid) in catalogs.into_iter().zip(oids) {
        catalog.aliases.insert(ObjectId::new(CatalogTable(member_catalog), oid), id);
    }
    let class = OperatorClass {
        target: target.clone(),
        is_default: row.try_get("is_default")?,
        data_type,
        access_method: method.clone(),
        family: qualified(row.try_get("family_schema")?, row.try_get("family_name")?),
        family_id: ObjectId::new(CatalogTable::OPFAMILY, row.try_get("family")?),
        members,
    };
    catalog.push(Object {
        id,
        parent: None,
        face: Face::new("OPERATOR CLASS", format!("{target} USING {}", ident(&method))),
        name: ObjectName { class: CLASS.name, schema, parent: method, name }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(class),
    });
    Ok(())
}

impl Definition for OperatorClass {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let mut sql = format!("CREATE OPERATOR CLASS {}", self.target);
        if self.is_default {
            sql.push_str(" DEFAULT");
        }
        // Writing to a String can't fail.
        let _ = write!(
            sql,
            " FOR TYPE {} USING {} FAMILY {} AS\n    {}",
            self.data_type,
            ident(&self.access_method),
            self.family,
            self.members.join(",\n    ")
        );
        drafts.push(Draft::create(object, Section::BeforeData, sql).needs(self.family_id, Part::Create));
    }
}
