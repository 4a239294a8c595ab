//! Money that a stream could not carry: the destination does not read it as the source writes it, and does not know the source's locale
//! either, which the stream would be given ([`crate::stream::money`]).

use tokio_postgres::Client;

use super::{Error, database_finding, listed};
use crate::finding::{Code, Finding, Severity};
use crate::postgres::quote;
use crate::provision::databases::Definition;
use crate::stream::money::{self, Written};

fn failed(source: tokio_postgres::Error) -> Error {
    Error { check: "the form of money", source }
}

pub(super) async fn check(source: &Client, destination: &Client, definition: &Definition) -> Result<Vec<Finding>, Error> {
    let (total, first) = money::columns(source).await.map_err(failed)?;
    if total == 0 {
        return Ok(Vec::new());
    }
    let written = Written::by(source).await.map_err(failed)?;
    let setting = definition.settings.iter().find(|setting| setting.name == "lc_monetary").map(|setting| setting.value.as_str());
    let row = destination.query_one(include_str!("money_format.sql"), &[&setting]).await.map_err(failed)?;
    let theirs: String = row.get("lc_monetary");
    let ours = &written.setting;
    let Some(difference) = written.difference(destination, &theirs).await.map_err(failed)? else { return Ok(Vec::new()) };
    let Some(unreadable) = written.difference(destination, ours).await.map_err(failed)? else { return Ok(Vec::new()) };
    Ok(vec![database_finding(
        Severity::Error,
        &definition.name,
        Code::MoneyFormat,
        format!("database {}", quote::ident(&definition.name)),
        format!(
            "it has {total} columns of type money ({}), which a stream may carry as text: the source writes them by lc_monetary = {ours}, \
             which the destination can't do ({unreadable}); by its own, {theirs}, it would read them otherwise ({difference})",
            listed(&first, total)
        ),
        format!(
            "on the destination's machine generate the locale {ours} (Debian: a line in /etc/locale.gen, locale-gen), then restart PostgreSQL; \
             locale -a lists it then"
        ),
    )])
}
