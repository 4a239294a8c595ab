//! What people see. In: what the reconcilers of the databases know, on a [`board`]. Out: the rows of the control
//! database's projection, written by [`projection`] alone; [`readiness`] decides when a switch is safe.

pub mod board;
pub mod drift;
pub mod failing;
pub mod lag;
pub mod projection;
pub mod readiness;
pub mod wal_guard;
