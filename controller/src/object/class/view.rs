//! Views.

use tokio_postgres::Row;

use super::column::options_list;
use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft, Part};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{ident, qualified};

/// The class.
pub const CLASS: Class = Class {
    name: "view",
    query: include_str!("view.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Owner, Beyond::Comment, Beyond::Label, Beyond::Privileges],
        states: "",
        fixtures: &["view"],
    },
};

/// A view.
#[derive(Debug)]
pub struct View {
    /// The rule that holds its query, on which `pg_depend` hangs what the query uses.
    rule: ObjectId,
    options: Vec<String>,
    definition: String,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let id = ObjectId::class(row.try_get("oid")?);
    let rule = ObjectId::new(CatalogTable::REWRITE, row.try_get("rule_oid")?);
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    catalog.aliases.insert(rule, id);
    catalog.push(Object {
        id,
        parent: None,
        face: Face::new("VIEW", qualified(&schema, &name)),
        name: ObjectName { class: CLASS.name, schema, parent: String::new(), name }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(View {
            rule,
            options: row.try_get::<_, Option<_>>("options")?.unwrap_or_default(),
            definition: row.try_get("definition")?,
        }),
    });
    Ok(())
}

impl Definition for View {
    fn statements(&self, object: &Object, context: &Context<'_>, drafts: &mut Vec<Draft>) {
        let options = options_list(self.options.iter().map(|option| ("", option.as_str())));
        let options = if options.is_empty() { options } else { format!(" WITH ({options})") };
        let query = self.definition.trim_end().trim_end_matches(';');
        // OR REPLACE makes it harmless to repeat, and fills a shell.
        let sql = format!("CREATE OR REPLACE VIEW {}{options} AS\n{query}", object.face.target);
        let create = Draft::create(object, Section::BeforeData, sql);
        let columns = context.catalog.columns_of(object.id.oid);
        if context.repairs.shells.contains(&object.id) {
            let nulls: Vec<String> = columns
                .iter()
                .map(|column| format!("NULL::{} AS {}", column.type_and_collation(), ident(&column.name)))
                .collect();
            let shell = format!("CREATE VIEW {} AS\nSELECT {}", object.face.target, nulls.join(",\n    "));
            drafts.push(Draft::create(object, Section::BeforeData, shell));
            drafts.push(create.identity(self.rule).needs(object.id, Part::Create));
        } else {
            drafts.push(create);
        }
        for column in columns {
            if let (Some(default), Some(oid)) = (&column.default, column.default_oid) {
                let sql = format!("ALTER VIEW {} ALTER COLUMN {} SET DEFAULT {default}", object.face.target, ident(&column.name));
                let draft = Draft::create(object, Section::BeforeData, sql).identity(ObjectId::new(CatalogTable::ATTRDEF, oid));
                drafts.push(draft.needs(object.id, Part::Create));
            }
        }
    }
}
