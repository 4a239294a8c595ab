//! The controller of pg-migrator.

pub mod beside;
pub mod cleanup;
pub mod cli;
pub mod config;
pub mod copy;
pub mod cutover;
pub mod finding;
pub mod gentle;
pub mod ledger;
pub mod monitor;
pub mod object;
pub mod plan;
pub mod postgres;
pub mod preflight;
pub mod provision;
pub mod reconcile;
pub mod stream;
pub mod verify;
