//! Our use of the driver, once: connections, TLS, quoting, versions, positions, retries, and the
//! way past it for the rows of a COPY.

pub mod attend;
pub mod connect;
pub mod conninfo;
mod fitting;
pub mod line;
pub mod lsn;
pub mod quote;
pub mod refusal;
pub mod retry;
pub mod tap;
pub mod tls;
pub mod version;

pub use connect::{Endpoint, Session};
pub use lsn::Lsn;
pub use version::ServerVersion;
