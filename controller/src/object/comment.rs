//! Comments, for every class alike.

use tokio_postgres::Client;

use super::id::{CatalogTable, ObjectId};
use super::{Catalog, Error, Face, Object, each_row};
use crate::plan::draft::{Context, Draft, Part};
use crate::postgres::quote::{ident, literal};

/// A comment on an object or on one of its columns.
#[derive(Debug, Clone)]
pub struct Comment {
    /// The object.
    pub on: ObjectId,
    /// The column's number, or 0 for the object itself.
    pub column: i32,
    /// What it says.
    pub text: String,
}

const QUERY: &str = include_str!("comment.sql");

/// Reads the comments of all objects.
pub(super) async fn read(client: &Client, catalog: &mut Catalog) -> Result<(), Error> {
    let mut comments = Vec::new();
    each_row(client, catalog.session(), "comment", QUERY, |row| {
        comments.push(Comment {
            on: ObjectId::new(CatalogTable(row.try_get("catalog")?), row.try_get("oid")?),
            column: row.try_get("column_number")?,
            text: row.try_get("text")?,
        });
        Ok(())
    })
    .await?;
    catalog.comments = comments;
    Ok(())
}

/// The object that a cross-cutting entry belongs to, how it is called there, and the clause for one of its columns.
pub(super) fn target(catalog: &Catalog, on: ObjectId, column: i32) -> Option<(&Object, Face)> {
    let own = catalog.object(on);
    let object = own.or_else(|| catalog.aliases.get(&on).and_then(|&alias| catalog.object(alias)))?;
    let face = match catalog.faces.get(&on) {
        Some(face) => face.clone(),
        None if own.is_some() => object.face.clone(),
        None if column > 0 => object.face.clone(),
        None => return None,
    };
    if column == 0 {
        return Some((object, face));
    }
    let column = catalog.columns_of(on.oid).iter().find(|c| i32::from(c.number) == column)?;
    Some((object, Face::new("COLUMN", format!("{}.{}", face.target, ident(&column.name)))))
}

/// Makes the statements.
pub(crate) fn statements(context: &Context<'_>, drafts: &mut Vec<Draft>) {
    for comment in &context.catalog.comments {
        if let Some((object, face)) = target(context.catalog, comment.on, comment.column) {
            let sql = format!("COMMENT ON {face} IS {}", literal(&comment.text));
            drafts.push(Draft::about(object, Part::Comment, sql));
        }
    }
}
