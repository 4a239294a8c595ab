//! User mappings. Their options are taken for secret, but for the name of the remote user.

use tokio_postgres::Row;

use super::foreign_data_wrapper::Options;
use crate::finding::{Code, Finding, Severity};
use crate::object::{Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft, Part};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::ident;

/// The class.
pub const CLASS: Class = Class {
    name: "user_mapping",
    query: include_str!("user_mapping.sql"),
    read,
    covers: Covers { beyond: &[], states: "", fixtures: &["foreign"] },
};

/// A user mapping.
#[derive(Debug)]
pub struct UserMapping {
    server: ObjectId,
    options: Options,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let (role, server): (Option<String>, String) = (row.try_get("role")?, row.try_get("server")?);
    let options: Option<Vec<String>> = row.try_get("options")?;
    let target = format!("FOR {} SERVER {}", role.as_deref().map_or_else(|| "PUBLIC".to_owned(), ident), ident(&server));
    let is_hidden = options.is_none() && !row.try_get::<_, bool>("sees_all")?;
    let added = catalog.push(Object {
        id: ObjectId::new(CatalogTable::USER_MAPPING, row.try_get("oid")?),
        parent: None,
        name: ObjectName { class: CLASS.name, schema: String::new(), parent: server, name: role.unwrap_or_default() }.into(),
        face: Face::new("USER MAPPING", target.clone()),
        owner: None,
        table: None,
        definition: Box::new(UserMapping {
            server: ObjectId::new(CatalogTable::SERVER, row.try_get("server_oid")?),
            options: Options::new(&options.unwrap_or_default(), |key| !matches!(key, "user" | "username")),
        }),
    });
    if added && is_hidden {
        catalog.findings.push(Finding {
            severity: Severity::Warning,
            database: String::new(),
            code: Code::UserMappingOptions,
            object: format!("user mapping {target}"),
            reason: "the role that reads the source may not see this user mapping's options; it is made without them".to_owned(),
            fix: format!("on the destination: ALTER USER MAPPING {target} OPTIONS (…), or read the source as a superuser"),
            statement: None,
        });
    }
    Ok(())
}

impl Definition for UserMapping {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let draft = Draft::create(object, Section::BeforeData, format!("CREATE {}", object.face));
        drafts.push(self.options.after(draft).needs(self.server, Part::Create));
    }
}
