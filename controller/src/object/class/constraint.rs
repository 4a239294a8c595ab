//! Keys, exclusion constraints and foreign keys.

use tokio_postgres::Row;

use super::column::options_list;
use super::index::{attach, is_clustered};
use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft, Part};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{ident, literal, qualified};

/// The class.
pub const CLASS: Class = Class {
    name: "constraint",
    query: include_str!("constraint.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Comment],
        states: "not valid, attached as a part",
        fixtures: &["constraint", "constraint_15", "partition_11", "partition_12", "partition_17"],
    },
};

/// The index behind a key or exclusion constraint.
#[derive(Debug)]
struct Index {
    id: ObjectId,
    /// Qualified and quoted.
    target: String,
    name: String,
    options: Vec<String>,
    clustered: bool,
    /// The partitioned table's index that this one is a part of: identity, qualified name.
    parent: Option<(ObjectId, String)>,
}

/// What kind of constraint it is.
#[derive(Debug)]
enum Kind {
    /// Primary key or unique: `WITH (…)` is not part of the server's own text.
    Key(Index),
    /// Exclusion.
    Exclusion(Index),
    /// Foreign key; the table that it points to, and whether every row was checked.
    ForeignKey { referenced: u32, validated: bool },
}

/// A constraint that is added when the rows are there.
#[derive(Debug)]
pub struct Constraint {
    kind: Kind,
    /// The table, qualified and quoted.
    table: String,
    /// Its OID.
    relation: u32,
    definition: String,
    deferrable: bool,
    deferred: bool,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let id = ObjectId::new(CatalogTable::CONSTRAINT, row.try_get("oid")?);
    let (schema, table): (String, String) = (row.try_get("schema")?, row.try_get("table_name")?);
    let (name, relation): (String, u32) = (row.try_get("name")?, row.try_get("relation")?);
    let kind: &str = row.try_get("kind")?;
    if kind == "f" && row.try_get("is_copy")? {
        // A partition's copy of its parent's foreign key comes with the parent's.
        return Ok(());
    }
    let index = match row.try_get::<_, Option<u32>>("index_oid")? {
        Some(oid) => {
            let parent = match row.try_get::<_, Option<u32>>("parent_index_oid")? {
                Some(oid) => {
                    let (schema, name): (&str, &str) = (row.try_get("parent_index_schema")?, row.try_get("parent_index_name")?);
                    Some((ObjectId::class(oid), qualified(schema, name)))
                }
                None => None,
            };
            let name: String = row.try_get("index_name")?;
            Some(Index {
                id: ObjectId::class(oid),
                target: qualified(&schema, &name),
                name,
                options: row.try_get::<_, Option<_>>("index_options")?.unwrap_or_default(),
                clustered: row.try_get("clustered")?,
                parent,
            })
        }
        None => None,
    };
    let kind = match (kind, index) {
        ("x", Some(index)) => Kind::Exclusion(index),
        (_, Some(index)) => Kind::Key(index),
        (_, None) => Kind::ForeignKey { referenced: row.try_get("referenced")?, validated: row.try_get("validated")? },
    };
    let target = qualified(&schema, &table);
    if let Kind::Key(index) | Kind::Exclusion(index) = &kind {
        catalog.aliases.insert(index.id, id);
        catalog.faces.insert(index.id, Face::new("INDEX", index.target.clone()));
        catalog.add_index(&schema, &index.name, index.id);
        if let Some((parent, _)) = &index.parent {
            catalog.index_parts.entry(*parent).or_default().push(index.id);
        }
    }
    let partitioned = catalog.is_partitioned(relation);
    catalog.push(Object {
        id,
        parent: Some(ObjectId::class(relation)),
        face: Face::new("CONSTRAINT", format!("{} ON {target}", ident(&name))),
        name: ObjectName { class: CLASS.name, schema, parent: table, name }.into(),
        owner: None,
        table: (!partitioned).then_some(relation),
        definition: Box::new(Constraint {
            kind,
            table: target,
            relation,
            definition: row.try_get("definition")?,
            deferrable: row.try_get("deferrable")?,
            deferred: row.try_get("deferred")?,
        }),
    });
    Ok(())
}

impl Definition for Constraint {
    fn statements(&self, object: &Object, context: &Context<'_>, drafts: &mut Vec<Draft>) {
        let name = ident(&object.name.name);
        match &self.kind {
            Kind::Key(index) => self.with_index(object, context, index, &self.with_options(index), drafts),
            Kind::Exclusion(index) => self.with_index(object, context, index, &self.definition, drafts),
            Kind::ForeignKey { referenced, validated } => {
                let partitioned = [self.relation, *referenced].iter().any(|table| context.catalog.is_partitioned(*table));
                let between = (!partitioned).then_some([self.relation, *referenced]);
                let definition = self.definition.strip_suffix(" NOT VALID").unwrap_or(&self.definition);
                // ONLY would leave the partitions out.
                let sql = format!("ALTER TABLE {} ADD CONSTRAINT {name} {definition} NOT VALID", self.table);
                drafts.push(
                    Draft::create(object, Section::AfterStreaming, sql).between(between).done_when(self.done_when(object, "")),
                );
                if *validated {
                    let sql = format!("ALTER TABLE {} VALIDATE CONSTRAINT {name}", self.table);
                    let done = self.done_when(object, " AND convalidated");
                    let draft = Draft::about(object, Part::Validate, sql).section(Section::AfterStreaming);
                    drafts.push(draft.between(between).done_when(done));
                }
            }
        }
    }
}

impl Constraint {
    fn done_when(&self, object: &Object, and: &str) -> String {
        format!(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conname = {} AND conrelid = pg_catalog.to_regclass({}){and})",
            literal(&object.name.name),
            literal(&self.table)
        )
    }

    /// The server leaves the index's options out of a key's text. They belong before what says when it is checked.
    fn with_options(&self, index: &Index) -> String {
        if index.options.is_empty() {
            return self.definition.clone();
        }
        let timing = match (self.deferrable, self.deferred) {
            (true, true) => " DEFERRABLE INITIALLY DEFERRED",
            (true, false) => " DEFERRABLE",
            (false, _) => "",
        };
        let key = self.definition.strip_suffix(timing).unwrap_or(&self.definition);
        let options = options_list(index.options.iter().map(|option| ("", option.as_str())));
        format!("{key} WITH ({options}){timing}")
    }

    fn with_index(&self, object: &Object, context: &Context<'_>, index: &Index, definition: &str, drafts: &mut Vec<Draft>) {
        let sql = format!("ALTER TABLE ONLY {} ADD CONSTRAINT {} {definition}", self.table, ident(&object.name.name));
        let mut create = Draft::create(object, Section::AfterData, sql).table(object.table).done_when(self.done_when(object, ""));
        for &part in context.catalog.index_parts.get(&index.id).map_or(&[][..], Vec::as_slice) {
            create = create.needs(part, Part::Create);
        }
        drafts.push(create.needs(ObjectId::class(self.relation), Part::Attach));
        if let Some((parent, target)) = &index.parent {
            drafts.push(attach(object, *parent, target, &index.target));
        }
        if index.clustered {
            let sql = format!("ALTER TABLE ONLY {} CLUSTER ON {}", self.table, ident(&index.name));
            let draft = Draft::about(object, Part::State, sql).section(Section::AfterData).table(object.table);
            drafts.push(draft.done_when(is_clustered(&index.target)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_options_go_before_the_timing() {
        let index = Index {
            id: ObjectId::class(1),
            target: String::new(),
            name: String::new(),
            options: vec!["fillfactor=70".to_owned()],
            clustered: false,
            parent: None,
        };
        let key = Constraint {
            kind: Kind::ForeignKey { referenced: 1, validated: true },
            table: String::new(),
            relation: 1,
            definition: "UNIQUE (\" DEFERRABLE\") DEFERRABLE INITIALLY DEFERRED".to_owned(),
            deferrable: true,
            deferred: true,
        };
        assert_eq!(key.with_options(&index), "UNIQUE (\" DEFERRABLE\") WITH (\"fillfactor\"='70') DEFERRABLE INITIALLY DEFERRED");
    }
}
