//! The control database: made where it is missing, with the extension in it.

use tokio_postgres::error::SqlState;

use crate::postgres::{self, Endpoint, Session, quote, retry};

/// Why there is no control database to work with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The destination can't be reached.
    #[error(transparent)]
    Connect(#[from] postgres::connect::Error),
    /// The destination refused a statement.
    #[error("the control database {database} on {instance} can't be {doing}: {}", retry::message(.source))]
    Statement {
        /// The destination instance.
        instance: String,
        /// The control database's name.
        database: String,
        /// What was being done.
        doing: &'static str,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A database of that name is there and holds something else.
    #[error(
        "the database {database} on {instance} exists and is not a control database of pg-migrator: \
         set control_database to another name"
    )]
    Foreign {
        /// The destination instance.
        instance: String,
        /// The database's name.
        database: String,
    },
}

/// Whether the control database is there, is ours, or is someone else's.
pub async fn exists(destination: &Endpoint, maintenance: &Session, name: &str) -> Result<bool, Error> {
    let found = maintenance
        .query_one("SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $1)", &[&name])
        .await
        .map_err(|source| statement(destination, name, "looked for", source))?;
    Ok(found.get(0))
}

fn statement(destination: &Endpoint, database: &str, doing: &'static str, source: tokio_postgres::Error) -> Error {
    Error::Statement { instance: destination.name.clone(), database: database.to_owned(), doing, source }
}

/// Connects to the control database, making it and the extension first where they are missing. Two mappings may come
/// here at the same time: whoever is second finds the work done.
pub async fn open(destination: &Endpoint, name: &str) -> Result<Session, Error> {
    let failed = |doing| move |source| statement(destination, name, doing, source);
    let maintenance = destination.connect(&destination.instance.database).await?;
    if !exists(destination, &maintenance, name).await? {
        match maintenance
            .batch_execute(&format!("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'", quote::ident(name)))
            .await
        {
            Ok(()) => tracing::info!(instance = destination.name, database = name, "created the control database"),
            Err(e) if e.code() == Some(&SqlState::DUPLICATE_DATABASE) || e.code() == Some(&SqlState::UNIQUE_VIOLATION) => {}
            Err(e) => return Err(failed("created")(e)),
        }
    }
    let mut control = destination.connect(name).await?;
    // Serialises the two that come at the same time.
    let transaction = control.transaction().await.map_err(failed("opened"))?;
    transaction
        .execute("SELECT pg_advisory_xact_lock(hashtextextended('pg-migrator extension', 0))", &[])
        .await
        .map_err(failed("locked"))?;
    let state = transaction.query_one(include_str!("control.sql"), &[]).await.map_err(failed("looked at"))?;
    if !state.get::<_, bool>("installed") {
        if state.get::<_, bool>("inhabited") {
            return Err(Error::Foreign { instance: destination.name.clone(), database: name.to_owned() });
        }
        // dblink goes into public: sessions of ours have no schema to create in.
        transaction
            .batch_execute("SET LOCAL search_path = public; CREATE EXTENSION migrator CASCADE")
            .await
            .map_err(failed("given the extension"))?;
    }
    transaction.commit().await.map_err(failed("set up"))?;
    Ok(control)
}

/// The key of the lock that a controller holds on a mapping while it runs: only one may act on it.
pub async fn try_lock(control: &Session, mapping: &str) -> Result<bool, tokio_postgres::Error> {
    let row =
        control.query_one("SELECT pg_try_advisory_lock(hashtextextended('pg-migrator mapping ' || $1, 0))", &[&mapping]).await?;
    Ok(row.get(0))
}
