//! Settings that hang on a role or a database: `ALTER ROLE … SET`, `ALTER DATABASE … SET`.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use crate::postgres::{quote, retry};

/// The settings of a server do not answer.
#[derive(Debug, thiserror::Error)]
#[error("can't look up which settings the destination knows: {}", retry::message(.0))]
pub struct Error(#[source] tokio_postgres::Error);

/// The variables whose value is a list of quoted names (`GUC_LIST_QUOTE` in the server's `guc_tables.c`). The catalog holds
/// such a list flattened, and setting it again as one literal would make one strange name of it.
const QUOTED_LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// The variables that would hinder an apply worker, or change what it writes, wherever they hold for it: for its database, or for the owner of
/// its subscription. An array's text `{NULL}` has no null in it under `array_nulls = off`, and `xmloption = document` refuses what is none.
const HINDERING: [&str; 7] = [
    "array_nulls",
    "default_transaction_read_only",
    "lock_timeout",
    "role",
    "session_replication_role",
    "transaction_timeout",
    "xmloption",
];

/// One setting, as `pg_db_role_setting` holds it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setting {
    /// The variable: `work_mem`, `myapp.tenant`.
    pub name: String,
    /// Its value in the catalog's form.
    pub value: String,
}

impl Setting {
    /// Reads an element of `setconfig`: `search_path="$user", public`. `None` if it has no `=`, which the server never writes.
    pub fn parse(entry: &str) -> Option<Self> {
        let (name, value) = entry.split_once('=')?;
        Some(Self { name: name.to_owned(), value: value.to_owned() })
    }

    /// Whether it would be in the way of the migration, and so is set at the cutover.
    pub fn hinders(&self) -> bool {
        HINDERING.contains(&self.name.to_lowercase().as_str())
    }

    /// The part of `ALTER … SET` after `SET`: `"search_path" TO '$user', 'public'`.
    pub fn assignment(&self) -> String {
        let value = if QUOTED_LISTS.contains(&self.name.to_lowercase().as_str()) {
            match split_names(&self.value) {
                Some(names) if !names.is_empty() => names.iter().map(|name| quote::literal(name)).collect::<Vec<_>>().join(", "),
                // Empty, or not a list as the server writes it: as one value, which the server judges.
                _ => quote::literal(&self.value),
            }
        } else {
            quote::literal(&self.value)
        };
        format!("{} TO {}", quote::ident(&self.name), value.trim_start())
    }
}

/// Splits `"$user", public` into its names. Case is kept as it is; `None` if quotes do not match.
fn split_names(list: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = list.trim();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        let mut name = String::new();
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut chars = quoted.char_indices().peekable();
            let end = loop {
                match chars.next()? {
                    (_, '"') if chars.peek().is_some_and(|(_, c)| *c == '"') => {
                        chars.next();
                        name.push('"');
                    }
                    (i, '"') => break i + 1,
                    (_, c) => name.push(c),
                }
            };
            rest = quoted[end..].trim_start();
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            rest[..end].trim_end().clone_into(&mut name);
            if name.is_empty() {
                return None;
            }
            rest = &rest[end..];
        }
        names.push(name);
        if rest.is_empty() {
            return Some(names);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

/// Which of these variables the server behind `client` does not have. Variables with a dot belong to extensions and
/// applications; any server takes them.
pub async fn unknown(client: &Client, names: &BTreeSet<String>) -> Result<BTreeSet<String>, Error> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let rows = client.query(include_str!("unknown_settings.sql"), &[&names]).await.map_err(Error)?;
    Ok(rows.iter().map(|row| row.get("name")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignment(entry: &str) -> String {
        Setting::parse(entry).expect("an entry").assignment()
    }

    #[test]
    fn ordinary_values_are_one_literal() {
        assert_eq!(assignment("work_mem=64MB"), "\"work_mem\" TO '64MB'");
        assert_eq!(assignment("myapp.tenant=it's=1"), "\"myapp.tenant\" TO 'it''s=1'");
        assert_eq!(assignment("myapp.path=a\\b"), "\"myapp.path\" TO E'a\\\\b'");
        assert_eq!(assignment("DateStyle=ISO, DMY"), "\"DateStyle\" TO 'ISO, DMY'");
    }

    #[test]
    fn lists_of_names_are_split() {
        assert_eq!(assignment("search_path=\"$user\", public"), "\"search_path\" TO '$user', 'public'");
        assert_eq!(assignment("search_path=\"We, \"\"ird\", Ünï"), "\"search_path\" TO 'We, \"ird', 'Ünï'");
        assert_eq!(assignment("search_path=\"\""), "\"search_path\" TO ''");
        assert_eq!(assignment("search_path="), "\"search_path\" TO ''");
    }

    #[test]
    fn a_list_the_server_would_not_write_stays_one_value() {
        assert_eq!(assignment("search_path=\"open"), "\"search_path\" TO '\"open'");
        assert_eq!(assignment("search_path=a,,b"), "\"search_path\" TO 'a,,b'");
    }

    #[test]
    fn an_entry_without_a_value_is_none() {
        assert_eq!(Setting::parse("nonsense"), None);
    }
}
