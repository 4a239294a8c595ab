//! What a server refused while it took rows, told without the rows: a message about a value quotes it, its detail shows the row, its
//! context the line. They are somebody's data, and belong neither into a log nor into a finding. What is told is made of the fields of the
//! message that hold names, and of the number of the line.

use tokio_postgres::error::DbError;

/// What is known of a refusal, without any text that may quote a value.
#[derive(Debug, Default)]
struct Refusal<'a> {
    state: &'a str,
    message: &'a str,
    context: Option<&'a str>,
    constraint: Option<&'a str>,
    column: Option<&'a str>,
    datatype: Option<&'a str>,
    /// The function of the server that raised it.
    routine: Option<&'a str>,
}

/// Why rows were refused, as text that holds nothing of them.
pub fn without_rows(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => tell(&of(error)),
        // The driver's own words are of the connection.
        None => super::retry::message(error),
    }
}

fn of(error: &DbError) -> Refusal<'_> {
    Refusal {
        state: error.code().code(),
        message: error.message(),
        context: error.where_(),
        constraint: error.constraint(),
        column: error.column(),
        datatype: error.datatype(),
        routine: error.routine(),
    }
}

fn tell(refusal: &Refusal<'_>) -> String {
    let place = refusal.context.and_then(place);
    let mut text = if is_of_rows(refusal) {
        format!("{} (SQLSTATE {})", words(refusal.state), refusal.state)
    } else {
        refusal.message.to_owned()
    };
    let column = refusal.column.or(place.and_then(|(_, column)| column));
    let names = [("constraint", refusal.constraint), ("column", column), ("type", refusal.datatype)];
    for (what, name) in names {
        if let Some(name) = name.filter(|name| !text.contains(*name)) {
            text.extend(["; ", what, " ", name]);
        }
    }
    if let Some((line, _)) = place {
        text.extend(["; line ", line, " of the rows as they were copied"]);
    }
    text
}

/// Whether code of the user's has its hand in it, which may say anything.
fn is_of_user_code(refusal: &Refusal<'_>) -> bool {
    refusal.routine == Some("exec_stmt_raise")
        || refusal.context.is_some_and(|context| context.lines().any(|line| !line.starts_with("COPY ")))
}

/// Whether the server's words may be of a row. Those about its own condition (connections, resources, privileges, locks) are not.
fn is_of_rows(refusal: &Refusal<'_>) -> bool {
    let is_one_of = |classes: &[&str]| classes.iter().any(|class| refusal.state.starts_with(class));
    is_of_user_code(refusal)
        || is_one_of(&["21", "22", "23", "2F", "38", "39", "44", "P0"])
        // An extension's types may use any state, or none, for what they refuse.
        || refusal.context.is_some() && !is_one_of(&["08", "40", "42", "53", "54", "55", "57", "58"])
}

/// Why a single row was refused, for whoever needs its key to find it: that of a constraint that is about keys is told, the rest of the
/// row is not.
pub fn with_key(error: &tokio_postgres::Error) -> String {
    let Some(error) = error.as_db_error() else { return super::retry::message(error) };
    let refusal = of(error);
    if !refusal.state.starts_with("23") || is_of_user_code(&refusal) {
        return tell(&refusal);
    }
    let detail = error.detail().filter(|_| matches!(refusal.state, "23503" | "23505" | "23P01"));
    detail.map_or_else(|| refusal.message.to_owned(), |detail| format!("{}; {detail}", refusal.message))
}

/// What a state means, in words of our own.
fn words(state: &str) -> &'static str {
    match state {
        "23502" => "a value is null where that is not allowed",
        "23503" => "a foreign key points to a row that is not there",
        "23505" => "a key is there twice",
        "23514" => "a check constraint is violated",
        "23P01" => "an exclusion constraint is violated",
        "22001" => "a value is too long for its type",
        "22003" => "a number is out of the range of its type",
        "22007" | "22008" => "a date or time is not valid, or out of range",
        "22021" => "bytes are not valid in the database's encoding",
        "22P02" | "22P03" => "a value is not valid for its type",
        "22P04" => "the destination's table does not have the columns that the source's rows have",
        "22P05" => "a character is not known in the database's encoding",
        _ if state.starts_with("22") => "a value is not accepted",
        _ if state.starts_with("23") => "a constraint is violated",
        _ => "code that the table runs (a constraint, a domain, a function) failed",
    }
}

/// Line and column of a COPY, by its context: `COPY name, line 7, column a: "…"`. A context in another language tells nothing.
fn place(context: &str) -> Option<(&str, Option<&str>)> {
    let line = context.lines().find(|line| line.starts_with("COPY "))?;
    let rest = &line[line.find(", line ")? + ", line ".len()..];
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, rest) = rest.split_at(end);
    if number.is_empty() {
        return None;
    }
    // What follows the colon is the value, or the whole line.
    let column = rest.strip_prefix(", column ").and_then(|rest| rest.split_once(": ")).map(|(name, _)| name);
    Some((number, column))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "hunter2";

    #[test]
    fn a_refused_row_is_told_by_constraint_column_and_line_alone() {
        let check = Refusal {
            state: "23514",
            message: "new row for relation \"t\" violates check constraint \"small\"",
            context: Some("COPY t, line 7: \"1\thunter2\""),
            constraint: Some("small"),
            routine: Some("ExecConstraints"),
            ..Refusal::default()
        };
        let expected =
            "a check constraint is violated (SQLSTATE 23514); constraint small; line 7 of the rows as they were copied";
        assert_eq!(tell(&check), expected);
        let value = Refusal {
            state: "22P02",
            message: "invalid input syntax for type integer: \"hunter2\"",
            context: Some("COPY t, line 12, column age: \"hunter2\""),
            routine: Some("pg_strtoint32_safe"),
            ..Refusal::default()
        };
        let expected = "a value is not valid for its type (SQLSTATE 22P02); column age; line 12 of the rows as they were copied";
        assert_eq!(tell(&value), expected);
    }

    #[test]
    fn what_the_users_own_code_says_is_not_repeated_whatever_state_it_claims() {
        for state in ["P0001", "53100", "42501"] {
            let raised = Refusal {
                state,
                message: "no: hunter2",
                context: Some("PL/pgSQL function f(text) line 1 at RAISE\nCOPY t, line 3: \"hunter2\""),
                routine: Some("exec_stmt_raise"),
                ..Refusal::default()
            };
            let told = tell(&raised);
            assert!(!told.contains(SECRET) && told.contains(state) && told.contains("line 3"), "{told}");
        }
    }

    #[test]
    fn what_the_server_says_of_itself_is_told_in_its_words() {
        let full = Refusal {
            state: "53100",
            message: "could not extend file \"base/1/2\": No space left on device",
            context: Some("COPY t, line 9: \"hunter2\""),
            routine: Some("mdextend"),
            ..Refusal::default()
        };
        let told = tell(&full);
        assert!(told.starts_with("could not extend file") && told.contains("line 9") && !told.contains(SECRET), "{told}");
    }

    #[test]
    fn a_context_that_looks_like_another_gives_no_value_away() {
        assert_eq!(place("COPY t, line 4, column b: null input"), Some(("4", Some("b"))));
        assert_eq!(place("COPY t, line 4: \"a, column hunter2: x\""), Some(("4", None)));
        assert_eq!(place("COPY t, Zeile 4: \"hunter2\""), None);
        assert_eq!(place("COPY t, line hunter2"), None);
    }
}
