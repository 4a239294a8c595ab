//! Our use of the driver, once: connections, TLS, quoting, versions, retries.

pub mod quote;
pub mod version;

pub use version::ServerVersion;
