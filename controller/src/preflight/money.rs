//! Money travels in the stream as text, which the source's WAL sender writes by its `lc_monetary` and the destination's apply worker reads by
//! its own. Only a server, database or role can have that setting, so a stream can't bring its own. (The copy's sessions pin it.)

use std::error::Error as StdError;

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::Client;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

use super::{Error, database_finding, listed};
use crate::finding::{Code, Finding, Severity};
use crate::postgres::{quote, retry};
use crate::provision::databases::Definition;

/// A value of type money as the server keeps it: the smallest unit of its currency, whatever that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Units(i64);

impl ToSql for Units {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        out.put_i64(self.0);
        Ok(IsNull::No)
    }

    accepts!(MONEY);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Units {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?)))
    }

    accepts!(MONEY);
}

/// Values with and without sign, fraction and groups of thousands.
const SAMPLES: [Units; 7] =
    [Units(123_456_789), Units(-123_456_789), Units(0), Units(5), Units(-5), Units(100), Units(999_999_999_999_999)];

fn failed(source: tokio_postgres::Error) -> Error {
    Error { check: "the form of money", source }
}

pub(super) async fn check(source: &Client, destination: &Client, definition: &Definition) -> Result<Vec<Finding>, Error> {
    let row = source.query_one(include_str!("money.sql"), &[]).await.map_err(failed)?;
    let (total, first): (i64, Vec<String>) = (row.get("total"), row.get("first"));
    if total == 0 {
        return Ok(Vec::new());
    }
    let setting = definition.settings.iter().find(|setting| setting.name == "lc_monetary").map(|setting| setting.value.as_str());
    let row = destination.query_one(include_str!("money_format.sql"), &[&setting]).await.map_err(failed)?;
    let theirs: String = row.get("lc_monetary");
    // As in a session that sets none, which a WAL sender is.
    let row = source.query_one(include_str!("money_written.sql"), &[&SAMPLES.as_slice()]).await.map_err(failed)?;
    let (ours, texts): (String, Vec<String>) = (row.get("lc_monetary"), row.get("texts"));
    let difference = match destination.query_one(include_str!("money_read.sql"), &[&theirs, &texts]).await {
        Ok(row) => {
            match texts.iter().zip(row.get::<_, Vec<Units>>("values")).zip(SAMPLES).find(|((_, read), meant)| read != meant) {
                Some(((text, _), _)) => format!("{text} would become another amount"),
                None => return Ok(Vec::new()),
            }
        }
        Err(error) if error.code().is_some() => format!("could not: {}", retry::message(&error)),
        Err(error) => return Err(failed(error)),
    };
    let (database, value) = (quote::ident(&definition.name), quote::literal(&ours));
    Ok(vec![database_finding(
        Severity::Error,
        &definition.name,
        Code::MoneyFormat,
        format!("database {database}"),
        format!(
            "it has {total} columns of type money ({}), which a stream carries as text unless all its columns are safe in binary form: as text the source writes them by lc_monetary = {ours}, \
             the destination would read them by {theirs}, and {difference}",
            listed(&first, total)
        ),
        format!(
            "on the source: ALTER DATABASE {database} SET lc_monetary = {value}, which changes nothing there and comes along with the database; \
             or on the destination: ALTER SYSTEM SET lc_monetary = {value}; SELECT pg_reload_conf(). The destination's machine must have that \
             locale (locale -a)"
        ),
    )])
}
