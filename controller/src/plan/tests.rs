//! Promises of the graph, the repairs and the order, on small made-up catalogs.

use super::draft::{Context, Draft, Part};
use super::{ObjectName, Options, Plan, Section, plan};
use crate::object::class::column::Column;
use crate::object::{Catalog, CatalogTable, Definition, Edge, EdgeKind, Face, Object, ObjectId};
use crate::postgres::ServerVersion;

/// An object whose statements the test gives.
struct Fake(fn(&Object, &Context<'_>, &mut Vec<Draft>));

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fake")
    }
}

impl Definition for Fake {
    fn statements(&self, object: &Object, context: &Context<'_>, drafts: &mut Vec<Draft>) {
        (self.0)(object, context, drafts);
    }
}

fn plain(object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
    drafts.push(Draft::create(object, Section::BeforeData, object.name.name.clone()));
}

fn late(object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
    drafts.push(Draft::create(object, Section::AfterData, object.name.name.clone()));
}

/// As a view does: its columns first if it needs a shell.
fn view(object: &Object, context: &Context<'_>, drafts: &mut Vec<Draft>) {
    let whole = Draft::create(object, Section::BeforeData, object.name.name.clone());
    if context.repairs.shells.contains(&object.id) {
        drafts.push(Draft::create(object, Section::BeforeData, format!("shell of {}", object.name.name)));
        drafts.push(whole.identity(rule(object.id)).needs(object.id, Part::Create));
    } else {
        drafts.push(whole);
    }
}

/// As a table does: its default apart if it must be.
fn table(object: &Object, context: &Context<'_>, drafts: &mut Vec<Draft>) {
    plain(object, context, drafts);
    let default = default_of(object.id);
    if context.repairs.apart.contains(&default) {
        let sql = format!("default of {}", object.name.name);
        drafts.push(Draft::create(object, Section::BeforeData, sql).identity(default).needs(object.id, Part::Create));
    }
}

fn filled(object: &Object, context: &Context<'_>, drafts: &mut Vec<Draft>) {
    plain(object, context, drafts);
    let sql = format!("fill {}", object.name.name);
    drafts.push(Draft::about(object, Part::Fill, sql).section(Section::AfterStreaming));
}

/// The entry of the rule that holds a view's query.
fn rule(view: ObjectId) -> ObjectId {
    ObjectId::new(CatalogTable::REWRITE, view.oid + 1000)
}

/// The entry of a table's default.
fn default_of(table: ObjectId) -> ObjectId {
    ObjectId::new(CatalogTable::ATTRDEF, table.oid + 1000)
}

fn add(
    catalog: &mut Catalog,
    class: &'static str,
    oid: u32,
    name: &str,
    statements: fn(&Object, &Context<'_>, &mut Vec<Draft>),
) -> ObjectId {
    let id = match class {
        "function" => ObjectId::new(CatalogTable::PROC, oid),
        "constraint" => ObjectId::new(CatalogTable::CONSTRAINT, oid),
        "base_type" => ObjectId::new(CatalogTable::TYPE, oid),
        "schema" => ObjectId::new(CatalogTable::NAMESPACE, oid),
        _ => ObjectId::class(oid),
    };
    match class {
        "view" => drop(catalog.aliases.insert(rule(id), id)),
        "table" => drop(catalog.aliases.insert(default_of(id), id)),
        _ => {}
    }
    catalog.push(Object {
        id,
        parent: None,
        name: ObjectName { class, schema: "s".into(), parent: String::new(), name: name.into() }.into(),
        face: Face::new("TABLE", name.into()),
        owner: None,
        table: None,
        definition: Box::new(Fake(statements)),
    });
    id
}

fn depends(catalog: &mut Catalog, from: ObjectId, to: ObjectId, kind: EdgeKind) {
    catalog.edges.push(Edge { from, to, kind });
}

fn empty() -> Catalog {
    Catalog::new(ServerVersion(150_000))
}

fn sql(plan: &Plan) -> Vec<&str> {
    plan.statements.iter().map(|statement| statement.sql.as_str()).collect()
}

#[test]
fn what_is_needed_comes_first_and_the_rest_by_class_and_name() {
    let mut catalog = empty();
    let b = add(&mut catalog, "table", 1, "b", plain);
    let z = add(&mut catalog, "function", 2, "z", plain);
    add(&mut catalog, "function", 3, "a", plain);
    let t = add(&mut catalog, "table", 4, "a_table", plain);
    depends(&mut catalog, z, b, EdgeKind::Normal);
    depends(&mut catalog, t, z, EdgeKind::Normal);
    assert_eq!(sql(&plan(&catalog, &Options::default())), ["a", "b", "z", "a_table"]);
}

#[test]
fn row_types_pass_dependencies_on() {
    let mut catalog = empty();
    let table = add(&mut catalog, "table", 1, "t", plain);
    let function = add(&mut catalog, "function", 2, "f", plain);
    let (row, array) = (ObjectId::new(CatalogTable::TYPE, 10), ObjectId::new(CatalogTable::TYPE, 11));
    depends(&mut catalog, row, table, EdgeKind::Internal);
    depends(&mut catalog, array, row, EdgeKind::Internal);
    depends(&mut catalog, function, array, EdgeKind::Normal);
    assert_eq!(sql(&plan(&catalog, &Options::default())), ["t", "f"]);
}

#[test]
fn members_of_an_extension_stand_for_it_even_where_they_depend_on_each_other() {
    let mut catalog = empty();
    let extension = add(&mut catalog, "extension", 1, "zz", plain);
    let (data_type, input) = (ObjectId::new(CatalogTable::TYPE, 10), ObjectId::new(CatalogTable::PROC, 11));
    let table = add(&mut catalog, "table", 2, "t", plain);
    catalog.set_edges(vec![
        Edge { from: data_type, to: extension, kind: EdgeKind::Extension },
        Edge { from: input, to: extension, kind: EdgeKind::Extension },
        Edge { from: data_type, to: input, kind: EdgeKind::Normal },
        Edge { from: input, to: data_type, kind: EdgeKind::Normal },
        Edge { from: table, to: data_type, kind: EdgeKind::Normal },
    ]);
    let plan = plan(&catalog, &Options::default());
    assert_eq!(sql(&plan), ["zz", "t"]);
    assert!(plan.findings.is_empty());
}

#[test]
fn a_sequence_owned_by_a_column_whose_default_needs_it_is_no_loop() {
    let mut catalog = empty();
    let sequence = add(&mut catalog, "sequence", 1, "seq", plain);
    let table = add(&mut catalog, "table", 2, "t", table);
    depends(&mut catalog, sequence, table, EdgeKind::Auto);
    depends(&mut catalog, default_of(table), sequence, EdgeKind::Normal);
    assert_eq!(sql(&plan(&catalog, &Options::default())), ["seq", "t"]);
}

fn column(default_oid: u32, generated: bool) -> Column {
    Column {
        number: 1,
        name: "c".into(),
        data_type: "integer".into(),
        collation: None,
        not_null: false,
        is_local: true,
        is_inherited: false,
        identity: None,
        generated,
        storage: None,
        compression: None,
        statistics: None,
        options: Vec::new(),
        foreign_options: Vec::new(),
        default_oid: Some(default_oid),
        default: Some("1".into()),
    }
}

fn default_loop(generated: bool) -> Catalog {
    let mut catalog = empty();
    let table = add(&mut catalog, "table", 1, "t", table);
    let function = add(&mut catalog, "function", 2, "f", plain);
    catalog.columns.insert(1, vec![column(default_of(table).oid, generated)]);
    depends(&mut catalog, function, table, EdgeKind::Normal);
    depends(&mut catalog, default_of(table), function, EdgeKind::Normal);
    depends(&mut catalog, default_of(table), table, EdgeKind::Auto);
    catalog
}

/// As a base type does: its name first if it needs a shell.
fn base_type(object: &Object, context: &Context<'_>, drafts: &mut Vec<Draft>) {
    let whole = Draft::create(object, Section::BeforeData, object.name.name.clone());
    if context.repairs.shells.contains(&object.id) {
        let shell = ObjectId::new(CatalogTable::TYPE_SHELL, object.id.oid);
        drafts.push(Draft::create(object, Section::BeforeData, format!("shell of {}", object.name.name)).identity(shell));
        drafts.push(whole.needs(shell, Part::Create));
    } else {
        drafts.push(whole);
    }
}

#[test]
fn a_type_gets_a_shell_for_its_own_functions_and_for_no_others() {
    let mut catalog = empty();
    let data_type = add(&mut catalog, "base_type", 1, "t", base_type);
    let schema = add(&mut catalog, "schema", 5, "z", plain);
    let input = add(&mut catalog, "function", 2, "input", plain);
    let uses = add(&mut catalog, "function", 3, "a_user", plain);
    depends(&mut catalog, data_type, schema, EdgeKind::Normal);
    depends(&mut catalog, input, schema, EdgeKind::Normal);
    depends(&mut catalog, data_type, input, EdgeKind::Normal);
    depends(&mut catalog, input, data_type, EdgeKind::Normal);
    depends(&mut catalog, uses, data_type, EdgeKind::Normal);
    let plan = plan(&catalog, &Options::default());
    assert_eq!(sql(&plan), ["z", "shell of t", "input", "t", "a_user"]);
    assert!(plan.findings.is_empty());
}

#[test]
fn a_default_whose_function_needs_the_table_is_set_afterwards() {
    let plan = plan(&default_loop(false), &Options::default());
    assert_eq!(sql(&plan), ["t", "f", "default of t"]);
    assert!(plan.findings.is_empty());
}

#[test]
fn a_loop_without_a_repair_is_cut_and_told_and_loses_nothing() {
    let plan = plan(&default_loop(true), &Options::default());
    assert_eq!(plan.statements.len(), 2);
    assert_eq!(plan.findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["dependency_loop"]);
}

#[test]
fn a_view_that_needs_a_key_gets_a_shell_and_views_on_it_stay_whole() {
    let mut catalog = empty();
    let key = add(&mut catalog, "constraint", 1, "key", late);
    let below = add(&mut catalog, "view", 2, "below", view);
    let above = add(&mut catalog, "view", 3, "above", view);
    depends(&mut catalog, rule(below), key, EdgeKind::Normal);
    depends(&mut catalog, rule(below), below, EdgeKind::Internal);
    depends(&mut catalog, rule(above), below, EdgeKind::Normal);
    depends(&mut catalog, rule(above), above, EdgeKind::Internal);
    let plan = plan(&catalog, &Options::default());
    assert_eq!(sql(&plan), ["shell of below", "above", "key", "below"]);
    assert_eq!(plan.statements[3].section, Section::AfterData);
    assert_eq!(*plan.statements[3].after, [0, 2]);
}

#[test]
fn a_view_and_a_function_on_each_other_are_opened_with_a_shell() {
    let mut catalog = empty();
    let v = add(&mut catalog, "view", 1, "v", view);
    let f = add(&mut catalog, "function", 2, "f", plain);
    depends(&mut catalog, rule(v), f, EdgeKind::Normal);
    depends(&mut catalog, rule(v), v, EdgeKind::Internal);
    depends(&mut catalog, f, v, EdgeKind::Normal);
    assert_eq!(sql(&plan(&catalog, &Options::default())), ["shell of v", "f", "v"]);
}

#[test]
fn materialized_views_are_filled_after_those_they_read_through_views() {
    let mut catalog = empty();
    let first = add(&mut catalog, "materialized_view", 1, "z_first", filled);
    let between = add(&mut catalog, "view", 2, "between", view);
    let second = add(&mut catalog, "materialized_view", 3, "a_second", filled);
    depends(&mut catalog, rule(between), first, EdgeKind::Normal);
    depends(&mut catalog, second, between, EdgeKind::Normal);
    let plan = plan(&catalog, &Options::default());
    assert_eq!(sql(&plan)[3..], ["fill z_first", "fill a_second"]);
    assert_eq!(*plan.statements[4].after, [2, 3]);
}

#[test]
fn the_parts_of_an_index_do_not_wait_for_the_whole() {
    let mut catalog = empty();
    let whole = add(&mut catalog, "index", 1, "a_whole", late);
    let part = add(&mut catalog, "index", 2, "part", late);
    depends(&mut catalog, part, whole, EdgeKind::Partition);
    let plan = plan(&catalog, &Options::default());
    assert!(plan.statements.iter().all(|statement| statement.after.is_empty()));
}

#[test]
fn a_long_chain_of_views_does_not_exhaust_the_stack() {
    let mut catalog = empty();
    let ids: Vec<_> = (1..5000).map(|oid| add(&mut catalog, "view", oid, &format!("v{oid}"), view)).collect();
    for pair in ids.windows(2) {
        catalog.edges.push(Edge { from: ObjectId::class(pair[0].oid), to: pair[1], kind: EdgeKind::Normal });
    }
    // The last one uses the first one's function: one loop through all of them.
    let f = add(&mut catalog, "function", 9000, "f", plain);
    depends(&mut catalog, f, ids[0], EdgeKind::Normal);
    depends(&mut catalog, rule(ids[ids.len() - 1]), f, EdgeKind::Normal);
    let plan = plan(&catalog, &Options::default());
    assert!(plan.findings.is_empty());
    assert!(plan.statements.len() >= 5000);
}
