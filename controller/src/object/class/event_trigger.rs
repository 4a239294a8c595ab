//! Event triggers. They stay off until the cutover: what we build must not set them off.

use tokio_postgres::Row;

use super::trigger::Firing;
use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft, Part};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{ident, literal};

/// The class.
pub const CLASS: Class = Class {
    name: "event_trigger",
    query: include_str!("event_trigger.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Owner, Beyond::Comment, Beyond::Label],
        states: "off until the cutover, then disabled, replica, always",
        fixtures: &["event_trigger"],
    },
};

/// An event trigger.
#[derive(Debug)]
pub struct EventTrigger {
    event: String,
    tags: Vec<String>,
    function: String,
    firing: Firing,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let name: String = row.try_get("name")?;
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::EVENT_TRIGGER, row.try_get("oid")?),
        parent: None,
        face: Face::new("EVENT TRIGGER", ident(&name)),
        name: ObjectName { class: CLASS.name, schema: String::new(), parent: String::new(), name }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(EventTrigger {
            event: row.try_get("event")?,
            tags: row.try_get::<_, Option<_>>("tags")?.unwrap_or_default(),
            function: row.try_get("function")?,
            firing: Firing::new(row.try_get("state")?),
        }),
    });
    Ok(())
}

impl Definition for EventTrigger {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let tags: Vec<String> = self.tags.iter().map(|tag| literal(tag).trim_start().to_owned()).collect();
        let when = if tags.is_empty() { String::new() } else { format!(" WHEN TAG IN ({})", tags.join(", ")) };
        let alter = |action: &str| format!("ALTER {} {action}", object.face);
        let exists = |condition: &str| {
            let name = literal(&object.name.name);
            format!("SELECT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname = {name}{condition})")
        };
        // One message, so one transaction: it is never there and on.
        let sql = format!(
            "CREATE {} ON {}{when} EXECUTE FUNCTION {}(); {}",
            object.face,
            ident(&self.event),
            self.function,
            alter("DISABLE")
        );
        drafts.push(Draft::create(object, Section::AfterStreaming, sql).done_when(exists("")));
        let (action, letter) = match self.firing {
            Firing::Disabled => return,
            Firing::Origin => ("ENABLE", 'O'),
            Firing::Replica => ("ENABLE REPLICA", 'R'),
            Firing::Always => ("ENABLE ALWAYS", 'A'),
        };
        let draft = Draft::about(object, Part::Cutover, alter(action)).section(Section::AtCutover).undo(alter("DISABLE"));
        drafts.push(draft.done_when(exists(&format!(" AND evtenabled = '{letter}'"))));
    }
}
