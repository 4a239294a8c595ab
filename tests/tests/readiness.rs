//! `cutover_ready` says yes only while every fact holds, and names the one that does not; and the way by hand.

use std::time::Duration;

use pg_migrator_tests::controller::CONTROL;
use pg_migrator_tests::databases::SMALL;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Controller, Error, Pair, Result, compare};

/// `cutover_ready` says no, and one of its reasons has all of these words in it.
fn blocked_by(words: &[&str]) -> String {
    let likes: Vec<String> = words.iter().map(|word| format!("b LIKE '%{word}%'")).collect();
    format!(
        "(SELECT NOT ready AND (SELECT coalesce(bool_or({}), false) FROM unnest(blockers) b) FROM migrator.cutover_ready())",
        likes.join(" AND ")
    )
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_cutover_is_named_and_gone_when_it_is_mended() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, "small", 1).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;

    // A prepared transaction.
    pair.source
        .run("small", "BEGIN; INSERT INTO app.events (what) VALUES ('prepared'); PREPARE TRANSACTION 'left behind'")
        .await?;
    controller.wait_for(&pair.destination, &blocked_by(&["small", "left behind"]), READY_LIMIT).await?;
    let answer = controller.ask(&["cutover", MAPPING]).await?;
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(format!("{}{}", answer.stdout, answer.stderr).contains("left behind"), "{answer:?}");
    pair.source.run("small", "COMMIT PREPARED 'left behind'").await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;

    // A column that only one side has: the stream stands still at the first row with it.
    pair.source
        .run("small", "ALTER TABLE app.codes ADD COLUMN extra integer; INSERT INTO app.codes VALUES ('drift', NULL, 1)")
        .await?;
    controller.wait_for(&pair.destination, &blocked_by(&["small", "codes", "extra"]), READY_LIMIT).await?;
    pair.destination.run("small", "ALTER TABLE app.codes ADD COLUMN extra integer").await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;

    // A table that came later.
    pair.source.run("small", "CREATE TABLE app.newcomer (id integer PRIMARY KEY)").await?;
    controller.wait_for(&pair.destination, &blocked_by(&["small", "newcomer"]), READY_LIMIT).await?;
    pair.source.run("small", "DROP TABLE app.newcomer").await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;

    // A stream that does not move.
    let subscription = pair.destination.value("small", "SELECT subname FROM pg_subscription").await?;
    let worker = "SELECT pid FROM pg_stat_subscription WHERE pid IS NOT NULL";
    let pid = pair.destination.value("small", worker).await?;
    pair.destination.run("small", &format!("ALTER SUBSCRIPTION {subscription} DISABLE")).await?;
    controller.wait_for(&pair.destination, "(SELECT NOT ready FROM migrator.cutover_ready())", READY_LIMIT).await?;
    assert_ne!(pid, "NULL");
    // Nobody but an operator disables it, so nobody but the controller enables it again.
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, "small").await?;
    Ok(())
}

/// What the source's administrators may do to its schema, how that is told, and how it is taken back.
const CHANGES: [(&str, &str, &str); 4] = [
    ("CREATE TABLE app.newcomer (id integer PRIMARY KEY)", "newcomer", "DROP TABLE app.newcomer"),
    ("ALTER TABLE app.codes RENAME meaning TO sense", "sense", "ALTER TABLE app.codes RENAME sense TO meaning"),
    ("ALTER TABLE app.limited ALTER v TYPE varchar(20)", "limited", "ALTER TABLE app.limited ALTER v TYPE varchar(10)"),
    ("ALTER SCHEMA app RENAME TO application", "application", "ALTER SCHEMA application RENAME TO app"),
];

#[tokio::test]
async fn a_change_of_the_schema_is_told_within_a_few_looks() -> Result<()> {
    // A look a second; at every fifteenth all is compared in any case.
    const SOON: Duration = Duration::from_secs(4);
    let pair = Pair::start(17).await?;
    SMALL.load(&pair.source, "small", 1).await?;
    pair.source.run("small", "CREATE TABLE app.limited (id integer PRIMARY KEY, v varchar(10))").await?;
    let mut controller = Controller::started(&pair.config().tick("1s"))?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    for (change, word, back) in CHANGES {
        pair.source.run("small", change).await?;
        controller.wait_for(&pair.destination, &blocked_by(&["small", word]), SOON).await?;
        pair.source.run("small", back).await?;
        controller.wait_until_ready(&pair.destination, MAPPING, SOON).await?;
    }
    // Also on the other side.
    pair.destination.run("small", "ALTER TABLE app.codes RENAME meaning TO sense").await?;
    controller.wait_for(&pair.destination, &blocked_by(&["small", "sense"]), SOON).await?;
    Ok(())
}

#[tokio::test]
async fn the_way_by_hand_works_as_its_instructions_say() -> Result<()> {
    let pair = Pair::start(14).await?;
    SMALL.load(&pair.source, "small", 1).await?;
    let writers = SMALL.write(&pair.source, "small", 3, Duration::from_millis(10)).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;

    let steps = pair.destination.column(CONTROL, "SELECT * FROM migrator.cutover_instructions('erp')").await?;
    let block = steps.iter().find_map(|step| between(step, "stop the writers of small: ", "; then end"));
    let end = steps.iter().find_map(|step| between(step, "end their sessions: ", ";"));
    let (Some(block), Some(end)) = (block, end) else {
        return Err(Error::Broken(format!("no statements in the instructions: {steps:#?}")));
    };
    pair.source.run("postgres", block).await?;
    pair.source.run("postgres", end).await?;
    // Every writer tries once more.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let tallies = writers.stop().await?;
    assert!(tallies.values().all(|tally| tally.cut_off), "a writer goes on: {tallies:?}");
    drained(&pair.source).await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    compare::equal(&pair.source, &pair.destination, "small").await?;

    pair.destination.run(CONTROL, "SELECT migrator.mark_complete('erp')").await?;
    let done = "coalesce((SELECT bool_or(succeeded) FROM migrator.requests WHERE kind = 'complete'), false)";
    controller.wait_for(&pair.destination, done, READY_LIMIT).await?;
    compare::equal(&pair.source, &pair.destination, "small").await?;
    compare::sequences_at_or_past(&pair.source, &pair.destination, "small").await?;
    let triggers = "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgenabled = 'O'";
    assert_eq!(pair.destination.value("small", triggers).await?, "1");
    assert_eq!(pair.source.value("postgres", "SELECT count(*) FROM pg_replication_slots").await?, "0");
    Ok(())
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let rest = &text[text.find(before)? + before.len()..];
    Some(&rest[..rest.find(after)?])
}
