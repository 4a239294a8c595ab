//! Money travels in a stream as text, which the source's WAL sender writes by its `lc_monetary` and the destination's apply worker reads by
//! its own. Only a server, a database or a role can have that setting, so a stream can't bring its own: where the two forms differ, the role
//! that the apply worker runs as gets the source's setting, in this database and until the mapping is complete. (The copy's sessions pin it.)

use std::error::Error as StdError;

use bytes::{BufMut as _, BytesMut};
use serde_json::json;
use tokio_postgres::Client;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

use crate::ledger::{self, Kind, Side, SideEffect};
use crate::postgres::{self, Endpoint, quote, retry};

/// Why money can't be carried as it is.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The destination can't be reached.
    #[error(transparent)]
    Connect(#[from] postgres::connect::Error),
    /// A statement failed.
    #[error("{doing}: {}", retry::message(.source))]
    Statement {
        /// What was being done.
        doing: &'static str,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// Amounts would become others.
    #[error("the source writes money by lc_monetary = {written}, which the destination does not read alike: {difference}")]
    Differs {
        /// The source's setting.
        written: String,
        /// The first amount that is read otherwise.
        difference: String,
    },
}

fn failed(doing: &'static str) -> impl FnOnce(tokio_postgres::Error) -> Error {
    move |source| Error::Statement { doing, source }
}

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

/// The columns of permanent tables that hold money: how many, and the first of them.
pub async fn columns(source: &Client) -> Result<(i64, Vec<String>), tokio_postgres::Error> {
    let row = source.query_one(include_str!("money.sql"), &[]).await?;
    Ok((row.get("total"), row.get("first")))
}

/// How a source writes money.
#[derive(Debug, Clone)]
pub struct Written {
    /// Its `lc_monetary`, as a session of our role in that database has it: a WAL sender is one.
    pub setting: String,
    /// The samples.
    texts: Vec<String>,
}

impl Written {
    /// As the source writes it in the database that `source` is connected to.
    pub async fn by(source: &Client) -> Result<Self, tokio_postgres::Error> {
        let row = source.query_one(include_str!("money_written.sql"), &[&SAMPLES.as_slice()]).await?;
        Ok(Self { setting: row.get("lc_monetary"), texts: row.get("texts") })
    }

    /// What would become of it where it is read by this `lc_monetary`; nothing if it stays what it is.
    pub async fn difference(&self, destination: &Client, setting: &str) -> Result<Option<String>, tokio_postgres::Error> {
        match destination.query_one(include_str!("money_read.sql"), &[&setting, &self.texts]).await {
            Ok(row) => {
                let read: Vec<Units> = row.get("values");
                let other = self.texts.iter().zip(read).zip(SAMPLES).find(|((_, read), meant)| read != meant);
                Ok(other.map(|((text, _), _)| format!("{text} would become another amount")))
            }
            Err(error) if error.code().is_none() || retry::is_transient(&error) => Err(error),
            Err(error) => Ok(Some(retry::message(&error))),
        }
    }
}

/// Sees to it that apply workers in this database read money as the source writes it. Gives what was set for that, in words, if anything was.
pub async fn align(
    source: &Client,
    control: &Client,
    mapping: &str,
    destination: &Endpoint,
    database: &str,
) -> Result<Option<String>, Error> {
    let looking = "looking at the form of money";
    if columns(source).await.map_err(failed(looking))?.0 == 0 {
        return Ok(None);
    }
    let written = Written::by(source).await.map_err(failed(looking))?;
    // A session of its own has the settings that an apply worker would begin with.
    let session = destination.connect(database).await?;
    let row = session.query_one(include_str!("money_setting.sql"), &[]).await.map_err(failed(looking))?;
    let (role, oid): (String, u32) = (row.get("role"), row.get("database"));
    if written.difference(&session, row.get("lc_monetary")).await.map_err(failed(looking))?.is_none() {
        return Ok(None);
    }
    if let Some(difference) = written.difference(&session, &written.setting).await.map_err(failed(looking))? {
        return Err(Error::Differs { written: written.setting, difference });
    }
    let detail = json!({ "lc_monetary": row.get::<_, Option<String>>("own"), "oid": oid });
    ledger::record(control, mapping, Side::Destination, database, Kind::Setting, &role, &detail).await?;
    set(&session, &role, database, Some(&written.setting)).await.map_err(failed("setting lc_monetary"))?;
    Ok(Some(format!(
        "role {} has lc_monetary = {} here until the mapping is complete: by that the source writes money",
        quote::ident(&role),
        written.setting
    )))
}

/// Takes back what was set. With a role or database that is gone it went by itself.
pub async fn restore(control: &Client, effect: &SideEffect) -> Result<(), tokio_postgres::Error> {
    let Some(oid) = effect.detail.get("oid").and_then(serde_json::Value::as_u64) else { return Ok(()) };
    let found = control
        .query_opt(
            "SELECT d.datname::text FROM pg_catalog.pg_database d, pg_catalog.pg_roles r WHERE d.oid = $1 AND r.rolname = $2",
            &[&(oid as u32), &effect.object],
        )
        .await?;
    let Some(found) = found else { return Ok(()) };
    let before = effect.detail.get("lc_monetary").and_then(serde_json::Value::as_str);
    set(control, &effect.object, found.get(0), before).await
}

async fn set(destination: &Client, role: &str, database: &str, value: Option<&str>) -> Result<(), tokio_postgres::Error> {
    let action = value
        .map_or("RESET lc_monetary".to_owned(), |value| format!("SET lc_monetary TO {}", quote::literal(value).trim_start()));
    let (role, database) = (quote::ident(role), quote::ident(database));
    destination.batch_execute(&format!("ALTER ROLE {role} IN DATABASE {database} {action}")).await
}
