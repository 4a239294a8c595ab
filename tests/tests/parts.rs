//! Large tables are copied in parts, by several workers at once, and are exact all the same.

use std::time::{Duration, Instant};

use pg_migrator_tests::controller::Mapping;
use pg_migrator_tests::databases::SHOP;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{ConfigFile, Controller, Error, Pair, Result, compare};

const PAUSE: Duration = Duration::from_millis(10);
/// Of a table that is copied in so many parts that one can look on.
const MANY_ROWS: &str = "CREATE TABLE public.many (id bigint PRIMARY KEY, n int, t text);
    INSERT INTO public.many SELECT i, i, md5(i::text) FROM generate_series(1, 400000) i;
    -- Holes, and versions of rows that nobody sees any more.
    DELETE FROM public.many WHERE id BETWEEN 50000 AND 60000;
    UPDATE public.many SET n = n + 1 WHERE id % 7 = 0;";

fn in_parts(pair: &Pair, bytes: u32) -> ConfigFile {
    let mapping = Mapping::new(MAPPING, "erp_old", "erp_new").line(&format!("split_above = {bytes}"));
    pair.instances().mapping(&mapping)
}

#[tokio::test]
async fn tables_in_parts_are_exact_while_they_are_written_to_and_rewritten() -> Result<()> {
    let pair = Pair::start(15).await?;
    SHOP.load(&pair.source, "shop", 4).await?;
    let writers = SHOP.write(&pair.source, "shop", 1, PAUSE).await?;
    let mut controller = Controller::started(&in_parts(&pair, 16_384))?;
    // Moves every row to another block: it must not happen between two parts of a table unseen.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        pair.source.run("shop", "VACUUM FULL shop.orders").await?;
        pair.source.run("shop", "VACUUM FULL shop.customers").await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    assert!(controller.log()?.contains("copied in parts and attached"), "no table was copied in parts");
    writers.stop().await?;
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, "shop").await.map(drop)
}

#[tokio::test]
async fn a_table_half_copied_when_the_controller_dies_is_not_attached_and_is_copied_anew() -> Result<()> {
    let pair = Pair::start(15).await?;
    pair.source.run("postgres", "CREATE DATABASE many").await?;
    pair.source.run("many", MANY_ROWS).await?;
    let mut controller = Controller::new(&in_parts(&pair, 262_144))?;
    let mut halves = 0;
    for _ in 0..3 {
        controller.start()?;
        let begun = Instant::now();
        loop {
            let state = "SELECT EXISTS (SELECT FROM public.many) || ' ' || EXISTS (SELECT FROM pg_subscription_rel)";
            match pair.destination.value("many", state).await.as_deref() {
                Ok("true false") => {
                    controller.kill()?;
                    halves += 1;
                    break;
                }
                Ok("true true" | "false true") => break,
                _ if begun.elapsed() > READY_LIMIT => {
                    return Err(Error::Broken(format!("no row arrived:\n{}", controller.log_end())));
                }
                _ => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
        controller.kill()?;
        let changed = "UPDATE public.many SET n = n + 1 WHERE id % 11 = 0; DELETE FROM public.many WHERE id % 101 = 0";
        pair.source.run("many", changed).await?;
    }
    assert!(halves > 0, "no kill fell between two parts");
    controller.start()?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, "many").await.map(drop)
}
