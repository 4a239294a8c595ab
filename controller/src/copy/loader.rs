//! A session on the destination that loads rows with the rights of their table's owner, never with ours.

use std::collections::HashMap;
use std::ops::Deref;

use tokio_postgres::Statement;

use crate::postgres::{self, Endpoint, Session, quote, retry};

/// Why there is no such session.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The destination can't be reached.
    #[error(transparent)]
    Connect(#[from] postgres::connect::Error),
    /// The destination refused a setting or function.
    #[error("preparing to load: {}", retry::message(.0))]
    Prepare(#[source] tokio_postgres::Error),
    /// No random numbers.
    #[error("can't make a token: {0}")]
    Token(#[source] openssl::error::ErrorStack),
}

/// A session for loading. Replication role: no trigger or rule of the user's fires, no foreign key is checked. Our
/// functions are made in the session's temporary schema, so that nothing of ours is left.
pub struct Loader {
    session: Session,
    enter: Statement,
    leave: Statement,
    /// The way back from the owner's rights: known to nobody else.
    token: String,
    /// By schema and owner: whether the owner may use the schema.
    usage: HashMap<(String, String), bool>,
}

/// What surrounds the writing of a table's rows: whatever it runs meanwhile, runs with its owner's rights, not with ours.
#[derive(Debug, Clone)]
pub struct AsOwner {
    /// The owner.
    pub owner: String,
    /// What he is lent for the transaction, as statements.
    pub lend: String,
    /// What takes it back.
    pub take_back: String,
}

/// How a table is emptied before it is filled. Either way waits until nobody else writes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emptying {
    /// The usual way.
    Truncate,
    /// A table that is filled anew while foreign keys of other tables point to it can't be truncated. As a replica, the
    /// session deletes its rows without touching theirs.
    Delete,
}

impl Emptying {
    /// The way for a table to which foreign keys of others point, or don't.
    pub fn of(is_referenced: bool) -> Self {
        if is_referenced { Self::Delete } else { Self::Truncate }
    }

    /// The statements.
    pub fn statement(self, table: &str) -> String {
        match self {
            Self::Truncate => format!("TRUNCATE TABLE ONLY {table}"),
            Self::Delete => format!("LOCK TABLE ONLY {table} IN SHARE ROW EXCLUSIVE MODE; DELETE FROM ONLY {table}"),
        }
    }

    /// Options of the COPY that fills it in the same transaction: frozen rows are for a file that nobody else sees yet.
    pub fn options(self) -> &'static str {
        match self {
            Self::Truncate => "WITH (FREEZE)",
            Self::Delete => "",
        }
    }
}

impl Loader {
    /// Opens one.
    pub async fn open(destination: &Endpoint, database: &str) -> Result<Self, Error> {
        let session = destination.connect(database).await?;
        session
            .batch_execute(
                "SET session_replication_role = replica; SET event_triggers = off; SET synchronous_commit = off;
                 -- Quicker than what it replaces, where a column leaves it open; not in every build of the server.
                 SELECT pg_catalog.set_config(name, 'lz4', false) FROM pg_catalog.pg_settings
                 WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals);
                 CREATE FUNCTION pg_temp.attach(oid, oid, pg_catalog.pg_lsn) RETURNS void
                     LANGUAGE c STRICT AS '$libdir/migrator', 'attach_wrapper';
                 CREATE FUNCTION pg_temp.enter_owner(oid, text) RETURNS void
                     LANGUAGE c STRICT AS '$libdir/migrator', 'enter_owner_wrapper';
                 CREATE FUNCTION pg_temp.leave_owner(text) RETURNS void
                     LANGUAGE c STRICT AS '$libdir/migrator', 'leave_owner_wrapper'",
            )
            .await
            .map_err(Error::Prepare)?;
        as_bytes(&session).await.map_err(Error::Prepare)?;
        let enter = "SELECT pg_temp.enter_owner((SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1::text), $2::text)";
        let enter = session.prepare(enter).await.map_err(Error::Prepare)?;
        let leave = session.prepare("SELECT pg_temp.leave_owner($1::text)").await.map_err(Error::Prepare)?;
        Ok(Self { session, enter, leave, token: token()?, usage: HashMap::new() })
    }

    /// What it takes to write a table as its owner, who may lack USAGE on the table's schema; then he is lent it, for a transaction
    /// alone.
    pub async fn as_owner(&mut self, schema: &str, owner: &str) -> Result<AsOwner, tokio_postgres::Error> {
        let key = (schema.to_owned(), owner.to_owned());
        let may = if let Some(may) = self.usage.get(&key) {
            *may
        } else {
            let row = self
                .session
                .query_one("SELECT pg_catalog.has_schema_privilege($1::text::name, $2::text, 'USAGE')", &[&owner, &schema])
                .await?;
            let may = row.get(0);
            self.usage.insert(key, may);
            may
        };
        let owner = owner.to_owned();
        if may {
            return Ok(AsOwner { owner, lend: String::new(), take_back: String::new() });
        }
        let (schema, role) = (quote::ident(schema), quote::ident(&owner));
        Ok(AsOwner {
            // Two such transactions at the same time would change the same row of the catalog.
            lend: format!(
                "SELECT pg_advisory_xact_lock(hashtextextended('pg-migrator lent privileges', 0)); \
                 GRANT USAGE ON SCHEMA {schema} TO {role};"
            ),
            take_back: format!("REVOKE USAGE ON SCHEMA {schema} FROM {role};"),
            owner,
        })
    }

    /// Opens a transaction, and becomes the owner in it, in a way that what the table runs can't undo (the extension's
    /// `untrusted.rs`).
    pub async fn begin(&self, owner: &AsOwner) -> Result<(), tokio_postgres::Error> {
        self.session.batch_execute(&format!("BEGIN; {}", owner.lend)).await?;
        self.enter(owner).await
    }

    /// Becomes the owner in the open transaction.
    pub async fn enter(&self, owner: &AsOwner) -> Result<(), tokio_postgres::Error> {
        self.session.execute(&self.enter, &[&owner.owner, &self.token]).await.map(drop)
    }

    /// Becomes ourselves again.
    pub async fn leave(&self) -> Result<(), tokio_postgres::Error> {
        self.session.execute(&self.leave, &[&self.token]).await.map(drop)
    }
}

impl Deref for Loader {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

/// A database without an encoding holds bytes that need not be UTF-8: both sides pass them on as they are.
pub async fn as_bytes(session: &Session) -> Result<(), tokio_postgres::Error> {
    session
        .batch_execute(
            "SELECT pg_catalog.set_config('client_encoding', 'SQL_ASCII', false)
             WHERE pg_catalog.current_setting('server_encoding') = 'SQL_ASCII'",
        )
        .await
}

/// A number that nobody guesses, as text.
fn token() -> Result<String, Error> {
    let mut bytes = [0_u8; 16];
    openssl::rand::rand_bytes(&mut bytes).map_err(Error::Token)?;
    Ok(bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
}
