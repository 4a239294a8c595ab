//! `DEPENDS ON EXTENSION`, for every class alike: objects that are to go when an extension goes.

use super::EdgeKind;
use crate::plan::draft::{Context, Draft, Part};

/// Makes the statements.
pub(crate) fn statements(context: &Context<'_>, drafts: &mut Vec<Draft>) {
    let catalog = context.catalog;
    for edge in catalog.edges.iter().filter(|edge| edge.kind == EdgeKind::AutoExtension) {
        if let (Some(object), Some(extension)) = (catalog.object(edge.from), catalog.object(edge.to)) {
            let sql = format!("ALTER {} DEPENDS ON EXTENSION {}", object.face, extension.face.target);
            drafts.push(Draft::about(object, Part::Setting, sql).needs(edge.to, Part::Create));
        }
    }
}
