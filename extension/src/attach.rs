//! Attach: a table that was copied as of an LSN of the source becomes part of a running native subscription.
//!
//! The server keeps, per subscription and table, a row in `pg_subscription_rel` with a state and an LSN. In state `s`
//! (synchronised) the apply worker skips, for this table alone, every transaction that was committed before the LSN and
//! applies every later one (`should_apply_changes_for_rel` in `src/backend/replication/logical/worker.c`). Its own table
//! synchronisation ends by writing that row; we write it in the transaction that commits the last part of our copy,
//! through the same function, [`AddSubscriptionRelState`]. No SQL command does this.
//!
//! # In a migrated database
//!
//! Nothing of ours may stay in a migrated database, so the controller makes the function on the spot, in its session's
//! temporary schema, and calls it in the copy's transaction. The C symbol is `attach_wrapper`:
//!
//! ```sql
//! CREATE FUNCTION pg_temp.attach(oid, oid, pg_lsn) RETURNS void
//!     LANGUAGE c STRICT AS '$libdir/migrator', 'attach_wrapper';
//! SELECT pg_temp.attach(<subscription>, <relation>, '<lsn>');
//! ```
//!
//! A temporary schema is on the disk of the database until the session ends, or until `DROP FUNCTION pg_temp.attach`.

use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::ffi::{CStr, CString, c_char};

// The functions of `catalog/pg_subscription_rel.h` (PostgreSQL 18), which pgrx's bindings leave out. They raise errors by
// longjmp, so each call goes through `pg_guard_ffi_boundary`.
unsafe extern "C-unwind" {
    /// Inserts the row of a table that has none; with `retain_lock` the subscription stays locked until the transaction ends.
    fn AddSubscriptionRelState(
        subid: pg_sys::Oid,
        relid: pg_sys::Oid,
        state: c_char,
        sublsn: pg_sys::XLogRecPtr,
        retain_lock: bool,
    );
    /// Deletes the row of a table, if there is one.
    fn RemoveSubscriptionRel(subid: pg_sys::Oid, relid: pg_sys::Oid);
    /// Gives the state of a table, or NUL when it has no row, and its LSN, or 0.
    fn GetSubscriptionRelState(subid: pg_sys::Oid, relid: pg_sys::Oid, sublsn: *mut pg_sys::XLogRecPtr) -> c_char;
}

/// `SUBREL_STATE_UNKNOWN`: there is no row.
const UNKNOWN: u8 = 0;
/// `SUBREL_STATE_SYNCDONE`: synchronised up to the row's LSN, apply has not passed it yet.
const SYNCDONE: u8 = b's';
/// `SubscriptionRelationId`: the OID of the catalog `pg_subscription`.
const PG_SUBSCRIPTION: pg_sys::Oid = pg_sys::Oid::from_u32(6100);
/// `Anum_pg_subscription_subdbid`.
const SUBDBID: pg_sys::AttrNumber = 2;

/// Why a table can't be attached.
#[derive(Debug, thiserror::Error)]
enum AttachError {
    #[error("only a superuser may attach a table to a subscription")]
    NotSuperuser,
    #[error("{} is no position in a write-ahead log", Lsn(*lsn))]
    InvalidLsn { lsn: u64 },
    #[error("subscription with OID {} does not exist", subscription.to_u32())]
    NoSubscription { subscription: pg_sys::Oid },
    #[error("subscription \"{subscription}\" belongs to another database")]
    ForeignSubscription { subscription: String },
    #[error("relation with OID {} does not exist in this database", relation.to_u32())]
    NoRelation { relation: pg_sys::Oid },
    #[error("\"{relation}\" is not an ordinary table or a partition that holds rows")]
    NotATable { relation: String },
    #[error("table \"{relation}\" is already attached to subscription \"{subscription}\" as of {}", Lsn(*lsn))]
    AttachedElsewhere { relation: String, subscription: String, lsn: u64 },
    #[error("table \"{relation}\" already belongs to subscription \"{subscription}\", in state \"{state}\"")]
    AlreadyMember { relation: String, subscription: String, state: char },
    #[error("subscription \"{subscription}\" has already applied changes up to {}, which is after {}", Lsn(*applied), Lsn(*lsn))]
    StreamIsAhead { subscription: String, applied: u64, lsn: u64 },
}

impl AttachError {
    fn code(&self) -> PgSqlErrorCode {
        match self {
            Self::NotSuperuser => PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            Self::InvalidLsn { .. } => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::NoSubscription { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            Self::NoRelation { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            Self::NotATable { .. } => PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            Self::AttachedElsewhere { .. } | Self::AlreadyMember { .. } => PgSqlErrorCode::ERRCODE_DUPLICATE_OBJECT,
            Self::ForeignSubscription { .. } | Self::StreamIsAhead { .. } => {
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
            }
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotSuperuser => Some("A copy that runs as the table's owner needs RESET ROLE before the attach."),
            Self::ForeignSubscription { .. } => Some("Attach in the database that the subscription was created in."),
            Self::NotATable { .. } => Some("Attach the leaf partitions of a partitioned table, one by one."),
            Self::StreamIsAhead { .. } => Some(
                "Changes to this table in between were skipped and would be lost: copy it again from a newer snapshot, with the subscription disabled.",
            ),
            _ => None,
        }
    }
}

impl From<AttachError> for ErrorReport {
    fn from(error: AttachError) -> Self {
        let report = ErrorReport::new(error.code(), error.to_string(), "attach");
        match error.hint() {
            Some(hint) => report.set_hint(hint),
            None => report,
        }
    }
}

/// An LSN as the server writes it: `16/B374D848`.
struct Lsn(u64);

impl std::fmt::Display for Lsn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// Attaches `relation`, copied as of `lsn`, to `subscription`. The caller's transaction decides: it must be the one that
/// commits the table's rows.
///
/// Calling it again with the same LSN does nothing while the apply worker has not passed the LSN.
///
/// # Errors
///
/// Refuses what would lose changes or could not be undone: a subscription or table that does not exist in this database,
/// a table that already belongs to the subscription, a stream that has already passed `lsn`.
// `lsn` is declared as pg_lsn in SQL (sql/35_attach.sql), which is a 64-bit integer passed by value.
#[pg_extern(sql = false)]
fn attach(subscription: pg_sys::Oid, relation: pg_sys::Oid, lsn: i64) {
    if let Err(error) = attach_checked(subscription, relation, lsn.cast_unsigned()) {
        ErrorReport::from(error).report(PgLogLevel::ERROR);
    }
}

fn attach_checked(subscription: pg_sys::Oid, relation: pg_sys::Oid, lsn: u64) -> Result<(), AttachError> {
    // SAFETY: a plain catalog look-up in a transaction.
    if !unsafe { pg_sys::superuser() } {
        return Err(AttachError::NotSuperuser);
    }
    if lsn == 0 {
        return Err(AttachError::InvalidLsn { lsn });
    }
    let subscription_name = lock_subscription(subscription)?;
    let relation_name = lock_table(relation)?;

    let mut present_lsn: pg_sys::XLogRecPtr = 0;
    // SAFETY: both objects are locked, we are in a transaction, and the pointer is valid for the call.
    let state = unsafe { pg_guard_ffi_boundary(|| GetSubscriptionRelState(subscription, relation, &raw mut present_lsn)) } as u8;
    match state {
        UNKNOWN => {}
        SYNCDONE if present_lsn == lsn => return Ok(()),
        SYNCDONE => {
            return Err(AttachError::AttachedElsewhere {
                relation: relation_name,
                subscription: subscription_name,
                lsn: present_lsn,
            });
        }
        state => {
            return Err(AttachError::AlreadyMember {
                relation: relation_name,
                subscription: subscription_name,
                state: char::from(state),
            });
        }
    }
    let applied = applied_lsn(subscription);
    if applied > lsn {
        return Err(AttachError::StreamIsAhead { subscription: subscription_name, applied, lsn });
    }
    // The subscription stays locked to the end of the transaction, so that it can't be dropped or enabled before the rows
    // are committed that this row speaks of.
    // SAFETY: both objects are locked, the row does not exist, and we are in a transaction.
    unsafe { pg_guard_ffi_boundary(|| AddSubscriptionRelState(subscription, relation, SYNCDONE as c_char, lsn, true)) };
    Ok(())
}

/// Detaches `relation` from `subscription`, so that it can be copied anew and attached as of a later position. While it
/// is detached the stream skips its changes. Does nothing for a table that is not attached.
///
/// # Errors
///
/// As [`attach`]: a subscription or table that does not exist in this database.
#[pg_extern(sql = false)]
fn detach(subscription: pg_sys::Oid, relation: pg_sys::Oid) {
    if let Err(error) = detach_checked(subscription, relation) {
        ErrorReport::from(error).report(PgLogLevel::ERROR);
    }
}

fn detach_checked(subscription: pg_sys::Oid, relation: pg_sys::Oid) -> Result<(), AttachError> {
    // SAFETY: a plain catalog look-up in a transaction.
    if !unsafe { pg_sys::superuser() } {
        return Err(AttachError::NotSuperuser);
    }
    lock_subscription(subscription)?;
    lock_table(relation)?;
    // SAFETY: both objects are locked and valid, and we are in a transaction.
    unsafe { pg_guard_ffi_boundary(|| RemoveSubscriptionRel(subscription, relation)) };
    Ok(())
}

/// Locks the subscription against being dropped or altered, and gives its name.
fn lock_subscription(subscription: pg_sys::Oid) -> Result<String, AttachError> {
    // SAFETY: we are in a transaction, the tuple is released after its last use, and the attribute is the fixed-width,
    // NOT NULL column of catalog/pg_subscription.h.
    let database = unsafe {
        pg_sys::LockSharedObject(PG_SUBSCRIPTION, subscription, 0, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
        let cache = pg_sys::SysCacheIdentifier::SUBSCRIPTIONOID as i32;
        let tuple = pg_sys::SearchSysCache1(cache, subscription.into());
        if tuple.is_null() {
            return Err(AttachError::NoSubscription { subscription });
        }
        let database = pg_sys::SysCacheGetAttrNotNull(cache, tuple, SUBDBID);
        pg_sys::ReleaseSysCache(tuple);
        pg_sys::Oid::from_datum(database, false)
    };
    // SAFETY: the name is palloc'ed by the server; a null pointer means that the row is gone, which the lock rules out.
    let name = unsafe { text(pg_sys::get_subscription_name(subscription, true)) };
    // SAFETY: a variable of the server that is set once at the session's start.
    if database == Some(unsafe { pg_sys::MyDatabaseId }) {
        Ok(name)
    } else {
        Err(AttachError::ForeignSubscription { subscription: name })
    }
}

/// Locks the table against being dropped until the transaction ends, and gives its qualified name.
fn lock_table(relation: pg_sys::Oid) -> Result<String, AttachError> {
    // SAFETY: we are in a transaction; the pointer is checked, and not used after the close, which keeps the lock.
    let (name, kind) = unsafe {
        let open = pg_sys::try_relation_open(relation, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
        if open.is_null() {
            return Err(AttachError::NoRelation { relation });
        }
        let class = (*open).rd_rel;
        let schema = text(pg_sys::get_namespace_name((*class).relnamespace));
        let name = format!("{schema}.{}", CStr::from_ptr((*class).relname.data.as_ptr()).to_string_lossy());
        let kind = (*class).relkind;
        pg_sys::relation_close(open, pg_sys::NoLock as pg_sys::LOCKMODE);
        (name, kind as u8)
    };
    if kind == pg_sys::RELKIND_RELATION { Ok(name) } else { Err(AttachError::NotATable { relation: name }) }
}

/// How far the subscription has applied the source's changes; 0 before its first.
fn applied_lsn(subscription: pg_sys::Oid) -> u64 {
    // The server's own name for it, as ReplicationOriginNameForLogicalRep makes it.
    let Ok(origin) = CString::new(format!("pg_{}", subscription.to_u32())) else { return 0 };
    // SAFETY: we are in a transaction; the string lives through the call; 0 is InvalidRepOriginId.
    unsafe {
        match pg_sys::replorigin_by_name(origin.as_ptr(), true) {
            0 => 0,
            node => pg_sys::replorigin_get_progress(node, false),
        }
    }
}

/// Copies a string of the server.
///
/// # Safety
///
/// The pointer must be null or point to a C string.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::from("?");
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}
