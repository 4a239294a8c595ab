//! A cutover that is undone leaves nothing behind: on the destination nothing is on that would disturb the stream, on the source nobody is
//! kept out, now or later; and the ledger says the same.

use std::time::{Duration, Instant};

use pg_migrator_tests::controller::CONTROL;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Cluster, Controller, Error, Pair, Result, cluster, compare};

const DATABASE: &str = "small";

/// A table with a trigger that fires for the apply worker as well: on the destination it is off until the switch.
const SCHEMA: &str = "
    CREATE TABLE notes (id integer PRIMARY KEY, note text);
    INSERT INTO notes SELECT i, 'as written' FROM generate_series(1, 100) i;
    CREATE FUNCTION scribble() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF current_setting('server_version_num')::integer >= 180000 THEN
            NEW.note := 'fired again';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER scribble BEFORE INSERT OR UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION scribble();
    ALTER TABLE notes ENABLE ALWAYS TRIGGER scribble";

/// Which state the trigger has on the destination.
const TRIGGER: &str = "SELECT tgenabled FROM pg_trigger WHERE tgname = 'scribble'";

/// What the ledger says to be in force of a cutover.
const IN_FORCE: &str =
    "SELECT count(*) FROM migrator.side_effects WHERE kind IN ('write_block', 'switched_on') AND undone_at IS NULL";

/// Settings of databases and roles that keep somebody from writing.
const BLOCKED: &str =
    "SELECT count(*) > 0 FROM pg_db_role_setting, unnest(setconfig) c WHERE c = 'default_transaction_read_only=on'";

/// Ends the controller's sessions; gives how many there were.
const END_OURS: &str =
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'pg-migrator/%'";

/// Whether somebody waits for a lock on the table, as the switch does that is kept from it.
const WAITING: &str = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'notes'::regclass";

async fn load(pair: &Pair) -> Result<()> {
    pair.source.run("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
    pair.source.run(DATABASE, SCHEMA).await
}

/// Waits until a query gives this.
async fn until(server: &Cluster, database: &str, sql: &str, expected: &str) -> Result<()> {
    let begun = Instant::now();
    loop {
        let found = server.value(database, sql).await?;
        if found == expected {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_secs(30) {
            let state = format!("it gave {found}, not {expected}");
            return Err(Error::Timeout { what: sql.to_owned(), waited: begun.elapsed(), state });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Nothing of an undone cutover is left, and what is written after it arrives as it was written.
async fn nothing_is_left(pair: &Pair) -> Result<()> {
    assert_eq!(pair.source.value("postgres", BLOCKED).await?, "f", "writers are still kept out");
    assert_eq!(pair.destination.value(CONTROL, IN_FORCE).await?, "0", "the ledger disagrees");
    assert_eq!(pair.destination.value(DATABASE, TRIGGER).await?, "D", "the trigger was left on");
    pair.source.run(DATABASE, "INSERT INTO notes SELECT max(id) + 1, 'as written' FROM notes").await?;
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, DATABASE).await.map(drop)
}

/// A transaction of its own, held open until it is dropped or ended.
async fn holding(server: &Cluster, database: &str, statements: &str) -> Result<tokio_postgres::Client> {
    let client = server.connect(database).await?;
    cluster::rows(&client, &format!("BEGIN; {statements}")).await?;
    Ok(client)
}

#[tokio::test]
async fn what_was_switched_on_is_switched_off_also_by_a_controller_that_comes_after() -> Result<()> {
    let pair = Pair::start(15).await?;
    load(&pair).await?;
    let mut controller = Controller::started(&pair.config())?;
    // In time, the next controller tries once more, and fails; after the limit it may not.
    for (limit, in_time) in [(60, true), (4, false)] {
        controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
        assert_eq!(pair.destination.value(DATABASE, TRIGGER).await?, "D");
        // The switch is in reach, and waits.
        let user = holding(&pair.destination, DATABASE, "LOCK TABLE notes IN ROW EXCLUSIVE MODE").await?;
        let cutover = format!("SELECT migrator.cutover('{MAPPING}', '{limit} seconds')");
        let request = pair.destination.value(CONTROL, &cutover).await?;
        until(&pair.source, "postgres", BLOCKED, "t").await?;
        let blocked = Instant::now();
        // Then the answer is all that is left to do, and waits.
        let row = format!("SELECT FROM migrator.request WHERE id = {request} FOR UPDATE");
        let reader = holding(&pair.destination, CONTROL, &row).await?;
        drop(user);
        until(&pair.destination, DATABASE, TRIGGER, "A").await?;
        controller.kill()?;
        // With the machine that it ran on: the answer was not given.
        until(&pair.destination, "postgres", END_OURS, "0").await?;
        drop(reader);
        if in_time {
            let in_the_way = "BEGIN READ WRITE; UPDATE notes SET note = note WHERE id = 1; PREPARE TRANSACTION 'in the way'";
            pair.source.run(DATABASE, in_the_way).await?;
        } else {
            tokio::time::sleep(Duration::from_secs(limit).saturating_sub(blocked.elapsed())).await;
        }
        controller.start()?;
        let refused = format!("(SELECT NOT succeeded FROM migrator.requests WHERE id = {request})");
        controller.wait_for(&pair.destination, &refused, READY_LIMIT).await?;
        if in_time {
            pair.source.run(DATABASE, "ROLLBACK PREPARED 'in the way'").await?;
        }
        nothing_is_left(&pair).await?;
    }
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    assert_eq!(pair.destination.value(DATABASE, TRIGGER).await?, "A");
    controller.must(&["complete", MAPPING]).await?;
    assert_eq!(pair.destination.value(DATABASE, TRIGGER).await?, "A", "completion leaves it on");
    assert_eq!(pair.destination.value(CONTROL, IN_FORCE).await?, "0");
    Ok(())
}

#[tokio::test]
async fn a_switch_whose_commit_is_still_on_its_way_when_the_limit_is_over_is_taken_back() -> Result<()> {
    // What is committed at leisure waits for no standby; the switch, which must be safe when it is reported, does.
    let (source, destination) = tokio::try_join!(Cluster::start(15), Cluster::of(18).set("synchronous_commit", "local").start())?;
    let pair = Pair { source, destination };
    load(&pair).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    pair.destination.run("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await?;
    pair.destination.run("postgres", "SELECT pg_reload_conf()").await?;
    let answer = controller.ask(&["cutover", MAPPING, "--timeout", "3"]).await?;
    assert_eq!(answer.code, 1, "{}{}", answer.stdout, answer.stderr);
    assert!(answer.stdout.contains("while switching triggers on"), "{}", answer.stdout);
    nothing_is_left(&pair).await?;
    pair.destination.run("postgres", "ALTER SYSTEM RESET synchronous_standby_names").await?;
    pair.destination.run("postgres", "SELECT pg_reload_conf()").await?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    assert_eq!(pair.destination.value(DATABASE, TRIGGER).await?, "A");
    Ok(())
}

#[tokio::test]
async fn a_block_that_was_still_being_set_when_the_limit_was_over_does_not_come_back() -> Result<()> {
    let pair = Pair::start(15).await?;
    load(&pair).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    // Somebody changes the same row of the catalog, and takes his time.
    let somebody = holding(&pair.source, "postgres", &format!("ALTER DATABASE {DATABASE} SET work_mem = '5MB'")).await?;
    let answer = controller.ask(&["cutover", MAPPING, "--timeout", "2"]).await?;
    assert_eq!(answer.code, 1, "{}{}", answer.stdout, answer.stderr);
    cluster::rows(&somebody, "ROLLBACK").await?;
    // Whoever waited for him has had his turn when this has.
    pair.source.run("postgres", &format!("ALTER DATABASE {DATABASE} SET work_mem = '6MB'")).await?;
    nothing_is_left(&pair).await
}

#[tokio::test]
async fn a_switch_is_not_made_when_somebody_has_let_writers_in_again() -> Result<()> {
    let pair = Pair::start(15).await?;
    load(&pair).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    let user = holding(&pair.destination, DATABASE, "LOCK TABLE notes IN ROW EXCLUSIVE MODE").await?;
    let request = pair.destination.value(CONTROL, &format!("SELECT migrator.cutover('{MAPPING}', '60 seconds')")).await?;
    until(&pair.destination, DATABASE, WAITING, "t").await?;
    pair.source.run("postgres", &format!("ALTER DATABASE {DATABASE} RESET default_transaction_read_only")).await?;
    pair.source.run(DATABASE, "INSERT INTO notes VALUES (1000, 'as written')").await?;
    drop(user);
    let refused =
        format!("(SELECT NOT succeeded AND report ->> 'error' LIKE '%taken back%' FROM migrator.requests WHERE id = {request})");
    controller.wait_for(&pair.destination, &refused, READY_LIMIT).await?;
    nothing_is_left(&pair).await
}

#[tokio::test]
async fn a_controller_that_was_replaced_in_mid_cutover_does_not_let_writers_in_under_its_successor() -> Result<()> {
    let pair = Pair::start(15).await?;
    load(&pair).await?;
    let mut first = Controller::started(&pair.config())?;
    first.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    let user = holding(&pair.destination, DATABASE, "LOCK TABLE notes IN ROW EXCLUSIVE MODE").await?;
    let request = pair.destination.value(CONTROL, &format!("SELECT migrator.cutover('{MAPPING}', '60 seconds')")).await?;
    until(&pair.destination, DATABASE, WAITING, "t").await?;
    // The first loses its lock with its sessions, and does not know.
    let lost = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{CONTROL}' AND application_name LIKE 'pg-migrator/%'"
    );
    pair.destination.value("postgres", &lost).await?;
    let mut second = Controller::started(&pair.config())?;
    let begun = Instant::now();
    while !first.log()?.contains("another controller has taken the mapping over") {
        assert_eq!(pair.source.value("postgres", BLOCKED).await?, "t", "the first has let writers in");
        assert!(begun.elapsed() < Duration::from_secs(30), "the first has not noticed: {}", first.log_end());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(user);
    let succeeded = format!("(SELECT succeeded FROM migrator.requests WHERE id = {request})");
    second.wait_for(&pair.destination, &succeeded, READY_LIMIT).await?;
    assert_eq!(pair.source.value("postgres", BLOCKED).await?, "t");
    assert_eq!(pair.destination.value(DATABASE, TRIGGER).await?, "A");
    first.kill()?;
    second.must(&["complete", MAPPING]).await?;
    assert_eq!(pair.source.value("postgres", BLOCKED).await?, "f");
    compare::equal(&pair.source, &pair.destination, DATABASE).await.map(drop)
}
