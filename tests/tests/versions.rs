//! Every supported version is a source: live, exact, cut over, cleaned up.

use std::time::Duration;

use pg_migrator_tests::databases::SMALL;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Controller, Pair, Result, compare};

const PAUSE: Duration = Duration::from_millis(10);

macro_rules! moves {
    ($($name:ident: $major:literal),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() -> Result<()> {
                moves_live($major).await
            }
        )+
    };
}

moves! {
    postgresql_10_moves_live: 10,
    postgresql_11_moves_live: 11,
    postgresql_12_moves_live: 12,
    postgresql_13_moves_live: 13,
    postgresql_14_moves_live: 14,
    postgresql_15_moves_live: 15,
    postgresql_16_moves_live: 16,
    postgresql_17_moves_live: 17,
}

async fn moves_live(major: u32) -> Result<()> {
    let pair = Pair::start(major).await?;
    SMALL.load(&pair.source, "small", 1).await?;
    let writers = SMALL.write(&pair.source, "small", u64::from(major), PAUSE).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    the_stream_is_made_for_its_source(&pair).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    writers.stop().await?;
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, "small").await?;

    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    compare::equal(&pair.source, &pair.destination, "small").await?;
    compare::sequences_at_or_past(&pair.source, &pair.destination, "small").await?;
    controller.must(&["complete", MAPPING]).await?;

    // Ordinary life goes on at the destination: rows, sequences, triggers, foreign keys.
    pair.destination
        .run("small", "INSERT INTO app.people (name) VALUES ('after'); UPDATE app.people SET name = 'After' WHERE name = 'after'")
        .await?;
    assert!(pair.destination.run("small", "INSERT INTO app.letters (person) VALUES (-1)").await.is_err(), "foreign keys hold");
    // And the source takes writes again, since it is nobody's any more.
    pair.source.run("small", "INSERT INTO app.people (name) VALUES ('old server')").await
}

/// Large transactions as they come from 14 on and in parallel from 16 on, binary values from 14 on, failover from 17 on.
async fn the_stream_is_made_for_its_source(pair: &Pair) -> Result<()> {
    let options = "SELECT substream, subbinary, subfailover FROM pg_subscription";
    let expected = match pair.source.major() {
        ..14 => ["f", "f", "f"],
        14..16 => ["t", "t", "f"],
        16 => ["p", "t", "f"],
        17.. => ["p", "t", "t"],
    };
    assert_eq!(pair.destination.rows("small", options).await?[0], expected);
    let slot = "SELECT COALESCE(to_jsonb(s) ->> 'failover', 'false') FROM pg_replication_slots s WHERE NOT temporary";
    assert_eq!(pair.source.value("small", slot).await?, if pair.source.major() >= 17 { "true" } else { "false" });
    Ok(())
}
