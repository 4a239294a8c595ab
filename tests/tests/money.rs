//! Amounts of money are the same on both sides though servers write them in different forms; where that can't be, nothing is begun.

use std::process::Command;

use pg_migrator_tests::cluster::output_of;
use pg_migrator_tests::controller::ident;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Cluster, Controller, Pair, Result, compare};
use tempfile::TempDir;

const GERMAN: &str = "de_DE.utf8";

/// Money in every dress, so that nothing of it travels in binary form: 13 has none of it.
const SHOP: &str = "
    CREATE DOMAIN price AS money CHECK (VALUE IS NOT NULL);
    CREATE TYPE offer AS (name text, price price);
    CREATE TABLE goods (id int PRIMARY KEY, price money, prices money[], best offer);
    CREATE UNLOGGED TABLE scratch (price money);
    INSERT INTO goods SELECT n, n * 1234567.89::numeric::money * (CASE WHEN n % 2 = 0 THEN 1 ELSE -1 END),
                             ARRAY[n::numeric::money, NULL], ROW('offer ' || n, 0.05::numeric::money)::offer
    FROM generate_series(1, 100) n;
";

/// A folder of locales for servers: plain UTF-8 as initdb wants it, which the machine has.
fn locales() -> Result<TempDir> {
    let folder = TempDir::with_prefix("pgm-locales-").expect("a temporary folder");
    let mut plain = Command::new("sh");
    plain
        .args(["-c", "cp -r /usr/lib/locale/C.utf8 \"$1\" || cp -r /usr/lib/locale/C.UTF-8 \"$1/C.utf8\"", "copy"])
        .arg(folder.path());
    output_of(plain)?;
    readable(folder)
}

/// Adds German to it.
fn with_german(folder: TempDir) -> Result<TempDir> {
    // Its package is `locales`; scripts/setup.sh --tests installs it.
    let mut compile = Command::new("localedef");
    compile.args(["--no-archive", "-i", "de_DE", "-f", "UTF-8"]).arg(folder.path().join(GERMAN));
    output_of(compile)?;
    readable(folder)
}

fn readable(folder: TempDir) -> Result<TempDir> {
    let mut open = Command::new("chmod");
    open.args(["-R", "a+rX"]).arg(folder.path());
    output_of(open)?;
    Ok(folder)
}

/// A German source of this version, and a destination with these locales.
async fn pair(major: u32, german: &TempDir, theirs: &TempDir) -> Result<Pair> {
    let path = |folder: &TempDir| folder.path().display().to_string();
    let (source, destination) = tokio::try_join!(
        Cluster::of(major).environment("LOCPATH", &path(german)).set("lc_monetary", GERMAN).start(),
        Cluster::of(18).environment("LOCPATH", &path(theirs)).start()
    )?;
    let pair = Pair { source, destination };
    pair.source.run("postgres", "CREATE DATABASE shop").await?;
    pair.source.run("shop", SHOP).await?;
    let shown = pair.source.value("shop", "SELECT price FROM goods WHERE id = 1").await?;
    assert_eq!(shown, "-1.234.567,89 €", "the source writes German");
    Ok(pair)
}

/// Writes amounts of every kind on the source, and sees them arrive.
async fn write_and_compare(pair: &Pair) -> Result<()> {
    pair.source
        .run(
            "shop",
            "UPDATE goods SET price = price * 3, prices = prices || price, best = ROW('new', price)::offer;
             INSERT INTO goods SELECT n, 999999999999.99::numeric::money, ARRAY[(-0.01)::numeric::money], ROW('x', 0::money)::offer
             FROM generate_series(101, 120) n;
             DELETE FROM goods WHERE id % 10 = 0",
        )
        .await?;
    drained(&pair.source).await?;
    compare::equal(&pair.source, &pair.destination, "shop").await?;
    let sum = "SET lc_monetary = 'C'; SELECT sum(price) FROM goods";
    assert_eq!(exact(&pair.destination, sum).await?, exact(&pair.source, sum).await?);
    Ok(())
}

/// What is set for roles of the destination: database, and setting.
const SETTINGS: &str =
    "SELECT coalesce(d.datname, ''), s.setconfig::text FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase
                        WHERE s.setrole <> 0 ORDER BY 1";

#[tokio::test]
async fn money_in_another_form_arrives_to_the_cent_and_leaves_every_setting_as_it_was() -> Result<()> {
    let german = with_german(locales()?)?;
    let pair = pair(13, &german, &german).await?;
    // What holds for our role there, whatever holds for the database.
    let user = ident(pair.destination.user());
    pair.destination
        .run("postgres", &format!("ALTER ROLE {user} SET lc_monetary = 'C'; ALTER ROLE {user} SET work_mem = '5MB'"))
        .await?;
    let before = pair.destination.rows("postgres", SETTINGS).await?;
    let mut controller = Controller::new(&pair.config())?;
    assert_eq!(controller.check().await?.codes("error"), [""; 0]);
    controller.start()?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    compare::equal(&pair.source, &pair.destination, "shop").await?;
    write_and_compare(&pair).await?;
    let meanwhile = pair.destination.rows("postgres", SETTINGS).await?;
    assert_eq!(meanwhile.last(), Some(&vec!["shop".to_owned(), format!("{{lc_monetary={GERMAN}}}")]), "{meanwhile:?}");
    controller.must(&["cutover", MAPPING]).await?;
    controller.must(&["complete", MAPPING]).await?;
    compare::equal(&pair.source, &pair.destination, "shop").await?;
    assert_eq!(pair.destination.rows("postgres", SETTINGS).await?, before);
    assert_eq!(pair.destination.value("shop", "SELECT price FROM goods WHERE id = 1").await?, "-$3,703,703.67");
    Ok(())
}

#[tokio::test]
async fn money_is_refused_while_the_destination_does_not_know_the_sources_locale() -> Result<()> {
    let (german, theirs) = (with_german(locales()?)?, locales()?);
    let pair = pair(15, &german, &theirs).await?;
    // One that the database brings along, for the role that ours is there as well: it is as it was in the end.
    let user = ident(pair.source.user());
    pair.source.run("postgres", &format!("ALTER ROLE {user} IN DATABASE shop SET lc_monetary = '{GERMAN}'")).await?;
    let mut controller = Controller::new(&pair.config())?;
    let checked = controller.check().await?;
    let finding = checked.find("error", "shop", "money_format", "shop").expect("it was there");
    for named in ["3 columns", "goods.price", "goods.prices", "goods.best", GERMAN] {
        assert!(finding.reason.contains(named), "{named} is not named: {}", finding.reason);
    }
    assert!(finding.fix.contains(&format!("generate the locale {GERMAN}")), "{}", finding.fix);
    controller.start()?;
    let told = "EXISTS (SELECT FROM migrator.findings WHERE code = 'money_format' AND resolved_at IS NULL)";
    controller.wait_for(&pair.destination, told, READY_LIMIT).await?;
    assert_eq!(pair.destination.databases().await?, ["migrator"], "nothing is made");
    assert_eq!(pair.source.value("shop", "SELECT count(*) FROM pg_replication_slots").await?, "0");

    // As the fix says; it would be tried again by itself, after a while.
    let _theirs = with_german(theirs)?;
    controller.kill()?;
    controller.start()?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    compare::equal(&pair.source, &pair.destination, "shop").await?;
    write_and_compare(&pair).await
}

#[tokio::test]
async fn money_in_a_form_that_both_read_alike_is_no_obstacle() -> Result<()> {
    // Another name, the same form.
    let (source, destination) =
        tokio::try_join!(Cluster::of(15).set("lc_monetary", "C").start(), Cluster::of(18).set("lc_monetary", "C.UTF-8").start())?;
    let pair = Pair { source, destination };
    pair.source.run("postgres", "CREATE DATABASE shop").await?;
    pair.source.run("shop", SHOP).await?;
    assert_eq!(Controller::new(&pair.config())?.check().await?.codes("error"), [""; 0]);
    Ok(())
}

/// The last statement's first value.
async fn exact(server: &Cluster, sql: &str) -> Result<String> {
    let client = server.connect("shop").await?;
    Ok(pg_migrator_tests::cluster::rows(&client, sql).await?.concat().concat())
}
