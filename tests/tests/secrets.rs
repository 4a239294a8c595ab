//! Passwords stay where they belong.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pg_migrator_tests::controller::CONTROL;
use pg_migrator_tests::databases::SHOP;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT};
use pg_migrator_tests::{Cluster, Controller, Mapping, Pair, Result};

/// What must appear nowhere, each with a name that may appear in a failure.
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn absent_in(&self, place: &str, text: &str) {
        for (name, secret) in &self.0 {
            let Some(at) = text.find(secret.as_str()) else { continue };
            let line = text[..at].lines().last().unwrap_or_default();
            panic!(
                "{name} appears in {place}, after: {}",
                line.chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().collect::<String>()
            );
        }
    }
}

#[tokio::test]
async fn passwords_appear_in_no_log_view_argument_list_output_or_error() -> Result<()> {
    // A server that logs all it can.
    let talkative = |major| {
        Cluster::of(major)
            .set("log_statement", "all")
            .set("log_replication_commands", "on")
            .set("log_min_duration_statement", "0")
            .set("log_min_error_statement", "debug1")
            .set("log_parameter_max_length_on_error", "-1")
            .set("log_connections", "on")
            .set("track_activity_query_size", "100kB")
            .start()
    };
    let (source, destination) = tokio::try_join!(talkative(15), talkative(18))?;
    let pair = Pair { source, destination };
    SHOP.load(&pair.source, "shop", 1).await?;
    // From here on: what the scenario itself sent, the roles' passwords in clear, is in the source's log.
    let before = pair.source.log()?.len();
    let hashes = pair.source.column("postgres", "SELECT rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL").await?;
    let mut secrets = vec![
        ("the source's password", pair.source.password().to_owned()),
        ("the destination's password", pair.destination.password().to_owned()),
    ];
    secrets.extend(hashes.into_iter().map(|hash| ("a role's password hash", hash)));
    let secrets = Arc::new(Secrets(secrets));

    let mut controller = Controller::started(&pair.config())?;
    let watching = Arc::new(AtomicBool::new(true));
    let lookout = tokio::spawn(watch(
        [connect(&pair.source).await?, connect(&pair.destination).await?],
        Arc::clone(&secrets),
        Arc::clone(&watching),
    ));
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;

    let mut outputs = Vec::new();
    for words in [
        &["check"][..],
        &["check", "--json"],
        &["plan"],
        &["plan", "--json"],
        &["status"],
        &["status", "--json"],
        &["cutover", MAPPING],
        &["complete", MAPPING],
        &["cutover", MAPPING],
        &["--help"],
    ] {
        outputs.push((words.join(" "), controller.ask(words).await?));
    }
    watching.store(false, Ordering::Relaxed);
    lookout.await.expect("the lookout saw no secret");
    for (words, answer) in &outputs {
        secrets.absent_in(&format!("the output of {words}"), &format!("{}{}", answer.stdout, answer.stderr));
    }

    let relations = pair
        .destination
        .column(
            CONTROL,
            "SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'migrator'::regnamespace AND relkind IN ('r', 'v')",
        )
        .await?;
    assert!(relations.len() > 15, "{relations:?}");
    for relation in relations {
        let rows = pair.destination.column(CONTROL, &format!("SELECT t::text FROM {relation} t")).await?;
        secrets.absent_in(&relation, &rows.join("\n"));
    }
    controller.stop().await?;
    secrets.absent_in("the controller's log", &controller.log()?);
    secrets.absent_in("the source's log", &pair.source.log()?[before..]);
    secrets.absent_in("the destination's log", &pair.destination.log()?);
    let readable = "SELECT has_column_privilege('pg_monitor', 'pg_subscription', 'subconninfo', 'SELECT')";
    assert_eq!(pair.destination.value(CONTROL, readable).await?, "f", "a subscription's password is for superusers only");
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_an_error_that_does_not_repeat_it() -> Result<()> {
    let pair = Pair::start(15).await?;
    SHOP.load(&pair.source, "shop", 1).await?;
    let wrong = "wrong-0b9fb3c2d1";
    let config = pair
        .instances()
        .instance_at("locked", pair.source.port(), "postgres", wrong)
        .mapping(&Mapping::new("locked", "locked", "erp_new"));
    let mut controller = Controller::new(&config)?;
    let answer = controller.ask(&["check"]).await?;
    assert_eq!(answer.code, 1, "{answer:?}");
    let secrets = Secrets(vec![
        ("the wrong password", wrong.to_owned()),
        ("the destination's password", pair.destination.password().to_owned()),
    ]);
    secrets.absent_in("the output of check", &format!("{}{}", answer.stdout, answer.stderr));
    controller.start()?;
    controller
        .wait_for(&pair.destination, "(SELECT count(*) > 0 FROM migrator.findings WHERE severity = 'error')", READY_LIMIT)
        .await?;
    let findings = pair.destination.column(CONTROL, "SELECT f::text FROM migrator.findings f").await?;
    secrets.absent_in("migrator.findings", &findings.join("\n"));
    secrets.absent_in("the controller's log", &controller.log()?);
    Ok(())
}

async fn connect(cluster: &Cluster) -> Result<tokio_postgres::Client> {
    cluster.connect("postgres").await
}

/// Looks at what anyone on the machine, and any superuser of the servers, may see while the migration runs.
async fn watch(clients: [tokio_postgres::Client; 2], secrets: Arc<Secrets>, watching: Arc<AtomicBool>) {
    while watching.load(Ordering::Relaxed) {
        for client in &clients {
            let sql = "SELECT query || ' ' || application_name FROM pg_stat_activity WHERE pid <> pg_backend_pid()";
            if let Ok(rows) = pg_migrator_tests::cluster::rows(client, sql).await {
                secrets.absent_in("pg_stat_activity", &rows.concat().join("\n"));
            }
        }
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            // A process that ended meanwhile, or an entry that is none.
            let Ok(arguments) = fs::read(process.path().join("cmdline")) else { continue };
            secrets.absent_in("an argument list", &String::from_utf8_lossy(&arguments));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
