//! Security labels, for every class alike. Their provider must be loaded on the destination, else the statement fails and says so.

use tokio_postgres::Client;

use super::id::{CatalogTable, ObjectId};
use super::{Catalog, Error, comment, each_row};
use crate::plan::draft::{Context, Draft, Part};
use crate::postgres::quote::{ident, literal};

/// A security label on an object or on one of its columns.
#[derive(Debug, Clone)]
pub struct Label {
    /// The object.
    pub on: ObjectId,
    /// The column's number, or 0 for the object itself.
    pub column: i32,
    /// Whose label it is: `selinux`.
    pub provider: String,
    /// The label.
    pub text: String,
}

const QUERY: &str = include_str!("label.sql");

/// Reads the labels of all objects.
pub(super) async fn read(client: &Client, catalog: &mut Catalog) -> Result<(), Error> {
    let mut labels = Vec::new();
    each_row(client, catalog.session(), "security label", QUERY, |row| {
        labels.push(Label {
            on: ObjectId::new(CatalogTable(row.try_get("catalog")?), row.try_get("oid")?),
            column: row.try_get("column_number")?,
            provider: row.try_get("provider")?,
            text: row.try_get("text")?,
        });
        Ok(())
    })
    .await?;
    catalog.labels = labels;
    Ok(())
}

/// Makes the statements.
pub(crate) fn statements(context: &Context<'_>, drafts: &mut Vec<Draft>) {
    for label in &context.catalog.labels {
        if let Some((object, face)) = comment::target(context.catalog, label.on, label.column) {
            let sql = format!("SECURITY LABEL FOR {} ON {face} IS {}", ident(&label.provider), literal(&label.text));
            drafts.push(Draft::about(object, Part::Label, sql));
        }
    }
}
