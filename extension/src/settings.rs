//! Configuration parameters of the extension.
//!
//! There are none yet: everything is configured in the controller. The prefix is reserved so that
//! `SET migrator.something` is refused as a mistake instead of being taken for a setting that works.

/// Reserves the prefix `migrator` in the session that loads the library.
pub fn define() {
    // SAFETY: called from `_PG_init` in a backend, where the server's GUC tables exist; the name is a static C string.
    unsafe { pgrx::pg_sys::MarkGUCPrefixReserved(c"migrator".as_ptr()) }
}
