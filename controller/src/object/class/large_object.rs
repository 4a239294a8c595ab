//! Large objects: their numbers, owners, comments and privileges. What they hold is not part of the schema: it is carried beside the
//! stream (`beside/large_objects.rs`).

use std::collections::HashMap;

use tokio_postgres::Row;

use crate::object::acl::{Grant, as_grantor, difference, numbered, read_grants};
use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft, Part};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::ident;

/// The class.
pub const CLASS: Class = Class {
    name: "large_object",
    query: include_str!("large_object.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Owner, Beyond::Comment, Beyond::Label, Beyond::Privileges],
        states: "",
        fixtures: &["large_object"],
    },
};

/// A few large objects of one owner and the same privileges: there may be millions.
#[derive(Debug)]
pub struct LargeObjects {
    owner: String,
    oids: Vec<u32>,
    base: Vec<Grant>,
    grants: Vec<Grant>,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let first: u32 = row.try_get("oid")?;
    let oids: Vec<u32> = row.try_get("oids")?;
    let id = ObjectId::new(CatalogTable::LARGE_OBJECTS, first);
    for oid in row.try_get::<_, Vec<u32>>("described")? {
        let described = ObjectId::new(CatalogTable::LARGE_OBJECT, oid);
        catalog.aliases.insert(described, id);
        catalog.faces.insert(described, Face::new("LARGE OBJECT", oid.to_string()));
    }
    let (base, grants) = read_grants(row)?;
    let name = match oids.len() {
        1 => first.to_string(),
        count => format!("{first} and {} more", count - 1),
    };
    let list: Vec<String> = oids.iter().map(ToString::to_string).collect();
    catalog.push(Object {
        id,
        parent: None,
        face: Face::new("LARGE OBJECT", list.join(", ")),
        name: ObjectName { class: CLASS.name, schema: String::new(), parent: String::new(), name }.into(),
        // ALTER takes one at a time; see below.
        owner: None,
        table: None,
        definition: Box::new(LargeObjects { owner: row.try_get("owner")?, oids, base, grants }),
    });
    Ok(())
}

impl Definition for LargeObjects {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let made: Vec<String> = self.oids.iter().map(|oid| format!("pg_catalog.lo_create({oid}::oid)")).collect();
        drafts.push(Draft::create(object, Section::BeforeData, format!("SELECT {}", made.join(", "))));
        let given: Vec<String> =
            self.oids.iter().map(|oid| format!("ALTER LARGE OBJECT {oid} OWNER TO {}", ident(&self.owner))).collect();
        drafts.push(Draft::about(object, Part::Owner, given.join("; ")));
        let mut numbers = HashMap::new();
        for (grantor, sql) in difference(&self.base, &self.grants, &self.owner, "", &object.face.to_string()) {
            let draft = Draft::about(object, Part::Acl(0), as_grantor(grantor.as_deref(), &sql));
            // At once, and not again: later they are carried with what the objects hold, for both may change (`beside`).
            drafts.push(numbered(draft, &mut numbers));
        }
    }
}
