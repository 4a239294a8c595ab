//! Loading rows with a table owner's rights, and no way back to ours.
//!
//! `SET ROLE` is no barrier: what a table runs while rows are loaded into it (functions in check constraints, domains and
//! generated columns) may say `RESET ROLE`, and would then act as the superuser whose session it is. The server's own
//! apply worker therefore switches to the owner inside a security-restricted operation, in which `SET ROLE`,
//! `SET SESSION AUTHORIZATION` and their like are refused (`SwitchToUntrustedUser` in
//! `src/backend/utils/init/usercontext.c`). These two functions give a session the same, for the rest of a transaction.
//!
//! The way back needs the token that the way in was given: the owner's code runs in the same session and may call what we
//! may call, but does not know it. An aborted transaction restores the user by itself.
//!
//! As with attach, the controller makes them on the spot in its temporary schema:
//!
//! ```sql
//! CREATE FUNCTION pg_temp.enter_owner(oid, text) RETURNS void LANGUAGE c STRICT AS '$libdir/migrator', 'enter_owner_wrapper';
//! CREATE FUNCTION pg_temp.leave_owner(text) RETURNS void LANGUAGE c STRICT AS '$libdir/migrator', 'leave_owner_wrapper';
//! ```

use std::cell::RefCell;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// Who the session was before it became the owner.
struct Origin {
    user: pg_sys::Oid,
    context: i32,
    token: String,
    /// The transaction it holds for: one that was aborted has restored the user already.
    transaction: pg_sys::FullTransactionId,
}

thread_local! {
    /// A backend has one thread, and one transaction at a time.
    static ORIGIN: RefCell<Option<Origin>> = const { RefCell::new(None) };
}

fn refuse(code: PgSqlErrorCode, message: &str) {
    ErrorReport::new(code, message.to_owned(), "untrusted").report(PgLogLevel::ERROR);
}

/// Becomes `owner`, restricted, until [`leave_owner`] or the end of the transaction's failure. `token` must be hard to guess.
///
/// # Errors
///
/// Only a superuser may, only for a role that exists, and not while it is in force already.
#[pg_extern(sql = false)]
fn enter_owner(owner: pg_sys::Oid, token: &str) {
    // SAFETY: plain look-ups in a transaction.
    let (superuser, exists, transaction) = unsafe {
        let name = pg_sys::GetUserNameFromId(owner, true);
        (pg_sys::superuser(), !name.is_null(), pg_sys::GetTopFullTransactionId())
    };
    if !superuser {
        refuse(PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE, "only a superuser may become a table's owner");
    }
    if !exists {
        refuse(PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT, "the role to become does not exist");
    }
    if token.len() < 16 {
        refuse(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, "the token is too short");
    }
    let mut user = pg_sys::Oid::INVALID;
    let mut context = 0;
    // SAFETY: the pointers are valid for the call.
    unsafe { pg_sys::GetUserIdAndSecContext(&raw mut user, &raw mut context) };
    ORIGIN.set(Some(Origin { user, context, token: token.to_owned(), transaction }));
    let restricted = context | pg_sys::SECURITY_RESTRICTED_OPERATION as i32 | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32;
    // SAFETY: the role exists; the transaction's end restores the user if nobody else does, and a commit is preceded by leave_owner.
    unsafe { pg_sys::SetUserIdAndSecContext(owner, restricted) };
}

/// Becomes again who called [`enter_owner`] with this token in this transaction.
///
/// # Errors
///
/// Refused without the right token.
#[pg_extern(sql = false)]
fn leave_owner(token: &str) {
    // SAFETY: a plain look-up in a transaction.
    let transaction = unsafe { pg_sys::GetTopFullTransactionId() };
    let origin = ORIGIN.with_borrow(|origin| {
        origin.as_ref().filter(|o| o.token == token && o.transaction.value == transaction.value).map(|o| (o.user, o.context))
    });
    match origin {
        Some((user, context)) => {
            ORIGIN.set(None);
            // SAFETY: both values are what the server gave us in this transaction.
            unsafe { pg_sys::SetUserIdAndSecContext(user, context) };
        }
        None => refuse(PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE, "there is no way back without the token"),
    }
}
