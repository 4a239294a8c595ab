//! Large objects: what they hold, who owns them, who may use them, what is said about them.
//!
//! The two sides are compared object by object, from two streams in the order of their numbers. What changed on the source
//! since an earlier look is told by the transactions that wrote an object's pages (`large_objects.sql`), so that only these pages are moved; an
//! object whose size differs is moved whole. Pages are gathered in a temporary table and put in place with `lo_put`.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use tokio_postgres::{Client, Row};

use super::hand::{Failure, Hand};
use crate::copy::pipe::Progress;
use crate::object::acl::{Grant, as_grantor, difference};
use crate::postgres::quote;

/// The query behind [`Facts`].
pub const FACTS: &str = include_str!("large_objects.sql");
const PRIVILEGES: &str = include_str!("privileges.sql");

/// So many objects make a batch …
pub const BATCH_OBJECTS: usize = 500;
/// … unless they hold so many bytes before.
pub const BATCH_BYTES: i64 = 16 << 20;
/// So many pages of an object that is a batch of its own are moved at a time.
const CHUNK_PAGES: i64 = 8192;

/// Transactions of the source, by their 64-bit numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first.
    pub first: i64,
    /// How many.
    pub count: i64,
}

impl Window {
    /// From the oldest that ran at an earlier look up to those that begin now. Too many to be told apart by the 32 bits that a row
    /// keeps of them: then every row counts as written by one of them.
    pub fn new(first: i64, next: i64) -> Self {
        Self { first, count: next - first }
    }

    /// The condition for rows of a relation called `l` that one of them wrote.
    pub fn condition(self) -> String {
        format!("((l.xmin::text::bigint - {}) & 4294967295) < {}", self.first, self.count)
    }
}

/// What tells whether two large objects are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its number.
    pub oid: u32,
    owner: String,
    acl: String,
    comment: Option<String>,
    /// Pages that are not empty.
    pages: i64,
    /// Bytes in them.
    pub bytes: i64,
    /// Where it ends: with holes, more than it has bytes.
    size: i64,
    changed: bool,
}

impl Facts {
    /// Reads a row of [`FACTS`].
    pub fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            oid: row.try_get("oid")?,
            owner: row.try_get("owner")?,
            acl: row.try_get("acl")?,
            comment: row.try_get("comment")?,
            pages: row.try_get("pages")?,
            bytes: row.try_get("bytes")?,
            size: row.try_get("size")?,
            changed: row.try_get("changed")?,
        })
    }

    fn holds_as_much_as(&self, other: &Self, same_pages: bool) -> bool {
        self.bytes == other.bytes && self.size == other.size && (!same_pages || self.pages == other.pages)
    }
}

/// What is to be moved of an object's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    Same,
    /// Pages that were written since the earlier look.
    Pages,
    /// All of it.
    Whole,
}

/// What the destination has of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum There {
    Nothing,
    Empty,
    Filled,
}

/// What is to be done about one large object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its number.
    pub oid: u32,
    /// Whether the source has it no more.
    drop: bool,
    /// What is to be moved of it.
    content: Content,
    /// Bytes it holds on the source.
    pub bytes: i64,
    there: There,
    owner: Option<String>,
    privileges: bool,
    /// What is to be said about it, as SQL says it.
    comment: Option<String>,
}

/// What is to be done about an object, from what each side knows of it.
pub fn judge(source: Option<&Facts>, destination: Option<&Facts>, same_pages: bool) -> Option<Change> {
    let Some(ours) = source else {
        return destination.map(|theirs| Change {
            oid: theirs.oid,
            drop: true,
            content: Content::Same,
            bytes: 0,
            there: There::Filled,
            owner: None,
            privileges: false,
            comment: None,
        });
    };
    let content = match destination {
        Some(theirs) if ours.changed && theirs.bytes > 0 => Content::Pages,
        Some(theirs) if ours.holds_as_much_as(theirs, same_pages) && (!ours.changed || ours.bytes == 0) => Content::Same,
        _ => Content::Whole,
    };
    let change = Change {
        oid: ours.oid,
        drop: false,
        content,
        bytes: ours.bytes,
        there: match destination {
            None => There::Nothing,
            Some(theirs) if theirs.size == 0 => There::Empty,
            Some(_) => There::Filled,
        },
        owner: (destination.is_none_or(|t| t.owner != ours.owner)).then(|| ours.owner.clone()),
        privileges: destination.is_none_or(|t| t.acl != ours.acl || t.owner != ours.owner),
        comment: (destination.map_or(ours.comment.is_some(), |t| t.comment != ours.comment))
            .then(|| ours.comment.as_ref().map_or_else(|| "NULL".to_owned(), |text| quote::literal(text))),
    };
    let nothing = content == Content::Same && !change.privileges && change.comment.is_none();
    (!nothing).then_some(change)
}

/// Asks how many large objects there are, and whether these transactions have written to any.
pub fn touch_query(window: Window) -> String {
    let written = window.condition();
    format!(
        "SELECT count(*), coalesce(bool_or({written}), false) OR EXISTS (SELECT FROM pg_catalog.pg_largeobject l WHERE {written})
         FROM pg_catalog.pg_largeobject_metadata l"
    )
}

/// The bytes of a page of a large object: `LOBLKSIZE` in `src/include/storage/large_object.h`.
pub async fn page_size(client: &Client) -> Result<i64, tokio_postgres::Error> {
    let row = client.query_one("SELECT pg_catalog.current_setting('block_size')::bigint / 4", &[]).await?;
    Ok(row.get(0))
}

/// What all batches of a look have in common.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Who counts as having written since the earlier look, if there was one.
    pub window: Option<Window>,
    /// Bytes of a page on the source.
    pub page: i64,
    /// Whether the destination's have as many.
    pub same_pages: bool,
}

/// Does what is to be done about a batch of objects, in one transaction on each side. Gives the bytes moved.
pub async fn apply(hand: &mut Hand, batch: &[Change], terms: Terms) -> Result<u64, Failure> {
    hand.reader
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await
        .map_err(Failure::of("reading large objects"))?;
    hand.write(
        "BEGIN; CREATE TEMPORARY TABLE IF NOT EXISTS pg_temp.large_object_page (loid oid, pageno integer, data bytea) ON COMMIT DELETE ROWS",
    )
    .await?;
    let oids = |chosen: &dyn Fn(&Change) -> bool| -> Vec<u32> { batch.iter().filter(|c| chosen(c)).map(|c| c.oid).collect() };
    let gone = oids(&|c| c.drop);
    hand.execute("SELECT pg_catalog.lo_unlink(o) FROM unnest($1::oid[]) AS o", &[&gone]).await?;
    // What was removed on the source since the look is left to the next one.
    let (ours, _) = hand.facts(&oids(&|c| !c.drop)).await?;
    let there: HashSet<u32> = ours.iter().map(|row| row.get("oid")).collect();
    let batch: Vec<&Change> = batch.iter().filter(|c| !c.drop && there.contains(&c.oid)).collect();
    let missing: Vec<u32> = batch.iter().filter(|c| c.there == There::Nothing).map(|c| c.oid).collect();
    hand.execute("SELECT pg_catalog.lo_create(o) FROM unnest($1::oid[]) AS o", &[&missing]).await?;
    let progress = Progress::default();
    fill(hand, &batch, terms, &progress).await?;
    let mut statements = String::new();
    for change in &batch {
        // Writing to a String can't fail.
        if let Some(owner) = &change.owner {
            let _ = write!(statements, "ALTER LARGE OBJECT {} OWNER TO {};", change.oid, quote::ident(owner));
        }
        if let Some(comment) = &change.comment {
            let _ = write!(statements, "COMMENT ON LARGE OBJECT {} IS {comment};", change.oid);
        }
    }
    hand.write(&statements).await?;
    let chosen: Vec<u32> = batch.iter().filter(|c| c.privileges).map(|c| c.oid).collect();
    if !chosen.is_empty() {
        let ours = hand.reader.query(PRIVILEGES, &[&chosen]).await.map_err(Failure::of("reading privileges"))?;
        let theirs = hand.loader.query(PRIVILEGES, &[&chosen]).await.map_err(Failure::of("reading privileges"))?;
        hand.write(&privileges(&chosen, &ours, &theirs)).await?;
    }
    hand.write("COMMIT").await?;
    hand.reader.batch_execute("ROLLBACK").await.map_err(Failure::of("reading large objects"))?;
    Ok(progress.bytes.load(std::sync::atomic::Ordering::Relaxed))
}

/// Moves content until both sides hold as much: what does not after its changed pages were moved is moved whole.
async fn fill(hand: &mut Hand, batch: &[&Change], terms: Terms, progress: &Progress) -> Result<(), Failure> {
    let mut open: HashMap<u32, (Content, bool)> =
        batch.iter().filter(|c| c.content != Content::Same).map(|c| (c.oid, (c.content, c.there == There::Filled))).collect();
    for _ in 0..2 {
        if open.is_empty() {
            return Ok(());
        }
        let of = |content: Content| {
            let mut oids: Vec<u32> = open.iter().filter(|(_, (c, _))| *c == content).map(|(oid, _)| *oid).collect();
            oids.sort_unstable();
            oids
        };
        let (whole, pages) = (of(Content::Whole), of(Content::Pages));
        let emptied: Vec<u32> = whole.iter().copied().filter(|oid| open[oid].1).collect();
        let nothing = vec![0_i64; emptied.len()];
        set_sizes(hand, &emptied, &nothing).await?;
        for (oids, window) in [(whole, None), (pages, terms.window)] {
            for condition in conditions(&oids, batch, terms.page) {
                let window = window.map(|w| format!(" AND {}", w.condition())).unwrap_or_default();
                let copy_to = format!(
                    "COPY (SELECT l.loid, l.pageno, l.data FROM pg_catalog.pg_largeobject l \
                     WHERE {condition}{window} AND pg_catalog.octet_length(l.data) > 0) TO STDOUT (FORMAT binary)"
                );
                hand.pipe(&copy_to, "COPY pg_temp.large_object_page FROM STDIN (FORMAT binary)", progress).await?;
                // The function is volatile, so it is not left out although nobody looks at what it gives.
                let put = format!(
                    "SELECT count(*) FROM (SELECT pg_catalog.lo_put(loid, pageno::bigint * {}, data)
                                           FROM pg_temp.large_object_page OFFSET 0) AS put;
                     TRUNCATE pg_temp.large_object_page",
                    terms.page
                );
                hand.write(&put).await?;
            }
        }
        let mut oids: Vec<u32> = open.keys().copied().collect();
        oids.sort_unstable();
        let (ours, theirs) = facts(hand, &oids).await?;
        // Ends that no page marks.
        let shifted: Vec<&Facts> = ours.values().filter(|f| theirs.get(&f.oid).is_some_and(|t| t.size != f.size)).collect();
        let (at, sizes): (Vec<u32>, Vec<i64>) = shifted.iter().map(|f| (f.oid, f.size)).unzip();
        set_sizes(hand, &at, &sizes).await?;
        let (ours, theirs) = if at.is_empty() { (ours, theirs) } else { facts(hand, &oids).await? };
        open.retain(|oid, _| match (ours.get(oid), theirs.get(oid)) {
            (Some(ours), Some(theirs)) => !ours.holds_as_much_as(theirs, terms.same_pages),
            _ => true,
        });
        for (content, filled) in open.values_mut() {
            (*content, *filled) = (Content::Whole, true);
        }
    }
    let mut left: Vec<String> = open.keys().map(ToString::to_string).collect();
    left.sort();
    if left.is_empty() {
        Ok(())
    } else {
        Err(Failure::Object(format!("still of another size after having been copied: {}", left.join(", "))))
    }
}

async fn facts(hand: &mut Hand, oids: &[u32]) -> Result<(HashMap<u32, Facts>, HashMap<u32, Facts>), Failure> {
    let (ours, theirs) = hand.facts(oids).await?;
    let read = |rows: &[Row]| {
        rows.iter()
            .map(|row| Facts::read(row).map(|facts| (facts.oid, facts)))
            .collect::<Result<HashMap<u32, Facts>, _>>()
            .map_err(Failure::of("looking at large objects"))
    };
    Ok((read(&ours)?, read(&theirs)?))
}

/// Cuts objects off, or draws them out, to these sizes.
async fn set_sizes(hand: &Hand, oids: &[u32], sizes: &[i64]) -> Result<(), Failure> {
    if oids.is_empty() {
        return Ok(());
    }
    // 131072 is INV_WRITE.
    let set = "SELECT pg_catalog.lo_truncate64(pg_catalog.lo_open(t.o, 131072), t.size) FROM unnest($1::oid[], $2::bigint[]) AS t(o, size)";
    hand.execute(set, &[&oids, &sizes]).await
}

/// Which pages to move together: those of all objects, or one large object's a piece at a time.
fn conditions(oids: &[u32], batch: &[&Change], page: i64) -> Vec<String> {
    match oids {
        [] => Vec::new(),
        [oid] => {
            let bytes = batch.iter().find(|c| c.oid == *oid).map_or(0, |c| c.bytes);
            let pieces = bytes / page.max(1) / CHUNK_PAGES;
            (0..=pieces)
                .map(|i| {
                    let from = i * CHUNK_PAGES;
                    let to = if i < pieces { format!(" AND l.pageno < {}", from + CHUNK_PAGES) } else { String::new() };
                    format!("l.loid = {oid} AND l.pageno >= {from}{to}")
                })
                .collect()
        }
        _ => {
            let list: Vec<String> = oids.iter().map(ToString::to_string).collect();
            vec![format!("l.loid = ANY ('{{{}}}')", list.join(","))]
        }
    }
}

fn grants(rows: &[Row], oid: u32) -> Vec<Grant> {
    rows.iter()
        .filter(|row| row.get::<_, u32>("oid") == oid)
        .map(|row| Grant {
            grantor: row.get("grantor"),
            grantee: row.get("grantee"),
            privilege: row.get("privilege"),
            grantable: row.get("grantable"),
        })
        .collect()
}

/// Statements that take everything away that the destination has granted, and grant what the source has, in its order.
fn privileges(oids: &[u32], ours: &[Row], theirs: &[Row]) -> String {
    let mut statements = String::new();
    for oid in oids {
        let on = format!("LARGE OBJECT {oid}");
        let (wanted, present) = (grants(ours, *oid), grants(theirs, *oid));
        if wanted == present {
            continue;
        }
        let owner = ours.iter().find(|row| row.get::<_, u32>("oid") == *oid).map(|row| row.get::<_, String>("owner"));
        let owner = owner.unwrap_or_default();
        for grant in present.iter().filter(|g| g.grantor == owner) {
            let role = if grant.grantee.is_empty() { "PUBLIC".to_owned() } else { quote::ident(&grant.grantee) };
            // What others granted on, goes with it. Writing to a String can't fail.
            let _ = write!(statements, "REVOKE ALL ON {on} FROM {role} CASCADE;");
        }
        for (grantor, sql) in difference(&[], &wanted, &owner, "", &on) {
            let _ = write!(statements, "{};", as_grantor(grantor.as_deref(), &sql));
        }
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(bytes: i64) -> Facts {
        Facts {
            oid: 7,
            owner: "o".into(),
            acl: "{o=rw/o}".into(),
            comment: None,
            pages: bytes / 2048,
            bytes,
            size: bytes,
            changed: false,
        }
    }

    fn content(source: &Facts, destination: &Facts) -> Option<Content> {
        judge(Some(source), Some(destination), true).map(|c| c.content)
    }

    #[test]
    fn what_is_alike_is_left_alone() {
        assert_eq!(judge(Some(&facts(4096)), Some(&facts(4096)), true), None);
        assert_eq!(judge(None, None, true), None);
    }

    #[test]
    fn only_what_was_written_since_is_moved() {
        let changed = Facts { changed: true, ..facts(4096) };
        assert_eq!(content(&changed, &facts(4096)), Some(Content::Pages));
        assert_eq!(content(&changed, &facts(0)), Some(Content::Whole));
        assert_eq!(content(&facts(4096), &facts(2048)), Some(Content::Whole));
        let hole = Facts { size: 8192, ..facts(4096) };
        assert_eq!(content(&hole, &facts(4096)), Some(Content::Whole));
    }

    #[test]
    fn what_one_side_lacks_is_made_or_dropped() {
        let made = judge(Some(&facts(0)), None, true).expect("to be made");
        assert!(made.there == There::Nothing && made.owner.as_deref() == Some("o") && made.privileges);
        assert!(judge(None, Some(&facts(5)), true).expect("to be dropped").drop);
    }

    #[test]
    fn owner_privileges_and_comment_count_without_the_content() {
        let mut other = facts(4096);
        other.owner = "p".into();
        let change = judge(Some(&other), Some(&facts(4096)), true).expect("another owner");
        assert_eq!((change.content, change.owner.as_deref(), change.privileges), (Content::Same, Some("p"), true));
        let said = Facts { comment: Some("c".into()), ..facts(4096) };
        assert_eq!(judge(Some(&facts(4096)), Some(&said), true).expect("no comment any more").comment.as_deref(), Some("NULL"));
    }

    #[test]
    fn a_large_object_is_moved_in_pieces_that_leave_nothing_out() {
        let change = judge(Some(&facts(2048 * CHUNK_PAGES * 2)), None, true).expect("to be made");
        assert_eq!(
            conditions(&[7], &[&change], 2048),
            [
                "l.loid = 7 AND l.pageno >= 0 AND l.pageno < 8192",
                "l.loid = 7 AND l.pageno >= 8192 AND l.pageno < 16384",
                "l.loid = 7 AND l.pageno >= 16384"
            ]
        );
        assert_eq!(conditions(&[7, 9], &[&change], 2048), ["l.loid = ANY ('{7,9}')"]);
    }

    #[test]
    fn a_window_that_is_too_wide_takes_everything() {
        assert_eq!(Window::new(5, 9).condition(), "((l.xmin::text::bigint - 5) & 4294967295) < 4");
        assert!(Window::new(0, 1 << 33).count > 4_294_967_295);
    }
}
