//! One catalog query serves every version: differences are marked in the file itself, which runs in psql against a new server as it stands.
//!
//! - a line that ends in `-- since 12` is left out before version 12
//! - a line `-- before 12: text` becomes `text` before version 12
//! - a line `-- 11 to 13: text` becomes `text` in versions 11, 12 and 13
//! - a line that ends in `-- for superusers` is left out for others, and a line `-- for others: text` becomes `text` for them

use crate::postgres::ServerVersion;

/// What decides which query it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session {
    /// The server's version.
    pub version: ServerVersion,
    /// Whether the session is a superuser's.
    pub superuser: bool,
}

/// The query as this server and session may run it.
pub(super) fn adapt(sql: &str, session: Session) -> String {
    let mut adapted = String::with_capacity(sql.len());
    for line in sql.lines() {
        if let Some(line) = adapt_line(line, session) {
            adapted.push_str(line);
            adapted.push('\n');
        }
    }
    adapted
}

fn adapt_line(line: &str, session: Session) -> Option<&str> {
    let version = session.version;
    if let Some(code) = line.strip_suffix("-- for superusers") {
        return session.superuser.then_some(code);
    }
    if let Some(code) = line.trim_start().strip_prefix("-- for others: ") {
        return (!session.superuser).then_some(code);
    }
    if let Some((code, since)) = line.rsplit_once("-- since ")
        && let Ok(since) = since.trim().parse()
    {
        return version.at_least(since).then_some(code);
    }
    if let Some((range, code)) = line.trim_start().strip_prefix("-- ").and_then(|comment| comment.split_once(": ")) {
        if let Some(before) = range.strip_prefix("before ").and_then(|before| before.parse().ok()) {
            return (!version.at_least(before)).then_some(code);
        }
        if let Some((first, last)) = range.split_once(" to ")
            && let (Ok(first), Ok(last)) = (first.parse(), last.parse::<i32>())
        {
            return (version.at_least(first) && version.major() <= last).then_some(code);
        }
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQL: &str =
        "SELECT 1,\n  a.new, -- since 12\n  -- before 12: '' AS new,\n  -- 11 to 13: 'between',\n  -- a remark: kept\n  2\n";

    fn session(version: i32, superuser: bool) -> Session {
        Session { version: ServerVersion(version), superuser }
    }

    #[test]
    fn only_superusers_get_what_others_may_not_see() {
        let sql = "a, -- for superusers\n-- for others: NULL AS a,\nb\n";
        assert_eq!(adapt(sql, session(150_000, true)), "a, \nb\n");
        assert_eq!(adapt(sql, session(150_000, false)), "NULL AS a,\nb\n");
    }

    #[test]
    fn old_servers_get_the_substitute() {
        assert_eq!(adapt(SQL, session(100_023, false)), "SELECT 1,\n'' AS new,\n  -- a remark: kept\n  2\n");
        assert_eq!(adapt(SQL, session(110_022, false)), "SELECT 1,\n'' AS new,\n'between',\n  -- a remark: kept\n  2\n");
    }

    #[test]
    fn new_servers_get_the_line() {
        assert_eq!(adapt(SQL, session(150_018, false)), "SELECT 1,\n  a.new, \n  -- a remark: kept\n  2\n");
    }
}
