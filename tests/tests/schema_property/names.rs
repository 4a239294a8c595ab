//! Names that try to be something else.

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

/// What names begin with.
const BEGINNINGS: &[&str] = &[
    "plain",
    "select",
    "table",
    "user",
    "We ird",
    "UPPER",
    "a\"b",
    "\"\"",
    "it's",
    "a.b",
    "x; DROP TABLE y; --",
    "größe",
    "日本語",
    "émoji😀",
    "tab\there",
    "new\nline",
    "cr\rhere",
    "back\\slash",
    "\\'",
    "$1",
    "$$",
    "$q$",
    "%s%I",
    "1st",
    " ",
    " lead",
    "/*c*/",
    "--",
    "{a,b}",
    "(a)",
    "=",
    "pg_x",
    "\u{1}\u{7f}",
    "\u{202e}rtl",
    "a\u{301}",
    "NULL",
    "public",
    "E'x'",
    "U&\"x\"",
    ":var",
    ":'v'",
    "@",
    "#",
    "~",
    "`",
];

/// A new name of at most 63 bytes: `number` makes it unique.
pub fn hostile(rng: &mut StdRng, number: usize) -> String {
    let mut name = String::new();
    if rng.random_bool(0.4) {
        name.push_str("plain");
    } else if rng.random_bool(0.7) {
        name.push_str(BEGINNINGS.choose(rng).copied().unwrap_or("x"));
    } else {
        for _ in 0..rng.random_range(1..12) {
            name.push(char::from(rng.random_range(1_u8..128)));
        }
    }
    let end = format!("_{number}");
    let limit = 63 - end.len();
    if rng.random_bool(0.1) {
        // As long as a name may be, in characters of two bytes where that comes out even.
        while name.len() + 2 <= limit {
            name.push('ü');
        }
    }
    name.push_str(&end);
    name
}

/// As an identifier.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// As a literal, where `standard_conforming_strings` is on.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
