//! Executing what comes before the data: in the plan's order, many statements in a transaction, and the tables, which are most of it,
//! on several sessions at once.

use std::sync::{Mutex, PoisonError};

use super::failure::Failures;
use super::schema::{BATCH, Error, execute_one, flush};
use crate::plan::{Section, Statement};
use crate::postgres::{Session, retry};

/// Executes the statements before the data: those that need one another in the plan's order. A failure fails its statement and what
/// needs it, and nothing else.
pub async fn before_data(
    sessions: &[&Session],
    database: &str,
    statements: &[Statement],
    done: impl FnMut(usize) + Send,
) -> Result<Failures, Error> {
    let waves = Waves::of(statements);
    let done = Mutex::new(done);
    let run = Run {
        database,
        statements,
        failures: Mutex::default(),
        done: &|n| done.lock().unwrap_or_else(PoisonError::into_inner)(n),
    };
    let Some(first) = sessions.first() else { return Ok(Failures::default()) };
    run.in_order(first, &waves.before).await?;
    let groups = Mutex::new(waves.groups.into_iter());
    let next = || groups.lock().unwrap_or_else(PoisonError::into_inner).next();
    let all = sessions.iter().map(|session| async {
        while let Some(group) = next() {
            run.in_order(session, &group).await?;
        }
        flush(session, database).await
    });
    futures_util::future::try_join_all(all).await?;
    run.in_order(first, &waves.after).await?;
    flush(first, database).await?;
    Ok(run.failures.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// What the sessions share.
struct Run<'a> {
    database: &'a str,
    statements: &'a [Statement],
    failures: Mutex<Failures>,
    done: &'a (dyn Fn(usize) + Sync),
}

impl Run<'_> {
    fn leaves_out(&self, index: usize) -> bool {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).leaves_out(self.statements, index)
    }

    /// Executes statements in the order given, in transactions of [`BATCH`]. When one fails, each of its statements is run by itself.
    async fn in_order(&self, session: &Session, statements: &[usize]) -> Result<(), Error> {
        let broken = |source| Error::Session { database: self.database.to_owned(), source };
        for batch in statements.chunks(BATCH) {
            let open: Vec<usize> = batch.iter().copied().filter(|i| !self.leaves_out(*i)).collect();
            let text: Vec<&str> = open.iter().map(|i| self.statements[*i].executable()).collect();
            // The newline ends a comment that a view or function may end with.
            let together = format!("BEGIN;\n{}\n;COMMIT", text.join("\n;\n"));
            if let Err(error) = session.batch_execute(&together).await {
                if session.is_closed() {
                    return Err(broken(error));
                }
                session.batch_execute("ROLLBACK").await.map_err(broken)?;
                for index in open {
                    if self.leaves_out(index) {
                        continue;
                    }
                    if let Err(error) = execute_one(session, self.statements[index].executable(), 0).await {
                        if retry::is_transient(&error) {
                            return Err(broken(error));
                        }
                        self.failures.lock().unwrap_or_else(PoisonError::into_inner).fail(index, retry::message(&error));
                    }
                }
            }
            (self.done)(batch.len());
        }
        Ok(())
    }
}

/// The statements before the data in three waves. Indexes are those of the plan.
#[derive(Debug, Default, PartialEq, Eq)]
struct Waves {
    /// What needs no table: schemas, types, functions.
    before: Vec<usize>,
    /// Tables and sequences, and what is done to them, in groups: nothing in one needs anything in another, so that sessions which hold
    /// the locks of one do not wait for each other.
    groups: Vec<Vec<usize>>,
    /// The rest: views, and tables that need such.
    after: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wave {
    Before,
    Groups,
    After,
}

impl Waves {
    fn of(statements: &[Statement]) -> Self {
        let mut waves = Self::default();
        let mut wave = vec![Wave::Before; statements.len()];
        let mut sets = Sets((0..statements.len()).collect());
        let before_data = || statements.iter().enumerate().filter(|(_, s)| s.section == Section::BeforeData);
        for (index, statement) in before_data() {
            let own = if matches!(statement.object.class, "table" | "sequence") { Wave::Groups } else { Wave::Before };
            let needed = statement.needs().map(|need| wave[need]).max().unwrap_or(Wave::Before);
            wave[index] = match (own, needed) {
                (Wave::Before, Wave::Before) => Wave::Before,
                (Wave::Groups, Wave::Before | Wave::Groups) => Wave::Groups,
                _ => Wave::After,
            };
            if wave[index] == Wave::Groups {
                statement.needs().filter(|need| wave[*need] == Wave::Groups).for_each(|need| sets.join(index, need));
            }
        }
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); statements.len()];
        for (index, _) in before_data() {
            match wave[index] {
                Wave::Before => waves.before.push(index),
                Wave::Groups => members[sets.find(index)].push(index),
                Wave::After => waves.after.push(index),
            }
        }
        // Small sets share a transaction.
        for set in members.into_iter().filter(|set| !set.is_empty()) {
            match waves.groups.last_mut() {
                Some(group) if group.len() + set.len() <= BATCH => group.extend(set),
                _ => waves.groups.push(set),
            }
        }
        waves
    }
}

/// Disjoint sets: each member's way to the one that stands for its set.
struct Sets(Vec<usize>);

impl Sets {
    fn find(&mut self, mut member: usize) -> usize {
        while self.0[member] != member {
            self.0[member] = self.0[self.0[member]];
            member = self.0[member];
        }
        member
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.find(one), self.find(other));
        // The first stands for all, so that sets come in the plan's order.
        self.0[one.max(other)] = one.min(other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ObjectName;
    use crate::plan::draft::Part;

    fn statement(class: &'static str, after: &[u32]) -> Statement {
        Statement {
            sql: String::new(),
            secret: None,
            object: ObjectName { class, schema: String::new(), parent: String::new(), name: String::new() }.into(),
            part: Part::Create,
            section: Section::BeforeData,
            table: None,
            between: None,
            done_when: None,
            undo: None,
            after: after.into(),
        }
    }

    #[test]
    fn tables_that_need_each_other_stay_together_and_others_may_go_apart() {
        let mut statements = vec![statement("schema", &[])];
        // Two trees of so many statements that they don't share a transaction.
        for tree in 0..2_u32 {
            let root = 1 + tree * 150;
            statements.push(statement("table", &[0]));
            statements.extend((1..150).map(|_| statement("table", &[root])));
        }
        statements.push(statement("view", &[7]));
        statements.push(statement("table", &[301]));
        statements.push(statement("function", &[0]));
        let waves = Waves::of(&statements);
        assert_eq!(waves.before, [0, 303]);
        assert_eq!(waves.groups, [(1..151).collect::<Vec<_>>(), (151..301).collect()]);
        assert_eq!(waves.after, [301, 302], "a table made from a view's row type waits for the view");
    }

    #[test]
    fn small_sets_share_a_transaction_and_a_large_one_is_one_group() {
        let mut statements: Vec<Statement> = (0..=BATCH).map(|_| statement("table", &[])).collect();
        statements.push(statement("sequence", &[]));
        let last = u32::try_from(statements.len() - 1).expect("it is small");
        statements.extend((0..2 * BATCH).map(|_| statement("table", &[last])));
        let waves = Waves::of(&statements);
        let sizes: Vec<usize> = waves.groups.iter().map(Vec::len).collect();
        assert_eq!(sizes, [BATCH, 1, 2 * BATCH + 1]);
    }
}
