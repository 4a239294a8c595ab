//! What can go wrong in the harness, with what was being done.

use std::fmt::{self, Write as _};
use std::time::Duration;

/// Result of the harness.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the harness. A scenario that fails prints it with [`fmt::Debug`], so that is made to be read by people.
#[derive(thiserror::Error)]
pub enum Error {
    /// A file, folder or process could not be handled.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, to what.
        doing: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A server refused something.
    #[error("{doing}: {}", server_words(source))]
    Server {
        /// What was being done, to what.
        doing: String,
        /// The server's answer.
        source: tokio_postgres::Error,
    },
    /// A program ended with a failure.
    #[error("{program} failed ({status}):\n{output}")]
    Program {
        /// The program and its arguments.
        program: String,
        /// How it ended.
        status: String,
        /// What it wrote to stderr, or the end of its log.
        output: String,
    },
    /// Something did not come true in time.
    #[error("waited {waited:?} for {what}; {state}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long.
        waited: Duration,
        /// How things stood at the end.
        state: String,
    },
    /// A promise is not kept, or the machine lacks something.
    #[error("{0}")]
    Broken(String),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The server's message with SQLSTATE, detail and hint, which the driver's own `Display` leaves out.
pub fn server_words(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
        return format!("{error}{}", cause.unwrap_or_default());
    };
    let mut words = format!("{} {}", db.code().code(), db.message());
    for (label, text) in [("detail", db.detail()), ("hint", db.hint()), ("where", db.where_())] {
        if let Some(text) = text {
            // Writing to a String can't fail.
            let _ = write!(words, "; {label}: {text}");
        }
    }
    words
}

/// Attaches what was being done to an error.
pub trait Doing<T> {
    /// Turns the error into [`Error`], saying what was being done.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for std::result::Result<T, std::io::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io { doing: what(), source })
    }
}

impl<T> Doing<T> for std::result::Result<T, tokio_postgres::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Server { doing: what(), source })
    }
}
