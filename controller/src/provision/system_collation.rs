//! Collations of the system's: each server has those that its machine knew when it was made. What uses one that the destination lacks can't be
//! made there, statement by statement; that is told once for the collation.

use crate::finding::{Code, Finding, Severity};
use crate::postgres::quote;

/// What a collation of the system's is called in findings.
pub fn object(name: &str) -> String {
    format!("collation pg_catalog.{}", quote::ident(name))
}

/// The collation of the system's for want of which a statement failed, by the server's message (`get_collation_oid` in `catalog/namespace.c`).
pub fn missing<'m>(message: &'m str, sql: &str) -> Option<&'m str> {
    let (name, _) = message.strip_prefix("collation \"")?.strip_suffix("\" does not exist")?.rsplit_once("\" for encoding \"")?;
    if let Some(name) = name.strip_prefix("pg_catalog.") {
        return Some(name);
    }
    // The servers' deparsers leave that schema out. The message does not tell a name with a dot in it from one with its schema.
    let quoted = sql.contains(&format!("COLLATE \"{}\"", name.replace('"', "\"\"")));
    (quoted || !name.contains('.')).then_some(name)
}

/// What is told of a collation that is missing; `locale` is what its machine would have to know, if that can be told.
pub fn finding(database: &str, name: &str, locale: Option<&str>, reason: String) -> Finding {
    Finding {
        severity: Severity::Error,
        database: database.to_owned(),
        code: Code::LocaleMissing,
        object: object(name),
        reason,
        fix: format!(
            "on the destination's machine generate its locale {}, and restart PostgreSQL; then SELECT pg_import_system_collations('pg_catalog') \
             in the database, and what needs it is made by itself; where the database is still to be made: in template0 (ALTER DATABASE \
             template0 WITH ALLOW_CONNECTIONS true meanwhile), in the control database and in the one that we connect to first; or, on the \
             source, ALTER what is sorted by it to a collation that both have",
            locale.unwrap_or(name)
        ),
        statement: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_collation_is_read_from_the_servers_words() {
        let message = |name: &str| format!("collation \"{name}\" for encoding \"UTF8\" does not exist");
        let qualified = message("pg_catalog.xx_YY.utf8");
        assert_eq!(missing(&qualified, "CREATE TABLE t (c text COLLATE pg_catalog.\"xx_YY.utf8\")"), Some("xx_YY.utf8"));
        let deparsed = message("xx_YY.utf8");
        assert_eq!(missing(&deparsed, "CREATE INDEX i ON t (c COLLATE \"xx_YY.utf8\")"), Some("xx_YY.utf8"));
        assert_eq!(missing(&message("german"), "CREATE INDEX i ON t (c COLLATE german)"), Some("german"));
        assert_eq!(missing(&message("s.own"), "CREATE INDEX i ON t (c COLLATE s.own)"), None, "one of the users'");
        assert_eq!(missing("relation \"t\" does not exist", ""), None);
    }
}
