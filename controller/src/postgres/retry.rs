//! Which errors pass by themselves, told by SQLSTATE, in this one place.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio_postgres::error::SqlState;

/// Whether trying again, unchanged, may well succeed: lost connections, servers that start or stop, lock conflicts,
/// resources that run short for a while. A failure without SQLSTATE is one of the connection itself.
pub fn is_transient(error: &tokio_postgres::Error) -> bool {
    let Some(state) = error.code() else {
        return true;
    };
    let class = &state.code()[..2];
    // 08 connection exception, 40 transaction rollback, 53 insufficient resources, 55P03 lock not available,
    // 55006 object in use, 57 operator intervention, 58 system error, XX000 is not: it is a server bug and needs eyes.
    // 58P01 and 58P02 are not either: a file that is missing (a library that a function names) or in the way stays so.
    (matches!(class, "08" | "40" | "53" | "57" | "58") && !matches!(state.code(), "58P01" | "58P02"))
        || *state == SqlState::LOCK_NOT_AVAILABLE
        || *state == SqlState::OBJECT_IN_USE
}

/// Whether the failure is one of the session rather than of what was worked on: the connection broke, a server stops, or
/// two sessions were in each other's way. A full disk or a broken file is not: it would fail the same way for ever.
pub fn is_loss_of_session(error: &tokio_postgres::Error) -> bool {
    error.code().is_none_or(|state| matches!(&state.code()[..2], "08" | "40" | "55" | "57"))
}

/// Whether the failure is a collision with another session, so that the same statement may well succeed right after.
/// `XX000` is among them: two sessions that change the same row of a catalog (GRANT beside ATTACH on one table) are told
/// "tuple concurrently updated" under that code and no other.
pub fn is_collision(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|state| {
        state.code().starts_with("40")
            || *state == SqlState::LOCK_NOT_AVAILABLE
            || *state == SqlState::OBJECT_IN_USE
            || *state == SqlState::INTERNAL_ERROR
    })
}

/// Waits between tries: from half a second, doubling with jitter, to half a minute, without end.
pub fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_jitter()
        .with_factor(2.0)
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(Duration::from_secs(30))
        .without_max_times()
        .build()
}

/// The server's own words, with detail and hint, or the driver's where the server said nothing.
pub fn message(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        let mut text = db.message().to_owned();
        // Where in the extension's own functions an error was raised is nothing to an operator.
        let place = db.where_().filter(|place| !place.starts_with("PL/pgSQL function migrator."));
        for (label, extra) in [("detail", db.detail()), ("hint", db.hint()), ("where", place)] {
            if let Some(extra) = extra {
                text.extend(["; ", label, ": ", extra]);
            }
        }
        text
    } else if error.is_closed() {
        "the connection is lost: it was ended, or nobody at its other end answers any more".to_owned()
    } else {
        // "error connecting to server" alone helps nobody: the cause says "connection refused".
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        text
    }
}
