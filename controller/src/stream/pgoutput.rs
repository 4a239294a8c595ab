//! The messages of the `pgoutput` plugin, protocol version 1, as far as row changes need them. Pure.
//!
//! <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>

use crate::postgres::Lsn;

/// A message is not what the protocol says.
#[derive(Debug, thiserror::Error)]
#[error("a message of the source's log can't be read: {0}")]
pub struct Malformed(&'static str);

/// One column of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Whether it is part of the replica identity.
    pub is_key: bool,
}

/// A table, as it was when the change was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// OID on the source.
    pub oid: u32,
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// Its published columns.
    pub columns: Vec<Column>,
}

/// A column's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// SQL's null.
    Null,
    /// A long value that the change left as it was, and that is not in the log.
    Unchanged,
    /// Its text form.
    Text(String),
}

/// A row: a value for each column of its relation.
pub type Tuple = Vec<Value>;

/// What is in the log of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A transaction begins that committed at this position.
    Begin {
        /// Where its commit begins.
        commit: Lsn,
        /// Its id.
        xid: u32,
    },
    /// It ends.
    Commit,
    /// A table that the following changes are of.
    Relation(Relation),
    /// A new row.
    Insert {
        /// OID of the relation.
        relation: u32,
        /// The row.
        new: Tuple,
    },
    /// A changed row.
    Update {
        /// OID of the relation.
        relation: u32,
        /// The old key, or the whole old row; none if the key did not change.
        old: Option<Tuple>,
        /// The row.
        new: Tuple,
    },
    /// A deleted row.
    Delete {
        /// OID of the relation.
        relation: u32,
        /// The old key, or the whole old row.
        old: Tuple,
    },
    /// Emptied tables.
    Truncate {
        /// OIDs of the relations.
        relations: Vec<u32>,
        /// Whether their sequences begin anew.
        restart: bool,
    },
    /// What does not concern rows: types, origins, messages.
    Other,
}

/// Reads one message.
pub fn parse(bytes: &[u8]) -> Result<Message, Malformed> {
    let mut input = Input(bytes);
    Ok(match input.byte()? {
        b'B' => {
            let commit = Lsn(input.u64()?);
            input.u64()?;
            Message::Begin { commit, xid: input.u32()? }
        }
        b'C' => Message::Commit,
        b'R' => Message::Relation(relation(&mut input)?),
        b'I' => {
            let relation = input.u32()?;
            input.byte()?;
            Message::Insert { relation, new: tuple(&mut input)? }
        }
        b'U' => {
            let relation = input.u32()?;
            let old = match input.byte()? {
                b'K' | b'O' => {
                    let old = tuple(&mut input)?;
                    input.byte()?;
                    Some(old)
                }
                _ => None,
            };
            Message::Update { relation, old, new: tuple(&mut input)? }
        }
        b'D' => {
            let relation = input.u32()?;
            input.byte()?;
            Message::Delete { relation, old: tuple(&mut input)? }
        }
        b'T' => {
            let count = input.u32()?;
            let restart = input.byte()? & 2 != 0;
            let relations = (0..count).map(|_| input.u32()).collect::<Result<_, _>>()?;
            Message::Truncate { relations, restart }
        }
        _ => Message::Other,
    })
}

fn relation(input: &mut Input<'_>) -> Result<Relation, Malformed> {
    let oid = input.u32()?;
    let schema = match input.text()? {
        // The protocol's short form of it.
        empty if empty.is_empty() => "pg_catalog".to_owned(),
        schema => schema,
    };
    let name = input.text()?;
    input.byte()?;
    let count = input.u16()?;
    let mut columns = Vec::with_capacity(count.into());
    for _ in 0..count {
        let is_key = input.byte()? & 1 != 0;
        columns.push(Column { name: input.text()?, is_key });
        // Type and its modifier.
        input.u64()?;
    }
    Ok(Relation { oid, schema, name, columns })
}

fn tuple(input: &mut Input<'_>) -> Result<Tuple, Malformed> {
    let count = input.u16()?;
    let mut values = Vec::with_capacity(count.into());
    for _ in 0..count {
        values.push(match input.byte()? {
            b'n' => Value::Null,
            b'u' => Value::Unchanged,
            b't' => {
                let length = input.u32()?;
                Value::Text(String::from_utf8_lossy(input.take(length as usize)?).into_owned())
            }
            _ => return Err(Malformed("a value of an unknown kind")),
        });
    }
    Ok(values)
}

/// What is left to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed("it ends too early"))
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let end = self.0.iter().position(|b| *b == 0).ok_or(Malformed("a name has no end"))?;
        let text = String::from_utf8_lossy(self.take(end)?).into_owned();
        self.byte()?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn be(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    #[test]
    fn messages_are_read_as_documented() {
        let begin = be(&[b"B", &7_u64.to_be_bytes(), &[0; 8], &9_u32.to_be_bytes()]);
        assert_eq!(parse(&begin).expect("begin"), Message::Begin { commit: Lsn(7), xid: 9 });
        let relation = be(&[b"R", &5_u32.to_be_bytes(), b"s\0t\0d", &[0, 2], b"\x01id\0", &[0; 8], b"\0v\0", &[0; 8]]);
        let Message::Relation(relation) = parse(&relation).expect("relation") else { panic!("no relation") };
        assert_eq!((relation.schema.as_str(), relation.name.as_str()), ("s", "t"));
        assert_eq!(relation.columns.iter().map(|c| c.is_key).collect::<Vec<_>>(), [true, false]);
        let update = be(&[b"U", &5_u32.to_be_bytes(), b"K", &[0, 2], b"t\0\0\0\x011n", b"N", &[0, 2], b"t\0\0\0\x012u"]);
        assert_eq!(
            parse(&update).expect("update"),
            Message::Update {
                relation: 5,
                old: Some(vec![Value::Text("1".into()), Value::Null]),
                new: vec![Value::Text("2".into()), Value::Unchanged],
            }
        );
        let truncate = be(&[b"T", &2_u32.to_be_bytes(), &[3], &5_u32.to_be_bytes(), &6_u32.to_be_bytes()]);
        assert_eq!(parse(&truncate).expect("truncate"), Message::Truncate { relations: vec![5, 6], restart: true });
        assert_eq!(parse(b"Y...").expect("a type"), Message::Other);
    }

    #[test]
    fn a_message_that_ends_too_early_is_an_error() {
        assert!(parse(b"").is_err());
        assert!(parse(b"I\0\0\0\x05N\0\x01t\0\0\0\x09abc").is_err());
        assert!(parse(b"R\0\0\0\x05never ending").is_err());
    }
}
