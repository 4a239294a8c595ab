//! Whether the destination knows the locale of a database, or of a collation.

use std::collections::BTreeSet;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::{Error, database_finding};
use crate::finding::{Code, Finding, Severity};
use crate::postgres::quote::{self, literal};
use crate::postgres::retry;
use crate::provision::databases::{Definition, Provider};

fn failed(source: tokio_postgres::Error) -> Error {
    Error { check: "locales", source }
}

/// What the destination lacks, and what to do about it.
#[derive(Debug, Clone)]
pub(super) struct Lack {
    pub(super) code: Code,
    pub(super) reason: String,
    pub(super) fix: String,
}

pub(super) async fn check(destination: &Client, definition: &Definition) -> Result<Vec<Finding>, Error> {
    let mut lacks = Vec::new();
    for locale in BTreeSet::from([&definition.collate, &definition.ctype]) {
        lacks.extend(lack(destination, "c", locale, None).await?);
    }
    if let Provider::Icu { locale, rules } = &definition.provider {
        lacks.extend(lack(destination, "i", locale, rules.as_deref()).await?);
    }
    let finding = |lack: Lack| {
        let object = format!("database {}", quote::ident(&definition.name));
        database_finding(Severity::Error, &definition.name, lack.code, object, lack.reason, lack.fix)
    };
    Ok(lacks.into_iter().map(finding).collect())
}

/// What the destination lacks to have a collation of this provider (`c`, `i`, `b`) and locale; nothing if it knows it. Nothing is left there.
pub(super) async fn lack(destination: &Client, provider: &str, locale: &str, rules: Option<&str>) -> Result<Option<Lack>, Error> {
    match provider {
        // The server takes a locale for any category only if the system has it; the setting ends with the statement.
        "c" => match destination.query_one("SELECT pg_catalog.set_config('lc_monetary', $1, true)", &[&locale]).await {
            Ok(_) => Ok(None),
            Err(error) if error.code() == Some(&SqlState::INVALID_PARAMETER_VALUE) => Ok(Some(not_installed(locale))),
            Err(error) => Err(failed(error)),
        },
        "i" => {
            let rules = rules.map(|rules| format!(", rules = {}", literal(rules))).unwrap_or_default();
            // Both statements are one transaction, since they are sent as one; a failure takes it back.
            let probe = format!(
                "CREATE COLLATION pg_temp.pg_migrator_probe (provider = icu, locale = {}{rules}); DROP COLLATION pg_temp.pg_migrator_probe",
                literal(locale)
            );
            match destination.batch_execute(&probe).await {
                Ok(()) => Ok(None),
                // The server says the same of a database whose encoding ICU does not know, such as SQL_ASCII: then this one can't be asked.
                Err(error) if error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED) => {
                    let icu =
                        destination.query_one("SELECT pg_catalog.icu_unicode_version() IS NULL", &[]).await.map_err(failed)?;
                    Ok(icu.get::<_, bool>(0).then(without_icu))
                }
                Err(error) if error.code().is_none() || retry::is_transient(&error) => Err(failed(error)),
                Err(error) => Ok(Some(refused(locale, &retry::message(&error)))),
            }
        }
        // The server's own locales are everywhere.
        _ => Ok(None),
    }
}

fn not_installed(locale: &str) -> Lack {
    Lack {
        code: Code::LocaleMissing,
        reason: format!("its locale {locale} is not installed on the destination's machine"),
        fix: format!(
            "on the destination's machine generate it (Debian: a line in /etc/locale.gen, locale-gen), then restart PostgreSQL; locale -a lists {locale} then"
        ),
    }
}

fn without_icu() -> Lack {
    Lack {
        code: Code::IcuMissing,
        reason: "it comes from ICU, and the destination's PostgreSQL is built without ICU".to_owned(),
        fix: "use a PostgreSQL 18 that is built with ICU".to_owned(),
    }
}

fn refused(locale: &str, message: &str) -> Lack {
    Lack {
        code: Code::LocaleMissing,
        reason: format!("the destination refuses its ICU locale {locale}: {message}"),
        fix: "on the destination: a PostgreSQL that is built with an ICU library which knows it; or, if sorting as the root locale does will do, \
              ALTER SYSTEM SET icu_validation_level = 'warning' and pg_reload_conf()"
            .to_owned(),
    }
}
