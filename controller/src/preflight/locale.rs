//! Whether the destination's machine knows a database's locale.

use std::collections::BTreeSet;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::{Error, database_finding};
use crate::finding::{Code, Finding, Severity};
use crate::postgres::quote;
use crate::provision::databases::{Definition, Provider};

fn failed(source: tokio_postgres::Error) -> Error {
    Error { check: "locales", source }
}

pub(super) async fn check(destination: &Client, definition: &Definition) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    let object = format!("database {}", quote::ident(&definition.name));
    for locale in BTreeSet::from([&definition.collate, &definition.ctype]) {
        // The server takes a locale for any category only if the system has it; the setting ends with the statement.
        match destination.query_one("SELECT pg_catalog.set_config('lc_monetary', $1, true)", &[locale]).await {
            Ok(_) => {}
            Err(error) if error.code() == Some(&SqlState::INVALID_PARAMETER_VALUE) => findings.push(database_finding(
                Severity::Error,
                &definition.name,
                Code::LocaleMissing,
                object.clone(),
                format!("its locale {locale} is not installed on the destination's machine"),
                format!("on the destination's machine generate it (Debian: a line in /etc/locale.gen, locale-gen), then restart PostgreSQL; locale -a lists {locale} then"),
            )),
            Err(error) => return Err(failed(error)),
        }
    }
    if matches!(definition.provider, Provider::Icu { .. }) {
        let row = destination
            .query_one("SELECT EXISTS (SELECT FROM pg_catalog.pg_collation WHERE collprovider = 'i')", &[])
            .await
            .map_err(failed)?;
        if !row.get::<_, bool>(0) {
            findings.push(database_finding(
                Severity::Error,
                &definition.name,
                Code::IcuMissing,
                object,
                "its collation comes from ICU, and the destination's PostgreSQL is built without ICU",
                "use a PostgreSQL 18 that is built with ICU",
            ));
        }
    }
    Ok(findings)
}
