//! Privileges, for every class alike: what was revoked from the built-in default, then what was granted beyond it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use tokio_postgres::{Client, Row};

use super::id::{CatalogTable, ObjectId};
use super::{Catalog, Error, Face, Object, comment, each_row};
use crate::plan::draft::{Context, Draft, Part};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{ident, literal, qualified};

/// One privilege of one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who gave it.
    pub grantor: String,
    /// Who has it; empty for `PUBLIC`.
    pub grantee: String,
    /// `SELECT`, `USAGE`, …
    pub privilege: String,
    /// Whether it may be passed on.
    pub grantable: bool,
}

impl Grant {
    /// Whether the same role still has this privilege from the same grantor, perhaps with the option to pass it on.
    fn is_within(&self, grants: &[Self]) -> bool {
        grants.iter().any(|other| {
            (&other.grantor, &other.grantee, &other.privilege) == (&self.grantor, &self.grantee, &self.privilege)
                && (other.grantable || !self.grantable)
        })
    }
}

/// The privileges on an object or on one of its columns.
#[derive(Debug, Clone)]
pub struct Acl {
    /// The object.
    pub on: ObjectId,
    /// The column's number, or 0 for the object itself.
    pub column: i32,
    /// How the object is called, where no class reads it: what initdb or an extension made.
    pub foreign: Option<(Arc<ObjectName>, Face)>,
    /// The name of such an object's column.
    pub foreign_column: Option<String>,
    /// The object's owner, who is the grantor of what a superuser grants.
    pub owner: String,
    /// What a new object has.
    pub base: Vec<Grant>,
    /// What this object has.
    pub grants: Vec<Grant>,
}

const QUERY: &str = include_str!("acl.sql");
const INITIAL: &str = include_str!("initial_acl.sql");

/// Reads a query's grantors, grantees, privileges, grantable and defaults columns into the default and the actual privileges.
pub(super) fn read_grants(row: &Row) -> Result<(Vec<Grant>, Vec<Grant>), tokio_postgres::Error> {
    let grantors: Vec<String> = row.try_get("grantors")?;
    let grantees: Vec<String> = row.try_get("grantees")?;
    let privileges: Vec<String> = row.try_get("privileges")?;
    let grantable: Vec<bool> = row.try_get("grantable")?;
    let defaults: Vec<bool> = row.try_get("defaults")?;
    let (mut base, mut grants) = (Vec::new(), Vec::new());
    let roles = grantors.into_iter().zip(grantees);
    let rights = privileges.into_iter().zip(grantable);
    for (((grantor, grantee), (privilege, grantable)), is_default) in roles.zip(rights).zip(defaults) {
        let grant = Grant { grantor, grantee, privilege, grantable };
        if is_default { base.push(grant) } else { grants.push(grant) }
    }
    Ok((base, grants))
}

/// Reads the privileges of all objects.
pub(super) async fn read(client: &Client, catalog: &mut Catalog) -> Result<(), Error> {
    let mut acls = Vec::new();
    each_row(client, catalog.session(), "privilege", QUERY, |row| {
        let (base, grants) = read_grants(row)?;
        acls.push(Acl {
            on: ObjectId::new(CatalogTable(row.try_get("catalog")?), row.try_get("oid")?),
            column: row.try_get("column_number")?,
            foreign: None,
            foreign_column: None,
            owner: row.try_get("owner")?,
            base,
            grants,
        });
        Ok(())
    })
    .await?;
    each_row(client, catalog.session(), "privilege", INITIAL, |row| {
        let (base, grants) = read_grants(row)?;
        let schema = row.try_get::<_, Option<String>>("schema")?.unwrap_or_default();
        let name: String = row.try_get("name")?;
        let (keyword, class) = match row.try_get("keyword")? {
            "SEQUENCE" => ("SEQUENCE", "sequence"),
            "PROCEDURE" => ("PROCEDURE", "function"),
            "FUNCTION" => ("FUNCTION", "function"),
            "TYPE" => ("TYPE", "type"),
            "SCHEMA" => ("SCHEMA", "schema"),
            "LANGUAGE" => ("LANGUAGE", "language"),
            "FOREIGN DATA WRAPPER" => ("FOREIGN DATA WRAPPER", "foreign_data_wrapper"),
            "FOREIGN SERVER" => ("FOREIGN SERVER", "foreign_server"),
            _ => ("TABLE", "table"),
        };
        let arguments =
            row.try_get::<_, Option<String>>("arguments")?.map(|arguments| format!("({arguments})")).unwrap_or_default();
        let target = if schema.is_empty() { ident(&name) } else { qualified(&schema, &name) };
        let face = Face::new(keyword, format!("{target}{arguments}"));
        let name = Arc::new(ObjectName { class, schema, parent: String::new(), name: format!("{name}{arguments}") });
        acls.push(Acl {
            on: ObjectId::new(CatalogTable(row.try_get("catalog")?), row.try_get("oid")?),
            column: row.try_get("column_number")?,
            foreign: Some((name, face)),
            foreign_column: row.try_get("column_name")?,
            owner: row.try_get("owner")?,
            base,
            grants,
        });
        Ok(())
    })
    .await?;
    catalog.acls = acls;
    Ok(())
}

fn role(grantee: &str) -> String {
    if grantee.is_empty() { "PUBLIC".to_owned() } else { ident(grantee) }
}

/// Grants of the same grantor, grantee and option together, in the order in which they first appear.
fn grouped<'a>(grants: impl IntoIterator<Item = &'a Grant>) -> Vec<(&'a Grant, Vec<&'a str>)> {
    let mut groups: Vec<(&Grant, Vec<&str>)> = Vec::new();
    for grant in grants {
        let same = groups.iter_mut().find(|(first, _)| {
            first.grantor == grant.grantor && first.grantee == grant.grantee && first.grantable == grant.grantable
        });
        match same {
            Some((_, privileges)) => privileges.push(&grant.privilege),
            None => groups.push((grant, vec![&grant.privilege])),
        }
    }
    groups
}

/// Who gives and takes what: the difference between two sets of privileges as `REVOKE` and `GRANT` phrases without their prefix.
///
/// `on` is what follows `ON`; `columns` follows every privilege; `owner` is who a superuser's `GRANT` counts as.
pub(crate) fn difference(
    base: &[Grant],
    grants: &[Grant],
    owner: &str,
    columns: &str,
    on: &str,
) -> Vec<(Option<String>, String)> {
    let list = |privileges: &[&str]| {
        let mut list = String::new();
        for (i, privilege) in privileges.iter().enumerate() {
            let _ = write!(list, "{}{privilege}{columns}", if i > 0 { ", " } else { "" });
        }
        list
    };
    let mut phrases = Vec::new();
    for (grant, privileges) in grouped(base.iter().filter(|b| !b.is_within(grants))) {
        phrases.push((None, format!("REVOKE {} ON {on} FROM {}", list(&privileges), role(&grant.grantee))));
    }
    for (grant, privileges) in grouped(grants.iter().filter(|g| !base.contains(g))) {
        let option = if grant.grantable { " WITH GRANT OPTION" } else { "" };
        let grantor = (grant.grantor != owner).then(|| grant.grantor.clone());
        phrases.push((grantor, format!("GRANT {} ON {on} TO {}{option}", list(&privileges), role(&grant.grantee))));
    }
    phrases
}

/// As a statement: only a grantor that is not the owner needs another session user. A DO block keeps it one statement; if
/// the middle of it fails, all of it is rolled back, the session user included.
pub(crate) fn as_grantor(grantor: Option<&str>, sql: &str) -> String {
    let Some(grantor) = grantor else { return sql.to_owned() };
    let block = format!("BEGIN SET LOCAL SESSION AUTHORIZATION {}; {sql}; RESET SESSION AUTHORIZATION; END", ident(grantor));
    format!("DO LANGUAGE plpgsql {}", literal(&block))
}

/// What `GRANT … ON` calls a kind of object.
fn grant_keyword(keyword: &'static str) -> &'static str {
    match keyword {
        "VIEW" | "MATERIALIZED VIEW" | "FOREIGN TABLE" => "TABLE",
        "DOMAIN" => "TYPE",
        "SERVER" => "FOREIGN SERVER",
        "AGGREGATE" => "FUNCTION",
        other => other,
    }
}

/// Makes the statements: those on schemas before the data, so that owners may use them; the others after, since the loader
/// works with the owner's privileges; what the owner has taken from himself only at cutover, since the apply worker does too.
pub(crate) fn statements(context: &Context<'_>, drafts: &mut Vec<Draft>) {
    let catalog = context.catalog;
    let mut numbers = HashMap::new();
    for acl in &catalog.acls {
        if let Some((name, face)) = &acl.foreign {
            foreign(acl, name, face, &mut numbers, drafts);
            continue;
        }
        let Some((object, _)) = comment::target(catalog, acl.on, 0) else { continue };
        let face = catalog.faces.get(&acl.on).unwrap_or(&object.face);
        let on = format!("{} {}", grant_keyword(face.keyword), face.target);
        let columns = if acl.column == 0 {
            String::new()
        } else {
            match catalog.columns_of(acl.on.oid).iter().find(|column| i32::from(column.number) == acl.column) {
                Some(column) => format!(" ({})", ident(&column.name)),
                None => continue,
            }
        };
        // The apply worker acts as a table's owner, so it must not be refused what the owner has taken from himself.
        let (taken, base): (Vec<Grant>, Vec<Grant>) = acl.base.iter().cloned().partition(|grant| {
            object.id.catalog == CatalogTable::CLASS && grant.grantee == acl.owner && !grant.is_within(&acl.grants)
        });
        let mut phrases = difference(&base, &acl.grants, &acl.owner, &columns, &on);
        if is_public(object) {
            for who in ["PUBLIC".to_owned(), ident(&acl.owner)].iter().rev() {
                phrases.insert(0, (None, format!("REVOKE ALL ON {on} FROM {who}")));
            }
        }
        for (grantor, sql) in phrases {
            let draft = Draft::about(object, Part::Acl(0), as_grantor(grantor.as_deref(), &sql));
            let mut draft = numbered(draft, &mut numbers);
            if object.id.catalog != CatalogTable::NAMESPACE {
                draft.section = Section::AfterData;
                draft.table = object.table;
            }
            drafts.push(draft);
        }
        let given_back = difference(&[], &taken, &acl.owner, &columns, &on);
        for ((_, sql), (_, undo)) in difference(&taken, &[], &acl.owner, &columns, &on).into_iter().zip(given_back) {
            let draft = Draft::about(object, Part::Acl(0), sql).section(Section::AtCutover).undo(undo);
            drafts.push(numbered(draft, &mut numbers));
        }
    }
}

/// Makes the statements for what initdb or an extension made.
fn foreign(acl: &Acl, name: &Arc<ObjectName>, face: &Face, numbers: &mut HashMap<ObjectId, u32>, drafts: &mut Vec<Draft>) {
    let columns = acl.foreign_column.as_ref().map(|column| format!(" ({})", ident(column))).unwrap_or_default();
    for (grantor, sql) in difference(&acl.base, &acl.grants, &acl.owner, &columns, &face.to_string()) {
        let draft = Draft {
            id: acl.on,
            name: name.clone(),
            part: Part::Acl(0),
            section: Section::AfterData,
            table: None,
            between: None,
            sql: as_grantor(grantor.as_deref(), &sql),
            secret: None,
            done_when: None,
            undo: None,
            needs: Vec::new(),
        };
        drafts.push(numbered(draft, numbers));
    }
}

/// Makes a draft the next one about its object's privileges: after its owner and the ones before.
pub(super) fn numbered(mut draft: Draft, numbers: &mut HashMap<ObjectId, u32>) -> Draft {
    let number = numbers.entry(draft.id).or_insert(0);
    draft.part = Part::Acl(*number);
    let before = number.checked_sub(1).map_or(Part::Owner, Part::Acl);
    *number += 1;
    let id = draft.id;
    draft.needs(id, before)
}

/// Whether it is the schema `public` that every database is born with.
fn is_public(object: &Object) -> bool {
    object.id.catalog == CatalogTable::NAMESPACE && object.name.name == super::class::schema::PUBLIC
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(grantor: &str, grantee: &str, privilege: &str, grantable: bool) -> Grant {
        Grant { grantor: grantor.into(), grantee: grantee.into(), privilege: privilege.into(), grantable }
    }

    #[test]
    fn only_the_difference_is_said() {
        let base = [grant("o", "o", "SELECT", false), grant("o", "", "EXECUTE", false)];
        let now = [grant("o", "o", "SELECT", false), grant("o", "a\"b", "SELECT", true), grant("o", "a\"b", "INSERT", true)];
        let phrases = difference(&base, &now, "o", "", "TABLE \"t\"");
        assert_eq!(
            phrases,
            [
                (None, "REVOKE EXECUTE ON TABLE \"t\" FROM PUBLIC".to_owned()),
                (None, "GRANT SELECT, INSERT ON TABLE \"t\" TO \"a\"\"b\" WITH GRANT OPTION".to_owned()),
            ]
        );
    }

    #[test]
    fn the_option_to_pass_on_is_added_without_taking_anything_away() {
        let phrases = difference(&[grant("o", "o", "SELECT", false)], &[grant("o", "o", "SELECT", true)], "o", "", "TABLE \"t\"");
        assert_eq!(phrases, [(None, "GRANT SELECT ON TABLE \"t\" TO \"o\" WITH GRANT OPTION".to_owned())]);
    }

    #[test]
    fn a_foreign_grantor_gets_its_own_session_user() {
        let phrases = difference(&[], &[grant("a", "b", "SELECT", false)], "o", " (\"c\")", "TABLE \"t\"");
        let (grantor, sql) = &phrases[0];
        assert_eq!(
            as_grantor(grantor.as_deref(), sql),
            "DO LANGUAGE plpgsql 'BEGIN SET LOCAL SESSION AUTHORIZATION \"a\"; \
             GRANT SELECT (\"c\") ON TABLE \"t\" TO \"b\"; RESET SESSION AUTHORIZATION; END'"
        );
    }
}
