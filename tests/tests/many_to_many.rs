//! Several mappings under one controller.

use std::time::Duration;

use pg_migrator_tests::databases::{SMALL, WEIRD};
use pg_migrator_tests::pair::{READY_LIMIT, drained};
use pg_migrator_tests::{Cluster, ConfigFile, Controller, Mapping, Result, compare};

const PAUSE: Duration = Duration::from_millis(20);

/// `first` holds `alpha` and `gamma`, `second` holds `beta`. Alpha and beta go to `one`, gamma to `two`.
#[tokio::test]
async fn two_sources_onto_one_destination_and_one_source_onto_two_at_the_same_time() -> Result<()> {
    let (first, second) = tokio::try_join!(Cluster::start(15), Cluster::start(14))?;
    let (one, two) = tokio::try_join!(Cluster::start(18), Cluster::start(18))?;
    SMALL.load(&first, "alpha", 1).await?;
    WEIRD.load(&first, "gamma", 1).await?;
    SMALL.load(&second, "beta", 1).await?;
    let alpha = SMALL.write(&first, "alpha", 1, PAUSE).await?;
    let beta = SMALL.write(&second, "beta", 2, PAUSE).await?;
    let gamma = WEIRD.write(&first, "gamma", 3, PAUSE).await?;

    let config = ConfigFile::new()
        .instance("first", &first)
        .instance("second", &second)
        .instance("one", &one)
        .instance("two", &two)
        .mapping(&Mapping::new("a", "first", "one").databases(&["alpha"]))
        .mapping(&Mapping::new("b", "second", "one"))
        .mapping(&Mapping::new("c", "first", "two").databases(&["gamma"]));
    let mut controller = Controller::started(&config)?;
    for (mapping, destination) in [("a", &one), ("b", &one), ("c", &two)] {
        controller.wait_until_ready(destination, mapping, READY_LIMIT).await?;
    }
    assert_eq!(one.databases().await?, ["alpha", "beta", "migrator"]);
    assert_eq!(two.databases().await?, ["gamma", "migrator"]);

    // One mapping is cut over and completed while the others go on under load.
    let tallies = alpha.stop().await?;
    assert!(tallies.values().all(|tally| !tally.cut_off), "{tallies:?}");
    controller.must(&["cutover", "a"]).await?;
    compare::equal(&first, &one, "alpha").await?;
    compare::sequences_at_or_past(&first, &one, "alpha").await?;
    controller.must(&["complete", "a"]).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let (beta, gamma) = (beta.stop().await?, gamma.stop().await?);
    assert!(
        beta.values().chain(gamma.values()).all(|tally| !tally.cut_off),
        "the other mappings' writers were stopped: {beta:?} {gamma:?}"
    );
    for (source, destination, mapping, database) in [(&second, &one, "b", "beta"), (&first, &two, "c", "gamma")] {
        drained(source).await?;
        compare::equal(source, destination, database).await?;
        controller.wait_until_ready(destination, mapping, READY_LIMIT).await?;
        controller.must(&["cutover", mapping]).await?;
        compare::equal(source, destination, database).await?;
        controller.must(&["complete", mapping]).await?;
    }
    for cluster in [&first, &second] {
        assert_eq!(cluster.value("postgres", "SELECT count(*) FROM pg_replication_slots").await?, "0");
    }
    for cluster in [&one, &two] {
        assert_eq!(cluster.value("postgres", "SELECT count(*) FROM pg_subscription").await?, "0");
    }
    Ok(())
}
