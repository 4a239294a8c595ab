//! Sequences: their definition. Their values are carried over while the database streams.

use std::fmt::Write as _;

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft, Part};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{ident, qualified};

/// The class.
pub const CLASS: Class = Class {
    name: "sequence",
    query: include_str!("sequence.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Owner, Beyond::Comment, Beyond::Label, Beyond::Privileges],
        states: "owned by a column, unlogged",
        fixtures: &["sequence", "sequence_15"],
    },
};

/// A sequence of its own, or that of an identity column.
#[derive(Debug)]
pub struct Sequence {
    data_type: String,
    start: i64,
    increment: i64,
    minimum: i64,
    maximum: i64,
    cache: i64,
    cycle: bool,
    unlogged: bool,
    /// The column it belongs to: table, qualified column.
    owned_by: Option<(ObjectId, String)>,
}

/// The sequence behind an identity column.
#[derive(Debug)]
pub struct IdentitySequence {
    /// What stands in the parentheses after `AS IDENTITY`.
    pub options: String,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let id = ObjectId::class(row.try_get("oid")?);
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    let face = Face::new("SEQUENCE", qualified(&schema, &name));
    let owner_oid: Option<u32> = row.try_get("owner_oid")?;
    let owned_by = match owner_oid {
        Some(oid) => {
            let (schema, table, column): (String, String, String) =
                (row.try_get("owner_schema")?, row.try_get("owner_table")?, row.try_get("owner_column")?);
            Some((ObjectId::class(oid), format!("{}.{}", qualified(&schema, &table), ident(&column))))
        }
        None => None,
    };
    let sequence = Sequence {
        data_type: row.try_get("data_type")?,
        start: row.try_get("start")?,
        increment: row.try_get("increment")?,
        minimum: row.try_get("minimum")?,
        maximum: row.try_get("maximum")?,
        cache: row.try_get("cache")?,
        cycle: row.try_get("cycle")?,
        unlogged: row.try_get("unlogged")?,
        owned_by,
    };
    if let (Some(true), Some(table)) = (row.try_get("is_identity")?, owner_oid) {
        // Unsaid, it is its table's: before 15, sequences of unlogged tables were logged.
        let persistence = match (sequence.unlogged, row.try_get("owner_unlogged")?) {
            (true, false) => " UNLOGGED",
            (false, true) => " LOGGED",
            _ => "",
        };
        let options = format!("SEQUENCE NAME {}{persistence}{}", face.target, sequence.options());
        let number: i32 = row.try_get("owner_number")?;
        catalog.identities.insert((table, number), IdentitySequence { options });
        catalog.aliases.insert(id, ObjectId::class(table));
        catalog.faces.insert(id, face);
        return Ok(());
    }
    catalog.push(Object {
        id,
        parent: None,
        face,
        name: ObjectName { class: CLASS.name, schema, parent: String::new(), name }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(sequence),
    });
    Ok(())
}

impl Sequence {
    fn options(&self) -> String {
        let mut options = format!(
            " START WITH {} INCREMENT BY {} MINVALUE {} MAXVALUE {} CACHE {}",
            self.start, self.increment, self.minimum, self.maximum, self.cache
        );
        if self.cycle {
            let _ = write!(options, " CYCLE");
        }
        options
    }
}

impl Definition for Sequence {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let unlogged = if self.unlogged { "UNLOGGED " } else { "" };
        let sql = format!("CREATE {unlogged}SEQUENCE {} AS {}{}", object.face.target, self.data_type, self.options());
        drafts.push(Draft::create(object, Section::BeforeData, sql));
        if let Some((table, column)) = &self.owned_by {
            // Both must have the same owner by then.
            let sql = format!("ALTER SEQUENCE {} OWNED BY {column}", object.face.target);
            drafts.push(
                Draft::about(object, Part::OwnedBy, sql)
                    .needs(object.id, Part::Owner)
                    .needs(*table, Part::Create)
                    .needs(*table, Part::Owner),
            );
        }
    }
}
