//! The controller of pg-migrator.

pub mod config;
pub mod finding;
pub mod object;
pub mod plan;
pub mod postgres;
pub mod provision;
