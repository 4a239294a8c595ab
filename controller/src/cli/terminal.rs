//! Text that others wrote, on its way to a terminal: names, comments and servers' messages are shown, never obeyed.
//!
//! A name may hold anything but a zero byte: sequences that move the cursor or rewrite the window's title, line breaks that
//! make one finding look like two, marks that turn the reading direction around. Such characters are written out, as `\n` or
//! `\u{1b}`. What is for programs (`--json`, `plan` into psql) keeps its meaning to the last byte.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;

use serde_json::Value;

/// Whether a terminal might do something other than show the character.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn written_out(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    let hidden = |c: char| steers(c) && !keep(c);
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if hidden(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// A text in one line.
pub(super) fn line(text: &str) -> Cow<'_, str> {
    written_out(text, |_| false)
}

/// A text of several lines, the later ones indented, so that none of them looks like a line of ours.
pub(super) fn paragraph(text: &str, indent: &str) -> String {
    text.lines().map(line).collect::<Vec<_>>().join(&format!("\n{indent}"))
}

/// A text whose lines and tabs are its own: a script.
pub(super) fn script(text: &str) -> Cow<'_, str> {
    written_out(text, |c| c == '\n' || c == '\t')
}

/// JSON means the same with these characters written out, which can stand in its strings only.
pub(super) fn json(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(steers) {
        return text;
    }
    text.chars().fold(String::with_capacity(text.len() + 8), |mut json, c| {
        if steers(c) {
            // All of them are below U+10000. Writing to a String can't fail.
            let _ = write!(json, "\\u{:04x}", u32::from(c));
        } else {
            json.push(c);
        }
        json
    })
}

/// Standard error for the log: an event is a line, whatever the texts in it hold.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Whether events come with colours. Then the formatter has written out what is not its own.
    pub colours: bool,
}

impl io::Write for Log {
    /// The formatter gives a whole event at once.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let body = text.strip_suffix('\n').unwrap_or(&text);
        let shown = written_out(body, |c| self.colours && c == '\u{1b}');
        io::stderr().lock().write_all(format!("{shown}\n").as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_steer_a_terminal_is_written_out() {
        assert_eq!(line("größe 日本語 😀 \\ \"x\""), "größe 日本語 😀 \\ \"x\"");
        assert_eq!(line("a\u{1b}[2J\nb\t\u{7f}\u{9b}\u{202e}c\r"), r"a\u{1b}[2J\nb\t\u{7f}\u{9b}\u{202e}c\r");
        assert_eq!(script("CREATE\n\tTABLE \u{7};"), "CREATE\n\tTABLE \\u{7};");
    }

    #[test]
    fn a_later_line_never_begins_where_ours_do() {
        assert_eq!(paragraph("one\nerror [x] y\u{1b}", "      "), "one\n      error [x] y\\u{1b}");
    }

    #[test]
    fn json_keeps_its_meaning() {
        let value = serde_json::json!({ "na\u{7f}me": "\u{1b}\u{9b}2J\u{202e}\n\"\\ ü" });
        let text = json(&value);
        assert!(!text.contains(steers), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), value);
    }
}
