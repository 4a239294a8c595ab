//! Names that are keywords of version 18 and were none before: the source's deparsers leave them unquoted, and 18 would read
//! something else, at worst in silence: a column `system_user` as the function SYSTEM_USER.

use tokio_postgres::Client;

use super::{Catalog, Error, query};

/// Keywords of version 18 that version 10 lacks, and whether they are reserved (`kwlist.h`: RESERVED_KEYWORD, TYPE_FUNC_NAME_KEYWORD).
/// The others (COL_NAME_KEYWORD) can be columns and tables, but neither arguments nor the first part of a type's name. Keywords of the
/// third kind are names like any other everywhere.
const WORDS: [(&str, bool); 14] = [
    ("system_user", true),
    ("json", false),
    ("json_array", false),
    ("json_arrayagg", false),
    ("json_exists", false),
    ("json_object", false),
    ("json_objectagg", false),
    ("json_query", false),
    ("json_scalar", false),
    ("json_serialize", false),
    ("json_table", false),
    ("json_value", false),
    ("merge_action", false),
    ("normalize", false),
];

/// Lets the session's deparsers quote every name if one needs it that they would not quote by themselves. In other databases
/// definitions stay as people know them.
pub(super) async fn quote_where_needed(client: &Client, catalog: &Catalog) -> Result<(), Error> {
    let failed = |source| Error::Query { class: "keyword", source };
    let (names, reserved): (Vec<&str>, Vec<bool>) = WORDS.iter().copied().unzip();
    let sql = query::adapt(include_str!("words.sql"), catalog.session());
    let needed: bool =
        client.query_one(sql.as_str(), &[&names, &reserved]).await.and_then(|row| row.try_get(0)).map_err(failed)?;
    if needed {
        client.batch_execute("SET quote_all_identifiers = on").await.map_err(failed)?;
    }
    Ok(())
}

/// Back to names that are quoted where they must be: what follows is shown to people.
pub(super) async fn quote_as_usual(client: &Client) -> Result<(), Error> {
    client.batch_execute("SET quote_all_identifiers = off").await.map_err(Error::Session)
}
