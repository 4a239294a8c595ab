//! Ownership, for every class alike: objects are created by a superuser and handed over at once, since rows are loaded as their table's owner.

use super::Object;
use crate::plan::draft::{Draft, Part};
use crate::postgres::quote::ident;

/// The statement that gives the object to its owner, right after its creation.
pub(crate) fn statement(object: &Object) -> Option<Draft> {
    let owner = object.owner.as_deref()?;
    let sql = format!("ALTER {} OWNER TO {}", object.face, ident(owner));
    Some(Draft::about(object, Part::Owner, sql))
}
