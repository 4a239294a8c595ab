//! Text search parsers.

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::qualified;

/// The class.
pub const CLASS: Class = Class {
    name: "text_search_parser",
    query: include_str!("text_search_parser.sql"),
    read,
    covers: Covers { beyond: &[Beyond::Comment], states: "", fixtures: &["text_search"] },
};

/// A parser.
#[derive(Debug)]
pub struct Parser {
    /// The entries of its parenthesized list.
    options: Vec<String>,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    let mut options = Vec::new();
    for (option, column) in
        [("START", "start"), ("GETTOKEN", "token"), ("END", "finish"), ("HEADLINE", "headline"), ("LEXTYPES", "lextypes")]
    {
        options.extend(row.try_get::<_, Option<&str>>(column)?.map(|function| format!("{option} = {function}")));
    }
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::TS_PARSER, row.try_get("oid")?),
        parent: None,
        face: Face::new("TEXT SEARCH PARSER", qualified(&schema, &name)),
        name: ObjectName { class: CLASS.name, schema, parent: String::new(), name }.into(),
        owner: None,
        table: None,
        definition: Box::new(Parser { options }),
    });
    Ok(())
}

impl Definition for Parser {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let sql = format!("CREATE {} ({})", object.face, self.options.join(", "));
        drafts.push(Draft::create(object, Section::BeforeData, sql));
    }
}
