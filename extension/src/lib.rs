//! The extension `migrator`: what of pg-migrator must run inside the PostgreSQL 18 destination.
//!
//! # Layout
//!
//! - [`attach`]: hands a copied table over to the server's own apply worker.
//! - [`untrusted`]: loads rows with their owner's rights, in a way that the owner's code can't leave.
//! - [`settings`]: the configuration parameters under the prefix `migrator`.
//! - `sql/` at the top of the repository: tables, requests, views, grants. They are put together here, in order.
//!
//! Everything else that acts is the controller's.

pub mod attach;
pub mod settings;
pub mod untrusted;

use pgrx::prelude::*;

pgrx::pg_module_magic!(name, version);

extension_sql_file!("../../sql/10_tables.sql", name = "tables", bootstrap);
extension_sql_file!("../../sql/20_requests.sql", name = "requests", requires = ["tables"]);
extension_sql_file!("../../sql/30_views.sql", name = "views", requires = ["requests"]);
extension_sql_file!("../../sql/35_attach.sql", name = "attach", requires = ["views"]);
extension_sql_file!("../../sql/40_grants.sql", name = "grants", requires = ["attach"], finalize);

/// Called by the server when a session loads the library.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::define();
}
