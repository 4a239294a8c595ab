//! TRUNCATE arrives by the stream where the source publishes it, from 11 on; from 10, where it does not, it never goes unnoticed.

use pg_migrator_tests::controller::CONTROL;
use pg_migrator_tests::pair::{MAPPING, READY_LIMIT, drained};
use pg_migrator_tests::{Controller, Pair, Result, compare};

const DATABASE: &str = "emptied";
const TABLES: &str = "
    CREATE TABLE parent (id serial PRIMARY KEY, t text);
    CREATE TABLE child (id bigserial PRIMARY KEY, parent integer NOT NULL REFERENCES parent);
    CREATE TABLE alone (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, t text);
    CREATE TABLE keyless (a integer, b double precision);
    CREATE TABLE untouched (id integer PRIMARY KEY, f double precision[]);
    INSERT INTO parent (t) SELECT md5(i::text) FROM generate_series(1, 500) i;
    INSERT INTO child (parent) SELECT i FROM generate_series(1, 500) i;
    INSERT INTO alone (t) SELECT md5(i::text) FROM generate_series(1, 300) i;
    INSERT INTO keyless SELECT i, i / 7.0 FROM generate_series(1, 300) i;
    INSERT INTO untouched SELECT i, ARRAY[i / 3.0] FROM generate_series(1, 300) i";

async fn loaded(major: u32) -> Result<Pair> {
    let pair = Pair::start(major).await?;
    pair.source.run("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
    pair.source.run(DATABASE, TABLES).await?;
    Ok(pair)
}

async fn arrives(major: u32) -> Result<()> {
    let pair = loaded(major).await?;
    let (source, destination) = (&pair.source, &pair.destination);
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
    let file = "SELECT pg_relation_filenode('untouched')";
    let untouched = destination.value(DATABASE, file).await?;
    source
        .run(
            DATABASE,
            "TRUNCATE parent RESTART IDENTITY CASCADE; INSERT INTO parent (t) VALUES ('anew'), ('and more'); INSERT INTO child (parent) VALUES (2);
             TRUNCATE alone RESTART IDENTITY; INSERT INTO alone (t) VALUES ('anew');
             BEGIN; INSERT INTO keyless VALUES (0, 0); TRUNCATE keyless; INSERT INTO keyless VALUES (1, 1); COMMIT;
             BEGIN; TRUNCATE untouched; ROLLBACK",
        )
        .await?;
    drained(source).await?;
    compare::equal(source, destination, DATABASE).await?;
    assert_eq!(destination.value(DATABASE, file).await?, untouched, "it came by the stream, and a rollback did not");
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    compare::equal(source, destination, DATABASE).await?;
    assert_eq!(compare::sequences(source, DATABASE).await?, compare::sequences(destination, DATABASE).await?);
    let next = "WITH a AS (INSERT INTO parent (t) VALUES ('next') RETURNING id), b AS (INSERT INTO alone (t) VALUES ('next') RETURNING id)
                SELECT (SELECT id FROM a) || ' ' || (SELECT id FROM b)";
    assert_eq!(destination.value(DATABASE, next).await?, "3 2");
    Ok(())
}

#[tokio::test]
async fn cascading_and_restarting_truncates_arrive_by_the_stream_from_11() -> Result<()> {
    arrives(11).await
}

#[tokio::test]
async fn cascading_and_restarting_truncates_arrive_by_the_stream_from_17() -> Result<()> {
    arrives(17).await
}

/// Floating-point numbers in every dress. Their text is not the same in version 10 as in 18.
const FLOATS: &str = "
    CREATE TYPE pair AS (f double precision, g real);
    CREATE TYPE outer_row AS (n integer, p pair, at point);
    CREATE DOMAIN ratio AS double precision;
    CREATE DOMAIN small_ratio AS ratio;
    CREATE TYPE span AS RANGE (subtype = double precision);
    CREATE TABLE floats (id integer PRIMARY KEY, c outer_row, s span, r small_ratio, l pair[], m double precision[]);
    INSERT INTO floats SELECT i, ROW(i, ROW(i / 3.0, sqrt(i))::pair, point(i / 7.0, i / 11.0))::outer_row, span(i / 3.0, i + 0.1), i / 13.0,
                              ARRAY[ROW(i / 9.0, sqrt(i))::pair, NULL], ARRAY[i / 17.0]
    FROM generate_series(1, 300) i;
    INSERT INTO floats (id) VALUES (0);
    INSERT INTO floats VALUES (-1, ROW(NULL, NULL, NULL)::outer_row, 'empty', 'NaN', '{}', '{}');
    INSERT INTO floats VALUES (-2, ROW(1, ROW('-0', 'Infinity')::pair, NULL)::outer_row, '(,1e300)', 1e-300)";

#[tokio::test]
async fn numbers_within_rows_and_ranges_of_10_are_compared_by_what_they_are() -> Result<()> {
    let pair = Pair::start(10).await?;
    pair.source.run("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
    pair.source.run(DATABASE, FLOATS).await?;
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(&pair.destination, MAPPING, READY_LIMIT).await?;
    controller.kill()?;
    // Rewritten, and the same: it is compared, and no trouble.
    pair.source.run(DATABASE, "VACUUM FULL floats").await?;
    controller.start()?;
    let proved = "EXISTS (SELECT FROM migrator.cutover_checks WHERE name = 'proved_equal' AND ok AND detail LIKE '%1 are equal%')
                  AND migrator.cutover_ready('erp')";
    controller.wait_for(&pair.destination, proved, READY_LIMIT).await?;
    controller.kill()?;
    // By the last bit.
    let change =
        "UPDATE floats SET c = ROW((c).n, ROW(0.33333333333333337::float8, (c).p.g)::pair, (c).at)::outer_row WHERE id = 1";
    pair.destination.run(DATABASE, change).await?;
    controller.start()?;
    let told =
        "EXISTS (SELECT FROM migrator.findings WHERE code = 'not_equal' AND object = 'public.floats' AND resolved_at IS NULL)";
    controller.wait_for(&pair.destination, told, READY_LIMIT).await
}

#[tokio::test]
async fn a_truncate_that_10_does_not_publish_refuses_the_cutover_until_the_table_is_copied_anew() -> Result<()> {
    let pair = loaded(10).await?;
    let (source, destination) = (&pair.source, &pair.destination);
    let mut controller = Controller::started(&pair.config())?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
    // A controller that comes after it must know as well.
    controller.kill()?;
    source.run(DATABASE, "TRUNCATE parent CASCADE; INSERT INTO parent (id, t) VALUES (10001, 'anew')").await?;
    // Rewritten, and the same: no trouble.
    source.run(DATABASE, "VACUUM FULL untouched").await?;
    controller.start()?;

    let found = "(SELECT string_agg(object, ' ' ORDER BY object) = 'public.child public.parent' AND bool_and(fix LIKE '%migrator.resync%')
                  FROM migrator.findings WHERE code = 'not_equal' AND resolved_at IS NULL)
                 AND EXISTS (SELECT FROM migrator.cutover_checks WHERE name = 'proved_equal' AND NOT ok AND detail LIKE '%public.parent%')";
    controller.wait_for(destination, found, READY_LIMIT).await?;
    let answer = controller.ask(&["cutover", MAPPING]).await?;
    assert_eq!(answer.code, 1);
    let said = format!("{}{}", answer.stdout, answer.stderr);
    assert!(said.contains("public.parent") && said.contains("1 rows on the source, 501 on the destination"), "{said}");
    let check = "SELECT fix FROM migrator.cutover_checks WHERE name = 'proved_equal'";
    assert!(destination.value(CONTROL, check).await?.contains("migrator.resync('erp', 'emptied', 'public.child')"));

    controller.must(&["resync", MAPPING, "emptied.public.child"]).await?;
    controller.must(&["resync", MAPPING, "emptied.public.parent"]).await?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
    // One right before the cutover, when nothing has been looked at since.
    source.run(DATABASE, "TRUNCATE keyless").await?;
    let answer = controller.ask(&["cutover", MAPPING]).await?;
    assert_eq!(answer.code, 1);
    assert!(answer.stdout.contains("public.keyless") && answer.stdout.contains("migrator.resync"), "{}", answer.stdout);
    controller.wait_for(destination, "NOT migrator.cutover_ready('erp')", READY_LIMIT).await?;
    controller.must(&["resync", MAPPING, "emptied.public.keyless"]).await?;
    controller.wait_until_ready(destination, MAPPING, READY_LIMIT).await?;
    controller.must(&["cutover", MAPPING]).await?;
    compare::equal(source, destination, DATABASE).await.map(drop)
}
