//! The controller may die at any instant.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pg_migrator_tests::controller::{CONTROL, Mapping};
use pg_migrator_tests::databases::{SHOP, WEIRD};
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Controller, Error, Pair, Result, compare};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const DATABASES: [&str; 2] = ["shop", "We ird-DB"];
const PAUSE: Duration = Duration::from_millis(20);
/// Tables of the shop that hold rows.
const SHOP_TABLES: &str = "24";

/// When to kill the controller.
enum Moment {
    /// So long after its start.
    After(u64),
    /// When this query in a database of the destination gives `t`.
    When(&'static str, &'static str),
}

const MOMENTS: [Moment; 10] = [
    Moment::After(150),
    Moment::When("postgres", "SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'shop')"),
    Moment::When("shop", "SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace::regnamespace::text = 'shop')"),
    Moment::When("shop", "SELECT count(*) > 0 FROM pg_subscription_rel"),
    Moment::After(1500),
    Moment::When("shop", "SELECT count(*) > 8 FROM pg_subscription_rel"),
    Moment::When("shop", "SELECT count(*) > 3 FROM pg_index WHERE indrelid::regclass::text LIKE 'shop.%'"),
    Moment::When("shop", "SELECT count(*) > 20 FROM pg_subscription_rel"),
    Moment::When("shop", "SELECT bool_or(subenabled) FROM pg_subscription"),
    Moment::After(3000),
];

/// Attached tables of both databases, with the file that holds their rows: a table that is emptied or made anew gets another.
type Attached = BTreeMap<String, String>;

#[tokio::test]
async fn twelve_kills_later_all_is_exact_and_no_attached_table_was_copied_again() -> Result<()> {
    let seed = rand::rng().random::<u64>();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);

    let pair = Pair::start(15).await?;
    SHOP.load(&pair.source, DATABASES[0], 10).await?;
    WEIRD.load(&pair.source, DATABASES[1], 1).await?;
    let tables = pair.source.value("shop", "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind = 'r' AND nspname IN ('shop', 'inventory', 'crm', 'billing', 'audit')").await?;
    assert_eq!(tables, SHOP_TABLES, "MOMENTS counts on this");
    let writers =
        [SHOP.write(&pair.source, DATABASES[0], 1, PAUSE).await?, WEIRD.write(&pair.source, DATABASES[1], 2, PAUSE).await?];

    // Most tables in parts: a kill then also falls between two of them.
    let mapping = Mapping::new(MAPPING, "erp_old", "erp_new").line("split_above = 100000");
    let mut controller = Controller::new(&pair.instances().mapping(&mapping))?;
    let mut attached = Attached::new();
    let mut killed_halfway = false;
    for moment in &MOMENTS {
        controller.start()?;
        await_moment(&pair, &mut controller, moment, &mut random).await?;
        controller.kill()?;
        let now = attached_tables(&pair).await?;
        unchanged(&attached, &now)?;
        killed_halfway |= !now.is_empty() && now.len() < 20;
        attached.extend(now);
    }
    assert!(killed_halfway, "no kill fell between the first and the last copy");

    controller.start()?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    unchanged(&attached, &attached_tables(&pair).await?)?;
    for workload in writers {
        workload.stop().await?;
    }
    drained(&pair.source).await?;
    for database in DATABASES {
        compare::equal(&pair.source, &pair.destination, database).await?;
    }

    // The eleventh in the middle of a cutover, which is then either finished or taken back.
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    pair.destination.run(CONTROL, "SELECT migrator.cutover('erp')").await?;
    tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
    controller.kill()?;
    controller.start()?;
    let finished = "coalesce((SELECT bool_and(finished_at IS NOT NULL) FROM migrator.requests WHERE kind = 'cutover'), false)";
    controller.wait_for(&pair.destination, finished, READY_LIMIT).await?;
    let succeeded = "SELECT coalesce(bool_or(succeeded), false) FROM migrator.requests WHERE kind = 'cutover'";
    if pair.destination.value(CONTROL, succeeded).await? != "t" {
        for database in DATABASES {
            pair.source.run(database, "CREATE TABLE writable_again (); DROP TABLE writable_again").await?;
        }
        controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
        controller.must(&["cutover", MAPPING]).await?;
    }
    for database in DATABASES {
        compare::equal(&pair.source, &pair.destination, database).await?;
        compare::sequences_at_or_past(&pair.source, &pair.destination, database).await?;
    }

    // The twelfth in the middle of the cleanup.
    pair.destination.run(CONTROL, "SELECT migrator.mark_complete('erp')").await?;
    tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
    controller.kill()?;
    controller.start()?;
    let completed = "coalesce((SELECT bool_or(succeeded) FROM migrator.requests WHERE kind = 'complete'), false)";
    controller.wait_for(&pair.destination, completed, READY_LIMIT).await?;
    assert_eq!(controller.starts(), 13, "twelve lives ended by a kill, and the last one");
    assert_eq!(pair.source.value("postgres", "SELECT count(*) FROM pg_replication_slots").await?, "0");
    for database in DATABASES {
        compare::equal(&pair.source, &pair.destination, database).await?;
        assert_eq!(pair.source.value(database, "SELECT count(*) FROM pg_publication").await?, "0");
        assert_eq!(pair.destination.value(database, "SELECT count(*) FROM pg_subscription").await?, "0");
    }
    Ok(())
}

async fn await_moment(pair: &Pair, controller: &mut Controller, moment: &Moment, random: &mut StdRng) -> Result<()> {
    let begun = Instant::now();
    match moment {
        Moment::After(limit) => {
            let delay = Duration::from_millis(random.random_range(*limit / 2..=*limit));
            tokio::time::sleep(delay).await;
        }
        Moment::When(database, condition) => loop {
            if !controller.is_running() {
                return Err(Error::Broken(format!("the controller ended by itself:\n{}", controller.log_end())));
            }
            if pair.destination.value(database, condition).await.is_ok_and(|answer| answer == "t") {
                // What was true at once is killed a little later, so that every life gets somewhere.
                if begun.elapsed() < Duration::from_millis(100) {
                    tokio::time::sleep(Duration::from_millis(random.random_range(100..1000))).await;
                }
                break;
            }
            if begun.elapsed() > READY_LIMIT {
                let report = controller.report(&pair.destination).await;
                return Err(Error::Timeout { what: (*condition).to_owned(), waited: begun.elapsed(), state: report });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        },
    }
    Ok(())
}

async fn attached_tables(pair: &Pair) -> Result<Attached> {
    let mut attached = Attached::new();
    let present = pair.destination.databases().await?;
    for database in DATABASES.iter().filter(|database| present.iter().any(|name| name == *database)) {
        // The table `empty` is truncated by its writer, and the stream does the same here: a new file each time.
        let sql = "SELECT srrelid::regclass, pg_relation_filenode(srrelid) FROM pg_subscription_rel
                   WHERE srsubstate IN ('s', 'r') AND srrelid::regclass::text <> 'empty'";
        for row in pair.destination.rows(database, sql).await? {
            attached.insert(format!("{database}: {}", row[0]), row[1].clone());
        }
    }
    Ok(attached)
}

fn unchanged(before: &Attached, now: &Attached) -> Result<()> {
    match before.iter().find(|(table, file)| now.get(*table) != Some(file)) {
        None => Ok(()),
        Some((table, file)) => {
            Err(Error::Broken(format!("{table} was attached with its rows in file {file}, and now it is {:?}", now.get(table))))
        }
    }
}
