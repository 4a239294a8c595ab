//! What a stream is made with, by the version of its source.

use tokio_postgres::Client;

use super::Names;
use crate::postgres::ServerVersion;

/// How changes of a transaction that is not committed yet are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streaming {
    /// Not before its commit.
    Off,
    /// As they come; the destination keeps them in files until the commit.
    On,
    /// As they come, and applied at once, by workers of their own.
    Parallel,
}

impl Streaming {
    fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Parallel => "parallel",
        }
    }
}

/// The options of a stream's slot and subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Large transactions (above the source's `logical_decoding_work_mem`).
    pub streaming: Streaming,
    /// The slot is kept ready on the source's standbys, and survives a failover to one of them. Slot and subscription
    /// must say the same.
    pub failover: bool,
    /// Values travel in their binary form, which costs both servers about a quarter less where there are many numbers and
    /// times. Only where that form means the same on both.
    pub binary: bool,
}

impl Options {
    /// The best that a source of this version can do. `binary_safe`: what [`unsafe_in_binary`] said of its tables.
    pub fn of(source: ServerVersion, failover_slots: bool, binary_safe: bool) -> Self {
        let streaming = match source.major() {
            16.. => Streaming::Parallel,
            14.. => Streaming::On,
            _ => Streaming::Off,
        };
        Self { streaming, failover: failover_slots && source.at_least(17), binary: binary_safe && source.at_least(14) }
    }

    /// As options of CREATE SUBSCRIPTION.
    ///
    /// `origin = any`: what the source itself got from another publisher belongs to it. `two_phase = false`: a transaction
    /// that was prepared on the source would be prepared here under another name, which nobody could ever commit; so it
    /// comes when it is committed.
    pub fn of_subscription(self) -> String {
        format!(
            "streaming = {}, failover = {}, binary = {}, two_phase = false, origin = any",
            self.streaming.as_str(),
            self.failover,
            self.binary
        )
    }
}

/// A table that can't travel in binary form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsafe {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// The columns that are to blame, with their types.
    pub columns: String,
}

/// The tables of a stream that can't travel in binary form.
pub async fn unsafe_in_binary(source: &Client, names: &Names) -> Result<Vec<Unsafe>, tokio_postgres::Error> {
    let rows = source.query(include_str!("binary.sql"), &[&names.publications().as_slice()]).await?;
    Ok(rows
        .iter()
        .map(|row| Unsafe { schema: row.get("schema"), table: row.get("table"), columns: row.get("columns") })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_gets_what_it_can_do() {
        let of = |major: i32| Options::of(ServerVersion(major * 10_000), true, true);
        let expected = |streaming, failover, binary| Options { streaming, failover, binary };
        assert_eq!(of(10), expected(Streaming::Off, false, false));
        assert_eq!(of(13), expected(Streaming::Off, false, false));
        assert_eq!(of(14), expected(Streaming::On, false, true));
        assert_eq!(of(15), expected(Streaming::On, false, true));
        assert_eq!(of(16), expected(Streaming::Parallel, false, true));
        assert_eq!(of(17), expected(Streaming::Parallel, true, true));
        let careful = Options::of(ServerVersion(170_000), false, false);
        assert_eq!(careful, expected(Streaming::Parallel, false, false), "unless that is not wanted, or not safe");
    }
}
