//! Server versions, as `server_version_num` gives them.

use std::fmt;

/// A server's version number: 150018 for 15.18, 100023 for 10.23.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerVersion(pub i32);

impl ServerVersion {
    /// The oldest source we can move: logical replication came with 10.
    pub const OLDEST_SOURCE: Self = Self(100_000);
    /// The destination's major.
    pub const DESTINATION_MAJOR: i32 = 18;

    /// The major version: 15.
    pub fn major(self) -> i32 {
        self.0 / 10_000
    }

    /// Whether the server is of this major version or a later one.
    pub fn at_least(self, major: i32) -> bool {
        self.major() >= major
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 10_000, self.0 % 10_000)
    }
}
