//! Quoting: the only place where a name or a value becomes SQL text.
//!
//! Everything that comes from a source is untrusted. Identifiers are always quoted, so that no keyword list of any
//! version matters; literals use the `E''` form where a backslash occurs, so that `standard_conforming_strings` does not.

use std::fmt::Write as _;

/// Quotes an identifier: `We ird` becomes `"We ird"`.
pub fn ident(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push('"');
    for c in name.chars() {
        if c == '"' {
            quoted.push('"');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// Quotes a name inside a schema: `"public"."order"`.
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

/// Quotes a string literal; correct whatever `standard_conforming_strings` says.
pub fn literal(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 3);
    if value.contains('\\') {
        // A space before E keeps it apart from whatever identifier character may stand in front.
        quoted.push_str(" E");
    }
    quoted.push('\'');
    for c in value.chars() {
        if c == '\'' || c == '\\' {
            quoted.push(c);
        }
        quoted.push(c);
    }
    quoted.push('\'');
    quoted
}

/// Quotes one value of a libpq connection string: `'it\'s'`.
pub fn conninfo_value(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('\'');
    for c in value.chars() {
        if c == '\'' || c == '\\' {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('\'');
    quoted
}

/// A column list with its parentheses; empty for a table without columns.
pub fn column_list(columns: &[String]) -> String {
    if columns.is_empty() { String::new() } else { format!("({})", ident_list(columns.iter().map(String::as_str))) }
}

/// Joins quoted identifiers with commas.
pub fn ident_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut list = String::new();
    for (i, name) in names.into_iter().enumerate() {
        if i > 0 {
            list.push_str(", ");
        }
        // Writing to a String can't fail.
        let _ = write!(list, "{}", ident(name));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_always_quoted() {
        assert_eq!(ident("order"), "\"order\"");
        assert_eq!(ident("a\"b"), "\"a\"\"b\"");
        assert_eq!(qualified("We ird", "x\"; DROP TABLE y; --"), "\"We ird\".\"x\"\"; DROP TABLE y; --\"");
    }

    #[test]
    fn literals_survive_backslashes_and_quotes() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), " E'a\\\\''b'");
    }

    #[test]
    fn conninfo_values_escape_with_backslashes() {
        assert_eq!(conninfo_value("a'b\\c d"), "'a\\'b\\\\c d'");
    }
}
