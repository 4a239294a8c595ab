//! Connection strings as they may be shown: what may be secret in them is masked, the rest stays as it was written.

/// Keywords of libpq whose values are no secrets.
const PUBLIC: [&str; 12] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "application_name",
    "fallback_application_name",
    "connect_timeout",
    "options",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
];

/// What stands for a value.
const MASK: &str = "********";

/// The connection string with every value masked that may be a secret. It still is one that libpq accepts. A form that is not
/// understood here (a URI, an error in it) is masked as a whole.
pub fn masked(conninfo: &str) -> String {
    parameters(conninfo).unwrap_or_else(|| format!("password={MASK}"))
}

/// Goes through `keyword = value` pairs as `conninfo_parse` in libpq's `fe-connect.c` does.
fn parameters(conninfo: &str) -> Option<String> {
    let mut shown = String::with_capacity(conninfo.len());
    let mut rest = conninfo;
    loop {
        let trimmed = rest.trim_start();
        if trimmed.is_empty() {
            return Some(shown);
        }
        let (name, after) = trimmed.split_once('=')?;
        let name = name.trim_end();
        if name.is_empty() || name.contains(char::is_whitespace) || name.contains('\'') || name.contains(':') {
            return None;
        }
        let value = after.trim_start();
        let length = value_length(value)?;
        // `host= password=x` gives libpq a strange host, and an operator's password away.
        if !value.starts_with('\'') && value[..length].contains('=') {
            return None;
        }
        if !shown.is_empty() {
            shown.push(' ');
        }
        shown.push_str(name);
        shown.push('=');
        shown.push_str(if PUBLIC.contains(&name) { &value[..length] } else { MASK });
        rest = &value[length..];
    }
}

/// The bytes of the value that a text begins with, quotes included; none if it has no end.
fn value_length(text: &str) -> Option<usize> {
    let quoted = text.starts_with('\'');
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(usize::from(quoted)) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\'' if quoted => return Some(at + 1),
            c if !quoted && c.is_ascii_whitespace() => return Some(at),
            _ => {}
        }
    }
    (!quoted).then_some(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_secret_is_masked() {
        for (conninfo, shown) in [
            (r"host=h port=1 dbname='no such' password=sec\ret", "host=h port=1 dbname='no such' password=********"),
            (r"password = 'it\'s = host=x' user='a\'b'", r"password=******** user='a\'b'"),
            ("sslpassword=x newer_secret=y", "sslpassword=******** newer_secret=********"),
            ("", ""),
        ] {
            assert_eq!(masked(conninfo), shown);
        }
    }

    #[test]
    fn what_is_not_understood_is_masked_as_a_whole() {
        for conninfo in [
            "postgresql://u:secret@h/d?x=y",
            "password='secret",
            "secret",
            "a secret=x",
            "host= password=x",
            "host='x' 'secret' = y",
        ] {
            assert_eq!(masked(conninfo), "password=********", "{conninfo}");
        }
    }
}
