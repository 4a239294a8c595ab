//! Foreign data wrappers, and the options of everything foreign, some of which are secret.

use std::fmt::Write as _;

use secrecy::SecretString;
use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{ident, literal};

/// The class.
pub const CLASS: Class = Class {
    name: "foreign_data_wrapper",
    query: include_str!("foreign_data_wrapper.sql"),
    read,
    covers: Covers { beyond: &[Beyond::Owner, Beyond::Comment, Beyond::Privileges], states: "", fixtures: &["foreign"] },
};

/// What stands for a secret where a statement is shown.
pub const HIDDEN: &str = "'********'";

/// An `OPTIONS (…)` clause.
#[derive(Debug, Clone)]
pub struct Options {
    /// As it may be shown; with a space before it, or empty.
    pub shown: String,
    /// As it is executed, where that differs.
    pub secret: Option<SecretString>,
}

/// Whether an option of a wrapper, server or foreign table may be a credential.
pub fn looks_secret(option: &str) -> bool {
    let option = option.to_lowercase();
    ["pass", "pwd", "secret", "token", "credential", "key"].iter().any(|word| option.contains(word))
}

impl Options {
    /// From `key=value` entries; the values of those keys that `is_secret` names are not shown.
    pub fn new(options: &[String], is_secret: impl Fn(&str) -> bool) -> Self {
        let (mut shown, mut executed) = (String::new(), String::new());
        let mut hidden = false;
        for option in options {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let separator = if shown.is_empty() { " OPTIONS (" } else { ", " };
            let value = literal(value);
            let secret = is_secret(key);
            hidden |= secret;
            // Writing to a String can't fail.
            let _ = write!(shown, "{separator}{} {}", ident(key), if secret { HIDDEN } else { value.trim_start() });
            let _ = write!(executed, "{separator}{} {}", ident(key), value.trim_start());
        }
        if !shown.is_empty() {
            shown.push(')');
            executed.push(')');
        }
        Self { shown, secret: hidden.then(|| executed.into()) }
    }

    /// A draft of a statement that ends in these options.
    pub fn after(&self, draft: Draft) -> Draft {
        use secrecy::ExposeSecret as _;
        let secret = self.secret.as_ref().map(|options| format!("{}{}", draft.sql, options.expose_secret()).into());
        Draft { sql: format!("{}{}", draft.sql, self.shown), secret, ..draft }
    }
}

/// A foreign data wrapper.
#[derive(Debug)]
pub struct ForeignDataWrapper {
    handler: Option<String>,
    validator: Option<String>,
    options: Options,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let name: String = row.try_get("name")?;
    let options: Vec<String> = row.try_get::<_, Option<_>>("options")?.unwrap_or_default();
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::FDW, row.try_get("oid")?),
        parent: None,
        face: Face::new("FOREIGN DATA WRAPPER", ident(&name)),
        name: ObjectName { class: CLASS.name, schema: String::new(), parent: String::new(), name }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(ForeignDataWrapper {
            handler: row.try_get("handler")?,
            validator: row.try_get("validator")?,
            options: Options::new(&options, looks_secret),
        }),
    });
    Ok(())
}

impl Definition for ForeignDataWrapper {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let mut sql = format!("CREATE {}", object.face);
        for (clause, function) in [("HANDLER", &self.handler), ("VALIDATOR", &self.validator)] {
            if let Some(function) = function {
                // Writing to a String can't fail.
                let _ = write!(sql, " {clause} {function}");
            }
        }
        drafts.push(self.options.after(Draft::create(object, Section::BeforeData, sql)));
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn secrets_are_executed_and_not_shown() {
        let options = ["user=b\"o'b".to_owned(), "password=a=b'\\c".to_owned()];
        let options = Options::new(&options, looks_secret);
        assert_eq!(options.shown, " OPTIONS (\"user\" 'b\"o''b', \"password\" '********')");
        let secret = options.secret.as_ref().map(|secret| secret.expose_secret().to_owned());
        assert_eq!(secret.as_deref(), Some(" OPTIONS (\"user\" 'b\"o''b', \"password\" E'a=b''\\\\c')"));
        assert!(!format!("{options:?}").contains("a=b"));
    }

    #[test]
    fn without_options_there_is_no_clause() {
        let options = Options::new(&[], |_| true);
        assert!(options.shown.is_empty() && options.secret.is_none());
    }
}
