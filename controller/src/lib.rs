//! The controller of pg-migrator.

pub mod finding;
pub mod object;
pub mod plan;
pub mod postgres;
