//! One file pair a class. The order of [`CLASSES`] is the order of statements where dependencies leave it open.

pub mod access_method;
pub mod aggregate;
pub mod base_type;
pub mod cast;
pub mod check;
pub mod collation;
pub mod column;
pub mod composite;
pub mod constraint;
pub mod conversion;
pub mod default_acl;
pub mod domain;
pub mod r#enum;
pub mod event_trigger;
pub mod extension;
pub mod foreign_data_wrapper;
pub mod foreign_server;
pub mod foreign_table;
pub mod function;
pub mod index;
pub mod language;
pub mod large_object;
pub mod materialized_view;
pub mod operator;
pub mod operator_class;
pub mod operator_family;
pub mod policy;
pub mod publication;
pub mod range;
pub mod rule;
pub mod schema;
pub mod sequence;
pub mod statistics;
pub mod subscription;
pub mod table;
pub mod text_search_configuration;
pub mod text_search_dictionary;
pub mod text_search_parser;
pub mod text_search_template;
pub mod transform;
pub mod trigger;
pub mod user_mapping;
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
    base_type::CLASS,
    function::CLASS,
    aggregate::CLASS,
    language::CLASS,
    transform::CLASS,
    operator::CLASS,
    operator_family::CLASS,
    operator_class::CLASS,
    access_method::CLASS,
    cast::CLASS,
    conversion::CLASS,
    text_search_parser::CLASS,
    text_search_template::CLASS,
    text_search_dictionary::CLASS,
    text_search_configuration::CLASS,
    foreign_data_wrapper::CLASS,
    foreign_server::CLASS,
    user_mapping::CLASS,
    sequence::CLASS,
    column::CLASS,
    table::CLASS,
    foreign_table::CLASS,
    check::CLASS,
    view::CLASS,
    materialized_view::CLASS,
    index::CLASS,
    constraint::CLASS,
    statistics::CLASS,
    rule::CLASS,
    trigger::CLASS,
    policy::CLASS,
    large_object::CLASS,
    event_trigger::CLASS,
    subscription::CLASS,
    publication::CLASS,
    default_acl::CLASS,
];
