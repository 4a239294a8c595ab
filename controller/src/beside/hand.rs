//! A hand: a session on each side that copies what travels beside the stream, one thing after the other.

use std::sync::Arc;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use super::large_objects;
use crate::copy::loader::{self, Loader};
use crate::copy::pipe::{self, Progress};
use crate::gentle::{self, rate::Limiter};
use crate::postgres::{self, Endpoint, Session, refusal, retry};

/// Why a hand did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A server can't be reached.
    #[error(transparent)]
    Connect(#[from] postgres::connect::Error),
    /// No session to load rows with.
    #[error(transparent)]
    Loader(#[from] loader::Error),
    /// A session was lost.
    #[error("{doing}: {}", retry::message(.source))]
    Session {
        /// What was being done.
        doing: &'static str,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The trouble of what was being copied alone, in words.
    #[error("{0}")]
    Object(String),
}

impl Failure {
    /// What a driver's error means: the loss of a session, or the trouble of what was being copied.
    pub fn of(doing: &'static str) -> impl FnOnce(tokio_postgres::Error) -> Self {
        move |source| {
            if retry::is_loss_of_session(&source) {
                Self::Session { doing, source }
            } else {
                Self::Object(format!("{doing}: {}", refusal::without_rows(&source)))
            }
        }
    }
}

/// A session on each side.
pub struct Hand {
    /// On the source.
    pub reader: Session,
    /// On the destination.
    pub loader: Loader,
    facts: Option<(Statement, Statement)>,
    pub(super) rate: Rate,
    destination: Endpoint,
    database: String,
}

/// How fast rows may be taken from the source: as the limiter of its mappings says, or, with none, as fast as they come.
pub type Rate = Option<Arc<gentle::Source>>;

impl Hand {
    /// Opens both sessions.
    pub async fn open(source: &Endpoint, destination: &Endpoint, database: &str, rate: Rate) -> Result<Self, Failure> {
        let reader = source.connect(database).await?;
        reader.wait_for_no_lock().await.map_err(Failure::of("preparing to read"))?;
        loader::as_bytes(&reader).await.map_err(Failure::of("preparing to read"))?;
        let loader = Loader::open(destination, database).await?;
        let (destination, database) = (destination.clone(), database.to_owned());
        Ok(Self { reader, loader, facts: None, rate, destination, database })
    }

    /// Moves rows from a COPY on the source into one on the destination; gives how many the source gave and the destination took.
    pub async fn pipe(&self, copy_to: &str, copy_from: &str, progress: &Progress) -> Result<u64, Failure> {
        let unlimited = Limiter::default();
        let rate = self.rate.as_ref().map_or(&unlimited, |source| &source.rate);
        pipe::run(&self.reader, copy_to, &self.loader, copy_from, progress, rate).await.map_err(|error| match error {
            pipe::Error::Source(source) | pipe::Error::Destination(source) if retry::is_loss_of_session(&source) => {
                Failure::Session { doing: "moving rows", source }
            }
            error => Failure::Object(error.to_string()),
        })
    }

    /// Executes statements on the destination.
    pub async fn write(&self, statements: &str) -> Result<(), Failure> {
        self.loader.batch_execute(statements).await.map_err(Failure::of("writing"))
    }

    /// Executes a statement with parameters on the destination.
    pub async fn execute(&self, statement: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<(), Failure> {
        self.loader.query(statement, parameters).await.map(drop).map_err(Failure::of("writing"))
    }

    /// After a failure: out of the transactions again. A session in which a COPY FROM failed is not used again, for the driver may have lost
    /// count of the server's answers.
    pub async fn give_up(&mut self) -> Result<(), Failure> {
        self.reader.batch_execute("ROLLBACK").await.map_err(|source| Failure::Session { doing: "rolling back", source })?;
        self.loader = Loader::open(&self.destination, &self.database).await?;
        self.facts = None;
        Ok(())
    }

    /// What both sides know of some large objects.
    pub async fn facts(&mut self, oids: &[u32]) -> Result<(Vec<Row>, Vec<Row>), Failure> {
        let failed = "looking at large objects";
        if self.facts.is_none() {
            let ours = self.reader.prepare(large_objects::FACTS).await.map_err(Failure::of(failed))?;
            let theirs = self.loader.prepare(large_objects::FACTS).await.map_err(Failure::of(failed))?;
            self.facts = Some((ours, theirs));
        }
        let Some((ours, theirs)) = &self.facts else { return Ok((Vec::new(), Vec::new())) };
        let parameters: [&(dyn ToSql + Sync); 3] = [&oids, &None::<i64>, &None::<i64>];
        let ours = self.reader.query(ours, &parameters).await.map_err(Failure::of(failed))?;
        let theirs = self.loader.query(theirs, &parameters).await.map_err(Failure::of(failed))?;
        Ok((ours, theirs))
    }
}
