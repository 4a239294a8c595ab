//! One file pair a class. The order of [`CLASSES`] is the order of statements where dependencies leave it open.

pub mod aggregate;
pub mod cast;
pub mod check;
pub mod collation;
pub mod column;
pub mod composite;
pub mod constraint;
pub mod default_acl;
pub mod domain;
pub mod r#enum;
pub mod extension;
pub mod function;
pub mod index;
pub mod materialized_view;
pub mod operator;
pub mod policy;
pub mod range;
pub mod rule;
pub mod schema;
pub mod sequence;
pub mod statistics;
pub mod table;
pub mod trigger;
pub mod view;

use super::Class;

/// Every class that is carried over. Columns and tables are read before what belongs to them.
pub const CLASSES: &[Class] = &[
    schema::CLASS,
    extension::CLASS,
    collation::CLASS,
    r#enum::CLASS,
    domain::CLASS,
    composite::CLASS,
    range::CLASS,
    function::CLASS,
    aggregate::CLASS,
    operator::CLASS,
    cast::CLASS,
    sequence::CLASS,
    column::CLASS,
    table::CLASS,
    check::CLASS,
    view::CLASS,
    materialized_view::CLASS,
    index::CLASS,
    constraint::CLASS,
    statistics::CLASS,
    rule::CLASS,
    trigger::CLASS,
    policy::CLASS,
    default_acl::CLASS,
];
