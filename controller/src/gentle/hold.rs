//! Holds: why no further table is to be copied for now. Streams go on.

use std::collections::BTreeMap;

/// What holds a mapping's copying back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holds {
    /// That of all databases: what is waited for, in words.
    pub all: Option<String>,
    /// That of single ones.
    pub databases: BTreeMap<String, String>,
}

impl Holds {
    /// What a database waits for before it copies further tables; none if it need not wait.
    pub fn of(&self, database: &str) -> Option<&str> {
        self.all.as_ref().or_else(|| self.databases.get(database)).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_of_one_database_holds_no_other() {
        let mut holds = Holds::default();
        holds.databases.insert("a".to_owned(), "log".to_owned());
        assert_eq!((holds.of("a"), holds.of("b")), (Some("log"), None));
        holds.all = Some("night".to_owned());
        assert_eq!((holds.of("a"), holds.of("b")), (Some("night"), Some("night")));
    }
}
