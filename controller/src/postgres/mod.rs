//! Our use of the driver, once: connections, TLS, quoting, versions, positions, retries.

pub mod connect;
pub mod conninfo;
pub mod lsn;
pub mod quote;
pub mod retry;
pub mod tls;
pub mod version;

pub use connect::{Endpoint, Session};
pub use lsn::Lsn;
pub use version::ServerVersion;
