//! A statement before it has its place: what it needs, and which part of an object it makes.

use std::collections::HashSet;
use std::sync::Arc;

use secrecy::SecretString;

use super::Options;
use super::statement::{ObjectName, Section};
use crate::object::{Catalog, Object, ObjectId};

/// Which part of an object a statement makes. Within an object statements come in this order unless dependencies say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The object itself; what depends on the object depends on this.
    Create,
    /// Its owner.
    Owner,
    /// The column a sequence belongs to.
    OwnedBy,
    /// Storage, statistics targets, options of columns, defaults inherited otherwise.
    Setting,
    /// A partition's or partition index's place under its parent.
    Attach,
    /// Whether a trigger or rule fires, row security, replica identity, cluster marker.
    State,
    /// The comment.
    Comment,
    /// The security label.
    Label,
    /// Privileges, numbered: each after the one before, since a grantor must have been granted, and two sessions must not
    /// change one object's privileges at once.
    Acl(u32),
    /// The check of rows that were there before a constraint.
    Validate,
    /// The rows of a materialized view.
    Fill,
    /// What waits for the cutover.
    Cutover,
}

/// A part of an object that another statement needs first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Need {
    /// The object.
    pub id: ObjectId,
    /// The part of it.
    pub part: Part,
}

/// What the drafting of statements may look at.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// All that was read.
    pub catalog: &'a Catalog,
    /// What the caller wants to differ.
    pub options: &'a Options,
    /// What must be said apart so that no loop remains.
    pub repairs: &'a Repairs,
}

/// What loop repairs have decided so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repairs {
    /// Defaults and check constraints that are added after their table or domain instead of within it.
    pub apart: HashSet<ObjectId>,
    /// Views that are first made with their columns only, and get their query later; types that are first made as a mere name.
    pub shells: HashSet<ObjectId>,
}

/// A statement without its place.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The object it belongs to.
    pub id: ObjectId,
    /// The object's name.
    pub name: Arc<ObjectName>,
    /// Which part it makes.
    pub part: Part,
    /// The earliest section; what it depends on may move it to a later one.
    pub section: Section,
    /// The table whose copy must be over first.
    pub table: Option<u32>,
    /// Of a foreign key: the two tables, if they have rows of their own.
    pub between: Option<[u32; 2]>,
    /// The SQL, as it may be shown.
    pub sql: String,
    /// The SQL as it is executed, where it holds a secret.
    pub secret: Option<SecretString>,
    /// How to see that it was done.
    pub done_when: Option<String>,
    /// How to take it back.
    pub undo: Option<String>,
    /// What must be there first, beyond the object's own dependencies.
    pub needs: Vec<Need>,
}

impl Draft {
    /// The statement that makes an object.
    pub fn create(object: &Object, section: Section, mut sql: String) -> Self {
        // There may be very many of them, and they stay for the whole migration.
        sql.shrink_to_fit();
        Self {
            id: object.id,
            name: object.name.clone(),
            part: Part::Create,
            section,
            table: None,
            between: None,
            sql,
            secret: None,
            done_when: None,
            undo: None,
            needs: Vec::new(),
        }
    }

    /// A statement about an object that was made: as early as that, unless told otherwise.
    pub fn about(object: &Object, part: Part, sql: String) -> Self {
        Self { part, ..Self::create(object, Section::BeforeData, sql) }
    }

    /// In this section at the earliest.
    #[must_use]
    pub fn section(mut self, section: Section) -> Self {
        self.section = section;
        self
    }

    /// After this table's copy.
    #[must_use]
    pub fn table(mut self, table: Option<u32>) -> Self {
        self.table = table;
        self
    }

    /// About a foreign key between these tables.
    #[must_use]
    pub fn between(mut self, tables: Option<[u32; 2]>) -> Self {
        self.between = tables;
        self
    }

    /// Done when this query gives true.
    #[must_use]
    pub fn done_when(mut self, mut query: String) -> Self {
        query.shrink_to_fit();
        self.done_when = Some(query);
        self
    }

    /// Taken back by this statement.
    #[must_use]
    pub fn undo(mut self, sql: String) -> Self {
        self.undo = Some(sql);
        self
    }

    /// After this part of that object, if the plan has it.
    #[must_use]
    pub fn needs(mut self, id: ObjectId, part: Part) -> Self {
        self.needs.push(Need { id, part });
        self
    }

    /// As the making of another catalog entry, so that what that entry depends on comes first.
    #[must_use]
    pub fn identity(mut self, id: ObjectId) -> Self {
        self.id = id;
        self
    }
}

/// Drafts the statements of everything in the catalog.
pub(super) fn all(context: &Context<'_>) -> Vec<Draft> {
    let mut drafts = Vec::with_capacity(context.catalog.objects.len() * 3);
    for object in &context.catalog.objects {
        object.definition.statements(object, context, &mut drafts);
        drafts.extend(crate::object::owner::statement(object));
    }
    crate::object::comment::statements(context, &mut drafts);
    crate::object::label::statements(context, &mut drafts);
    crate::object::dependence::statements(context, &mut drafts);
    crate::object::acl::statements(context, &mut drafts);
    crate::object::tablespace::place(context, &mut drafts);
    drafts
}
