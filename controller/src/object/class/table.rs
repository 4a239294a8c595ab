//! Tables: ordinary, inheriting, typed, partitioned, partitions.
//!
//! A partition is made as a table of its own and attached afterwards, so that its columns keep the source's order.

use std::fmt::Write as _;
use std::sync::Arc;

use tokio_postgres::Row;

use super::column::{Column, options_list};
use super::foreign_data_wrapper::Options;
use crate::finding::{Code, Finding, Severity};
use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft, Part};
use crate::plan::{ObjectName, ReplicaIdentity, Section};
use crate::postgres::quote::{ident, literal, qualified};

/// The class.
pub const CLASS: Class = Class {
    name: "table",
    query: include_str!("table.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Owner, Beyond::Comment, Beyond::Label, Beyond::Privileges],
        states: "replica identity, row security (forced at the cutover), attached as a partition",
        fixtures: &[
            "table",
            "table_12",
            "table_14",
            "partition",
            "partition_11",
            "partition_12",
            "partition_17",
            "acl",
            "acl_17",
        ],
    },
};

/// A table that this one takes columns from, or is a partition of.
#[derive(Debug)]
pub(super) struct Parent {
    id: ObjectId,
    /// Qualified and quoted.
    name: String,
}

/// What makes a foreign table of a table.
#[derive(Debug)]
pub(super) struct Foreign {
    /// Quoted.
    pub server: String,
    pub server_id: ObjectId,
    pub options: Options,
}

/// A table.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // as in pg_class
pub struct Table {
    /// Its rows are in its partitions.
    pub is_partitioned: bool,
    schema: String,
    unlogged: bool,
    partition_key: Option<String>,
    /// The bound, for a partition.
    bound: Option<String>,
    parents: Vec<Parent>,
    of_type: Option<String>,
    options: Vec<String>,
    toast_options: Vec<String>,
    replica_identity: ReplicaIdentity,
    row_security: bool,
    force_row_security: bool,
    access_method: Option<String>,
    foreign: Option<Foreign>,
}

/// Reads a query's columns about the tables that a table inherits from.
pub(super) fn parents(row: &Row) -> Result<Vec<Parent>, tokio_postgres::Error> {
    let oids: Vec<u32> = row.try_get::<_, Option<_>>("parent_oids")?.unwrap_or_default();
    let schemas: Vec<String> = row.try_get::<_, Option<_>>("parent_schemas")?.unwrap_or_default();
    let names: Vec<String> = row.try_get::<_, Option<_>>("parent_names")?.unwrap_or_default();
    let parents = oids.into_iter().zip(schemas.iter().zip(&names));
    Ok(parents.map(|(oid, (schema, name))| Parent { id: ObjectId::class(oid), name: qualified(schema, name) }).collect())
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let id = ObjectId::class(row.try_get("oid")?);
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    let parents = parents(row)?;
    let replica_identity = match (row.try_get("replica_identity")?, row.try_get("replica_index")?) {
        ("f", _) => ReplicaIdentity::Full,
        ("i", Some(index)) => ReplicaIdentity::Index(index),
        // An index that was dropped leaves nothing to identify rows by.
        ("n" | "i", _) => ReplicaIdentity::Nothing,
        _ => ReplicaIdentity::Default,
    };
    let is_partitioned = row.try_get("is_partitioned")?;
    let table = Table {
        is_partitioned,
        schema: schema.clone(),
        unlogged: row.try_get("unlogged")?,
        partition_key: row.try_get("partition_key")?,
        bound: row.try_get("bound")?,
        parents,
        of_type: row.try_get("of_type")?,
        options: row.try_get::<_, Option<_>>("options")?.unwrap_or_default(),
        toast_options: row.try_get::<_, Option<_>>("toast_options")?.unwrap_or_default(),
        replica_identity,
        row_security: row.try_get("row_security")?,
        force_row_security: row.try_get("force_row_security")?,
        access_method: row.try_get("access_method")?,
        foreign: None,
    };
    let with_oids: bool = row.try_get("with_oids")?;
    let has_own =
        |column: &&Column| column.identity.is_some() && catalog.identities.contains_key(&(id.oid, i32::from(column.number)));
    let own_identity = catalog.columns_of(id.oid).iter().find(has_own).filter(|_| table.bound.is_some());
    let own_identity = own_identity.map(|column| column.name.clone());
    let unlogged_root = table.unlogged && is_partitioned;
    let name = Arc::new(ObjectName { class: CLASS.name, schema: schema.clone(), parent: String::new(), name });
    let object = Object {
        id,
        parent: None,
        face: Face::new("TABLE", qualified(&schema, &name.name)),
        name: name.clone(),
        owner: Some(row.try_get("owner")?),
        table: (!is_partitioned).then_some(id.oid),
        definition: Box::new(table),
    };
    if let Some(column) = own_identity {
        catalog.findings.push(Finding {
            severity: Severity::Warning,
            database: String::new(),
            code: Code::PartitionIdentity,
            object: name.to_string(),
            reason: format!("column {} of this partition has a sequence of its own as an identity, which 17 and later refuse", ident(&column)),
            fix: "the column is made without it; if rows are inserted into the partition itself, make the partitioned table's column an identity"
                .to_owned(),
            statement: None,
        });
    }
    if catalog.push(object) {
        catalog.tables.insert(id.oid, is_partitioned);
        if unlogged_root {
            catalog.findings.push(Finding {
                severity: Severity::Info,
                database: String::new(),
                code: Code::UnloggedPartitioned,
                object: name.to_string(),
                reason: "the partitioned table is marked as unlogged, which meant nothing before version 18 and is refused by it"
                    .to_owned(),
                fix: "nothing: it is made without the mark, and its partitions are unlogged where they are on the source"
                    .to_owned(),
                statement: None,
            });
        }
        if with_oids {
            catalog.findings.push(Finding {
                severity: Severity::Warning,
                database: String::new(),
                code: Code::WithOids,
                object: name.to_string(),
                reason: "the table was made WITH OIDS; its hidden column oid does not exist from version 12 on".to_owned(),
                fix: "if anything reads that column, copy it to an ordinary column on the source first".to_owned(),
                statement: None,
            });
        }
    }
    Ok(())
}

impl Definition for Table {
    fn statements(&self, object: &Object, context: &Context<'_>, drafts: &mut Vec<Draft>) {
        let mut create = self.create(object, context);
        if let Some(foreign) = &self.foreign {
            create = create.needs(foreign.server_id, Part::Create);
        }
        for parent in &self.parents {
            create = create.needs(parent.id, Part::Create);
        }
        drafts.push(create);
        self.defaults_apart(object, context, drafts);
        for column in context.catalog.columns_of(object.id.oid) {
            self.column_settings(object, column, drafts);
        }
        if let (Some(bound), Some(parent)) = (&self.bound, self.parents.first()) {
            let sql = format!("ALTER TABLE ONLY {} ATTACH PARTITION {} {bound}", parent.name, object.face.target);
            // An attached partition takes over what its parent has by then, and must have the parent's checks itself.
            let mut attach = Draft::about(object, Part::Attach, sql).needs(parent.id, Part::Create);
            for check in context.catalog.checks.get(&object.id).map_or(&[][..], Vec::as_slice) {
                if check.validated {
                    attach = attach.needs(check.id, Part::Create);
                }
            }
            drafts.push(attach);
        }
        self.replica_identity(object, context, drafts);
        self.row_security(object, drafts);
    }
}

impl Table {
    /// A foreign table: what ordinary tables have and these can't have is left at its default.
    pub(super) fn foreign(schema: String, bound: Option<String>, parents: Vec<Parent>, foreign: Foreign) -> Self {
        Self {
            is_partitioned: false,
            schema,
            unlogged: false,
            partition_key: None,
            bound,
            parents,
            of_type: None,
            options: Vec::new(),
            toast_options: Vec::new(),
            replica_identity: ReplicaIdentity::Default,
            row_security: false,
            force_row_security: false,
            access_method: None,
            foreign: Some(foreign),
        }
    }

    fn create(&self, object: &Object, context: &Context<'_>) -> Draft {
        let is_partition = self.bound.is_some();
        let mut items = Vec::new();
        for column in context.catalog.columns_of(object.id.oid) {
            if column.is_local || is_partition {
                items.extend(self.column(object, column, context));
            } else if self.inherited(column, context).any(|inherited| column.generated && inherited.default != column.default)
                || self.parents_disagree(column, context)
            {
                // Another expression than a parent's can only be said here, and which of several defaults it is must be said here.
                items.extend(self.column(object, column, context));
            }
        }
        for check in context.catalog.checks.get(&object.id).map_or(&[][..], Vec::as_slice) {
            if check.is_inline(context) {
                items.push(format!("CONSTRAINT {} {}", ident(&check.name), check.definition));
            }
        }
        // Unlogged partitioned tables meant nothing before 18 and are refused from 18 on; their partitions keep the property.
        let unlogged = if self.unlogged && !self.is_partitioned { "UNLOGGED " } else { "" };
        let mut sql = format!("CREATE {unlogged}{}", object.face);
        if let Some(of_type) = &self.of_type {
            let _ = write!(sql, " OF {of_type}");
        }
        if self.of_type.is_none() || !items.is_empty() {
            let _ = write!(sql, " (\n    {}\n)", items.join(",\n    "));
            if items.is_empty() {
                sql.truncate(sql.len() - "(\n    \n)".len());
                sql.push_str("()");
            }
        }
        if !is_partition && !self.parents.is_empty() {
            let parents: Vec<&str> = self.parents.iter().map(|parent| parent.name.as_str()).collect();
            let _ = write!(sql, "\nINHERITS ({})", parents.join(", "));
        }
        if let Some(key) = &self.partition_key {
            let _ = write!(sql, "\nPARTITION BY {key}");
        }
        if let Some(method) = &self.access_method {
            let _ = write!(sql, "\nUSING {}", ident(method));
        }
        let options = self.options.iter().map(|option| ("", option.as_str()));
        let options = options_list(options.chain(self.toast_options.iter().map(|option| ("toast", option.as_str()))));
        if !options.is_empty() {
            let _ = write!(sql, "\nWITH ({options})");
        }
        let Some(foreign) = &self.foreign else { return Draft::create(object, Section::BeforeData, sql) };
        let _ = write!(sql, "\nSERVER {}", foreign.server);
        foreign.options.after(Draft::create(object, Section::BeforeData, sql))
    }

    /// A column's entry in `CREATE TABLE`; a typed table names only columns that have something of their own.
    fn column(&self, object: &Object, column: &Column, context: &Context<'_>) -> Option<String> {
        let mut rest = String::new();
        if let Some(default) = inline_default(column, context) {
            let _ = if column.generated {
                write!(rest, " GENERATED ALWAYS AS ({default}) STORED")
            } else {
                write!(rest, " DEFAULT {default}")
            };
        } else if column.identity.is_none() && self.bound.is_none() && self.inherited_default(column, context).is_some() {
            // Said or not, the parent's would be taken over.
            rest.push_str(" DEFAULT NULL");
        }
        let identity = context.catalog.identities.get(&(object.id.oid, i32::from(column.number)));
        if let (Some(kind), Some(sequence), None) = (column.identity, identity, &self.bound) {
            let _ = write!(rest, " GENERATED {kind} AS IDENTITY ({})", sequence.options);
        }
        // What a parent refuses, this table refuses without saying so.
        if column.not_null && (self.bound.is_some() || !self.inherited_not_null(column, context)) {
            rest.push_str(" NOT NULL");
        }
        if self.of_type.is_some() {
            return (!rest.is_empty()).then(|| format!("{} WITH OPTIONS{rest}", ident(&column.name)));
        }
        // COMPRESSION comes before everything but the type in the grammar, COLLATE after it.
        let compression = column.compression.map(|method| format!(" COMPRESSION {method}")).unwrap_or_default();
        let collation = column.collation.as_ref().map(|name| format!(" COLLATE {name}")).unwrap_or_default();
        let foreign = Options::new(&column.foreign_options, |_| false).shown;
        Some(format!("{} {}{compression}{foreign}{collation}{rest}", ident(&column.name), column.data_type))
    }

    /// The columns of the parents that are merged into this one.
    fn inherited<'a>(&'a self, column: &'a Column, context: &'a Context<'_>) -> impl Iterator<Item = &'a Column> {
        let columns = self.parents.iter().flat_map(|parent| context.catalog.columns_of(parent.id.oid));
        columns.filter(|inherited| inherited.name == column.name)
    }

    /// The default that a parent gives; the first one that does.
    fn inherited_default(&self, column: &Column, context: &Context<'_>) -> Option<String> {
        self.inherited(column, context).find_map(|inherited| inherited.default.clone())
    }

    /// Whether parents give the column different defaults: then the server wants to be told.
    fn parents_disagree(&self, column: &Column, context: &Context<'_>) -> bool {
        let mut defaults = self.inherited(column, context).filter_map(|inherited| inherited.default.as_ref());
        let first = defaults.next();
        defaults.any(|default| Some(default) != first)
    }

    /// Defaults that can't stand in `CREATE TABLE`: opened loops, and inherited columns with a default of their own.
    fn defaults_apart(&self, object: &Object, context: &Context<'_>, drafts: &mut Vec<Draft>) {
        for column in context.catalog.columns_of(object.id.oid) {
            let inherited_only = !column.is_local && self.bound.is_none();
            let action = match (&column.default, column.default_oid) {
                (Some(_), _) if column.generated => continue,
                (Some(default), Some(oid)) => {
                    let id = ObjectId::new(CatalogTable::ATTRDEF, oid);
                    let apart = context.repairs.apart.contains(&id);
                    let overrides = inherited_only && self.inherited_default(column, context).as_ref() != Some(default);
                    if !apart && !overrides {
                        continue;
                    }
                    (format!("SET DEFAULT {default}"), apart.then_some(id))
                }
                // A parent's default that was dropped here.
                _ if inherited_only && column.identity.is_none() && self.inherited_default(column, context).is_some() => {
                    ("DROP DEFAULT".to_owned(), None)
                }
                _ => continue,
            };
            let (action, id) = action;
            let sql = format!("ALTER TABLE ONLY {} ALTER COLUMN {} {action}", object.face.target, ident(&column.name));
            let draft = Draft::about(object, Part::Setting, sql).needs(object.id, Part::Create);
            drafts.push(match id {
                Some(id) => Draft { part: Part::Create, ..draft.identity(id) },
                None => draft,
            });
        }
        for column in context.catalog.columns_of(object.id.oid) {
            if column.not_null && !column.is_local && self.bound.is_none() && !self.inherited_not_null(column, context) {
                let sql = format!("ALTER TABLE ONLY {} ALTER COLUMN {} SET NOT NULL", object.face.target, ident(&column.name));
                drafts.push(Draft::about(object, Part::Setting, sql));
            }
        }
    }

    fn inherited_not_null(&self, column: &Column, context: &Context<'_>) -> bool {
        self.inherited(column, context).any(|inherited| inherited.not_null)
    }

    fn column_settings(&self, object: &Object, column: &Column, drafts: &mut Vec<Draft>) {
        let mut set = |action: String| {
            let sql = format!("ALTER TABLE ONLY {} ALTER COLUMN {} {action}", object.face.target, ident(&column.name));
            drafts.push(Draft::about(object, Part::Setting, sql));
        };
        if let Some(target) = column.statistics {
            set(format!("SET STATISTICS {target}"));
        }
        if let Some(storage) = column.storage {
            set(format!("SET STORAGE {storage}"));
        }
        if !column.foreign_options.is_empty() && !column.is_local && self.bound.is_none() {
            let options = Options::new(&column.foreign_options, |_| false).shown;
            set(options.trim_start().to_owned());
        }
        if !column.options.is_empty() {
            set(format!("SET ({})", options_list(column.options.iter().map(|option| ("", option.as_str())))));
        }
        // Where CREATE TABLE did not name the column, its compression is still to be said.
        if let Some(method) = column.compression
            && (self.of_type.is_some() || (!column.is_local && self.bound.is_none()))
        {
            set(format!("SET COMPRESSION {method}"));
        }
    }

    fn replica_identity(&self, object: &Object, context: &Context<'_>, drafts: &mut Vec<Draft>) {
        let change = context.options.replica_identity.get(&object.id.oid);
        let (streaming, original) = match change {
            Some(change) => (&change.streaming, &change.original),
            None => (&self.replica_identity, &self.replica_identity),
        };
        let sql = |identity: &ReplicaIdentity| {
            let identity = match identity {
                ReplicaIdentity::Default => "DEFAULT".to_owned(),
                ReplicaIdentity::Nothing => "NOTHING".to_owned(),
                ReplicaIdentity::Full => "FULL".to_owned(),
                ReplicaIdentity::Index(name) => format!("USING INDEX {}", ident(name)),
            };
            format!("ALTER TABLE ONLY {} REPLICA IDENTITY {identity}", object.face.target)
        };
        let done = |identity: &ReplicaIdentity| match identity {
            ReplicaIdentity::Default => pg_class(object, "relreplident = 'd'"),
            ReplicaIdentity::Nothing => pg_class(object, "relreplident = 'n'"),
            ReplicaIdentity::Full => pg_class(object, "relreplident = 'f'"),
            ReplicaIdentity::Index(name) => format!(
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_index WHERE indisreplident AND indexrelid = pg_catalog.to_regclass({}))",
                literal(&qualified(&self.schema, name))
            ),
        };
        let with_index = |draft: Draft, identity: &ReplicaIdentity| match identity {
            ReplicaIdentity::Index(name) => match context.catalog.index(&self.schema, name) {
                Some(index) => draft.needs(index, Part::Create),
                None => draft,
            },
            _ => draft,
        };
        if *streaming != ReplicaIdentity::Default {
            let section = if matches!(streaming, ReplicaIdentity::Index(_)) { self.after_data() } else { Section::BeforeData };
            let draft = Draft::about(object, Part::State, sql(streaming)).section(section).table(object.table);
            drafts.push(with_index(draft.done_when(done(streaming)), streaming));
        }
        if streaming != original {
            let draft = Draft::about(object, Part::Cutover, sql(original)).section(Section::AtCutover).undo(sql(streaming));
            drafts.push(with_index(draft.done_when(done(original)), original));
        }
    }

    fn row_security(&self, object: &Object, drafts: &mut Vec<Draft>) {
        let sql = |action: &str| format!("ALTER TABLE {} {action} ROW LEVEL SECURITY", object.face.target);
        if self.row_security {
            let draft = Draft::about(object, Part::State, sql("ENABLE")).section(self.after_data()).table(object.table);
            drafts.push(draft.done_when(pg_class(object, "relrowsecurity")));
        }
        if self.force_row_security {
            let draft = Draft::about(object, Part::Cutover, sql("FORCE")).section(Section::AtCutover).undo(sql("NO FORCE"));
            drafts.push(draft.done_when(pg_class(object, "relforcerowsecurity")));
        }
    }

    /// When a partitioned table may be locked: a copy into one of its partitions holds a lock on it, and waiting for that one
    /// would hold up the copies of all others.
    fn after_data(&self) -> Section {
        if self.is_partitioned { Section::AfterStreaming } else { Section::AfterData }
    }
}

/// The default, unless it must be set after the table is made.
fn inline_default<'a>(column: &'a Column, context: &Context<'_>) -> Option<&'a str> {
    let id = ObjectId::new(CatalogTable::ATTRDEF, column.default_oid?);
    if context.repairs.apart.contains(&id) { None } else { column.default.as_deref() }
}

/// Whether this holds for the table's row in `pg_class`.
fn pg_class(object: &Object, condition: &str) -> String {
    let target = literal(&object.face.target);
    format!("SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass({target}) AND {condition})")
}

/// Whether the relation of this qualified, quoted name exists.
pub fn relation_exists(target: &str) -> String {
    format!("SELECT pg_catalog.to_regclass({}) IS NOT NULL", literal(target))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::plan::draft::Repairs;
    use crate::plan::{Options, ReplicaIdentityChange};
    use crate::postgres::ServerVersion;

    fn table() -> Table {
        Table {
            is_partitioned: false,
            schema: "s".into(),
            unlogged: false,
            partition_key: None,
            bound: None,
            parents: Vec::new(),
            of_type: None,
            options: vec!["fillfactor=70".into()],
            toast_options: vec!["autovacuum_enabled=false".into()],
            replica_identity: ReplicaIdentity::Default,
            row_security: false,
            force_row_security: true,
            access_method: None,
            foreign: None,
        }
    }

    fn column(number: i16, name: &str, data_type: &str) -> Column {
        Column {
            number,
            name: name.into(),
            data_type: data_type.into(),
            collation: None,
            not_null: false,
            is_local: true,
            is_inherited: false,
            identity: None,
            generated: false,
            storage: None,
            compression: None,
            statistics: None,
            options: Vec::new(),
            foreign_options: Vec::new(),
            default_oid: None,
            default: None,
        }
    }

    fn object(definition: Table) -> Object {
        Object {
            id: ObjectId::class(7),
            parent: None,
            name: ObjectName { class: CLASS.name, schema: "s".into(), parent: String::new(), name: "t\"1".into() }.into(),
            face: Face::new("TABLE", qualified("s", "t\"1")),
            owner: None,
            table: Some(7),
            definition: Box::new(definition),
        }
    }

    fn drafts(catalog: &Catalog, options: &Options, object: &Object) -> Vec<Draft> {
        let mut drafts = Vec::new();
        object.definition.statements(object, &Context { catalog, options, repairs: &Repairs::default() }, &mut drafts);
        drafts
    }

    #[test]
    fn every_name_is_quoted() {
        let mut catalog = Catalog::new(ServerVersion(150_000));
        let mut text = column(2, "sel\"ect", "text");
        text.collation = Some("pg_catalog.\"C\"".into());
        text.compression = Some("lz4");
        text.default_oid = Some(99);
        text.default = Some("'x'::text".into());
        text.not_null = true;
        catalog.columns.insert(7, vec![column(1, "We ird", "integer"), text]);
        assert_eq!(
            drafts(&catalog, &Options::default(), &object(table()))[0].sql,
            "CREATE TABLE \"s\".\"t\"\"1\" (\n    \"We ird\" integer,\n    \
             \"sel\"\"ect\" text COMPRESSION lz4 COLLATE pg_catalog.\"C\" DEFAULT 'x'::text NOT NULL\n)\n\
             WITH (\"fillfactor\"='70', \"toast\".\"autovacuum_enabled\"='false')"
        );
    }

    #[test]
    fn a_table_without_columns_is_made() {
        let mut plain = table();
        plain.options.clear();
        plain.toast_options.clear();
        let drafts = drafts(&Catalog::new(ServerVersion(150_000)), &Options::default(), &object(plain));
        assert_eq!(drafts[0].sql, "CREATE TABLE \"s\".\"t\"\"1\" ()");
    }

    #[test]
    fn the_original_replica_identity_comes_back_at_the_cutover() {
        let change = ReplicaIdentityChange { original: ReplicaIdentity::Default, streaming: ReplicaIdentity::Full };
        let options = Options { replica_identity: HashMap::from([(7, change)]), ..Options::default() };
        let drafts = drafts(&Catalog::new(ServerVersion(150_000)), &options, &object(table()));
        let identity: Vec<_> = drafts.iter().filter(|draft| draft.sql.contains("REPLICA IDENTITY")).collect();
        assert_eq!(identity[0].sql, "ALTER TABLE ONLY \"s\".\"t\"\"1\" REPLICA IDENTITY FULL");
        assert_eq!(identity[1].sql, "ALTER TABLE ONLY \"s\".\"t\"\"1\" REPLICA IDENTITY DEFAULT");
        assert_eq!(identity[1].section, Section::AtCutover);
        assert_eq!(identity[1].undo.as_ref(), Some(&identity[0].sql));
    }

    #[test]
    fn row_security_is_forced_only_at_the_cutover() {
        let drafts = drafts(&Catalog::new(ServerVersion(150_000)), &Options::default(), &object(table()));
        let forced = drafts.iter().find(|draft| draft.sql.contains("FORCE ROW")).map(|draft| draft.section);
        assert_eq!(forced, Some(Section::AtCutover));
    }
}
