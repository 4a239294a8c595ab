//! `check` says beforehand which statement will fail, and leaves nothing behind.

use pg_migrator_tests::databases::SMALL;
use pg_migrator_tests::{Controller, Pair, Result, dump_diff};

#[tokio::test]
async fn check_names_every_statement_that_will_fail_before_anything_is_touched() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, "small", 1).await?;
    // A role that only the source has is no obstacle: run makes it. Roles made here would be the destination's too.
    pair.source.run("small", "CREATE ROLE newcomer; ALTER TABLE app.codes OWNER TO newcomer").await?;
    let controller = Controller::new(&pair.config())?;
    let sound = controller.ask(&["check"]).await?;
    assert_eq!(sound.code, 0, "{}{}", sound.stdout, sound.stderr);

    // A view on a column that 17 removed.
    pair.source.run("small", "CREATE VIEW app.removed AS SELECT checkpoints_timed FROM pg_catalog.pg_stat_bgwriter").await?;
    let before = dump_diff::schema(&pair.source, "small")?;
    let answer = controller.ask(&["check"]).await?;
    assert_eq!(answer.code, 1, "{}", answer.stdout);
    // What the catalogs tell beforehand and what the server says of the statement is one finding.
    for named in ["[removed_name] small: view app.removed", "checkpoints_timed", "does not exist"] {
        assert!(answer.stdout.contains(named), "{named} is not named:\n{}", answer.stdout);
    }
    assert!(!answer.stdout.contains("statement_failed"), "it is told twice:\n{}", answer.stdout);
    dump_diff::same("the source", &before, &dump_diff::schema(&pair.source, "small")?)?;
    assert!(pair.destination.databases().await?.is_empty(), "the scratch database is gone");
    assert_eq!(pair.destination.value("postgres", "SELECT count(*) FROM pg_roles WHERE rolname = 'newcomer'").await?, "0");
    Ok(())
}
