//! One file pair a class. The order of [`CLASSES`] is the order of statements where dependencies leave it open.

pub mod check;
pub mod column;
pub mod constraint;
pub mod r#enum;
pub mod extension;
pub mod function;
pub mod index;
pub mod materialized_view;
pub mod schema;
pub mod sequence;
pub mod table;
pub mod trigger;
pub mod view;

use super::Class;

/// Every class that is carried over.
pub const CLASSES: &[Class] = &[
    schema::CLASS,
    extension::CLASS,
    r#enum::CLASS,
    function::CLASS,
    sequence::CLASS,
    column::CLASS,
    table::CLASS,
    check::CLASS,
    view::CLASS,
    materialized_view::CLASS,
    index::CLASS,
    constraint::CLASS,
    trigger::CLASS,
];
