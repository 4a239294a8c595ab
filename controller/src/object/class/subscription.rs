//! Subscriptions of the source's users: made, but neither connected nor enabled, since two servers must not use one slot.

use std::fmt::Write as _;

use tokio_postgres::Row;

use crate::finding::{Code, Finding, Severity};
use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::conninfo;
use crate::postgres::quote::{ident, ident_list, literal};
use secrecy::{ExposeSecret as _, SecretString};

/// The class.
pub const CLASS: Class = Class {
    name: "subscription",
    query: include_str!("subscription.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Owner, Beyond::Comment, Beyond::Label],
        states: "made disabled, never connected",
        fixtures: &["subscription"],
    },
};

/// A subscription.
#[derive(Debug)]
pub struct Subscription {
    conninfo: SecretString,
    slot: Option<String>,
    publications: Vec<String>,
    /// `binary = true, …`
    options: String,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let name: String = row.try_get("name")?;
    let face = Face::new("SUBSCRIPTION", ident(&name));
    let enabled: bool = row.try_get("enabled")?;
    let finding = |reason: String, fix: String| Finding {
        severity: Severity::Warning,
        database: String::new(),
        code: Code::Subscription,
        object: format!("subscription {}", ident(&name)),
        reason,
        fix,
        statement: None,
    };
    let Some(conninfo) = row.try_get::<_, Option<String>>("conninfo")? else {
        catalog.findings.push(finding(
            "only a superuser may see a subscription's connection; it is not carried over".to_owned(),
            "make it on the destination by hand, or read the source as a superuser".to_owned(),
        ));
        return Ok(());
    };
    let reason = if enabled {
        "this database subscribes to another server; the subscription is made on the destination, but stays disabled there until the source has stopped using its slot"
    } else {
        "this database has a disabled subscription; it is made on the destination, disabled as well"
    };
    let fix = format!(
        "at the cutover: ALTER {face} DISABLE on the source and SET (slot_name = NONE), then ALTER {face} ENABLE and REFRESH PUBLICATION WITH (copy_data = false) on the destination"
    );
    catalog.findings.push(finding(reason.to_owned(), fix));
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::SUBSCRIPTION, row.try_get("oid")?),
        parent: None,
        face,
        name: ObjectName { class: CLASS.name, schema: String::new(), parent: String::new(), name }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(Subscription {
            conninfo: conninfo.into(),
            slot: row.try_get("slot")?,
            publications: row.try_get("publications")?,
            options: row.try_get("options")?,
        }),
    });
    Ok(())
}

impl Definition for Subscription {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let mut rest = format!(" PUBLICATION {}", ident_list(self.publications.iter().map(String::as_str)));
        let slot = self.slot.as_ref().map_or_else(|| "NONE".to_owned(), |slot| literal(slot).trim_start().to_owned());
        // Writing to a String can't fail.
        let _ = write!(rest, " WITH (connect = false, slot_name = {slot}");
        if !self.options.is_empty() {
            let _ = write!(rest, ", {}", self.options);
        }
        rest.push(')');
        let head = format!("CREATE {} CONNECTION ", object.face);
        let done = format!(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid \
             WHERE d.datname = pg_catalog.current_database() AND s.subname = {})",
            literal(&object.name.name)
        );
        let with = |conninfo: &str| format!("{head}{}{rest}", literal(conninfo).trim_start());
        let shown = with(&conninfo::masked(self.conninfo.expose_secret()));
        let draft = Draft::create(object, Section::AfterStreaming, shown).done_when(done);
        let secret = with(self.conninfo.expose_secret());
        drafts.push(Draft { secret: Some(secret.into()), ..draft });
    }
}
