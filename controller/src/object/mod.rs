//! Object classes: how each kind of object is read from the source's catalogs and written as DDL.
//!
//! In: a connection to the source, in whatever transaction and snapshot the caller chose. Out: a [`Catalog`], plain data.
//!
//! # Layout
//!
//! - `class/<class>.{rs,sql}`: one pair a class. The query gives a row an object; `read` makes an [`Object`] of it;
//!   its [`Definition`] writes the DDL. A new class is such a pair and one line in [`CLASSES`].
//! - `owner`, `comment`, `acl`, `label`, `dependence`: what every class has, written once.
//! - `coverage`: what of each class is carried over, as documentation.
//! - `edge`: `pg_depend`, from which `plan` derives the order.
//! - `removed`: what the destination's version does not have any more.
//! - `uncovered`: what is there and no class reads, so that nothing is left behind in silence.
//! - `words`: names that the destination's version takes for keywords.

pub mod acl;
pub mod class;
pub mod comment;
pub mod coverage;
pub mod dependence;
pub mod edge;
pub mod id;
pub mod label;
pub mod owner;
pub mod parameter;
mod query;
mod removed;
pub(crate) mod tablespace;
mod uncovered;
mod words;

use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use futures_util::TryStreamExt;
use tokio_postgres::{Client, Row};

pub use class::CLASSES;
pub use edge::{Edge, EdgeKind};
pub use id::{CatalogTable, ObjectId};
pub use parameter::{ParameterGrants, parameter_grants};

use crate::finding::Finding;
use crate::plan::draft::{Context, Draft};
use crate::plan::statement::ObjectName;
use crate::postgres::{ServerVersion, retry};

/// Why the catalogs of a source could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The session could not be prepared for deparsing.
    #[error("preparing the session on the source for reading its catalogs: {}", retry::message(.0))]
    Session(#[source] tokio_postgres::Error),
    /// A class's query failed, or gave a row of another shape than the class expects.
    #[error("reading the {class} objects of the source: {}", retry::message(.source))]
    Query {
        /// The class, as in [`CLASSES`], or the cross-cutting part.
        class: &'static str,
        /// What the server or the driver said.
        #[source]
        source: tokio_postgres::Error,
    },
}

/// What belongs to an object besides its definition, and is carried by the cross-cutting parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beyond {
    /// Its owner.
    Owner,
    /// Its comment.
    Comment,
    /// Its security labels.
    Label,
    /// Its privileges.
    Privileges,
}

/// What of a class is carried over: the table in `docs/objects.md` is made of this.
#[derive(Debug)]
pub struct Covers {
    /// What its objects may have besides their definition.
    pub beyond: &'static [Beyond],
    /// States that are brought about after the making, in words.
    pub states: &'static str,
    /// The files of `tests/fixtures`, without `.sql`, that have objects of this class.
    pub fixtures: &'static [&'static str],
}

/// One class of objects: where it is read and what becomes of a row.
pub struct Class {
    /// The class's name, as used in [`ObjectName::class`].
    pub name: &'static str,
    /// The catalog query; see `query` for how it adapts to versions.
    pub query: &'static str,
    /// Takes one row of the query into the catalog.
    pub read: fn(&Row, &mut Catalog) -> Result<(), tokio_postgres::Error>,
    /// What of it is carried over.
    pub covers: Covers,
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Class").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How `ALTER`, `COMMENT ON` and `GRANT ON` call an object: the keyword and the qualified, quoted name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Face {
    /// `TABLE`, `MATERIALIZED VIEW`, `CONSTRAINT`, …
    pub keyword: &'static str,
    /// `"s"."t"`; for a constraint `"c" ON "s"."t"`; for a function with its identity arguments.
    pub target: String,
}

impl Face {
    /// A face of this keyword and name.
    pub fn new(keyword: &'static str, target: String) -> Self {
        Self { keyword, target }
    }
}

impl fmt::Display for Face {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.keyword, self.target)
    }
}

/// Makes the DDL of one object. Pure: everything it needs is in itself and the context.
pub trait Definition: fmt::Debug + Send + Sync {
    /// Appends the object's own statements; owner, comment, label and ACL are added by the cross-cutting parts.
    fn statements(&self, object: &Object, context: &Context<'_>, drafts: &mut Vec<Draft>);
}

/// One object of the source.
#[derive(Debug)]
pub struct Object {
    /// Its identity in the source's catalogs.
    pub id: ObjectId,
    /// The object whose definition may contain this one, or without which it makes no sense: a constraint's table.
    pub parent: Option<ObjectId>,
    /// Its name, equal on both sides; shared with what is planned about it.
    pub name: Arc<ObjectName>,
    /// How statements call it.
    pub face: Face,
    /// Its owner, for objects that have one of their own.
    pub owner: Option<String>,
    /// The leaf table whose copy must be over before what is done to the object after its creation; views and types have none.
    pub table: Option<u32>,
    /// The class's own data.
    pub definition: Box<dyn Definition>,
}

/// What a source database holds, as far as the classes read it.
#[derive(Debug)]
pub struct Catalog {
    /// The source's version.
    pub version: ServerVersion,
    /// Whether the session that reads is a superuser's.
    pub superuser: bool,
    /// Objects in the order of [`CLASSES`], extension members left out.
    pub objects: Vec<Object>,
    /// Dependencies between objects, by catalog OIDs.
    pub edges: Vec<Edge>,
    /// Catalog entries that are part of another object: a view's rule, a composite type's relation, an index behind a constraint.
    pub aliases: HashMap<ObjectId, ObjectId>,
    /// Further names under which comments and privileges are given: the index of a constraint, the sequence of an identity column.
    pub faces: HashMap<ObjectId, Face>,
    /// Columns by relation, in the order of their numbers.
    pub columns: HashMap<u32, Vec<class::column::Column>>,
    /// Check constraints by table or domain.
    pub checks: HashMap<ObjectId, Vec<class::check::Check>>,
    /// Sequences of identity columns by table and column number.
    pub identities: HashMap<(u32, i32), class::sequence::IdentitySequence>,
    /// Tables, and whether they are partitioned.
    pub tables: HashMap<u32, bool>,
    /// The indexes that are parts of a partitioned table's index.
    pub index_parts: HashMap<ObjectId, Vec<ObjectId>>,
    /// Comments.
    pub comments: Vec<comment::Comment>,
    /// Security labels.
    pub labels: Vec<label::Label>,
    /// Privileges that differ from the built-in default.
    pub acls: Vec<acl::Acl>,
    /// Relations in another tablespace than their database's own: which one.
    pub tablespaces: HashMap<ObjectId, String>,
    /// Publications that are our own.
    pub ignored_publications: Vec<String>,
    /// What can't be carried over.
    pub findings: Vec<Finding>,
    by_id: HashMap<ObjectId, usize>,
    indexes: HashMap<(String, String), ObjectId>,
    members: HashMap<ObjectId, ObjectId>,
}

impl Catalog {
    /// An empty catalog.
    pub fn new(version: ServerVersion) -> Self {
        Self {
            version,
            superuser: false,
            objects: Vec::new(),
            edges: Vec::new(),
            aliases: HashMap::new(),
            faces: HashMap::new(),
            columns: HashMap::new(),
            checks: HashMap::new(),
            identities: HashMap::new(),
            tables: HashMap::new(),
            index_parts: HashMap::new(),
            comments: Vec::new(),
            labels: Vec::new(),
            acls: Vec::new(),
            tablespaces: HashMap::new(),
            ignored_publications: Vec::new(),
            findings: Vec::new(),
            by_id: HashMap::new(),
            indexes: HashMap::new(),
            members: HashMap::new(),
        }
    }

    /// What the session that reads is like.
    fn session(&self) -> query::Session {
        query::Session { version: self.version, superuser: self.superuser }
    }

    /// Whether the object was made by an extension, and so is made by `CREATE EXTENSION` on the destination.
    pub fn is_member(&self, id: ObjectId) -> bool {
        self.members.contains_key(&id)
    }

    /// The extension that made the object.
    pub fn extension_of(&self, id: ObjectId) -> Option<ObjectId> {
        self.members.get(&id).copied()
    }

    /// Adds an object, unless it or its parent belongs to an extension. Says whether it was added.
    pub fn push(&mut self, object: Object) -> bool {
        if self.is_member(object.id) || object.parent.is_some_and(|parent| self.is_member(parent)) {
            return false;
        }
        self.by_id.insert(object.id, self.objects.len());
        self.objects.push(object);
        true
    }

    /// The object of this identity.
    pub fn object(&self, id: ObjectId) -> Option<&Object> {
        self.by_id.get(&id).and_then(|&index| self.objects.get(index))
    }

    /// The columns of a relation.
    pub fn columns_of(&self, relation: u32) -> &[class::column::Column] {
        self.columns.get(&relation).map_or(&[], Vec::as_slice)
    }

    /// Whether the relation is a partitioned table.
    pub fn is_partitioned(&self, relation: u32) -> bool {
        self.tables.get(&relation) == Some(&true)
    }

    /// Makes an index known by its name.
    pub fn add_index(&mut self, schema: &str, name: &str, id: ObjectId) {
        self.indexes.insert((schema.to_owned(), name.to_owned()), id);
    }

    /// The index of this name.
    pub fn index(&self, schema: &str, name: &str) -> Option<ObjectId> {
        self.indexes.get(&(schema.to_owned(), name.to_owned())).copied()
    }

    /// Adds dependencies; those on extensions say who is a member.
    pub fn set_edges(&mut self, edges: Vec<Edge>) {
        self.members.extend(edges.iter().filter(|edge| edge.kind == EdgeKind::Extension).map(|edge| (edge.from, edge.to)));
        self.edges = edges;
    }
}

/// Session settings under which the server's deparsers give text that means the same on the destination.
/// An empty `search_path` makes them qualify every name outside `pg_catalog`. Compiling our queries (11+) costs more than running them.
const SESSION: &str = "SET search_path = ''; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET extra_float_digits = 3; \
                       SET quote_all_identifiers = off; SET standard_conforming_strings = on; SET bytea_output = 'hex'; \
                       SELECT pg_catalog.set_config(name, 'off', false) FROM pg_catalog.pg_settings WHERE name = 'jit'";

/// Reads the catalogs of the database that `client` is connected to.
///
/// Runs in the caller's transaction, so under the caller's snapshot (the deparsing functions of some versions look at the newest
/// committed catalogs all the same). Changes settings of the session: `search_path` becomes empty, date, interval, float and
/// string forms are pinned; a rollback of the caller's transaction takes that back.
///
/// Publications named in `ignored_publications` (our own) are left out. A session that is not a superuser's gets all that it may see,
/// and findings about what it may not.
pub async fn introspect(client: &Client, version: ServerVersion, ignored_publications: &[String]) -> Result<Catalog, Error> {
    client.batch_execute(SESSION).await.map_err(Error::Session)?;
    let row = client.query_one("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user", &[]).await;
    let mut catalog = Catalog::new(version);
    catalog.superuser = row.and_then(|row| row.try_get(0)).map_err(Error::Session)?;
    catalog.ignored_publications = ignored_publications.to_vec();
    edge::read(client, &mut catalog).await?;
    words::quote_where_needed(client, &catalog).await?;
    for class in CLASSES {
        let session = catalog.session();
        each_row(client, session, class.name, class.query, |row| (class.read)(row, &mut catalog)).await?;
    }
    words::quote_as_usual(client).await?;
    comment::read(client, &mut catalog).await?;
    label::read(client, &mut catalog).await?;
    acl::read(client, &mut catalog).await?;
    tablespace::read(client, &mut catalog).await?;
    uncovered::read(client, &mut catalog).await?;
    removed::read(client, &mut catalog).await?;
    Ok(catalog)
}

/// Runs a catalog query and hands over its rows one by one, so that a large result is never held whole.
async fn each_row(
    client: &Client,
    session: query::Session,
    class: &'static str,
    sql: &str,
    mut take: impl FnMut(&Row) -> Result<(), tokio_postgres::Error>,
) -> Result<(), Error> {
    let failed = |source| Error::Query { class, source };
    let none: [&str; 0] = [];
    let rows = client.query_raw(&query::adapt(sql, session), none).await.map_err(failed)?;
    let mut rows = pin!(rows);
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        take(&row).map_err(failed)?;
    }
    Ok(())
}
