//! What can't be done is said beforehand, with object and fix; nothing of it is touched, and what is sound goes on.
//!
//! Servers before PostgreSQL 10 can't be had here: the check of versions is tested with a source of 18 and a destination of 17,
//! and for older ones in the unit tests beside it.

use std::time::Duration;

use pg_migrator_tests::cluster::free_port;
use pg_migrator_tests::controller::Answer;
use pg_migrator_tests::databases::SMALL;
use pg_migrator_tests::pair::READY_LIMIT;
use pg_migrator_tests::{Cluster, ConfigFile, Controller, Error, Mapping, Pair, Result, compare, dump_diff};

/// `check` said no, and named all of this.
fn refused(answer: &Answer, names: &[&str]) -> Result<()> {
    let missing: Vec<&&str> = names.iter().filter(|name| !answer.stdout.contains(**name)).collect();
    if answer.code == 1 && missing.is_empty() {
        return Ok(());
    }
    Err(Error::Broken(format!(
        "check gave exit code {} and did not name {missing:?}\nstdout:\n{}\nstderr:\n{}",
        answer.code, answer.stdout, answer.stderr
    )))
}

/// The mapping of one sound database is ready while the others are refused.
async fn sound_goes_on(
    controller: &mut Controller,
    sound: &Cluster,
    destination: &Cluster,
    mapping: &str,
    database: &str,
) -> Result<()> {
    controller.wait_until_ready(destination, mapping, READY_LIMIT).await?;
    compare::equal(sound, destination, database).await?;
    // A few ticks more, in which the refused ones could be touched.
    tokio::time::sleep(Duration::from_secs(2)).await;
    Ok(())
}

/// A source holds no publication and no slot of ours.
async fn source_untouched(source: &Cluster, database: &str) -> Result<()> {
    let identities = "SELECT count(*) FROM pg_class WHERE relreplident <> 'd' AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema') AND relkind = 'r' AND relname NOT LIKE 'pg\\_toast%'";
    for sql in [
        "SELECT count(*) FROM pg_publication",
        "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()",
        identities,
    ] {
        assert_eq!(source.value(database, sql).await?, "0", "{database} was touched: {sql}");
    }
    Ok(())
}

#[tokio::test]
async fn a_destination_database_that_is_not_ours_is_never_touched() -> Result<()> {
    let pair = Pair::start(15).await?;
    SMALL.load(&pair.source, "sound", 1).await?;
    SMALL.load(&pair.source, "taken", 1).await?;
    pair.destination.run("postgres", "CREATE DATABASE taken").await?;
    pair.destination.run("taken", "CREATE TABLE precious (id integer PRIMARY KEY); INSERT INTO precious VALUES (1)").await?;
    let before = dump_diff::schema(&pair.destination, "taken")?;

    let mut controller = Controller::new(&pair.config())?;
    refused(&controller.ask(&["check"]).await?, &["taken", "erp"])?;
    controller.start()?;
    let synced = "(SELECT bool_or(status IN ('synced', 'cutover_ready')) FROM migrator.status() WHERE database = 'sound')";
    controller.wait_for(&pair.destination, synced, READY_LIMIT).await?;
    compare::equal(&pair.source, &pair.destination, "sound").await?;
    assert_eq!(
        pair.destination.value("migrator", "SELECT migrator.cutover_ready('erp')").await?,
        "f",
        "half a mapping is not ready"
    );
    let found = "SELECT count(*) > 0 FROM migrator.findings WHERE database = 'taken' AND severity = 'error' AND fix <> '' AND resolved_at IS NULL";
    controller.wait_for(&pair.destination, &format!("({found})"), READY_LIMIT).await?;

    dump_diff::same("the database that is not ours", &before, &dump_diff::schema(&pair.destination, "taken")?)?;
    assert_eq!(pair.destination.value("taken", "SELECT count(*) FROM precious").await?, "1");
    source_untouched(&pair.source, "taken").await
}

#[tokio::test]
async fn sources_that_lack_a_setting_are_named_and_left_alone_while_the_sound_one_moves() -> Result<()> {
    let (sound, replica, cramped) = tokio::try_join!(
        Cluster::start(15),
        Cluster::of(15).set("wal_level", "replica").start(),
        Cluster::of(15).set("max_replication_slots", "2").set("max_wal_senders", "1").start(),
    )?;
    let (newest, destination) = tokio::try_join!(Cluster::start(18), Cluster::start(18))?;
    SMALL.load(&sound, "sound", 1).await?;
    SMALL.load(&replica, "level", 1).await?;
    SMALL.load(&newest, "newest", 1).await?;
    for database in ["cramped1", "cramped2", "cramped3"] {
        SMALL.load(&cramped, database, 1).await?;
    }
    // Of a mapping whose name begins alike: it takes room, and is none of ours.
    cramped.run("postgres", "SELECT pg_create_physical_replication_slot('pg_migrator_cramped_2_16384')").await?;
    let nobody = free_port()?;
    let config = ConfigFile::new()
        .instance("sound_old", &sound)
        .instance("level_old", &replica)
        .instance("cramped_old", &cramped)
        .instance("newest_old", &newest)
        .instance_at("absent_old", nobody, "postgres", "irrelevant")
        .instance("new", &destination)
        .mapping(&Mapping::new("sound", "sound_old", "new"))
        .mapping(&Mapping::new("level", "level_old", "new"))
        .mapping(&Mapping::new("cramped", "cramped_old", "new"))
        .mapping(&Mapping::new("newest", "newest_old", "new"))
        .mapping(&Mapping::new("absent", "absent_old", "new"));
    let mut controller = Controller::new(&config)?;
    let answer = controller.ask(&["check"]).await?;
    refused(
        &answer,
        &[
            "wal_level = 'logical'",
            "max_replication_slots",
            "1 replication slots in use by others",
            "max_wal_senders",
            "level",
            "cramped",
            "newest",
            "18",
            "absent",
            &nobody.to_string(),
        ],
    )?;

    controller.start()?;
    sound_goes_on(&mut controller, &sound, &destination, "sound", "sound").await?;
    assert_eq!(destination.databases().await?, ["migrator", "sound"], "nothing was made for the refused mappings");
    source_untouched(&replica, "level").await?;
    source_untouched(&newest, "newest").await?;
    for database in ["cramped1", "cramped2", "cramped3"] {
        source_untouched(&cramped, database).await?;
    }
    for mapping in ["level", "cramped", "newest", "absent"] {
        let found = format!(
            "(SELECT count(*) > 0 FROM migrator.findings WHERE mapping = '{mapping}' AND severity = 'error' AND fix <> '' AND resolved_at IS NULL)"
        );
        controller.wait_for(&destination, &found, READY_LIMIT).await?;
    }
    Ok(())
}

#[tokio::test]
async fn destinations_that_lack_something_are_named_and_left_alone_while_the_sound_one_moves() -> Result<()> {
    let source = Cluster::start(15).await?;
    for database in ["one", "two", "three"] {
        SMALL.load(&source, database, 1).await?;
    }
    let (sound, bare, cramped, old) = tokio::try_join!(
        Cluster::start(18),
        // Nothing of what is installed is visible here: as on a server on which the extension was never installed.
        Cluster::of(18).set("extension_control_path", "/nonexistent").start(),
        Cluster::of(18)
            .set("max_logical_replication_workers", "1")
            .set("max_active_replication_origins", "2")
            .set("max_worker_processes", "2")
            .start(),
        Cluster::start(17),
    )?;
    let config = ConfigFile::new()
        .instance("source", &source)
        .instance("sound_new", &sound)
        .instance("bare_new", &bare)
        .instance("cramped_new", &cramped)
        .instance("old_new", &old)
        .mapping(&Mapping::new("sound", "source", "sound_new").databases(&["one"]))
        .mapping(&Mapping::new("bare", "source", "bare_new"))
        .mapping(&Mapping::new("cramped", "source", "cramped_new"))
        .mapping(&Mapping::new("old", "source", "old_new"));
    let mut controller = Controller::new(&config)?;
    let names = [
        "make install",
        "max_logical_replication_workers",
        "max_active_replication_origins",
        "max_worker_processes",
        "bare",
        "cramped",
        "old",
        "17",
    ];
    refused(&controller.ask(&["check"]).await?, &names)?;

    controller.start()?;
    sound_goes_on(&mut controller, &source, &sound, "sound", "one").await?;
    for refused in [&bare, &old] {
        assert_eq!(refused.databases().await?, [""; 0], "PostgreSQL {} was touched", refused.major());
    }
    let made = cramped.databases().await?;
    assert!(made.iter().all(|name| name == "migrator"), "{made:?}");
    for database in ["two", "three"] {
        source_untouched(&source, database).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_configuration_that_is_wrong_ends_with_2_and_names_the_key() -> Result<()> {
    let instances = || ConfigFile::new().instance_at("a", 1, "postgres", "p").instance_at("b", 2, "postgres", "p");
    let sound = instances().mapping(&Mapping::new("m", "a", "b"));
    let cases = [
        (sound.clone().line("tikc = \"1s\""), "tikc"),
        (instances().mapping(&Mapping::new("m", "a", "b").line("copy_wrokers = 3")), "copy_wrokers"),
        (instances().mapping(&Mapping::new("m", "a", "b").line("roles = \"perhaps\"")), "roles"),
        (instances().mapping(&Mapping::new("m", "a", "nowhere")), "nowhere"),
    ];
    for (config, key) in cases {
        let controller = Controller::new(&config)?;
        for command in ["check", "run", "status", "plan"] {
            let answer = controller.ask(&[command]).await?;
            assert_eq!(answer.code, 2, "{command} with a wrong {key}: {answer:?}");
            assert!(answer.stderr.contains(key), "{command} does not name {key}: {}", answer.stderr);
        }
    }
    let controller = Controller::new(&sound)?;
    std::fs::remove_file(controller.config_path()).expect("it was just written");
    assert_eq!(controller.ask(&["check"]).await?.code, 2);
    assert_eq!(controller.ask(&["no-such-command"]).await?.code, 2);
    Ok(())
}
